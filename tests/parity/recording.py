"""A folder of recordings: the contract of an official implementation, its tensor names, and what it put out.

Two formats are read: `in.*` and `out.*` arrays described by `golden_arrays` (2D), and `in_*`, `out_*` and
`stat_*` arrays described by `case_<name>` (3D).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fill import fill
from inputs import cook

FLIPPED = 5e-4  # part of a mask that may differ,
BAND = 1e-3  # and only where the value is this close to the threshold, relative to the largest value
PROPAGATED = re.compile(r"\.(forward|reverse)\.")  # what was carried from slice to slice
LABELS = re.compile("argmax|labels|seg")  # integer arrays in which a tie may fall the other way
TARGET = re.compile(r"target_\d+$")  # packed masks of a session, in which every round starts from the one before:
DIFFERENT = 0.01  # by contract their Dice is at least 0.99, since one voxel may tip others in the next round


@dataclass(frozen=True)
class Check:
    """How far one recorded array is from ours."""

    array: str
    error: float
    limit: float

    @property
    def ok(self) -> bool:
        return self.error <= self.limit

    def __str__(self) -> str:
        return f"{self.array:36} {self.error:9.2e} {self.limit:9.2e} {'ok' if self.ok else 'FAIL'}"


class Recording:
    """One case of a folder."""

    def __init__(self, folder: Path, case: str) -> None:
        self.folder, self.name = folder, case
        self.contract: dict[str, Any] = json.loads((folder / "contract.json").read_text())
        self.case: dict[str, Any] = self.contract.get(f"case_{case}", {"inputs": {}, "outputs": {}})
        with np.load(folder / f"golden_{case}.npz") as arrays:
            self.arrays = dict(arrays)

    def weights(self) -> dict[str, np.ndarray]:
        """The filled tensors under their official names."""
        weights = fill(read_names(self.folder))
        for name, factor in self.contract.get("scale", {}).items():
            weights[name] = weights[name] * np.float32(factor)
        aliases = self.folder / "aliases.txt"
        for line in aliases.read_text().splitlines() if aliases.exists() else ():
            alias, name = line.split("\t")
            weights[alias] = weights[name]
        return weights

    def inputs(self) -> dict[str, np.ndarray]:
        """What the network was given, under the names without `in.` or `in_`.

        Of an interactive model also the `sequence` of its prompts, and which parts of the image it looked at; of one
        for several data sets the `datasets` of a batch.
        """
        stored = {name[3:]: array for name, array in self.arrays.items() if name.startswith(("in.", "in_"))}
        recipes = {name: row for name, row in self.case["inputs"].items() if "recipe" in row}
        if f"sequence_{self.name}" in self.contract:
            stored["sequence"] = np.array(self.contract[f"sequence_{self.name}"], dtype=object)
        if datasets := self.contract.get("datasets_of_batch", {}).get(self.name):
            stored["datasets"] = np.array(datasets)
        stored |= {name[4:]: array for name, array in self.arrays.items() if name.startswith("out_bbox_")}
        return stored | {name: cook(recipe) for name, recipe in recipes.items()}

    def check(self, produced: Mapping[str, np.ndarray]) -> list[Check]:
        """Compare every recorded output with ours: complete arrays under the names without `out.` and `_s4`.

        For a mask give the values that are compared with 0 (logits, or probabilities minus 0.5).
        """
        checks = []
        for name, golden in self.arrays.items():
            if name.startswith("out.") and name.removesuffix(".shape") + ".shape" not in self.arrays:
                checks.append(self.check_picture(name, golden, produced))
            elif name.startswith("out.") and not name.endswith(".shape"):
                checks.append(self.check_mask(name, golden, produced))
            elif name.startswith("out_"):
                checks.append(self.check_volume(name, golden, produced))
            elif name.startswith("stat_"):
                checks.append(self.check_statistics(name, golden, produced))
        return checks

    def check_picture(self, name: str, golden: np.ndarray, produced: Mapping[str, np.ndarray]) -> Check:
        """A 2D array, of which the recording may hold every n-th value along some axes."""
        ours = produced.get(without_stride(name.removeprefix("out.")))
        tolerance = self.contract["tolerance"]
        limit = tolerance["float32_cpu"]
        if PROPAGATED.search(name):  # memories are rounded to bfloat16, which may fall the other way
            limit = tolerance.get("propagated_frames", limit)
        ours = None if ours is None else thin(ours, golden.shape, self.strides(name))
        if ours is not None and golden.dtype.kind == "i" and LABELS.search(name):
            return Check(name, float((ours != golden).mean()), FLIPPED)
        return Check(name, distance(ours, golden) / max(largest(golden), 0.1), limit)

    def check_mask(self, name: str, golden: np.ndarray, produced: Mapping[str, np.ndarray]) -> Check:
        """A packed mask."""
        shape = tuple(self.arrays[f"{name}.shape"])
        ours = produced.get(without_stride(name.removeprefix("out.")))
        ours = None if ours is None else thin(ours, shape, self.strides(name))
        if ours is None:
            return Check(name, float("inf"), FLIPPED)
        margin = ours - 0.5 if ours.dtype == bool else ours
        mask = np.unpackbits(golden)[: margin.size].reshape(shape).astype(bool)
        flipped = (margin > 0) != mask
        close = np.abs(margin) < BAND * largest(margin)
        return Check(name, float("inf") if (flipped & ~close).any() else float(flipped.mean()), FLIPPED)

    def check_volume(self, name: str, golden: np.ndarray, produced: Mapping[str, np.ndarray]) -> Check:
        """A 3D array with the strides that the contract states; the relative tolerance is taken off the error."""
        row = self.case["outputs"].get(name.removeprefix("out_"), {})
        ours = produced.get(name.removeprefix("out_"))
        if ours is not None and row.get("stride"):
            ours = ours[tuple(slice(None, None, step) for step in row["stride"])]
        if ours is not None and golden.dtype.kind in "iu" and LABELS.search(name) and ours.shape == golden.shape:
            return Check(name, float((ours != golden).mean()), FLIPPED)
        if ours is not None and TARGET.search(name) and ours.shape == golden.shape:
            return Check(name, 1 - dice(np.unpackbits(ours), np.unpackbits(golden)), DIFFERENT)
        relative = self.contract["tolerance"].get("rtol", 0.0)
        return Check(name, distance(ours, golden, relative), self.absolute(name.removeprefix("out_"), golden))

    def check_statistics(self, name: str, golden: np.ndarray, produced: Mapping[str, np.ndarray]) -> Check:
        """Mean, standard deviation, minimum, maximum and root mean square of a complete 3D array."""
        ours = produced.get(name.removeprefix("stat_"))
        if ours is not None:
            ours = ours.astype(np.float64)
            ours = np.array([ours.mean(), ours.std(), ours.min(), ours.max(), np.sqrt((ours**2).mean())])
        relative = self.contract["tolerance"].get("rtol", 0.0)
        return Check(name, distance(ours, golden, relative), self.absolute(name.removeprefix("stat_"), golden))

    def absolute(self, name: str, golden: np.ndarray) -> float:
        """The contract's absolute tolerance, which is for values of order one."""
        statistics = self.arrays.get(f"stat_{name}")
        scale = statistics[4] if statistics is not None else np.sqrt((golden.astype(np.float64) ** 2).mean())
        return float(self.contract["tolerance"]["atol"] * max(1.0, scale))

    def strides(self, name: str) -> list[int]:
        """The strides that may have thinned an array: those in its description, or else in its name.

        An array of a prompt set that the contract does not describe is described like that of another one.
        """
        described = self.contract.get("golden_arrays", {})
        last = name.rpartition(".")[2]
        alike = [row for key, row in described.items() if key.rpartition(".")[2] == last]
        text = described.get(name, alike[0] if alike else ("", "", ""))[2]
        return [int(step) for step in re.findall(r"::(\d+)", text) + re.findall(r"_s(\d+)$", name)]


