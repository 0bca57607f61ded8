"""Distances between surfaces: equal to `surface-distance` and to brute force, and free of storage order and memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import permutations
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy.spatial.distance import cdist, directed_hausdorff

from strategies import mask_pairs
from vesalius.evaluate.overlap import Overlap
from vesalius.evaluate.surfaces import measure_distances
from vesalius.evaluate.surfels import surfel_sizes

TOLERANCES = (0.0, 0.5, 1.0, 2.0, 3.5)
Pair = tuple[np.ndarray, np.ndarray, list[float]]


@pytest.fixture(scope="module")
def peer() -> Iterator[ModuleType]:
    """DeepMind's package, of which version 0.1 writes NumPy's constants as NumPy 1 did."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "Inf", np.inf, raising=False)
        patch.setattr(np, "NaN", np.nan, raising=False)
        yield pytest.importorskip("surface_distance")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
@given(mask_pairs())
@settings(deadline=None, max_examples=100)
def test_all_distances_are_those_of_surface_distance(peer: ModuleType, pair: Pair) -> None:
    prediction, reference, spacing = pair
    theirs = peer.compute_surface_distances(reference, prediction, spacing)
    ours = measure_distances(prediction, reference, spacing)
    for side, other in (("prediction", "pred_to_gt"), ("reference", "gt_to_pred")):
        distances, sizes = getattr(ours, f"from_{side}"), getattr(ours, f"sizes_{side}")
        order = np.lexsort((sizes, distances))
        np.testing.assert_allclose(distances[order], theirs[f"distances_{other}"], rtol=1e-9)
        np.testing.assert_allclose(sizes.sum(), theirs[f"surfel_areas_{other.split('_')[0]}"].sum(), rtol=1e-9)
    for tolerance in TOLERANCES:
        expected = peer.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert ours.nsd(tolerance) == pytest.approx(expected, abs=1e-6, nan_ok=True)
    if prediction.any() or reference.any():  # else they say infinite, and we say not defined
        for percent in (95, 100):  # theirs just below and above, since rounding decides where pieces end at 95 %
            low, high = (peer.compute_robust_hausdorff(theirs, p) for p in (percent - 1e-6, min(percent + 1e-6, 100)))
            assert low - 1e-6 <= ours.hausdorff(percent) <= high + 1e-6
    if prediction.any() and reference.any():
        assert ours.masd() == pytest.approx(np.mean(peer.compute_average_surface_distance(theirs)), abs=1e-6)
    dice = peer.compute_dice_coefficient(reference, prediction)
    assert Overlap.of(prediction, reference).dice() == pytest.approx(dice, abs=1e-6, nan_ok=True)


def test_recorded_numbers_of_surface_distance() -> None:
    """Of version 0.1, for two balls in thick slices, so that the agreement is tested without the package as well."""
    index = np.indices((40, 36, 14)).astype(float)
    place = (np.array([0.8, 0.8, 2.5]) * np.moveaxis(index, 0, -1)) - 15
    prediction = np.linalg.norm(place, axis=-1) < 11
    reference = np.linalg.norm(place - (2, -1, 1), axis=-1) < 10
    found = measure_distances(prediction, reference, (0.8, 0.8, 2.5))
    numbers = [found.nsd(1), found.nsd(2), found.hausdorff(95), found.hausdorff(), found.masd()]
    assert numbers == pytest.approx([0.581990428, 0.772053421, 2.88444102, 3.817066937, 1.010745192], abs=1e-6)


@given(mask_pairs())
@settings(deadline=None, max_examples=100)
def test_hausdorff_distances_are_those_of_brute_force(pair: Pair) -> None:
    prediction, reference, spacing = pair
    ours, theirs = (corners(mask) * spacing for mask in (prediction, reference))
    if not len(ours) or not len(theirs):
        return
    found = measure_distances(prediction, reference, spacing)
    everything = cdist(ours, theirs)
    np.testing.assert_allclose(found.from_prediction, everything.min(axis=1), atol=1e-9)
    np.testing.assert_allclose(found.from_reference, everything.min(axis=0), atol=1e-9)
    brute = max(directed_hausdorff(ours, theirs)[0], directed_hausdorff(theirs, ours)[0])
    assert found.hausdorff() == pytest.approx(brute)
    reached = [
        min(d for d in distances if sizes[distances <= d].sum() >= (0.95 - 1e-9) * sizes.sum())
        for distances, sizes in (
            (found.from_prediction, found.sizes_prediction),
            (found.from_reference, found.sizes_reference),
        )
    ]
    assert found.hausdorff(95) == max(reached)


def corners(mask: np.ndarray) -> np.ndarray:
    """The corners (N, axes) of voxels at which inside and outside meet, in C order."""
    around = sliding_window_view(np.pad(mask, 1), (2,) * mask.ndim)
    window = tuple(range(mask.ndim, 2 * mask.ndim))
    return np.argwhere(around.any(axis=window) & ~around.all(axis=window))


