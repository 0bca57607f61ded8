"""U-Nets: the norm is instance norm, a join is a concatenation, and memory layout and gradients change nothing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vesalius.layers.stunet import StuNet
from vesalius.layers.unet import InstanceNorm, Unet, UnetSizes, join

SIZES = {
    "channels": 2,
    "classes": 3,
    "widths": (4, 6, 8),
    "kernels": ((1, 3, 3), (3, 3, 3), (3, 3, 3)),
    "strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2)),
    "depth": (1, 2, 2),
    "decoder_depth": (2, 1),
}
NETWORKS = {
    "plain": lambda: Unet(UnetSizes(**SIZES)),
    "residual": lambda: Unet(UnetSizes(**SIZES, residual=True)),
    "stunet": lambda: StuNet(UnetSizes(**SIZES)),
}


def image(*shape: int) -> torch.Tensor:
    return 3 + torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_the_norm_is_instance_norm_with_and_without_gradients(layout: torch.memory_format) -> None:
    norm = InstanceNorm(5)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    pixels = image(2, 5, 12, 40, 50)
    expected = F.instance_norm(pixels.double(), weight=norm.weight.double(), bias=norm.bias.double()).float()
    with torch.no_grad():
        torch.testing.assert_close(norm(pixels.clone(memory_format=layout)), expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(norm(pixels.clone(memory_format=layout)), expected, atol=5e-4, rtol=0)


def test_the_norm_of_a_small_window_is_torchs_own_to_the_last_bit() -> None:
    norm, pixels = InstanceNorm(5), image(2, 5, 12, 40, 50)
    nn.init.normal_(norm.weight)
    with torch.no_grad():
        assert torch.equal(norm(pixels), F.instance_norm(pixels, weight=norm.weight, bias=norm.bias))
        torch.testing.assert_close(norm(image(1, 5, 1, 1, 1)).flatten(), norm.bias, atol=1e-4, rtol=0)  # one voxel


def test_a_join_is_a_concatenation() -> None:
    conv = nn.Conv3d(5, 4, 3, padding=1)
    first, second = image(1, 2, 4, 5, 6), image(1, 3, 4, 5, 6)
    torch.testing.assert_close(join(conv, first, second), conv(torch.cat([first, second], dim=1)))


@pytest.mark.parametrize("name", NETWORKS)
def test_one_output_for_each_voxel_the_same_in_both_modes(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    pixels = image(2, 2, 4, 8, 12)
    trained = network(pixels)
    assert trained.shape == (2, 3, 4, 8, 12) and len(network.features(pixels)) == len(network.heads) == 2
    trained.sum().backward()
    assert all(parameter.grad is not None for parameter in network.encoder.parameters()) if name != "stunet" else True
    network.to(memory_format=torch.channels_last_3d)
    with torch.inference_mode():
        torch.testing.assert_close(network(pixels), trained.detach(), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(network(pixels[1:]), trained[1:].detach(), atol=1e-4, rtol=1e-4)
