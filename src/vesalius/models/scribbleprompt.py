"""ScribblePrompt-UNet: scribbles, clicks, boxes and the last mask, each an input channel of a small 2D network.

ScribblePrompt: Fast and Flexible Interactive Segmentation for Any Biomedical Image, Wong et al. 2024. Code and weights:
Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor, nn

from vesalius.answer import Answer
from vesalius.layers.soft_mask import expected_dice, restore
from vesalius.look import Cut, propagate
from vesalius.scene import Cues, Scene, View

CHANNELS = 5  # picture, boxes, positive and negative clicks and scribbles, previous logits
MASK_LOGIT = 8.0  # a mask that was given or carried enters as logits of this size


class ConvBlock(nn.Module):
    """A convolution that keeps the size, and a PReLU with one slope."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.PReLU())

    def forward(self, features: Tensor) -> Tensor:
        return self.conv(features)


class ScribblePrompt(nn.Module):
    """A U-Net over a picture and the prompts; `options` are `width`, `depth` and `size` (pixels that it looks at)."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.size = int(options["size"])
        width, depth = int(options["width"]), int(options["depth"])
        self.downs = nn.ModuleList(ConvBlock(width if n else CHANNELS, width) for n in range(depth))
        self.bottleneck = ConvBlock(width, width)
        self.ups = nn.ModuleList()
        for _ in range(depth):
            self.ups.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True))
            self.ups.append(ConvBlock(2 * width, width))
        self.final_conv = nn.Conv2d(width, 1, 1)

    def run(self, scene: Scene) -> Iterator[Answer]:
        """The answer for one target: the slices that were spoken of, and those that the walk reaches from them."""
        return propagate(scene, lambda view: [self.segment(view)])

    @torch.inference_mode()
    def segment(self, view: View) -> Cut:
        """The mask of one slice, as probability above one half; its logits are what a correction starts from."""
        logits = self.decode(self.look(view))
        probability = restore(logits.sigmoid(), view.grid.shape)
        return Cut((probability - 0.5).cpu().numpy(), expected_dice(probability), logits.cpu().numpy())

    def forward(self, view: View) -> Tensor:
        """Mask logits (1, i, j, 1) on the view's grid, differentiable."""
        return restore(self.decode(self.look(view)), view.grid.shape)[None, ..., None]

    def look(self, view: View) -> Tensor:
        """The network's input `(1, 5, size, size)`: a view and its cues."""
        picture, cues = torch.from_numpy(view.grey()[..., 0].T)[None, None], view.cues
        strokes = draw_strokes(cues, view.grid.shape, self.size)
        points, boxes, previous = cues.points[:, :2], cues.boxes[:, :, :2], self.previous(cues)
        return self.stack(picture, points, cues.positive, boxes, strokes, previous)

    def stack(
        self,
        picture: Tensor,
        points: NDArray[np.float64],
        positive: NDArray[np.bool_],
        boxes: NDArray[np.float64],
        strokes: Tensor,
        previous: Tensor,
    ) -> Tensor:
        """The network's input `(1, 5, size, size)`.

        `points` (N, 2) and `boxes` (M, 2, 2), lowest and highest corner, are xy in pixels of the `picture`
        `(1, 1, H, W)`, as are the positive and negative `strokes` `(1, 2, H, W)`; `previous` are logits of the
        network's size.
        """
        scale = self.size / np.array(picture.shape[:1:-1])
        square = (self.size, self.size)
        picture, strokes = (F.interpolate(maps, square, mode="bilinear") for maps in (picture, strokes))
        clicks = draw_clicks(np.trunc(points * scale), positive, self.size)
        filled = fill_boxes(np.trunc(boxes * scale), self.size)
        maps = torch.cat([picture, filled, (clicks + strokes).clamp(0, 1), previous], dim=1)
        return maps.to(self.final_conv.weight.device)

    def previous(self, cues: Cues) -> Tensor:
        """The mask to start from, as logits `(1, 1, size, size)`: the last answer, or one given or carried, or 0."""
        if cues.feedback is not None:
            return torch.from_numpy(cues.feedback)
        if cues.mask is None:
            return torch.zeros(1, 1, self.size, self.size)
        mask = torch.from_numpy(cues.mask[..., 0].T[None, None]).float()
        return MASK_LOGIT * (2 * F.interpolate(mask, (self.size, self.size), mode="bilinear", antialias=True) - 1)

    def decode(self, maps: Tensor) -> Tensor:
        """Logits `(B, 1, size, size)` of the network's input `(B, 5, size, size)`."""
        skips = []
        for down in self.downs:
            maps = down(maps)
            skips.append(maps)
            maps = F.max_pool2d(maps, 2)
        maps = self.bottleneck(maps)
        for enlarge, up in zip(self.ups[::2], self.ups[1::2], strict=True):
            maps = up(torch.cat([skips.pop(), enlarge(maps)], dim=1))
        return self.final_conv(maps)

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of the official file under our names."""
        return {name.replace("final_conv.conv.0.", "final_conv."): tensor for name, tensor in state.items()}


def draw_strokes(cues: Cues, shape: tuple[int, int, int], size: int) -> Tensor:
    """Positive and negative strokes `(1, 2, H, W)` on a view of `shape`, as broad as a pixel of the network."""
    width, height, _ = shape
    maps = []
    for sign in (True, False):
        picture = Image.new("1", (width, height))
        pen = ImageDraw.Draw(picture)
        for stroke, positive in cues.strokes:
            if positive == sign:
                line = np.repeat(stroke[:, :2], 1 + (len(stroke) == 1), axis=0)
                pen.line([tuple(point) for point in line], 1, max(1, round(max(width, height) / size)))
        maps.append(torch.from_numpy(np.array(picture)))
    return torch.stack(maps)[None].float()


def draw_clicks(points: NDArray[np.float64], positive: NDArray[np.bool_], size: int) -> Tensor:
    """Positive and negative clicks `(1, 2, size, size)`, one pixel each; the last one at a pixel decides."""
    maps = torch.zeros(1, 2, size, size)
    for (x, y), sign in zip(points.clip(0, size - 1).astype(int), positive, strict=True):
        maps[0, :, y, x] = torch.tensor([sign, not sign])
    return maps


def fill_boxes(boxes: NDArray[np.float64], size: int) -> Tensor:
    """Boxes (M, 2, 2) filled `(1, 1, size, size)`, without their last row and column, as the original does."""
    maps = torch.zeros(1, 1, size, size)
    for (left, top), (right, bottom) in boxes.clip(0, size).astype(int):
        maps[..., top : max(bottom, top + 1), left : max(right, left + 1)] = 1
    return maps
