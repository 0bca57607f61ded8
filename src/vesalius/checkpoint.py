"""The tensors of a checkpoint file, whatever wraps them.

Whatever else was pickled with them is thrown away unseen, and no code of theirs runs.
"""

from __future__ import annotations

import pickle
import types
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vesalius.errors import CardError

NESTS = ("model", "net", "model_state_dict", "state_dict", "network_weights", "model_state")
PREFIXES = ("module.", "_orig_mod.", "sam.")


def read_checkpoint(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file under the names that the network had, float32; raises CardError."""
    if not file.is_file():
        raise CardError(f"There is no weights file {file}; correct the path.")
    try:
        record = read_safetensors(file) if file.suffix == ".safetensors" else read_pickle(file)
    except Exception as error:  # a broken pickle can raise anything
        reason = str(error).partition("\n")[0].rstrip(".")
        raise CardError(f"{file} is broken or is not a checkpoint ({reason}); fetch it again.") from None
    state = {str(name): tensor for name, tensor in unwrap(record).items() if isinstance(tensor, Tensor)}
    if not state:
        raise CardError(
            f"{file} holds no named tensors but, perhaps, a whole pickled model; save its state_dict() and load that."
        )
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def read_safetensors(file: Path) -> object:
    """The tensors of a safetensors file."""
    from safetensors.torch import load_file

    return load_file(file)


def read_pickle(file: Path) -> object:
    """What PyTorch saved, with everything that is not a tensor or a container replaced by `Discarded`."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # more than tensors was pickled: arguments, an optimizer, a module
        return torch.load(file, map_location="cpu", weights_only=False, pickle_module=TENSORS_ONLY)


class Discarded:
    """Stands for any object that a checkpoint pickles beside its tensors; takes whatever state it is given."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, item: object) -> None: ...

    def extend(self, items: object) -> None: ...

    def add(self, item: object) -> None: ...


TENSOR_MAKERS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
}


class TensorUnpickler(pickle.Unpickler):
    """Rebuilds tensors and nothing else: no class or function that a file names is ever looked up."""

    def find_class(self, module: str, name: str) -> Any:
        return TENSOR_MAKERS.get((module, name), Discarded)


TENSORS_ONLY = types.SimpleNamespace(
    __name__="tensors_only",
    Unpickler=TensorUnpickler,
    load=lambda stream, **options: TensorUnpickler(stream, **options).load(),
)


def unwrap(record: object) -> Mapping[object, object]:
    """The mapping from names to tensors inside what training scripts save around it."""
    while isinstance(record, Mapping):
        inner = next((record[nest] for nest in NESTS if isinstance(record.get(nest), Mapping)), None)
        if inner is None:
            return record
        record = inner
    return {}
