"""Embeddings kept in a folder: what a model makes of a picture before any prompt, for the next run or another machine.

A file is named by a hash of all that its embedding depends on, so a changed image, window, model or precision means
another file. It holds a hash of its own tensors, so a damaged one is noticed and made anew.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vesalius.errors import FormatError, PromptError, VesaliusWarning
from vesalius.files import replacing
from vesalius.grid import Grid
from vesalius.scene import Memo
from vesalius.session import Session

VERSION = 1  # of the files; raise it when what a model keeps of a picture changes
DECIMALS = 4  # of a voxel, to which the place of a frame in the image is the same on every machine


def keep_embeddings(session: Session, folder: Path) -> None:
    """From now on a session finds its embeddings in a folder, and leaves there those that it makes.

    Only tensors that belong to a part of the image are kept. Raises PromptError for a model without tensors and
    FormatError for a folder that cannot be written. VesaliusWarning: a file is damaged, and is made anew.
    """
    model, card = session.model, session.model.card
    if not isinstance(model, nn.Module):
        raise PromptError(f"{card.name} is no network, so there are no embeddings to keep; leave the folder out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"The folder {folder} cannot be made ({error.strerror}); choose another.") from None
    image, window = session.image, session.window
    depends_on = {
        "version": VERSION,
        "image": hash_array(image.voxels),
        "window": [round(window.low, DECIMALS), round(window.high, DECIMALS)],
        "model": hash_tensors(model.state_dict()),
        "entry": card.entry,
        "options": dict(card.options),
        "precision": getattr(model, "precision", ""),
    }
    device = next(model.parameters()).device
    session.memory = Memo(session.memory.limit, Shelf(folder, image.grid, depends_on, device).get)


@dataclass(frozen=True, eq=False)
class Shelf:
    """The embeddings in a folder that belong to one image and one model; `depends_on` says to which."""

    folder: Path
    grid: Grid
    depends_on: Mapping[str, object]
    device: torch.device

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What is kept of the frame `key` of the image, made and kept if it is not there."""
        if not isinstance(key, Grid):  # some other work of a model, not of one frame
            return make()
        file = self.file(key)
        if file.exists():
            try:
                tensors = read_tensors(file)
                return (
                    tuple(tensor.to(self.device) for tensor in tensors)
                    if len(tensors) > 1
                    else tensors[0].to(self.device)
                )
            except ValueError:
                warnings.warn(VesaliusWarning(f"{file} is damaged; it was made anew."), stacklevel=2)
        value = make()
        parts = value if isinstance(value, tuple) else (value,)
        if all(isinstance(part, Tensor) for part in parts):
            write_tensors(file, parts)
        return value

    def file(self, frame: Grid) -> Path:
        """Where the embedding of a frame is kept: its place in the image counts, and not that in the world."""
        place = np.linalg.inv(self.grid.matrix) @ frame.matrix
        words = {**self.depends_on, "shape": frame.shape, "place": (np.round(place, DECIMALS) + 0.0).tolist()}
        name = hashlib.sha256(json.dumps(words, sort_keys=True, default=str).encode()).hexdigest()
        return self.folder / f"{name[:32]}.safetensors"


def read_tensors(file: Path) -> list[Tensor]:
    """The tensors of a file that `write_tensors` made; ValueError where they are not those that were written."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in sorted(opened.keys(), key=int)}
            written = (opened.metadata() or {}).get("sha256")
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(str(error)) from None
    if not tensors or hash_tensors(tensors) != written:
        raise ValueError("other tensors than those that were written")
    return list(tensors.values())


def write_tensors(file: Path, tensors: tuple[Tensor, ...]) -> None:
    """Writes tensors, whole or not at all; raises FormatError where that cannot be."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    named = {str(n): tensor.detach().cpu().contiguous() for n, tensor in enumerate(tensors)}
    try:
        with replacing(file) as part:
            save_file(named, part, {"sha256": hash_tensors(named)})
    except SafetensorError as error:
        raise FormatError(f"{file} cannot be written ({error}); choose another folder for embeddings.") from None


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """The sha256 of tensors, their names, kinds and shapes."""
    found = hashlib.sha256()
    for name, tensor in tensors.items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()


def hash_array(array: np.ndarray) -> str:
    """The sha256 of an array, its kind and shape."""
    found = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    found.update(np.ascontiguousarray(array))
    return found.hexdigest()
