"""Stable regions are even parts with a clear border, whole, and neither tiny nor most of the picture."""

from __future__ import annotations

import numpy as np

from vesalius.learn.stable_regions import LARGEST, SMALLEST, draw_stable_regions


def dark_disc() -> tuple[np.ndarray, np.ndarray]:
    """A picture with a dark disc, in which lies a bright spot, and the disc as a mask."""
    rows, columns = np.mgrid[:120, :160]
    disc = (columns - 50) ** 2 + (rows - 60) ** 2 < 30**2
    spot = (columns - 55) ** 2 + (rows - 58) ** 2 < 5**2
    picture = np.where(disc & ~spot, 20, 150) + np.random.default_rng(0).normal(size=disc.shape)
    return picture.clip(0, 255).astype(np.uint8), disc


def test_an_even_part_is_found_whole() -> None:
    picture, disc = dark_disc()
    found = 0
    for seed in range(12):
        regions = draw_stable_regions(picture, np.random.default_rng(seed))
        assert not regions[~disc].any() or (regions[disc].any() and (regions[~disc] > 0).mean() < 0.02)
        if regions[60, 40]:
            found += 1
            region = regions == regions[60, 40]
            assert (region & disc).sum() > 0.9 * max(region.sum(), disc.sum())  # with the spot inside
    assert found >= 4  # where the spot was not found first


def test_sizes_are_bounded_and_a_seed_repeats() -> None:
    texture = np.random.default_rng(0).integers(0, 256, size=(12, 15)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    color = np.stack([texture, texture, texture[::-1]], axis=-1)
    for pixels in (texture, color):
        first, same = (draw_stable_regions(pixels, np.random.default_rng(1)) for _ in range(2))
        assert np.array_equal(first, same) and first.dtype == np.int32 and first.shape == pixels.shape[:2]
        areas = np.bincount(first.ravel())[1:]
        assert len(areas) and areas.max() <= LARGEST * texture.size and areas.min() >= 0.5 * SMALLEST * texture.size
    assert not draw_stable_regions(np.full((40, 40), 90, np.uint8), np.random.default_rng(0)).any()
