"""NIfTI: codes, units and versions go back as they came, and the header decides what the numbers mean."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from strategies import numbered
from vesalius import io
from vesalius.errors import FormatError
from vesalius.grid import make_grid
from vesalius.labels import LabelSpace, Structure
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume

TURNED = np.array([[0, -0.8, 0, 9.5], [0.7, 0, 0, -30], [0, 0, 2.5, 101], [0, 0, 0, 1]])
VALUES = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def saved(path: Path, values: np.ndarray = VALUES, qform: int = 1, sform: int = 1, **header: object) -> Path:
    image = nibabel.Nifti1Image(values, TURNED, dtype=values.dtype)
    image.set_qform(TURNED, qform)
    image.set_sform(TURNED, sform)
    for name, value in header.items():
        image.header[name] = value
    image.to_filename(path)
    return path


@pytest.mark.parametrize(("qform", "sform"), [(1, 0), (0, 2), (1, 4), (0, 0), (2, 1)])
def test_both_codes_are_repeated_by_the_mask(tmp_path: Path, qform: int, sform: int) -> None:
    image = io.read(saved(tmp_path / "image.nii.gz", qform=qform, sform=sform))
    io.write(Volume(image.voxels > 20, image.grid, image.source), tmp_path / "mask.nii.gz")
    first, second = nibabel.load(tmp_path / "image.nii.gz"), nibabel.load(tmp_path / "mask.nii.gz")
    assert (second.header["qform_code"], second.header["sform_code"]) == (qform, sform)
    np.testing.assert_allclose(second.affine, first.affine, atol=1e-5)
    np.testing.assert_allclose(image.grid.matrix, first.affine, atol=1e-5)


def test_the_sform_wins_and_a_different_qform_is_repeated_too(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VALUES, TURNED)
    atlas = TURNED + np.array([[0, 0.1, 0, 4], [0, 0, 0, 5], [0, 0, 0, 6], [0, 0, 0, 0]])
    image.set_qform(TURNED, 1)
    image.set_sform(atlas, 4)
    image.to_filename(tmp_path / "image.nii")
    volume = io.read(tmp_path / "image.nii")
    np.testing.assert_allclose(volume.grid.matrix, atlas, atol=1e-5)
    io.write(volume.crop((1, 1, 1), (2, 2, 2)), tmp_path / "block.nii")
    block = nibabel.load(tmp_path / "block.nii")
    for stored, original in ((block.get_qform(), TURNED), (block.get_sform(), atlas)):
        np.testing.assert_allclose(stored @ (0, 0, 0, 1), original @ (1, 1, 1, 1), atol=1e-4)


def test_a_shear_stays_out_of_the_qform(tmp_path: Path) -> None:
    affine = TURNED.copy()
    affine[1, 2] = 0.6
    io.write(numbered(make_grid((3, 4, 5), affine)), tmp_path / "tilted.nii.gz")
    header = nibabel.load(tmp_path / "tilted.nii.gz").header
    assert (header["qform_code"], header["sform_code"]) == (0, 1)


def test_a_frame_without_codes_that_was_cropped_gets_one(tmp_path: Path) -> None:
    volume = io.read(saved(tmp_path / "image.nii", qform=0, sform=0))
    block = volume.crop((1, 0, 0), (2, 4, 5))
    io.write(block, tmp_path / "block.nii")
    assert io.read(tmp_path / "block.nii").grid.same_as(block.grid, 1e-4)


@pytest.mark.parametrize(("unit", "mm"), [("micron", 1e-3), ("meter", 1e3), ("mm", 1)])
def test_units_are_millimetres_inside_and_the_files_outside(tmp_path: Path, unit: str, mm: float) -> None:
    image = nibabel.Nifti1Image(VALUES, TURNED)
    image.header.set_xyzt_units(unit)
    image.to_filename(tmp_path / "image.nii")
    volume = io.read(tmp_path / "image.nii")
    np.testing.assert_allclose(volume.grid.matrix[:3], TURNED[:3] * mm, rtol=1e-6)
    io.write(volume, tmp_path / "again.nii")
    again = nibabel.load(tmp_path / "again.nii")
    assert again.header.get_xyzt_units()[0] == unit
    np.testing.assert_allclose(again.affine, TURNED, rtol=1e-6)


def test_integers_stay_integers_unless_the_header_scales_them(tmp_path: Path) -> None:
    assert io.read(saved(tmp_path / "plain.nii.gz")).voxels.dtype == np.int16
    image = nibabel.Nifti1Image(VALUES.astype(np.float32) * 0.5 - 7, TURNED)
    image.set_data_dtype(np.int16)
    image.to_filename(tmp_path / "scaled.nii.gz")
    scaled = io.read(tmp_path / "scaled.nii.gz").voxels
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled[0], nibabel.load(tmp_path / "scaled.nii.gz").get_fdata(), atol=1e-4)


def test_big_endian_and_version_2_are_read_and_the_version_is_repeated(tmp_path: Path) -> None:
    header = nibabel.Nifti2Header(endianness=">")
    header.set_data_dtype(">i2")
    nibabel.Nifti2Image(VALUES.astype(">i2"), TURNED, header).to_filename(tmp_path / "image.nii")
    volume = io.read(tmp_path / "image.nii")
    assert volume.voxels.dtype == np.dtype("int16") and volume.voxels.dtype.isnative
    np.testing.assert_array_equal(volume.voxels[0], VALUES)
    io.write(volume, tmp_path / "again.nii")
    assert isinstance(nibabel.load(tmp_path / "again.nii"), nibabel.Nifti2Image)


def test_colours_and_vectors_become_channels(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (3, 4, 5, 4), dtype=np.uint8)
    kinds = {"rgb.nii": [(name, "u1") for name in "RGB"], "rgba.nii": [(name, "u1") for name in "RGBA"]}
    for name, kind in kinds.items():
        values = np.ascontiguousarray(colour[..., : len(kind)]).view(np.dtype(kind))[..., 0]
        nibabel.Nifti1Image(values, TURNED).to_filename(tmp_path / name)
        np.testing.assert_array_equal(io.read(tmp_path / name).voxels, np.moveaxis(colour[..., :3], -1, 0))
    vectors = np.random.default_rng(0).normal(size=(3, 4, 5, 1, 2)).astype(np.float32)
    nibabel.Nifti1Image(vectors, TURNED).to_filename(tmp_path / "vectors.nii")
    np.testing.assert_array_equal(io.read(tmp_path / "vectors.nii").voxels, np.moveaxis(vectors[..., 0, :], -1, 0))


def test_a_series_is_refused_with_its_length_but_one_volume_is_read(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="series of 7 volumes"):
        io.read(saved(tmp_path / "bold.nii.gz", np.zeros((3, 4, 5, 7), np.int16)))
    assert io.read(saved(tmp_path / "one.nii.gz", VALUES[..., None])).voxels.shape == (1, 3, 4, 5)
    assert io.read(saved(tmp_path / "slice.nii.gz", VALUES[:, :, 0])).voxels.shape == (1, 3, 4, 1)


@pytest.mark.parametrize("spacing", [0, -1, np.nan])
@pytest.mark.parametrize("qform", [0, 1])
def test_a_spacing_that_cannot_be_is_refused(tmp_path: Path, spacing: float, qform: int) -> None:
    path = saved(tmp_path / "image.nii", qform=qform, sform=0)
    raw = bytearray(path.read_bytes())
    raw[84:88] = np.float32(spacing).tobytes()  # pixdim[2]
    path.write_bytes(raw)
    with pytest.raises(FormatError, match=r"image\.nii .*spacing"):
        io.read(path)


@pytest.mark.parametrize("row", [(0, 0, 0, 0), (np.nan, 0, 0, 0), (0, -0.8, 0, -30)])
def test_an_sform_that_cannot_be_is_refused(tmp_path: Path, row: tuple[float, ...]) -> None:
    path = saved(tmp_path / "image.nii")
    raw = bytearray(path.read_bytes())
    raw[296:312] = np.array(row, np.float32).tobytes()  # srow_y
    path.write_bytes(raw)
    with pytest.raises(FormatError, match=r"image\.nii.*header"):
        io.read(path)


def test_a_qform_that_is_no_rotation_does_not_stop_the_sform(tmp_path: Path) -> None:
    path = saved(tmp_path / "image.nii")
    raw = bytearray(path.read_bytes())
    raw[256:268] = np.array([0.9, 0.9, 0.9], np.float32).tobytes()  # quatern_b, c, d
    path.write_bytes(raw)
    volume = io.read(path)
    np.testing.assert_allclose(volume.grid.matrix, TURNED, atol=1e-5)
    io.write(volume, tmp_path / "again.nii")
    assert nibabel.load(tmp_path / "again.nii").header["qform_code"] == 0
    assert io.read(tmp_path / "again.nii").grid.same_as(volume.grid, 1e-4)


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="magnitude"):
        io.read(saved(tmp_path / "image.nii", VALUES.astype(np.complex64)))


def test_a_wrong_suffix_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "image.nii")
    (tmp_path / "zipped.nii").write_bytes(gzip.compress(path.read_bytes()))
    path.rename(tmp_path / "plain.nii.gz")
    with pytest.raises(FormatError, match=r"rename it to zipped\.nii\.gz"):
        io.read(tmp_path / "zipped.nii")
    with pytest.raises(FormatError, match=r"rename it to plain\.nii\."):
        io.read(tmp_path / "plain.nii.gz")


def test_names_codes_and_what_was_looked_for_travel_in_the_header(tmp_path: Path) -> None:
    labels = LabelSpace((Structure("left lung", "lungs", "SCT^44714003", (0.1, 0.2, 0.3)), Structure("Öhr")))
    grid = make_grid(VALUES.shape, TURNED)
    layers = (VALUES > 30).astype(np.uint8)[None] * 9
    found = Segmentation(layers, grid, labels, {"left lung": (0, 9), "Öhr": (0, 3)}, frozenset({"left lung"}))
    io.write(found, tmp_path / "mask.nii.gz")
    back = io.read_segmentation(tmp_path / "mask.nii.gz")
    assert (back.labels, back.places, back.annotated) == (labels, dict(found.places), {"left lung"})
    np.testing.assert_array_equal(back.layers, layers)


def test_a_comment_of_another_program_is_no_note(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VALUES.astype(np.uint8) // 30, TURNED)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"made without vesalius"))
    image.to_filename(tmp_path / "mask.nii")
    assert io.read_segmentation(tmp_path / "mask.nii").labels.names == ("1",)


def test_nothing_of_a_description_is_written_back(tmp_path: Path) -> None:
    path = saved(tmp_path / "image.nii", descrip=b"Jane Doe 1970", aux_file=b"jane.txt", db_name=b"jane")
    volume = io.read(path)
    io.write(volume, tmp_path / "again.nii")
    assert b"jane" not in (tmp_path / "again.nii").read_bytes().lower()
    assert "jane" not in repr(volume.source).lower()
