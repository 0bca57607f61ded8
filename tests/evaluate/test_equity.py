"""Equity-scaled scores: the mean where groups are alike, less where they are not."""

from __future__ import annotations

import pytest

from vesalius.evaluate.equity import equity_scaled


def test_equal_groups_have_the_mean_and_unequal_ones_less() -> None:
    assert equity_scaled([0.7, 0.9, 0.7, 0.9], ["a", "a", "b", "b"]) == pytest.approx(0.8)
    # Means 0.9 and 0.7 around 0.8.
    assert equity_scaled([0.9, 0.9, 0.7, 0.7], ["a", "a", "b", "b"]) == pytest.approx(0.8 / 1.2)
    # The groups' means are compared with the mean of all cases, in which a large group counts more.
    assert equity_scaled([0.9, 0.9, 0.9, 0.5], ["a", "a", "a", "b"]) == pytest.approx(0.8 / (1 + 0.1 + 0.3))


def test_the_same_mean_is_worth_more_when_it_is_fair() -> None:
    fair, unfair = [0.8, 0.8, 0.8, 0.8], [1.0, 1.0, 0.6, 0.6]
    groups = ["a", "a", "b", "b"]
    assert equity_scaled(fair, groups) > equity_scaled(unfair, groups)
