"""What two masks have in common, voxel by voxel: Dice, IoU, volume error, and clDice for thin structures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import FormatError

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Overlap:
    """Counts of voxels in both masks, in the prediction and in the reference.

    What is not defined, because a mask is empty by which it would be divided, is NaN.
    """

    both: int
    prediction: int
    reference: int

    @classmethod
    def of(cls, prediction: Mask, reference: Mask) -> Overlap:
        """Counts in two masks of one shape."""
        counts = (np.count_nonzero(mask) for mask in (prediction & reference, prediction, reference))
        return cls(*(int(count) for count in counts))

    def dice(self) -> float:
        """Twice the voxels in both, over the sum of both masks' voxels."""
        return _divide(2 * self.both, self.prediction + self.reference)

    def iou(self) -> float:
        """Voxels in both over voxels in either (the Jaccard index)."""
        return _divide(self.both, self.prediction + self.reference - self.both)

    def volume_error(self) -> float:
        """By which part of the reference's volume the prediction is too large (positive) or too small (negative).

        Infinite where only the prediction has voxels.
        """
        if self.prediction and not self.reference:
            return float("inf")
        return _divide(self.prediction - self.reference, self.reference)


def cldice(prediction: Mask, reference: Mask) -> float:
    """The harmonic mean of the parts of each mask's skeleton that lie in the other mask; NaN if both are empty.

    Shit et al., clDice, CVPR 2021, with the skeletons of scikit-image (Zhang in 2D, Lee in 3D), which know voxels and
    not their spacing. Raises FormatError where scikit-image is not installed.
    """
    if not prediction.any() or not reference.any():
        return float("nan") if prediction.any() == reference.any() else 0.0
    precision, recall = float(reference[_skeleton(prediction)].mean()), float(prediction[_skeleton(reference)].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _skeleton(mask: Mask) -> Mask:
    """The skeleton of a mask; the mask itself where thinning leaves nothing, as of some blocks of even size."""
    try:
        from skimage.morphology import skeletonize
    except ImportError:
        raise FormatError("clDice needs scikit-image; install it: pip install 'vesalius[evaluate]'.") from None
    line = skeletonize(mask)
    return line if line.any() else mask


def _divide(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
