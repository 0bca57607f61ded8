"""Prompts in the .npz of the CVPR 2024 and 2025 challenges: `boxes`, `clicks` with `clicks_order`, `text_prompts`.

The k-th box and the k-th entry of `clicks` belong to target k. Boxes are closed; clicks are stored as z, y, x.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import FormatError

KEYS = ("boxes", "clicks", "clicks_order", "text_prompts")


def challenge_to_records(path: Path) -> list[tuple[str, dict]]:
    """Where each prompt stands in the file, and its JSON record in voxel indices x, y, z; per target, box first.

    Masks drawn as `scribbles` or `recist` are not prompts of a kind that vesalius has and are left out.
    Raises FormatError.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {key: _array(archive.read(f"{key}.npy")) for key in KEYS if f"{key}.npy" in archive.namelist()}
        boxes = arrays["boxes"].tolist() if "boxes" in arrays else []
        clicks = arrays["clicks"].tolist() if "clicks" in arrays else []
        orders = arrays["clicks_order"].tolist() if "clicks_order" in arrays else []
        words = arrays["text_prompts"].item() if "text_prompts" in arrays else {}
        records: list[tuple[str, dict]] = []
        for k in range(max(len(boxes), len(clicks))):
            if k < len(boxes):
                records.append((f"boxes[{k}]", {"kind": "box", "target": str(k + 1), **_box(boxes[k])}))
            if k < len(clicks):
                for at, positive in _in_order(clicks[k], orders[k] if orders else None):
                    record = {"kind": "point", "target": str(k + 1), "positive": positive, "at": at}
                    records.append((f"clicks[{k}]", record))
        for target in sorted(words.keys() - {"instance_label"}):
            records.append((f"text_prompts[{target}]", {"kind": "text", "target": target, "words": words[target]}))
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, KeyError, IndexError, TypeError, ValueError) as error:
        raise FormatError(f"{path.name} holds no prompts as the challenges write them ({error}).") from None
    if not records:
        raise FormatError(f"{path.name} holds no prompts; it needs one of the arrays {', '.join(KEYS)}.")
    return records


def _box(box: dict | list) -> dict[str, list[float]]:
    """2024: x_min, y_min(, z_min), x_max, y_max(, z_max). 2025: the extent in z, and in x and y that of one slice."""
    if isinstance(box, dict):
        low, high = ([float(box[f"{name}_{end}"]) for name in ("z_mid_x", "z_mid_y", "z")] for end in ("min", "max"))
    else:
        low, high = ([float(v) for v in part] for part in (box[: len(box) // 2], box[len(box) // 2 :]))
    return {"corner": low, "opposite": high}


def _in_order(clicks: dict, order: list | None) -> Iterator[tuple[list[float], bool]]:
    """The clicks of one target as x, y, z and whether they are on it, in the order that they were made."""
    left = {kind: list(clicks[kind]) for kind in ("fg", "bg")}
    for kind in order or ["fg"] * len(left["fg"]) + ["bg"] * len(left["bg"]):
        if kind:  # None: no error was left to click on
            z, y, x = left[kind].pop(0)
            yield [float(x), float(y), float(z)], kind == "fg"


def _array(content: bytes) -> NDArray:
    """One .npy; objects (the lists and dictionaries of 2025) are unpickled as plain data only."""
    stream = io.BytesIO(content)
    major, _ = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    if header(stream)[2].hasobject:
        return _PlainData(stream).load()
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


class _PlainData(pickle.Unpickler):
    """Lists, dictionaries, text and numpy's own numbers: a pickle that names anything else may run any code."""

    def find_class(self, module: str, name: str) -> object:
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in (
            "ndarray",
            "dtype",
            "scalar",
            "_reconstruct",
        ):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no plain data")
