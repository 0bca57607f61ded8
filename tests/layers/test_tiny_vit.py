"""TinyViT: any size, its two strides, folded batch norms, and the bias of its windows."""

import pytest
import torch

from vesalius.layers.tiny_vit import Attention, ConvNorm, TinyVit


def nano(stride: int = 16) -> TinyVit:
    """A very small encoder."""
    return TinyVit((8, 16, 20, 24), (1, 1, 1, 1), (1, 2, 2, 2), stride).eval()


@pytest.mark.parametrize(("stride", "size"), [(16, 64), (16, 256), (16, 320), (4, 64)])
def test_any_input_size_works(stride: int, size: int) -> None:
    assert nano(stride)(torch.randn(1, 3, size, size)).shape == (1, 256, size // stride, size // stride)


def test_fixed_batch_norms_are_folded_without_a_difference() -> None:
    layer = ConvNorm(3, 4, kernel=3, stride=2)
    torch.nn.init.normal_(layer.bn.weight)
    torch.nn.init.normal_(layer.bn.bias)
    image = torch.randn(2, 3, 9, 9)
    layer(image)  # moves the statistics
    layer.eval()
    torch.testing.assert_close(layer(image), layer.bn(layer.c(image)))


def test_batch_norms_learn_statistics_only_in_training_mode() -> None:
    layer = ConvNorm(3, 4)
    layer.bn.eval()
    layer(torch.randn(2, 3, 5, 5) + 3)
    assert torch.equal(layer.bn.running_mean, torch.zeros(4))
    layer.bn.train()
    layer(torch.randn(2, 3, 5, 5) + 3)
    assert not torch.equal(layer.bn.running_mean, torch.zeros(4))


def test_a_folded_batch_norm_can_still_be_trained() -> None:
    layer = ConvNorm(3, 4).eval()
    layer(torch.randn(1, 3, 5, 5)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_attention_adds_one_bias_for_each_distance_in_rows_and_columns() -> None:
    attention = Attention(width=6, heads=2, window=3)
    torch.nn.init.normal_(attention.attention_biases)
    tokens = torch.randn(1, 3, 3, 6)
    query, key, value = attention.qkv(attention.norm(tokens)).view(1, 9, 2, 9).transpose(1, 2).chunk(3, -1)
    scores = query @ key.mT / 3**0.5
    for q in range(9):
        for k in range(9):
            apart = 3 * abs(q // 3 - k // 3) + abs(q % 3 - k % 3)
            scores[:, :, q, k] += attention.attention_biases[:, apart]
    expected = attention.proj((scores.softmax(-1) @ value).transpose(1, 2).reshape(1, 3, 3, 6))
    torch.testing.assert_close(attention(tokens), expected)
