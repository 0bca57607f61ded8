"""The Segment Anything family: one image encoder, prompts as tokens, and a two-way mask decoder.

Segment Anything, Kirillov et al. 2023 (SAM); Segment anything in medical images, Ma et al. 2024 (MedSAM and
LiteMedSAM); Faster Segment Anything, Zhang et al. 2023 (MobileSAM). Code and weights of all four: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.answer import Answer
from vesalius.errors import PromptError
from vesalius.layers.imagenet import MEAN, STD
from vesalius.layers.mask_decoder import MaskDecoder, sets_at_once
from vesalius.layers.prompt_tokens import PromptEncoder, tokenize
from vesalius.layers.resampling import resize_area, resize_bilinear, resize_cubic
from vesalius.layers.tiny_vit import DEPTHS, HEADS, WIDTHS, TinyVit
from vesalius.layers.vit import Vit, resize_positions, resize_relative
from vesalius.look import Cut, propagate, together
from vesalius.scene import Cues, Scene, View

MASK_LOGIT = 8.0  # a mask that a user gave enters the decoder as logits of this size
UNUSED = ("image_encoder.norm_head.", "image_encoder.head.")  # MobileSAM's ImageNet classifier


def build_encoder(name: str, size: int) -> Vit | TinyVit:
    """The image encoder called `name`, with position tables for images of `size` pixels; `nano` is for tests."""
    grid = size // 16
    match name:
        case "vit_b":
            return Vit(grid, width=768, depth=12, heads=12, global_every=3)
        case "vit_l":
            return Vit(grid, width=1024, depth=24, heads=16, global_every=6)
        case "vit_h":
            return Vit(grid, width=1280, depth=32, heads=16, global_every=8)
        case "vit_nano":
            return Vit(grid, width=32, depth=2, heads=2, global_every=2)
        case "tiny_vit" | "tiny_vit_nano":
            return TinyVit(WIDTHS[name], DEPTHS[name], HEADS[name], stride=16)
        case "tiny_vit_lite" | "tiny_vit_lite_nano":
            sizes = name.replace("_lite", "")
            return TinyVit(WIDTHS[sizes], DEPTHS[sizes], HEADS[sizes], stride=4)
    raise ValueError(f"no image encoder is called {name!r}")


class Sam(nn.Module):
    """SAM and the checkpoints that share its decoder; `options` are `encoder`, `size` and `preprocess`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.size = int(options["size"])
        self.preprocess = str(options["preprocess"])
        self.precision = "fp32"
        self.image_encoder = build_encoder(options["encoder"], self.size)
        self.prompt_encoder = PromptEncoder()
        self.mask_decoder = MaskDecoder()

    def run(self, scene: Scene) -> Iterator[Answer]:
        """The answer for one target: the slices that were spoken of, and those that the walk reaches from them."""
        return propagate(scene, lambda view: self.segment(view, scene.memo))

    @torch.inference_mode()
    def segment(self, view: View, memo: Callable[..., Any]) -> list[Cut]:
        """The masks of one slice, the best first: three for a single click, otherwise one; several boxes are united."""
        if len(view.cues.boxes) > 1:
            each = [replace(view.cues, boxes=box[None]) for box in view.cues.boxes]
            return [together(cuts[0] for cuts in self.segment_each(view, each, memo))]
        return next(self.segment_each(view, [view.cues], memo))

    @torch.inference_mode()
    def segment_each(
        self, view: View, each: Sequence[Cues], memo: Callable[..., Any], lowest: float = 0.0
    ) -> Iterator[list[Cut]]:
        """The masks of each prompt set, the best first, without those whose predicted Dice is below `lowest`.

        The sets are alike: as many points and boxes in each, and all start from the mask of the first. They are decoded
        a few at a time.
        """
        embedding = memo(view.grid, lambda: self.look(view))
        frame = memo((view.grid, "frame"), lambda: replace(self.frame(view), pixels=torch.empty(0)))
        few = sets_at_once(embedding.device)
        for first in range(0, len(each), few):
            lows, dices = self.answer(embedding, frame, each[first : first + few])
            for low, dice in zip(lows, dices, strict=True):
                order = [n for n in dice.argsort(descending=True, stable=True).tolist() if dice[n] >= lowest]
                yield [self.cut(low[None, n : n + 1], float(dice[n]), frame) for n in order]

    def forward(self, view: View) -> Tensor:
        """Mask logits (M, i, j, 1) on the view's grid, differentiable."""
        frame = self.frame(view)
        pixels = frame.pixels.to(next(self.parameters()).device)
        low, _ = self.answer(self.encode(pixels), frame, [view.cues])
        return RESTORE[self.preprocess](low, frame)[0].transpose(1, 2)[..., None]

    def frame(self, view: View) -> Frame:
        """The picture of a view (1 or 3 channels, one voxel thick) in the checkpoint's own preprocessing."""
        channels = len(view.pixels)
        if channels not in (1, 3):
            raise PromptError(f"This model looks at grey or RGB images; yours has {channels} channels: choose one.")
        rgb = np.broadcast_to(view.pixels[..., 0].transpose(2, 1, 0), (*view.grid.shape[1::-1], 3))
        return FRAMES[self.preprocess](np.ascontiguousarray(rgb), self.size)

    def look(self, view: View) -> Tensor:
        """The embedding of a view, in the fastest precision."""
        pixels = self.frame(view).pixels.to(next(self.parameters()).device)
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            embedding = self.encode(pixels)
        return embedding.to(torch.bfloat16 if self.precision == "bf16" else torch.float32)  # half the memory

    def cut(self, low: Tensor, dice: float, frame: Frame) -> Cut:
        """One mask (1, 1, 4h, 4w) on the picture's own pixels."""
        restored = RESTORE[self.preprocess](low, frame)[0, 0]
        return Cut(restored.T.cpu().numpy(), dice, low[0, 0].cpu().numpy())

    def answer(self, embedding: Tensor, frame: Frame, each: Sequence[Cues]) -> tuple[Tensor, Tensor]:
        """The decoder's logits (B, M, 4h, 4w) and predicted Dice (B, M) of prompt sets that are alike."""
        device = embedding.device
        scale = np.array(frame.scale)
        boxes = np.stack([cues.boxes[:, :, :2] for cues in each]) * scale
        if self.preprocess == "litemedsam":
            boxes = np.trunc(boxes)
        points = np.stack([cues.points[:, :2] for cues in each]) * scale
        positive, mask = np.stack([cues.positive for cues in each]), self.mask_logits(frame, each[0])
        if self.preprocess != "sam":  # trained with one box and nothing else
            points, positive, mask = points[:, :0], positive[:, :0], None
        places, signs = tokenize(
            torch.tensor(points, dtype=torch.float32, device=device),
            torch.tensor(positive, dtype=torch.int64, device=device),
            torch.tensor(boxes.reshape(-1, 4), dtype=torch.float32, device=device) if boxes.size else None,
        )
        ambiguous = points.shape[1] == 1 and not boxes.size and mask is None
        mask = None if mask is None else mask.to(device)
        low, iou = self.decode(embedding.float(), places, signs, mask, ambiguous)
        iou = iou.clamp(0, 1)
        return low, 2 * iou / (1 + iou)

    def mask_logits(self, frame: Frame, cues: Cues) -> Tensor | None:
        """What the decoder starts from (1, 1, 4h, 4w): its own last logits, or a mask given or carried."""
        if cues.feedback is not None:
            return torch.tensor(cues.feedback)[None, None]
        if cues.mask is None:
            return None
        mask = torch.tensor(cues.mask[..., 0].T[None, None], dtype=torch.float32)
        inside = F.interpolate(mask, frame.resized, mode="bilinear", antialias=True)
        height, width = frame.resized
        inside = F.pad(inside, (0, self.size - width, 0, self.size - height))
        return MASK_LOGIT * (2 * F.avg_pool2d(inside, 4) - 1)

    def encode(self, pixels: Tensor) -> Tensor:
        """The embedding `(B, 256, H / stride, W / stride)` of normalised `(B, 3, H, W)`."""
        return self.image_encoder(pixels)

    def decode(
        self, embedding: Tensor, points: Tensor, signs: Tensor, mask: Tensor | None, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Mask logits `(B, M, 4h, 4w)` and predicted IoU `(B, M)`: three candidates, or the single one.

        `points` are `(B, N, 2)` xy in pixels of the network's input (integer = pixel centre) and `signs`
        `(B, N)` say what they are: 1 and 0 positive and negative, 2 and 3 the corners of a box, -1 the padding
        that SAM expects after points without a box. `mask` holds earlier logits `(B, 1, 4h, 4w)`. An embedding
        of batch 1 serves all prompt sets.
        """
        masks, iou = self.decode_all(embedding, points, signs, mask)
        chosen = slice(1, 4) if multimask else slice(0, 1)
        return masks[:, chosen], iou[:, chosen]

    def decode_all(
        self, embedding: Tensor, points: Tensor, signs: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """As `decode`, with all four masks: the single one, then the three candidates."""
        height, width = embedding.shape[2:]
        extent = self.image_encoder.stride * torch.tensor([width, height], device=points.device)
        prompts = self.prompt_encoder.tokens((points + 0.5) / extent, signs)
        image = embedding + self.prompt_encoder.mask(mask)
        return self.mask_decoder(image, self.prompt_encoder.pe_layer.dense(height, width), prompts)

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of an official file under our names, position tables resized to this model's image size."""
        own = self.state_dict()
        converted = {}
        for name, tensor in state.items():
            name = name.removeprefix("module.").removeprefix("sam.")
            if name.startswith(UNUSED):
                continue
            if name == "image_encoder.pos_embed" and name in own:
                tensor = resize_positions(tensor, own[name].shape[1:3])
            elif ".rel_pos_" in name and name in own:
                tensor = resize_relative(tensor, len(own[name]))
            converted[name] = tensor
        return converted


@dataclass(frozen=True)
class Frame:
    """A picture as the network sees it, and how it got there."""

    pixels: Tensor  # (1, 3, size, size)
    scale: tuple[float, float]  # network pixels for one pixel of the picture: x, y
    resized: tuple[int, int]  # rows and columns that the picture covers, from the top left corner
    original: tuple[int, int]  # rows and columns of the picture


def frame_sam(rgb: np.ndarray, size: int) -> Frame:
    """Longest side to `size`, colours normalised, then zeros at the bottom and right; `rgb` is `(H, W, 3)` uint8."""
    height, width = fit(rgb, size)
    resized = (resize_bilinear(rgb, height, width) - MEAN) / STD
    return pad(resized, size, (width / rgb.shape[1], height / rgb.shape[0]), rgb)


def frame_medsam(rgb: np.ndarray, size: int) -> Frame:
    """Stretched to a square and spread over [0, 1]; `rgb` is `(H, W, 3)` uint8."""
    resized = spread(resize_cubic(rgb, size, size).astype(np.uint8))
    return pad(resized, size, (size / rgb.shape[1], size / rgb.shape[0]), rgb)


def frame_litemedsam(rgb: np.ndarray, size: int) -> Frame:
    """Longest side to `size`, spread over [0, 1], then zeros at the bottom and right; `rgb` is `(H, W, 3)` uint8."""
    resized = spread(resize_area(rgb, *fit(rgb, size)))
    return pad(resized, size, (size / max(rgb.shape[:2]),) * 2, rgb)


def fit(rgb: np.ndarray, size: int) -> tuple[int, int]:
    """Rows and columns of a picture whose longest side becomes `size`."""
    scale = size / max(rgb.shape[:2])
    return max(int(rgb.shape[0] * scale + 0.5), 1), max(int(rgb.shape[1] * scale + 0.5), 1)


def spread(rgb: np.ndarray) -> np.ndarray:
    """Stretch values so that the darkest is 0 and the brightest 1."""
    return (rgb - rgb.min()) / max(int(rgb.max()) - int(rgb.min()), 1e-8)


def pad(resized: np.ndarray, size: int, scale: tuple[float, float], rgb: np.ndarray) -> Frame:
    """The frame of a resized picture, filled up with zeros to a square of `size`."""
    height, width = resized.shape[:2]
    pixels = torch.from_numpy(resized).float().permute(2, 0, 1)[None]
    pixels = F.pad(pixels, (0, size - width, 0, size - height))
    return Frame(pixels, scale, (height, width), (rgb.shape[0], rgb.shape[1]))


def restore_sam(logits: Tensor, frame: Frame) -> Tensor:
    """Mask logits `(B, M, 4h, 4w)` on the picture's own pixels: enlarged, cut, enlarged again."""
    square = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
    height, width = frame.resized
    return F.interpolate(square[..., :height, :width], frame.original, mode="bilinear", align_corners=False)


def restore_medsam(logits: Tensor, frame: Frame) -> Tensor:
    """Mask PROBABILITIES on the picture's own pixels, to be cut at 0.5; interpolating logits gives other masks."""
    return F.interpolate(logits.sigmoid(), frame.original, mode="bilinear", align_corners=False)


def restore_litemedsam(logits: Tensor, frame: Frame) -> Tensor:
    """Mask logits on the picture's own pixels: cut, then enlarged once (a mask has one pixel for each of the input)."""
    height, width = frame.resized
    return F.interpolate(logits[..., :height, :width], frame.original, mode="bilinear", align_corners=False)


FRAMES = {"sam": frame_sam, "medsam": frame_medsam, "litemedsam": frame_litemedsam}
RESTORE = {
    "sam": restore_sam,
    "medsam": lambda logits, frame: restore_medsam(logits, frame) - 0.5,
    "litemedsam": restore_litemedsam,
}
