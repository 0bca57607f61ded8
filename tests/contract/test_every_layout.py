"""What every layout of labelled images must satisfy, on a small folder that is made as the provider's is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import layout_trees as trees
from vesalius.data.case import Dataset
from vesalius.data.checks import check_dataset
from vesalius.data.conversion import convert_dataset
from vesalius.data.reading import read_image, read_labels
from vesalius.data.registry import LAYOUTS, open_dataset
from vesalius.errors import FormatError


@dataclass(frozen=True)
class Row:
    """What a folder must give: splits by case, the structure that is drawn, and what is not one case = one patient."""

    make: Callable[[Path], None]
    splits: dict[str, str]
    drawn: str
    groups: dict[str, str] = field(default_factory=dict)
    modality: str = "CT"
    channels: int = 1
    unlabelled: tuple[str, ...] = ()


SEQUENCES = ("MR_1_T1DUAL_InPhase", "MR_1_T1DUAL_OutPhase", "MR_1_T2SPIR")
COLONOGRAPHY = "1.3.6.1.4.1.9328.50.4.0001"
VISITS = ("BraTS-GLI-00000-000", "BraTS-GLI-00000-001")
LATE_VISITS = ("BraTS-GLI-00005-100", "BraTS-GLI-00005-101")
SLICE = "ct_00--AbdomenCT1K--Case_00011--x_0041"
VERSE = {  # archive and subject of each case
    "dataset-verse19training_sub-verse004": "sub-verse004",
    "dataset-verse19test_sub-verse010": "sub-verse010",
    "dataset-verse20validation_sub-verse500_dir-ax": "sub-verse500",
}
ROWS = {
    "btcv": Row(trees.btcv, {"img0001": "train", "img0002": "train"}, "liver"),
    "pancreas-ct": Row(trees.pancreas_ct, {"PANCREAS_0001": "train", "PANCREAS_0002": "train"}, "pancreas"),
    "chaos": Row(
        trees.chaos,
        dict.fromkeys(("CT_1", *SEQUENCES), "train"),
        "liver",
        groups=dict.fromkeys(SEQUENCES, "MR_1"),
        modality="CT, MR",
    ),
    "lits": Row(trees.lits, {"volume-0": "train", "volume-28": "train"}, "liver"),
    "kits": Row(trees.kits, {"case_00000": "train", "case_00001": "train", "case_00002": "train"}, "kidney"),
    "3d-ircadb": Row(trees.ircadb, {"3Dircadb1.1": "train"}, "livertumor01"),
    "word": Row(
        trees.word, {"word_0001": "test", "word_0002": "train", "word_0014": "val"}, "liver", unlabelled=("word_0003",)
    ),
    "abdomenct-1k": Row(trees.abdomenct_1k, {"Case_00001": "train", "Case_00802": "train"}, "liver"),
    "amos": Row(
        trees.amos,
        {"amos_0001": "train", "amos_0008": "val", "amos_0507": "train"},
        "liver",
        modality="CT, MR",
        unlabelled=("amos_0002",),
    ),
    "ct-org": Row(trees.ct_org, {"volume-0": "test", "volume-21": "train"}, "liver"),
    "verse": Row(trees.verse, dict(zip(VERSE, ("train", "test", "val"), strict=True)), "vertebra L1", groups=VERSE),
    "ctspine1k": Row(trees.ctspine1k, {COLONOGRAPHY: "train", "HN_P007": "test", "liver_0": "val"}, "vertebra L1"),
    "totalsegmentator-ct": Row(trees.totalsegmentator_ct, {"s0001": "train", "s0002": "val", "s0003": "test"}, "liver"),
    "totalsegmentator-mr": Row(
        trees.totalsegmentator_mr, {"s0001": "train", "s0002": "val", "s0003": "test"}, "liver", modality="MR"
    ),
    "acdc": Row(
        trees.acdc,
        {f"{p}_frame{f}": s for p, s in (("patient001", "train"), ("patient101", "test")) for f in ("01", "12")},
        "left ventricle",
        groups={f"{p}_frame{f}": p for p in ("patient001", "patient101") for f in ("01", "12")},
        modality="MR",
    ),
    "flare22": Row(trees.flare22, {"FLARE22_Tr_0001": "train", "FLARE22_Tr_0002": "train"}, "liver"),
    "brats2021": Row(
        trees.brats2021,
        {"BraTS2021_00000": "train", "BraTS2021_00002": "train"},
        "enhancing tumor",
        modality="MR",
        channels=4,
    ),
    "brats2023": Row(
        trees.brats2023,
        dict.fromkeys(VISITS, "train"),
        "enhancing tumor",
        groups=dict.fromkeys(VISITS, "BraTS-GLI-00000"),
        modality="MR",
        channels=4,
    ),
    "brats2024": Row(
        trees.brats2024,
        dict.fromkeys(LATE_VISITS, "train"),
        "resection cavity",
        groups=dict.fromkeys(LATE_VISITS, "BraTS-GLI-00005"),
        modality="MR",
        channels=4,
    ),
    "sa-med2d-20m": Row(
        trees.sa_med2d, {SLICE: "train"}, "liver", groups={SLICE: "AbdomenCT1K--Case_00011"}, modality="several"
    ),
    "imed-361m": Row(
        trees.imed_361m,
        {"ABD_001_64": "train", "ABD_001_74": "train"},
        "liver",
        groups=dict.fromkeys(("ABD_001_64", "ABD_001_74"), "ABD_001"),
        modality="several",
    ),
    "chexmask": Row(trees.chexmask, {"good": "train"}, "heart", modality="CR"),
    "msd": Row(
        trees.msd,
        {"prostate_00": "train", "prostate_01": "train"},
        "TZ",
        modality="MR",
        channels=2,
        unlabelled=("prostate_03",),
    ),
    "nnunet": Row(trees.nnunet, {"a_1": "train", "b": "val", "c": "test"}, "TZ", modality="MR", channels=2),
    "bids": Row(
        trees.bids,
        {"sub-01": "train", "sub-02": "train"},
        "hippocampus",
        modality="MR",
    ),
    "npz": Row(trees.npz, {"CT_liver_1": "train", "CT_liver_2": "train"}, "1", modality=""),
    "pairs": Row(trees.pairs, {"first": "train", "second": "train"}, "polyp", modality=""),
    "vesalius": Row(trees.vesalius, {"a": "train", "b": "val"}, "spleen", groups={"a": "patient 7"}),
}
DICOM = ("chaos", "3d-ircadb", "pancreas-ct")
each = pytest.mark.parametrize("name", ROWS)


@pytest.fixture
def dataset(name: str, tmp_path: Path) -> Dataset:
    """The folder of a row, opened without a word about its layout."""
    if name in DICOM:
        pytest.importorskip("pydicom")
    ROWS[name].make(tmp_path)
    return open_dataset(tmp_path if name != "bids" else tmp_path / "raw/derivatives/manual")


def drawn_on(shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """The structure in a volume, or in a picture, which is one voxel thick."""
    return trees.mask(shape) if shape[2] > 1 else trees.mask(shape[:2])[..., None]


def test_every_layout_has_a_row() -> None:
    assert set(ROWS) == {layout.name for layout in LAYOUTS}


@each
def test_a_folder_is_recognised_and_its_cases_are_found(dataset: Dataset, name: str) -> None:
    row = ROWS[name]
    assert dataset.layout == name
    assert {case.id: case.split for case in dataset.cases} == row.splits
    assert {case.id: case.group for case in dataset.cases} == {case: case for case in row.splits} | row.groups
    assert dataset.modality == row.modality
    assert dataset.unlabelled == row.unlabelled


@each
def test_labels_lie_on_the_image_where_they_were_drawn(dataset: Dataset, name: str) -> None:
    for case in dataset.cases:
        image, labels = read_image(dataset, case), read_labels(dataset, case)
        assert labels.grid.same_as(image.grid, 0.01), case.id
        assert len(image.voxels) == ROWS[name].channels
        assert np.array_equal(labels.mask(ROWS[name].drawn), drawn_on(image.grid.shape)), case.id


@each
def test_what_was_annotated_is_a_part_of_the_labels(dataset: Dataset, name: str) -> None:
    for case in dataset.cases:
        assert set(case.annotated) <= set(dataset.labels)
        assert ROWS[name].drawn in case.annotated or not dataset.labels
        assert read_labels(dataset, case).annotated >= set(case.annotated)


@each
def test_a_good_folder_has_no_problems(dataset: Dataset, name: str) -> None:
    assert check_dataset(dataset, lambda line: None) == []


@each
def test_every_layout_can_be_converted(dataset: Dataset, name: str, tmp_path: Path) -> None:
    if name == "3d-ircadb":
        pytest.skip("its structures overlap")
    for target in ("nnunet", "bids"):
        assert convert_dataset(dataset, tmp_path / target, target, lambda line: None).failed == {}
        found = open_dataset(tmp_path / target)
        assert {case.id: case.split for case in found.cases} == ROWS[name].splits
        for case in found.cases:
            labels = read_labels(found, case)
            assert np.array_equal(labels.mask(ROWS[name].drawn), drawn_on(labels.grid.shape)), case.id


@each
def test_no_other_layout_with_telling_names_claims_the_folder(name: str, tmp_path: Path) -> None:
    if name in DICOM:
        pytest.importorskip("pydicom")
    ROWS[name].make(tmp_path)
    general = {"vesalius", "nnunet", "msd", "bids", "npz", "pairs"}
    claims = {layout.name for layout in LAYOUTS if layout.name not in general and layout.matches(tmp_path) == 1}
    assert claims <= {name}


@pytest.mark.parametrize(("name", "cysts"), [("case_00000", False), ("case_00001", True), ("case_00002", True)])
def test_cysts_were_looked_for_from_2021_on(name: str, cysts: bool, tmp_path: Path) -> None:
    trees.kits(tmp_path)
    case = next(case for case in open_dataset(tmp_path).cases if case.id == name)
    assert ("kidney cyst" in case.annotated) == cysts


def test_ct_of_chaos_shows_only_the_liver(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    trees.chaos(tmp_path)
    assert [len(case.annotated) for case in open_dataset(tmp_path).cases] == [1, 4, 4, 4]


def test_an_organ_of_chaos_is_a_range_of_grey(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    trees.chaos(tmp_path)
    greys = np.resize(np.array([54, 55, 70, 71, 110, 135, 174, 200, 240, 255]), trees.SHAPE[:2])
    trees.picture(tmp_path / "Train_Sets/MR/1/T2SPIR/Ground/IMG-0002-00000.png", greys)
    dataset = open_dataset(tmp_path)
    labels = read_labels(dataset, dataset.cases[-1])
    voxels = {name: int(labels.mask(name)[..., 0].sum()) for name in dataset.labels}
    assert voxels == {"liver": 6, "right kidney": 6, "left kidney": 3, "spleen": 6}


def test_a_folder_in_the_name_of_an_image_is_kept(tmp_path: Path) -> None:
    trees.chexmask(tmp_path)
    table = tmp_path / "OriginalResolution/VinDr-CXR.csv"
    table.write_text(table.read_text().replace("good,", "train/patient00001/study1/view1_frontal.jpg,"))
    trees.picture(tmp_path / "images/train/patient00001/study1/view1_frontal.png", trees.numbers("x")[..., 0] % 256)
    trees.picture(tmp_path / "images/train/patient00002/study1/view1_frontal.png", trees.numbers("y")[..., 0] % 256)
    (case,) = open_dataset(tmp_path).cases
    assert case.id == "train--patient00001--study1--view1_frontal" and "patient00001" in case.image.parts
    assert read_labels(open_dataset(tmp_path), case).mask("heart").sum() == 6


def test_overlapping_structures_keep_all_their_voxels(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    trees.ircadb(tmp_path)
    dataset = open_dataset(tmp_path)
    labels = read_labels(dataset, dataset.cases[0])
    assert len(labels.layers) == 2
    assert np.array_equal(labels.mask("liver"), labels.mask("livertumor01"))


def test_regions_of_nnunet_are_all_their_codes(tmp_path: Path) -> None:
    trees.nnunet(tmp_path)
    facts = '{"channel_names": {"0": "T2", "1": "ADC"}, "labels": {"background": 0, "gland": [1, 2], "TZ": [2]},'
    (tmp_path / "Dataset005_Prostate/dataset.json").write_text(facts + '"file_ending": ".nii.gz"}')
    dataset = open_dataset(tmp_path)
    labels = read_labels(dataset, dataset.cases[0])
    assert np.array_equal(labels.mask("gland"), trees.mask()) and np.array_equal(labels.mask("TZ"), trees.mask())


def test_masks_of_bids_are_structures(tmp_path: Path) -> None:
    trees.image(tmp_path / "sub-01/anat/sub-01_T1w.nii.gz")
    trees.labels(tmp_path / "sub-01/anat/sub-01_label-liver_mask.nii.gz")
    trees.labels(tmp_path / "sub-01/anat/sub-01_label-organ_desc-a_mask.nii.gz")
    trees.text(tmp_path / "dataset_description.json", {"Name": "x", "DatasetType": "derivative"})
    dataset = open_dataset(tmp_path)
    labels = read_labels(dataset, dataset.cases[0])
    assert dataset.labels == {"liver": 1, "organ": 2} and labels.mask("liver").sum() == labels.mask("organ").sum() == 12


def test_others_conversions_are_not_taken_for_the_original(tmp_path: Path) -> None:
    trees.image(tmp_path / "imagesTr/word_0001_0000.nii.gz")
    trees.labels(tmp_path / "labelsTr/word_0001.nii.gz")
    facts = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}
    trees.text(tmp_path / "dataset.json", facts)
    assert open_dataset(tmp_path).layout == "nnunet"


def test_the_nearest_layouts_are_named(tmp_path: Path) -> None:
    trees.image(tmp_path / "WORD/imagesTr/word_0001.nii.gz")
    with pytest.raises(FormatError, match="nearest are word"):
        open_dataset(tmp_path)
    with pytest.raises(FormatError, match="did you mean word"):
        open_dataset(tmp_path, "wrod")


def test_several_sets_in_one_folder_are_not_mixed(tmp_path: Path) -> None:
    trees.msd(tmp_path)
    (tmp_path / "Task05_Prostate").rename(tmp_path / "Task99_Copy")
    trees.msd(tmp_path)
    with pytest.raises(FormatError, match="holds 2 sets"):
        open_dataset(tmp_path)


def test_an_image_that_is_listed_and_missing_is_named(tmp_path: Path) -> None:
    trees.msd(tmp_path)
    (tmp_path / "Task05_Prostate/imagesTr/prostate_01.nii.gz").unlink()
    with pytest.raises(FormatError, match="prostate_01"):
        open_dataset(tmp_path)


def test_archives_that_are_still_packed_are_named(tmp_path: Path) -> None:
    for name in ("PATIENT_DICOM.zip", "MASKS_DICOM.zip"):
        trees.text(tmp_path / "3Dircadb1.1" / name, "zip")
    with pytest.raises(FormatError, match=r"unpack PATIENT_DICOM.zip"):
        open_dataset(tmp_path)
