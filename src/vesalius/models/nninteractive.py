"""nnInteractive: a 3D residual U-Net that sees the image, what was drawn on it, and its own last mask as channels.

nnInteractive: Redefining 3D Promptable Segmentation, Isensee et al. 2025, arXiv:2503.08373. Code: Apache-2.0; the
released weights: CC BY-NC-SA 4.0.

What the user said is kept as a list of small `Mark`s and drawn anew into every patch that the network looks at, so that
no volume of channels is ever held. Older marks are fainter. Where the answer reaches the border of the patch, a larger
part of the image is looked at more coarsely (zoom), and what changed is then refined in patches at full resolution.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise, product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vesalius.answer import Answer
from vesalius.errors import PromptError
from vesalius.grid import PLANES, Grid
from vesalius.layers.unet import Unet, UnetSizes
from vesalius.prompts import Box, Lasso, MaskHint, Point, Prompt, Scribble
from vesalius.scene import Cues, Scene, View, fill_outline
from vesalius.volume import Volume

ORIENTATION = "SPL"  # slices first, then rows and columns: an axial series as the original's readers store it
CONTEXT = 3  # the patch shows at least this part (1 / 3) of its size around what was drawn
LARGEST_ZOOM, ZOOM_STEP = 4.0, 1.5
BORDER_CHANGED = 1500  # voxels of one face of the patch that changed: zoom out
BORDER_GREW, GROWTH = 100, 0.2  # ... or so many, if its area changed by more than this part
SMALLEST_CHANGE = 5  # voxels: thinner changes are not refined
RIM = 8  # the outer eighth of a refining patch is left to its neighbours
LARGEST_HALF = 65504.0  # of the 16-bit floats in which the original keeps what was drawn
SLAB = 16  # planes of an image whose statistics are summed at one time

Triple = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Mark:
    """Something drawn: `values` in [0, 1] from index `start` on, for one channel of the network's input.

    The patch that shows it is centred on the middle of `low` and `high`, between which it lies.
    """

    channel: int
    start: NDArray[np.int64]
    values: NDArray[np.float32]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    strength: float = 1.0


@dataclass(frozen=True, eq=False)
class Case:
    """An image `(C, i, j, k)` with the statistics that normalise it, the marks on it, and the mask so far."""

    image: NDArray
    mean: float
    std: float
    marks: tuple[Mark, ...]
    mask: NDArray[np.bool_]


class NnInteractive(nn.Module):
    """A released model; `options` are what its folder states (`zoo.nninteractive.released_card`).

    The network's input is the image and `inputs` channels. Of these, `channels` names one for `prev_seg`, and a
    positive and a negative one for each kind of prompt that it knows (bbox2d, bbox3d, lasso, points, scribble).
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.patch = np.array(options["patch"])
        self.channels: dict[str, Any] = dict(options["channels"])
        self.decay = float(options["decay"])
        self.radius = tuple(options["point_radius"])
        self.thickness = tuple(options["scribble_thickness"])
        self.largest_zoom = LARGEST_ZOOM  # 1 switches the zooming out off
        self.precision = "fp32"
        self.inputs = int(options["inputs"])
        self.stride = np.prod(options["sizes"]["strides"], axis=0)
        self.network = Unet(UnetSizes(1 + self.inputs, 2, **options["sizes"], residual=True))

    def run(self, scene: Scene) -> Iterator[Answer]:
        """The mask of one target after the last round, which one prediction answers."""
        image = scene.image.orient(ORIENTATION)
        normal = ORIENTATION.index(PLANES[scene.plane][2])
        rounds = scene.rounds[last_start(scene.rounds) :]
        drawn = [
            [self.mark(prompt, image.grid, normal) for prompt in said if not starts_anew(prompt)] for said in rounds
        ]
        new = drawn[-1]
        mean, std = scene.memo("statistics", lambda: statistics(image.voxels))
        marks = self.fade([mark for said in drawn for mark in said])
        case = Case(image.voxels, mean, std, marks, mask_before(scene, image.grid))
        if new:
            mask = self.segment(case, np.min([m.low for m in new], axis=0), np.max([m.high for m in new], axis=0))
        else:
            mask = self.refine_all(case)
        scene.notes["mask"] = np.packbits(mask)
        yield Answer(Volume(mask[None], image.grid), (scene.target,), 0.5)

    def forward(self, view: View) -> Tensor:
        """Mask logits (1, i, j, k) on the view's grid, differentiable; positive inside."""
        shape = np.array(view.grid.shape)
        size = np.maximum(-(-shape // self.stride) * self.stride, self.patch)
        mask = np.zeros(shape, bool) if view.cues.mask is None else view.cues.mask
        marks = self.fade(list(self.marks_of_cues(view.cues, view.grid.shape)))
        seen = self.look(Case(view.pixels, *statistics(view.pixels), marks, mask), np.zeros(3, int), size)
        logits = self.network(seen[None])[0]
        i, j, k = shape
        return (logits[1:] - logits[:1])[:, :i, :j, :k]

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of an official file under our names; nnU-Net registers its modules under several."""
        return {
            f"network.{name.removeprefix('network.')}": tensor
            for name, tensor in state.items()
            if not name.startswith("decoder.encoder.") and ".all_modules." not in name
        }

    def fade(self, marks: Sequence[Mark]) -> tuple[Mark, ...]:
        """Marks in the order they were made, each fainter than the next by the decay.

        As in the original the newest one is the strongest of all so far, and the network sees all divided by it: how
        16 bits round depends on it.
        """
        newest = 1.0
        for _ in marks:
            newest = newest / self.decay if newest / self.decay <= LARGEST_HALF else LARGEST_HALF / 10
        last = len(marks) - 1
        return tuple(replace(mark, strength=newest * self.decay ** (last - n)) for n, mark in enumerate(marks))

    def mark(self, prompt: Prompt, grid: Grid, normal: int) -> Mark:
        """One prompt as a mark; `normal` is the index axis across the plane in which the user looks."""
        match prompt:
            case Point(at=at, positive=positive):
                return self.point_mark(grid.index(at), positive, grid.shape)
            case Box(positive=positive):
                index = grid.index(prompt.corners())
                return self.box_mark(index.min(axis=0), index.max(axis=0), positive, grid.shape, normal)
            case Scribble(points=points, positive=positive):
                return self.scribble_mark(grid.index(points), positive, grid.shape, normal)
            case Lasso(outline=outline, positive=positive):
                return drawn_mark(self.channels["lasso"][not positive], *lasso_area(grid.index(outline), grid, normal))
            case MaskHint(mask=mask):  # a positive one is what to start from; this one says where the target is not
                outside = mask.to(grid, order=0).voxels[0] > 0.5
                return drawn_mark(self.channels["lasso"][1], np.zeros(3, int), outside)
        raise TypeError(f"nnInteractive cannot draw {prompt}")

    def marks_of_cues(self, cues: Cues, shape: Triple) -> Iterator[Mark]:
        """The marks of prompts that are given in the indices of a view."""
        for at, positive in zip(cues.points, cues.positive, strict=True):
            yield self.point_mark(at, bool(positive), shape)
        for low, high in cues.boxes:
            yield self.box_mark(low, high, True, shape, 2)
        for line, positive in cues.strokes:
            yield self.scribble_mark(line, positive, shape, 2)

    def point_mark(self, index: NDArray, positive: bool, shape: Triple) -> Mark:
        """A ball that fades outwards from the voxel of a click."""
        centre = np.rint(index).astype(int)
        ball = point_ball(self.radius)
        start, values = clip_block(centre - np.array(ball.shape) // 2, ball, shape)
        return Mark(self.channels["points"][not positive], start, values, centre, centre)

    def box_mark(self, low: NDArray, high: NDArray, positive: bool, shape: Triple, normal: int) -> Mark:
        """A filled box; of one with depth only its middle slice, where the checkpoint knows only flat ones."""
        low = np.clip(np.rint(low), 0, np.array(shape) - 1).astype(int)
        high = np.clip(np.rint(high), low, np.array(shape) - 1).astype(int)
        flat = (low == high).any()
        if not flat and "bbox3d" not in self.channels:
            low[normal] = high[normal] = (low[normal] + high[normal]) // 2
            flat = True
        kind = "bbox2d" if flat and "bbox2d" in self.channels else "bbox3d"
        if kind not in self.channels:
            raise PromptError("This checkpoint takes boxes with depth only; give two corners in different slices.")
        values = np.ones(high - low + 1, np.float32)
        return Mark(self.channels[kind][not positive], low, values, low, high + 1)

    def scribble_mark(self, line: NDArray, positive: bool, shape: Triple, normal: int) -> Mark:
        """A line as thick as the checkpoint likes it, within its slice."""
        steps = [np.linspace(a, b, 2 + int(2 * np.abs(b - a).max())) for a, b in pairwise(line)]
        path = np.clip(np.rint(np.concatenate([line, *steps])), 0, np.array(shape) - 1).astype(int)
        around = np.array(self.thickness) // 2
        around[slice_axis(path, normal)] = 0
        low = path.min(axis=0) - around
        area = np.zeros(path.max(axis=0) + around + 1 - low, bool)
        for shift in product(*(range(-n, n + 1) for n in around)):
            area[tuple((path - low + shift).T)] = True
        return drawn_mark(self.channels["scribble"][not positive], *clip_block(low, area, shape))

    def segment(self, case: Case, low: NDArray, high: NDArray, everything: bool = False) -> NDArray[np.bool_]:
        """The mask after one look at what lies between two indices: as far out as needed, then refined.

        Refined is what changed, or `everything`.
        """
        centre = np.rint((low + high) / 2).astype(int)
        zoom = float(np.clip(((high - low + self.patch // CONTEXT) / self.patch).max(), 1, self.largest_zoom))
        while True:
            size = zoomed(self.patch, zoom)
            start = centre - size // 2
            inside = self.predict(self.look(case, start, self.patch, zoom))
            before = sample_nearest(case.mask, start, size, self.patch)
            if zoom == self.largest_zoom or not border_changed(inside, before):
                break
            zoom = min(self.largest_zoom, zoom * ZOOM_STEP)
        if zoom == 1:
            mask = case.mask.copy()
            paste(mask, inside, start)
            return mask
        coarse = case.mask.copy()
        paste(coarse, enlarge(inside, size), start)
        changed = open_changes(coarse != case.mask)
        windows = plan_windows(changed | case.mask if everything else changed, self.patch)
        return self.refine(replace(case, mask=coarse), case.mask, windows or [centre - self.patch // 2])

    def refine(self, case: Case, mask: NDArray[np.bool_], windows: Sequence[NDArray]) -> NDArray[np.bool_]:
        """`mask` with the coarse one, that of `case`, in the box around all windows, which are looked at from near.

        Each patch at full resolution sees the coarse mask and the patches before it. What lies between the windows
        stays coarse, so that what is too thin to be refined is not lost.
        """
        for start in windows:
            paste(case.mask, self.predict(self.look(case, start, self.patch)), start)
        low = np.maximum(np.min(windows, axis=0), 0)
        box = tuple(map(slice, low, np.maximum(np.max(windows, axis=0) + self.patch, low)))
        mask = mask.copy()
        mask[box] = case.mask[box]
        return mask

    def refine_all(self, case: Case) -> NDArray[np.bool_]:
        """A mask that the user gave, looked at as a whole."""
        low, high = bounds(case.mask)
        return self.segment(case, low, high, everything=True) if (high > low).all() else case.mask

    def look(self, case: Case, start: NDArray, patch: NDArray, zoom: float = 1.0) -> Tensor:
        """The network's input (channels, *patch): the image from index `start` on, `zoom` voxels in one, and the marks.

        Outside of the image all channels are 0.
        """
        size = zoomed(patch, zoom)
        seen = torch.zeros(1 + self.inputs, *patch.tolist())
        (image, mask), offset = cut([case.image, case.mask[None]], start, size)
        normal = (image.astype(np.float32).mean(axis=0) - np.float32(case.mean)) / np.float32(case.std)
        seen[0] = interpolate(normal, offset, size, patch)
        seen[1 + self.channels["prev_seg"]] = average(mask[0], offset, size, patch)
        thin = [*self.channels["points"], *self.channels["scribble"]]
        for channel in {mark.channel for mark in case.marks}:
            reach = int(zoom - 0.5) if channel in thin else 0
            block, low = draw([mark for mark in case.marks if mark.channel == channel], start, size, reach)
            seen[1 + channel] = average(block, low, size, patch) / case.marks[-1].strength
        return seen.to(next(self.parameters()).device)

    @torch.inference_mode()
    def predict(self, seen: Tensor) -> NDArray[np.bool_]:
        """Where the network sees the target in its input (channels, *patch)."""
        with torch.autocast(seen.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = self.network(seen[None])[0]
        inside: NDArray[np.bool_] = (logits[1] > logits[0]).cpu().numpy()
        return inside


def starts_anew(prompt: Prompt) -> bool:
    """Whether a prompt is a mask to start from: what was said before it is forgotten."""
    return isinstance(prompt, MaskHint) and prompt.positive


def last_start(rounds: Sequence[Sequence[Prompt]]) -> int:
    """The last round that gives a mask to start from, or else the first."""
    return max((n for n, said in enumerate(rounds) if any(map(starts_anew, said))), default=0)


def mask_before(scene: Scene, grid: Grid) -> NDArray[np.bool_]:
    """The mask that the last round starts from (i, j, k): given in it, or the answer to the round before."""
    given = [prompt.mask for prompt in scene.rounds[-1] if isinstance(prompt, MaskHint) and prompt.positive]
    if given:
        return np.logical_or.reduce([mask.to(grid, order=0).voxels[0] > 0.5 for mask in given])
    if "mask" not in scene.notes:
        return np.zeros(grid.shape, bool)
    return np.unpackbits(scene.notes["mask"], count=int(np.prod(grid.shape))).reshape(grid.shape).view(bool)


def statistics(image: NDArray) -> tuple[float, float]:
    """Mean and standard deviation of the box around all voxels that are not 0, the zeros in it included."""
    if len(image) not in (1, 3):
        raise PromptError(f"This model looks at grey or RGB images; yours has {len(image)} channels: choose one.")
    low, high = bounds((image != 0).any(axis=0))
    box = image[(slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))]
    count = max(int(np.prod(high - low)), 1)
    # Slab by slab, since a float64 copy of a whole volume is large.
    slabs = [box[:, n : n + SLAB] for n in range(0, box.shape[1], SLAB)]
    mean = sum(float(slab.mean(axis=0, dtype=np.float64).sum()) for slab in slabs) / count
    squares = sum(float(((slab.mean(axis=0, dtype=np.float64) - mean) ** 2).sum()) for slab in slabs)
    return mean, max(float(np.sqrt(squares / max(count - 1, 1))), 1e-8)


@cache
def point_ball(radius: Triple) -> NDArray[np.float32]:
    """A ball or ellipsoid of these radii in voxels: the distance to its surface, 1 in the middle."""
    from scipy import ndimage

    largest = max(radius)
    away = np.arange(-largest, largest + 1) ** 2
    ball = away[:, None, None] + away[None, :, None] + away[None, None, :] <= largest**2
    shape = [2 * r + 1 for r in radius]
    stretched = F.interpolate(torch.tensor(ball[None, None], dtype=torch.float32), shape, mode="trilinear")
    depth = ndimage.distance_transform_edt(stretched[0, 0].numpy() >= 0.5)
    return (depth / depth.max()).astype(np.float32)


def drawn_mark(channel: int, start: NDArray, area: NDArray[np.bool_]) -> Mark:
    """A mark of any shape; `area` (i, j, k) begins at index `start`."""
    low, high = bounds(area)
    part = area[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
    return Mark(channel, start + low, part, start + low, start + high)


def lasso_area(outline: NDArray, grid: Grid, normal: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The slice that a lasso is drawn in, with its inside: the index of its first voxel, and the area (i, j, k)."""
    axis = slice_axis(outline, normal)
    if np.ptp(outline[:, axis]) > 1:
        raise PromptError("The lasso is not drawn in one slice of the image; draw it in one.")
    others = [n for n in range(3) if n != axis]
    start = np.zeros(3, int)
    start[axis] = np.clip(np.rint(outline[:, axis].mean()), 0, grid.shape[axis] - 1)
    rows, columns = (grid.shape[n] for n in others)
    # Rounded, so that the arithmetic of an affine does not decide on which side of an edge a voxel is.
    inside = fill_outline(np.round(outline[:, others], 4), (rows, columns))
    return start, np.expand_dims(inside, axis)


def slice_axis(path: NDArray, normal: int) -> int:
    """The axis along which a path does not leave its slice: the user's own, if the path is in such a slice."""
    return normal if np.ptp(path[:, normal]) <= 1 else int(np.argmin(np.ptp(path, axis=0)))


def bounds(area: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first index of the voxels that are true, and the index after their last; both 0 where there are none."""
    filled = [np.flatnonzero(area.any(axis=tuple(n for n in range(3) if n != axis))) for axis in range(3)]
    if not filled[0].size:
        return np.zeros(3, int), np.zeros(3, int)
    return np.array([at[0] for at in filled]), np.array([at[-1] + 1 for at in filled])


def clip_block(start: NDArray, values: NDArray, shape: Sequence[int] | NDArray) -> tuple[NDArray[np.int64], NDArray]:
    """The part of a block from index `start` on that lies inside `shape`, and where it begins."""
    low = np.clip(start, 0, shape)
    high = np.clip(start + values.shape, low, shape)
    return low, values[tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))]


def cut(arrays: Iterable[NDArray], start: NDArray, size: NDArray) -> tuple[list[NDArray], NDArray[np.int64]]:
    """Of arrays (C, i, j, k) what lies within `size` voxels from `start` on, and where in that crop it begins."""
    arrays = list(arrays)
    low = np.clip(start, 0, arrays[0].shape[1:])
    high = np.clip(start + size, low, arrays[0].shape[1:])
    block = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return [array[(slice(None), *block)] for array in arrays], low - start


def paste(target: NDArray, values: NDArray, start: NDArray) -> None:
    """Replace what lies from index `start` on; values outside of the target are dropped."""
    low, values = clip_block(start, values, target.shape)
    target[tuple(slice(a, a + n) for a, n in zip(low, values.shape, strict=True))] = values


def draw(
    marks: Sequence[Mark], start: NDArray, size: NDArray, reach: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The marks of one channel within a crop, the strongest on top, spread by `reach` voxels: a block and its start."""
    from scipy import ndimage

    parts = [(mark.strength, *clip_block(mark.start - start, mark.values, size)) for mark in marks]
    parts = [part for part in parts if part[2].size]
    if not parts:
        return np.zeros((0, 0, 0), np.float32), np.zeros(3, int)
    low = np.maximum(np.min([at for _, at, _ in parts], axis=0) - reach, 0)
    high = np.minimum(np.max([at + values.shape for _, at, values in parts], axis=0) + reach, size)
    block = np.zeros(high - low, np.float32)
    for strength, at, values in parts:
        here = block[tuple(slice(a, a + n) for a, n in zip(at - low, values.shape, strict=True))]
        np.maximum(here, strength * values, out=here)
    # Thin marks would fade away where many voxels become one.
    return (ndimage.maximum_filter(block, 2 * reach + 1) if reach else block), low


def zoomed(patch: NDArray, zoom: float) -> NDArray[np.int64]:
    """How many voxels of the image a patch shows."""
    return np.rint(patch * zoom).astype(int)


def interpolate(block: NDArray[np.float32], low: NDArray, size: NDArray, patch: NDArray) -> Tensor:
    """A crop of which only a block from `low` on is not 0, interpolated linearly between the outer faces.

    One matrix for each axis does it, so that the crop, which may be much larger than the image, is never held.
    """
    resized = torch.from_numpy(np.ascontiguousarray(block))
    for start, n, wanted in zip(low.tolist(), size.tolist(), patch.tolist(), strict=True):
        at = np.clip((np.arange(wanted) + 0.5) * n / wanted - 0.5, 0, n - 1)
        neighbours = start + np.arange(len(resized))
        weights = torch.tensor(np.maximum(0, 1 - np.abs(at[:, None] - neighbours)), dtype=torch.float32)
        resized = torch.tensordot(resized, weights, dims=([0], [1]))
    return resized


def average(block: NDArray, low: NDArray, size: NDArray, patch: NDArray) -> Tensor:
    """The averages over a crop of what is 0 but for a block from `low` on; in 16 bits, as the original adds them."""
    if not block.any():
        return torch.zeros(*patch.tolist())
    crop = torch.zeros(*size.tolist(), dtype=torch.half)
    paste(crop.numpy(), block, low)
    return crop if (size == patch).all() else F.interpolate(crop[None, None], patch.tolist(), mode="area")[0, 0]


def sample_nearest(mask: NDArray[np.bool_], start: NDArray, size: NDArray, patch: NDArray) -> NDArray[np.bool_]:
    """A mask within a crop, one voxel of it for each of the patch; false outside."""
    at = [s + np.arange(n) * full // n for s, full, n in zip(start, size, patch, strict=True)]
    known = [(index >= 0) & (index < n) for index, n in zip(at, mask.shape, strict=True)]
    sampled = mask[np.ix_(*(np.clip(index, 0, n - 1) for index, n in zip(at, mask.shape, strict=True)))]
    return sampled & known[0][:, None, None] & known[1][:, None] & known[2]


def enlarge(inside: NDArray[np.bool_], size: NDArray) -> NDArray[np.bool_]:
    """A patch's mask on the voxels of the crop that it shows."""
    shape = np.array(inside.shape)
    return (interpolate(inside.astype(np.float32), np.zeros(3, int), shape, size) >= 0.5).numpy()


def border_changed(inside: NDArray[np.bool_], before: NDArray[np.bool_]) -> bool:
    """Whether a mask differs so much from the one before at a face of the patch that it must go on outside."""
    for axis, end in product(range(3), (0, -1)):
        new, old = inside.take(end, axis), before.take(end, axis)
        different, smaller, larger = (new != old).sum(), *sorted((new.sum(), old.sum()))
        if different > BORDER_CHANGED or (different > BORDER_GREW and larger > (1 + GROWTH) * smaller):
            return True
    return False


def open_changes(changed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Changes without those that are thinner than `SMALLEST_CHANGE` voxels."""
    from scipy import ndimage

    opened = ndimage.grey_opening(changed.view(np.uint8), SMALLEST_CHANGE, mode="nearest")
    return opened.astype(bool)


def plan_windows(area: NDArray[np.bool_], patch: NDArray) -> list[NDArray[np.int64]]:
    """Where patches begin whose inner parts tile the area, those that hold most of it first."""
    low, high = bounds(area)
    inner = patch - 2 * (patch // RIM)
    counts = -(-(high - low) // inner)
    first = low - (counts * inner - (high - low)) // 2
    held = []
    for at in product(*map(range, counts)):
        start = first + np.array(at) * inner
        (part,), _ = cut([area[None]], start, inner)
        held.append((int(part.sum()), start - patch // RIM))
    return [start for count, start in sorted(held, key=lambda each: -each[0]) if count]
