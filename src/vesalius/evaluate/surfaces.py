"""How far the surfaces of two masks are apart: NSD, HD, HD95, ASSD and MASD from one measurement.

All follow `surface-distance`: distances are between the corners through which the surfaces pass, and every corner
counts with the area that it stands for (`surfels`). `docs/metrics.md` says what other libraries do instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vesalius.evaluate.surfels import code_corners, surfel_sizes

Mask = NDArray[np.bool_]
REACH = 4.0  # times the smallest spacing: up to there neighbours are looked up, further away a tree is asked
ROUNDING = 1e-9  # of all area: so little is not needed to reach a percentile


@dataclass(frozen=True, eq=False)
class Distances:
    """The distance in mm from each piece of either surface to the other one, infinite where the other mask is empty.

    `from_prediction` and `from_reference` have one number for each piece, and the `sizes_` of these pieces are in mm²
    (in mm for 2D masks). All methods give NaN where both masks are empty.
    """

    from_prediction: NDArray[np.float64]
    sizes_prediction: NDArray[np.float64]
    from_reference: NDArray[np.float64]
    sizes_reference: NDArray[np.float64]

    def nsd(self, tolerance_mm: float) -> float:
        """Normalised surface Dice: the share of both surfaces together that is within the tolerance of the other."""
        near = sum(float(sizes[distances <= tolerance_mm].sum()) for distances, sizes in self._sides())
        whole = sum(float(sizes.sum()) for _, sizes in self._sides())
        return near / whole if whole else float("nan")

    def hausdorff(self, percent: float = 100) -> float:
        """The larger of the distances within which `percent` of each surface's area lies of the other surface."""
        if self._both_empty():
            return float("nan")
        return max(_percentile(distances, sizes, percent) for distances, sizes in self._sides())

    def assd(self) -> float:
        """Average symmetric surface distance: the mean over the area of both surfaces together."""
        distances, sizes = (np.concatenate(parts) for parts in zip(*self._sides(), strict=True))
        return float(np.average(distances, weights=sizes)) if len(sizes) else float("nan")

    def masd(self) -> float:
        """Mean average surface distance: the mean of the two surfaces' own means, each over its own area."""
        if self._both_empty():
            return float("nan")
        means = [np.average(distances, weights=sizes) if len(sizes) else np.inf for distances, sizes in self._sides()]
        return float(np.mean(means))

    def _sides(self) -> tuple[tuple[NDArray, NDArray], tuple[NDArray, NDArray]]:
        return (self.from_prediction, self.sizes_prediction), (self.from_reference, self.sizes_reference)

    def _both_empty(self) -> bool:
        return not len(self.from_prediction) and not len(self.from_reference)


def measure_distances(prediction: Mask, reference: Mask, spacing_mm: Sequence[float]) -> Distances:
    """Distances between the surfaces of two masks (i, j, k) or (i, j) of one shape, inside the box that holds both.

    Takes about six bytes for each voxel of that box, and a hundred for each piece of surface.
    """
    if prediction.shape != reference.shape or prediction.ndim != len(spacing_mm):
        raise ValueError(f"masks {prediction.shape} and {reference.shape} and {len(spacing_mm)} spacings do not fit")
    spacing = tuple(float(mm) for mm in spacing_mm)
    near = _offsets_within(REACH * min(spacing), spacing)
    box = _common_box(prediction, reference)
    ours, theirs = (_Surface.of(mask[box], near.max(axis=0).tolist(), spacing) for mask in (prediction, reference))
    return Distances(_distances(ours, theirs, near), ours.sizes, _distances(theirs, ours, near), theirs.sizes)


@dataclass(frozen=True, eq=False)
class _Surface:
    """The corners that a surface passes through: flat indices into `there` (all corners, bool), and their sizes."""

    there: NDArray[np.bool_]
    corners: NDArray[np.int64]
    sizes: NDArray[np.float64]
    spacing: tuple[float, ...]

    @classmethod
    def of(cls, mask: Mask, margin: Sequence[int], spacing: tuple[float, ...]) -> _Surface:
        codes, sizes = code_corners(mask, margin), surfel_sizes(spacing)
        there = codes - np.uint8(1) < len(sizes) - 2  # neither 0, which becomes 255, nor the last code
        corners = np.flatnonzero(there)
        return cls(there, corners, sizes[codes.ravel()[corners]], spacing)

    def index(self, corners: NDArray[np.int64]) -> NDArray[np.int64]:
        """Corners as indices (N, axes)."""
        return np.stack(np.unravel_index(corners, self.there.shape), axis=1)


def _distances(start: _Surface, goal: _Surface, near: NDArray[np.int64]) -> NDArray[np.float64]:
    """From each corner of one surface to the nearest of the other; `near` are the offsets to try first, in order."""
    distances = np.full(len(start.corners), np.inf)
    if not len(goal.corners):
        return distances
    left, there = np.arange(len(distances)), goal.there.ravel()
    strides = np.array(goal.there.strides)
    for step, length in zip((near @ strides).tolist(), _lengths(near, start.spacing), strict=True):
        hit = there[start.corners[left] + step]
        distances[left[hit]] = length
        left = left[~hit]
    if len(left):
        index, others = start.index(start.corners[left]), goal.index(goal.corners)
        tree = cKDTree(others * start.spacing, balanced_tree=False, compact_nodes=False)
        nearest = tree.query(index * start.spacing)[1]
        distances[left] = _lengths(index - others[nearest], start.spacing)
    return distances


def _offsets_within(reach_mm: float, spacing: tuple[float, ...]) -> NDArray[np.int64]:
    """All offsets (N, axes) between corners that are at most so long, the shortest first."""
    most = [int(reach_mm / mm) for mm in spacing]
    offsets = np.array(list(product(*(range(-n, n + 1) for n in most))))
    lengths = _lengths(offsets, spacing)
    order = np.argsort(lengths, kind="stable")
    return offsets[order[: int((lengths <= reach_mm).sum())]]


def _lengths(offsets: NDArray[np.int64], spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Lengths in mm, rounded as a distance transform rounds them, so that a tolerance cuts at the same place."""
    return np.sqrt(((offsets * spacing) ** 2).sum(axis=1))


def _percentile(distances: NDArray[np.float64], sizes: NDArray[np.float64], percent: float) -> float:
    """The least distance within which `percent` of the area lies; infinite without any area."""
    if not len(sizes):
        return float("inf")
    order = np.argsort(distances)
    reached = np.cumsum(sizes[order])
    place = np.searchsorted(reached, (percent / 100 - ROUNDING) * reached[-1])
    return float(distances[order[min(int(place), len(order) - 1)]])


def _common_box(prediction: Mask, reference: Mask) -> tuple[slice, ...]:
    """The smallest box that holds both masks."""
    box = []
    for axis in range(prediction.ndim):
        others = tuple(n for n in range(prediction.ndim) if n != axis)
        filled = np.flatnonzero(prediction.any(axis=others) | reference.any(axis=others))
        box.append(slice(filled[0], filled[-1] + 1) if len(filled) else slice(0, 0))
    return tuple(box)
