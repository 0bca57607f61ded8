"""Overlays: the patient's right on the left of the picture, true proportions, colours where the masks are."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from phantoms import ORDERS
from vesalius.errors import FormatError
from vesalius.grid import Grid, make_grid
from vesalius.intensity import Window
from vesalius.labels import LabelSpace, Structure
from vesalius.overlay import COLOURS, LINE, PANEL, draw_overlay
from vesalius.prompts import Box, Point
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume

WINDOW = Window(0, 255, "8 bit, as stored")
RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def drawn(tmp_path: Path, image: Volume, seg: Segmentation, *prompts: Point | Box) -> NDArray[np.uint8]:
    """The overlay as an array (rows, columns, 3)."""
    draw_overlay(image, WINDOW, seg, tmp_path / "look.png", [("1", prompt) for prompt in prompts])
    return np.array(Image.open(tmp_path / "look.png"))


def blocks(grid: Grid, **structures: tuple[tuple[slice, slice, slice], tuple[float, float, float]]) -> Segmentation:
    """A segmentation of named blocks with their colours."""
    layers = np.zeros((1, *grid.shape), np.uint8)
    for value, (where, _) in enumerate(structures.values(), start=1):
        layers[0][where] = value
    labels = LabelSpace(tuple(Structure(name, colour=colour) for name, (_, colour) in structures.items()))
    places = {name: (0, value) for value, name in enumerate(structures, start=1)}
    return Segmentation(layers, grid, labels, places, frozenset(structures))


def black(grid: Grid) -> Volume:
    """An image without any light of its own."""
    return Volume(np.zeros((1, *grid.shape), np.uint8), grid)


def centre(picture: NDArray[np.uint8], channel: int) -> tuple[float, float]:
    """Row and column of the middle of what is drawn in one pure colour, legend left out."""
    strength = picture.astype(int)
    found = np.argwhere((strength[..., channel] > 60) & (strength.sum(axis=-1) == strength[..., channel]))
    found = found[found[:, 0] < len(picture) - 2 * LINE]
    row, column = found.mean(axis=0)
    return row, column


@pytest.fixture
def body() -> tuple[Volume, Segmentation]:
    """A RAS volume with red on the patient's right, green at the front, blue at the top."""
    grid = make_grid((40, 40, 20), np.diag([2.0, 2.0, 4.0, 1.0]))
    seg = blocks(
        grid,
        right=((slice(30, 38), slice(16, 24), slice(8, 12)), RED),
        front=((slice(16, 24), slice(30, 38), slice(8, 12)), GREEN),
        top=((slice(16, 24), slice(16, 24), slice(14, 19)), BLUE),
    )
    return black(grid), seg


@pytest.mark.parametrize("codes", ORDERS[::7])
def test_hung_as_a_radiologist_does_whatever_the_storage_order(
    tmp_path: Path, body: tuple[Volume, Segmentation], codes: str
) -> None:
    image, seg = body
    image = image.orient(codes)
    seg = seg.to(image.grid)
    picture = drawn(tmp_path, image, seg)
    width = picture.shape[1] // 3
    axial, coronal, sagittal = (picture[:, n * width : (n + 1) * width] for n in range(3))
    middle = width / 2
    assert centre(axial, 0)[1] < middle - 50  # right of the patient on the left
    assert centre(axial, 1)[0] < centre(axial, 0)[0] - 50  # front above
    assert centre(coronal, 0)[1] < middle - 50
    assert centre(coronal, 2)[0] < centre(coronal, 0)[0] - 50  # top above
    assert centre(sagittal, 1)[1] < centre(sagittal, 2)[1] - 50  # front on the left
    assert centre(sagittal, 2)[0] < centre(sagittal, 1)[0] - 50


