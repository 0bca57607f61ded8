"""Numbers on a grid: an image, logits, a painted scribble; and the only world-space resampler of the project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import GeometryError
from vesalius.grid import Grid


@dataclass(frozen=True)
class Source:
    """Where a volume came from, kept so that its answers can be written back the same way; no patient data.

    `format` is the name of the reader ("nifti", "nrrd", "dicom" ...), `space` the world frame of the file
    ("RAS" or "LPS"), `modality` its DICOM code if known, and `header` what that writer needs to repeat.
    """

    format: str = ""
    space: str = "RAS"
    modality: str = ""
    header: Mapping[str, object] = field(default_factory=dict, repr=False)  # may hold UIDs: never printed


@dataclass(frozen=True, eq=False)
class Volume:
    """Any numbers on a grid: `voxels` (C, i, j, k) and the `grid` that says where they are.

    A 2D image is one voxel thick. Raises GeometryError where the array does not fit the grid.
    """

    voxels: NDArray
    grid: Grid
    source: Source = field(default_factory=Source)

    def __post_init__(self) -> None:
        if self.voxels.ndim != 4 or self.voxels.shape[1:] != self.grid.shape:
            raise GeometryError(
                f"Voxels of shape {self.voxels.shape} do not fit a grid of shape {self.grid.shape}; "
                "give an array (C, i, j, k)."
            )

    def __repr__(self) -> str:
        spacing = " x ".join(f"{mm:.4g}" for mm in self.grid.spacing_mm)
        unit = "mm" if self.grid.calibrated else "px"
        channels, *shape = self.voxels.shape
        size = " x ".join(map(str, shape))
        return f"Volume({channels} x {size} {self.voxels.dtype}, {spacing} {unit}, {self.grid.codes})"

    def orient(self, codes: str) -> Volume:
        """The same voxels in another storage order, as a view without copying."""
        order, flips = self.grid.axis_order(codes)
        voxels = self.voxels.transpose(0, *(1 + axis for axis in order))
        voxels = voxels[(slice(None), *(slice(None, None, -1 if flip else 1) for flip in flips))]
        return Volume(voxels, self.grid.orient(codes), self.source)

    def crop(self, start: tuple[int, int, int], shape: tuple[int, int, int]) -> Volume:
        """The block of `shape` voxels from index `start`, as a view; it must lie inside."""
        block = tuple(slice(first, first + n) for first, n in zip(start, shape, strict=True))
        return Volume(self.voxels[(slice(None), *block)], self.grid.crop(start, shape), self.source)

    def to(self, grid: Grid, order: int = 1, fill: float = 0) -> Volume:
        """These numbers at the voxels of another grid; outside the outermost voxel faces stands `fill`.

        A grid whose voxels are this one's (permuted, flipped, cropped, extended) is copied exactly, any other is
        interpolated with a spline of `order` (0 nearest, 1 linear, 3 cubic) in float32. Between the outermost
        voxel centre and its face the outermost value holds.
        """
        index_from_index = np.linalg.inv(self.grid.matrix) @ grid.matrix
        rounded = np.rint(index_from_index)
        far = np.abs(index_from_index - rounded) @ (*grid.shape, 1)
        if far.max() < 1e-3 and (np.abs(rounded[:3, :3]).sum(axis=0) == 1).all():
            return Volume(self._reindexed(rounded.astype(int), grid, fill), grid, self.source)
        return Volume(self._interpolated(index_from_index, grid, order, fill), grid, self.source)

    def _reindexed(self, affine: NDArray[np.int64], grid: Grid, fill: float) -> NDArray:
        """Copies by slicing: output axis n runs along one input axis, forwards or backwards."""
        out = np.full((len(self.voxels), *grid.shape), fill, dtype=self.voxels.dtype)
        source: list[slice | int] = [0, 0, 0]
        target: list[slice] = []
        for n, size in enumerate(grid.shape):
            axis = int(np.abs(affine[:3, n]).argmax())
            step, first = int(affine[axis, n]), int(affine[axis, 3])
            inside = [m for m in range(size) if 0 <= first + step * m < self.grid.shape[axis]]
            if not inside:
                return out
            target.append(slice(inside[0], inside[-1] + 1))
            begin, end = first + step * inside[0], first + step * inside[-1]
            source[axis] = slice(begin, end + step if end + step >= 0 else None, step)
        order = [int(np.abs(affine[:3, n]).argmax()) for n in range(3)]
        block = self.voxels[(slice(None), *source)].transpose(0, *(1 + axis for axis in order))
        out[(slice(None), *target)] = block
        return out

    def _interpolated(self, affine: NDArray[np.float64], grid: Grid, order: int, fill: float) -> NDArray:
        from scipy import ndimage

        out = np.empty((len(self.voxels), *grid.shape), dtype=np.float32)
        low, high = np.zeros(3, int), np.array(self.grid.shape)
        if order <= 1:  # only the part that is asked for; a spline of a higher order depends on every voxel
            corners = affine[:3, :3] @ np.array(list(product(*((0, n - 1) for n in grid.shape)))).T + affine[:3, 3:]
            low = np.clip(np.floor(corners.min(axis=1)) - 1, 0, high - 1).astype(int)
            high = np.clip(np.ceil(corners.max(axis=1)) + 2, low + 1, high).astype(int)
        for channel, voxels in enumerate(self.voxels):
            ndimage.affine_transform(
                np.asarray(voxels[tuple(map(slice, low, high))], dtype=np.float32),
                affine[:3, :3],
                affine[:3, 3] - low,
                output_shape=grid.shape,
                output=out[channel],
                order=order,
                mode="nearest",
            )
        for axis in range(3):  # what lies beyond a face is outside; slab by slab, to hold no coordinate volume
            size = self.grid.shape[axis]
            i, j, k = (np.arange(n) * affine[axis, n_axis] for n_axis, n in enumerate(grid.shape))
            plane = j[:, None] + k[None, :] + affine[axis, 3]
            for n, at in enumerate(i):
                outside = (plane + at < -0.5 - 1e-6) | (plane + at > size - 0.5 + 1e-6)
                if outside.any():
                    out[:, n][:, outside] = fill
        return out
