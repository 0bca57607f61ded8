"""Reading a folder of small data sets, on one made here."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.data.collection import hash_manifest, open_collection
from vesalius.data.slices import cut, iterate_slices, read_picture, read_volume
from vesalius.errors import FormatError


def write_set(folder: Path, name: str, facts: dict[str, object]) -> Path:
    where = folder / name
    (where / "images").mkdir(parents=True)
    (where / "labels").mkdir()
    described = {"name": name, "labels": {"background": 0, "cyst": 7}, "label_kind": "semantic"}
    described |= {"annotated": ["cyst"], "licence": "CC0-1.0", "source": "made here"}
    (where / "dataset.json").write_text(json.dumps(described | facts))
    return where


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    import nibabel

    flat = write_set(
        tmp_path,
        "pictures",
        {"modality": "US", "dimension": 2, "split": {"b": "val", "a": "train"}, "group": {"a": "patient 1"}},
    )
    labels = np.zeros((6, 9), np.uint8)
    labels[1:4, 2:5] = 7
    for case, mode in (("a", "RGB"), ("b", "L")):
        pixels = np.full((6, 9, 3) if mode == "RGB" else (6, 9), 40, np.uint8)
        Image.fromarray(pixels).save(flat / "images" / f"{case}.png")
        Image.fromarray(labels).save(flat / "labels" / f"{case}.png")

    solid = write_set(tmp_path, "volumes", {"modality": "CT", "dimension": 3, "split": {"v.1": "train"}})
    voxels = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6) - 60
    marked = np.zeros((4, 5, 6), np.uint8)
    marked[0, 1:3, 2:5] = 7
    # Stored right to left: the reader must turn it.
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(voxels, affine), solid / "images" / "v.1.nii.gz")
    nibabel.save(nibabel.Nifti1Image(marked, affine), solid / "labels" / "v.1.nii.gz")

    unseen = tmp_path / "maps_only" / "dataset.json"
    unseen.parent.mkdir()
    unseen.write_text("{}")
    (tmp_path / "manifest.json").write_text("{}")
    return tmp_path


def test_sets_with_images_are_read_in_order(collection: Path) -> None:
    pictures, volumes = open_collection(collection)
    assert (pictures.name, volumes.name) == ("pictures", "volumes")
    assert pictures.labels == {"cyst": 7}
    assert [case.id for case in pictures.cases] == ["a", "b"]
    assert [case.id for case in pictures.split("val")] == ["b"]
    assert pictures.cases[0].group == "patient 1"
    assert pictures.cases[1].group == "b"
    assert volumes.cases[0].image.name == "v.1.nii.gz"


def test_a_picture_keeps_its_mode(collection: Path) -> None:
    pictures, _ = open_collection(collection)
    shapes = [read_picture(case)[0].shape for case in pictures.cases]
    assert shapes == [(6, 9, 3), (6, 9)]
    assert set(np.unique(read_picture(pictures.cases[0])[1])) == {0, 7}


def test_a_volume_is_turned_to_the_right_and_keeps_hounsfield_units(collection: Path) -> None:
    _, volumes = open_collection(collection)
    voxels, labels = read_volume(volumes.cases[0], "CT")
    assert voxels.min() == -60
    assert np.flatnonzero((labels > 0).any(axis=(1, 2))).tolist() == [3]


def test_another_modality_is_spread_over_bytes(collection: Path) -> None:
    _, volumes = open_collection(collection)
    voxels, _ = read_volume(volumes.cases[0], "MR")
    assert voxels.dtype == np.uint8
    assert (voxels.min(), voxels.max()) == (0, 255)


def test_slices_hold_labels_and_superior_is_up(collection: Path) -> None:
    _, volumes = open_collection(collection)
    slices = list(iterate_slices(volumes, "train", per_plane=2))
    assert len(slices) == 1 + 2 + 3  # sagittal, coronal and axial positions that hold the label
    assert all((one.labels == 7).any() for one in slices)
    _, labels = read_volume(volumes.cases[0], "CT")
    sagittal = cut(labels, 0, 3)
    assert sagittal.shape == (6, 5)
    assert np.flatnonzero(sagittal.any(axis=1)).tolist() == [1, 2, 3]  # k = 4, 3, 2 from the top


def test_the_hash_is_that_of_the_manifest(collection: Path) -> None:
    assert hash_manifest(collection) == hashlib.sha256(b"{}").hexdigest()


def test_a_case_without_labels_is_named(collection: Path) -> None:
    (collection / "pictures" / "labels" / "b.png").unlink()
    with pytest.raises(FormatError, match="lists b"):
        open_collection(collection)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="name the folder"):
        open_collection(tmp_path)
