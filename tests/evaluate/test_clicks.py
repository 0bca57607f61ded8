"""Where oracle clicks go: depth in mm, the largest error, its sign, and the clicks of the challenge's own script."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from phantoms import ORDERS
from vesalius.evaluate.clicks import challenge_click, correction, deepest, first_click
from vesalius.grid import make_grid
from vesalius.prompts import Point
from vesalius.volume import Volume


def test_depth_is_measured_in_mm_and_the_edge_is_outside() -> None:
    region = np.zeros((9, 9), bool)
    region[:, 3:6] = True  # nine long, three wide
    assert deepest(region, (1, 1)) == (1, 4)
    assert deepest(region, (0.25, 1)) == (4, 4)  # now the long side is the short one


def test_the_first_click_is_deep_in_the_largest_slice_of_the_plane() -> None:
    mask = np.zeros((20, 20, 20), bool)
    mask[5:10, 5:10, 3:18] = mask[3:14, 3:14, 7] = True
    grid = make_grid(mask.shape, np.diag([1.0, 1, 4, 1]))
    assert first_click(mask, grid, "axial") == (8, 8, 7)
    i, j, k = first_click(mask, grid, "sagittal")  # across the first axis: 5 x 15 pixels, 4 mm high
    assert 5 <= i < 10 and j == 7 and k == 7


def test_a_correction_goes_to_the_largest_error_with_its_sign() -> None:
    grid = make_grid((20, 20, 20), np.diag([1.0, 1, 4, 1]))
    mask, found = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    mask[5:10, 5:10, 5:10] = found[5:10, 5:10, 5:8] = True
    assert correction(found, mask, grid) == Point.from_index(grid, (7, 7, 8))
    found[10:19, 5:14, 2:7] = True
    assert correction(found, mask, grid) == Point.from_index(grid, (14, 9, 3), positive=False)
    assert correction(mask, mask, grid) is None


@pytest.mark.parametrize("across", [0, 1, 2])
def test_a_picture_has_no_depth_across_itself(across: int) -> None:
    """One pixel thick, every pixel would be as deep as any other, and the first one would be clicked."""
    found, mask = np.zeros((2, 30, 40), bool)
    mask[4:13, 5:18], found[6:25, 20:37] = True, True
    found, mask = (np.expand_dims(each, across) for each in (found, mask))
    grid = make_grid(mask.shape, np.diag([-1.0, -1, 1, 1]), calibrated=False)
    click = correction(found, mask, grid)
    assert click is not None and not click.positive
    index = np.delete(np.rint(grid.index(click.at)).astype(int), across)
    assert 14 <= index[0] <= 16 and index[1] == 28  # in the middle of what was spilled
    again = correction(np.zeros_like(mask), mask, grid)
    assert again is not None and again.positive
    index = np.delete(np.rint(grid.index(again.at)).astype(int), across)
    assert index[0] == 8 and 9 <= index[1] <= 13


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and a reference (i, j, k) with several errors."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(14, 12, 10)), 1.5)
    noisy = field + ndimage.gaussian_filter(rng.normal(size=field.shape), 1)
    return noisy > np.quantile(noisy, 0.95 if seed % 2 else 0.7), field > np.quantile(field, 0.8)


@pytest.mark.parametrize(
    ("seed", "index", "positive"),
    # recorded from the functions of CVPR25_iter_eval.py with connected-components-3d
    [
        (0, (12, 1, 7), False),
        (1, (6, 1, 6), True),
        (2, (12, 10, 2), False),
        (3, (3, 3, 6), True),
        (4, (11, 1, 8), False),
        (5, (8, 7, 2), True),
        (6, (9, 7, 3), False),
        (7, (10, 7, 7), True),
    ],
)
def test_challenge_clicks_are_those_of_the_official_script(
    seed: int, index: tuple[int, int, int], positive: bool
) -> None:
    found, mask = scene(seed)
    grid = make_grid(mask.shape, np.diag([-0.7, -0.9, 3, 1]))
    assert challenge_click(found, mask, grid) == Point.from_index(grid, index, positive)


@pytest.mark.parametrize("codes", ORDERS[::7])
def test_challenge_clicks_do_not_depend_on_the_storage_order(codes: str) -> None:
    found, mask = scene(1)
    grid = make_grid(mask.shape, np.diag([-0.7, -0.9, 3, 1]))
    both = Volume(np.stack([found, mask]), grid).orient(codes)
    click, same = challenge_click(found, mask, grid), challenge_click(*both.voxels, both.grid)
    assert click is not None and same is not None and same.positive == click.positive
    assert np.allclose(same.at, click.at)


def test_huge_errors_are_halved_as_by_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vesalius.evaluate.clicks.DOWNSAMPLED_VOXELS", 1000)
    mask = np.zeros((30, 31, 33), bool)
    mask[3:24, 5:28, 2:31] = True
    grid = make_grid(mask.shape, np.eye(4))
    click = challenge_click(np.zeros_like(mask), mask, grid)
    assert click == Point.from_index(grid, (13, 17, 17))


def test_one_wrong_voxel_is_clicked_and_no_error_is_not() -> None:
    mask = np.zeros((4, 4, 4), bool)
    grid = make_grid(mask.shape, np.eye(4))
    assert challenge_click(mask, mask, grid) is None
    found = mask.copy()
    found[0, 3, 1] = True
    assert challenge_click(found, mask, grid) == Point.from_index(grid, (0, 3, 1), positive=False)
