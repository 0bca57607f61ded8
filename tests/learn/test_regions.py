"""Losses of overlapping regions: what is not annotated does not count, and sums do not depend on what else there is."""

from __future__ import annotations

import pytest
import torch

from vesalius.learn.regions import region_losses

TRUTH = torch.zeros(2, 3, 4, 4, 2)
TRUTH[:, :, :2] = 1
SURE = 20 * (2 * TRUTH - 1)


def test_the_truth_costs_nothing_and_overlaps_wholly() -> None:
    entropy, dice = region_losses(SURE, TRUTH, torch.ones(2, 3, dtype=torch.bool))
    assert entropy < 1e-6 and dice == pytest.approx(3)


def test_what_is_not_annotated_changes_nothing_and_learns_nothing() -> None:
    annotated = torch.tensor([[True, False, True], [True, True, False]])
    logits = torch.randn(2, 3, 4, 4, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    entropy, dice = region_losses(logits, TRUTH, annotated)
    other = TRUTH.clone()
    other[~annotated] = 1 - other[~annotated]
    assert region_losses(logits, other, annotated) == (entropy, dice)
    (entropy - dice).backward()
    assert logits.grad is not None and (logits.grad.abs().amax((2, 3, 4)) > 0).equal(annotated)


def test_a_region_of_no_image_adds_nothing() -> None:
    annotated = torch.tensor([[True, False, False], [True, False, False]])
    _, dice = region_losses(SURE, TRUTH, annotated)
    assert dice == pytest.approx(1)
