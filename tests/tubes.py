"""A small image with a bright tube in it, for walks through slices."""

from __future__ import annotations

import numpy as np

import vesalius as vs

GRID = vs.make_grid((40, 36, 30), np.diag([1.0, 1, 1, 1]))
X, Y, Z = np.meshgrid(*map(np.arange, GRID.shape), indexing="ij")


def volume(inside: np.ndarray) -> vs.Volume:
    return vs.Volume(np.where(inside, 200, 20).astype(np.uint8)[None], GRID)


def tube(first: int = 4, last: int = 25, centre: tuple[int, int] = (20, 18)) -> np.ndarray:
    return ((X - centre[0]) ** 2 + (Y - centre[1]) ** 2 <= 36) & (first <= Z) & (last >= Z)


def at(*index: float, positive: bool = True) -> vs.Point:
    return vs.Point.from_index(GRID, index, positive)