def test_thick_slices_are_as_tall_as_they_are(tmp_path: Path) -> None:
    grid = make_grid((64, 64, 8), np.diag([1.0, 1.0, 8.0, 1.0]))
    whole = blocks(grid, all=((slice(0, 64), slice(0, 64), slice(0, 8)), RED))
    picture = drawn(tmp_path, black(grid), whole)
    for panel in np.array_split(picture[2 * LINE : -2 * LINE, LINE:-LINE], 3, axis=1):
        rows, columns = np.argwhere((panel[..., 0] > 60) & (panel[..., 1] == 0)).T
        assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=3)


def test_the_slice_shows_small_structures_too(tmp_path: Path) -> None:
    grid = make_grid((40, 40, 20), np.eye(4))
    seg = blocks(
        grid,
        large=((slice(2, 38), slice(2, 20), slice(0, 20)), RED),
        small=((slice(2, 5), slice(30, 33), slice(17, 19)), BLUE),
    )
    axial = drawn(tmp_path, black(grid), seg)[:, :PANEL]
    assert ((axial[..., 2] > 200) & (axial[..., 0] < 60)).sum() > 20


def test_a_picture_keeps_its_colours_and_has_no_letters(tmp_path: Path) -> None:
    grid = make_grid((60, 40, 1), np.diag([-1.0, -1.0, 1.0, 1.0]), calibrated=False)
    voxels = np.zeros((3, 60, 40, 1), np.uint8)
    voxels[1, :30] = 200
    empty = Segmentation(np.zeros((1, *grid.shape), np.uint8), grid, LabelSpace(), {})
    picture = drawn(tmp_path, Volume(voxels, grid), empty)
    assert picture.shape[1] == PANEL + 2 * LINE
    assert (picture[100, 100] == (0, 200, 0)).all() and (picture[100, PANEL - 10] == 0).all()
    assert picture[..., 0].max() == 0  # nor anything white


def test_clicks_and_boxes_are_drawn_in_their_own_slices(tmp_path: Path) -> None:
    grid = make_grid((40, 40, 20), np.eye(4))
    seg = blocks(grid, one=((slice(10, 20), slice(10, 20), slice(8, 9)), RED))
    plain = drawn(tmp_path, black(grid), seg)
    elsewhere = drawn(tmp_path, black(grid), seg, Point.from_index(grid, (30, 30, 3)))
    here = drawn(tmp_path, black(grid), seg, Point.from_index(grid, (30, 30, 8)))
    boxed = drawn(tmp_path, black(grid), seg, Box.from_index(grid, (5, 5, 7), (25, 25, 9)))
    assert np.array_equal(plain, elsewhere)
    changed = np.argwhere((plain != here).any(axis=-1))
    scale = PANEL / 40
    expected = 2 * LINE + (39 - 30 + 0.5) * scale, LINE + (39 - 30 + 0.5) * scale  # A above, R on the left
    assert np.allclose(changed.mean(axis=0), expected, atol=2)
    assert (plain != boxed).sum() > 1000


def test_nothing_is_left_where_it_cannot_be_written(tmp_path: Path, body: tuple[Volume, Segmentation]) -> None:
    (tmp_path / "look.png").mkdir()
    with pytest.raises(FormatError, match="look"):
        drawn(tmp_path, *body)
    assert [path.name for path in tmp_path.iterdir()] == ["look.png"]


def test_colours_are_distinct_and_names_are_all_there(tmp_path: Path) -> None:
    apart = [np.abs(np.subtract(a, b)).sum() for a, b in product(COLOURS, COLOURS) if a != b]
    assert min(apart) > 100
    grid = make_grid((40, 40, 1), np.eye(4))
    names = [f"structure number {n}" for n in range(12)]
    many = Segmentation(np.zeros((1, *grid.shape), np.uint8), grid, LabelSpace.of(names), dict.fromkeys(names, (0, 1)))
    few = Segmentation(many.layers, grid, LabelSpace.of(names[:1]), {names[0]: (0, 1)})
    assert drawn(tmp_path, black(grid), many).shape[0] > drawn(tmp_path, black(grid), few).shape[0] + 5 * LINE
