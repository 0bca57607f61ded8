"""Superpixels follow edges, and leave out what is too small, too large or too thin."""

from __future__ import annotations

import numpy as np

from vesalius.learn.superpixels import draw_superpixels


def bright_square(noise: float = 4) -> np.ndarray:
    picture = np.full((100, 120), 60.0)
    picture[30:70, 40:90] = 180
    return (picture + np.random.default_rng(0).normal(size=picture.shape) * noise).clip(0, 255).astype(np.uint8)


def test_the_same_seed_gives_the_same_regions_and_scales_differ() -> None:
    texture = np.random.default_rng(0).integers(0, 256, size=(25, 30)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    first, same = (draw_superpixels(texture, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(first, same)
    assert first.dtype == np.int32
    counts = {int(draw_superpixels(texture, np.random.default_rng(seed)).max()) for seed in range(8)}
    assert len(counts) > 3


def test_regions_do_not_cross_a_strong_edge() -> None:
    truth = np.zeros((100, 120), bool)
    truth[30:70, 40:90] = True
    grey = bright_square()
    for pixels in (grey, np.stack([grey, grey // 2, grey // 3], axis=-1)):
        for seed in range(6):
            regions = draw_superpixels(pixels, np.random.default_rng(seed))
            inside, outside = (np.bincount(regions[side], minlength=regions.max() + 1)[1:] for side in (truth, ~truth))
            assert inside.sum() > 0.5 * truth.sum()
            assert np.minimum(inside, outside).sum() < 0.05 * truth.sum()


def test_what_fills_the_picture_and_what_is_a_sliver_is_nothing() -> None:
    assert not draw_superpixels(np.full((50, 50), 90, np.uint8), np.random.default_rng(0)).any()
    line = np.zeros((100, 100), np.uint8)
    line[:, 50] = 255
    regions = draw_superpixels(line, np.random.default_rng(0))
    assert not regions[:, 49:52].any()
    areas = np.bincount(regions.ravel())[1:]
    assert ((areas >= 16) & (areas <= 6000)).all()
    assert len(areas) == regions.max()  # numbered without gaps


def test_a_large_picture_is_cut_at_a_bounded_size() -> None:
    large = bright_square().repeat(8, 0).repeat(8, 1)
    regions = draw_superpixels(large, np.random.default_rng(0))
    assert regions.shape == large.shape
    assert regions[400, 520] > 0
