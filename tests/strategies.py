"""Hypothesis strategies: any grid that a scanner could have made, and volumes on it."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vesalius.grid import Grid, make_grid
from vesalius.volume import Volume

AXES = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


@st.composite
def grids(draw: st.DrawFn, sheared: bool = True) -> Grid:
    """Any shape, spacing, rotation, handedness and origin, with a tilted gantry now and then."""
    shape = draw(st.tuples(*[st.integers(1, 6)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.2, 6)] * 3))
    turn = draw(st.tuples(*[st.sampled_from([0, 90, 180, 270]) | st.floats(-180, 180)] * 3))
    flips = draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    tilt = draw(st.sampled_from([0, 0, 0.3, -0.2])) if sheared else 0
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    affine[:3, 2] += tilt * affine[:3, 1]
    affine[:3, :3] *= np.multiply(spacing, flips)
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return make_grid(shape, affine)


def numbered(grid: Grid, dtype: str = "int16", channels: int = 1) -> Volume:
    """A volume whose every voxel has another value, as far as the type goes."""
    count = channels * int(np.prod(grid.shape))
    values = np.arange(count) % (250 if dtype in ("uint8", "int8") else 30000)
    return Volume(values.reshape(channels, *grid.shape).astype(dtype), grid)


@st.composite
def mask_pairs(draw: st.DrawFn, dimensions: tuple[int, ...] = (2, 3)) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Two masks of one shape and a spacing: scattered voxels, blocks at the borders, planes, lines, full and empty."""
    axes = draw(st.sampled_from(dimensions))
    shape = draw(st.tuples(*[st.integers(1, 9)] * axes))
    spacing = draw(
        st.lists(st.sampled_from([0.3, 0.7, 1.0, 1.2, 1.6, 2.5, 5.0]) | st.floats(0.2, 6), min_size=axes, max_size=axes)
    )
    return draw(masks(shape)), draw(masks(shape)), spacing


@st.composite
def masks(draw: st.DrawFn, shape: tuple[int, ...]) -> np.ndarray:
    """One mask of `mask_pairs`."""
    if draw(st.booleans()):
        density = draw(st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.0]))
        return np.random.default_rng(draw(st.integers(0, 99))).random(shape) < density
    ends = [sorted((draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1)))) for n in shape]
    mask = np.zeros(shape, bool)
    mask[tuple(slice(first, last + 1) for first, last in ends)] = True
    return mask
