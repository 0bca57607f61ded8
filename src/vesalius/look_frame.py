"""A whole image as a network with windows sees it, where in it something may be, and reading it block by block.

What models share that name their structures and look window by window (`look_windows`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vesalius.grid import Grid
from vesalius.look_windows import Shape, blend, covered, read_slabs, resampled, starts
from vesalius.prompts import Box

COARSE = 4  # bodies and structures are outlined on every fourth voxel
MARGIN = 2  # ... with so many of these around them

Block = tuple[int, NDArray]  # its first plane, and (P, t, j, k)


@dataclass(frozen=True, eq=False)
class Frame:
    """An image as the network sees it: `pixels` (C, i, j, k) over the extent of `grid`, whose voxels are the image's.

    The axes run as `grid` says, the one along which slabs are smallest first; `order` are their places among the
    network's axes, and `patch` is the window along them. `body` (i, j, k) is where something may be; `flat` the axis
    that is resampled to nearest voxels.
    """

    pixels: Tensor
    grid: Grid
    order: Shape
    patch: Shape
    body: Tensor
    flat: int | None = None

    @property
    def shape(self) -> Shape:
        """The network's voxels along each axis."""
        i, j, k = self.pixels.shape[1:]
        return i, j, k

    def read(
        self,
        output: Shape,
        mask: Tensor,
        step: float,
        encode: Callable[[Tensor], Tensor],
        read: Callable[[Tensor], Tensor],
    ) -> Iterator[Block]:
        """Blocks of `output` voxels over the frame's extent: what `read` makes of the blend (N, F) -> (N, P).

        `encode` is the network: windows (B, C, ...) to what is blended (B, F, ...), in the network's own axes. Windows
        without a voxel of `mask` are left out; where one would be is 0.
        """
        back = [self.order.index(axis) for axis in range(3)]

        def encode_turned(windows: Tensor) -> Tensor:
            seen = encode(windows.permute(0, 1, *(2 + axis for axis in back)))
            return seen.permute(0, *(2 + axis for axis in self.order), 1)

        slabs, seen = blend(self.pixels, encode_turned, self.patch, step, mask), covered(mask, self.patch, step)
        rows, *across = (resampled(*sizes, nearest=True).long() for sizes in zip(self.shape, output, strict=True))
        for first, block in read_slabs(slabs, self.shape, output, read, self.flat):
            inside = seen[rows[first : first + block.shape[1]]][:, across[0]][:, :, across[1]].numpy()
            yield first, np.where(inside, block, block.dtype.type(0))

    def first_look_pays(self, step: float) -> bool:
        """Whether a first look with windows side by side would cost less than half of a whole one."""
        sizes = list(zip(self.shape, self.patch, strict=True))
        first, whole = (np.prod([len(starts(*each, gap)) for each in sizes]) for gap in (1.0, step))
        return bool(2 * first < whole)


def slab_order(shape: Shape, patch: Shape) -> Shape:
    """The axes, the one along which slabs are smallest first."""
    slab = int(np.argmax([size / window for size, window in zip(shape, patch, strict=True)]))
    first, second = (axis for axis in range(3) if axis != slab)
    return slab, first, second


def blocks_within(blocks: Iterable[Block], low: NDArray[np.int64], high: NDArray[np.int64]) -> Iterator[Block]:
    """The parts of blocks between two corners, of which `high` is the first voxel beyond."""
    for first, block in blocks:
        rows = slice(max(int(low[0]) - first, 0), max(int(high[0]) - first, 0))
        part = block[:, rows, low[1] : high[1], low[2] : high[2]]
        if part.size:
            yield max(first, int(low[0])), part


def voxels_of(region: Box | None, grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first voxel in a region and the first one beyond it; of the whole grid where there is none."""
    if region is None:
        return np.zeros(3, int), np.array(grid.shape)
    index = grid.index(region.corners())
    low = np.ceil(index.min(axis=0) - 1e-6).clip(0).astype(int)
    high = np.floor(index.max(axis=0) + 1e-6).astype(int) + 1
    return np.minimum(low, grid.shape), np.clip(high, low, grid.shape)


def box_mask(frame: Frame, low: NDArray[np.int64], high: NDArray[np.int64]) -> Tensor:
    """The network's voxels that touch a box of the image's voxels."""
    mask = torch.zeros(frame.shape, dtype=torch.bool)
    zoom = np.array(frame.shape) / frame.grid.shape
    first, last = np.floor(low * zoom).astype(int), np.ceil(high * zoom).astype(int)
    i, j, k = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    mask[i, j, k] = True
    return mask


def body_mask(dense: NDArray[np.bool_], grid: Grid) -> Tensor:
    """What is dense, with what that encloses in each axial slice and a margin: where in a CT something may be."""
    from scipy import ndimage

    axial = next(axis for axis, letter in enumerate(grid.codes) if letter in "SI")
    coarse = F.max_pool3d(torch.from_numpy(dense)[None].float(), COARSE, ceil_mode=True)[0].bool()
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in coarse.movedim(axial, 0).numpy()])
    return enlarge(torch.from_numpy(filled).movedim(0, axial), grid.shape)


def found_mask(frame: Frame, blocks: Iterable[Block]) -> Tensor:
    """Where blocks of the network's own voxels hold anything, and some space around."""
    found = torch.zeros(frame.shape, dtype=torch.bool)
    for first, block in blocks:
        found[first : first + block.shape[1]] = torch.from_numpy(block.any(axis=0))
    coarse = F.max_pool3d(found[None].float(), COARSE, ceil_mode=True)[0]
    return enlarge(coarse.bool(), found.shape)


def enlarge(coarse: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A coarse mask with its margin, on all voxels."""
    grown = F.max_pool3d(coarse[None].float(), 2 * MARGIN + 1, 1, MARGIN)[0].bool()
    for axis, size in enumerate(shape):
        grown = grown.repeat_interleave(COARSE, dim=axis).narrow(axis, 0, size)
    return grown
