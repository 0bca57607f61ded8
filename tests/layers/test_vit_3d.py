"""The vision transformer for cubes: its position terms and the zeros around the cube."""

import torch

from vesalius.layers.vit_3d import Attention3d, Vit3d


def attention(window: int) -> Attention3d:
    torch.manual_seed(0)
    layer = Attention3d(width=8, heads=2, window=window)
    for table in (layer.rel_pos_d, layer.rel_pos_h, layer.rel_pos_w):
        torch.nn.init.normal_(table)
    return layer


def test_position_terms_are_those_of_the_official_code() -> None:
    layer = attention(window=2)
    query = torch.randn(1, 2, 2, 2, 2, 4)
    terms = layer.position_terms(query, query)[0]
    for d, h, w in torch.cartesian_prod(*[torch.arange(2)] * 3).tolist():
        for kd, kh, kw in torch.cartesian_prod(*[torch.arange(2)] * 3).tolist():
            expected = query[0, d, h, w] @ layer.rel_pos_d[d - kw + 1]
            expected = expected + query[0, d, h, kd] @ layer.rel_pos_h[h - kw + 1]
            expected = expected + query[0, d, h, kh] @ layer.rel_pos_w[kh - kw + 1]
            torch.testing.assert_close(terms[:, d, h, w, kd, kh, kw], expected)


def test_a_window_is_filled_up_with_zeros_that_take_part() -> None:
    layer = attention(window=3)
    tokens = torch.randn(1, 2, 2, 2, 8)
    padded = torch.zeros(1, 3, 3, 3, 8)
    padded[:, :2, :2, :2] = tokens
    torch.testing.assert_close(layer(tokens), layer(padded)[:, :2, :2, :2])


def test_a_cube_becomes_a_map_of_patches() -> None:
    encoder = Vit3d(grid=2, width=12, depth=3, heads=2, channels=48)
    assert encoder(torch.randn(2, 1, 32, 32, 32)).shape == (2, 48, 2, 2, 2)
    assert [block.attn.window for block in encoder.blocks] == [14, 14, 2]
