"""The loss and the score of a mask: cross entropy plus Dice over the pixels of the picture, padding left out.
Dice: Milletari et al. 2016, V-Net (3DV), the form without squares."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def mask_loss(logits: torch.Tensor, target: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """(B, M) cross entropy + Dice of logits (B, M, H, W) for a soft target (B, 1, H, W); `inside` is 0 on padding."""
    target = target.expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * inside
    probability = logits.sigmoid() * inside
    overlap = (probability * target).sum((-2, -1))
    dice = (2 * overlap + 1) / (probability.sum((-2, -1)) + (target * inside).sum((-2, -1)) + 1)
    return entropy.sum((-2, -1)) / inside.sum((-2, -1)) + 1 - dice


def dice_score(mask: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Dice of two masks of bool, (..., H, W) each, 1 where both are empty."""
    overlap = (mask & target).sum((-2, -1))
    total = mask.sum((-2, -1)) + target.sum((-2, -1))
    return torch.where(total > 0, 2 * overlap / total.clamp(min=1), 1.0)
