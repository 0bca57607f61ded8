"""What every format that is written must satisfy: the same numbers, at the same place, or a sentence and no file."""

from __future__ import annotations

import errno
import gzip
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies import grids, numbered
from vesalius import io
from vesalius.errors import FormatError
from vesalius.grid import Grid, make_grid
from vesalius.labels import LabelSpace
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume

WHOLE = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
PICTURE = make_grid((7, 5, 1), np.diag([-1, -1, 1, 1]), calibrated=False)
THICK = make_grid((7, 5, 4), np.diag([-0.8, -0.8, 2.5, 1]))
SHEARED = make_grid((3, 4, 5), [[1, 0, 0, 5], [0, 1, 0.3, 6], [0, 0, 2, 7], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Row:
    """What a format can hold: `grid` is one that it keeps, `any_grid` says that it keeps every one but a sheared."""

    suffix: str
    grid: Grid
    dtypes: tuple[str, ...]
    channels: tuple[int, ...] = (1, 2, 3)
    any_grid: bool = True
    shear: bool = True


ROWS = (
    Row(".nii", THICK, (*WHOLE, "float32", "float64")),
    Row(".nii.gz", THICK, (*WHOLE, "float32", "float64")),
    Row(".nrrd", THICK, (*WHOLE, "float32", "float64")),
    Row(".nhdr", THICK, (*WHOLE, "float32", "float64")),
    Row(".mha", THICK, (*WHOLE, "float32", "float64"), shear=False),
    Row(".mhd", THICK, (*WHOLE, "float32", "float64"), shear=False),
    Row(".npz", THICK, (*WHOLE, "float32", "float64"), (1, 3), any_grid=False),
    Row(".png", PICTURE, ("uint8", "uint16"), (1, 3), any_grid=False),
    Row(".tif", PICTURE, ("uint8", "uint16"), (1, 3), any_grid=False),
    Row(".tiff", PICTURE, ("int32", "float32"), (1,), any_grid=False),
    Row(".bmp", PICTURE, ("uint8",), (1, 3), any_grid=False),
)
PLACED = [row.suffix for row in ROWS if row.any_grid]
each = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.suffix)


def round_trip(volume: Volume, suffix: str) -> Volume:
    with TemporaryDirectory() as folder:
        path = Path(folder, "image" + suffix)
        io.write(volume, path)
        return io.read(path)


def two_structures(grid: Grid) -> Segmentation:
    layers = np.zeros((1, *grid.shape), np.uint8)
    layers[0, 1:3, 1:3] = 1
    layers[0, 4:, 2:] = 7
    places = {"left lung": (0, 1), "Öhr": (0, 7)}
    return Segmentation(layers, grid, LabelSpace.of(places), places, frozenset(places))


def test_every_writable_suffix_is_tested() -> None:
    assert set(io.WRITABLE) == {row.suffix for row in ROWS} | {".jpg", ".jpeg"}


@each
def test_voxels_type_and_channels_are_kept(row: Row) -> None:
    for dtype in row.dtypes:
        for channels in row.channels:
            volume = numbered(row.grid, dtype, channels)
            back = round_trip(volume, row.suffix)
            assert back.voxels.dtype == volume.voxels.dtype
            np.testing.assert_array_equal(back.voxels, volume.voxels)
            assert back.grid.same_as(volume.grid, 1e-4)
            assert back.grid.calibrated == volume.grid.calibrated


@pytest.mark.parametrize("suffix", PLACED)
@given(st.data())
@settings(deadline=None, max_examples=25)
def test_any_grid_is_kept_to_a_tenth_of_a_micrometre(suffix: str, data: st.DataObject) -> None:
    shear = next(row.shear for row in ROWS if row.suffix == suffix)
    volume = numbered(data.draw(grids(sheared=shear)))
    back = round_trip(volume, suffix)
    assert back.grid.same_as(volume.grid, 1e-4)
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    again = round_trip(back, suffix)
    assert again.grid.same_as(back.grid, 1e-4)
    assert again.source == back.source


@pytest.mark.parametrize("suffix", PLACED)
@given(grid=grids(sheared=False))
@settings(deadline=None, max_examples=15)
def test_other_libraries_see_each_voxel_where_we_do(suffix: str, grid: Grid) -> None:
    volume = numbered(grid, "float32")
    last = np.asarray(grid.shape) - 1
    with TemporaryDirectory() as folder:
        path = Path(folder, "image" + suffix)
        io.write(volume, path)
        image = SimpleITK.ReadImage(str(path))
        lps = image.TransformIndexToPhysicalPoint(last.tolist())
        np.testing.assert_allclose(np.multiply(lps, (-1, -1, 1)), grid.world(last), atol=2e-3)
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image).T, volume.voxels[0])
        if ".nii" in suffix:
            image = nibabel.load(path)
            np.testing.assert_allclose(nibabel.affines.apply_affine(image.affine, last), grid.world(last), atol=1e-4)
            np.testing.assert_array_equal(np.asanyarray(image.dataobj), volume.voxels[0])


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".nhdr"])
def test_a_sheared_grid_is_kept(suffix: str) -> None:
    assert round_trip(numbered(SHEARED), suffix).grid.same_as(SHEARED, 1e-4)


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
def test_an_image_without_a_unit_stays_without(suffix: str) -> None:
    assert not round_trip(numbered(PICTURE, "uint8"), suffix).grid.calibrated