@given(mask_pairs(dimensions=(3,)), st.permutations(range(3)), st.lists(st.booleans(), min_size=3, max_size=3))
@settings(deadline=None, max_examples=40)
def test_storage_order_changes_nothing(pair: Pair, order: list[int], flips: list[bool]) -> None:
    prediction, reference, spacing = pair
    flipped = tuple(axis for axis in range(3) if flips[axis])
    other = measure_distances(
        np.flip(prediction.transpose(order), flipped),
        np.flip(reference.transpose(order), flipped),
        [spacing[axis] for axis in order],
    )
    first = measure_distances(prediction, reference, spacing)
    for number in ("hausdorff", "assd", "masd"):
        assert getattr(other, number)() == pytest.approx(getattr(first, number)(), nan_ok=True)
    assert other.hausdorff(95) == pytest.approx(first.hausdorff(95), nan_ok=True)
    # A little more than the tolerance, so that rounding does not decide about a distance that equals it.
    assert other.nsd(1 + 1e-9) == pytest.approx(first.nsd(1 + 1e-9), nan_ok=True)


@given(mask_pairs())
@settings(deadline=None, max_examples=40)
def test_exchanging_the_masks_changes_nothing(pair: Pair) -> None:
    prediction, reference, spacing = pair
    one, other = measure_distances(prediction, reference, spacing), measure_distances(reference, prediction, spacing)
    for number in ("hausdorff", "assd", "masd"):
        assert getattr(one, number)() == pytest.approx(getattr(other, number)(), nan_ok=True)
    assert one.nsd(1) == pytest.approx(other.nsd(1), nan_ok=True)


def test_average_distances_of_parallel_plates() -> None:
    """Plates of the same size five voxels apart, and one of them with a second, far plate: both means by hand."""
    near, far = np.zeros((2, 40, 40, 30), bool)
    near[:, :, 10], far[:, :, 15] = True, True
    found = measure_distances(near, far, (1, 1, 2))
    assert found.hausdorff() == pytest.approx(10)
    # The faces towards the other plate are 8 mm away, those behind 10 mm.
    area = {d: found.sizes_prediction[found.from_prediction == d].sum() for d in (8, 10)}
    assert found.assd() == pytest.approx((8 * area[8] + 10 * area[10]) / (area[8] + area[10]))
    both = near | far
    to_both = measure_distances(both, far, (1, 1, 2))
    assert to_both.masd() == pytest.approx((found.assd() / 2 + 0) / 2)
    assert to_both.assd() == pytest.approx(found.assd() / 3)


def test_a_surface_has_the_area_of_its_marching_cubes() -> None:
    """Faces of a block are exact; along its edges and at its corners half a voxel is cut off."""
    block = np.zeros((12, 12, 12), bool)
    block[2:8, 2:9, 2:10] = True  # 6 x 7 x 8
    spacing = np.array([0.5, 1.0, 2.0])
    found = measure_distances(block, block, spacing)
    size = np.array([5, 6, 7]) * spacing  # between the centres of the outermost voxels
    faces = 2 * (size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
    half = spacing / 2
    edges = 4 * sum(size[n] * np.linalg.norm(np.delete(half, n)) for n in range(3))
    corner = np.linalg.norm([half[1] * half[2], half[0] * half[2], half[0] * half[1]]) / 2
    assert found.sizes_prediction.sum() == pytest.approx(faces + edges + 8 * corner)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.3, 4.0)])
def test_inside_and_outside_have_the_same_surface(spacing: tuple[float, ...]) -> None:
    sizes = surfel_sizes(spacing)
    np.testing.assert_allclose(sizes, sizes[::-1])
    turned = [surfel_sizes(tuple(spacing[axis] for axis in order)).sum() for order in permutations(range(3))]
    np.testing.assert_allclose(turned, turned[0])


def test_one_empty_mask_is_infinitely_far_and_two_are_not_defined() -> None:
    block = np.ones((3, 4, 5), bool)
    one = measure_distances(block, ~block, (1, 1, 1))
    assert (one.nsd(2), one.hausdorff(), one.hausdorff(95)) == (0, np.inf, np.inf)
    assert (one.assd(), one.masd()) == (np.inf, np.inf)
    none = measure_distances(~block, ~block, (1, 1, 1))
    assert np.isnan([none.nsd(2), none.hausdorff(), none.hausdorff(95), none.assd(), none.masd()]).all()


def test_memory_goes_with_the_box_of_the_masks() -> None:
    prediction, reference = np.zeros((2, 200, 200, 100), bool)
    prediction[90:110, 90:110, 40:60], reference[92:112, 90:110, 40:60] = True, True
    tracemalloc.start()
    measure_distances(prediction, reference, (1, 1, 1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < prediction.size / 2


def test_masks_that_do_not_fit_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        measure_distances(np.ones((3, 4, 5), bool), np.ones((3, 4, 6), bool), (1, 1, 1))
