"""Several people drew the same structure: how a model's samples compare with them, and what they agree on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from vesalius.evaluate.overlap import Overlap

Mask = NDArray[np.bool_]


def generalised_energy_distance(samples: Sequence[Mask], raters: Sequence[Mask]) -> float:
    """How far a model's samples are, as a distribution, from the raters' masks: 0 for the same, at most 2.

    The squared distance of Kohl et al., A Probabilistic U-Net, 2018, under 1 - IoU, which is 0 between empty masks:
    twice the mean between both sides, less the means within each side, where a mask is also compared with itself.
    """
    across = _mean_distance(samples, raters)
    return 2 * across - _mean_distance(samples, samples) - _mean_distance(raters, raters)


def vote(raters: Sequence[Mask]) -> Mask:
    """The voxels that more than half of the raters drew."""
    drawn = np.zeros(raters[0].shape, np.uint16)
    for mask in raters:
        drawn += mask
    return 2 * drawn > len(raters)


def staple(raters: Sequence[Mask]) -> Mask:
    """The voxels that are more likely inside than not, given how reliable each rater proves to be.

    Warfield et al., Simultaneous truth and performance level estimation (STAPLE), 2004, as in SimpleITK. What all
    drew is inside, also where there is no background to estimate reliability from.
    """
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in raters]
    return (sitk.GetArrayFromImage(sitk.STAPLE(images, 1)) > 0.5) | np.logical_and.reduce(raters)


def _mean_distance(some: Sequence[Mask], others: Sequence[Mask]) -> float:
    ious = [Overlap.of(one, other).iou() for one in some for other in others]
    return 1 - float(np.mean(np.nan_to_num(ious, nan=1.0)))
