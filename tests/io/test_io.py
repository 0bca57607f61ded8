"""Reading and writing by name: which reader a file gets, and what is said where it gets none."""

from __future__ import annotations

import errno
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from strategies import numbered
from vesalius import io
from vesalius.errors import FormatError
from vesalius.grid import make_grid
from vesalius.volume import Volume

GRID = make_grid((4, 3, 2), np.diag([-1, -1, 2, 1]))


def test_the_package_loads_no_reader() -> None:
    slow = ("nibabel", "SimpleITK", "PIL", "pydicom", "scipy", "torch")
    code = f"import sys, vesalius.io; print([name for name in {slow} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_an_unknown_suffix_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "image.xyz").write_bytes(b"what is this")
    with pytest.raises(FormatError, match=r"image\.xyz.*\.nii\.gz.*\.nrrd"):
        io.read(tmp_path / "image.xyz")
    with pytest.raises(FormatError, match=r"mask\.xyz.*\.nii\.gz.*\.nrrd"):
        io.write(numbered(GRID), tmp_path / "mask.xyz")
    with pytest.raises(FormatError, match=r"mask\.dcm cannot be written"):
        io.write(numbered(GRID), tmp_path / "mask.dcm")


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(FormatError, match=r"no file .*gone\.nii\.gz"):
        io.read("gone.nii.gz")


def test_content_tells_the_format_where_the_name_does_not(tmp_path: Path) -> None:
    io.write(numbered(GRID), tmp_path / "image.nrrd")
    (tmp_path / "image.nrrd").rename(tmp_path / "image")
    assert io.read(tmp_path / "image").source.format == "nrrd"


@pytest.mark.parametrize(("content", "name"), [("image.nrrd", "image.nii"), ("image.nii", "image.mha")])
def test_a_name_that_belies_the_content_is_refused(tmp_path: Path, content: str, name: str) -> None:
    io.write(numbered(GRID), tmp_path / content)
    (tmp_path / content).rename(tmp_path / name)
    with pytest.raises(FormatError, match=rf"{name} is .* by its name but .* by its content; rename it"):
        io.read(tmp_path / name)


def test_suffixes_are_read_in_capitals(tmp_path: Path) -> None:
    for name in ("A.NII.GZ", "B.NRRD", "C.PNG", "D.MHD", "E.NPZ"):
        volume = Volume(numbered(GRID, "uint8").voxels[..., :1], GRID.crop((0, 0, 0), (4, 3, 1)))
        io.write(volume, tmp_path / name)
        np.testing.assert_array_equal(io.read(tmp_path / name).voxels, volume.voxels)


def test_dicom_is_handed_over_with_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "IM0001").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "study.zip").write_bytes(b"PK\3\4")
    asked = []
    monkeypatch.setattr("vesalius.io.dicom.read_dicom", lambda *options: asked.append(options))
    for name in ("series", "IM0001", "study.zip"):
        io.read(tmp_path / name, series="3", resample=True)
    assert asked == [(tmp_path / name, "3", True) for name in ("series", "IM0001", "study.zip")]
    with pytest.raises(FormatError, match=r"\.seg\.nrrd"):
        io.read_segmentation(tmp_path / "IM0001")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EACCES, "read-only"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "cannot be written"),
    ],
)
def test_a_failure_to_write_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, says: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(code, "the system's words")

    monkeypatch.setattr("vesalius.io.TemporaryDirectory", fails)
    with pytest.raises(FormatError, match=rf"(?=.*{says})(?=.*mask\.nii\.gz)"):
        io.write(numbered(GRID), tmp_path / "mask.nii.gz")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no folder .*results; create it"):
        io.write(numbered(GRID), tmp_path / "results" / "mask.nii.gz")
    assert not list(tmp_path.iterdir())


def test_a_failure_of_ours_leaves_no_file_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(thing: Volume, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyError("a bug")

    monkeypatch.setattr("vesalius.io.nrrd.write_nrrd", breaks)
    with pytest.raises(KeyError):
        io.write(numbered(GRID), tmp_path / "image.nrrd")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_reading_holds_at_most_two_copies_of_the_image(tmp_path: Path, suffix: str) -> None:
    values = np.random.default_rng(0).integers(0, 50, (1, 128, 128, 64), dtype=np.int16)
    volume = Volume(values, make_grid((128, 128, 64), np.eye(4)))
    io.write(volume, tmp_path / ("image" + suffix))
    io.read(tmp_path / ("image" + suffix))  # imports
    tracemalloc.start()
    io.read(tmp_path / ("image" + suffix))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.2 * volume.voxels.nbytes
