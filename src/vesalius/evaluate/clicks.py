"""Where a person who knew the truth would click next: oracle clicks, from masks (i, j, k) on an image's grid.

The clicks of the CVPR 2025 challenge follow rules of their own: see `challenge_click`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from vesalius.grid import PLANES, Grid
from vesalius.prompts import Point
from vesalius.volume import Volume

Mask = NDArray[np.bool_]

TOUCHING = np.ones((3, 3, 3), bool)  # voxels that share a corner are one component in the challenge
DOWNSAMPLED_VOXELS = 60_000_000  # components with a larger bounding box are halved by the challenge's script


def deepest(region: Mask, spacing_mm: ArrayLike) -> tuple[int, ...]:
    """The index furthest in mm from what is outside a region of any dimension; outside the image is outside."""
    depth = ndimage.distance_transform_edt(np.pad(region, 1), sampling=spacing_mm)
    return tuple(int(n) - 1 for n in np.unravel_index(depth.argmax(), depth.shape))


def first_click(mask: Mask, grid: Grid, plane: str) -> tuple[int, ...]:
    """The index of the deepest pixel of the slice of largest area in a plane ("axial", "coronal" or "sagittal")."""
    order, _ = grid.axis_order(PLANES[plane])
    return _deepest_of_slice(mask, grid, order[2], int(mask.sum(axis=order[:2]).argmax()))


def correction(found: Mask, mask: Mask, grid: Grid) -> Point | None:
    """A click at the deepest point, in mm (of a picture: pixel), of the largest error; None where there is no error.

    Missed and spilled voxels are components of their own, of voxels that share a face; the click is positive where the
    target was missed.
    """
    box = _box_around(found != mask)
    if box is None:
        return None
    found, mask = found[box], mask[box]
    largest, positive = np.zeros_like(mask), True
    for error, sign in ((mask & ~found, True), (found & ~mask, False)):
        parts, _ = ndimage.label(error)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        if sizes.max() > largest.sum():
            largest, positive = parts == sizes.argmax(), sign
    thin = grid.thin_axis()
    inside = deepest(largest, grid.spacing_mm) if thin is None else _deepest_of_slice(largest, grid, thin, 0)
    index = np.add(inside, [side.start for side in box])
    return Point.from_index(grid, index, positive)


def challenge_click(found: Mask, mask: Mask, grid: Grid) -> Point | None:
    """The click of the CVPR 2025 interactive challenge; None where there is no error.

    It is drawn from the deepest voxels of the largest component of wrong voxels, missed and spilled ones together,
    connected by corners too; depth is in voxels, not in mm, and the draw has the fixed seed 42. Reimplemented after
    `CVPR25_iter_eval.py` of JunMa11/CVPR-MedSegFMCompetition, which works on arrays [z, y, x].
    """
    box = _box_around(found != mask)
    if box is None:
        return None
    start, shape = [side.start for side in box], found[box].shape
    turned = Volume(np.stack([found[box], mask[box]]), grid.crop(start, shape)).orient("SPL")
    parts, _ = ndimage.label(turned.voxels[0] != turned.voxels[1], TOUCHING)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    largest = sizes.argmax()
    span = ndimage.find_objects(parts)[largest - 1]
    component = parts[span] == largest
    depth = _challenge_depth(component) * component
    if not depth.any():
        depth = component
    choices = np.argwhere(depth == depth.max())
    chosen = choices[np.random.RandomState(42).choice(len(choices))] + [side.start for side in span]
    return Point.from_index(turned.grid, chosen, bool(turned.voxels[1][tuple(chosen)]))


def _deepest_of_slice(region: Mask, grid: Grid, across: int, at: int) -> tuple[int, ...]:
    """The index of the deepest pixel of one slice: in depth, what is above and below it plays no part."""
    index = deepest(region.take([at], across).squeeze(across), np.delete(grid.spacing_mm, across))
    return (*index[:across], at, *index[across:])


def _box_around(mask: Mask) -> tuple[slice, ...] | None:
    """The smallest box that holds a mask; None for an empty one."""
    boxes = ndimage.find_objects(mask.view(np.uint8))
    return boxes[0] if boxes else None


def _challenge_depth(component: Mask) -> NDArray:
    """The distance in voxels to what is outside; of huge components, to what is outside at half the resolution."""
    margin = [max(n // 4, 1) for n in component.shape]
    padded = np.pad(component, [(n, n) for n in margin])
    inside = tuple(slice(m, m + n) for m, n in zip(margin, component.shape, strict=True))
    if padded.size <= DOWNSAMPLED_VOXELS:
        return ndimage.distance_transform_edt(padded)[inside]
    even = np.pad(padded, [(0, n % 2) for n in padded.shape])
    i, j, k = (n // 2 for n in even.shape)
    halved = even.reshape(i, 2, j, 2, k, 2).any(axis=(1, 3, 5))
    depth = ndimage.distance_transform_edt(halved)
    for axis in range(3):
        depth = depth.repeat(2, axis)
    return depth[inside]
