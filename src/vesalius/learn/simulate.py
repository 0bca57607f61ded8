"""Prompts as a person would give them: clicks, boxes, scribbles, and corrections of the largest error.
Points are (x, y) pixels of the mask they were drawn for, integer = pixel centre."""

from __future__ import annotations

import numpy as np

POSITIVE, NEGATIVE, CORNER, OPPOSITE_CORNER, PADDING = 1, 0, 2, 3, -1


def depth(region: np.ndarray) -> np.ndarray:
    """Distance in pixels of every pixel of (H, W) bool to the nearest pixel outside; the picture's edge is outside."""
    from scipy import ndimage

    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    inside = np.zeros(region.shape, dtype=np.float32)
    if len(rows):
        crop = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        inside[crop] = ndimage.distance_transform_edt(np.pad(region[crop], 1))[1:-1, 1:-1]
    return inside


def centre(region: np.ndarray) -> tuple[int, int]:
    """The pixel that is deepest inside a region."""
    y, x = np.unravel_index(np.argmax(depth(region)), region.shape)
    return int(x), int(y)


def click(region: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    """A first click: half of the time at the centre, else anywhere inside or, once in five, near the border."""
    style = rng.random()
    if style < 0.5:
        return centre(region)
    ys, xs = np.nonzero(region)
    if style > 0.8:
        depths = depth(region)[ys, xs]
        near = np.flatnonzero(depths <= max(np.quantile(depths, 0.25), 1))
        ys, xs = ys[near], xs[near]
    at = rng.integers(len(ys))
    return int(xs[at]), int(ys[at])


def box(
    region: np.ndarray, looseness: float, rng: np.random.Generator
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Two corners around a region, each side moved by up to `looseness` of the box's size, outwards twice as often."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    corners = np.array([columns[0], rows[0], columns[-1], rows[-1]], dtype=np.float64)
    width, height = corners[2] - corners[0] + 1, corners[3] - corners[1] + 1
    outwards = rng.uniform(-0.5, 1, size=4) * looseness
    corners += outwards * np.array([-width, -height, width, height])
    limit = np.array([region.shape[1] - 1, region.shape[0] - 1] * 2)
    x0, y0, x1, y1 = np.clip(corners, 0, limit)
    return (float(x0), float(y0)), (float(x1), float(y1))


def scribble(region: np.ndarray, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """A stroke along a region's centre line: the deepest pixel of each of `count` sections of its long axis."""
    ys, xs = np.nonzero(region)
    depths = depth(region)[ys, xs]
    offsets = np.stack([xs - xs.mean(), ys - ys.mean()])
    _, axes = np.linalg.eigh(offsets @ offsets.T)
    along = axes[:, -1] @ offsets
    start, end = np.quantile(along, (rng.uniform(0, 0.3), rng.uniform(0.7, 1)))
    section = np.floor((along - start) / max(end - start, 1e-6) * count)
    points = []
    for number in range(count):
        members = np.flatnonzero(section == number)
        if len(members):
            deepest = members[np.argmax(depths[members])]
            points.append((int(xs[deepest]), int(ys[deepest])))
    return points or [centre(region)]


def correction(region: np.ndarray, predicted: np.ndarray) -> tuple[tuple[int, int], int] | None:
    """The next click: the centre of the largest error component, positive where the mask misses it, negative where it
    spills. None where the two agree."""
    from scipy import ndimage

    missed = region & ~predicted
    spilled = predicted & ~region
    largest, size, sign = missed, 0, POSITIVE
    for error, kind in ((missed, POSITIVE), (spilled, NEGATIVE)):
        numbered, count = ndimage.label(error)
        if count == 0:
            continue
        areas = np.bincount(numbered.ravel())[1:]
        if areas.max() > size:
            largest, size, sign = numbered == areas.argmax() + 1, int(areas.max()), kind
    return (centre(largest), sign) if size else None


def mask_hint(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask of a neighbouring slice, (H, W) bool: the region shrunk or grown, and moved, by a tenth of its size."""
    from scipy import ndimage

    reach = max(np.sqrt(region.sum()) * 0.1, 1.0)
    signed = depth(region) - ndimage.distance_transform_edt(~region)
    moved = ndimage.shift(signed, rng.uniform(-reach, reach, size=2), order=1, mode="nearest")
    roughness = ndimage.zoom(rng.normal(size=(8, 8)), np.array(region.shape) / 8, order=1)
    hint = moved + rng.uniform(-reach, reach) + roughness * reach * 0.5 > 0
    return hint if hint.any() else region
