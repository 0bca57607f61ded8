"""Objects paired by their overlap: never twice, as many as possible, and counted where they have no partner."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.evaluate.instances import Matching, match_instances, split_components


def test_scores_by_hand() -> None:
    found = Matching((0.6, 0.9), missed=1, spurious=3)
    assert found.f1() == pytest.approx(2 / 4)
    assert found.panoptic_quality() == pytest.approx(1.5 / 4)
    assert found.mean_dice() == pytest.approx((0.75 + 1.8 / 1.9) / 2)
    assert Matching((), missed=2, spurious=0).mean_dice() == 0
    assert np.isnan([Matching((), 0, 0).f1(), Matching((), 0, 0).panoptic_quality()]).all()
    assert Matching((), missed=2, spurious=0).f1() == 0


def test_objects_are_paired_found_and_missed() -> None:
    reference, prediction = np.zeros((2, 30, 30), np.int32)
    reference[2:8, 2:8], reference[12:18, 12:18], reference[22:28, 2:8] = 5, 70, 9
    prediction[2:8, 2:7], prediction[12:18, 15:21], prediction[0:3, 20:25] = 2, 1, 300
    found = match_instances(prediction, reference, 0.5)
    assert found == Matching((pytest.approx(30 / 36),), missed=2, spurious=2)
    loose = match_instances(prediction, reference, 0.3)
    assert sorted(loose.ious) == [pytest.approx(18 / 54), pytest.approx(30 / 36)]


def test_more_pairs_are_better_than_one_good_pair() -> None:
    """The left prediction overlaps both references; with its best one, the right prediction would have none."""
    reference, prediction = np.zeros((2, 1, 20), np.int32)
    reference[0, 0:4], reference[0, 4:10] = 1, 2
    prediction[0, 1:8], prediction[0, 8:10] = 1, 2
    found = match_instances(prediction, reference, 0.2)
    assert sorted(found.ious) == [pytest.approx(2 / 6), pytest.approx(3 / 8)]


@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.3, 0.5, 0.7]))
@settings(deadline=None, max_examples=60)
def test_no_other_pairing_has_more_pairs_or_more_overlap(seed: int, least: float) -> None:
    rng = np.random.default_rng(seed)
    prediction, reference = (np.repeat(rng.integers(0, 4, 8), rng.integers(1, 4, 8))[:12] for _ in range(2))
    size = min(len(prediction), len(reference))
    prediction, reference = prediction[:size], reference[:size]
    found = match_instances(prediction, reference, least)
    best = max(
        [sorted(ious) for ious in pairings(prediction, reference, least)], key=lambda ious: (len(ious), sum(ious))
    )
    assert (len(found.ious), sum(found.ious)) == (len(best), pytest.approx(sum(best)))
    assert len(found.ious) + found.missed == len(set(reference[reference > 0]))
    assert len(found.ious) + found.spurious == len(set(prediction[prediction > 0]))


def pairings(prediction: np.ndarray, reference: np.ndarray, least: float) -> list[list[float]]:
    """The IoUs of every way to pair three objects of each side."""
    iou = np.zeros((4, 4))
    for n in range(1, 4):
        for m in range(1, 4):
            either = ((prediction == n) | (reference == m)).sum()
            iou[n, m] = ((prediction == n) & (reference == m)).sum() / max(1, either)
    iou[iou < least] = 0
    return [
        [iou[n, m] for n, m in zip((1, 2, 3), order, strict=True) if iou[n, m]] for order in permutations((1, 2, 3))
    ]


def test_parts_that_touch_by_a_corner_are_one() -> None:
    mask = np.zeros((6, 6, 6), bool)
    mask[1, 1, 1] = mask[2, 2, 2] = mask[5, 5, 5] = True
    assert split_components(mask).max() == 2
    assert split_components(mask, by_corners=False).max() == 3
    assert split_components(mask[:, :, 1]).max() == 1
