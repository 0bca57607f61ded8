"""NRRD: the frames, axes, encodings and detached headers that the format's definition allows."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from strategies import numbered
from vesalius import io
from vesalius.errors import FormatError
from vesalius.grid import make_grid
from vesalius.volume import Volume

VALUES = np.arange(24, dtype=np.int16).reshape(2, 3, 4)  # z, y, x
FIELDS = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "4 3 2",
    "space directions": "(0.5,0,0) (0,0.6,0.2) (0,0,3)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(10,20,30)",
}


def saved(path: Path, data: bytes = VALUES.tobytes(), comment: str = "", **fields: str | None) -> Path:
    """The file of FIELDS with some changed, or left out where None; an underscore in a name is a space."""
    changed = FIELDS | {name.replace("_", " "): value for name, value in fields.items()}
    lines = ["NRRD0005", "# by hand", *[f"{name}: {value}" for name, value in changed.items() if value is not None]]
    path.write_bytes(("\n".join(lines) + "\n" + comment + "\n").encode() + data)
    return path


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (-1, -1, 1)),
        ("LPS", (-1, -1, 1)),
        ("right-anterior-superior", (1, 1, 1)),
        ("RAS", (1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
        ("scanner-xyz", (-1, -1, 1)),
        (None, (-1, -1, 1)),
    ],
)
def test_the_frame_of_the_file_is_ras_inside_and_comes_back(
    tmp_path: Path, space: str | None, signs: tuple[int, int, int]
) -> None:
    fields = {"space": space} if space else {"space": None, "space_dimension": "3"}
    volume = io.read(saved(tmp_path / "image.nrrd", **fields))
    x, y, z = 3, 2, 1
    there = np.array([10 + 0.5 * x, 20 + 0.6 * y, 30 + 0.2 * y + 3 * z]) * signs
    np.testing.assert_allclose(volume.grid.world((x, y, z)), there)
    np.testing.assert_array_equal(volume.voxels[0], VALUES.T)
    io.write(volume, tmp_path / "again.nrrd")
    assert io.read(tmp_path / "again.nrrd").source == volume.source
    assert io.read(tmp_path / "again.nrrd").grid == volume.grid
    text = (tmp_path / "again.nrrd").read_bytes().split(b"\n\n")[0].decode()
    assert f"space: {dict(zip(*frames, strict=True))[signs]}" in text
    np.testing.assert_allclose(_itk_position(tmp_path / "again.nrrd", (x, y, z)), there * (-1, -1, 1))


frames = (
    ((-1, -1, 1), (1, 1, 1), (-1, 1, 1)),
    ("left-posterior-superior", "right-anterior-superior", "left-anterior-superior"),
)


def _itk_position(path: Path, index: tuple[int, int, int]) -> tuple[float, ...]:
    return SimpleITK.ReadImage(str(path)).TransformIndexToPhysicalPoint(index)


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("raw", VALUES.tobytes()),
        ("gzip", gzip.compress(VALUES.tobytes())),
        ("gz", gzip.compress(VALUES.tobytes())),
        ("bzip2", bz2.compress(VALUES.tobytes())),
        ("ascii", " ".join(map(str, VALUES.reshape(-1))).encode()),
    ],
)
def test_encodings(tmp_path: Path, encoding: str, data: bytes) -> None:
    volume = io.read(saved(tmp_path / "image.nrrd", data, encoding=encoding))
    assert volume.voxels.dtype == np.int16
    np.testing.assert_array_equal(volume.voxels[0], VALUES.T)


def test_big_endian_numbers_become_native(tmp_path: Path) -> None:
    volume = io.read(saved(tmp_path / "image.nrrd", VALUES.astype(">i2").tobytes(), endian="big"))
    assert volume.voxels.dtype.isnative
    np.testing.assert_array_equal(volume.voxels[0], VALUES.T)


@pytest.mark.parametrize(
    ("skip", "before"), [({"byte_skip": "5"}, b"12345"), ({"byte_skip": "-1"}, b"123"), ({"line_skip": "2"}, b"a\nb\n")]
)
def test_a_header_may_point_at_a_data_file_beside_it(tmp_path: Path, skip: dict[str, str], before: bytes) -> None:
    (tmp_path / "data.raw").write_bytes(before + VALUES.tobytes())
    volume = io.read(saved(tmp_path / "image.nhdr", b"", data_file="data.raw", **skip))
    np.testing.assert_array_equal(volume.voxels[0], VALUES.T)


@pytest.mark.parametrize("name", ["missing.raw", "../outside.raw", "LIST", "slice%02d.raw 1 2 1"])
def test_other_data_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside.raw").write_bytes(VALUES.tobytes())
    (tmp_path / "folder").mkdir()
    with pytest.raises(FormatError, match=r"image\.nhdr needs its data file"):
        io.read(saved(tmp_path / "folder" / "image.nhdr", b"", data_file=name))


def test_colour_and_vectors_become_channels_wherever_their_axis_is(tmp_path: Path) -> None:
    colour = np.arange(72, dtype=np.uint8).reshape(2, 3, 4, 3)
    changes = {"type": "uchar", "dimension": "4"}
    first = changes | {
        "sizes": "3 4 3 2",
        "kinds": "RGB-color domain domain domain",
        "space_directions": "none (1,0,0) (0,1,0) (0,0,1)",
    }
    volume = io.read(saved(tmp_path / "first.nrrd", colour.tobytes(), **first))
    np.testing.assert_array_equal(volume.voxels, colour.transpose(3, 2, 1, 0))
    last = changes | {
        "sizes": "4 3 2 3",
        "kinds": "domain domain domain vector",
        "space_directions": "(1,0,0) (0,1,0) (0,0,1) none",
    }
    volume = io.read(saved(tmp_path / "last.nrrd", np.moveaxis(colour, -1, 0).tobytes(), **last))
    np.testing.assert_array_equal(volume.voxels, colour.transpose(3, 2, 1, 0))


@pytest.mark.parametrize(
    ("kinds", "directions"),
    [
        ("list domain domain domain", "none (1,0,0) (0,1,0) (0,0,1)"),
        ("time domain domain domain", "none (1,0,0) (0,1,0) (0,0,1)"),
        ("domain domain domain domain", None),
        (None, None),
    ],
)
def test_a_series_is_refused_with_its_length(tmp_path: Path, kinds: str | None, directions: str | None) -> None:
    sizes = "7 1 3 4" if directions else "4 3 1 7"
    fields = {"dimension": "4", "sizes": sizes, "kinds": kinds, "space_directions": directions}
    if not directions:
        fields |= {"space": None, "spacings": "1 1 1 1", "space_origin": None}
    with pytest.raises(FormatError, match=r"series\.nrrd is a series of 7 volumes"):
        io.read(saved(tmp_path / "series.nrrd", np.zeros(84, np.int16).tobytes(), **fields))


def test_a_slice_is_one_unit_thick(tmp_path: Path) -> None:
    flat = {"dimension": "2", "sizes": "4 6", "kinds": "domain domain", "space_directions": "(0,0.5,0) (0,0,2)"}
    volume = io.read(saved(tmp_path / "slice.nrrd", **flat))
    assert volume.grid.shape == (4, 6, 1)
    assert volume.grid.spacing_mm == (0.5, 2, 1)


def test_spacings_alone_are_millimetres_and_none_are_pixels(tmp_path: Path) -> None:
    bare = {"space": None, "space_directions": None, "space_origin": None, "kinds": None}
    spaced = io.read(saved(tmp_path / "spaced.nrrd", spacings="0.5 0.5 3", **bare)).grid
    assert (spaced.spacing_mm, spaced.codes, spaced.calibrated) == ((0.5, 0.5, 3), "LPS", True)
    assert not io.read(saved(tmp_path / "bare.nrrd", **bare)).grid.calibrated


@pytest.mark.parametrize(
    "fields",
    [
        {"sizes": "4 3"},
        {"sizes": "4 3 0"},
        {"sizes": "4 x 2"},
        {"sizes": None},
        {"type": "block"},
        {"encoding": None},
        {"encoding": "hex"},
        {"dimension": "4"},
        {"kinds": "domain domain"},
        {"space_directions": "(1,0,0) (0,1,0)"},
        {"space_directions": "(1,0,0) (0,1,0) (0,0,0)"},
        {"space_directions": "(1,0,0) (0,1,0) (nan,0,1)"},
        {"space_directions": "(1,0,0) (1,0,0) (0,0,1)"},
        {"space_directions": None, "spacings": "1 -1 1"},
        {"space_directions": None, "spacings": "1 nan 1"},
        {"sizes": "400 300 200"},
        {"sizes": "400 300 200", "byte_skip": "-1"},
        {"encoding": "text"},
    ],
)
def test_a_header_that_cannot_be_is_refused_by_name(tmp_path: Path, fields: dict[str, str | None]) -> None:
    with pytest.raises(FormatError, match=r"bad\.nrrd"):
        io.read(saved(tmp_path / "bad.nrrd", **fields))


def test_notes_of_the_file_stay_there(tmp_path: Path) -> None:
    path = saved(tmp_path / "image.nrrd", comment="DICOM_patientName:=Jane Doe\n", content="Jane Doe")
    volume = io.read(path)
    io.write(volume, tmp_path / "again.nrrd")
    assert "Jane" not in repr(volume.source)
    assert b"Jane" not in (tmp_path / "again.nrrd").read_bytes()


def test_a_picture_with_many_channels_is_read_by_itk(tmp_path: Path) -> None:
    volume = numbered(make_grid((4, 3, 2), np.diag([-1, -1, 2, 1])), "float32", 5)
    io.write(volume, tmp_path / "image.nrrd")
    array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "image.nrrd")))
    np.testing.assert_array_equal(array.transpose(3, 2, 1, 0), volume.voxels)


def test_an_image_is_no_segmentation_file(tmp_path: Path) -> None:
    volume = Volume(VALUES.T[None], make_grid((4, 3, 2), np.eye(4)))
    with pytest.raises(FormatError, match=r"write \.nrrd"):
        io.write(volume, tmp_path / "image.seg.nrrd")
