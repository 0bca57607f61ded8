"""Plays the recordings of nnU-Net's sliding window, through a toy network of two convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.card import APACHE, Card, Weights
from vesalius.look_windows import blend_in_half, half_weights, mirrored, starts


class Toy(nn.Module):
    """The network of the recordings."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv3d(2, 6, 3, padding=1), nn.Conv3d(6, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return self.c2(F.leaky_relu(self.c1(image), 0.01))


def model(contract: Mapping[str, Any]) -> Toy:
    """The network, with a card that says what it is."""
    toy = Toy({})
    toy.card = Card(  # type: ignore[assignment]
        name=contract["model"],
        entry="players.look_windows:Toy",
        summary="",
        options={},
        accepts=frozenset(),
        dimensions=3,
        orientation="",
        preprocessing="",
        weights=Weights((), ""),
        licence=APACHE,
        paper="",
    )
    return toy.eval()


@torch.inference_mode()
def play(model: Toy, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Starts, weights and blended logits of every image."""
    outputs: dict[str, np.ndarray] = {}
    for tag in (name.removeprefix("image_") for name in inputs if name.startswith("image_")):
        image, step = torch.from_numpy(inputs[f"image_{tag}"]), float(inputs[f"step_{tag}"])
        i, j, k = patch = tuple(inputs[f"patch_{tag}"].tolist())
        network = mirrored(model, inputs[f"mirror_axes_{tag}"].tolist())
        logits = blend_in_half(image, lambda windows, f=network: f(windows).permute(0, 2, 3, 4, 1), (i, j, k), step)
        for axis, sizes in enumerate(zip(image.shape[1:], patch, strict=True)):
            outputs[f"starts_axis{axis}_{tag}"] = np.array(starts(*sizes, step))
        outputs[f"gaussian_{tag}"] = half_weights((i, j, k)).float().numpy()
        outputs[f"logits_{tag}"] = logits.permute(3, 0, 1, 2).float().numpy()
    return outputs
