"""Plays the recordings of SAM-Med3D: one cube, a first click, then both, with the first answer as the mask."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from vesalius.models.sam_med3d import SamMed3d, enlarge


@torch.inference_mode()
def play(model: SamMed3d, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Everything that may have been recorded for these inputs."""
    embedding = model.encode(torch.from_numpy(inputs["image"]))
    points, signs = torch.from_numpy(inputs["points"]), torch.from_numpy(inputs["labels"]).long()
    zeros = torch.zeros(1, 1, *[model.size // 4] * 3)
    low, iou = model.decode(embedding, points[:, :1], signs[:, :1], zeros)
    both, both_iou = model.decode(embedding, points, signs, low)
    three, three_iou = model.decode(embedding, points, signs, low, multimask=True)
    outputs = {
        "image_embedding": embedding,
        "dense_pe": model.prompt_encoder.pe_layer.dense(embedding.shape[-1]),
        "sparse_click1": model.prompt_encoder.tokens((points[:, :1] + 0.5) / model.size, signs[:, :1]),
        "dense_click1_zero_mask": model.prompt_encoder.mask(zeros),
        "low_res_click1": low,
        "iou_click1": iou,
        "sparse_click2": model.prompt_encoder.tokens((points + 0.5) / model.size, signs),
        "dense_click2": model.prompt_encoder.mask(low),
        "low_res_click2": both,
        "iou_click2": both_iou,
        "low_res_click2_multimask": three,
        "iou_click2_multimask": three_iou,
        "low_res_click1_no_mask_embed": model.decode(embedding, points[:, :1], signs[:, :1], None)[0],
        "high_res_click2": enlarge(both),
    }
    return {name: tensor.numpy() for name, tensor in outputs.items()}
