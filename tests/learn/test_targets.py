"""What can be asked of a labelled picture."""

from __future__ import annotations

import numpy as np

from vesalius.data.case import Dataset
from vesalius.data.slices import Slice
from vesalius.learn.targets import connected_parts, list_targets


def dataset(kind: str, labels: dict[str, int]) -> Dataset:
    return Dataset("made here", "CT", 2, labels, kind, "CC0-1.0", "made here", ())  # type: ignore[arg-type]


def picture(labels: np.ndarray) -> Slice:
    return Slice("made here", "a", np.zeros(labels.shape, np.uint8), labels)


def two_vertebrae_and_a_kidney() -> np.ndarray:
    labels = np.zeros((100, 100), np.int32)
    labels[10:20, 40:50] = 1
    labels[20:30, 40:50] = 2
    labels[50:60, 10:20] = labels[50:60, 70:80] = 3
    labels[90, 90] = 3
    return labels


NAMES = {"vertebra L1": 1, "vertebra L2": 2, "kidney": 3}


def test_parts_touch_at_corners_but_not_across_labels() -> None:
    labels = np.array([[1, 0, 0], [0, 1, 2], [0, 0, 0]])
    parts, owners = connected_parts(labels)
    assert owners == [0, 1, 2]
    assert parts.tolist() == [[1, 0, 0], [0, 1, 2], [0, 0, 0]]


def test_parts_labels_and_families_are_targets_and_crumbs_are_not() -> None:
    labels = two_vertebrae_and_a_kidney()
    task = list_targets(picture(labels), dataset("semantic", NAMES))
    masks = [task.mask(target) for target in task.targets]

    def listed(wanted: np.ndarray) -> bool:
        return any(np.array_equal(mask, wanted) for mask in masks)

    assert listed(labels == 1)
    assert listed(labels == 2)
    assert listed((labels == 1) | (labels == 2))
    left = labels == 3
    left[:, 50:] = False
    assert listed(left)
    assert all(mask.sum() >= 16 for mask in masks)
    assert len(masks) == 6  # two vertebrae, both, two kidneys, both
    assert np.isclose(task.weights.sum(), 1)


def test_objects_of_an_instance_set_are_the_targets() -> None:
    labels = np.zeros((50, 50), np.int32)
    labels[5:10, 5:15] = 1
    labels[10:15, 5:15] = 2
    task = list_targets(picture(labels), dataset("instance", {"nucleus": 1}))
    assert task.targets == ((1,), (2,))


def test_a_picture_without_labels_has_no_target() -> None:
    assert list_targets(picture(np.zeros((9, 9), np.int32)), dataset("semantic", NAMES)).targets == ()
