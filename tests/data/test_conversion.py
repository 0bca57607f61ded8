"""Sets in other layouts and back: masks and places are the same, what is there is kept, and bad cases stop nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import layout_trees as trees
from vesalius.data.case import Dataset
from vesalius.data.conversion import convert_dataset
from vesalius.data.reading import read_image, read_labels
from vesalius.data.registry import open_dataset
from vesalius.errors import FormatError

TARGETS = ("msd", "nnunet", "bids", "npz")


def convert(dataset: Dataset, folder: Path, target: str) -> Dataset:
    """The set in another layout, opened again without a word about it."""
    result = convert_dataset(dataset, folder, target, lambda line: None)
    assert result.failed == {} and len(result.done) == len(dataset.cases)
    found = open_dataset(folder)
    assert found.layout == target
    return found


def assert_same(found: Dataset, dataset: Dataset, same_values: bool = True) -> None:
    """The same cases with the same facts, the same masks and exactly the same affines."""
    assert [case.id for case in found.cases] == [case.id for case in dataset.cases]
    assert (found.licence, found.source, found.modality) == (dataset.licence, dataset.source, dataset.modality)
    assert set(found.labels) == set(dataset.labels)
    for one, other in zip(found.cases, dataset.cases, strict=True):
        assert (one.split, one.group, one.annotated) == (other.split, other.group, other.annotated)
        image, labels = read_image(found, one), read_labels(found, one)
        wanted, reference = read_image(dataset, other), read_labels(dataset, other)
        assert image.grid == wanted.grid and labels.grid.affine == reference.grid.affine
        if same_values:
            assert np.array_equal(image.voxels, wanted.voxels)
        for name in dataset.labels:
            assert np.array_equal(labels.mask(name), reference.mask(name))


@pytest.fixture
def source(tmp_path: Path) -> Dataset:
    """Three splits, patients with two images, a licence, and codes with gaps."""
    trees.acdc(tmp_path / "acdc")
    dataset = open_dataset(tmp_path / "acdc")
    first, *rest = dataset.cases
    return replace(dataset, cases=(replace(first, split="val", annotated=("myocardium", "left ventricle")), *rest))


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_keeps_masks_places_and_facts(source: Dataset, target: str, tmp_path: Path) -> None:
    assert_same(convert(source, tmp_path / "out", target), source, same_values=target != "npz")


@pytest.mark.parametrize(("first", "second"), list(permutations(TARGETS, 2)))
def test_there_and_back_between_any_two(source: Dataset, first: str, second: str, tmp_path: Path) -> None:
    there = convert(source, tmp_path / "there", first)
    back = convert(convert(there, tmp_path / "on", second), tmp_path / "back", first)
    assert_same(back, source, same_values="npz" not in (first, second))


@pytest.mark.parametrize("target", ["msd", "nnunet", "bids"])
def test_channels_are_kept_in_order(target: str, tmp_path: Path) -> None:
    trees.brats2021(tmp_path / "in")
    dataset = open_dataset(tmp_path / "in")
    found = convert(dataset, tmp_path / "out", target)
    assert_same(found, dataset)
    assert found.channels == ("t1", "t1ce", "t2", "flair")


@pytest.mark.parametrize("target", ["msd", "nnunet", "bids"])
def test_pictures_in_colour_have_three_channels(target: str, tmp_path: Path) -> None:
    trees.pairs(tmp_path / "in")
    for path in (tmp_path / "in/images").iterdir():
        Image.fromarray(trees.numbers(path.name, (*trees.SHAPE[1::-1], 3)).astype(np.uint8)).save(path)
    dataset = open_dataset(tmp_path / "in")
    found = convert(dataset, tmp_path / "out", target)
    assert_same(found, dataset)
    assert found.channels == ("R", "G", "B")


def test_nnunet_gets_codes_without_gaps(tmp_path: Path) -> None:
    trees.brats2021(tmp_path / "in")
    found = convert(open_dataset(tmp_path / "in"), tmp_path / "out", "nnunet")
    assert found.labels == {"necrotic tumor core": 1, "edema": 2, "enhancing tumor": 3}


def test_nnunet_finds_what_it_needs(source: Dataset, tmp_path: Path) -> None:
    convert(source, tmp_path / "out", "nnunet")
    facts = json.loads((tmp_path / "out/dataset.json").read_text())
    assert facts["channel_names"] == {"0": "cine MR"} and facts["numTraining"] == 2
    assert facts["labels"] == {"background": 0, "right ventricle": 1, "myocardium": 2, "left ventricle": 3}
    folds = json.loads((tmp_path / "out/splits_final.json").read_text())
    assert folds == [{"train": ["patient001_frame12"], "val": ["patient001_frame01"]}]
    assert (tmp_path / "out/imagesTr/patient001_frame01_0000.nii.gz").exists()
    assert (tmp_path / "out/labelsTs/patient101_frame12.nii.gz").exists()


def test_bids_names_subjects_sessions_and_sources(source: Dataset, tmp_path: Path) -> None:
    convert(source, tmp_path / "out", "bids")
    where = tmp_path / "out/sub-patient001/ses-patient001frame01/anat"
    start = "sub-patient001_ses-patient001frame01"
    assert {path.name for path in where.iterdir()} == {
        f"{start}_{end}" for end in ("cineMR.nii.gz", "dseg.nii.gz", "dseg.json")
    }
    facts = json.loads((tmp_path / "out/dataset_description.json").read_text())
    assert facts["DatasetType"] == "derivative" and facts["License"] == source.licence
    assert (tmp_path / "out/dseg.tsv").read_text().splitlines()[1] == "1\tright ventricle"


def test_bids_knows_sequences_by_its_own_names(tmp_path: Path) -> None:
    trees.brats2021(tmp_path / "in")
    convert(open_dataset(tmp_path / "in"), tmp_path / "out", "bids")
    start = "sub-BraTS202100000"
    images = {path.name for path in (tmp_path / f"out/{start}/anat").glob("*.nii.gz")}
    ends = ("T1w", "ce-gadolinium_T1w", "T2w", "FLAIR", "dseg")
    assert images == {f"{start}_{end}.nii.gz" for end in ends}
    (tmp_path / "out/vesalius.json").unlink()
    assert open_dataset(tmp_path / "out").channels == ("T1w", "gadolinium T1w", "T2w", "FLAIR")


def test_npz_is_what_the_challenges_read(source: Dataset, tmp_path: Path) -> None:
    convert(source, tmp_path / "out", "npz")
    with np.load(tmp_path / "out/patient001_frame01.npz") as stored:
        assert stored["imgs"].dtype == np.uint8 and stored["imgs"].shape == stored["gts"].shape == trees.SHAPE[::-1]
        assert np.allclose(stored["spacing"], (0.7, 0.8, 2.5))
        assert stored["gts"].max() == 3


def test_masks_in_files_of_their_own_become_labels(tmp_path: Path) -> None:
    trees.totalsegmentator_ct(tmp_path / "in")
    dataset = open_dataset(tmp_path / "in")
    assert_same(convert(dataset, tmp_path / "out", "msd"), dataset)


def test_labels_without_names_are_called_by_their_number(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    trees.npz(tmp_path / "in")
    assert convert(open_dataset(tmp_path / "in"), tmp_path / "out", "nnunet").labels == {"1": 1}


def test_what_is_there_is_not_written_again(source: Dataset, tmp_path: Path) -> None:
    convert(source, tmp_path / "out", "msd")
    kept, lost = (tmp_path / f"out/labelsTr/patient001_frame{n}.nii.gz" for n in ("01", "12"))
    kept.write_bytes(b"kept")
    lost.unlink()
    (tmp_path / "out/dataset.json").unlink()  # as after a kill before the end
    result = convert_dataset(source, tmp_path / "out", "msd", lambda line: None)
    assert result.done == ["patient001_frame12"] and len(result.skipped) == 3
    assert kept.read_bytes() == b"kept" and lost.exists()
    assert len(open_dataset(tmp_path / "out").cases) == 4


@pytest.mark.parametrize("target", TARGETS)
def test_bad_cases_are_named_and_the_rest_is_done(source: Dataset, target: str, tmp_path: Path) -> None:
    broken, moved, strange, good = source.cases
    broken.image.write_bytes(broken.image.read_bytes()[:-20])
    trees.put(moved.segmentation, trees.mask().astype(np.uint8), np.eye(4))
    trees.labels(strange.segmentation, 9)
    result = convert_dataset(source, tmp_path / "out", target, lambda line: None)
    assert result.done == [good.id]
    assert "cut short" in result.failed[broken.id]
    assert "different grids" in result.failed[moved.id]
    assert "label 9" in result.failed[strange.id]
    assert [case.id for case in open_dataset(tmp_path / "out").cases] == [good.id]
    assert not [path for path in (tmp_path / "out").rglob(".*") if path.name != ".bidsignore"]


def test_overlapping_structures_are_refused(tmp_path: Path) -> None:
    trees.totalsegmentator_ct(tmp_path / "in")
    dataset = open_dataset(tmp_path / "in")
    trees.labels(dataset.cases[0].parts[1])
    result = convert_dataset(dataset, tmp_path / "out", "msd", lambda line: None)
    assert "overlap" in result.failed["s0001"] and len(result.done) == 2


def test_the_source_is_never_written_into(source: Dataset, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="another folder"):
        convert_dataset(source, tmp_path / "acdc", "msd", lambda line: None)


def test_a_folder_holds_one_set_in_one_layout(source: Dataset, tmp_path: Path) -> None:
    convert(source, tmp_path / "out", "msd")
    with pytest.raises(FormatError, match="holds acdc as msd; choose another folder for acdc as nnunet"):
        convert_dataset(source, tmp_path / "out", "nnunet", lambda line: None)
    trees.text(tmp_path / "mine/notes.txt", "mine")
    with pytest.raises(FormatError, match="other files"):
        convert_dataset(source, tmp_path / "mine", "msd", lambda line: None)


def test_two_cases_never_share_a_place(source: Dataset, tmp_path: Path) -> None:
    first, second, *_ = source.cases
    cases = (replace(first, id="a_1", group="a_1"), replace(second, id="a1", group="a1"))
    with pytest.raises(FormatError, match="a_1, a1 would all be written"):
        convert_dataset(replace(source, cases=cases), tmp_path / "out", "bids", lambda line: None)


def test_sets_of_objects_and_unknown_targets_are_refused(source: Dataset, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="object"):
        convert_dataset(replace(source, label_kind="instance"), tmp_path / "out", "msd", lambda line: None)
    with pytest.raises(FormatError, match="msd, nnunet, bids, npz"):
        convert_dataset(source, tmp_path / "out", "dicom", lambda line: None)
