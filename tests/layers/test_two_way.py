"""The two-way transformer: one image serves several token sets."""

import torch

from vesalius.layers.two_way import Attention, TwoWayTransformer


def test_a_shared_image_gives_what_a_repeated_one_gives() -> None:
    transformer = TwoWayTransformer(width=16, hidden=32)
    image, positions, tokens = torch.randn(1, 16, 3, 4), torch.randn(1, 16, 3, 4), torch.randn(5, 6, 16)
    shared = transformer(image, positions, tokens)
    repeated = transformer(image.repeat(5, 1, 1, 1), positions, tokens)
    assert shared[0].shape == (5, 6, 16)
    assert shared[1].shape == (5, 12, 16)
    for one, other in zip(shared, repeated, strict=True):
        torch.testing.assert_close(one, other)


def test_token_sets_do_not_see_each_other() -> None:
    transformer = TwoWayTransformer(width=16, hidden=32)
    image, positions, tokens = torch.randn(1, 16, 3, 4), torch.randn(1, 16, 3, 4), torch.randn(2, 6, 16)
    torch.testing.assert_close(
        transformer(image, positions, tokens)[0][:1], transformer(image, positions, tokens[:1])[0]
    )


def test_projections_on_the_side_of_the_tokens_change_nothing() -> None:
    attention = Attention(16, 8)
    tokens, image, values = torch.randn(2, 5, 16), torch.randn(2, 12, 16), torch.randn(2, 12, 16)
    torch.testing.assert_close(attention.look(tokens, image, values), attention(tokens, image, values))
    given = torch.randn(2, 5, 16)
    torch.testing.assert_close(attention.spread(image, tokens, given), attention(image, tokens, given))
