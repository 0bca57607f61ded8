"""The loss falls as masks agree and ignores padding; the score is Dice."""

from __future__ import annotations

import torch

from vesalius.learn.dice import dice_score, mask_loss


def square() -> torch.Tensor:
    target = torch.zeros(1, 1, 16, 16)
    target[..., 4:8, 4:12] = 1
    return target


def test_the_right_mask_costs_nothing_and_the_opposite_most() -> None:
    target, inside = square(), torch.ones(1, 1, 16, 16)
    right = mask_loss(40 * target - 20, target, inside)
    blank = mask_loss(torch.zeros(1, 1, 16, 16), target, inside)
    wrong = mask_loss(20 - 40 * target, target, inside)
    assert right.item() < 1e-3 < blank.item() < wrong.item()


def test_each_candidate_has_its_own_loss() -> None:
    target = square()
    candidates = torch.cat([40 * target - 20, 20 - 40 * target], dim=1)
    loss = mask_loss(candidates, target, torch.ones(1, 1, 16, 16))
    assert loss.shape == (1, 2)
    assert loss[0, 0] < loss[0, 1]


def test_padding_does_not_count() -> None:
    target, inside = square(), torch.ones(1, 1, 16, 16)
    inside[..., 12:, :] = 0
    logits = torch.randn(1, 1, 16, 16, requires_grad=True)
    mask_loss(logits, target, inside).sum().backward()
    assert logits.grad is not None
    assert (logits.grad[..., 12:, :] == 0).all()
    assert (logits.grad[..., :12, :] != 0).all()


def test_dice_by_hand() -> None:
    mask = torch.tensor([[True, True, False], [False, False, False]])
    target = torch.tensor([[True, False, False], [True, False, False]])
    assert dice_score(mask, target).item() == 0.5
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    assert dice_score(nothing, nothing).item() == 1
    assert dice_score(nothing, target).item() == 0
