"""UniverSeg: a new task from a set of example images with their masks, without training.

UniverSeg: Universal Medical Image Segmentation, Butoi, Gonzalez Ortiz et al. 2023. Code: Apache-2.0; weights:
OpenRAIL++-M, for research only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.answer import Answer
from vesalius.errors import PromptError
from vesalius.layers.soft_mask import expected_dice, restore
from vesalius.look import Cut
from vesalius.look_examples import every_slice, example_views
from vesalius.look_windows import Shape, blend, pad, starts
from vesalius.scene import Scene, View

TILE_STEP = 0.5  # between the pieces of a picture, as a part of one


class CrossBlock(nn.Module):
    """The target meets each example of the support, and goes on with the mean of what it saw."""

    def __init__(self, target: int, support: int, width: int) -> None:
        super().__init__()
        self.cross = nn.Conv2d(target + support, width, 3, padding=1)
        self.target = nn.Conv2d(width, width, 3, padding=1)
        self.support = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, target: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
        """A target `(1, C, h, w)` and its support `(S, D, h, w)`, both with `width` channels afterwards."""
        # The official code convolves S concatenated pairs; convolution is linear, so its halves may be taken apart.
        own, other = self.cross.weight.split([target.shape[1], support.shape[1]], dim=1)
        seen = F.conv2d(target, own, self.cross.bias, padding=1)
        met = F.conv2d(support, other, padding=1)
        target = seen + met.mean(dim=0, keepdim=True)
        return F.leaky_relu(self.target(target)), F.leaky_relu(self.support(seen + met))


class UniverSeg(nn.Module):
    """A U-Net of cross blocks.

    `options` are `widths`, `size` (pixels of a picture), `bag` (examples at once), and whether pictures are `tiled`:
    seen piece by piece with their own pixels, instead of stretched.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.size, self.bag, self.tiled = int(options["size"]), int(options["bag"]), bool(options.get("tiled"))
        self.tile: Shape = (1, self.size, self.size)
        widths = list(options["widths"])
        first = CrossBlock(1, 2, widths[0])
        down = (CrossBlock(before, before, width) for before, width in pairwise(widths))
        self.enc_blocks = nn.ModuleList([first, *down])
        self.dec_blocks = nn.ModuleList()
        below = widths.pop()
        for width in reversed(widths):
            self.dec_blocks.append(CrossBlock(below + width, below + width, width))
            below = width
        self.out_conv = nn.Conv2d(below, 1, 1)
        for layer in self.modules():  # there are no norms: with smaller weights nothing would be left of the picture
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="leaky_relu")
                nn.init.zeros_(layer.bias)

    def run(self, scene: Scene) -> Iterator[Answer]:
        """The answer for one target: every slice, seen with all examples given so far."""
        support = self.support(example_views(scene), self.tiled)
        return every_slice(scene, lambda view: self.segment(view, support))

    @torch.inference_mode()
    def segment(self, view: View, support: Tensor) -> Cut:
        """The mask of one slice, as probability above one half."""
        if not self.tiled:
            probability = restore(self.fill(self.picture(view), support), view.grid.shape)
            return Cut((probability - 0.5).cpu().numpy(), expected_dice(probability))

        def encode(windows: Tensor) -> Tensor:
            return self.fill(windows[:, :, 0], support).movedim(1, -1)[:, None]

        whole = next(blend(self.grey(view)[0][:, None], encode, self.tile, TILE_STEP))  # one slab, since it is flat
        probability = whole.planes[0, ..., 0].T
        return Cut((probability - 0.5).cpu().numpy(), expected_dice(probability))

    def forward(self, view: View) -> Tensor:
        """Mask logits (1, i, j, 1) on the view's grid, differentiable, from all examples at once; never tiled."""
        logits = self.decode(self.picture(view), self.support(view.cues.examples))
        return restore(logits, view.grid.shape)[None, ..., None]

    def support(self, examples: Sequence[View], tiled: bool = False) -> Tensor:
        """Pictures and masks `(S, 2, size, size)` of examples; PromptError if none of them shows the target."""
        masks = [view.cues.mask for view in examples if view.cues.mask is not None]
        if not any(mask.any() for mask in masks):
            raise PromptError("No example shows the target, for all masks are empty; give one whose mask is filled.")
        fit = self.tiles if tiled else self.resize
        pairs = []
        for view, mask in zip(examples, masks, strict=True):
            grey = self.grey(view)
            pairs.append(fit(torch.cat([grey, torch.from_numpy(mask[..., 0].T[None, None]).to(grey)], dim=1)))
        # Sorted, each one once: neither the order in which they were given nor repetition changes a bit of the answer.
        return torch.cat(pairs).unique(dim=0)

    def picture(self, view: View) -> Tensor:
        """The picture `(1, 1, size, size)` of a view."""
        return self.resize(self.grey(view))

    def grey(self, view: View) -> Tensor:
        """The pixels `(1, 1, H, W)` of a view, the darkest 0 and the brightest 1, where the network is."""
        grey = torch.from_numpy(view.grey()[..., 0].T)[None, None].to(self.out_conv.weight.device)
        return (grey - grey.min()) / (grey.max() - grey.min()).clamp(min=1e-8)

    def resize(self, picture: Tensor) -> Tensor:
        """A picture `(1, C, H, W)` stretched to the network's size."""
        return F.interpolate(picture, (self.size, self.size), mode="bilinear", antialias=True)

    def tiles(self, picture: Tensor) -> Tensor:
        """A picture `(1, C, H, W)` in pieces `(n, C, size, size)` side by side, filled up with zeros."""
        whole = pad(picture[0][:, None], self.tile)[0][:, 0]
        corners = product(*(starts(length, self.size, 1.0) for length in whole.shape[1:]))
        return torch.stack([whole[:, i : i + self.size, j : j + self.size] for i, j in corners])

    def fill(self, pictures: Tensor, support: Tensor) -> Tensor:
        """Probabilities `(B, 1, h, w)` of pictures like them: the mean over parts of the support of at most a bag."""
        bags = -(-len(support) // self.bag)
        parts = [
            torch.cat([self.decode(picture, support[n::bags]).sigmoid() for n in range(bags)]).mean(0, keepdim=True)
            for picture in pictures.split(1)
        ]
        return torch.cat(parts)

    def decode(self, target: Tensor, support: Tensor) -> Tensor:
        """Logits `(1, 1, h, w)` of a picture like them, from examples `(S, 2, h, w)`: pictures and masks in [0, 1]."""
        passed: list[tuple[Tensor, Tensor]] = []
        for block in self.enc_blocks[:-1]:
            target, support = block(target, support)
            # Of the largest features only the mean over the support is read, by the last block.
            passed.append((target, support if passed else support.mean(dim=0, keepdim=True)))
            target, support = F.max_pool2d(target, 2), F.max_pool2d(support, 2)
        target, support = self.enc_blocks[-1](target, support)
        for block in self.dec_blocks:
            target_skip, support_skip = passed.pop()
            support = support if passed else support.mean(dim=0, keepdim=True)
            target, support = block(join(target, target_skip), join(support, support_skip))
        return self.out_conv(target)

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of the official file under our names."""
        return {
            name.replace(".cross_conv.", ".")
            .replace(".vmapped.conv.", ".")
            .replace("out_conv.conv.", "out_conv."): tensor
            for name, tensor in state.items()
        }


def join(below: Tensor, skip: Tensor) -> Tensor:
    """Features from below at twice their size, before those of the way down."""
    return torch.cat([F.interpolate(below, scale_factor=2, mode="bilinear", align_corners=True), skip], dim=1)
