"""Looking through cubes, with a model that sees by brightness alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

import vesalius as vs
from vesalius.grid import Grid
from vesalius.look_cubes import blend, through_cubes
from vesalius.scene import Cues, Scene

SIZE, SPACING_MM, CELLS = 32, 1.5, 8  # cubes of 48 mm, cells of 6 mm
GRID = vs.make_grid((16, 16, 64), np.diag([3.0, 3, 3, 1]))
X, Y, Z = np.meshgrid(*map(np.arange, GRID.shape), indexing="ij")
BAR = (abs(X - 7.5) < 4) & (abs(Y - 7.5) < 4) & (Z >= 4) & (Z < 60)  # 168 mm long


class Bright:
    """Finds the bright components that positive clicks touch; in cubes that it is `blind` to, the opposite."""

    card = vs.find_card("sam-med3d")

    def __init__(self, blind_above_mm: float = np.inf) -> None:
        self.blind_above_mm = blind_above_mm
        self.looks: list[Cues] = []
        self.said: list[str] = []

    def run(self, scene: Scene) -> object:
        return through_cubes(scene, SIZE, SPACING_MM, lambda frame, cues: self.segment(scene.image, frame, cues))

    def segment(self, image: vs.Volume, frame: Grid, cues: Cues) -> NDArray[np.float32]:
        self.looks.append(cues)
        cells = frame.resize((CELLS,) * 3)
        brightness = image.to(cells).voxels[0].astype(np.float32) - 110
        labels, _ = ndimage.label(brightness > 0)
        clicked = np.rint(cells.index(frame.world(cues.points[cues.positive]))).astype(int).clip(0, CELLS - 1)
        inside = np.isin(labels, labels[tuple(clicked.T)]) & (labels > 0)
        logits = np.where(inside, abs(brightness), -abs(brightness))
        return -logits if frame.world((0, 0, 0))[2] > self.blind_above_mm else logits


def session(model: Bright, inside: NDArray[np.bool_] = BAR) -> vs.Session:
    image = vs.Volume(np.where(inside, 200, 20).astype(np.uint8)[None], GRID)
    return vs.Session(model, image, progress=model.said.append)


def at(*index: float, positive: bool = True) -> vs.Point:
    return vs.Point.from_index(GRID, index, positive)


def test_a_structure_longer_than_a_cube_is_followed_to_its_ends_and_no_further() -> None:
    model = Bright()
    found = session(model).add(at(8, 8, 12)).mask("1")
    dice = 2 * (found & BAR).sum() / (found.sum() + BAR.sum())
    assert dice > 0.9
    assert set(np.flatnonzero(found.any(axis=(0, 1)))) >= set(range(5, 59))
    # One around the click, one below, and upwards one for each 24 mm from its face at 59 mm to beyond the end at 179.
    assert len(model.looks) == 8


def test_a_structure_within_the_cube_takes_one_look() -> None:
    model = Bright()
    ball = (X - 8) ** 2 + (Y - 8) ** 2 + (Z - 30) ** 2 <= 9
    found = session(model, ball).add(at(8, 8, 30)).mask("1")
    assert len(model.looks) == 1 and found[8, 8, 30]
    assert model.looks[0].points.tolist() == [[16, 16, 16]]  # the click lies on the voxel in the middle
    assert model.looks[0].feedback is None


def test_a_neighbour_that_shows_something_else_is_left_out_and_named() -> None:
    model = Bright(blind_above_mm=20)
    found = session(model).add(at(8, 8, 12)).mask("1")
    beyond = 36 + 24 - 1.5 * 16 + 48  # mm
    assert (found & BAR)[:, :, 4:20].sum() > 0.9 * BAR[:, :, 4:20].sum()
    assert not found[:, :, int(beyond // 3) + 2 :].any()
    assert any("click there to go on" in step for step in model.said)


def test_a_correction_looks_again_at_its_own_cubes_with_all_clicks_and_the_last_logits() -> None:
    model = Bright()
    talk = session(model)
    first = talk.add(at(8, 8, 12))
    before = len(model.looks)
    second = talk.add(at(2, 8, 12, positive=False))
    again = model.looks[before:]
    assert 1 <= len(again) <= 2
    assert again[0].feedback.shape == (CELLS,) * 3
    assert max(len(cues.points) for cues in again) == 2
    assert [cues.positive.any() for cues in again] == [True] * len(again)
    assert np.array_equal(talk.undo().layers, first.layers)
    assert np.array_equal(talk.add(at(2, 8, 12, positive=False)).layers, second.layers)


def test_a_click_outside_of_all_cubes_gets_a_cube_of_its_own() -> None:
    two = BAR & ((Z < 12) | (Z > 50))
    model = Bright()
    talk = session(model, two)
    assert not talk.add(at(8, 8, 7)).mask("1")[:, :, 50:].any()
    assert talk.add(at(8, 8, 55)).mask("1")[8, 8, 55]
    assert len(model.looks) == 2
    assert session(Bright(), two).add(at(8, 8, 7), at(8, 8, 55)).mask("1")[8, 8, [7, 55]].all()


def test_negative_clicks_alone_find_nothing() -> None:
    model = Bright()
    talk = session(model)
    assert not talk.add(at(8, 8, 12, positive=False)).mask("1").any() and model.looks == []
    talk.add(at(8, 8, 14))
    assert model.looks[0].positive.tolist() == [False, True]


def test_one_cube_alone_is_enlarged_as_the_original_does() -> None:
    logits = np.random.default_rng(0).normal(size=(CELLS,) * 3).astype(np.float32)
    frame = vs.make_grid((SIZE,) * 3, np.diag([SPACING_MM] * 3 + [1]))
    values, _ = blend({(0, 0, 0): logits}, np.zeros(3, int), np.full(3, CELLS))
    ours = vs.Volume(values[None], frame.resize((CELLS,) * 3)).to(frame).voxels[0]
    official = torch.nn.functional.interpolate(torch.tensor(logits)[None, None], (SIZE,) * 3, mode="trilinear")[0, 0]
    assert ours == pytest.approx(official.numpy(), abs=1e-5)


def test_where_cubes_overlap_each_counts_less_towards_its_faces() -> None:
    low, high = np.full((CELLS,) * 3, -1, np.float32), np.full((CELLS,) * 3, 1, np.float32)
    values, seen = blend({(0, 0, 0): low, (0, 0, 1): high}, np.zeros(3, int), np.array((CELLS, CELLS, 2 * CELLS)))
    line = values[4, 4]
    assert line[:4] == pytest.approx(-1) and line[8:12] == pytest.approx(1)
    assert (np.diff(line[3:9]) > 0).all() and line[4:8].sum() == pytest.approx(0, abs=1e-5)
    assert seen[4, 4, :12].all() and not seen[..., 12:].any() and (line[12:] < -1).all()
