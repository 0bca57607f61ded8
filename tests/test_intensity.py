"""The rule that maps an image's numbers to grey levels."""

from __future__ import annotations

import numpy as np
import pytest

import vesalius as vs
from phantoms import ORDERS
from vesalius.intensity import choose_window

GRID = vs.make_grid((8, 9, 10), np.eye(4))


def volume(values: np.ndarray, modality: str = "") -> vs.Volume:
    return vs.Volume(values.reshape(1, *GRID.shape), GRID, vs.Source(modality=modality))


def ramp(low: float, high: float, dtype: type) -> np.ndarray:
    return np.linspace(low, high, 720).astype(dtype)


def test_8_bit_stays_as_stored() -> None:
    values = ramp(10, 240, np.uint8)
    window = choose_window(volume(values))
    assert (window.low, window.high) == (0, 255) and np.array_equal(window.grey(values), values)


@pytest.mark.parametrize(("values", "modality"), [(ramp(-1024, 2000, np.int16), ""), (ramp(0, 90, np.float32), "CT")])
def test_ct_is_shown_in_the_soft_tissue_window(values: np.ndarray, modality: str) -> None:
    window = choose_window(volume(values, modality))
    assert (window.low, window.high, window.rule) == (-160, 240, "CT soft tissue")
    assert window.grey(np.array([-1000, -160, 40, 240, 3000], np.int16)).tolist() == [0, 0, 128, 255, 255]


def test_other_images_are_spread_between_percentiles_of_what_is_not_background() -> None:
    values = np.zeros(720, np.float32)
    values[360:] = np.linspace(100, 1100, 360)
    window = choose_window(volume(values, "MR"))
    assert window.low == pytest.approx(105, abs=4) and window.high == pytest.approx(1095, abs=4)


def test_a_given_window_wins_and_an_empty_one_is_refused() -> None:
    image = volume(ramp(-1024, 2000, np.int16))
    assert choose_window(image, (-1000, 400)).low == -1000
    with pytest.raises(vs.FormatError, match="LOW below HIGH"):
        choose_window(image, (5, 5))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_numbers_are_refused(bad: float) -> None:
    values = ramp(0, 1, np.float32)
    values[5] = bad
    with pytest.raises(vs.FormatError, match="--fill 0"):
        choose_window(volume(values))


def test_a_constant_image_has_a_window() -> None:
    assert choose_window(volume(np.full(720, 7, np.int16))).grey(np.array([7], np.int16)).tolist() == [0]


def test_the_window_does_not_depend_on_storage_order() -> None:
    image = volume(np.random.default_rng(0).normal(50, 20, 720).astype(np.float32))
    assert len({choose_window(image.orient(order)) for order in ORDERS}) == 1
