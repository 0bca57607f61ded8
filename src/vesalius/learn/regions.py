"""Losses for regions that may overlap and are not all annotated in every image.

MultiTalent, Ulrich et al. 2023: one output for each region of each data set, so that definitions may conflict.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def region_losses(logits: Tensor, truth: Tensor, annotated: Tensor) -> tuple[Tensor, Tensor]:
    """The cross entropy and the soft Dice of regions (B, R, i, j, k), summed over the `annotated` ones (B, R).

    Sums, so that a rare region counts the same whatever else the batch holds. The cross entropy is a mean over voxels;
    the Dice of a region is over all images together in which it is annotated. Both take part as "entropy minus Dice".
    """
    space = tuple(range(2, logits.ndim))
    truth = truth.to(logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(space)[annotated].sum()
    probability = logits.sigmoid()
    counted = annotated.to(logits.dtype)
    both, said, true = ((part.sum(space) * counted).sum(0) for part in (probability * truth, probability, truth))
    return entropy, (2 * both / torch.clamp(said + true, min=1e-7)).sum()
