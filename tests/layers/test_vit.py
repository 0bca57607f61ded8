"""The vision transformer: relative positions, and inputs of another size than its tables."""

import pytest
import torch

from vesalius.layers.vit import Attention, Block, Vit, relative_table, resize_positions, resize_relative


def test_attention_adds_the_position_terms_of_each_query_and_key() -> None:
    attention = Attention(width=8, heads=2, grid=3)
    torch.nn.init.normal_(attention.rel_pos_h)
    torch.nn.init.normal_(attention.rel_pos_w)
    tokens = torch.randn(2, 3, 3, 8)
    query, key, value = attention.qkv(tokens).view(2, 9, 3, 2, 4).permute(2, 0, 3, 1, 4)
    scores = query @ key.mT / 2
    for q in range(9):
        for k in range(9):
            down = attention.rel_pos_h[q // 3 - k // 3 + 2]
            across = attention.rel_pos_w[q % 3 - k % 3 + 2]
            scores[:, :, q, k] += query[:, :, q] @ (down + across)
    expected = attention.proj((scores.softmax(-1) @ value).transpose(1, 2).reshape(2, 3, 3, 8))
    torch.testing.assert_close(attention(tokens), expected)


def test_any_input_size_works() -> None:
    vit = Vit(grid=4, width=16, depth=2, heads=2, global_every=2)
    assert vit(torch.randn(1, 3, 64, 64)).shape == (1, 256, 4, 4)
    assert vit(torch.randn(2, 3, 96, 48)).shape == (2, 256, 6, 3)


def test_position_tables_are_spread_and_interpolated() -> None:
    table = torch.arange(7.0)[:, None]
    assert torch.equal(relative_table(table, 4)[..., 0], torch.arange(4.0)[:, None] - torch.arange(4.0) + 3)
    assert resize_relative(table, 13)[6].item() == pytest.approx(3)
    torch.testing.assert_close(resize_positions(torch.full((1, 4, 4, 2), 7.0), (6, 3)), torch.full((1, 6, 3, 2), 7.0))


def test_a_window_sees_nothing_outside_it_and_a_global_block_does() -> None:
    tokens = torch.randn(1, 28, 28, 8)
    other = tokens.clone()
    other[:, :, 14:] += torch.randn(1, 28, 14, 8)
    windowed, everywhere = Block(8, 2, 28, window=14), Block(8, 2, 28, window=0)
    assert torch.equal(windowed(tokens)[:, :, :14], windowed(other)[:, :, :14])
    assert not torch.allclose(everywhere(tokens)[:, :, :14], everywhere(other)[:, :, :14])
