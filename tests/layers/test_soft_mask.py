"""Soft masks on a picture's own pixels, and how sure a network is of them."""

from __future__ import annotations

import torch

from vesalius.layers.soft_mask import expected_dice, restore


def test_the_expected_dice_is_that_of_many_draws() -> None:
    probability = torch.rand(60, 60, generator=torch.Generator().manual_seed(0)) ** 3
    mask = probability > 0.5
    draws = torch.rand(200, 60, 60, generator=torch.Generator().manual_seed(1)) < probability
    dice = 2 * (draws & mask).sum(dim=(1, 2)) / (draws.sum(dim=(1, 2)) + mask.sum())
    assert abs(expected_dice(probability) - dice.mean()) < 0.01


def test_an_empty_mask_counts_as_right_where_the_network_is_sure() -> None:
    assert expected_dice(torch.zeros(9, 9)) == 1
    assert expected_dice(torch.full((9, 9), 0.4)) < 0.1


def test_values_are_restored_to_columns_and_rows() -> None:
    values = torch.zeros(1, 1, 4, 4)
    values[..., 0, 3] = 1  # first row, last column
    restored = restore(values, (8, 6, 1))
    assert restored.shape == (8, 6) and restored[7, 0] == 1 and restored[0, 5] == 0
