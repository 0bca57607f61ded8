"""Simulated users: every prompt lands where a person would put it."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.learn import simulate


def disc(x: float, y: float, radius: float, size: int = 64) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def test_the_centre_is_the_deepest_pixel() -> None:
    assert simulate.centre(disc(20, 41, 9)) == (20, 41)


def test_the_edge_of_the_picture_is_an_edge_of_the_region() -> None:
    whole = np.ones((21, 21), bool)
    assert simulate.centre(whole) == (10, 10)


def test_a_click_is_inside_even_a_thin_region() -> None:
    line = np.zeros((64, 64), bool)
    line[30, 5:50] = True
    for seed in range(50):
        x, y = simulate.click(line, np.random.default_rng(seed))
        assert line[y, x]


def test_some_clicks_are_central_and_some_near_the_border() -> None:
    region = disc(32, 32, 20)
    depths = simulate.depth(region)
    clicked = [depths[y, x] for x, y in (simulate.click(region, np.random.default_rng(s)) for s in range(200))]
    assert np.mean(np.array(clicked) > 19) > 0.3
    assert np.mean(np.array(clicked) < 4) > 0.1


def test_a_tight_box_is_the_extent_and_a_loose_one_stays_near() -> None:
    region = np.zeros((64, 64), bool)
    region[10:21, 30:51] = True
    assert simulate.box(region, 0.0, np.random.default_rng(0)) == ((30, 10), (50, 20))
    for seed in range(50):
        (x0, y0), (x1, y1) = simulate.box(region, 0.2, np.random.default_rng(seed))
        assert 30 - 4.2 <= x0 <= 30 + 2.1
        assert 50 - 2.1 <= x1 <= 50 + 4.2
        assert 10 - 2.2 <= y0 <= 10 + 1.1
        assert 20 - 1.1 <= y1 <= 20 + 2.2


def test_a_box_stays_in_the_picture() -> None:
    (x0, y0), (x1, y1) = simulate.box(np.ones((64, 64), bool), 0.5, np.random.default_rng(3))
    assert min(x0, y0) >= 0
    assert max(x1, y1) <= 63


def test_a_scribble_follows_the_long_axis_from_end_to_end() -> None:
    bar = np.zeros((64, 64), bool)
    bar[28:35, 5:60] = True
    points = simulate.scribble(bar, 5, np.random.default_rng(0))
    assert len(points) == 5
    assert all(bar[y, x] and y == 31 for x, y in points)
    xs = [x for x, _ in points]
    assert xs in (sorted(xs), sorted(xs, reverse=True))
    assert max(xs) - min(xs) > 20


@pytest.mark.parametrize(
    ("predicted", "sign"), [(disc(32, 32, 6), simulate.POSITIVE), (disc(32, 32, 25), simulate.NEGATIVE)]
)
def test_a_correction_is_inside_the_error_with_its_sign(predicted: np.ndarray, sign: int) -> None:
    region = disc(32, 32, 15)
    found = simulate.correction(region, predicted)
    assert found is not None
    (x, y), found_sign = found
    assert found_sign == sign
    assert (region ^ predicted)[y, x]


def test_a_correction_goes_to_the_largest_error() -> None:
    region = disc(15, 15, 10)
    predicted = region & ~disc(15, 15, 3) | disc(45, 45, 8)
    assert simulate.correction(region, predicted) == ((45, 45), simulate.NEGATIVE)


def test_nothing_to_correct() -> None:
    region = disc(32, 32, 10)
    assert simulate.correction(region, region) is None


def test_a_mask_hint_is_near_the_region_and_not_the_region() -> None:
    region = disc(32, 32, 15)
    for seed in range(20):
        hint = simulate.mask_hint(region, np.random.default_rng(seed))
        overlap = 2 * (hint & region).sum() / (hint.sum() + region.sum())
        assert 0.5 < overlap < 1


def test_a_mask_hint_of_one_pixel_is_never_empty() -> None:
    region = np.zeros((32, 32), bool)
    region[3, 4] = True
    assert all(simulate.mask_hint(region, np.random.default_rng(seed)).any() for seed in range(20))


def test_a_stroke_is_a_line_inside_its_region() -> None:
    region = disc(30, 34, 18)
    strokes = [simulate.stroke(region, np.random.default_rng(seed)) for seed in range(60)]
    areas = np.array([stroke.sum() for stroke in strokes])
    assert all((stroke & ~region).sum() == 0 for stroke in strokes)
    assert np.mean(areas > 10) > 0.9 and areas.max() < 0.4 * region.sum()
    border = [simulate.depth(region)[stroke].max() < 12 for stroke in strokes if stroke.any()]
    assert 0.1 < np.mean(border) < 0.7  # some go along the border, others through the middle


def test_a_ring_is_around_and_not_inside() -> None:
    region = disc(30, 30, 12)
    for seed in range(10):
        ring = simulate.ring(region, np.random.default_rng(seed))
        assert ring.any() and not (ring & disc(30, 30, 13)).any() and not (ring & ~disc(30, 30, 30)).any()
    assert simulate.ring(np.ones((8, 8), bool), np.random.default_rng(0)).sum() == 0


def test_a_lasso_holds_its_region_and_little_more() -> None:
    region = disc(26, 36, 14) | disc(44, 30, 5)
    sizes = []
    for seed in range(20):
        lasso = simulate.lasso(region, np.random.default_rng(seed))
        assert not (region & ~lasso).any()
        sizes.append(lasso.sum() / region.sum())
    assert 1 <= min(sizes) < 1.15 and 1.3 < max(sizes) < 2.5
