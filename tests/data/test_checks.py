"""Each thing that can be wrong with a data set is found, and nothing else."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import layout_trees as trees
from vesalius.data.case import Case, Dataset
from vesalius.data.checks import check_dataset
from vesalius.data.registry import open_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Three splits of single images, without a problem."""
    trees.word(tmp_path)
    return open_dataset(tmp_path)


@pytest.fixture
def case(dataset: Dataset) -> Case:
    """The case that is spoilt."""
    return dataset.cases[0]


def found(dataset: Dataset) -> list[tuple[str, str]]:
    """Case and kind of each problem."""
    return [(problem.case, problem.kind) for problem in check_dataset(dataset, lambda line: None)]


def sentence(dataset: Dataset) -> str:
    """What is said of the only problem."""
    (problem,) = check_dataset(dataset, lambda line: None)
    return problem.sentence


def test_a_good_set_has_none(dataset: Dataset) -> None:
    assert found(dataset) == []


@pytest.mark.parametrize("which", ["image", "segmentation"])
def test_truncated_files(dataset: Dataset, case: Case, which: str) -> None:
    path = getattr(case, which)
    path.write_bytes(path.read_bytes()[:-20])
    assert found(dataset) == [(case.id, "unreadable")]
    assert path.name in sentence(dataset)


def test_singular_affine(dataset: Dataset, case: Case) -> None:
    flat = trees.AFFINE.copy()
    flat[:3, 2] = flat[:3, 1]
    trees.put(case.image, trees.numbers("x"), flat)
    assert found(dataset) == [(case.id, "unreadable")]
    assert "singular" in sentence(dataset)


def test_axes_that_are_not_at_right_angles(dataset: Dataset, case: Case) -> None:
    tilted = np.diag([0.7, 0.7, 2.5, 1])
    tilted[1, 2] = 2.5 * np.tan(np.deg2rad(10))
    trees.put(case.image, trees.numbers("x"), tilted)
    trees.put(case.segmentation, trees.mask().astype(np.uint8), tilted)
    assert found(dataset) == [(case.id, "geometry")]
    assert sentence(dataset).startswith("the axes are 10.0 degrees")


def test_labels_on_another_grid(dataset: Dataset, case: Case) -> None:
    trees.put(case.segmentation, np.ones((6, 5, 3), np.uint8))
    assert sentence(dataset) == "image of 6 x 5 x 4 voxels and labels of 6 x 5 x 3"
    moved = trees.AFFINE.copy()
    moved[0, 3] += 3
    trees.put(case.segmentation, trees.mask().astype(np.uint8), moved)
    assert found(dataset) == [(case.id, "grid")]
    assert "3 mm apart" in sentence(dataset)


def test_labels_that_the_list_lacks(dataset: Dataset, case: Case) -> None:
    trees.labels(case.segmentation, 40)
    assert found(dataset) == [(case.id, "values")]
    assert "40" in sentence(dataset)


def test_labels_that_are_no_labels(dataset: Dataset, case: Case) -> None:
    trees.put(case.segmentation, trees.mask() * np.float32(0.5))
    assert found(dataset) == [(case.id, "unreadable")]


def test_empty_masks(dataset: Dataset, case: Case) -> None:
    trees.labels(case.segmentation, 0)
    assert found(dataset) == [(case.id, "empty")]


def test_voxels_that_are_not_numbers(dataset: Dataset, case: Case) -> None:
    voxels = trees.numbers("x").astype(np.float32)
    voxels[0, 0, :2] = np.nan, np.inf
    trees.put(case.image, voxels)
    assert found(dataset) == [(case.id, "numbers")]
    assert sentence(dataset).startswith("2 voxels")


def test_one_image_under_two_names(dataset: Dataset) -> None:
    first, second, _ = dataset.cases
    shutil.copy(first.image, second.image)
    assert found(dataset) == [(second.id, "duplicate")]
    assert sentence(dataset) == f"the image is that of {first.id}, listed as two patients, in train and in test"


def test_an_image_that_was_stored_the_other_way_round_is_the_same(dataset: Dataset) -> None:
    first, second, _ = dataset.cases
    turned = trees.AFFINE @ np.array([[-1, 0, 0, trees.SHAPE[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    trees.put(first.image, trees.numbers("x"))
    trees.put(second.image, trees.numbers("x")[::-1], turned)
    trees.put(second.segmentation, trees.mask().astype(np.uint8), turned)
    assert found(dataset) == [(second.id, "duplicate")]


def test_masks_that_lie_apart_from_the_others(tmp_path: Path) -> None:
    trees.totalsegmentator_ct(tmp_path / "ct")
    dataset = open_dataset(tmp_path / "ct")
    trees.put(dataset.cases[0].parts[1], np.zeros(trees.SHAPE, np.uint8), np.eye(4))
    assert found(dataset) == [("s0001", "unreadable")]
    assert "spleen.nii.gz in segmentations lies on another grid" in sentence(dataset)


def test_patients_in_two_splits(dataset: Dataset) -> None:
    first, second, third = dataset.cases
    leaking = replace(dataset, cases=(first, replace(second, group=first.group), third))
    assert found(leaking) == [(first.group, "split")]
    assert sentence(leaking) == "is in test (word_0001) and in train (word_0002)"


def test_every_case_is_heard(dataset: Dataset, case: Case) -> None:
    trees.labels(case.segmentation, 0)
    heard: list[str] = []
    check_dataset(dataset, heard.append)
    assert heard == ["1/3 word_0001: no voxel is labelled", "2/3 word_0002: good", "3/3 word_0014: good"]
