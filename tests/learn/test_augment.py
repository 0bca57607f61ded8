"""Geometry moves picture and masks together; colour leaves geometry alone."""

from __future__ import annotations

import numpy as np
import torch

from vesalius.learn.augment import move, random_window, recolour


def test_picture_and_mask_stay_together() -> None:
    mask = torch.zeros(1, 90, 120)
    mask[0, 30:60, 40:80] = 1
    picture = mask.expand(3, -1, -1) * 200
    for seed in range(30):
        moved, masks = move(picture, mask, 64, np.random.default_rng(seed))
        assert moved.shape[1:] == masks.shape[1:]
        assert max(moved.shape[1:]) == 64
        torch.testing.assert_close(moved[0] / 200, masks[0], atol=1e-4, rtol=0)


def test_half_of_the_views_are_the_whole_picture() -> None:
    mask = torch.zeros(1, 64, 64)
    mask[0, 8:24, 8:24] = 1
    whole = [move(mask, mask, 64, np.random.default_rng(seed))[1].sum().item() == 256 for seed in range(60)]
    assert 0.3 < np.mean(whole) < 0.7


def test_a_large_target_is_never_zoomed_out_of_view() -> None:
    mask = torch.zeros(1, 64, 64)
    mask[0, 4:60, 4:60] = 1
    for seed in range(30):
        _, masks = move(mask, mask, 64, np.random.default_rng(seed))
        assert (masks > 0.5).float().mean() > 0.2


def test_colour_stays_in_range_and_differs_by_seed() -> None:
    picture = torch.linspace(0, 255, 32 * 32).reshape(1, 32, 32).expand(3, -1, -1)
    seen = [recolour(picture, np.random.default_rng(seed)) for seed in range(30)]
    assert all(one.shape == picture.shape and one.min() >= 0 and one.max() <= 255 for one in seen)
    assert any(not torch.equal(seen[0], one) for one in seen[1:])


def test_windows_of_ct_show_soft_tissue_and_lung() -> None:
    hounsfield = np.array([[-800, -700, 20, 60]], np.int16)
    shown = [random_window(hounsfield, np.random.default_rng(seed))[0].astype(int) for seed in range(40)]
    assert any(row[0] == row[1] == 0 and row[3] - row[2] > 15 for row in shown)
    assert any(row[1] - row[0] > 10 for row in shown)
