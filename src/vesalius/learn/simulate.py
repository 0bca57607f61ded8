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
    """A first click: mostly at the centre, else anywhere inside or, once in seven, near the border."""
    style = rng.random()
    if style < 0.6:
        return centre(region)
    ys, xs = np.nonzero(region)
    if style > 0.85:
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


def stroke(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A drawn line as (H, W) bool: through the middle of a region, straight across it, or along inside its border."""
    height, width = region.shape
    style = rng.random()
    if style < 0.3:
        depths = depth(region)
        wanted = rng.uniform(0.15, 0.6) * depths.max()
        along = region & (np.abs(depths - wanted) <= 1)
        ys, xs = np.nonzero(along)
        if len(ys):
            at, reach = rng.integers(len(ys)), rng.uniform(0.3, 1.2) * np.sqrt(region.sum())
            rows, columns = np.ogrid[:height, :width]
            return along & ((rows - ys[at]) ** 2 + (columns - xs[at]) ** 2 <= reach**2)
    if style < 0.65:
        return region & _draw(scribble(region, int(rng.integers(2, 7)), rng), (height, width), rng)
    ys, xs = np.nonzero(region)
    ends = rng.integers(len(ys), size=2)
    return region & _draw([(int(xs[end]), int(ys[end])) for end in ends], (height, width), rng)


def _draw(line: list[tuple[int, int]], shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    from PIL import Image, ImageDraw

    picture = Image.new("1", shape[::-1])
    ImageDraw.Draw(picture).line(line if len(line) > 1 else line * 2, 1, int(rng.integers(1, 5)))
    return np.array(picture)


def ring(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where a person says "not this": the pixels around a region, (H, W) bool; all that is outside if it is narrow."""
    from scipy import ndimage

    away = ndimage.distance_transform_edt(~region)
    around = (away > 2) & (away < 4 + rng.uniform(0.1, 0.6) * np.sqrt(region.sum()))
    return around if around.any() else ~region


def largest_error(region: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, int] | None:
    """The largest error component, (H, W) bool, and the sign of a click into it: positive where the mask misses it,
    negative where it spills. None where the two agree."""
    from scipy import ndimage

    largest, size, sign = region, 0, POSITIVE
    for error, kind in ((region & ~predicted, POSITIVE), (predicted & ~region, NEGATIVE)):
        numbered, count = ndimage.label(error)
        if count == 0:
            continue
        areas = np.bincount(numbered.ravel())[1:]
        if areas.max() > size:
            largest, size, sign = numbered == areas.argmax() + 1, int(areas.max()), kind
    return (largest, sign) if size else None


def correction(region: np.ndarray, predicted: np.ndarray) -> tuple[tuple[int, int], int] | None:
    """The next click: the centre of the largest error component, and its sign. None where the two agree."""
    found = largest_error(region, predicted)
    return (centre(found[0]), found[1]) if found else None


def lasso(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A hand-drawn outline around a region, filled, (H, W) bool: it cuts corners and keeps some distance."""
    from scipy import ndimage

    reach = max(np.sqrt(region.sum()) * rng.uniform(0.03, 0.25), 1.0)
    away = ndimage.distance_transform_edt(~region)
    rounded = ndimage.uniform_filter(np.minimum(away, 2 * reach), max(int(reach), 1))
    return (rounded < reach * rng.uniform(0.5, 1.2)) | region


def mask_hint(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask of a neighbouring slice, (H, W) bool: the region shrunk or grown, and moved, by a tenth of its size."""
    from scipy import ndimage

    reach = max(np.sqrt(region.sum()) * 0.1, 1.0)
    signed = depth(region) - ndimage.distance_transform_edt(~region)
    moved = ndimage.shift(signed, rng.uniform(-reach, reach, size=2), order=1, mode="nearest")
    roughness = ndimage.zoom(rng.normal(size=(8, 8)), np.array(region.shape) / 8, order=1)
    hint = moved + rng.uniform(-reach, reach) + roughness * reach * 0.5 > 0
    return hint if hint.any() else region
