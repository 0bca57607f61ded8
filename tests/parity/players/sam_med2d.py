"""Plays the recordings of SAM-Med2D: one picture, and any number of independent prompt sets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from vesalius.grid import make_grid
from vesalius.layers.prompt_tokens import tokenize
from vesalius.models.sam_med2d import SamMed2d
from vesalius.scene import View


@torch.inference_mode()
def play(model: SamMed2d, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Everything that may have been recorded for these inputs."""
    picture = np.atleast_3d(inputs["image"])
    rows, columns = picture.shape[:2]
    scale = torch.tensor([model.size / columns, model.size / rows])
    pixels = model.frame(View(picture.transpose(2, 1, 0)[..., None], make_grid((columns, rows, 1), np.eye(4))))
    embedding = model.encode(pixels)
    outputs = {"network_input": pixels[0].numpy(), "image_embedding": embedding[0].numpy()}
    for tag in sorted({name.partition(".")[0] for name in inputs if "." in name}):
        said = {name.partition(".")[2]: array for name, array in inputs.items() if name.startswith(f"{tag}.")}
        points = torch.from_numpy(said.get("point_coords", np.zeros((0, 2))).astype(np.float32))[None] * scale
        signs = torch.from_numpy(said.get("point_labels", np.zeros(0)).astype(np.int64))[None]
        box = (
            (torch.from_numpy(said["box"].astype(np.float32)).view(2, 2) * scale).view(1, 4) if "box" in said else None
        )
        mask = torch.from_numpy(said["mask_input"])[None] if "mask_input" in said else None
        low, iou = model.decode(embedding, *tokenize(points, signs, box), mask, bool(said["multimask"][0]))
        logits = model.restore(low, (rows, columns))[0].numpy()
        found = {"iou": iou[0].numpy(), "low_res": low[0].numpy(), "logits": logits, "mask": logits}
        outputs |= {f"{tag}.{name}": array for name, array in found.items()}
    return outputs
