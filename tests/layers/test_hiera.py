"""The image encoder of SAM 2: four scales, and a pyramid of three."""

from __future__ import annotations

import torch

from vesalius.layers.hiera import Hiera, HieraPyramid


def make(windows: tuple[int, ...] = (8, 4, 14, 7)) -> Hiera:
    torch.manual_seed(0)
    return Hiera(8, 1, (1, 1, 2, 1), (3,), 7, windows).eval()


def test_each_scale_halves_the_map_and_doubles_the_width() -> None:
    shapes = [part.shape for part in make()(torch.randn(2, 3, 64, 96))]
    assert shapes == [(2, 8, 16, 24), (2, 16, 8, 12), (2, 32, 4, 6), (2, 64, 2, 3)]


def test_only_the_last_map_of_the_pyramid_sees_the_coarsest_scale() -> None:
    pyramid = HieraPyramid(make(), 8)
    pixels = torch.randn(1, 3, 64, 64)
    before = pyramid(pixels)
    assert [part.shape[1:] for part in before] == [(256, 16, 16), (256, 8, 8), (256, 4, 4)]
    with torch.no_grad():
        pyramid.neck.convs[0].conv.weight.zero_()
    after = pyramid(pixels)
    assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [True, True, False]


def test_a_window_sees_nothing_of_the_next_one() -> None:
    trunk = make()
    pixels = torch.randn(1, 3, 64, 64)
    other = pixels.clone()
    other[..., 40:] += 1  # the patches of the left window reach to column 33
    first, second = (trunk(picture)[0] for picture in (pixels, other))
    assert torch.equal(first[..., :8], second[..., :8])
    assert not torch.equal(first[..., 8:], second[..., 8:])


def test_positions_repeat_in_every_window_but_for_a_smooth_part() -> None:
    trunk = make()
    with torch.no_grad():
        trunk.pos_embed.zero_()
    places = trunk.positions(16, 24)
    assert torch.equal(places[:, :8, :8], places[:, 8:, 16:])
