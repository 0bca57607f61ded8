"""Plays the recordings of UniverSeg: one or more pictures, each with the first few of a list of examples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from vesalius.models.universeg import UniverSeg


@torch.inference_mode()
def play(model: UniverSeg, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Everything that may have been recorded for these inputs."""
    maps = {name.removesuffix("_u8"): torch.from_numpy(array).float() / 255 for name, array in inputs.items()}
    targets, support = maps["target"][:, None, None], torch.stack([maps["support"], maps["labels"]], dim=1)
    outputs = {}
    for count in range(1, len(support) + 1):
        blocks = [model.enc_blocks[0](target, support[:count]) for target in targets]
        logits = torch.cat([model.decode(target, support[:count])[0] for target in targets]).numpy()
        outputs |= {
            f"s{count}.enc0_target": torch.cat([seen for seen, _ in blocks]).numpy(),
            f"s{count}.enc0_support0": torch.cat([met[:1] for _, met in blocks]).numpy(),
            f"s{count}.logits": logits,
            f"s{count}.mask": logits,
        }
    return outputs
