"""Images made worse in seven ways and three severities each, the same voxels for every model.

Grey levels are measured against the image's window (`vesalius.intensity`), so that a severity means the same in CT, MR
and 8-bit pictures. The kind of number is kept, and with it the rule that windows the image.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vesalius.intensity import choose_window
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume

Values = NDArray[np.float32]


def add_noise(image: Volume, share: float, rng: np.random.Generator) -> Volume:
    """Gaussian noise whose standard deviation is a `share` of the window's width."""
    return _with(image, image.voxels + rng.normal(0, share * _width(image), image.voxels.shape))


def blur(image: Volume, voxels: float, rng: np.random.Generator) -> Volume:
    """A Gaussian whose standard deviation is so many of the smallest voxel sides, the same in mm on each axis."""
    sigma = voxels * min(image.grid.spacing_mm) / np.asarray(image.grid.spacing_mm)
    return _with(image, ndimage.gaussian_filter(image.voxels.astype(np.float32), (0, *sigma), mode="nearest"))


def move(image: Volume, voxels: float, rng: np.random.Generator) -> Volume:
    """Linear motion while the image is taken: the mean over so many voxels along its longest axis."""
    axis = 1 + int(np.argmax(image.grid.shape))
    return _with(image, ndimage.uniform_filter1d(image.voxels.astype(np.float32), int(voxels), axis, mode="nearest"))


def add_bias(image: Volume, share: float, rng: np.random.Generator) -> Volume:
    """A smooth field that multiplies grey levels by 1 - `share` to 1 + `share`."""
    coarse = rng.uniform(-1, 1, tuple(min(4, n) for n in image.grid.shape))
    field = ndimage.zoom(coarse, np.divide(image.grid.shape, coarse.shape), order=1, mode="nearest", grid_mode=True)
    field = ndimage.gaussian_filter(field, np.divide(image.grid.shape, 8))
    low = choose_window(image).low
    return _with(image, low + (image.voxels - low) * (1 + share * field / max(float(np.abs(field).max()), 1e-6)))


def bend_contrast(image: Volume, gamma: float, rng: np.random.Generator) -> Volume:
    """Grey levels within the window to the power of `gamma`, or of its inverse, by the toss of a coin."""
    window, power = choose_window(image), gamma if rng.random() < 0.5 else 1 / gamma
    share = np.clip((image.voxels - window.low) / (window.high - window.low), 0, 1)
    return _with(image, window.low + (window.high - window.low) * share**power)


def coarsen(image: Volume, times: float, rng: np.random.Generator) -> Volume:
    """Voxels so many times as large along each axis that is longer than one, and interpolated back."""
    i, j, k = (max(1, round(n / times)) for n in image.grid.shape)
    sigma = [0, *(0 if n == 1 else times / 2.355 for n in image.grid.shape)]  # full width at half maximum: one voxel
    smooth = Volume(ndimage.gaussian_filter(image.voxels.astype(np.float32), sigma, mode="nearest"), image.grid)
    return _with(image, smooth.to(image.grid.resize((i, j, k))).to(image.grid).voxels)


CORRUPTIONS: dict[str, tuple[Callable[[Volume, float, np.random.Generator], Volume], tuple[float, float, float]]] = {
    "noise": (add_noise, (0.05, 0.1, 0.2)),
    "blur": (blur, (1, 2, 4)),
    "motion": (move, (5, 9, 17)),
    "bias": (add_bias, (0.2, 0.4, 0.6)),
    "contrast": (bend_contrast, (1.5, 2, 3)),
    "resolution": (coarsen, (2, 3, 4)),
}
CROPS = (0.1, 0.25, 0.5)  # the part of all structures' extent that is cut off


def crop(image: Volume, reference: Segmentation, part: float) -> tuple[Volume, Segmentation]:
    """A field of view that ends inside of the structures: `part` of their extent along the longest axis is cut off."""
    axis = int(np.argmax(image.grid.shape))
    filled = np.flatnonzero(reference.layers.any(axis=(0, *(1 + other for other in range(3) if other != axis))))
    end = filled[0] + max(1, round((1 - part) * (filled[-1] + 1 - filled[0])))
    shape = [int(end) if n == axis else size for n, size in enumerate(image.grid.shape)]
    cropped = image.crop((0, 0, 0), (shape[0], shape[1], shape[2]))
    return cropped, reference.to(cropped.grid)


def _width(image: Volume) -> float:
    window = choose_window(image)
    return window.high - window.low


def _with(image: Volume, values: NDArray) -> Volume:
    """The image with other values of the same kind of number."""
    kind = image.voxels.dtype
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return Volume(values.astype(kind), image.grid, image.source)
