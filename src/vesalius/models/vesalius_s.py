"""vesalius-s: the small promptable model inside the package, SAM's two-way decoder with a path for detail and drawing.

Three things differ from MobileSAM (Zhang et al. 2023, Apache-2.0), whose weights it starts from. Masks have half the
resolution of the input instead of a quarter, with features of the encoder's early layers added on the way up (as in
HQ-SAM, Ke et al. 2023, and SAM 2). Clicks, strokes, boxes and the mask before are also drawn as maps at that resolution
(as in RITM, Sofiiuk et al. 2022, and ScribblePrompt, Wong et al. 2024). The predicted quality is the Dice, and looks at
the mask that it judges. Small targets are looked at from near: a part of the picture, three times as large as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor, nn

from vesalius.answer import Answer
from vesalius.errors import PromptError
from vesalius.layers.imagenet import MEAN, STD
from vesalius.layers.mask_decoder import sets_at_once
from vesalius.layers.norm import LayerNorm2d
from vesalius.layers.prompt_maps import draw_prompts
from vesalius.layers.prompt_tokens import (
    NEGATIVE,
    POSITIVE,
    WIDTH,
    Mlp,
    PromptEncoder,
    tokenize,
)
from vesalius.layers.resampling import resize_bilinear
from vesalius.layers.tiny_vit import DEPTHS, HEADS, WIDTHS, TinyVit
from vesalius.layers.two_way import TwoWayTransformer
from vesalius.look import Cut, propagate, together
from vesalius.scene import Cues, Scene, View

MASK_LOGIT = 8.0  # a mask that a user gave enters the decoder as logits of this size
STROKE_CELLS = 2  # width of a drawn stroke, in cells of the maps (two pixels of the input each)
REACHES = (3.0, 8.0, 20.0, 50.0)  # standard deviations of what is near a click, in pixels of the input
FINE, MIDDLE, COARSE = 16, 32, 64  # channels of the detail path at 2, 4 and 8 pixels

MARGIN = 3.0  # a part of the picture is looked at that is so many times as large as the target
SMALLEST = 48  # pixels of the picture: a smaller part is not looked at
WHOLE = 0.8  # a part almost as large as the picture is the picture
CLOSER = 0.4  # a second look is worth it where the part has less than this share of the area of the first

Features = tuple[Tensor, ...]  # 16, 32 and 64 channels at 2, 4 and 8 pixels, 256 at 16


@dataclass(frozen=True)
class Frame:
    """How a picture was brought to the network's square: from the top left corner, the rest is padding."""

    size: int  # of the square
    resized: tuple[int, int]  # rows and columns that the picture covers
    original: tuple[int, int]  # rows and columns of the picture

    @property
    def scale(self) -> np.ndarray:
        """Network pixels for one pixel of the picture: x, y."""
        return np.array([self.resized[1] / self.original[1], self.resized[0] / self.original[0]])


Crop = tuple[int, int, int, int]  # the part of a picture from pixel (i, j) up to, not including, (i, j)


@dataclass(frozen=True, eq=False)
class Seen:
    """What a look leaves for the next: the part of the picture, how it was framed, and the logits (S / 2, S / 2)."""

    crop: Crop
    frame: Frame
    logits: np.ndarray


