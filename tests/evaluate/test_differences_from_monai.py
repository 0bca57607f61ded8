"""Where MONAI says something else: its definitions in a few lines, what they give, and what ours give.

MONAI 1.6.1 is asked as well where it is installed. `docs/metrics.md` lists these differences.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from vesalius.evaluate.overlap import Overlap
from vesalius.evaluate.surfaces import Distances, measure_distances

SPACING = (1.0, 1.0, 2.0)
PREDICTION, REFERENCE, NOTHING = np.zeros((3, 12, 12, 8), bool)
PREDICTION[2:8, 2:9, 2:6] = REFERENCE[3:9, 2:9, 3:6] = True
REFERENCE[3, 2, 3] = False


@pytest.fixture(scope="module")
def ours() -> Distances:
    return measure_distances(PREDICTION, REFERENCE, SPACING)


def edge_distances(mask: np.ndarray, other: np.ndarray) -> np.ndarray:
    """MONAI's distances: from the voxels of a mask that have a neighbour outside to those of the other, all alike."""
    edge, goal = (each ^ ndimage.binary_erosion(each) for each in (mask, other))
    return ndimage.distance_transform_edt(~goal, sampling=SPACING)[edge]


def ask_monai(function: str, prediction: np.ndarray, reference: np.ndarray, **options: object) -> float | None:
    """The number of MONAI itself, None where it is not installed."""
    try:
        import monai.metrics
        import torch
    except ImportError:
        return None
    pair = (torch.from_numpy(mask)[None, None] for mask in (prediction, reference))
    return float(getattr(monai.metrics, function)(*pair, include_background=True, **options))


def agrees(monai: float | None, definition: float) -> bool:
    """Whether the definition given here is MONAI's, as far as that can be asked; its numbers are of 32 bit."""
    return monai is None or monai == pytest.approx(definition, abs=1e-5, nan_ok=True)


def test_hd95_counts_area_between_corners_and_not_voxels(ours: Distances) -> None:
    theirs = max(
        np.percentile(edge_distances(PREDICTION, REFERENCE), 95),
        np.percentile(edge_distances(REFERENCE, PREDICTION), 95),
    )
    assert agrees(
        ask_monai("compute_hausdorff_distance", PREDICTION, REFERENCE, percentile=95, spacing=SPACING), theirs
    )
    assert theirs == pytest.approx(2.2360680)
    assert ours.hausdorff(95) == 2


def test_nsd_counts_area_which_monai_does_only_with_use_subvoxels(ours: Distances) -> None:
    sides = edge_distances(PREDICTION, REFERENCE), edge_distances(REFERENCE, PREDICTION)
    voxels = sum((side <= 1).sum() for side in sides) / sum(len(side) for side in sides)
    options = {"class_thresholds": [1.0], "spacing": SPACING}
    assert agrees(ask_monai("compute_surface_dice", PREDICTION, REFERENCE, **options), voxels)
    assert voxels == pytest.approx(0.7896996)
    assert ours.nsd(1) == pytest.approx(0.8524249)
    assert agrees(ask_monai("compute_surface_dice", PREDICTION, REFERENCE, use_subvoxels=True, **options), ours.nsd(1))


def test_average_distance_is_symmetric_and_by_area(ours: Distances) -> None:
    there, back = edge_distances(PREDICTION, REFERENCE), edge_distances(REFERENCE, PREDICTION)
    options = {"spacing": SPACING}
    assert agrees(ask_monai("compute_average_surface_distance", PREDICTION, REFERENCE, **options), there.mean())
    both = np.concatenate([there, back]).mean()
    theirs = ask_monai("compute_average_surface_distance", PREDICTION, REFERENCE, symmetric=True, **options)
    assert agrees(theirs, both)
    assert (there.mean(), both) == pytest.approx((0.8868452, 0.7103698))
    assert (ours.assd(), ours.masd()) == pytest.approx((0.6464485, 0.6352156))


def test_a_missed_structure_has_an_hd95_and_stays_in_the_mean() -> None:
    """MONAI's HD95 is NaN there, which its mean leaves out: it improves as a model finds fewer structures."""
    assert agrees(ask_monai("compute_hausdorff_distance", NOTHING, REFERENCE, percentile=95, spacing=SPACING), np.nan)
    assert measure_distances(NOTHING, REFERENCE, SPACING).hausdorff(95) == np.inf


def test_a_spurious_structure_has_a_dice_of_0() -> None:
    """MONAI's Dice is NaN where the reference is empty (`ignore_empty`), also where the prediction is not."""
    assert agrees(ask_monai("compute_dice", PREDICTION, NOTHING), np.nan)
    assert Overlap.of(PREDICTION, NOTHING).dice() == 0
