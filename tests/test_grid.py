"""Grids: where index and world meet, and what cannot be a grid."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phantoms import ORDERS
from strategies import grids
from vesalius.errors import GeometryError
from vesalius.grid import Grid, make_grid


def corners(grid: Grid) -> np.ndarray:
    """The world positions of the outer corners of the outermost voxels, in no order."""
    world = grid.world(list(product(*[(-0.5, n - 0.5) for n in grid.shape])))
    return world[np.lexsort(np.round(world, 6).T)]


@given(grids(), st.tuples(*[st.floats(-50, 50)] * 3))
def test_world_and_index_are_inverse(grid: Grid, index: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(grid.index(grid.world(index)), index, atol=1e-6)


@given(grids(), st.sampled_from(ORDERS))
def test_another_storage_order_is_the_same_place(grid: Grid, codes: str) -> None:
    turned = grid.orient(codes)
    np.testing.assert_allclose(corners(turned), corners(grid), atol=1e-6)
    assert turned.orient(grid.codes).same_as(grid, 1e-6)


@given(grids(sheared=False))
def test_orient_gives_the_codes_that_were_asked_for(grid: Grid) -> None:
    assert {grid.orient(codes).codes for codes in ORDERS} == set(ORDERS)


@given(grids(), st.tuples(*[st.integers(1, 9)] * 3))
def test_resize_keeps_the_outer_faces(grid: Grid, shape: tuple[int, int, int]) -> None:
    np.testing.assert_allclose(corners(grid.resize(shape)), corners(grid), atol=1e-6)


@given(grids(), st.floats(0.5, 4))
def test_respace_has_the_spacing_and_covers_the_extent(grid: Grid, spacing_mm: float) -> None:
    respaced = grid.respace(spacing_mm)
    np.testing.assert_allclose(respaced.spacing_mm, spacing_mm)
    np.testing.assert_allclose(respaced.world([-0.5] * 3), grid.world([-0.5] * 3), atol=1e-6)
    last_face = respaced.index(grid.world(np.asarray(grid.shape) - 0.5))
    assert (last_face <= np.asarray(respaced.shape) - 0.5 + 1e-5).all()


@given(grids(), st.tuples(*[st.integers(-3, 3)] * 3))
def test_crop_starts_where_it_says(grid: Grid, start: tuple[int, int, int]) -> None:
    np.testing.assert_allclose(grid.crop(start, (2, 3, 4)).world([1, 1, 1]), grid.world(np.add(start, 1)), atol=1e-6)


@given(grids())
@settings(max_examples=30)
def test_contains_ends_at_the_outer_faces(grid: Grid) -> None:
    last = np.asarray(grid.shape) - 0.5
    assert grid.contains(grid.world(last - 0.01))
    assert grid.contains(grid.world([-0.49] * 3))
    assert not grid.contains(grid.world(last + 0.01))


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((4, 4, 0), np.eye(4)),
        ((4, 4), np.eye(4)),
        ((4, 4, 4), np.diag([1, 1, 0, 1])),
        ((4, 4, 4), np.diag([1, np.nan, 1, 1])),
        ((4, 4, 4), [[1, 2, 0, 0], [1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        ((4, 4, 4), np.full((4, 4), 1.0)),
        ((4, 4, 4), np.eye(3)),
    ],
)
def test_what_is_no_grid_is_refused(shape: tuple, affine: np.ndarray) -> None:
    with pytest.raises(GeometryError):
        make_grid(shape, affine)


def test_grids_are_hashable_and_equal_by_value() -> None:
    assert len({make_grid((2, 3, 4), np.eye(4)), Grid((2, 3, 4), np.eye(4).tolist())}) == 1
