"""Volumes: resampling that is exact where voxels coincide, and right where they do not."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phantoms import ORDERS
from strategies import grids, numbered
from vesalius.errors import GeometryError
from vesalius.grid import Grid, make_grid
from vesalius.volume import Volume


@given(grids(), st.sampled_from(ORDERS))
@settings(deadline=None)
def test_a_reordered_grid_is_copied_exactly_and_back(grid: Grid, codes: str) -> None:
    volume = numbered(grid, channels=2)
    turned = volume.to(grid.orient(codes))
    assert turned.voxels.dtype == volume.voxels.dtype
    np.testing.assert_array_equal(turned.voxels, volume.orient(codes).voxels)
    np.testing.assert_array_equal(turned.to(grid).voxels, volume.voxels)


@given(grids(), st.tuples(*[st.integers(-4, 4)] * 3), st.sampled_from(ORDERS))
@settings(deadline=None)
def test_a_block_that_sticks_out_is_filled_outside(grid: Grid, start: tuple[int, int, int], codes: str) -> None:
    volume = numbered(grid)
    block = volume.to(grid.crop(start, (4, 3, 5)).orient(codes), fill=-7)
    index = np.stack(np.meshgrid(*map(np.arange, block.grid.shape), indexing="ij"), axis=-1)
    at = np.rint(grid.index(block.grid.world(index))).astype(int)
    inside = ((at >= 0) & (at < grid.shape)).all(axis=-1)
    assert (block.voxels[0][~inside] == -7).all()
    np.testing.assert_array_equal(block.voxels[0][inside], volume.voxels[0][tuple(at[inside].T)])


@given(grids(), grids())
@settings(deadline=None, max_examples=40)
def test_a_linear_ramp_survives_interpolation(grid: Grid, other: Grid) -> None:
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    ramp = grid.world(index) @ (0.3, -0.2, 0.5)
    between = grid.crop((0.25, 0.25, 0.25), tuple(max(1, n - 1) for n in grid.shape))
    values = Volume(ramp[None].astype(np.float32), grid).to(between).voxels[0]
    index = np.stack(np.meshgrid(*map(np.arange, between.shape), indexing="ij"), axis=-1)
    flat = np.asarray(grid.shape) == 1  # between the centre and the face of a single slice its value holds
    expected = grid.world(np.where(flat, 0, grid.index(between.world(index)))) @ (0.3, -0.2, 0.5)
    np.testing.assert_allclose(values, expected, atol=1e-3 * max(1, np.abs(ramp).max()))


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("start", [(0, 0, 0), (30, 20, 25), (65, 55, 45)])
def test_a_block_is_interpolated_from_the_part_that_it_needs(order: int, start: tuple[int, int, int]) -> None:
    numbers = np.random.default_rng(0).integers(0, 99, (1, 90, 80, 70), np.uint8)
    volume = Volume(numbers, make_grid((90, 80, 70), np.eye(4)))
    sheared = make_grid((70, 60, 50), [[1.3, 0.05, 0, 0], [0, 1.35, 0.05, 0], [0, 0, 1.5, 0], [0, 0, 0, 1]])
    tracemalloc.start()
    block = volume.to(sheared.crop(start, (5, 5, 5)), order, fill=-1)
    assert tracemalloc.get_traced_memory()[1] < numbers.nbytes / 2
    tracemalloc.stop()
    expected = volume.to(sheared, order, fill=-1).to(block.grid)
    np.testing.assert_allclose(block.voxels, expected.voxels, atol=1e-3)


def test_outside_of_the_outermost_faces_is_the_fill() -> None:
    volume = Volume(np.full((1, 3, 3, 3), 5, np.float32), make_grid((3, 3, 3), np.eye(4)))
    wide = volume.to(make_grid((10, 3, 3), np.diag([0.5, 1, 1, 1])), fill=-1)
    np.testing.assert_array_equal(wide.voxels[0, :, 1, 1], [5, 5, 5, 5, 5, 5, -1, -1, -1, -1])


def test_an_array_that_does_not_fit_its_grid_is_refused() -> None:
    with pytest.raises(GeometryError, match="do not fit"):
        Volume(np.zeros((3, 4, 5)), make_grid((3, 4, 5), np.eye(4)))
