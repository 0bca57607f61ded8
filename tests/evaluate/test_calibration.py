"""Probabilities: what is calibrated has no error, and what is sure and wrong has the largest."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.evaluate import calibration
from vesalius.evaluate.calibration import brier_score, expected_calibration_error


def test_by_hand() -> None:
    probability, truth = np.array([0.9, 0.8, 0.3, 0.1]), np.array([True, False, True, False])
    assert brier_score(probability, truth) == pytest.approx((0.01 + 0.64 + 0.49 + 0.01) / 4)
    # Two bins: above a half 0.85 is said on average and 0.5 is true, below it 0.2 is said and 0.5 is true.
    assert expected_calibration_error(probability, truth, bins=2) == pytest.approx((0.35 + 0.3) / 2)


def test_calibrated_probabilities_have_no_error_and_sure_mistakes_the_largest() -> None:
    probability = np.linspace(0, 1, 100_000).reshape(100, 1000)
    truth = np.random.default_rng(0).random(probability.shape) < probability
    assert expected_calibration_error(probability, truth) < 0.01
    assert brier_score(probability, truth) == pytest.approx(1 / 6, abs=0.01)  # the mean of p (1 - p)
    assert expected_calibration_error(truth.astype(float), ~truth) == brier_score(truth.astype(float), ~truth) == 1
    assert expected_calibration_error(truth.astype(float), truth) == brier_score(truth.astype(float), truth) == 0


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    probability, truth = rng.random((5, 6, 7), dtype=np.float32), rng.random((5, 6, 7)) < 0.3
    whole = expected_calibration_error(probability, truth), brier_score(probability, truth)
    monkeypatch.setattr(calibration, "BLOCK", 11)
    assert (expected_calibration_error(probability, truth), brier_score(probability, truth)) == pytest.approx(whole)


def test_nothing_is_not_defined_and_other_shapes_are_refused() -> None:
    nothing = np.zeros((0, 3))
    assert np.isnan([expected_calibration_error(nothing, nothing > 0), brier_score(nothing, nothing > 0)]).all()
    with pytest.raises(ValueError, match="do not fit"):
        brier_score(np.zeros(3), np.zeros(4, bool))
