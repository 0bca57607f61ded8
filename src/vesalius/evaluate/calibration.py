"""Whether probabilities mean what they say: expected calibration error and Brier score of one structure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

BLOCK = 2**22  # voxels that are looked at in one step, so that little is held beside the arrays themselves


def expected_calibration_error(
    probability: NDArray[np.floating], reference: NDArray[np.bool_], bins: int = 15
) -> float:
    """The mean, over voxels, of how far the probability in a bin is from the share of its voxels that are inside.

    `probability` of being inside, of any shape, in `bins` of equal width; NaN without voxels. Naeini et al., 2015. Give
    the part of the image that matters: far background is easy, and a whole image is mostly far background.
    """
    counts, said, inside = np.zeros(bins), np.zeros(bins), np.zeros(bins)
    for p, truth in _blocks(probability, reference):
        place = np.minimum((p * bins).astype(np.int64), bins - 1)
        counts += np.bincount(place, minlength=bins)
        said += np.bincount(place, p, minlength=bins)
        inside += np.bincount(place, truth, minlength=bins)
    return float(np.abs(said - inside).sum() / counts.sum()) if counts.any() else float("nan")


def brier_score(probability: NDArray[np.floating], reference: NDArray[np.bool_]) -> float:
    """The mean squared difference of the probability of being inside and the truth (0 or 1); NaN without voxels."""
    squared = sum(float(((p - truth) ** 2).sum()) for p, truth in _blocks(probability, reference))
    return squared / probability.size if probability.size else float("nan")


def _blocks(probability: NDArray, reference: NDArray) -> Iterator[tuple[NDArray, NDArray]]:
    """Both arrays in step, flat and in float64."""
    if probability.shape != reference.shape:
        raise ValueError(f"probabilities {probability.shape} and a reference {reference.shape} do not fit")
    p, truth = probability.reshape(-1), reference.reshape(-1)
    for first in range(0, len(p), BLOCK):
        yield p[first : first + BLOCK].astype(np.float64), truth[first : first + BLOCK].astype(np.float64)
