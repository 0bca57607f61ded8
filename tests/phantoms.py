"""Generated images and what is in them: the same physical scene on any grid."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np

from vesalius.grid import Grid, make_grid
from vesalius.volume import Volume

ORDERS = ["".join(letters) for axes in permutations(("RL", "AP", "SI")) for letters in product(*axes)]


def grids() -> dict[str, Grid]:
    """Small grids of every kind: cubic voxels, thick slices, and turned away from the body's axes."""
    turn = _rotation(17, 2) @ _rotation(-9, 0)
    return {
        "isotropic": make_grid((26, 22, 7), _affine(np.eye(3), (1, 1, 1))),
        "anisotropic": make_grid((26, 22, 7), _affine(np.eye(3), (0.8, 0.8, 3))),
        "oblique": make_grid((26, 22, 7), _affine(turn, (0.8, 0.9, 3))),
    }


def ball(grid: Grid, radius_mm: float = 6.0) -> Volume:
    """A bright ball in the middle of a darker, textured image, 8 bit."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    world = grid.world(index)
    middle = grid.world((np.asarray(grid.shape) - 1) / 2)
    inside = np.linalg.norm(world - middle, axis=-1) <= radius_mm
    texture = 20 * np.sin(world[..., 0]) + 15 * np.cos(1.7 * world[..., 1] + 0.3 * world[..., 2])
    return Volume(np.clip(np.where(inside, 190, 60) + texture, 0, 255).astype(np.uint8)[None], grid)


def _affine(directions: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing_mm
    affine[:3, 3] = (-31.0, 12.5, 100.0)
    return affine


def _rotation(degrees: float, axis: int) -> np.ndarray:
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.eye(3)
    first, second = [n for n in range(3) if n != axis]
    turn[first, first] = turn[second, second] = cosine
    turn[first, second], turn[second, first] = -sine, sine
    return turn
