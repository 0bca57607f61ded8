"""SAM-Med2D: Segment Anything at 256 pixels, tuned on medical images, with an adapter in every block of its encoder.

SAM-Med2D, Cheng et al. 2023, arXiv:2308.16184. Code and weights: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.answer import Answer
from vesalius.errors import PromptError
from vesalius.layers.imagenet import MEAN, STD
from vesalius.layers.mask_decoder import MaskDecoder
from vesalius.layers.prompt_tokens import PromptEncoder, tokenize
from vesalius.layers.resampling import resize_nearest
from vesalius.layers.vit import PATCH, Vit
from vesalius.look import Cut, propagate
from vesalius.scene import Cues, Scene, View

ADAPTER_SHARE = 4  # channels of a block for one of its adapter's bottleneck

Shape = tuple[int, int]  # rows and columns of a picture


def build_encoder(name: str, size: int) -> tuple[Vit, int]:
    """The image encoder called `name` and its width; `vit_nano` is for tests."""
    match name:
        case "vit_b":
            return Vit(size // PATCH, width=768, depth=12, heads=12, global_every=3), 768
        case "vit_nano":
            return Vit(size // PATCH, width=32, depth=2, heads=2, global_every=2), 32
    raise ValueError(f"no image encoder is called {name!r}")


class Adapter(nn.Module):
    """A branch beside the MLP of a block: a gate for each channel, then a look at the neighbouring patches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.channel = nn.Sequential(
            nn.Linear(width, width // ADAPTER_SHARE, bias=False),
            nn.ReLU(),
            nn.Linear(width // ADAPTER_SHARE, width, bias=False),
            nn.Sigmoid(),
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """What is added to the token map `(B, H, W, C)`, H and W even."""
        gated = tokens * self.channel(tokens.mean(dim=(1, 2)))[:, None, None]
        return self.norm(tokens + self.spatial(gated.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class SamMed2d(nn.Module):
    """The released network; `options` are `encoder`, `size`, and whether its `adapters` are used or left out.

    It was trained with a box or with points and never with both: here a box comes first, and points correct its mask.
    A mask is given back to it as probabilities and not as logits. Of its three candidates it trusts the one with the
    highest predicted IoU; SAM's single mask was never trained.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.size = int(options["size"])
        self.precision = "fp32"
        self.image_encoder, width = build_encoder(options["encoder"], self.size)
        if options["adapters"]:
            for block in self.image_encoder.blocks:
                block.adapter = Adapter(width)
        self.prompt_encoder = PromptEncoder()
        self.mask_decoder = MaskDecoder()

    def run(self, scene: Scene) -> Iterator[Answer]:
        """The answer for one target: the slices that were spoken of, and those that the walk reaches from them."""
        return propagate(scene, lambda view: self.segment(view, scene.memo))

    @torch.inference_mode()
    def segment(self, view: View, memo: Callable[..., Any]) -> list[Cut]:
        """The mask of one slice; several boxes are united."""
        embedding = memo(view.grid, lambda: self.look(view))
        logits, dice, mask = self.answer(embedding.float(), picture_shape(view), view.cues)
        return [Cut(logits.T.cpu().numpy(), float(dice), mask.cpu().numpy())]

    def forward(self, view: View) -> Tensor:
        """Mask logits (1, i, j, 1) on the view's grid, differentiable."""
        logits, _, _ = self.answer(self.encode(self.frame(view)), picture_shape(view), view.cues)
        return logits.T[None, ..., None]

    def frame(self, view: View) -> Tensor:
        """The picture of a view as the network's input: colours normalised, then stretched, the nearest pixel taken."""
        channels = len(view.pixels)
        if channels not in (1, 3):
            raise PromptError(f"This model looks at grey or RGB images; yours has {channels} channels: choose one.")
        rgb = np.broadcast_to(view.pixels[..., 0].transpose(2, 1, 0), (*picture_shape(view), 3))
        square = resize_nearest((rgb - MEAN) / STD, self.size, self.size)
        return torch.from_numpy(square).permute(2, 0, 1)[None].to(self.prompt_encoder.no_mask_embed.weight.device)

    def look(self, view: View) -> Tensor:
        """The embedding of a view, in the fastest precision."""
        pixels = self.frame(view)
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.encode(pixels)

    def answer(self, embedding: Tensor, shape: Shape, cues: Cues) -> tuple[Tensor, Tensor, Tensor]:
        """Logits on the picture (H, W), predicted Dice, and the mask to correct as probabilities (4h, 4w)."""
        device = embedding.device
        scale = np.array([self.size / shape[1], self.size / shape[0]])
        points = torch.tensor(cues.points[None, :, :2] * scale, dtype=torch.float32, device=device)
        signs = torch.tensor(cues.positive[None], dtype=torch.int64, device=device)
        boxes = torch.tensor(cues.boxes[:, :, :2] * scale, dtype=torch.float32, device=device).flatten(1)
        mask = self.known_mask(cues, device)
        low, iou = torch.zeros(0), torch.zeros(0)
        if len(boxes) and (mask is None or not len(cues.points)):
            nothing = points[:, :0].expand(len(boxes), -1, -1)
            low, iou = self.decode(embedding, *tokenize(nothing, signs[:, :0].expand(len(boxes), -1), boxes), None)
            low, iou = low.amax(dim=0, keepdim=True), iou.amin(dim=0, keepdim=True)
            mask = low.sigmoid()
        if len(cues.points) or not len(boxes):
            low, iou = self.decode(embedding, *tokenize(points, signs, None), mask)
        iou = iou[0, 0].clamp(0, 1)
        return self.restore(low, shape)[0, 0], 2 * iou / (1 + iou), low[0, 0].sigmoid()

    def known_mask(self, cues: Cues, device: torch.device) -> Tensor | None:
        """What points correct, as probabilities (1, 1, 4h, 4w): the last answer, or a mask given or carried."""
        if cues.feedback is not None:
            return torch.tensor(cues.feedback, device=device)[None, None]
        if cues.mask is None:
            return None
        mask = torch.tensor(cues.mask[..., 0].T[None, None], dtype=torch.float32, device=device)
        return F.interpolate(mask, (self.size // 4, self.size // 4), mode="bilinear", antialias=True)

    def encode(self, pixels: Tensor) -> Tensor:
        """The embedding `(B, 256, H / 16, W / 16)` of normalised `(B, 3, H, W)`."""
        return self.image_encoder(pixels)

    def decode(
        self, embedding: Tensor, points: Tensor, signs: Tensor, mask: Tensor | None, multimask: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Mask logits `(B, 1, 4h, 4w)` and predicted IoU `(B, 1)`: of the best candidate, or of SAM's single mask.

        `points` are `(B, N, 2)` xy in pixels of the network's input (integer = pixel centre) with their `signs`
        `(B, N)` as `tokenize` gives them; `mask` holds the probabilities `(B, 1, 4h, 4w)` of an earlier answer.
        """
        height, width = embedding.shape[2:]
        prompts = self.prompt_encoder.tokens((points + 0.5) / self.size, signs)
        image = embedding + self.prompt_encoder.mask(mask)
        masks, iou = self.mask_decoder(image, self.prompt_encoder.pe_layer.dense(height, width), prompts)
        each = torch.arange(len(iou), device=iou.device)
        best = 1 + iou[:, 1:].argmax(dim=1) if multimask else torch.zeros_like(each)
        return masks[each, best][:, None], iou[each, best][:, None]

    def restore(self, logits: Tensor, shape: Shape) -> Tensor:
        """Mask logits `(B, M, 4h, 4w)` on the picture's own pixels: enlarged, then stretched back."""
        square = F.interpolate(logits, (self.size, self.size), mode="bilinear", align_corners=False)
        return F.interpolate(square, shape, mode="bilinear", align_corners=False)

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of an official file under our names."""
        return {
            name.removeprefix("module.").replace(".Adapter.", ".adapter."): tensor for name, tensor in state.items()
        }


def picture_shape(view: View) -> Shape:
    """Rows and columns of a view, one voxel thick, as a picture."""
    columns, rows, _ = view.grid.shape
    return rows, columns
