"""From a name to a model that is ready to run, and from a model to a folder that `load` takes.

What a name can be: a card of the zoo, a folder made by `save` or released by others, a class in a Python file.
"""

from __future__ import annotations

import fnmatch
import importlib
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vesalius.card import Card, Weights
from vesalius.download import cache_folder, check_licence, fetch_weights, hash_file
from vesalius.errors import CardError, FormatError
from vesalius.releases import is_release, open_archive, read_release, read_weights
from vesalius.session import Model
from vesalius.zoo import CARDS, DEFAULT, find_card

SAVED = "model.safetensors"  # beside card.json in a folder that `save` made
COUNTER = "num_batches_tracked"  # of a batch norm: no computation reads it, and some files lack it
NAMES_SHOWN = 5
MEASURED_SIZE = 224  # pixels: one window of SAM's vision transformer, so that even ViT-H takes only seconds
PATIENCE_S = 1.0  # after which a measurement is not repeated
GAIN = 1.15  # bf16 must be this much faster to be worth its rounding, and ONNX Runtime its copy of the weights


def load(name: str = DEFAULT, weights: Path | None = None, device: str = "cpu", precision: str = "auto") -> Model:
    """The model called `name` with its weights, in evaluation mode.

    `name` is a card of the zoo, a folder made by `save`, released by nnInteractive or with results of nnU-Net, or
    "my_model.py:MyModel", a class with an attribute `card` whose constructor takes the card's options. `weights`
    replaces the file that the card states. `precision` is "fp32", "bf16", "onnx" (fp32 under ONNX Runtime), or "auto":
    whichever is fastest on `device`, measured once. Raises CardError, FetchError, and LicenceError for weights whose
    licence restricts their use until it is accepted.
    """
    model_class, card, own = find_model(name)
    check_licence(card)
    file = weights or own
    if file is None and card.weights.file:
        file = fetch_weights(card)
    if file is not None and Path(file).suffix == ".zip":
        card, file = open_archive(card, Path(file))
    if card.parts and file is None:
        return load_parts(card, device, precision)
    model = build(model_class, card)
    if file is not None:
        fit_weights(model, read_weights(Path(file)), Path(file))
    if isinstance(model, nn.Module):
        try:
            model.to(device).eval()
        except (RuntimeError, AssertionError) as error:
            raise CardError(f"Cannot use the device {device!r} ({str(error).splitlines()[0]}); use cpu.") from None
    set_precision(model, device, precision)
    return model


def load_parts(card: Card, device: str, precision: str) -> Model:
    """A model of several, each of which has a card and weights of its own."""
    parts: list[Any] = [load(part, device=device, precision=precision) for part in card.parts]
    options = {"parts": [part.card.options for part in parts]}
    labels = tuple(dict.fromkeys(label for part in parts for label in part.card.labels))
    model: Any = build(find_class(card.entry), replace(card, options=options, labels=labels))
    model.parts = nn.ModuleList(parts)
    set_precision(model.eval(), device, precision)
    return model


def save(model: nn.Module, folder: Path) -> None:
    """Write the tensors and the card of a model to `folder`, which `load` takes as a name."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    folder = Path(folder)
    new = folder / f"{SAVED}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, new)
        stored = Weights(urls=(), file=SAVED, sha256=hash_file(new), bytes=new.stat().st_size)
        card = replace(card_of(model), weights=stored)
        new.replace(folder / SAVED)
        (folder / "card.json").write_text(json.dumps(card.to_json(), indent=1))
    except (OSError, SafetensorError) as error:
        raise FormatError(f"Cannot write the model to {folder} ({error}); choose another folder.") from None


def random_model(card: Card, tiny: bool = True, seed: int = 0) -> Any:
    """A model with random weights, for tests without network; `tiny` takes the card's small sizes."""
    if tiny:
        few: Any = card.tiny.get("structures", len(card.labels))
        card = replace(card, options={**card.options, **card.tiny}, labels=card.labels[:few])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(find_class(card.entry), card).eval()


