"""Swin UNETR's blocks: windows come apart and together, and attention reaches its own window and no further."""

from __future__ import annotations

import torch
from torch import Tensor

from vesalius.layers.swin_3d import (
    WINDOW,
    PatchMerging,
    SwinBlock,
    SwinUnetr,
    join_cubes,
    relative_places,
    split_cubes,
)


def reached(block: SwinBlock, sizes: tuple[int, int, int], at: tuple[int, int, int]) -> Tensor:
    """Where (i, j, k) the output changes with the token at one place."""
    tokens = torch.randn(1, *sizes, 8, generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[(0, *at, 0)] += 1
    with torch.inference_mode():
        return ((block(other) - block(tokens)).abs() > 1e-7).any(dim=-1)[0]


def test_windows_are_joined_as_they_were_split() -> None:
    tokens = torch.arange(2 * 6 * 4 * 5 * 3.0).view(2, 6, 4, 5, 3)
    windows = split_cubes(tokens, (3, 4, 1))
    assert windows.shape == (2 * 10, 12, 3)
    assert torch.equal(windows[0].view(3, 4, 1, 3), tokens[0, :3, :4, :1])
    assert torch.equal(join_cubes(windows, (6, 4, 5), (3, 4, 1)), tokens)


def test_attention_reaches_its_window() -> None:
    torch.manual_seed(0)
    seen = reached(SwinBlock(8, 2, shifted=False), (9, 14, 8), (8, 3, 7))
    expected = torch.zeros(9, 14, 8, dtype=torch.bool)
    expected[7:, :7, 7:] = True
    assert torch.equal(seen, expected)


def test_shifted_windows_do_not_join_opposite_ends() -> None:
    torch.manual_seed(0)
    block = SwinBlock(8, 2, shifted=True)
    expected = torch.zeros(14, 7, 14, dtype=torch.bool)
    expected[10:, :, :3] = True  # the shift puts the first three slices behind the last four
    assert torch.equal(reached(block, (14, 7, 14), (13, 0, 0)), expected)
    middle = torch.zeros(14, 7, 14, dtype=torch.bool)
    middle[3:10, :, 3:10] = True
    assert torch.equal(reached(block, (14, 7, 14), (5, 2, 9)), middle)


def test_a_small_map_is_one_window_that_is_not_shifted() -> None:
    torch.manual_seed(0)
    assert reached(SwinBlock(8, 2, shifted=True), (3, 7, 2), (0, 0, 0)).all()


def test_a_row_of_the_table_stands_for_one_distance() -> None:
    places = relative_places().view(*[WINDOW] * 6)
    assert places[1, 2, 3, 4, 0, 3] == places[2, 3, 3, 5, 1, 3]
    assert places.unique().numel() == (2 * WINDOW - 1) ** 3 == int(places.max()) + 1


def test_merging_halves_each_side_and_fills_up_odd_ones() -> None:
    assert PatchMerging(4)(torch.randn(2, 5, 4, 1, 4)).shape == (2, 3, 2, 1, 8)


def test_a_network_gives_its_deepest_and_its_finest_features() -> None:
    network = SwinUnetr(2, 4, (1, 2, 2, 4)).eval()
    with torch.inference_mode():
        deepest, finest = network(torch.randn(1, 2, 64, 32, 32))
        smallest, _ = network(torch.randn(1, 2, 32, 32, 32))
    assert deepest.shape == (1, 64, 2, 1, 1) and finest.shape == (1, 4, 64, 32, 32)
    assert smallest.shape == (1, 64, 1, 1, 1)
