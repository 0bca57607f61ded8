"""How prompts become cues of slices, and what a scene shows and remembers."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import vesalius as vs
from phantoms import ball, grids
from vesalius.intensity import choose_window
from vesalius.scene import Memo, Scene, View, box_slices, cues_by_slice, default_plane

GRID = vs.make_grid((20, 16, 9), np.diag([1.0, 1, 2, 1]))


def world(*index: float) -> tuple[float, float, float]:
    return tuple(GRID.world(index).tolist())


def test_a_point_belongs_to_the_nearest_slice() -> None:
    cues = cues_by_slice([vs.Point(world(3.2, 4, 5.4)), vs.Point(world(1, 1, 5), positive=False)], GRID)
    assert list(cues) == [5]
    assert np.allclose(cues[5].points[:, :2], [[3.2, 4], [1, 1]]) and cues[5].positive.tolist() == [True, False]


def test_a_point_on_the_outer_face_belongs_to_the_last_slice() -> None:
    assert list(cues_by_slice([vs.Point(world(3, 4, 8.5))], GRID)) == [8]


def test_a_scribble_is_split_into_its_slices_and_thinned() -> None:
    line = (*(world(i / 10, 3, 4) for i in range(100)), world(3, 3, 5))
    cues = cues_by_slice([vs.Scribble(line)], GRID)
    assert list(cues) == [4, 5] and len(cues[4].points) == 5 and len(cues[5].points) == 1
    assert np.allclose(cues[4].points[[0, -1], 0], [0, 9.9])
    ((stroke, positive),) = cues[4].strokes
    assert positive and len(stroke) == 100 and np.allclose(stroke[0], [0, 3, 0])


def test_strokes_of_both_signs_stay_in_order() -> None:
    lines = [vs.Scribble((world(1, at, 4), world(8, at, 4)), positive=at > 5) for at in (3, 9)]
    strokes = cues_by_slice(lines, GRID)[4].strokes
    assert [(positive, stroke[0, 1]) for stroke, positive in strokes] == [(False, 3), (True, 9)]


def test_a_box_sits_in_its_middle_slice_and_knows_its_depth() -> None:
    deep, flat = vs.Box.from_index(GRID, (2, 3, 2), (8, 9, 7)), vs.Box.from_index(GRID, (2, 3, 4), (8, 9, 4))
    cues = cues_by_slice([deep], GRID)
    assert list(cues) == [5] and np.allclose(cues[5].boxes[0, :, :2], [[2, 3], [8, 9]])
    assert box_slices([deep, flat], GRID) == [(2, 7)]


def test_a_lasso_is_filled_and_boxed() -> None:
    outline = [world(4, 5, 3), world(12, 5, 3), world(12, 11, 3), world(4, 11, 3)]
    cues = cues_by_slice([vs.Lasso(tuple(outline))], GRID)[3]
    assert cues.mask[4:13, 5:12].all() and cues.mask.sum() == 9 * 7
    assert np.allclose(cues.boxes[0, :, :2], [[4, 5], [12, 11]])


def test_a_lasso_across_the_plane_is_refused() -> None:
    with pytest.raises(vs.PromptError, match="--plane"):
        cues_by_slice([vs.Lasso((world(4, 5, 1), world(12, 5, 6), world(12, 11, 6)))], GRID)


def test_a_mask_becomes_a_cue_of_each_slice_that_it_fills() -> None:
    mask = np.zeros((1, *GRID.shape), bool)
    mask[0, 3:6, 4:9, 2:5] = True
    cues = cues_by_slice([vs.MaskHint(vs.Volume(mask, GRID))], GRID)
    assert list(cues) == [2, 3, 4] and cues[3].mask.sum() == 15 and cues[3].seeds


@pytest.mark.parametrize("kind", ["box", "lasso", "mask"])
def test_negative_areas_are_refused(kind: str) -> None:
    mask = vs.Volume(np.ones((1, *GRID.shape), bool), GRID)
    prompt = {
        "box": vs.Box.from_index(GRID, (1, 1, 1), (3, 3, 1), positive=False),
        "lasso": vs.Lasso((world(1, 1, 1), world(4, 1, 1), world(4, 4, 1)), positive=False),
        "mask": vs.MaskHint(mask, positive=False),
    }[kind]
    with pytest.raises(vs.PromptError, match=f"no negative {kind}"):
        cues_by_slice([prompt], GRID)


@pytest.mark.parametrize(
    ("spacing", "codes", "plane"),
    [
        ((1, 1, 1), "RAS", "axial"),
        ((1, 1, 5), "RAS", "axial"),
        ((1, 1, 5), "PSR", "sagittal"),
        ((1, 1, 5), "LSP", "coronal"),
        ((1, 1, 1.05), "LSP", "axial"),
    ],
)
def test_the_plane_is_the_one_of_acquisition(spacing: tuple, codes: str, plane: str) -> None:
    pairs = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for n, letter in enumerate(codes):
        matrix[pairs[letter], n] = spacing[n] * (1 if letter in "RAS" else -1)
    assert default_plane(vs.make_grid((5, 5, 5), matrix)) == plane


def test_a_picture_has_one_plane() -> None:
    assert default_plane(vs.make_grid((1, 9, 9), np.diag([1, 1, 9, 1]))) == "sagittal"


def test_native_views_are_never_interpolated_and_resampled_ones_are_black_outside() -> None:
    image = ball(grids()["oblique"])
    scene = Scene(image, "1", (), choose_window(image), "axial")
    block = scene.native("LPS", (2, 3, 1), (8, 7, 2))
    assert np.array_equal(block.pixels, image.to(block.grid).voxels)
    assert scene.view(image.grid.crop((-9, 0, 0), (4, 4, 4))).pixels.max() == 0


def test_the_memo_forgets_the_least_recently_used() -> None:
    memo, made = Memo(limit=250), []

    def make(n: int) -> np.ndarray:
        made.append(n)
        return np.zeros(100, np.uint8)

    for n in (1, 2, 1, 3, 1, 2):
        memo.get(n, lambda n=n: make(n))
    assert made == [1, 2, 3, 2] and memo.bytes <= 250


def test_colours_become_grey_as_pillow_converts_them() -> None:
    grid = vs.make_grid((5, 7, 1), np.eye(4))
    rgb = np.random.default_rng(0).integers(0, 256, (3, *grid.shape), np.uint8)
    pillow = np.asarray(Image.fromarray(rgb[..., 0].transpose(2, 1, 0)).convert("L")).T
    assert np.abs(View(rgb, grid).grey()[..., 0] * 255 - pillow).max() <= 1
    assert np.array_equal(View(rgb[:1], grid).grey(), rgb[0].astype(np.float32) / 255)
    with pytest.raises(vs.PromptError, match="2 channels: choose one"):
        View(rgb[:2], grid).grey()