def card_of(model: nn.Module) -> Card:
    """The card that a model was built from."""
    card: Any = model.card
    return card


def find_model(name: str) -> tuple[Any, Card, Path | None]:
    """The class, the card and, for a folder, the weights file that `name` stands for."""
    file, _, attribute = name.rpartition(":")
    if file.endswith(".py"):
        model_class = import_class(Path(file), attribute)
        return model_class, model_class.card, None
    if Path(name).is_dir() and name not in [card.name for card in CARDS]:
        folder = Path(name)
        card, weights = read_release(folder) if is_release(folder) else (read_card(folder), folder / SAVED)
        return find_class(card.entry), card, weights
    card = find_card(name)
    return find_class(card.entry), card, None


def import_class(file: Path, attribute: str) -> Any:
    """A model class out of somebody's own Python file, which is run."""
    spec = importlib.util.spec_from_file_location(f"vesalius_user_{file.stem}", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise CardError(f"There is no file {file}; name a model class as my_model.py:MyModel.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    found = getattr(module, attribute, None)
    if not isinstance(getattr(found, "card", None), Card):
        raise CardError(f"{file} has no class {attribute!r} with an attribute `card`; add one or correct the name.")
    return found


def find_class(entry: str) -> Any:
    """The class that a card's entry names, "vesalius.models.sam:Sam"."""
    module, _, attribute = entry.partition(":")
    # A folder's card is data from anywhere: it must not decide what is imported and called.
    if not module.startswith("vesalius.models."):
        raise CardError(
            f"The code of {entry!r} is not part of vesalius; load it as FILE.py:CLASS, with --weights FILE."
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
        if issubclass(found, nn.Module):
            return found
    except (ImportError, AttributeError, TypeError):
        pass
    raise CardError(f"This version of vesalius has no model {entry!r}; install a newer one.")


def read_card(folder: Path) -> Card:
    """The card of a folder made by `save`, whose weights are those that it describes."""
    try:
        card = Card.from_json(json.loads((folder / "card.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        inside = ", ".join(sorted(str(plans.parent) for plans in folder.glob("*/plans.json")))
        meant = f"one with plans.json ({inside})" if inside else "a folder made by vesalius.save or with plans.json"
        raise CardError(f"{folder} holds no card.json; name {meant}.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CardError(f"{folder / 'card.json'} is not a card of this version ({error}); save it again.") from None
    if not (folder / SAVED).is_file() or hash_file(folder / SAVED) != card.weights.sha256:
        raise CardError(f"{folder / SAVED} is not the file that card.json describes; save the model again.")
    return card


def build(model_class: Any, card: Card) -> Any:
    """A model with random weights that knows its card."""
    model = model_class(card.options)
    model.card = card
    return model


def fit_weights(model: nn.Module, state: Mapping[str, Tensor], file: Path) -> None:
    """Load tensors whose names and shapes are exactly the model's; otherwise load nothing and raise CardError."""
    card = card_of(model)
    kept = {
        name: tensor
        for name, tensor in state.items()
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in card.unused)
    }
    convert: Any = getattr(model, "convert", dict)
    kept = {name: tensor for name, tensor in convert(kept).items() if not name.endswith(COUNTER)}
    wanted = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith(COUNTER)}
    problems = {
        "missing": [name for name in wanted if name not in kept],
        "unexpected": [name for name in kept if name not in wanted],
        "of another shape": [
            f"{name} {list(kept[name].shape)} instead of {list(tensor.shape)}"
            for name, tensor in wanted.items()
            if name in kept and kept[name].shape != tensor.shape
        ],
    }
    found = [f"{len(names)} {what} ({shorten(names)})" for what, names in problems.items() if names]
    if found:
        raise CardError(f"{file} does not fit {card.name}, nothing was loaded: {'; '.join(found)}.")
    model.load_state_dict(kept)


def shorten(names: list[str]) -> str:
    """The first names of a list."""
    return ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")


def set_precision(model: Any, device: str, precision: str) -> None:
    """Tell a model in which precision its heavy part runs, and why (`precision_reason`).

    "onnx" is fp32 under ONNX Runtime on a CPU, with the weights as they are now; CardError where that cannot be.
    """
    if precision not in ("auto", "fp32", "bf16", "onnx"):
        raise CardError(f"There is no precision {precision!r}; use auto, fp32, bf16 or onnx.")
    reason = "asked for"
    if precision == "auto":
        precision, reason = fastest_precision(model, device)
    if precision == "onnx":
        from vesalius.export import cached_encoder

        model.onnx_encoder = cached_encoder(model)
    model.precision, model.precision_reason = precision, reason


def fastest_precision(model: Any, device: str) -> tuple[str, str]:
    """The precision ("fp32", "bf16" or "onnx") in which `model.encode` is fastest on `device`, and the reason.

    On a CPU it is measured once for each processor and model, and kept in the cache: which one wins depends on both.
    ONNX Runtime takes part where `vesalius[export]` is installed and the model can be exported.
    """
    if hasattr(model, "encode") and not hasattr(model, "size"):
        return "fp32", "bf16 would change some labels, and is used where it is asked for"
    if not hasattr(model, "encode"):
        return "fp32", "the model has no bf16 mode"
    if torch.device(device).type == "cuda":
        return (
            ("bf16", "the GPU has bf16 units")
            if torch.cuda.is_bf16_supported(including_emulation=False)
            else ("fp32", "an old GPU")
        )
    if torch.device(device).type != "cpu":
        return "fp32", f"bf16 is not measured on {device}"
    if card_of(model).dimensions == 3:
        return "fp32", "bf16 is measured on pictures only"
    from vesalius.export import obstacle

    onnx = not obstacle(type(model))
    measurements = cache_folder() / "precision.json"
    key = f"{card_of(model).name} {model.size} px on {processor()}, torch {torch.__version__}"
    if onnx:
        key += f", onnxruntime {version('onnxruntime')}"
    try:
        known = json.loads(measurements.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if key not in known:
        known[key] = measure_precisions(model, onnx)
        try:
            measurements.parent.mkdir(parents=True, exist_ok=True)
            new = measurements.with_suffix(f".{os.getpid()}")
            new.write_text(json.dumps(known, indent=1))
            new.replace(measurements)
        except OSError:  # a cache that cannot be written costs a measurement each time, not the run
            pass
    seconds: dict[str, float] = known[key]
    chosen = min(seconds, key=lambda name: seconds[name] * (1 if name == "fp32" else GAIN))
    return chosen, f"measured {', '.join(f'{1e3 * s:.0f} ms in {name}' for name, s in seconds.items())}, one thread"


@torch.inference_mode()
def measure_precisions(model: Any, onnx: bool = False) -> dict[str, float]:
    """Seconds that `model.encode` takes on a picture in fp32, bf16 and perhaps ONNX: the best of up to three runs."""
    size = min(model.size, MEASURED_SIZE)
    encoders = {"fp32": model.encode, "bf16": torch.autocast("cpu", torch.bfloat16)(model.encode)}
    if onnx:
        from vesalius.export import cached_encoder

        size = model.size  # the only one that an exported encoder takes
        with suppress(CardError):  # other versions of torch and ONNX may not understand each other
            encoders["onnx"] = cached_encoder(model, threads=1)
    picture = torch.zeros(1, 3, size, size)
    taken: dict[str, list[float]] = {name: [] for name in encoders}
    threads = torch.get_num_threads()
    # One thread, and its own time rather than the clock's: other programs on the machine do not change the result.
    torch.set_num_threads(1)
    for _ in range(3):
        for name, encode in encoders.items():
            start = time.thread_time()
            encode(picture)
            taken[name].append(time.thread_time() - start)
        if sum(map(sum, taken.values())) > PATIENCE_S:
            break
    torch.set_num_threads(threads)
    return {name: min(seconds) for name, seconds in taken.items()}


def processor() -> str:
    """The name of this machine's processor, as far as it tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()} ({torch.backends.cpu.get_cpu_capability()})"