class VesaliusS(nn.Module):
    """Clicks, boxes, strokes and masks to masks; `options` are `encoder` and `size` (pixels that it looks at)."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        encoder = str(options["encoder"])
        self.size = int(options["size"])
        self.precision = "fp32"
        self.onnx_encoder: Callable[[Tensor], Features]  # there with the precision "onnx"
        self.image_encoder = TinyVit(WIDTHS[encoder], DEPTHS[encoder], HEADS[encoder], stride=16)
        self.skips = Skips(WIDTHS[encoder])
        self.prompt_encoder = PromptEncoder()
        self.drawing = Drawing()
        self.mask_decoder = MaskDecoder()

    def run(self, scene: Scene) -> Iterator[Answer]:
        """The answer for one target: the slices that were spoken of, and those that the walk reaches from them."""
        return propagate(scene, lambda view: self.segment(view, scene.memo))

    @torch.inference_mode()
    def segment(self, view: View, memo: Callable[..., Any]) -> list[Cut]:
        """The masks of one slice, the best first: three for a single click, otherwise one; several boxes are united.

        A part of the picture is looked at where the prompts say how large the target is. A click does not: where its
        best mask is small in the whole picture, or a mask reaches the edge of a part, there is a second look.
        """
        cues, shape = view.cues, view.grid.shape[:2]
        crop = first_crop(cues, shape)
        cuts = self.cuts(view, crop, cues, memo)
        if len(cues.boxes) > 1 or not cuts[0].mask.any():
            return cuts
        better = crop_around([*places(cues), *corners(cuts[0].mask)], shape)
        if is_cut_off(cuts[0].mask, crop) or (cues.feedback is None and area(better) < CLOSER * area(crop)):
            again = replace(cues, feedback=cuts[0].feedback, mask=None)
            cuts = [self.cuts(view, better, again, memo)[0], *cuts[1:]]
        return cuts

    @torch.inference_mode()
    def glance_each(
        self, view: View, each: Sequence[Cues], memo: Callable[..., Any], lowest: float
    ) -> Iterator[list[Cut]]:
        """What each of many clicks shows at the first look alone: masks of a predicted Dice of at least `lowest`."""
        features, frame = memo(view.grid, lambda: self.look(view)), self.framing(view.grid.shape)
        few = sets_at_once(features[0].device)
        for first in range(0, len(each), few):
            for low, dice in zip(*self.answer(features, frame, each[first : first + few]), strict=True):
                good = dice >= lowest
                masks = restore(low[good][None], frame)[0].cpu().numpy() if good.any() else ()
                yield [Cut(mask.T, float(score)) for mask, score in zip(masks, dice[good], strict=True)]

    def forward(self, view: View) -> Tensor:
        """Mask logits (M, i, j, 1) on the view's grid, differentiable."""
        pixels, frame = self.frame(view)
        low, _ = self.answer(self.encode(pixels), frame, [view.cues])
        return restore(low, frame)[0].transpose(1, 2)[..., None]

    def look(self, view: View) -> Features:
        """The features of a view, in the fastest precision."""
        pixels, _ = self.frame(view)
        if self.precision == "onnx":
            features = self.onnx_encoder(pixels)
        else:
            with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                features = self.encode(pixels)
        kept = torch.bfloat16 if self.precision == "bf16" else torch.float32  # half the memory
        return tuple(part.to(kept) for part in features)

    def frame(self, view: View) -> tuple[Tensor, Frame]:
        """The picture of a view (1 or 3 channels, one voxel thick), normalised and padded: (1, 3, size, size)."""
        channels = len(view.pixels)
        if channels not in (1, 3):
            raise PromptError(f"This model looks at grey or RGB images; yours has {channels} channels: choose one.")
        rgb = np.broadcast_to(view.pixels[..., 0].transpose(2, 1, 0), (*view.grid.shape[1::-1], 3))
        frame = self.framing(view.grid.shape)
        height, width = frame.resized
        resized = (resize_bilinear(np.ascontiguousarray(rgb), height, width) - MEAN) / STD
        pixels = torch.from_numpy(resized).float().permute(2, 0, 1)[None]
        pixels = F.pad(pixels, (0, self.size - width, 0, self.size - height))
        return pixels.to(next(self.parameters()).device), frame

    def framing(self, shape: tuple[int, ...]) -> Frame:
        """How a picture of (i, j) pixels is brought to the square."""
        scale = self.size / max(shape[:2])
        width, height = (max(int(side * scale + 0.5), 1) for side in shape[:2])
        return Frame(self.size, (height, width), (shape[1], shape[0]))

    def cuts(self, view: View, crop: Crop, cues: Cues, memo: Callable[..., Any]) -> list[Cut]:
        """The masks of one prompt set as seen in a part of the picture, the best first."""
        i, j, i_end, j_end = crop
        part = View(view.pixels[:, i:i_end, j:j_end], view.grid.crop((i, j, 0), (i_end - i, j_end - j, 1)))
        features, frame = memo(part.grid, lambda: self.look(part)), self.framing(part.grid.shape)
        mask = None if cues.mask is None else cues.mask[i:i_end, j:j_end]
        feedback = None if cues.feedback is None else move_logits(cues.feedback, crop, frame, view.grid.shape[:2])
        offset = np.array([i, j, 0])
        strokes = tuple((line - offset, positive) for line, positive in cues.strokes)
        cues = Cues(cues.points - offset, cues.positive, cues.boxes - offset, mask, feedback, strokes)
        if len(cues.boxes) > 1:
            each = [replace(cues, boxes=box[None]) for box in cues.boxes]
            return [together(self.placed(features, frame, one, crop, view)[0] for one in each)]
        return self.placed(features, frame, cues, crop, view)

    def placed(self, features: Features, frame: Frame, cues: Cues, crop: Crop, view: View) -> list[Cut]:
        """The masks of a part of the picture in the whole picture, the best first."""
        lows, scores = self.answer(features, frame, [cues])
        restored, dice, low = (each[0].float().cpu().numpy() for each in (restore(lows, frame), scores, lows))
        found = []
        for n in np.argsort(-dice, kind="stable"):
            logits = np.full(view.grid.shape[:2], -MASK_LOGIT, dtype=np.float32)
            logits[crop[0] : crop[2], crop[1] : crop[3]] = restored[n].T
            found.append(Cut(logits, float(dice[n]), Seen(crop, frame, low[n].astype(np.float16))))
        return found

    def answer(self, features: Features, frame: Frame, each: Sequence[Cues]) -> tuple[Tensor, Tensor]:
        """The decoder's logits (B, M, S / 2, S / 2) and predicted Dice (B, M) of prompt sets that are alike.

        Masks and strokes are those of the first set.
        """
        device = features[0].device
        points = (np.stack([cues.points[:, :2] for cues in each]) + 0.5) * frame.scale - 0.5
        # Corners are the centres of the outermost pixels: of the picture, then of the network's input.
        boxes, ends = np.concatenate([cues.boxes[:, :, :2] for cues in each]), np.array([[0], [1]])
        boxes = (boxes + ends) * frame.scale - ends
        places, signs = tokenize(
            torch.tensor(points, dtype=torch.float32, device=device),
            torch.tensor(np.stack([cues.positive for cues in each]), dtype=torch.int64, device=device),
            torch.tensor(boxes.reshape(-1, 4), dtype=torch.float32, device=device) if len(boxes) else None,
        )
        mask, drawn = mask_logits(each[0], frame), draw_strokes(each[0], frame)
        ambiguous = points.shape[1] == 1 and not len(boxes) and mask is None
        features = tuple(part.float() for part in features)
        mask = None if mask is None else mask.to(device)
        low, dice = self.decode(features, places, signs, mask, None if drawn is None else drawn.to(device))
        chosen = slice(1, 4) if ambiguous else slice(0, 1)
        return low[:, chosen], dice[:, chosen].clamp(0, 1)

    def encode(self, pixels: Tensor) -> Features:
        """What the decoder needs of normalised pictures `(B, 3, S, S)`."""
        fine, middle, coarse, embedding = self.image_encoder.pyramid(pixels)
        return *self.skips(fine, middle, coarse), embedding

    def decode(
        self,
        features: Features,
        points: Tensor,
        signs: Tensor,
        mask: Tensor | None,
        drawn: Tensor | None,
        masked: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Four masks `(B, 4, S / 2, S / 2)` as logits, the single one and three candidates, and their Dice `(B, 4)`.

        `points` are `(B, N, 2)` xy in pixels of the network's input (integer = pixel centre) and `signs` `(B, N)` say
        what they are: 1 and 0 positive and negative, 2 and 3 the corners of a box, -1 padding. `mask` holds earlier
        logits `(B, 1, S / 2, S / 2)`, `drawn` positive and negative strokes `(B, 2, S / 2, S / 2)` in [0, 1]. Features
        of batch 1 serve all prompt sets. `masked` `(B,)` is False for those that have no `mask` after all.
        """
        fine, middle, coarse, embedding = features
        height, width = embedding.shape[2:]
        extent = 16 * torch.tensor([width, height], device=points.device)
        tokens = self.prompt_encoder.tokens((points + 0.5) / extent, signs)
        if mask is not None and masked is not None:
            mask = mask * masked[:, None, None, None]
        maps = draw_prompts(points, signs, mask, drawn, (8 * height, 8 * width))
        drawn_fine, drawn_middle, drawn_embedding = self.drawing(maps)
        quarter = None if mask is None else F.avg_pool2d(mask, 2)
        dense = self.prompt_encoder.mask(quarter)
        if masked is not None:
            dense = torch.where(masked[:, None, None, None], dense, self.prompt_encoder.mask(None))
        image = embedding + dense + drawn_embedding
        positions = self.prompt_encoder.pe_layer.dense(height, width)
        details = (fine + drawn_fine, middle, drawn_middle, coarse)
        return self.mask_decoder(image, positions, tokens, details, (points, signs))

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our own file has our own names."""
        return dict(state)


class Skips(nn.Module):
    """Early features of the encoder at 2, 4 and 8 pixels, in the widths of the decoder's way up."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.fine = nn.Conv2d(widths[0] // 2, FINE, 1)
        self.middle = nn.Conv2d(widths[0], MIDDLE, 1)
        self.coarse = nn.Conv2d(widths[1], COARSE, 1)
        for layer in (self.middle, self.coarse):  # at first the decoder is what MobileSAM's was
            _clear(layer)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.fine(fine), self.middle(middle), self.coarse(coarse)


class Drawing(nn.Module):
    """Prompts drawn as maps `(B, 4, S / 2, S / 2)` become features at 2, 4 and 16 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(4, FINE, 3, padding=1)
        self.middle = nn.Conv2d(FINE, MIDDLE, 3, 2, padding=1)
        self.coarse = nn.Conv2d(MIDDLE, COARSE, 3, 2, padding=1)
        self.norm = LayerNorm2d(COARSE)
        self.embedding = nn.Conv2d(COARSE, WIDTH, 3, 2, padding=1)
        _clear(self.embedding)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine = F.gelu(self.fine(maps))
        middle = F.gelu(self.middle(fine))
        coarse = F.gelu(self.norm(self.coarse(middle)))
        return fine, middle, self.embedding(coarse)


class MaskDecoder(nn.Module):
    """SAM's mask decoder, whose masks are then drawn again at twice the resolution; tensor names as in SAM."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(WIDTH, 2048)
        self.iou_token = nn.Embedding(1, WIDTH)
        self.mask_tokens = nn.Embedding(4, WIDTH)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(WIDTH, COARSE, 2, 2),
            LayerNorm2d(COARSE),
            nn.GELU(),
            nn.ConvTranspose2d(COARSE, MIDDLE, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Mlp(MIDDLE) for _ in range(4))
        self.iou_prediction_head = Mlp(4)
        self.middle = nn.Sequential(
            nn.Conv2d(2 * MIDDLE, MIDDLE, 3, padding=1), nn.GELU(), nn.Conv2d(MIDDLE, MIDDLE, 3, padding=1)
        )
        self.up = nn.ConvTranspose2d(MIDDLE, FINE, 2, 2)
        self.norm = LayerNorm2d(FINE)
        self.fine = nn.Sequential(nn.Conv2d(FINE, FINE, 3, padding=1), nn.GELU(), nn.Conv2d(FINE, FINE, 3, padding=1))
        self.fine_mlps = nn.ModuleList(Mlp(FINE) for _ in range(4))
        seen = 2 * WIDTH + 2 * MIDDLE + 3 + 2 * len(REACHES) + 2 * 4
        self.critic = nn.Sequential(nn.Linear(seen, WIDTH), nn.GELU(), nn.Linear(WIDTH, 1))
        for layer in (*(mlp.get_submodule("layers.2") for mlp in self.fine_mlps), self.critic[2]):
            _clear(layer)

    def forward(
        self,
        image: Tensor,
        positions: Tensor,
        prompts: Tensor,
        details: tuple[Tensor, Tensor, Tensor, Tensor],
        clicks: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Four masks `(B, 4, 8h, 8w)` and their predicted Dice `(B, 4)` from `(1 | B, 256, h, w)` and the details.

        `clicks` are the places `(B, N, 2)` of the prompts in pixels of the input, and what they are `(B, N)`.
        """
        fine, middle, drawn, coarse = details
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(prompts.shape[0], -1, -1), prompts], dim=1)
        tokens, keys = self.transformer(image, positions, tokens)
        first, norm, act, second, _ = self.output_upscaling
        quarter = keys.transpose(1, 2).unflatten(2, image.shape[2:])
        quarter = act(norm(first(quarter)) + coarse)
        quarter = act(second(quarter) + middle)
        kernels = [mlp(tokens[:, i + 1]) for i, mlp in enumerate(self.output_hypernetworks_mlps)]
        masks = torch.einsum("bmc,bchw->bmhw", torch.stack(kernels, dim=1), quarter)
        quarter = quarter + self.middle(torch.cat([quarter, drawn.expand(quarter.shape[0], -1, -1, -1)], dim=1))
        half = F.gelu(self.norm(self.up(quarter) + fine))
        half = half + self.fine(half)
        kernels = [mlp(tokens[:, i + 1]) for i, mlp in enumerate(self.fine_mlps)]
        details_of = torch.einsum("bmc,bchw->bmhw", torch.stack(kernels, dim=1), half)
        masks = F.interpolate(masks, scale_factor=2, mode="bilinear", align_corners=False) + details_of
        return masks, self.quality(masks, tokens, quarter, clicks)

    def quality(self, masks: Tensor, tokens: Tensor, image: Tensor, clicks: tuple[Tensor, Tensor]) -> Tensor:
        """The Dice expected of each mask: SAM's guess, corrected by a critic that sees all four masks.

        Of each it sees the token, what the image shows inside and around it, its size and how sure it is, how much of
        it lies near the clicks (a person clicks in the middle), and how it overlaps the other three.
        """
        probability = F.avg_pool2d(masks.detach(), 2).sigmoid()
        around = (F.max_pool2d(probability, 5, 1, 2) - probability).flatten(2)
        near = closeness(probability, *clicks)
        probability = probability.flatten(2)
        inside = (probability > 0.5).float()
        area, mass = inside.sum(2), probability.sum(2)
        expected = 2 * (probability * inside).sum(2) / (area + mass).clamp(min=1)
        pixels = image.detach().flatten(2).transpose(1, 2)
        looks = [part @ pixels / part.sum(2, keepdim=True).clamp(min=1) for part in (probability, around)]
        shape = torch.stack([expected, area.add(1).log() / 8, mass.add(1).log() / 8], dim=2)
        sizes = mass[:, :, None] + mass[:, None]
        overlaps = 2 * probability @ probability.transpose(1, 2) / sizes.clamp(min=1)
        larger = (mass.add(1).log()[:, :, None] - mass.add(1).log()[:, None]) / 4
        of_all = tokens[:, :1].expand(-1, 4, -1)
        seen = torch.cat([of_all, tokens[:, 1:5], *looks, shape, near, overlaps, larger], dim=2)
        return self.iou_prediction_head(tokens[:, 0]) + self.critic(seen)[..., 0]


