"""Where voxels are: a shape and an affine from index (i, j, k) to RAS+ millimetres, and no pixels.

Integer indices are voxel centres, so voxel `i` covers `i - 0.5 .. i + 0.5` and an image begins at index -0.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import GeometryError

AXES = ("RL", "AP", "SI")  # the two letters of each world axis, the positive one first
PLANES = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIL"}  # column, row and slice direction on screen


@dataclass(frozen=True)
class Grid:
    """Where voxels are: `shape` (i, j, k) and the `affine` from index to RAS+ mm; hashable, without pixels.

    `calibrated=False` marks an image whose unit is the pixel (a PNG): its "mm" are pixels and must not be
    reported as lengths. Raises GeometryError for a shape below one voxel or an affine that is not finite,
    not homogeneous or singular.
    """

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    calibrated: bool = True

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        matrix = np.asarray(self.affine, dtype=float)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"A grid needs three axes of at least one voxel, not {shape}.")
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.allclose(matrix[3], (0, 0, 0, 1)):
            raise GeometryError(
                "The affine is not a finite 4 x 4 matrix that ends with the row 0 0 0 1; repair the image's header."
            )
        lengths = np.linalg.norm(matrix[:3, :3], axis=0)
        if lengths.min() == 0 or abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-6:
            raise GeometryError(
                "The affine is singular (a zero spacing, or two parallel axes); repair the image's header."
            )
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", tuple(tuple(float(v) for v in row) for row in matrix))

    @cached_property
    def matrix(self) -> NDArray[np.float64]:
        """The affine as an array (4, 4)."""
        return np.asarray(self.affine)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along each index axis, in mm."""
        i, j, k = np.linalg.norm(self.matrix[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @cached_property
    def codes(self) -> str:
        """The world direction nearest to each index axis, such as "LPS"."""
        directions = self.matrix[:3, :3] / np.asarray(self.spacing_mm)
        best = max(permutations(range(3)), key=lambda axes: sum(abs(directions[a, n]) for n, a in enumerate(axes)))
        return "".join(AXES[a][0 if directions[a, n] > 0 else 1] for n, a in enumerate(best))

    def world(self, index: ArrayLike) -> NDArray[np.float64]:
        """Indices (..., 3) to RAS+ mm (..., 3)."""
        return np.asarray(index, dtype=float) @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def index(self, world: ArrayLike) -> NDArray[np.float64]:
        """RAS+ mm (..., 3) to indices (..., 3), fractions kept."""
        return (np.asarray(world, dtype=float) - self.matrix[:3, 3]) @ np.linalg.inv(self.matrix[:3, :3]).T

    def contains(self, world: ArrayLike) -> NDArray[np.bool_]:
        """Whether points (..., 3) in mm lie inside, up to the outer faces of the voxels."""
        index = self.index(world)
        slack = 1e-6
        inside = (index >= -0.5 - slack) & (index <= np.asarray(self.shape) - 0.5 + slack)
        return np.asarray(inside.all(axis=-1))

    def crop(self, start: ArrayLike, shape: tuple[int, int, int]) -> Grid:
        """The grid of `shape` voxels whose first voxel is index `start` of this one; it may stick out."""
        matrix = self.matrix.copy()
        matrix[:3, 3] = self.world(np.asarray(start))
        return Grid(shape, _rows(matrix), self.calibrated)

    def resize(self, shape: tuple[int, int, int]) -> Grid:
        """Other voxels over the same extent: the outer faces stay where they are."""
        zoom = np.asarray(self.shape) / np.asarray(shape)
        matrix = self.matrix.copy()
        matrix[:3, :3] *= zoom
        matrix[:3, 3] = self.world((zoom - 1) / 2)
        return Grid(shape, _rows(matrix), self.calibrated)

    def respace(self, spacing_mm: ArrayLike) -> Grid:
        """Voxels of `spacing_mm` (one number or three) from the same outer corner over at least the same extent."""
        zoom = np.broadcast_to(np.asarray(spacing_mm, dtype=float), 3) / np.asarray(self.spacing_mm)
        shape = np.maximum(1, np.ceil(np.asarray(self.shape) / zoom - 1e-6)).astype(int)
        matrix = self.matrix.copy()
        matrix[:3, :3] *= zoom
        matrix[:3, 3] = self.world((zoom - 1) / 2)
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), _rows(matrix), self.calibrated)

    def axis_order(self, codes: str = "RAS") -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
        """Which of this grid's axes runs along each letter of `codes`, and whether it must be flipped."""
        world_axis = {letter: n for n, pair in enumerate(AXES) for letter in pair}
        own = [world_axis[letter] for letter in self.codes]
        order = tuple(own.index(world_axis[letter]) for letter in codes)
        flips = tuple(self.codes[axis] != letter for axis, letter in zip(order, codes, strict=True))
        return order, flips  # type: ignore[return-value]

    def orient(self, codes: str = "RAS") -> Grid:
        """The same voxels in the storage order nearest to `codes`: axes permuted and flipped, nothing moved."""
        order, flips = self.axis_order(codes)
        matrix, first = np.eye(4), np.zeros(3)
        for n, (axis, flip) in enumerate(zip(order, flips, strict=True)):
            matrix[:3, n] = -self.matrix[:3, axis] if flip else self.matrix[:3, axis]
            first[axis] = self.shape[axis] - 1 if flip else 0
        matrix[:3, 3] = self.world(first)
        i, j, k = (self.shape[axis] for axis in order)
        return Grid((i, j, k), _rows(matrix), self.calibrated)

    def same_as(self, other: Grid, tolerance_mm: float = 1e-3) -> bool:
        """Whether both have the same shape and no voxel centre lies further apart than `tolerance_mm`."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1).T
        return bool(np.abs(self.world(corners) - other.world(corners)).max() <= tolerance_mm)

    def thin_axis(self) -> int | None:
        """The index axis that is one voxel thick, if exactly one is: the sign of a 2D image."""
        thin = [axis for axis, n in enumerate(self.shape) if n == 1]
        return thin[0] if len(thin) == 1 else None


def make_grid(shape: tuple[int, int, int], affine: ArrayLike, calibrated: bool = True) -> Grid:
    """A Grid from an affine given as any 4 x 4 array."""
    return Grid(shape, _rows(np.asarray(affine, dtype=float)), calibrated)


def _rows(matrix: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())
