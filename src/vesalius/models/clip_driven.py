"""CLIP-Driven Universal Model: text features of each structure's name make the output layer that looks for it.

Liu et al., ICCV 2023, arXiv:2301.00785; code and weights CC BY-NC-ND 4.0. Written from the paper and from recordings of
what the original puts out. Its U-Net is that of Models Genesis, Zhou et al. 2019; Swin UNETR is in `layers.swin_3d`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vesalius.answer import Answer
from vesalius.errors import PromptError
from vesalius.grid import Grid
from vesalius.layers.swin_3d import SwinUnetr
from vesalius.look_frame import Block, Frame, blocks_within, body_mask, box_mask, found_mask, slab_order, voxels_of
from vesalius.look_windows import Shape
from vesalius.scene import Scene, View
from vesalius.volume import Volume

AXES = "RAS"  # the directions in which the network's axes run
HIDDEN = 8  # channels of the layers that a name makes
GROUPS = 16  # of the group norms in front of the head
VOXELS = 2**13  # whose logits are computed at one time, so that their hidden layers stay in the processor's cache
STAGES = 4  # of the U-Net
BARE = re.compile(r"swinViT|encoder|decoder")  # a backbone's names in the released Swin UNETR file
AROUND_MM = 3.0  # a tumour may stick out of its organ by so much

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class OrganRule:
    """What anatomy says of masks: the rule's name, the structures that it changes, and those that it is `given`."""

    name: str
    changed: tuple[str, ...]
    given: tuple[str, ...] = ()


