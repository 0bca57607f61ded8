"""MetaImage: read as ITK reads it, whatever names and byte order its header has."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings

from strategies import grids, numbered
from vesalius import io
from vesalius.errors import FormatError
from vesalius.grid import Grid, make_grid
from vesalius.volume import Volume

VALUES = np.arange(24, dtype=np.int16).reshape(2, 3, 4)  # z, y, x
FIELDS = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "TransformMatrix": "0 1 0 -1 0 0 0 0 1",
    "Offset": "10 20 30",
    "ElementSpacing": "0.5 0.6 3",
    "DimSize": "4 3 2",
    "ElementType": "MET_SHORT",
}


def saved(path: Path, data: bytes = VALUES.tobytes(), where: str = "LOCAL", **fields: str | None) -> Path:
    """The file of FIELDS with some changed, or left out where None."""
    lines = [f"{name} = {value}" for name, value in (FIELDS | fields).items() if value is not None]
    path.write_bytes("\n".join([*lines, f"ElementDataFile = {where}", ""]).encode() + data)
    return path


@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
@pytest.mark.parametrize("packed", [False, True])
def test_files_of_itk_are_read(tmp_path: Path, suffix: str, packed: bool) -> None:
    image = SimpleITK.GetImageFromArray(np.random.default_rng(0).normal(size=(2, 3, 4, 2)).astype(np.float32))
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-340.25, 12.5, 99))
    image.SetDirection((0, -1, 0, 0.6, 0, 0.8, -0.8, 0, 0.6))
    SimpleITK.WriteImage(image, str(tmp_path / ("image" + suffix)), packed)
    volume = io.read(tmp_path / ("image" + suffix))
    np.testing.assert_array_equal(volume.voxels, SimpleITK.GetArrayFromImage(image).transpose(3, 2, 1, 0))
    lps = image.TransformIndexToPhysicalPoint((3, 2, 1))
    np.testing.assert_allclose(volume.grid.world((3, 2, 1)), np.multiply(lps, (-1, -1, 1)))
    assert volume.source.space == "LPS"


@given(grid=grids(sheared=False))
@settings(deadline=None, max_examples=20)
def test_itk_reads_what_we_write(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> None:
    volume = numbered(grid, "uint16", 3)
    path = tmp_path_factory.mktemp("itk") / "image.mha"
    io.write(volume, path)
    image = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image).transpose(3, 2, 1, 0), volume.voxels)
    np.testing.assert_allclose(image.GetSpacing(), grid.spacing_mm)


def test_the_old_names_of_the_geometry_are_read(tmp_path: Path) -> None:
    new = io.read(saved(tmp_path / "new.mha"))
    old = {"Orientation": FIELDS["TransformMatrix"], "Position": FIELDS["Offset"], "ElementSize": "0.5 0.6 3"}
    old |= {"TransformMatrix": None, "Offset": None, "ElementSpacing": None}
    assert io.read(saved(tmp_path / "old.mha", **old)).grid == new.grid
    there = np.array([10, 20, 30]) + 0.5 * 3 * np.array([0, 1, 0]) + 0.6 * 2 * np.array([-1, 0, 0]) + [0, 0, 3]
    np.testing.assert_allclose(new.grid.world((3, 2, 1)), there * (-1, -1, 1))


def test_byte_order_compression_and_data_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "other.raw").write_bytes(b"12345" + VALUES.tobytes())
    paths = [
        saved(tmp_path / "big.mha", VALUES.astype(">i2").tobytes(), BinaryDataByteOrderMSB="True"),
        saved(tmp_path / "packed.mha", zlib.compress(VALUES.tobytes()), CompressedData="True"),
        saved(tmp_path / "end.mhd", b"", "other.raw", HeaderSize="-1"),
        saved(tmp_path / "skip.mhd", b"", "other.raw", HeaderSize="5"),
    ]
    for path in paths:
        voxels = io.read(path).voxels
        assert voxels.dtype == np.int16 and voxels.dtype.isnative
        np.testing.assert_array_equal(voxels[0], VALUES.T)


def test_a_slice_is_one_unit_thick(tmp_path: Path) -> None:
    flat = {"NDims": "2", "DimSize": "4 6", "TransformMatrix": "1 0 0 1", "Offset": "1 2", "ElementSpacing": "0.5 2"}
    volume = io.read(saved(tmp_path / "slice.mha", **flat))
    assert (volume.grid.shape, volume.grid.spacing_mm, volume.grid.codes) == ((4, 6, 1), (0.5, 2, 1), "LPS")


def test_a_modality_is_told(tmp_path: Path) -> None:
    assert io.read(saved(tmp_path / "image.mha", Modality="MET_MOD_CT")).source.modality == "CT"


def test_a_series_is_refused_with_its_length(tmp_path: Path) -> None:
    four = {"NDims": "4", "DimSize": "4 3 1 2", "TransformMatrix": None, "Offset": None, "ElementSpacing": "1 1 1 1"}
    with pytest.raises(FormatError, match=r"image\.mha is a series of 2 volumes"):
        io.read(saved(tmp_path / "image.mha", **four))


def test_a_sheared_grid_is_refused_with_another_format(tmp_path: Path) -> None:
    grid = make_grid((4, 3, 2), [[1, 0, 0, 0], [0, 1, 0.3, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    with pytest.raises(FormatError, match=r"\.nrrd or \.nii\.gz"):
        io.write(Volume(VALUES.T[None], grid), tmp_path / "image.mha")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "fields",
    [
        {"DimSize": None},
        {"DimSize": "4 x 2"},
        {"DimSize": "4 3 -2"},
        {"DimSize": "400 3 2"},
        {"ElementType": "MET_STRING"},
        {"ElementSpacing": "1 0 1"},
        {"ElementSpacing": "1 -1 1"},
        {"ElementSpacing": "1 nan 1"},
        {"ElementSpacing": "1 1"},
        {"TransformMatrix": "1 0 0 1 0 0 0 0 1"},
        {"Offset": "1 2 nan"},
        {"BinaryData": "False"},
        {"CompressedData": "True"},
        {"where": "missing.raw"},
        {"where": "../outside.raw"},
        {"where": "LIST"},
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, fields: dict[str, str | None]) -> None:
    (tmp_path / "outside.raw").write_bytes(VALUES.tobytes())
    (tmp_path / "folder").mkdir()
    with pytest.raises(FormatError, match=r"bad\.mha"):
        io.read(saved(tmp_path / "folder" / "bad.mha", **fields))
