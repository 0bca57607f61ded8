"""Pieces of surface: where the surface of a mask runs between voxels, and how large each piece is.

The surface of a mask passes through the corners at which voxels inside and outside meet. Each such corner has eight
voxels around it (four in 2D), and marching cubes lays a few triangles (line segments) between their centres. Their area
is what the corner counts for: the definition of Nikolov et al., Clinically Applicable Segmentation of Head and Neck
Anatomy for Radiotherapy, 2021, whose code is the package `surface-distance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

Corner = tuple[int, ...]


def code_corners(mask: NDArray[np.bool_], margin: Sequence[int]) -> NDArray[np.uint8]:
    """Which voxels around each corner are inside: the voxel at 0 or 1 along each axis has bit (1, 2, 4) @ place.

    Shape: one corner more than voxels along each axis, and `margin` corners of nothing on all sides of that.
    """
    codes = np.pad(mask, [(m + 1, m + 1) for m in margin]).view(np.uint8)
    for axis in range(mask.ndim):
        along = np.moveaxis(codes, axis, 0)
        pairs = along[1:] << 2**axis
        pairs |= along[:-1]
        codes = np.moveaxis(pairs, 0, axis)
    return np.ascontiguousarray(codes)


@lru_cache(maxsize=64)
def surfel_sizes(spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """The area in mm² (in 2D the length in mm) of the surface at a corner, for each code of `code_corners`.

    The kind of voxels that is rarer around the corner falls into parts that touch by faces, and each part has a surface
    of its own; where both kinds are four, those inside count.
    """
    places = list(product((0, 1), repeat=len(spacing_mm)))
    sizes = np.zeros(2 ** len(places))
    for code in range(len(sizes)):
        inside = [place for place in places if code >> sum(p << n for n, p in enumerate(place)) & 1]
        rarer = inside if 2 * len(inside) <= len(places) else [place for place in places if place not in inside]
        sizes[code] = sum(_size(part, spacing_mm) for part in _parts(rarer))
    sizes.setflags(write=False)
    return sizes


def _parts(places: list[Corner]) -> list[list[Corner]]:
    """Places grouped by their common faces."""
    left, parts = list(places), []
    while left:
        part = [left.pop()]
        for place in part:
            near = [other for other in left if _steps(place, other) == 1]
            part += near
            left = [other for other in left if other not in near]
        parts.append(part)
    return parts


def _size(part: list[Corner], spacing_mm: tuple[float, ...]) -> float:
    """The area of marching cubes' triangles around one part, or the length of its segment."""
    spacing = np.asarray(spacing_mm)
    across = np.ptp(part, axis=0) == 0  # the axes along which the part has no extent
    if len(spacing) == 2:
        half = spacing / 2
        return float(np.linalg.norm(half) if len(part) == 1 else spacing[~across].sum())
    faces = np.array([spacing[1] * spacing[2], spacing[0] * spacing[2], spacing[0] * spacing[1]])
    return sum(float(np.linalg.norm(normal * faces)) for normal in _normals(part, across)) / 8


def _normals(part: list[Corner], across: NDArray[np.bool_]) -> list[NDArray]:
    """Normals of the pieces of surface around a part, of either sign, as long as eight times their areas in voxels.

    Triangles in one plane are one piece.
    """
    ones = np.ones(3)
    neighbours = [sum(_steps(place, other) == 1 for other in part) for place in part]
    match len(part), max(neighbours):
        case 1, _:  # a corner is cut off
            return [ones]
        case 2, _:  # an edge
            return [4 * across]
        case 3, _:  # an L
            return [4 * across, 3 * ones]
        case 4, 3:  # a corner and its three neighbours
            return [6 * ones]
        case _ if across.any():  # a face
            return [8 * across]
        case _:  # a path along all three axes
            first, second = (place for place, count in zip(part, neighbours, strict=True) if count == 2)
            ends = np.equal(first, second)  # the axes of the path's first and last step
            return [4 * ones, *(2.0 * (np.arange(3) != axis) for axis in np.flatnonzero(ends))]


def _steps(one: Corner, other: Corner) -> int:
    return int(np.abs(np.subtract(one, other)).sum())
