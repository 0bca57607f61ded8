"""Prompts as data: frames, JSON, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vesalius as vs
from phantoms import ball, grids
from vesalius.prompts import KINDS, check_prompt, from_json, kind_of, positions, to_json

GRID = grids()["oblique"]
ALL = frozenset(KINDS)


def examples() -> list:
    image = ball(GRID)
    mask = vs.Volume(image.voxels > 150, GRID)
    return [
        vs.Point((1.0, 2.0, 3.0)),
        vs.Point((1.0, 2.0, 3.0), positive=False),
        vs.Box((0.0, 0.0, 0.0), (4.0, 5.0, 6.0)),
        vs.Box.from_index(GRID, (1, 2, 3), (5, 6, 3)),
        vs.Scribble(((1.0, 2.0, 3.0), (2.0, 3.0, 4.0)), positive=False),
        vs.Lasso(((1.0, 2.0, 3.0), (2.0, 3.0, 3.0), (2.0, 5.0, 3.0))),
        vs.MaskHint(mask),
        vs.Text("the left kidney"),
        vs.Named("liver"),
        vs.Example(image, mask),
    ]


@pytest.mark.parametrize("prompt", examples(), ids=lambda prompt: kind_of(prompt))
def test_json_gives_back_the_same_prompt(prompt: object) -> None:
    again = from_json(json.loads(json.dumps(to_json(prompt))))
    assert type(again) is type(prompt)
    for name, value in vars(prompt).items():
        if isinstance(value, vs.Volume):
            assert np.array_equal(getattr(again, name).voxels, value.voxels)
            assert getattr(again, name).voxels.dtype == value.voxels.dtype
            assert getattr(again, name).grid == value.grid
        else:
            assert getattr(again, name) == value


def test_the_modality_of_an_example_decides_its_greys_and_is_kept() -> None:
    ct = vs.Volume(np.full((1, *GRID.shape), 40.0), GRID, vs.Source(modality="CT"))
    again = from_json(json.loads(json.dumps(to_json(vs.Example(ct, vs.Volume(ct.voxels > 0, GRID))))))
    assert vs.choose_window(again.image) == vs.choose_window(ct)
    assert "soft tissue" in vs.choose_window(ct).rule


def test_every_kind_has_an_example() -> None:
    assert {kind_of(prompt) for prompt in examples()} == ALL


corner = st.tuples(*[st.integers(0, 6)] * 3)


@given(corner, corner)
def test_a_box_of_indices_is_along_the_grid(first: tuple, second: tuple) -> None:
    box = vs.Box.from_index(GRID, first, second)
    index = GRID.index(box.corners())
    assert np.allclose(index.min(axis=0), np.minimum(first, second), atol=1e-6)
    assert np.allclose(index.max(axis=0), np.maximum(first, second), atol=1e-6)


def test_a_world_box_is_mapped_by_all_its_corners() -> None:
    low, high = GRID.world((5, 5, 2)), GRID.world((15, 15, 4))
    box = vs.Box(tuple(low.tolist()), tuple(high.tolist()))
    index = GRID.index(box.corners())
    between_two_corners = GRID.index([low, high])
    assert len(index) == 8
    assert np.ptp(index, axis=0).max() > np.ptp(between_two_corners, axis=0).max()  # a turned grid needs more room


def test_a_point_of_indices_is_a_voxel_centre() -> None:
    point = vs.Point.from_index(GRID, (3, 4, 5))
    assert np.allclose(GRID.index(point.at), (3, 4, 5))


@pytest.mark.parametrize("index", [(-0.6, 3, 3), (3, 21.6, 3), (3, 3, 7)])
def test_a_point_beyond_the_outer_faces_is_refused(index: tuple) -> None:
    with pytest.raises(vs.PromptError, match=r"outside the image.*0\.\.25 x 0\.\.21 x 0\.\.6"):
        check_prompt(vs.Point.from_index(GRID, index), GRID, ALL, "m")


def test_the_outer_faces_themselves_are_inside() -> None:
    check_prompt(vs.Point.from_index(GRID, (-0.5, 21.5, 6.5)), GRID, ALL, "m")


def test_a_box_may_hang_over_the_edge_but_not_lie_outside() -> None:
    check_prompt(vs.Box.from_index(GRID, (-5, -5, 2), (5, 5, 2)), GRID, ALL, "m")
    with pytest.raises(vs.PromptError, match="outside"):
        check_prompt(vs.Box.from_index(GRID, (-5, -5, 2), (-2, 5, 2)), GRID, ALL, "m")


def test_a_scribble_must_lie_inside_with_all_its_points() -> None:
    line = (tuple(GRID.world((1, 1, 1)).tolist()), tuple(GRID.world((40, 1, 1)).tolist()))
    with pytest.raises(vs.PromptError, match="scribble lies outside"):
        check_prompt(vs.Scribble(line), GRID, ALL, "m")


def test_a_mask_of_another_shape_is_refused() -> None:
    other = grids()["isotropic"]
    mask = vs.Volume(np.zeros((1, *other.shape), bool), other)
    with pytest.raises(vs.PromptError, match="resample the mask"):
        check_prompt(vs.MaskHint(mask), GRID, ALL, "m")


def test_an_example_has_one_mask_on_its_own_grid_whatever_that_of_the_image() -> None:
    other = grids()["isotropic"]
    image, mask = ball(other), vs.Volume(np.ones((1, *other.shape), bool), other)
    check_prompt(vs.Example(image, mask), GRID, ALL, "m")
    with pytest.raises(vs.PromptError, match="resample the mask to its image"):
        check_prompt(vs.Example(image, mask.crop((0, 0, 0), (5, 5, 5))), GRID, ALL, "m")
    colours = vs.Volume(np.repeat(mask.voxels, 3, axis=0), other)
    with pytest.raises(vs.PromptError, match="3 channels; give one"):
        check_prompt(vs.Example(image, colours), GRID, ALL, "m")


def test_a_coordinate_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(vs.PromptError, match="finite"):
        check_prompt(vs.Point((float("nan"), 0, 0)), GRID, ALL, "m")


def test_a_kind_that_is_not_accepted_lists_those_that_are() -> None:
    with pytest.raises(vs.PromptError, match="sam takes box, point; you gave a text"):
        check_prompt(vs.Text("x"), GRID, frozenset({"point", "box"}), "sam")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"kind": "poke"}, "Unknown prompt kind 'poke'"),
        ({"kind": "point"}, "does not fit its schema"),
        ({"kind": "point", "at": [1, 2, 3], "radius": 2}, "does not fit its schema"),
    ],
)
def test_a_wrong_record_is_refused(record: dict, says: str) -> None:
    with pytest.raises(vs.PromptError, match=says):
        from_json(record)


def test_words_have_no_position() -> None:
    assert positions(vs.Text("liver")).shape == (0, 3)
