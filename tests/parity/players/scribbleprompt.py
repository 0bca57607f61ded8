"""Plays the recordings of ScribblePrompt-UNet: one picture, and any number of independent prompt sets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F

from vesalius.models.scribbleprompt import ScribblePrompt


@torch.inference_mode()
def play(model: ScribblePrompt, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Everything that may have been recorded for these inputs."""
    picture = torch.from_numpy(inputs["image"]).float()[None, None] / 255
    height, width = picture.shape[2:]
    outputs = {}
    for tag in sorted({name.partition(".")[0] for name in inputs if "." in name}):
        said = {name.partition(".")[2]: array for name, array in inputs.items() if name.startswith(f"{tag}.")}
        maps = model.stack(
            picture,
            said.get("point_coords", np.empty(0)).reshape(-1, 2),
            said.get("point_labels", np.empty(0)).reshape(-1).astype(bool),
            np.sort(said.get("box", np.empty(0)).reshape(-1, 2, 2), axis=1),
            torch.from_numpy(said.get("scribbles", np.zeros((1, 2, height, width), np.float32))),
            torch.from_numpy(said.get("mask_input", np.zeros((1, 1, model.size, model.size), np.float32))),
        )
        logits = model.decode(maps)
        probability = F.interpolate(logits.sigmoid(), (height, width), mode="bilinear")[0, 0].numpy()
        outputs |= {
            f"{tag}.network_input": maps[0].numpy(),
            f"{tag}.logits": logits[0, 0].numpy(),
            f"{tag}.prob": probability,
            f"{tag}.mask": probability - 0.5,
        }
    return outputs
