"""Looking at a whole image window by window: where windows lie, how they are blended, and labels slab by slab.

Placement and weights are those of nnU-Net (Isensee et al. 2021). What is blended may be the features before a last
linear layer, which gives the same as blending its outputs: then a hundred classes cost no more memory than one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise, product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Shape = tuple[int, int, int]
SLAB_BYTES = 2**29  # of 32 bit sums; a larger slab is summed in 16 bit, which nnU-Net always does
BATCH_VOXELS = 128**3  # windows go through the network together up to this size
BLOCK_VALUES = 2**22  # values that are resampled at one time
READ_VOXELS = 2**13  # voxels whose classes are compared at one time, so that they stay in the processor's cache

Encode = Callable[[Tensor], Tensor]  # windows (B, C, i, j, k) -> what is blended (B, i, j, k, F)


def starts(size: int, patch: int, step: float) -> list[int]:
    """Where windows of `patch` voxels begin along an axis: evenly, at most `step` windows apart, up to both ends."""
    if size <= patch:
        return [0]
    last = int(np.ceil((size - patch) / (patch * step)))
    return list(dict.fromkeys(int(np.round((size - patch) / last * n)) for n in range(last + 1)))


def bell(patch: int) -> NDArray[np.float64]:
    """The weight of each voxel along one axis of a window: a gaussian of an eighth of the window, 1 in the middle."""
    from scipy import ndimage

    impulse = np.zeros(patch)
    impulse[patch // 2] = 1
    weight = ndimage.gaussian_filter1d(impulse, patch / 8, mode="constant")
    return weight / weight.max()


def shares(size: int, patch: int, step: float) -> dict[int, Tensor]:
    """For each start along one axis the part that its window has in each of its voxels, so that all parts add to 1."""
    weight, begins = bell(patch), starts(size, patch, step)
    total = np.zeros(max(size, patch))
    for begin in begins:
        total[begin : begin + patch] += weight
    return {begin: torch.tensor(weight / total[begin : begin + patch], dtype=torch.float32) for begin in begins}


def half_weights(patch: Shape) -> Tensor:
    """nnU-Net's weights (i, j, k) in 16 bit: 10 in the middle, and nowhere zero."""
    i, j, k = (bell(size) for size in patch)
    weight = torch.tensor(10 * i[:, None, None] * j[:, None] * k).half()
    return torch.where(weight == 0, weight[weight > 0].min(), weight)


@torch.inference_mode()
def blend_in_half(pixels: Tensor, encode: Encode, patch: Shape, step: float) -> Tensor:
    """The blended image (i, j, k, F) in nnU-Net's own arithmetic, rounding to 16 bit at each window.

    Far from a window's middle the weights vanish in 16 bit: along the edges of the image the sums are noise.
    """
    padded, before = pad(pixels, patch)
    weight = half_weights(patch)[..., None]
    total = norm = torch.zeros(0)
    for at in product(*(starts(*sizes, step) for sizes in zip(padded.shape[1:], patch, strict=True))):
        where = tuple(slice(begin, begin + size) for begin, size in zip(at, patch, strict=True))
        seen = encode(padded[(slice(None), *where)][None])[0] * weight
        if not len(norm):
            total = torch.zeros(*padded.shape[1:], seen.shape[-1], dtype=torch.float16)
            norm = torch.zeros_like(total[..., :1])
        total[where] += seen
        norm[where] += weight
    i, j, k = (slice(n, n + size) for n, size in zip(before, pixels.shape[1:], strict=True))
    return (total / norm)[i, j, k]