def _clear(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def closeness(masks: Tensor, points: Tensor, signs: Tensor) -> Tensor:
    """How much of the surroundings of the positive and of the negative clicks lies in each mask (B, M, h, w), which has
    a quarter of the input's resolution: `(B, M, 2 * reaches)`, the mean over clicks, 0 where there is none."""
    down = 4.0 * torch.arange(masks.shape[2], device=points.device)[:, None] + 1.5
    across = 4.0 * torch.arange(masks.shape[3], device=points.device) + 1.5
    apart = (across - points[..., 0, None, None]) ** 2 + (down - points[..., 1, None, None]) ** 2
    found = []
    for reach in REACHES:
        spots = torch.exp(-apart / (2 * reach**2)).flatten(2)  # (B, N, h * w)
        shares = masks.flatten(2) @ (spots / spots.sum(2, keepdim=True).clamp(min=1e-6)).transpose(1, 2)
        for sign in (POSITIVE, NEGATIVE):
            ours = (signs == sign).float()[:, None]
            found.append((shares * ours).sum(2) / ours.sum(2).clamp(min=1))
    return torch.stack(found, dim=2)


def first_crop(cues: Cues, shape: tuple[int, ...]) -> Crop:
    """Where to look first: where the last look was, around a box or a mask, or at the whole picture."""
    said = places(cues)
    if isinstance(cues.feedback, Seen):
        i, j, i_end, j_end = cues.feedback.crop
        inside = all(i <= x < i_end and j <= y < j_end for x, y in said)
        return cues.feedback.crop if inside else crop_around([*said, (i, j), (i_end - 1, j_end - 1)], shape, 1.0)
    if cues.mask is not None and cues.mask.any():
        said += corners(cues.mask[..., 0])
    elif not len(cues.boxes):
        return 0, 0, shape[0], shape[1]
    return crop_around(said, shape)


def places(cues: Cues) -> list[Any]:
    """The pixels (i, j) that prompts speak of."""
    return [*cues.points[:, :2], *cues.boxes[:, :, :2].reshape(-1, 2)]


def corners(mask: NDArray[np.bool_]) -> list[Any]:
    """The first and the last pixel (i, j) of the box around a mask that is not empty."""
    columns, rows = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [(columns[0], rows[0]), (columns[-1], rows[-1])]


def crop_around(pixels: list[Any], shape: tuple[int, ...], margin: float = MARGIN) -> Crop:
    """A square around pixels (i, j), `margin` times as large as they reach; the whole picture if it is hardly less."""
    low, high = np.min(pixels, axis=0), np.max(pixels, axis=0)
    side = int(np.ceil(max(margin * (high - low + 1).max(), SMALLEST)))
    if side >= WHOLE * max(shape[:2]):
        return 0, 0, shape[0], shape[1]
    sides = np.minimum(side, shape[:2])
    start = np.clip(np.round((low + high + 1 - sides) / 2).astype(int), 0, np.array(shape[:2]) - sides)
    return int(start[0]), int(start[1]), int(start[0] + sides[0]), int(start[1] + sides[1])


def area(crop: Crop) -> int:
    return (crop[2] - crop[0]) * (crop[3] - crop[1])


def is_cut_off(mask: NDArray[np.bool_], crop: Crop) -> bool:
    """Whether a mask (i, j) reaches an edge of the part that was looked at, and the picture goes on there."""
    i, j, i_end, j_end = crop
    before = (i > 0 and mask[i].any()) or (j > 0 and mask[:, j].any())
    after = (i_end < mask.shape[0] and mask[i_end - 1].any()) or (j_end < mask.shape[1] and mask[:, j_end - 1].any())
    return bool(before or after)


def move_logits(seen: Seen, crop: Crop, frame: Frame, shape: tuple[int, ...]) -> np.ndarray:
    """The logits of an earlier look as the decoder would have them in another part of the picture."""
    if seen.crop == crop:
        return seen.logits
    whole = torch.full((1, 1, shape[1], shape[0]), -MASK_LOGIT)
    i, j, i_end, j_end = seen.crop
    whole[..., j:j_end, i:i_end] = restore(torch.from_numpy(seen.logits)[None, None].float(), seen.frame)
    part = whole[..., crop[1] : crop[3], crop[0] : crop[2]]
    return into_frame(part, frame, -MASK_LOGIT)[0, 0].numpy()


def into_frame(part: Tensor, frame: Frame, outside: float) -> Tensor:
    """A map of the picture (1, 1, H, W) as the decoder sees it (1, 1, S / 2, S / 2)."""
    height, width = frame.resized
    inside = F.interpolate(part, frame.resized, mode="bilinear", antialias=True)
    return F.avg_pool2d(F.pad(inside, (0, frame.size - width, 0, frame.size - height), value=outside), 2)


def mask_logits(cues: Cues, frame: Frame) -> Tensor | None:
    """What the decoder starts from (1, 1, S / 2, S / 2): its own last logits, or a mask given or carried."""
    if cues.feedback is not None:
        return torch.from_numpy(np.asarray(cues.feedback, dtype=np.float32))[None, None]
    if cues.mask is None:
        return None
    mask = torch.tensor(cues.mask[..., 0].T[None, None], dtype=torch.float32)
    return MASK_LOGIT * (2 * into_frame(mask, frame, 0.0) - 1)


def draw_strokes(cues: Cues, frame: Frame) -> Tensor | None:
    """Positive and negative strokes as maps (1, 2, S / 2, S / 2), or None where nothing was drawn."""
    if not cues.strokes:
        return None
    maps = []
    for sign in (True, False):
        picture = Image.new("1", (frame.size // 2, frame.size // 2))
        pen = ImageDraw.Draw(picture)
        for stroke, positive in cues.strokes:
            if positive == sign:
                line = ((stroke[:, :2] + 0.5) * frame.scale - 0.5) / 2
                pen.line([tuple(point) for point in np.repeat(line, 1 + (len(line) == 1), axis=0)], 1, STROKE_CELLS)
        maps.append(torch.from_numpy(np.array(picture)))
    return torch.stack(maps)[None].float()


def restore(logits: Tensor, frame: Frame) -> Tensor:
    """Mask logits `(B, M, S / 2, S / 2)` on the picture's own pixels: enlarged, cut, resized."""
    square = F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
    height, width = frame.resized
    return F.interpolate(square[..., :height, :width], frame.original, mode="bilinear", align_corners=False)
