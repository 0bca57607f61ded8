"""LikeGrey: what is as bright as the place that was clicked, and near to it; four numbers, as a first model to add.

The example of docs/add-a-model.md; there is no paper. Code and weights: Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from vesalius.answer import Answer
from vesalius.card import APACHE, Card, Weights
from vesalius.layers.soft_mask import expected_dice
from vesalius.look import Cut, propagate
from vesalius.scene import Cues, Scene, View

NEAR = 3.0  # pixels around a click on what is not wanted
HALF = (
    0.501  # of a pixel: a click between two is of the upper one; 0.5 would leave it to rounding in each storage order
)


class LikeGrey(nn.Module):
    """A linear layer over three features of each pixel; `options` are not used."""

    card = Card(
        name="like-grey",
        entry="like_grey.py:LikeGrey",
        summary="What is as bright as the place that was clicked, and near to it.",
        options={},
        accepts=frozenset({"point"}),
        dimensions=2,
        orientation="LPS",
        preprocessing="Grey levels in [0, 1].",
        weights=Weights(urls=(), file=""),
        licence=APACHE,
        paper="none: an example",
    )

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)
        # Before anything is learned: what is unlike, far or refused is outside.
        nn.init.constant_(self.linear.weight, -10.0)
        nn.init.constant_(self.linear.bias, 2.0)

    def run(self, scene: Scene) -> Iterator[Answer]:
        """The answer for one target: the slices that were spoken of, and those that the walk reaches from them."""
        return propagate(scene, self.segment)

    @torch.inference_mode()
    def segment(self, view: View) -> list[Cut]:
        """The mask of one slice, with the Dice that can be expected of it."""
        logits = self(view)[0, ..., 0].cpu()
        return [Cut(logits.numpy(), expected_dice(logits.sigmoid()))]

    def forward(self, view: View) -> Tensor:
        """Mask logits (1, i, j, 1) on the view's grid, differentiable."""
        features = torch.from_numpy(look(view)).to(self.linear.weight)
        return self.linear(features)[..., 0][None, ..., None]

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of the official file under our names."""
        return {name.replace("net.", "linear."): tensor for name, tensor in state.items()}


def look(view: View) -> NDArray[np.float32]:
    """What the network sees of each pixel (i, j, 3).

    How far it is from the seeds in grey level and, in hundreds of pixels, in place; 1 where a click says "not here".
    """
    grey, seeds = view.grey()[..., 0], marked(view.cues, view.grid.shape, positive=True)
    if not seeds.any():
        return np.ones((*grey.shape, 3), np.float32)
    unlike = np.abs(grey - grey[seeds].mean())
    away = ndimage.distance_transform_edt(~seeds) / 100
    refused = marked(view.cues, view.grid.shape, positive=False)
    near = ndimage.distance_transform_edt(~refused) <= NEAR if refused.any() else refused
    return np.stack([unlike, away, near], axis=-1).astype(np.float32)


def marked(cues: Cues, shape: tuple[int, int, int], positive: bool) -> NDArray[np.bool_]:
    """The pixels (i, j) of the clicks of one sign; of positive ones with the mask that the slice has so far."""
    found = np.zeros(shape[:2], bool)
    if positive and cues.mask is not None:
        found |= cues.mask[..., 0]
    at = np.floor(cues.points[cues.positive == positive] + HALF).astype(int)
    i, j, _ = np.minimum(at, np.array(shape) - 1).T
    found[i, j] = True
    return found