def read_names(folder: Path) -> list[tuple[str, tuple[int, ...], str]]:
    """Name, shape and dtype of every tensor of the official state dict."""
    rows = [line.split("\t") for line in (folder / "keys.txt").read_text().splitlines()]
    return [(name, tuple(ast.literal_eval(shape)), dtype) for name, shape, dtype in rows]


def without_stride(name: str) -> str:
    """`c0.logits_s4` as `c0.logits`."""
    return re.sub(r"_s\d+$", "", name)


def thin(array: np.ndarray, shape: tuple[int, ...], strides: list[int]) -> np.ndarray | None:
    """Every n-th value along each axis, n being the stride that gives the wanted shape; None if there is none."""
    if array.ndim != len(shape):
        return None
    steps = []
    for size, wanted in zip(array.shape, shape, strict=True):
        fitting = [step for step in (1, *strides) if -(-size // step) == wanted]
        if not fitting:
            return None
        steps.append(slice(None, None, fitting[0]))
    return array[tuple(steps)]


def distance(ours: np.ndarray | None, golden: np.ndarray, relative: float = 0.0) -> float:
    """The largest difference beyond a relative one; infinite for an array that is missing or of another shape."""
    if ours is None or ours.shape != golden.shape:
        return float("inf")
    exact = golden.astype(np.float64)
    return largest(np.maximum(np.abs(ours - exact) - relative * np.abs(exact), 0))


def dice(ours: np.ndarray, golden: np.ndarray) -> float:
    """How much of two masks of 0 and 1 is in both; 1 for two empty ones."""
    both = int(ours.sum(dtype=int) + golden.sum(dtype=int))
    return 2 * np.count_nonzero(ours & golden) / both if both else 1.0


def largest(array: np.ndarray) -> float:
    """The largest absolute value; 0 for an empty array."""
    return float(np.abs(array).max(initial=0))