def pad(pixels: Tensor, patch: Shape) -> tuple[Tensor, Shape]:
    """The image filled up with zeros to the size of a window, evenly on both sides, and how many came before it."""
    gaps = [max(0, size - n) for size, n in zip(patch, pixels.shape[1:], strict=True)]
    i, j, k = (gap // 2 for gap in gaps)
    sides = [side for gap in reversed(gaps) for side in (gap // 2, gap - gap // 2)]
    return F.pad(pixels, sides), (i, j, k)


def mirrored(network: Callable[[Tensor], Tensor], axes: Iterable[int]) -> Callable[[Tensor], Tensor]:
    """A network (B, C, i, j, k) -> (B, F, i, j, k) that answers with the mean over all flips along some of `axes`."""
    kept = [2 + axis for axis in axes]
    flips = [dims for count in range(len(kept) + 1) for dims in combinations(kept, count)]

    def mean(windows: Tensor) -> Tensor:
        total = network(windows)
        for dims in flips[1:]:
            total = total + network(windows.flip(dims)).flip(dims)
        return total / len(flips)

    return mean


@dataclass(frozen=True)
class Slab:
    """Finished planes (t, j, k, F) from plane `first` on; valid until the next slab is asked for.

    A slab begins with the last plane of the one before it; after a `closed` one comes nothing, or a gap.
    """

    first: int
    planes: Tensor
    closed: bool


@torch.inference_mode()
def blend(pixels: Tensor, encode: Encode, patch: Shape, step: float, mask: Tensor | None = None) -> Iterator[Slab]:
    """The blended image, finished slab by slab along the first axis.

    Windows without a voxel of `mask` (i, j, k) are left out; only where it is `covered` the blend means something.
    """
    padded, before = pad(pixels, patch)
    wanted = pad(torch.ones_like(pixels[:1], dtype=torch.bool) if mask is None else mask[None], patch)[0][0]
    depth, *across = patch
    along = [shares(*sizes, step) for sizes in zip(padded.shape[1:], patch, strict=True)]
    batch = max(1, BATCH_VOXELS // (patch[0] * patch[1] * patch[2]))
    begins = [*along[0], padded.shape[1]]
    rows = {i: windows_of(wanted[i : i + depth], along, patch) for i in along[0]}
    reaches = np.maximum.accumulate([i + depth if rows[i] else 0 for i in along[0]] + [0]).tolist()
    total = torch.zeros(0)  # the last finished plane, then those that a window at `i` reaches
    for n, (i, following) in enumerate(pairwise(begins)):
        for some in (rows[i][m : m + batch] for m in range(0, len(rows[i]), batch)):
            windows = [padded[:, i : i + depth, j : j + across[0], k : k + across[1]] for j, k in some]
            for (j, k), seen in zip(some, encode(torch.stack(windows)), strict=True):
                if not len(total):
                    floats = depth * padded.shape[2] * padded.shape[3] * seen.shape[-1]
                    dtype = torch.float16 if 4 * floats > SLAB_BYTES else torch.float32
                    total = torch.zeros(depth + 1, *padded.shape[2:], seen.shape[-1], dtype=dtype, device=seen.device)
                weight = along[0][i][:, None, None] * along[1][j][:, None] * along[2][k]
                total[1:, j : j + across[0], k : k + across[1]] += seen.mul_(weight[..., None].to(seen)).to(dtype)
        if i < reaches[n]:
            low = i - 1 if n and i <= reaches[n - 1] else i
            low, high = max(low, before[0]), min(following, before[0] + pixels.shape[1])
            planes = total[low - i + 1 : high - i + 1, before[1] :, before[2] :]
            planes = planes[:, : pixels.shape[2], : pixels.shape[3]]
            yield Slab(low - before[0], planes, following >= reaches[n + 1] or following == begins[-1])
        for plane in range(len(total)):  # one by one, since a copy of all would double the memory
            ahead = plane + following - i
            total[plane] = total[ahead] if ahead < len(total) else 0


def covered(mask: Tensor, patch: Shape, step: float) -> Tensor:
    """Where (i, j, k) `blend` with this mask leaves no window out, so that what it gives means something."""
    wanted, before = pad(mask[None], patch)
    whole = torch.ones_like(wanted[0])
    for at in product(*(starts(*sizes, step) for sizes in zip(wanted.shape[1:], patch, strict=True))):
        window = tuple(slice(begin, begin + size) for begin, size in zip(at, patch, strict=True))
        if not wanted[0][window].any():
            whole[window] = False
    i, j, k = (slice(n, n + size) for n, size in zip(before, mask.shape, strict=True))
    return whole[i, j, k]


def windows_of(wanted: Tensor, along: list[dict[int, Tensor]], patch: Shape) -> list[tuple[int, int]]:
    """The starts along the last two axes of the windows in a row that hold a wanted voxel."""
    flat = wanted.any(dim=0)
    places = product(along[1], along[2])
    return [(j, k) for j, k in places if flat[j : j + patch[1], k : k + patch[2]].any()]


def read_slabs(
    slabs: Iterable[Slab],
    shape: Shape,
    output: Shape,
    read: Callable[[Tensor], Tensor],
    nearest: int | None = None,
) -> Iterator[tuple[int, NDArray]]:
    """What `read` makes of blended voxels, resampled linearly to `output` voxels over the same extent, plane by plane.

    `read` maps (N, F) to (N, P); blocks are (P, t, j, k), each with its first plane, and planes in a gap are missing.
    Along the axis `nearest` the nearest voxel counts instead.
    """
    positions = [resampled(n, size, axis == nearest) for axis, (n, size) in enumerate(zip(shape, output, strict=True))]
    done = -1.0  # up to where the output is finished
    for slab in slabs:
        base, last = slab.first, slab.first + len(slab.planes) - 1
        upto = last + 0.5 if slab.closed else last
        begin, end = torch.searchsorted(positions[0], torch.tensor([max(done, base - 0.5), upto]).double(), right=True)
        some = max(1, BLOCK_VALUES // (output[1] * output[2] * slab.planes.shape[-1]))
        for start in range(int(begin), int(end), some):
            at = (positions[0][start : min(start + some, int(end))] - base).clamp(0, last - base)
            floor = at.floor().long()
            below, above = (slab.planes[index].float() for index in (floor, (floor + 1).clamp(max=last - base)))
            block = torch.lerp(below, above, (at - floor).view(-1, 1, 1, 1).to(above))
            block = resize_planes(block, output, positions, nearest)
            found = torch.cat([read(part) for part in block.reshape(-1, block.shape[-1]).split(READ_VOXELS)])
            yield start, found.view(*block.shape[:3], -1).permute(3, 0, 1, 2).cpu().numpy()
        done = upto


def resampled(size: int, output: int, nearest: bool = False) -> Tensor:
    """Where `output` voxels over the same extent lie among `size` voxels, the outermost held to the centres."""
    at = ((torch.arange(output, dtype=torch.float64) + 0.5) * (size / output) - 0.5).clamp(0, size - 1)
    return (at + 0.5).floor().clamp(max=size - 1) if nearest else at


def resize_planes(block: Tensor, output: Shape, positions: list[Tensor], nearest: int | None) -> Tensor:
    """Planes (t, j, k, F) resampled to the output's last two axes, linearly but for the axis `nearest`."""
    sizes = [block.shape[axis] if axis == nearest else output[axis] for axis in (1, 2)]
    if sizes != list(block.shape[1:3]):
        # Channels last: three times as fast.
        block = F.interpolate(block.permute(0, 3, 1, 2), sizes, mode="bilinear").permute(0, 2, 3, 1)
    if nearest in (1, 2):
        block = block.index_select(nearest, positions[nearest].long().to(block.device))
    return block
