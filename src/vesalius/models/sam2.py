"""SAM 2.1: a promptable model that remembers what it saw, on a picture or through the slices of a volume.

SAM 2: Segment Anything in Images and Videos, Ravi et al. 2024 (code and weights Apache-2.0); MedSAM2, Ma et al. 2025
(code Apache-2.0), is the same network at 512 pixels. The blocks are our own and not those of `transformers`, so that
the official tensors load under their own names and the walk through the slices decides what is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from vesalius.answer import Answer
from vesalius.errors import PromptError
from vesalius.layers.hiera import Hiera, HieraPyramid
from vesalius.layers.mask_decoder import gather_cells, join_cells, sets_at_once, split_cells
from vesalius.layers.memory import MemoryAttention, MemoryEncoder, sine_distances, sine_positions
from vesalius.layers.norm import LayerNorm2d
from vesalius.layers.prompt_tokens import CORNER, OPPOSITE, PADDING, WIDTH, Mlp, PromptEncoder
from vesalius.layers.two_way import TwoWayTransformer
from vesalius.look import Cut, together
from vesalius.look_memory import Past, follow
from vesalius.scene import Cues, Scene, View

MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)[:, None, None]
REMEMBERED = 64  # channels of a memory
MAPS = 6  # slices walked whose memory maps are looked at
POINTERS = 15  # slices walked whose pointers are looked at
MASK_LOGIT = 8.0  # a mask that a user drew enters the decoder as logits of this size
LARGEST_LOGIT = 32.0  # of the masks that enter the decoder again
ABSENT = -1024.0  # logits where the target is not
STABLE, MARGIN = 0.98, 0.05  # a mask of which this part stays when the threshold moves by the margin is stable

Features = tuple[Tensor, Tensor, Tensor]  # the embedding (1, 256, h, w), and details (1, 64, 2h, 2w), (1, 32, 4h, 4w)


def build_encoder(name: str) -> HieraPyramid:
    """The image encoder called `name`; `hiera_nano` is for tests."""
    match name:
        case "hiera_t":
            return HieraPyramid(Hiera(96, 1, (1, 2, 7, 2), (5, 7, 9), 7), 96)
        case "hiera_s":
            return HieraPyramid(Hiera(96, 1, (1, 2, 11, 2), (7, 10, 13), 7), 96)
        case "hiera_b+":
            return HieraPyramid(Hiera(112, 2, (2, 3, 16, 3), (12, 16, 20), 14), 112)
        case "hiera_l":
            return HieraPyramid(Hiera(144, 2, (2, 6, 36, 4), (23, 33, 43), 7, (8, 4, 16, 8)), 144)
        case "hiera_nano":
            return HieraPyramid(Hiera(8, 1, (1, 1, 2, 1), (3,), 7), 8)
    raise ValueError(f"no image encoder is called {name!r}")


class MaskDecoder(nn.Module):
    """SAM's decoder with details of the image on the way up, and a token that says whether the target is there."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(WIDTH, 2048)
        self.obj_score_token = nn.Embedding(1, WIDTH)
        self.iou_token = nn.Embedding(1, WIDTH)
        self.mask_tokens = nn.Embedding(4, WIDTH)
        self.conv_s0 = nn.Conv2d(WIDTH, WIDTH // 8, 1)
        self.conv_s1 = nn.Conv2d(WIDTH, WIDTH // 4, 1)
        self.output_upscaling = nn.ModuleList(
            [
                nn.ConvTranspose2d(WIDTH, WIDTH // 4, 2, 2),
                LayerNorm2d(WIDTH // 4),
                nn.GELU(),
                nn.ConvTranspose2d(WIDTH // 4, WIDTH // 8, 2, 2),
            ]
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Mlp(WIDTH // 8) for _ in range(4))
        self.iou_prediction_head = Mlp(4)
        self.pred_obj_score_head = Mlp(1)

    def forward(
        self, image: Tensor, middle: Tensor, fine: Tensor, positions: Tensor, prompts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Masks `(B, 4, 4h, 4w)`, their IoU `(B, 4)` and tokens `(B, 4, 256)`, and how sure it is there `(B, 1)`."""
        own = torch.cat([self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(prompts), -1, -1), prompts], dim=1)
        tokens, keys = self.transformer(image, positions, tokens)
        kernels = torch.stack([mlp(tokens[:, i + 2]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1)
        layers: Any = self.output_upscaling
        first, norm, gelu, second = layers
        halves = gelu(nn.LayerNorm.forward(norm, split_cells(keys, first) + gather_cells(middle, 1)))
        quarters = gelu(split_cells(halves, second) + gather_cells(fine, 2))
        masks = join_cells(quarters.flatten(1, 3) @ kernels.mT, *image.shape[2:])
        iou = self.iou_prediction_head(tokens[:, 1]).sigmoid()
        return masks, iou, tokens[:, 2:6], self.pred_obj_score_head(tokens[:, 0])


@dataclass(frozen=True, eq=False)
class Trace:
    """What is kept of an answer: its logits `(1, 1, 4h, 4w)`, its pointer `(1, 256)`, and how sure it is there."""

    low: Tensor
    pointer: Tensor
    presence: float  # a logit


@dataclass(frozen=True, eq=False)
class Memory:
    """What is remembered of a slice: a map `(1, 64, h, w)` in bfloat16 and the pointer `(1, 256)`."""

    map: Tensor
    pointer: Tensor


class Sam2(nn.Module):
    """SAM 2.1 and the checkpoints that share its network.

    `options` are `encoder`, `size`, `preprocess` and `memory_layers`.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.size = int(options["size"])
        self.preprocess = str(options["preprocess"])
        self.precision = "fp32"
        self.image_encoder = build_encoder(options["encoder"])
        self.sam_prompt_encoder = PromptEncoder()
        self.sam_mask_decoder = MaskDecoder()
        self.memory_attention = MemoryAttention(WIDTH, REMEMBERED, int(options["memory_layers"]))
        self.memory_encoder = MemoryEncoder(WIDTH, REMEMBERED)
        self.maskmem_tpos_enc = nn.Parameter(0.02 * torch.randn(MAPS + 1, 1, 1, REMEMBERED))
        self.no_mem_embed = nn.Parameter(0.02 * torch.randn(1, 1, WIDTH))
        self.no_obj_embed_spatial = nn.Parameter(0.02 * torch.randn(1, REMEMBERED))
        self.no_obj_ptr = nn.Parameter(0.02 * torch.randn(1, WIDTH))
        self.obj_ptr_proj = Mlp(WIDTH)
        self.obj_ptr_tpos_proj = nn.Linear(WIDTH, REMEMBERED)
        self.mask_downsample = nn.Conv2d(1, 1, 4, 4)

    def run(self, scene: Scene) -> Iterator[Answer]:
        """The answer for one target: the slices that were spoken of, and those through which it is followed."""
        return follow(
            scene,
            lambda view, past: self.segment(view, past, scene.memo),
            lambda view, cut, prompted: self.remember(self.features(view, scene.memo)[0], cut.feedback, prompted),
        )

    def forward(self, view: View) -> Tensor:
        """Mask logits (M, i, j, 1) on the view's grid, differentiable."""
        features = self.encode(self.frame(view))
        low, _, _, _ = self.answer(features, self.recall(features[0], Past(1)), view.grid.shape, [view.cues])
        return self.restore(low, view)[0].transpose(1, 2)[..., None]

    @torch.inference_mode()
    def segment(self, view: View, past: Past, memo: Callable[..., Any]) -> list[Cut]:
        """The masks of one slice, the best first: three for a single click, otherwise one; several boxes are united."""
        features, cues = self.features(view, memo), view.cues
        if cues.mask is not None and cues.feedback is None and not len(cues.points) and not len(cues.boxes):
            return [self.adopt(features, cues.mask)]
        if len(cues.boxes) < 2:
            return next(self.cuts(view, [cues], features, past))
        each = [replace(cues, boxes=box[None]) for box in cues.boxes]
        found = together(cuts[0] for cuts in self.cuts(view, each, features, past))
        return [replace(self.adopt(features, found.mask[..., None]), score=found.score)]

    def segment_each(
        self, view: View, each: Sequence[Cues], memo: Callable[..., Any], lowest: float = 0.0
    ) -> Iterator[list[Cut]]:
        """The masks of each prompt set of a picture, without those whose predicted Dice is below `lowest`."""
        return self.cuts(view, each, self.features(view, memo), Past(1), lowest)

    @torch.inference_mode()
    def remember(self, embedding: Tensor, trace: Trace, prompted: bool) -> Memory:
        """The memory of a slice and its mask, which is made sharp where the user `prompted` it."""
        mask = F.interpolate(trace.low, (self.size, self.size), mode="bilinear", align_corners=False)
        inside = (mask > 0).float() if prompted else mask.sigmoid()
        seen = self.memory_encoder(embedding, 20 * inside - 10)
        if trace.presence <= 0:
            seen = seen + self.no_obj_embed_spatial[..., None, None]
        return Memory(seen.to(torch.bfloat16), trace.pointer)  # rounded as in the official predictor

    def features(self, view: View, memo: Callable[..., Any]) -> Features:
        """The features of a view, made once, in the fastest precision."""

        def make() -> tuple[Tensor, ...]:
            pixels = self.frame(view)
            with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                features = self.encode(pixels)
            return tuple(part.to(torch.bfloat16 if self.precision == "bf16" else torch.float32) for part in features)

        embedding, middle, fine = memo(view.grid, make)
        return embedding.float(), middle.float(), fine.float()

    def frame(self, view: View) -> Tensor:
        """The picture of a view (1 or 3 channels, one voxel thick) as the network takes it, (1, 3, size, size)."""
        channels = len(view.pixels)
        if channels not in (1, 3):
            raise PromptError(f"This model looks at grey or RGB images; yours has {channels} channels: choose one.")
        rgb = np.broadcast_to(view.pixels[..., 0].transpose(2, 1, 0), (*view.grid.shape[1::-1], 3))
        return FRAMES[self.preprocess](np.ascontiguousarray(rgb), self.size).to(self.no_mem_embed.device)

    def encode(self, pixels: Tensor) -> Features:
        """The embedding `(B, 256, H / 16, W / 16)` of normalised `(B, 3, H, W)`, and the details for the decoder."""
        fine, middle, embedding = self.image_encoder(pixels)
        return embedding, self.sam_mask_decoder.conv_s1(middle), self.sam_mask_decoder.conv_s0(fine)

    def recall(self, embedding: Tensor, past: Past) -> Tensor:
        """An embedding (1, 256, h, w) that has looked at the past, or is marked as without one."""
        if not past.seeds and not past.walked:
            return embedding + self.no_mem_embed.view(1, -1, 1, 1)
        device = embedding.device
        place = sine_positions(REMEMBERED, *embedding.shape[2:]).to(device).flatten(2).transpose(1, 2)
        aged = [(MAPS, memory) for _, memory in past.seeds]  # a seed has no age
        aged += [(distance - 1, memory) for distance, memory in past.walked if distance <= MAPS]
        tokens = [memory.map.float().flatten(2).transpose(1, 2) for _, memory in aged]
        positions = [place + self.maskmem_tpos_enc[age, 0] for age, _ in aged]
        reach = min(past.depth - 1, POINTERS)
        pointed = [(distance, memory.pointer) for distance, memory in past.seeds if distance > 0]
        pointed += [(distance, memory.pointer) for distance, memory in past.walked if distance <= reach]
        distances = torch.tensor([distance for distance, _ in pointed], dtype=torch.float32, device=device) / reach
        times = self.obj_ptr_tpos_proj(sine_distances(distances, WIDTH))
        split = WIDTH // REMEMBERED  # a pointer is as wide as so many tokens
        tokens += [pointer.view(1, split, REMEMBERED) for _, pointer in pointed]
        positions.append(times.repeat_interleave(split, dim=0)[None])
        memory, where = torch.cat(tokens, dim=1), torch.cat(positions, dim=1)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.memory_attention(embedding, memory, where, split * len(pointed)).float()

    @torch.inference_mode()
    def cuts(
        self, view: View, each: Sequence[Cues], features: Features, past: Past, lowest: float = 0.0
    ) -> Iterator[list[Cut]]:
        """The masks of each prompt set, the best first; in a volume, the target may be absent.

        The sets are alike: as many points and boxes in each, and all start from the mask of the first. They are decoded
        a few at a time.
        """
        image = self.recall(features[0], past)
        few = sets_at_once(image.device)
        for first in range(0, len(each), few):
            answer = self.answer(features, image, view.grid.shape, each[first : first + few])
            for low, iou, tokens, presence in zip(*answer, strict=True):
                present = past.depth == 1 or float(presence) > 0
                low = low if present else torch.full_like(low, ABSENT)
                dice = 2 * iou / (1 + iou)
                order = [n for n in dice.argsort(descending=True, stable=True).tolist() if dice[n] >= lowest]
                traces = [
                    Trace(low[None, n : n + 1], self.pointer(tokens[n : n + 1], present), float(presence))
                    for n in order
                ]
                logits = [self.restore(trace.low, view)[0, 0].T.cpu().numpy() for trace in traces]
                yield [Cut(one, float(dice[n]), trace) for one, n, trace in zip(logits, order, traces, strict=True)]

    def answer(
        self, features: Features, image: Tensor, shape: tuple[int, ...], each: Sequence[Cues]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `decode` gives for prompt sets that are alike, at most one box in each, in a picture (i, j)."""
        device, scale = image.device, self.size / np.array(shape[:2])
        points = np.stack([cues.points[:, :2] for cues in each]) * scale
        boxes = np.stack([cues.boxes[:, :, :2] for cues in each]) * scale
        places, signs = tokenize(
            torch.tensor(points, dtype=torch.float32, device=device),
            torch.tensor(np.stack([cues.positive for cues in each]), dtype=torch.int64, device=device),
            torch.tensor(boxes, dtype=torch.float32, device=device) if boxes.size else None,
        )
        ambiguous = points.shape[1] + 2 * boxes.shape[1] <= 1
        return self.decode(image, features, places, signs, self.mask_logits(each[0], device), ambiguous)

    def mask_logits(self, cues: Cues, device: torch.device) -> Tensor | None:
        """What the decoder starts from (1, 1, 4h, 4w): its own last logits, or a mask drawn or carried."""
        if cues.feedback is not None:
            return cues.feedback.low.clamp(-LARGEST_LOGIT, LARGEST_LOGIT)
        if cues.mask is None:
            return None
        mask = torch.tensor(cues.mask[..., 0].T[None, None], dtype=torch.float32, device=device)
        side = self.size // 4
        return MASK_LOGIT * (2 * F.interpolate(mask, (side, side), mode="bilinear", antialias=True) - 1)

    def adopt(self, features: Features, mask: np.ndarray) -> Cut:
        """A mask (i, j, 1) that was given, as the model's own answer."""
        given = torch.tensor(mask[..., 0].T[None, None], dtype=torch.float32, device=features[0].device)
        square = F.interpolate(given, (self.size, self.size), mode="bilinear", antialias=True)
        square = (square >= 0.5).float()
        low = F.interpolate(20 * square - 10, scale_factor=0.25, mode="bilinear", antialias=True)
        points, signs = tokenize(given.new_zeros(1, 0, 2), given.new_zeros(1, 0, dtype=torch.int64), None)
        _, _, tokens, presence = self.decode(
            features[0], features, points, signs, self.mask_downsample(square), multimask=False
        )
        present = bool(square.any())
        pointer = self.pointer(tokens[:, 0], present and float(presence) > 0)
        return Cut(
            np.where(mask[..., 0], 10, -10).astype(np.float32), 1.0, Trace(low, pointer, 10.0 if present else -10.0)
        )

    def pointer(self, token: Tensor, present: bool) -> Tensor:
        """What a mask token (1, 256) says of the target to later slices."""
        return self.obj_ptr_proj(token) if present else self.no_obj_ptr

    def restore(self, low: Tensor, view: View) -> Tensor:
        """Logits (B, M, 4h, 4w) on the view's own pixels (B, M, j, i)."""
        width, height = view.grid.shape[:2]
        return F.interpolate(low, (height, width), mode="bilinear", align_corners=False)

    def decode(
        self, image: Tensor, features: Features, points: Tensor, signs: Tensor, mask: Tensor | None, multimask: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits `(B, M, 4h, 4w)`, IoU `(B, M)`, tokens `(B, M, 256)`, and how sure it is there `(B, 1)`.

        `image` is an embedding after `recall`, of batch 1 for all prompt sets. `points` `(B, N, 2)` and `signs` are as
        `tokenize` makes them, `mask` holds earlier logits `(B, 1, 4h, 4w)`. Three candidates, or the single one: where
        that is not stable, the best of the three.
        """
        height, width = image.shape[2:]
        places = (points + 0.5) / (16 * torch.tensor([width, height], device=points.device))
        prompts = self.sam_prompt_encoder.tokens(places, signs)
        positions = self.sam_prompt_encoder.pe_layer.dense(height, width)
        image = image + self.sam_prompt_encoder.mask(mask)
        masks, iou, tokens, presence = self.sam_mask_decoder(image, features[1], features[2], positions, prompts)
        if multimask:
            return masks[:, 1:], iou[:, 1:], tokens[:, 1:], presence
        sure, likely = (masks[:, 0] > MARGIN).sum((1, 2)), (masks[:, 0] > -MARGIN).sum((1, 2))
        stable = sure >= STABLE * likely
        chosen = torch.where(stable, 0, 1 + iou[:, 1:].argmax(dim=1))
        each = torch.arange(len(masks), device=masks.device)
        return masks[each, chosen][:, None], iou[each, chosen][:, None], tokens[:, :1], presence

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of an official file under our names: only the MLP of the two-way transformer has others."""
        converted = {}
        for name, tensor in state.items():
            if name.startswith("sam_mask_decoder.transformer."):
                name = name.replace(".mlp.layers.0.", ".mlp.lin1.").replace(".mlp.layers.1.", ".mlp.lin2.")
            converted[name] = tensor
        return converted


def tokenize(points: Tensor, signs: Tensor, boxes: Tensor | None) -> tuple[Tensor, Tensor]:
    """Points `(B, N, 2)`, their signs and at most one box each in SAM 2's order, xy in pixels of the input.

    The corners of the box come first, then the points, then a padding point; where nothing was said there are two.
    """
    if boxes is not None:
        corners = torch.tensor([CORNER, OPPOSITE], device=signs.device).expand(len(boxes), 2)
        points, signs = torch.cat([boxes.view(-1, 2, 2), points], dim=1), torch.cat([corners, signs], dim=1)
    pads = 1 if points.shape[1] else 2
    return F.pad(points, (0, 0, 0, pads)), F.pad(signs, (0, pads), value=PADDING)


def frame_sam2(rgb: np.ndarray, size: int) -> Tensor:
    """Stretched to a square (bilinear, anti-aliased) and normalised; `rgb` is `(H, W, 3)` uint8."""
    pixels = torch.tensor(rgb).permute(2, 0, 1)[None] / 255
    return normalize(F.interpolate(pixels, (size, size), mode="bilinear", antialias=True))


def frame_medsam2(rgb: np.ndarray, size: int) -> Tensor:
    """Stretched to a square (Pillow's bicubic, in 8 bits) and normalised; `rgb` is `(H, W, 3)` uint8."""
    square = np.array(Image.fromarray(rgb).resize((size, size), Image.Resampling.BICUBIC))
    return normalize(torch.tensor(square, dtype=torch.float64).permute(2, 0, 1)[None] / 255)


def normalize(pixels: Tensor) -> Tensor:
    """Colours in [0, 1] less ImageNet's mean, in units of its standard deviation."""
    return ((pixels - MEAN) / STD).float()


FRAMES = {"sam2": frame_sam2, "medsam2": frame_medsam2}