@each
def test_labels_are_kept(row: Row, tmp_path: Path) -> None:
    path = tmp_path / ("mask" + row.suffix)
    found = two_structures(row.grid)
    io.write(found, path)
    back = io.read_segmentation(path)
    assert back.grid.same_as(row.grid, 1e-4)
    named = row.suffix in (".nii", ".nii.gz", ".nrrd", ".nhdr")
    assert back.labels.names == (("left lung", "Öhr") if named else ("1", "7"))
    for name, (layer, value) in back.places.items():
        assert value in (1, 7)
        np.testing.assert_array_equal(back.mask(name), found.layers[layer] == value)


@pytest.mark.parametrize("row", [row for row in ROWS if row.suffix != ".bmp"], ids=lambda row: row.suffix)
def test_a_licence_that_restricts_the_use_stands_in_the_file(row: Row, tmp_path: Path) -> None:
    path = tmp_path / f"mask{row.suffix}"
    io.write(replace(two_structures(row.grid), licence="CC-BY-NC-SA-4.0"), path)
    content = path.read_bytes()
    if row.suffix == ".npz":
        content = np.load(path)["licence"].tobytes().replace(b"\0", b"")
    assert b"CC-BY-NC-SA-4.0" in (gzip.decompress(content) if path.suffix == ".gz" else content)
    if row.suffix.startswith((".nii", ".nrrd")):
        assert io.read_segmentation(path).to(row.grid).licence == "CC-BY-NC-SA-4.0"
    io.write(two_structures(row.grid), path)
    assert io.read_segmentation(path).licence == ""


@each
def test_overlapping_structures_go_to_seg_nrrd_only(row: Row, tmp_path: Path) -> None:
    layers = np.ones((2, *row.grid.shape), np.uint8)
    found = Segmentation(layers, row.grid, LabelSpace.of("ab"), {"a": (0, 1), "b": (1, 1)})
    if row.suffix in (".nrrd", ".nhdr"):
        io.write(found, tmp_path / ("mask" + row.suffix))
        assert io.read_segmentation(tmp_path / ("mask" + row.suffix)).mask("b").all()
        return
    with pytest.raises(FormatError, match=r"\.seg\.nrrd"):
        io.write(found, tmp_path / ("mask" + row.suffix))
    assert not list(tmp_path.iterdir())


@each
def test_a_mask_of_booleans_and_half_floats_are_widened(row: Row) -> None:
    volume = Volume(numbered(row.grid, "uint8").voxels > 9, row.grid)
    np.testing.assert_array_equal(round_trip(volume, row.suffix).voxels, volume.voxels)


@pytest.mark.parametrize("suffix", [*PLACED, ".npz", ".tiff"])
def test_voxels_that_are_no_numbers_are_read(suffix: str) -> None:
    volume = numbered(PICTURE, "float32")
    volume.voxels[0, 2, 2] = np.nan
    volume.voxels[0, 3, 3] = np.inf
    np.testing.assert_array_equal(round_trip(volume, suffix).voxels, volume.voxels)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@each
def test_a_file_that_is_cut_short_is_refused_by_name(row: Row, tmp_path: Path) -> None:
    path = tmp_path / ("image" + row.suffix)
    grid = row.grid.resize((40, 30, row.grid.shape[2]))
    values = np.random.default_rng(0).integers(0, 200, (1, *grid.shape)).astype(row.dtypes[-1])
    io.write(Volume(values, grid), path)
    largest = max(tmp_path.iterdir(), key=lambda part: part.stat().st_size)
    for kept in (0.9, 0.5, 0.1):
        largest.write_bytes(largest.read_bytes()[: int(kept * largest.stat().st_size)])
        with pytest.raises(FormatError, match=path.name) as caught:
            io.read(path)
        assert "\n" not in str(caught.value)


@each
def test_an_empty_file_and_other_content_are_refused_by_name(row: Row, tmp_path: Path) -> None:
    path = tmp_path / ("image" + row.suffix)
    for content in (b"", b"not an image at all " * 40, b"NRRD0004\n", b"\x89PNG\r\n\x1a\n" + b"\0" * 400):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=path.name):
            io.read(path)


@each
def test_a_failure_leaves_no_file(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / ("image" + row.suffix)
    old.write_bytes(b"what was there before")

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(FormatError, match="no space left"):
        io.write(numbered(row.grid, row.dtypes[0]), old)
    assert [path.name for path in tmp_path.iterdir()] == [old.name]
    assert old.read_bytes() == b"what was there before"


@each
def test_a_disk_that_fills_up_leaves_no_file(row: Row, tmp_path: Path) -> None:
    """The limit of a file's size stands for the full disk: the write itself fails, half way."""
    import resource
    import signal

    values = np.random.default_rng(0).integers(0, 250, (1, 400, 400, row.grid.shape[2]))
    grid = make_grid(values.shape[1:], row.grid.affine, row.grid.calibrated)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, limits[1]))
    try:
        with pytest.raises(FormatError, match="image"):
            io.write(Volume(values.astype(row.dtypes[-1]), grid), tmp_path / ("image" + row.suffix))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())
