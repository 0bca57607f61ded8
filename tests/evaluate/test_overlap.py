"""Overlap of two masks: by hand, in what masks of any kind must satisfy, and along thin structures."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings

from strategies import mask_pairs
from vesalius.errors import FormatError
from vesalius.evaluate.overlap import Overlap, cldice


def test_counts_by_hand() -> None:
    found = Overlap(both=6, prediction=8, reference=10)
    assert found.dice() == pytest.approx(12 / 18)
    assert found.iou() == pytest.approx(6 / 12)
    assert found.volume_error() == pytest.approx(-0.2)


def test_what_is_not_defined_is_nan_and_a_spurious_mask_is_infinitely_too_large() -> None:
    nothing, missed, spurious = Overlap(0, 0, 0), Overlap(0, 0, 9), Overlap(0, 9, 0)
    assert np.isnan([nothing.dice(), nothing.iou(), nothing.volume_error()]).all()
    assert (missed.dice(), missed.iou(), missed.volume_error()) == (0, 0, -1)
    assert (spurious.dice(), spurious.iou(), spurious.volume_error()) == (0, 0, np.inf)


@given(mask_pairs())
@settings(deadline=None, max_examples=50)
def test_dice_and_iou_say_the_same(pair: tuple) -> None:
    found = Overlap.of(pair[0], pair[1])
    if found.prediction or found.reference:
        assert found.dice() == pytest.approx(2 * found.iou() / (1 + found.iou()))
        assert (found.dice() == 1) == bool((pair[0] == pair[1]).all())


@pytest.mark.parametrize("depth", [1, 5])
def test_cldice_follows_the_line_and_not_its_thickness(depth: int) -> None:
    thin, thick = np.zeros((2, 40, 20, depth), bool)
    thin[3:37, 10, depth // 2] = True
    thick[2:38, 8:13] = True
    assert cldice(thick.squeeze(), thin.squeeze()) > 0.95
    assert Overlap.of(thick, thin).dice() < 0.4
    half = thin.copy()
    half[20:] = False
    assert cldice(half.squeeze(), thin.squeeze()) == pytest.approx(2 * 0.5 / 1.5, abs=0.02)


def test_cldice_of_empty_masks() -> None:
    line = np.zeros((9, 9), bool)
    line[4] = True
    assert cldice(line, ~line & line) == cldice(~line & line, line) == 0
    assert np.isnan(cldice(~line & line, ~line & line))


def test_a_block_that_thinning_takes_away_whole_still_counts() -> None:
    block = np.zeros((12, 12, 12), bool)
    block[2:6, 2:6, 2:6] = True
    assert cldice(block, block) == 1


def test_without_scikit_image_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.morphology", None)
    with pytest.raises(FormatError, match="vesalius\\[evaluate\\]"):
        cldice(np.ones((3, 3), bool), np.ones((3, 3), bool))
