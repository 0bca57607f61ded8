"""Regions of a picture that nobody labelled, to practise on: whatever has one look is worth pointing at.
As in ScribblePrompt (Wong et al. 2024) they are those of Felzenszwalb and Huttenlocher 2004, at a random scale."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

LONGEST_SIDE = 256


def draw_superpixels(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Numbered regions (H, W) int32 of a picture (H, W) or (H, W, 3) uint8, found at a longest side of at most 256.

    0 is nothing: regions of fewer than 16 pixels, of more than 60 % of the picture, or thin all along, as the slivers
    that follow a blurred edge. Needs scikit-image (the extra `train`).
    """
    from scipy import ndimage
    from skimage.segmentation import felzenszwalb

    height, width = pixels.shape[:2]
    reduce = min(1.0, LONGEST_SIDE / max(height, width))
    size = max(1, round(width * reduce)), max(1, round(height * reduce))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX)).astype(np.float64)
    low, high = np.quantile(small, (0.005, 0.995))
    regions = felzenszwalb(
        ((small - low) / max(high - low, 1)).clip(0, 1),
        scale=math.exp(rng.uniform(math.log(10), math.log(800))),
        sigma=rng.uniform(0.5, 2),
        min_size=int(math.exp(rng.uniform(math.log(16), math.log(300)))),
        channel_axis=-1 if pixels.ndim == 3 else None,
    )
    inner = ndimage.minimum_filter(regions, 3) == ndimage.maximum_filter(regions, 3)
    areas = np.bincount(regions.ravel())
    inner_areas = np.bincount(regions[inner], minlength=len(areas))
    kept = (areas >= 16) & (areas <= 0.6 * regions.size) & (inner_areas >= 0.2 * areas)
    labels = np.where(kept, np.cumsum(kept), 0)[regions].astype(np.int32)
    return np.array(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST), np.int32)
