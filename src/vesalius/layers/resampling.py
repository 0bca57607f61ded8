"""Resizing of 8-bit pictures exactly as the libraries do it with which the checkpoints were trained.

Pictures are `(H, W, C)` uint8. Pillow is called; scikit-image and OpenCV are followed to the last bit, so that
neither is a dependency.
"""

from __future__ import annotations

import math

import numpy as np

NEGLIGIBLE = 1e-3  # a row of which less is covered is left out, as OpenCV does


def resize_bilinear(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with antialiasing on uint8, as Pillow."""
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def resize_cubic(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cubic spline with antialiasing in float64, as `skimage.transform.resize(order=3, preserve_range=True)`."""
    from scipy import ndimage

    picture = picture.astype(np.float64)
    factors = np.divide(picture.shape, (height, width, picture.shape[2]))
    smooth = ndimage.gaussian_filter(picture, np.maximum(0, (factors - 1) / 2), mode="mirror")
    # All three axes in one call: a spline in each channel alone rounds otherwise, and users cut to integers.
    resized = ndimage.zoom(smooth, [1 / factor for factor in factors], order=3, mode="mirror", grid_mode=True)
    return resized.clip(picture.min(), picture.max())


def resize_nearest(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The pixel that covers the new one's first corner, as `cv2.INTER_NEAREST`; of any numbers."""
    rows = np.floor(np.arange(height) * (1 / (height / len(picture)))).astype(int)
    columns = np.floor(np.arange(width) * (1 / (width / picture.shape[1]))).astype(int)
    return picture[rows.clip(max=len(picture) - 1)][:, columns.clip(max=picture.shape[1] - 1)]


def resize_area(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Mean over the covered area where both sides shrink, else OpenCV's own linear variant, as `cv2.INTER_AREA`."""
    old_height, old_width = picture.shape[:2]
    if (old_height, old_width) == (height, width):
        return picture
    if old_height < height or old_width < width:
        return enlarge(picture, height, width)
    if old_height % height == 0 and old_width % width == 0:
        blocks = picture.reshape(height, old_height // height, width, old_width // width, -1)
        total = blocks.sum(axis=(1, 3), dtype=np.int64)
        down, across = blocks.shape[1], blocks.shape[3]
        if down == across == 2:
            return ((total + 2) >> 2).astype(np.uint8)
        return np.rint(total.astype(np.float32) * np.float32(1 / (down * across))).astype(np.uint8)
    narrow = shrink(picture.astype(np.float32).swapaxes(0, 1), width).swapaxes(0, 1)
    return np.rint(shrink(narrow, height)).astype(np.uint8)


def shrink(picture: np.ndarray, size: int) -> np.ndarray:
    """Average float32 rows down to `size` rows, weighted by the part of each row that is covered."""
    scale = 1 / (size / len(picture))
    resized = np.zeros((size, *picture.shape[1:]), np.float32)
    for row in range(size):
        start, stop = row * scale, (row + 1) * scale
        extent = min(scale, len(picture) - start)
        for index in range(math.floor(start), min(math.ceil(stop), len(picture))):
            covered = min(stop, index + 1) - max(start, index)
            if covered > NEGLIGIBLE:
                resized[row] += picture[index] * np.float32(covered / extent)
    return resized


def enlarge(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Linear interpolation with 11-bit weights that are not centred as usual."""
    (top, bottom, down), (left, right, across) = taps(len(picture), height), taps(picture.shape[1], width)
    wide = picture.astype(np.int64)
    wide = wide[:, left] * across[0][:, None] + wide[:, right] * across[1][:, None]
    upper, lower = wide[top] >> 4, wide[bottom] >> 4
    total = (down[0][:, None, None] * upper >> 16) + (down[1][:, None, None] * lower >> 16)
    return (total + 2 >> 2).astype(np.uint8)


def taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two source indices of each new pixel and their integer weights `(2, new)` out of 2048."""
    growth = new / old
    place = np.arange(new)
    first = np.floor(place * (1 / growth)).astype(np.int64)
    part = ((place + 1) - (first + 1) * growth).astype(np.float32)
    part = part.clip(0) % 1
    weights = np.rint(np.stack([np.float32(1) - part, part]) * np.float32(2048)).astype(np.int64)
    return first, (first + 1).clip(max=old - 1), weights
