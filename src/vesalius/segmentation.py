"""Labelled voxels on an image's own grid, with the names of the structures and what was looked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from vesalius.answer import Answer
from vesalius.errors import GeometryError
from vesalius.grid import Grid
from vesalius.labels import LabelSpace
from vesalius.volume import Source, Volume

BLOCK_BYTES = 64 * 2**20  # float values that are held at output resolution at one time


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Label layers (L, i, j, k) on a grid; overlapping structures sit in different layers.

    `places` maps each structure's name to its (layer, value). `annotated` are the structures that were looked for:
    one of them without voxels is absent, anything else is unknown. `licence` is that of the weights which made it, if
    it restricts their use; files carry it too.
    """

    layers: NDArray
    grid: Grid
    labels: LabelSpace
    places: Mapping[str, tuple[int, int]]
    annotated: frozenset[str] = frozenset()
    source: Source = field(default_factory=Source)
    licence: str = ""

    def __post_init__(self) -> None:
        if self.layers.ndim != 4 or self.layers.shape[1:] != self.grid.shape:
            raise GeometryError(
                f"Label layers {self.layers.shape} do not fit a grid {self.grid.shape}; give (L, i, j, k)."
            )

    def __repr__(self) -> str:
        names = ", ".join(self.labels.names)
        return f"Segmentation({names or 'empty'}; {len(self.layers)} layer(s) of {self.grid.shape})"

    def mask(self, name: str) -> NDArray[np.bool_]:
        """The voxels (i, j, k) of one structure; raises PromptError for an unknown name."""
        layer, value = self.places[self.labels.named(name).name]
        return self.layers[layer] == value

    def to(self, grid: Grid) -> Segmentation:
        """The same labels on another grid: the nearest voxel's label, background outside."""
        layers = Volume(self.layers, self.grid).to(grid, order=0).voxels.astype(self.layers.dtype)
        return replace(self, layers=layers, grid=grid)

    @classmethod
    def from_answers(cls, answers: Iterable[Answer], grid: Grid, labels: LabelSpace) -> Segmentation:
        """Reads a model's best answers block by block, each freed before the next is made.

        At no time are there more floats than one block of the answer and one slab of `BLOCK_BYTES`.
        """
        layers = _Layers(grid, labels)
        for answer in answers:
            if answer.candidate == 0 and answer.present:
                for start, values in _slabs(answer, grid):
                    layers.read(answer, start, values)
                    del values  # so that the next slab is not made while this one is held
        return layers.segmentation()


class _Layers:
    """The label layers while they are being filled; a structure that meets another moves to a free layer."""

    def __init__(self, grid: Grid, labels: LabelSpace) -> None:
        self.grid, self.labels = grid, labels
        self.dtype = np.uint8 if len(labels.names) < 256 else np.uint16
        self.layers = [np.zeros(grid.shape, self.dtype)]
        self.places = {name: (0, value) for value, name in enumerate(labels.names, start=1)}

    def read(self, answer: Answer, start: NDArray[np.int64], values: NDArray) -> None:
        """Adds one slab of values (T, i, j, k) whose first voxel is index `start`."""
        where = tuple(slice(s, s + n) for s, n in zip(start, values.shape[1:], strict=True))
        if answer.coded:
            self._write_codes(answer.targets, where, values[0])
        elif answer.exclusive:
            winner = values.argmax(axis=0).astype(np.uint16)
            winner[values[0] == -np.inf] = len(answer.targets)
            self._write_codes((*answer.targets, ""), where, winner)
        else:
            for channel, target in enumerate(answer.targets):
                if target and (inside := values[channel] > answer.threshold).any():
                    self._write(target, where, inside)

    def _write_codes(self, targets: tuple[str, ...], where: tuple[slice, ...], codes: NDArray) -> None:
        """Adds targets that do not overlap, all at once where nothing of the first layer is in their way."""
        first = [target and self.places[target][0] == 0 for target in targets]
        value_of = np.array([self.places[t][1] if ok else 0 for t, ok in zip(targets, first, strict=True)], self.dtype)
        values = value_of[codes]
        here = self.layers[0][where]
        if any(t and not ok for t, ok in zip(targets, first, strict=True)) or here[values > 0].any():
            for code in np.unique(codes):
                if targets[code]:
                    self._write(targets[code], where, codes == code)
        else:
            np.maximum(here, values, out=here)

    def _write(self, target: str, where: tuple[slice, ...], inside: NDArray[np.bool_]) -> None:
        layer, value = self.places[target]
        here = self.layers[layer][where]
        others = here[inside]
        if ((others != 0) & (others != value)).any():
            layer = self._move(target, where, inside)
        self.layers[layer][where][inside] = value

    def _move(self, target: str, where: tuple[slice, ...], inside: NDArray[np.bool_]) -> int:
        """Takes `target` to the first layer where neither its voxels so far nor the new ones meet another."""
        layer, value = self.places[target]
        old = self.layers[layer] == value
        self.layers[layer][old] = 0
        for free in range(layer + 1, len(self.layers) + 1):
            if free == len(self.layers):
                self.layers.append(np.zeros(self.grid.shape, self.dtype))
            if not self.layers[free][old].any() and not self.layers[free][where][inside].any():
                break
        self.layers[free][old] = value
        self.places[target] = (free, value)
        return free

    def segmentation(self) -> Segmentation:
        """The finished layers."""
        names = frozenset(self.labels.names)
        layers = self.layers[0][None] if len(self.layers) == 1 else np.stack(self.layers)
        return Segmentation(layers, self.grid, self.labels, self.places, names)


def _slabs(answer: Answer, grid: Grid) -> Iterable[tuple[NDArray[np.int64], NDArray]]:
    """Values on `grid`, slab by slab of the part that they cover; -inf (of masks and codes 0) beyond."""
    values = answer.values
    faces = [(-0.5, n - 0.5) for n in values.grid.shape]
    reach = grid.index(values.grid.world(list(product(*faces))))
    start = np.clip(np.ceil(reach.min(axis=0) - 1e-6), 0, grid.shape).astype(int)
    stop = np.clip(np.floor(reach.max(axis=0) + 1e-6) + 1, 0, grid.shape).astype(int)
    if (stop <= start).any():
        return
    if values.voxels.dtype.kind not in "bf" and not answer.coded:
        values = Volume(values.voxels.astype(np.float32), values.grid)
    nowhere = -np.inf if values.voxels.dtype.kind == "f" else 0
    _, rows, columns = stop - start
    thickness = max(1, BLOCK_BYTES // (4 * len(values.voxels) * int(rows) * int(columns)))
    for first in range(start[0], stop[0], thickness):
        last = min(first + thickness, stop[0])
        corner = np.array([first, start[1], start[2]])
        block = grid.crop(corner, (int(last - first), int(rows), int(columns)))
        found = values.to(block, order=0 if answer.coded else 1, fill=nowhere).voxels
        yield corner, found.astype(values.voxels.dtype) if answer.coded else found
