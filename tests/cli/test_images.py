"""`vesalius info` and `vesalius convert`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vesalius.__main__ import main
from vesalius.grid import Grid, make_grid
from vesalius.io import read, read_segmentation, write
from vesalius.labels import LabelSpace
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume


def test_info_as_json(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(image), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["format"] == "nifti"
    assert record["shape"] == [26, 22, 7] and record["codes"] == "RAS"
    assert np.allclose(record["spacing_mm"], [0.8, 0.8, 3])
    assert record["window"]["rule"] == "8 bit, as stored"


def test_info_of_a_picture_claims_no_millimetres(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(picture), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["spacing_mm"] is None and record["shape"] == [40, 30, 1]


def test_info_counts_what_is_not_a_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voxels = np.full((1, 4, 4, 4), 7, np.float32)
    voxels[0, 0, 0, :2] = np.nan, np.inf
    write(Volume(voxels, make_grid((4, 4, 4), np.eye(4))), tmp_path / "nan.nrrd")
    assert main(["info", str(tmp_path / "nan.nrrd"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["not_finite"], record["lowest"], record["highest"]) == (2, 7, 7)


def test_convert_keeps_voxels_and_places(image: Path, tmp_path: Path) -> None:
    assert main(["convert", str(image), str(tmp_path / "ct.nrrd")]) == 0
    before, after = read(image), read(tmp_path / "ct.nrrd")
    assert np.array_equal(after.to(before.grid).voxels, before.voxels)


def test_convert_fills_what_is_not_a_number(tmp_path: Path) -> None:
    voxels = np.full((1, 4, 4, 4), 7, np.float32)
    voxels[0, 0, 0, :2] = np.nan, np.inf
    write(Volume(voxels, make_grid((4, 4, 4), np.eye(4))), tmp_path / "nan.nrrd")
    assert main(["convert", str(tmp_path / "nan.nrrd"), str(tmp_path / "ok.nrrd"), "--fill", "-1"]) == 0
    assert (read(tmp_path / "ok.nrrd").voxels[0, 0, 0] == [-1, -1, 7, 7]).all()


def test_convert_keeps_the_names_of_labels(tmp_path: Path, grid: Grid) -> None:
    layers = np.zeros((1, *grid.shape), np.uint8)
    layers[0, 3:5] = 2
    seg = Segmentation(layers, grid, LabelSpace.of(["liver"]), {"liver": (0, 2)}, frozenset(["liver"]))
    write(seg, tmp_path / "gt.seg.nrrd")
    assert main(["convert", str(tmp_path / "gt.seg.nrrd"), str(tmp_path / "gt.nii.gz")]) == 0
    assert np.array_equal(read_segmentation(tmp_path / "gt.nii.gz").mask("liver"), layers[0] == 2)


def test_convert_never_overwrites_its_input(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = image.read_bytes()
    assert main(["convert", str(image), str(image)]) == 2
    assert image.read_bytes() == content
    assert "input image" in capsys.readouterr().err