class ClipDriven(nn.Module):
    """A backbone, and a bank of text features with one row for each structure; masks may overlap.

    `options`: `backbone` ("unet" or "swin_unetr"), its finest `width` and the attention `heads` of its stages; how many
    features a `text` has ("A computerized tomography of a NAME", by CLIP ViT-B/32: 512), and to how many those of the
    text and those of a window are reduced (`shared`); `outputs`, the structure of each row; `thresholds`, the
    probabilities beyond which some of them are there (else 0.5); `rules`, applied in order; `spacing_mm`, the window
    `patch`, and the `normalisation` of the only channel: the values that become 0 and 1; the `step` between windows.
    """

    organ_embedding: Tensor

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        width, text, shared = options["width"], options["text"], options["shared"]
        swin = options["backbone"] == "swin_unetr"
        self.backbone = SwinUnetr(1, width, tuple(options["heads"])) if swin else GenesisUnet(1, width)
        deepest = (16 if swin else 8) * width
        self.stride = 32 if swin else 2 ** (STAGES - 1)  # sides of a window are multiples of this
        self.precls_conv = nn.Sequential(nn.GroupNorm(GROUPS, width), nn.ReLU(), nn.Conv3d(width, HIDDEN, 1))
        self.GAP = nn.Sequential(
            nn.GroupNorm(GROUPS, deepest), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Conv3d(deepest, shared, 1)
        )
        self.text_to_vision = nn.Linear(text, shared)
        self.controller = nn.Conv3d(2 * shared, sum(LAYERS), 1)
        self.outputs = tuple(options["outputs"])
        self.register_buffer("organ_embedding", torch.randn(len(self.outputs), text))
        self.patch, self.spacing_mm = tuple(options["patch"]), float(options["spacing_mm"])
        (window,) = options["normalisation"]
        self.low, self.high = float(window["low"]), float(window["high"])
        given = {name: options.get("thresholds", {}).get(name, 0.5) for name in self.outputs}
        self.levels = torch.tensor([math.log(p / (1 - p)) for p in given.values()])  # the thresholds of logits
        self.rules = [OrganRule(name, tuple(changed), tuple(by)) for name, changed, by in options["rules"]]
        self.step = float(options.get("step", 0.5))
        self.precision = "fp32"

    def run(self, scene: Scene) -> Iterator[Answer]:
        """The structures asked for, one after the other on the image's own voxels."""
        codes, start, depth, bits = scene.memo((scene.structures, scene.region), lambda: self.look(scene))
        grid = scene.image.grid.orient(codes)
        for name, packed in zip(scene.structures, bits, strict=True):
            mask = unpack(packed, depth)
            yield Answer(Volume(mask[None], grid.crop(start, mask.shape)), (name,), 0.5)

    def look(self, scene: Scene) -> tuple[str, list[int], int, NDArray[np.uint8]]:
        """The masks as bits (T, i, j, k / 8), their storage order, where they start and how many voxels k are."""
        frame = self.frame(scene.image)
        low, high = voxels_of(scene.region, frame.grid)
        mask = frame.body & box_mask(frame, low, high)
        names = self.needed(scene.structures)
        if len(names) < len(self.outputs) and frame.first_look_pays(self.step):
            scene.progress("looking for " + ", ".join(scene.structures[:3]))
            mask &= found_mask(frame, self.read(frame, frame.shape, mask, 1.0, names))
        height, width, depth = (int(size) for size in high - low)
        bits = np.zeros((len(names), height, width, -(-depth // 8)), np.uint8)
        blocks = self.read(frame, frame.grid.shape, mask, self.step, names)
        for first, part in blocks_within(blocks, low, high):
            scene.progress(f"plane {first} of {frame.grid.shape[0]}")
            row = first - int(low[0])
            bits[:, row : row + part.shape[1]] = np.packbits(part, axis=-1)
        masks = dict(zip(names, bits, strict=True))
        tidy(masks, self.rules, frame.grid.crop(low, (height, width, depth)))
        return frame.grid.codes, low.tolist(), depth, np.stack([masks[name] for name in scene.structures])

    def needed(self, structures: Iterable[str]) -> tuple[str, ...]:
        """The structures without which the rules cannot say where these are, in the order of the bank."""
        names = set(structures)
        for rule in reversed(self.rules):
            if names & set(rule.changed):
                names |= {*rule.changed, *rule.given}
        return tuple(name for name in self.outputs if name in names)

    @torch.inference_mode()
    def read(self, frame: Frame, output: Shape, mask: Tensor, step: float, names: tuple[str, ...]) -> Iterator[Block]:
        """Blocks of `output` voxels and their first planes: where the named structures are (N, t, j, k)."""
        rows = [self.outputs.index(name) for name in names]
        levels = self.levels[rows].to(self.organ_embedding.device)
        yield from frame.read(output, mask, step, lambda windows: self.logits(windows, rows), lambda v: v > levels)

    def logits(self, windows: Tensor, rows: list[int]) -> Tensor:
        """The logits (B, N, i, j, k) of some rows of the bank in windows (B, 1, i, j, k)."""
        return self.head(*self.encode(windows), rows)

    def encode(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """What the head reads of windows (B, 1, i, j, k): a map (B, 8, i, j, k), and features of each window (B, S).

        The U-Net's batch norm takes its statistics from the windows that it is given, whatever it learned: each goes
        through it alone, so that no answer depends on which windows come together.
        """
        windows = windows.to(self.organ_embedding.device)
        with torch.autocast(windows.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            seen = [self.see(window[None]) for window in windows]
        return torch.cat([each for each, _ in seen]).float(), torch.cat([each for _, each in seen]).float()

    def see(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """As `encode`, of windows that the U-Net normalises together, as the original does."""
        deepest, finest = self.backbone(batch)
        return self.precls_conv(finest), self.GAP(deepest).flatten(1)

    def head(self, fine: Tensor, window: Tensor, rows: list[int]) -> Tensor:
        """The logits (B, N, i, j, k): for each window and row three linear layers, which their features make."""
        text = F.relu(self.text_to_vision(self.organ_embedding))
        both = [torch.cat([features.expand(len(text), -1), text], dim=1) for features in window]
        made = [self.controller(pairs[..., None, None, None]).flatten(1) for pairs in both]
        return torch.stack([classify(image, layers[rows]) for image, layers in zip(fine, made, strict=True)])

    def forward(self, view: View) -> Tensor:
        """Logits (T, i, j, k) of the bank on the view's voxels, differentiable; pixels are the image's own values."""
        axes, flips = view.grid.axis_order(AXES)
        turned = [1 + n for n, flip in enumerate(flips) if flip]
        values = Volume(view.pixels, view.grid).orient(AXES).voxels
        pixels = torch.from_numpy(self.normalise(values.astype(np.float32)))
        gaps = [max(p - n, -n % self.stride) for n, p in zip(pixels.shape[1:], self.patch, strict=True)]
        padded = F.pad(pixels, [side for gap in reversed(gaps) for side in (0, gap)])
        logits = self.logits(padded[None], list(range(len(self.outputs))))[0]
        logits = logits[:, : pixels.shape[1], : pixels.shape[2], : pixels.shape[3]].flip(turned)
        return logits.permute(0, *(1 + axes.index(axis) for axis in range(3)))

    def frame(self, image: Volume) -> Frame:
        """The image resampled linearly and scaled."""
        if len(image.voxels) != 1:
            raise PromptError(
                f"This model looks at one channel and the image has {len(image.voxels)}; give one with one."
            )
        whole = image.orient(AXES)
        i, j, k = (
            max(1, round(size * mm / self.spacing_mm))
            for size, mm in zip(whole.grid.shape, whole.grid.spacing_mm, strict=True)
        )
        order = slab_order((i, j, k), self.patch)
        codes = "".join(AXES[axis] for axis in order)
        resized = whole.to(whole.grid.resize((i, j, k)).orient(codes))
        pixels = self.normalise(resized.voxels.astype(np.float32))
        body = body_mask(pixels[0] > 0, resized.grid)
        first, second, third = (self.patch[axis] for axis in order)
        return Frame(torch.from_numpy(pixels), whole.grid.orient(codes), order, (first, second, third), body)

    def normalise(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values between `low` and `high` spread over 0 to 1, others clipped."""
        return np.clip((values - self.low) / (self.high - self.low), 0, 1)

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of an official file, of which that of Swin UNETR does not say which are the backbone's."""
        return {f"backbone.{name}" if BARE.match(name) else name: tensor for name, tensor in state.items()}


LAYERS = [HIDDEN * HIDDEN, HIDDEN * HIDDEN, HIDDEN, HIDDEN, HIDDEN, 1]  # weights of the three layers, then their biases


class GenesisUnet(nn.Module):
    """The deepest features (B, 8 * width, i / 8, ...) and the finest (B, width, i, ...) of an image (B, C, i, ...)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        for n in range(STAGES):
            before = width << n - 1 if n else channels
            self.add_module(f"down_tr{64 << n}", ConvPair(before, (width << n) // 2, width << n))
        for n in reversed(range(STAGES - 1)):
            self.add_module(f"up_tr{64 << n}", UpPair(width << n))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        skips: list[Tensor] = []
        for n in range(STAGES):
            skips.append(self.get_submodule(f"down_tr{64 << n}")(F.max_pool3d(skips[-1], 2) if n else image))
        deepest = up = skips.pop()
        for n in reversed(range(STAGES - 1)):
            up = self.get_submodule(f"up_tr{64 << n}")(up, skips.pop())
        return deepest, up


class ConvPair(nn.Module):
    """Two convolutions, each with a norm and a ReLU."""

    def __init__(self, channels: int, between: int, width: int) -> None:
        super().__init__()
        self.ops = nn.ModuleList([ConvNorm(channels, between), ConvNorm(between, width)])

    def forward(self, image: Tensor) -> Tensor:
        return self.ops[1](self.ops[0](image))


class UpPair(ConvPair):
    """Two convolutions of what was upsampled together with what the way down saw."""

    def __init__(self, width: int) -> None:
        super().__init__(3 * width, width, width)
        self.up_conv = nn.ConvTranspose3d(2 * width, 2 * width, 2, 2)

    def forward(self, image: Tensor, skip: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(torch.cat([self.up_conv(image), skip], dim=1))


class ConvNorm(nn.Module):
    """Convolution, batch norm and ReLU; the norm never uses what it learned of the training data (cf. `encode`)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, width, 3, padding=1)
        self.bn1 = nn.BatchNorm3d(width, track_running_stats=False)

    def forward(self, image: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv1(image)))


def classify(image: Tensor, layers: Tensor) -> Tensor:
    """The logits (N, i, j, k) of a map (8, i, j, k) by three linear layers for each structure: (N, 153) numbers."""
    first, second, third, *biases = layers.split(LAYERS, dim=1)
    bias1, bias2, bias3 = (bias[..., None] for bias in biases)
    parts = []
    for voxels in image.flatten(1).split(VOXELS, dim=1):
        hidden = F.relu(first.view(-1, HIDDEN, HIDDEN) @ voxels + bias1)
        hidden = F.relu(torch.baddbmm(bias2, second.view(-1, HIDDEN, HIDDEN), hidden))
        parts.append(torch.baddbmm(bias3, third.view(-1, 1, HIDDEN), hidden)[:, 0])
    return torch.cat(parts, dim=1).view(-1, *image.shape[1:])


def tidy(masks: dict[str, NDArray[np.uint8]], rules: Iterable[OrganRule], grid: Grid) -> None:
    """Applies rules in order to masks on a grid, which are kept as bits; leaves out those without their structures."""
    for rule in rules:
        if {*rule.changed, *rule.given} <= set(masks):
            changed = [unpack(masks[name], grid.shape[2]) for name in rule.changed]
            given = [unpack(masks[name], grid.shape[2]) for name in rule.given]
            for name, mask in zip(rule.changed, RULES[rule.name](changed, given, grid), strict=True):
                masks[name] = np.packbits(mask, axis=-1)


def unpack(bits: NDArray[np.uint8], depth: int) -> Mask:
    """A mask (i, j, depth) of its bits."""
    return np.unpackbits(bits, axis=-1, count=depth).view(bool)


def keep_largest(masks: list[Mask], given: list[Mask], grid: Grid) -> list[Mask]:
    """Each mask's largest component: there is only one such organ."""
    from scipy import ndimage

    kept = []
    for mask in masks:
        span = extent(mask, (0, 0, 0))
        labels, count = ndimage.label(mask[span], structure=np.ones((3, 3, 3)))
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        largest = np.zeros_like(mask)
        largest[span] = labels == 1 + sizes[1:].argmax() if count else False
        kept.append(largest)
    return kept


def part_sides(masks: list[Mask], given: list[Mask], grid: Grid) -> list[Mask]:
    """Two masks of a pair, whose shared voxels go to the one whose middle is nearer across the body."""
    across = next(axis for axis, letter in enumerate(grid.codes) if letter in "RL")
    shared = masks[0] & masks[1]
    if not shared.any():
        return masks
    beside = tuple(axis for axis in range(3) if axis != across)
    at = np.arange(grid.shape[across])
    middles = [np.average(at, weights=mask.sum(axis=beside)) for mask in masks]
    nearer = np.abs(at - middles[0]) <= np.abs(at - middles[1])
    first = np.moveaxis(np.moveaxis(shared, across, -1) & nearer, -1, across)
    return [masks[0] & ~shared | first, masks[1] & ~first]


def keep_within(masks: list[Mask], given: list[Mask], grid: Grid) -> list[Mask]:
    """Each mask only inside of the given organs and up to `AROUND_MM` beyond: a tumour is a part of its organ."""
    from scipy import ndimage

    reach = [round(AROUND_MM / mm) for mm in grid.spacing_mm]
    kept = []
    for mask in masks:
        span = extent(mask, reach)
        organ = np.logical_or.reduce([each[span] for each in given])
        around = ndimage.maximum_filter(organ, size=[2 * n + 1 for n in reach], mode="constant")
        inside = np.zeros_like(mask)
        inside[span] = mask[span] & around
        kept.append(inside)
    return kept


def extent(mask: Mask, reach: Iterable[int]) -> tuple[slice, ...]:
    """The box around a mask and `reach` voxels further along each axis."""
    spans = []
    for axis, beyond in enumerate(reach):
        rows = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        spans.append(slice(max(0, rows[0] - beyond), rows[-1] + 1 + beyond) if rows.size else slice(0, 0))
    return tuple(spans)


RULES: dict[str, Callable[[list[Mask], list[Mask], Grid], list[Mask]]] = {
    "keep_largest": keep_largest,
    "part_sides": part_sides,
    "keep_within": keep_within,
}
