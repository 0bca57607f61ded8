"""Plays the recordings of the CLIP-Driven Universal Model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from vesalius.models.clip_driven import ClipDriven


@torch.inference_mode()
def play(model: ClipDriven, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every output that may have been recorded for an image, alone and in a batch with a second one."""
    image, bank = torch.from_numpy(inputs["image"]), list(range(len(model.outputs)))
    deepest, feature = model.backbone(image)
    logits = model.logits(image, bank)
    outputs = {"deepest": deepest, "feature": feature, "logits": logits, "prob_argmax": logits.argmax(dim=1)}
    if "image_second" in inputs:
        both = model.head(*model.see(torch.cat([image, torch.from_numpy(inputs["image_second"])])), bank)
        outputs |= {"logits_batch2_first": both[:1], "logits_batch2_second": both[1:]}
    return {name: np.asarray(array) for name, array in outputs.items()}
