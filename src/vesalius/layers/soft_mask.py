"""Masks of networks that look at a picture of one size: back on its own pixels, and how sure the network is.

For networks that predict no quality of their masks.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def restore(values: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Values (1, 1, h, w) of a network on the pixels (i, j) of a view of `shape`."""
    width, height, _ = shape
    return F.interpolate(values, (height, width), mode="bilinear")[0, 0].T


def expected_dice(probability: Tensor) -> float:
    """The Dice that a mask cut at 0.5 has on average, if each pixel is inside with its `probability`.

    One pixel is added to both sides, so that an empty mask of which the network is sure counts as right.
    """
    mask = probability > 0.5
    overlap, areas = probability[mask].sum(), probability.sum() + mask.sum()
    return float((2 * overlap + 1) / (areas + 1))
