"""nnU-Net and the models that are one: a U-Net that looks at a whole image window by window and names its classes.

nnU-Net, Isensee et al. 2021 (v1 and v2, Apache-2.0); STU-Net, Huang et al. 2023 (Apache-2.0); MultiTalent, Ulrich et
al. 2023 (Apache-2.0).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vesalius.answer import Answer
from vesalius.errors import PromptError
from vesalius.layers.stunet import StuNet
from vesalius.layers.unet import Unet, UnetSizes
from vesalius.look_frame import (
    Block,
    Frame,
    blocks_within,
    body_mask,
    box_mask,
    found_mask,
    slab_order,
    voxels_of,
)
from vesalius.look_windows import Shape, mirrored
from vesalius.scene import Scene, View
from vesalius.volume import Volume

AIR_HU = -500.0  # a CT voxel below this, and not enclosed by a body, is empty space
ANISOTROPIC = 3.0  # beyond this ratio of spacings, nnU-Net resamples the coarse axis to its nearest voxels
FOLD = re.compile(r"networks\.\d+\.|previous\.networks\.\d+\.")
OLD_NAMES = (  # of nnU-Net v1, as v2 has them
    (r"^conv_blocks_context\.(\d+)\.", r"encoder.stages.\1.0."),
    (r"^conv_blocks_localization\.(\d+)\.", r"decoder.stages.\1."),
    (r"\.blocks\.(\d+)\.", r".convs.\1."),
    (r"\.instnorm\.", ".norm."),
    (r"^tu\.", "decoder.transpconvs."),
    (r"^seg_outputs\.", "decoder.seg_layers."),
)


class NnUnet(nn.Module):
    """One network, or one for each fold, whose logits are averaged.

    `options`: `network` ("unet" or "stunet") and its `sizes`; `folds`; `axes`, the directions in which the network's
    axes run ("SPL": nnU-Net's z, y, x of an image stored as LPS); `spacing_mm` along them (None: the image's own), to
    which splines of an `order` bring it, `slices_apart` where they are thick; the window `patch`; the `normalisation`
    of each channel; `outputs`, the structure of each class ("": background), which are `exclusive` or may overlap; the
    axes to `mirror`; the `step` between windows, as a part of one; of a cascade, the options of the `previous` model.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.sizes = UnetSizes(**{name: frozen(value) for name, value in options["sizes"].items()})
        build = StuNet if options["network"] == "stunet" else Unet
        networks = nn.ModuleList(build(self.sizes) for _ in range(options.get("folds", 1)))
        self.networks: nn.ModuleList = networks.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.previous = NnUnet(options["previous"]) if "previous" in options else None
        self.axes, self.patch = str(options["axes"]), frozen(options["patch"])
        self.spacing_mm: tuple[float | None, ...] = frozen(options["spacing_mm"])
        self.order, self.slices_apart = int(options.get("order", 3)), bool(options.get("slices_apart", True))
        self.normalisation: list[dict[str, Any]] = list(options["normalisation"])
        self.outputs: tuple[str, ...] = frozen(options["outputs"])
        self.exclusive = bool(options.get("exclusive", True))
        self.mirror, self.step = frozen(options.get("mirror", ())), float(options.get("step", 0.5))
        # What the heads read is blended where it is less than what they say.
        self.late = len(networks) * self.sizes.widths[0] < self.sizes.classes
        self.precision = "fp32"

    def run(self, scene: Scene) -> Iterator[Answer]:
        """The structures asked for, block by block on the image's own voxels."""
        codes, places, *blocks = scene.memo((scene.structures, scene.region), lambda: self.look(scene))
        grid = scene.image.grid.orient(codes)
        for start, block in zip(places, blocks, strict=True):
            if self.exclusive:
                targets = tuple(name if name in scene.structures else "" for name in self.outputs)
                yield Answer(Volume(block, grid.crop(start, block.shape[1:])), targets, coded=True)
            else:
                inside = np.unpackbits(block, axis=0, count=len(scene.structures)).view(bool)
                yield Answer(Volume(inside, grid.crop(start, inside.shape[1:])), scene.structures, 0.5)

    def look(self, scene: Scene) -> tuple[Any, ...]:
        """The storage order of the blocks, where each starts, and the blocks: codes, or the bits of each structure."""
        frame = self.frame(scene.image)
        low, high = voxels_of(scene.region, frame.grid)
        mask = frame.body & box_mask(frame, low, high)
        if self.exclusive and set(scene.structures) != set(self.outputs) - {""} and frame.first_look_pays(self.step):
            scene.progress("looking for " + ", ".join(scene.structures[:3]))
            mask &= self.find(frame, mask, scene.structures)
        channels = [self.outputs.index(name) for name in scene.structures]
        whole = scene.image.grid.orient(frame.grid.codes)
        corner = np.rint(whole.index(frame.grid.world((0, 0, 0)))).astype(int)
        places, blocks = [], []
        whole_blocks = self.read(frame, frame.grid.shape, mask, self.step, channels)
        for first, part in blocks_within(whole_blocks, low, high):
            scene.progress(f"plane {first} of {frame.grid.shape[0]}")
            places.append((int(corner[0]) + first, *(corner[1:] + low[1:]).tolist()))
            blocks.append(part if self.exclusive else np.packbits(part, axis=0))
        return (frame.grid.codes, places, *blocks)

    @torch.inference_mode()
    def read(self, frame: Frame, output: Shape, mask: Tensor, step: float, channels: list[int]) -> Iterator[Block]:
        """Blocks of `output` voxels and their first planes: (1, t, j, k) codes or, of overlapping `channels`, booleans.

        Windows without a voxel of `mask` are left out, and where one would be is background.
        """
        weight, bias = self.head()

        def classes(voxels: Tensor) -> Tensor:
            logits = torch.addmm(bias, voxels, weight.T) if self.late else voxels
            if not self.exclusive:
                return logits[:, channels] > 0
            # On a CPU numpy's is twice as fast as torch's.
            best = torch.from_numpy(logits.numpy().argmax(1)) if logits.device.type == "cpu" else logits.argmax(1)
            return best.to(torch.uint8 if self.sizes.classes <= 256 else torch.int16)[:, None]

        yield from frame.read(output, mask, step, self.encode, classes)

    def find(self, frame: Frame, mask: Tensor, structures: tuple[str, ...]) -> Tensor:
        """Where a first look with windows side by side sees the structures, and some space around."""
        wanted = [code for code, name in enumerate(self.outputs) if name in structures]
        blocks = self.read(frame, frame.shape, mask, 1.0, [])
        return found_mask(frame, ((first, np.isin(block, wanted)) for first, block in blocks))

    def encode(self, windows: Tensor) -> Tensor:
        """What is blended (B, F, i, j, k) of windows (B, C, i, j, k): logits, or what the heads of all folds read."""
        parameter = next(self.parameters())
        windows = windows.to(parameter.device)
        with torch.autocast(windows.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return mirrored(self.features if self.late else self.logits, self.mirror)(windows).float()

    def logits(self, windows: Tensor) -> Tensor:
        """The mean of all folds (B, classes, i, j, k)."""
        return torch.stack([network(windows) for network in self.networks]).mean(0)

    def features(self, windows: Tensor) -> Tensor:
        """What the heads of all folds read, one after the other."""
        return torch.cat([network.features(windows)[-1] for network in self.folds()], dim=1)

    def head(self) -> tuple[Tensor, Tensor]:
        """The heads of all folds as one linear layer from features to their mean logits."""
        heads = [network.heads[-1] for network in self.folds()]
        weight = torch.cat([head.weight.flatten(1) for head in heads], dim=1) / len(heads)
        return weight, torch.stack([head.bias for head in heads]).mean(0)

    def folds(self) -> list[Any]:
        """The network of each fold."""
        return list(self.networks)

    def forward(self, view: View) -> Tensor:
        """Logits (classes, i, j, k) on the view's own voxels, differentiable; its pixels are the image's own values."""
        axes, flips = view.grid.axis_order(self.axes)
        turned = [1 + n for n, flip in enumerate(flips) if flip]
        pixels = torch.from_numpy(self.normalise(Volume(view.pixels, view.grid).orient(self.axes)).voxels.copy())
        strides = np.prod(self.sizes.strides, axis=0)
        gaps = [int(-size % stride) for size, stride in zip(pixels.shape[1:], strides, strict=True)]
        padded = F.pad(pixels, [side for gap in reversed(gaps) for side in (0, gap)])
        logits = self.logits(padded[None].to(next(self.parameters()).device))[0]
        logits = logits[:, : pixels.shape[1], : pixels.shape[2], : pixels.shape[3]].flip(turned)
        return logits.permute(0, *(1 + axes.index(axis) for axis in range(3)))

    def frame(self, image: Volume) -> Frame:
        """The image cropped to what is not zero, normalised, and resampled as nnU-Net does it."""
        self.check(image)
        whole = image.orient(self.axes)
        volume = whole.crop(*nonzero(whole.voxels))
        spacing = [mm or own for mm, own in zip(self.spacing_mm, volume.grid.spacing_mm, strict=True)]
        sizes = zip(volume.grid.shape, volume.grid.spacing_mm, spacing, strict=True)
        shape = triple(max(1, round(size * own / mm)) for size, own, mm in sizes)
        flat = flat_back = None
        if self.slices_apart:
            flat, flat_back = coarse_axis(volume.grid.spacing_mm, spacing), coarse_axis(spacing, volume.grid.spacing_mm)
        order = slab_order(shape, self.patch)
        resized = resize(self.normalise(volume), shape, flat, self.order)
        if self.previous:
            resized = self.previous.answered(image, resized, flat)
        turned = resized.orient("".join(self.axes[axis] for axis in order))
        return Frame(
            torch.from_numpy(np.ascontiguousarray(turned.voxels)),
            volume.grid.orient(turned.grid.codes),
            order,
            triple(self.patch[axis] for axis in order),
            self.body(turned),
            None if flat_back is None else order.index(flat_back),
        )

    def check(self, image: Volume) -> None:
        """Refuses an image with another number of channels."""
        expected, given = len(self.normalisation), len(image.voxels)
        if given != expected:
            raise PromptError(
                f"This model looks at {expected} channel(s) and the image has {given}; give one with {expected}."
            )

    def normalise(self, volume: Volume) -> Volume:
        """Each channel by its own scheme, in float32; what is empty is empty in all of them."""
        masked = any(how.get("masked") for how in self.normalisation)
        inside = filled_nonzero(volume.voxels) if masked else np.ones((), bool)
        out = np.empty(volume.voxels.shape, np.float32)
        for channel, (values, how) in enumerate(zip(volume.voxels, self.normalisation, strict=True)):
            out[channel] = zscore(values, inside) if how.get("masked") else SCHEMES[how["scheme"]](values, how)
        return Volume(out, volume.grid, volume.source)

    def body(self, image: Volume) -> Tensor:
        """Where a CT is not empty space outside of a body, with a margin; of other images everywhere."""
        levels = [
            (values, (AIR_HU - how["mean"]) / how["sd"])
            for values, how in zip(image.voxels, self.normalisation, strict=False)
            if how["scheme"] == "ct"
        ]
        if not levels:
            return torch.ones(image.grid.shape, dtype=torch.bool)
        return body_mask(np.logical_or.reduce([values > level for values, level in levels]), image.grid)

    def answered(self, image: Volume, pixels: Volume, flat: int | None) -> Volume:
        """Pixels with this model's own answer beside them, one channel for each structure: the input of a cascade.

        The answer is that on the image's own voxels, of which nnU-Net writes a file; resampled, as it is in the
        original, the code with the largest part wins, and of two like ones that of the nearest voxel.
        """
        frame = self.frame(image)
        codes = np.zeros((1, *frame.grid.shape), np.uint8)
        for first, block in self.read(frame, frame.grid.shape, frame.body, self.step, []):
            codes[:, first : first + block.shape[1]] = block
        own = Volume(codes, frame.grid).orient(pixels.grid.codes)
        nearest = resize(own, pixels.grid.shape, flat, order=0).voxels
        answer, largest = np.zeros_like(nearest), np.full(nearest.shape, -1, np.float32)
        for code in range(self.sizes.classes):
            inside = Volume((own.voxels == code).astype(np.float32), own.grid)
            part = resize(inside, pixels.grid.shape, flat, order=1).voxels
            answer[(part > largest) | ((part == largest) & (nearest == code))] = code
            np.maximum(largest, part, out=largest)
        each = [(answer == code).astype(np.float32) for code in range(1, self.sizes.classes)]
        return Volume(np.concatenate([pixels.voxels, *each]), pixels.grid, pixels.source)

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of an official file (v1 or v2, 2D or 3D, or of several folds) under our names."""
        converted = {}
        for name, tensor in state.items():
            fold = FOLD.match(name)
            prefix = fold.group() if fold else "networks.0."
            name = name.removeprefix(prefix)
            if name.startswith("decoder.encoder.") or ".all_modules." in name:
                continue  # nnU-Net v2 registers its modules under several names
            if isinstance(self.networks[0], Unet) and name.startswith(("conv_blocks_", "tu.", "seg_outputs.")):
                name = self.new_name(name)
            if tensor.ndim == 4:  # of a 2D network
                tensor = tensor[:, :, None]
            converted[prefix + name] = tensor
        if isinstance(self.networks[0], Unet) and any(name.startswith("tu.") for name in state):
            for name, tensor in self.state_dict().items():
                if name.endswith(".bias") and re.search(r"transpconvs|seg_layers", name):
                    converted[name] = torch.zeros_like(tensor)  # v1 has none there
        return converted

    def new_name(self, name: str) -> str:
        """The name of nnU-Net v2 for one of v1, which keeps the last convolution of some stages in a second block."""
        depths = self.sizes.depth if "context" in name else self.sizes.decoder_depth[::-1]
        if last := re.match(r"(conv_blocks_\w+\.(\d+))\.([01])\.blocks\.(\d+)", name):
            stage, number, second, block = last.groups()
            index = depths[int(number)] - 1 if second == "1" else block
            name = f"{stage}.blocks.{index}{name[last.end() :]}"
        for old, new in OLD_NAMES:
            name = re.sub(old, new, name)
        return name


class NnUnetParts(nn.Module):
    """Several models that share the structures among them; those without one that is asked for do not run."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(NnUnet(part) for part in options["parts"])

    def run(self, scene: Scene) -> Iterator[Answer]:
        """The structures asked for, model by model."""
        for part in self.models():
            mine = tuple(name for name in scene.structures if name in part.outputs)
            if mine:
                yield from part.run(replace(scene, structures=mine))

    def forward(self, view: View) -> Tensor:
        """The logits of all models, one after the other, on the view's own voxels."""
        return torch.cat([part(view) for part in self.models()])

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors as `save` wrote them: each part has official files of its own."""
        return dict(state)

    def models(self) -> list[NnUnet]:
        """The models of all parts."""
        return list(self.parts)  # type: ignore[arg-type]


def frozen(value: Any) -> Any:
    """Lists as tuples, all the way down."""
    return tuple(frozen(part) for part in value) if isinstance(value, list | tuple) else value


def triple(values: Iterable[int]) -> Shape:
    """Three numbers."""
    i, j, k = values
    return i, j, k


def ct(values: NDArray, how: Mapping[str, Any]) -> NDArray:
    """Clipped to what the training data's structures had, then their mean and standard deviation."""
    return (np.clip(values, how["low"], how["high"], dtype=np.float32) - how["mean"]) / max(how["sd"], 1e-8)


def zscore(values: NDArray, inside: NDArray[np.bool_]) -> NDArray:
    """By the mean and standard deviation of what is `inside`; the rest stays as it is."""
    values = values.astype(np.float32)
    inside = np.broadcast_to(inside, values.shape)
    if not inside.any():
        return values
    mean, deviation = values[inside].mean(), values[inside].std()
    return np.where(inside, (values - mean) / max(deviation, 1e-8), values)


def unit(values: NDArray, how: Mapping[str, Any]) -> NDArray:
    """Spread over 0 to 1."""
    values = values.astype(np.float32) - values.min()
    return values / max(float(values.max()), 1e-8)


SCHEMES = {
    "ct": ct,
    "zscore": lambda values, how: zscore(values, np.ones((), bool)),
    "unit": unit,
    "rgb": lambda values, how: values.astype(np.float32) / 255,
    "none": lambda values, how: values.astype(np.float32),
}


def filled_nonzero(values: NDArray) -> NDArray[np.bool_]:
    """Where values (C, i, j, k) are not zero in any channel, or enclosed by what is not."""
    from scipy import ndimage

    return ndimage.binary_fill_holes((values != 0).any(axis=0))


def nonzero(voxels: NDArray) -> tuple[Shape, Shape]:
    """Start and shape of the smallest box around all that is not zero in any channel; everything if all is zero."""
    filled = np.logical_or.reduce(voxels != 0) if len(voxels) > 1 else voxels[0] != 0
    spans = []
    for axis in range(3):
        rows = np.flatnonzero(filled.any(axis=tuple(other for other in range(3) if other != axis)))
        spans.append((int(rows[0]), int(rows[-1]) + 1) if rows.size else (0, filled.shape[axis]))
    i, j, k = spans
    return (i[0], j[0], k[0]), (i[1] - i[0], j[1] - j[0], k[1] - k[0])


def resize(volume: Volume, shape: Shape, flat: int | None, order: int) -> Volume:
    """Splines that stay within the values' own range; across an axis `flat` slice by slice, along it nearest."""
    between = triple(volume.grid.shape[axis] if axis == flat else size for axis, size in enumerate(shape))
    out = volume.to(volume.grid.resize(between), order)
    axes = tuple(1 + axis for axis in range(3) if axis != flat)
    low, high = volume.voxels.min(axes, keepdims=True), volume.voxels.max(axes, keepdims=True)
    np.clip(out.voxels, low, high, out=out.voxels)
    return out if between == shape else out.to(volume.grid.resize(shape), order=0)


def coarse_axis(*spacings: tuple[float, ...] | list[float]) -> int | None:
    """The axis that is much coarser than the others in the first of the spacings in which they differ so much."""
    for spacing in spacings:
        if max(spacing) / min(spacing) > ANISOTROPIC:
            coarsest = [axis for axis, mm in enumerate(spacing) if mm == max(spacing)]
            return coarsest[0] if len(coarsest) == 1 else None
    return None
