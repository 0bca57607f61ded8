"""The record of a run: right numbers, nothing private, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from phantoms import ball, grids
from vesalius.answer import Answer
from vesalius.errors import FormatError
from vesalius.grid import Grid, make_grid
from vesalius.prompts import Box, MaskHint, Point
from vesalius.report import make_report, timed, write_report
from vesalius.scene import Scene
from vesalius.session import Session
from vesalius.volume import Source, Volume
from vesalius.zoo import find_card

MIDDLE = (13, 11, 3)


class Bright:
    """A model that finds everything bright."""

    def __init__(self, card: str) -> None:
        self.card = find_card(card)

    def run(self, scene: Scene) -> Iterator[Answer]:
        """The whole image at once."""
        bright = scene.image.voxels.astype(np.float32) - 128
        yield Answer(Volume(bright, scene.image.grid), (scene.target,), score=0.75)


def session_on(grid: Grid, header: dict[str, object] | None = None) -> Session:
    """A session after one point and one mask."""
    image = Volume(ball(grid).voxels, grid, Source("dicom", "LPS", "CT", header or {}))
    session = Session(Bright("vesalius-s"), image)
    session.add(Point.from_index(grid, MIDDLE), target="ball")
    mask = np.zeros((1, *grid.shape), bool)
    mask[0, 10:16, 8:14, 3] = True
    session.add(MaskHint(Volume(mask, grid)), target="other")
    return session


def test_it_says_what_was_asked_and_found() -> None:
    grid = grids()["anisotropic"]
    session = session_on(grid)
    report = json.loads(json.dumps(make_report(session, "ct.nii.gz", {"read": 0.1}, [Path("/data/mask.nrrd")])))
    assert report["image"]["name"] == "ct.nii.gz" and report["outputs"] == ["mask.nrrd"]
    assert report["image"]["spacing_mm"] == pytest.approx([0.8, 0.8, 3])
    assert report["model"]["name"] == "vesalius-s" and report["model"]["weights"]["licence"] == "Apache-2.0"
    assert report["model"]["device"] == "cpu"
    assert report["window"]["rule"] == "8 bit, as stored" and report["plane"] == session.plane
    assert report["seconds"] == {"read": 0.1}
    (point,) = report["history"][0]["prompts"]
    assert point["at"] == pytest.approx(grid.world(MIDDLE).tolist())
    for name, target in report["targets"].items():
        voxels = int(session.result().mask(name).sum())
        assert target["voxels"] == voxels
        assert target["volume_ml"] == pytest.approx(voxels * 0.8 * 0.8 * 3 / 1000, abs=1e-3)
        assert target["predicted_dice"] == 0.75


def test_neither_header_nor_voxels_get_in() -> None:
    report = json.dumps(make_report(session_on(grids()["isotropic"], {"StudyInstanceUID": "1.2.840.99"}), "ct.dcm"))
    assert "1.2.840" not in report and "zlib" not in report


def test_a_picture_has_no_volume() -> None:
    grid = make_grid((26, 22, 1), np.eye(4), calibrated=False)
    session = Session(Bright("vesalius-s"), ball(grid))
    session.add(Box.from_index(grid, (5, 5, 0), (20, 20, 0)))
    report = make_report(session, "photo.png")
    assert report["targets"]["1"]["volume_ml"] is None and report["image"]["spacing_mm"] is None  # type: ignore[index]


def test_weights_of_the_users_own_are_named_by_their_hash(tmp_path: Path) -> None:
    file = tmp_path / "tuned.safetensors"
    file.write_bytes(b"abc")
    weights = make_report(session_on(grids()["isotropic"]), "ct.nrrd", weights=file)["model"]["weights"]  # type: ignore[index]
    assert weights["sha256"].startswith("ba7816bf") and weights["pinned"] is False
    assert weights["file"] == "tuned.safetensors"


def test_a_pinned_hash_is_said_to_be_one() -> None:
    grid = grids()["isotropic"]
    session = Session(Bright("mobile-sam"), ball(grid))
    session.add(Point.from_index(grid, MIDDLE))
    weights = make_report(session, "ct.nrrd")["model"]["weights"]  # type: ignore[index]
    assert weights["pinned"] is True and weights["sha256"] == find_card("mobile-sam").weights.sha256


def test_time_is_noted_by_step() -> None:
    seconds: dict[str, float] = {}
    with timed(seconds, "read"):
        pass
    assert list(seconds) == ["read"] and seconds["read"] >= 0


def test_it_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_report({"model": 1}, tmp_path / "run.json")
    assert json.loads((tmp_path / "run.json").read_text()) == {"model": 1}
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(FormatError, match=r"folder\.json"):
        write_report({"model": 1}, tmp_path / "folder.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.json", "run.json"]
