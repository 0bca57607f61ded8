"""Several raters: the distance between groups of masks, and what the raters agree on."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.evaluate.raters import generalised_energy_distance, staple, vote

LEFT, RIGHT, BOTH, NOTHING = np.zeros((4, 6, 6, 4), bool)
LEFT[:3] = RIGHT[3:] = BOTH[:] = True


def test_the_same_masks_in_the_same_shares_have_no_distance() -> None:
    assert generalised_energy_distance([LEFT, RIGHT], [RIGHT, LEFT, RIGHT, LEFT]) == pytest.approx(0)
    assert generalised_energy_distance([NOTHING], [NOTHING]) == 0


def test_energy_distance_by_hand() -> None:
    assert generalised_energy_distance([LEFT], [RIGHT]) == 2
    assert generalised_energy_distance([LEFT], [NOTHING]) == 2
    # Across: (1 + 0.5) / 2 for either sample; within the raters: two of four pairs are 0.5 apart.
    assert generalised_energy_distance([LEFT], [RIGHT, BOTH]) == pytest.approx(2 * 0.75 - 0 - 0.25)
    # A model without variety is further from raters who disagree than one that shows both answers.
    raters = [LEFT, RIGHT]
    assert generalised_energy_distance(raters, raters) < generalised_energy_distance([LEFT], raters)


def test_more_than_half_must_agree() -> None:
    np.testing.assert_array_equal(vote([LEFT, LEFT, RIGHT]), LEFT)
    np.testing.assert_array_equal(vote([LEFT, RIGHT]), NOTHING)
    np.testing.assert_array_equal(vote([LEFT] * 200 + [RIGHT] * 300), RIGHT)


@pytest.mark.parametrize("mask", [LEFT, BOTH, NOTHING])
def test_raters_who_agree_are_believed(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(staple([mask, mask]), mask)
    np.testing.assert_array_equal(vote([mask, mask]), mask)


def test_staple_believes_the_reliable_raters() -> None:
    """Two careful raters against three who guess: a vote follows the guesses, STAPLE does not."""
    rng = np.random.default_rng(0)
    truth = np.zeros((24, 24, 8), bool)
    truth[6:18, 6:18] = True
    careful = [truth ^ (rng.random(truth.shape) < 0.02) for _ in range(2)]
    careless = [truth ^ (rng.random(truth.shape) < 0.35) for _ in range(3)]
    wrong = {
        name: (found ^ truth).mean()
        for name, found in (("vote", vote(careful + careless)), ("staple", staple(careful + careless)))
    }
    assert wrong["staple"] < 0.03 < wrong["vote"]
