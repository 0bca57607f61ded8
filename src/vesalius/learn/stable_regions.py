"""Even regions of a picture that nobody labelled, to practise on: lungs, ventricles and cysts stand out at any level.

After the maximally stable extremal regions of Matas et al. 2002 (BMVC): parts darker (or brighter) than a level that
hardly change when the level does. Unlike superpixels they are large where a picture is even."""

from __future__ import annotations

import numpy as np
from PIL import Image

LONGEST_SIDE = 256
LEVELS = 12
STEP = 0.06  # between the two levels that a region must outlast, of the picture's range of greys
STABLE = 0.85  # the share of a region's area that it keeps
LARGEST, SMALLEST = 0.4, 0.002  # of the picture's area


def draw_stable_regions(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Numbered regions (H, W) int32 of a picture (H, W) or (H, W, 3) uint8, their holes filled; 0 is nothing.

    Levels are tried in random order, and a region counts if none before it lies where it does.
    """
    from scipy import ndimage

    height, width = pixels.shape[:2]
    reduce = min(1.0, LONGEST_SIDE / max(height, width))
    size = max(1, round(width * reduce)), max(1, round(height * reduce))
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize(size, Image.Resampling.BOX)).astype(np.float32)
    low, high = np.quantile(grey, (0.005, 0.995))
    grey = ndimage.gaussian_filter((grey - low) / max(float(high - low), 1.0), rng.uniform(0.5, 1.5)).clip(0, 1)
    labels = np.zeros(grey.shape, np.int32)
    for level in rng.uniform(0.05, 0.9, size=LEVELS):
        picture = grey if rng.random() < 0.5 else 1 - grey
        numbered, count = ndimage.label(picture < level + STEP)
        areas = np.bincount(numbered.ravel(), minlength=count + 1)
        kept = np.bincount(numbered[picture < level], minlength=count + 1)
        wanted = (kept >= STABLE * areas) & (areas <= LARGEST * grey.size) & (areas >= SMALLEST * grey.size)
        for number in 1 + np.flatnonzero(wanted[1:]):
            region = ndimage.binary_fill_holes(numbered == number)
            if not labels[region].any() and region.sum() <= LARGEST * grey.size:
                labels[region] = labels.max() + 1
    return np.array(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST), np.int32)
