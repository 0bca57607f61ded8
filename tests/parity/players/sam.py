"""Plays the recordings of the Segment Anything family: one picture, and any number of independent prompt sets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from vesalius.layers.resampling import resize_bilinear
from vesalius.models.sam import FRAMES, RESTORE, Frame, Sam, restore_medsam, tokenize


@torch.inference_mode()
def play(model: Sam, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Everything that may have been recorded for these inputs."""
    picture = inputs["image"]
    rgb = np.stack([picture] * 3, axis=-1) if picture.ndim == 2 else picture
    frame = FRAMES[model.preprocess](rgb, model.size)
    embedding = model.encode(frame.pixels)
    outputs = {
        "resized": resize_bilinear(rgb, *frame.resized),
        "network_input": frame.pixels[0].numpy(),
        "image_embedding": embedding[0].numpy(),
        "image_embedding_meanstd": np.array([embedding.mean(), embedding.std()]),
        "dense_pe": model.prompt_encoder.pe_layer.dense(*embedding.shape[2:])[0].numpy(),
    }
    for tag in sorted({name.partition(".")[0] for name in inputs if "." in name}):
        prompts = {name.partition(".")[2]: array for name, array in inputs.items() if name.startswith(f"{tag}.")}
        outputs |= {f"{tag}.{name}": array for name, array in prompt(model, frame, embedding, prompts).items()}
    return outputs


def prompt(model: Sam, frame: Frame, embedding: Tensor, prompts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of one prompt set, or of a batch of them (`boxes`, or points with a batch axis)."""
    points, signs, boxes = network_prompts(model, frame, prompts)
    places, kinds = tokenize(points, signs, boxes)
    given = prompts.get("mask_input")
    mask = None if given is None else torch.from_numpy(given.reshape(-1, 1, *given.shape[-2:]))
    multimask = bool(np.any(prompts.get("multimask", False)))
    low, iou = model.decode(embedding, places, kinds, mask, multimask)
    restored = restore_medsam(low, frame) if model.preprocess == "medsam" else RESTORE[model.preprocess](low, frame)
    batched = "boxes" in prompts or prompts.get("point_coords", points[0]).ndim == 3

    def official(result: Tensor) -> np.ndarray:
        """The shape that the official predictor returns."""
        result = result.squeeze(1) if batched else result[0]
        # MedSAM and LiteMedSAM give one mask without an axis for candidates.
        return (result if model.preprocess == "sam" or result.ndim < 3 else result.squeeze(0)).numpy()

    values = official(restored)
    return {
        "sparse_embeddings": model.prompt_encoder.tokens((places + 0.5) / model.size, kinds)[0].numpy(),
        f"box_{model.size}": np.zeros(0) if boxes is None else boxes.squeeze(0).numpy(),
        "low_res": official(low),
        "iou": official(iou),
        "prob" if model.preprocess == "medsam" else "logits": values,
        "mask": values - 0.5 if model.preprocess == "medsam" else values,
    }


def network_prompts(
    model: Sam, frame: Frame, prompts: Mapping[str, np.ndarray]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Points `(B, N, 2)`, signs `(B, N)` and boxes `(B, 4)` in pixels of the network's input."""
    scale = np.array(frame.scale)
    boxes = None
    given = prompts.get("boxes", prompts.get("box"))
    if given is not None:
        corners = given.reshape(-1, 2, 2) * scale
        corners = np.trunc(corners) if model.preprocess == "litemedsam" else corners
        boxes = torch.tensor(corners.reshape(-1, 4), dtype=torch.float32)
    points = prompts.get("point_coords", np.zeros((1 if boxes is None else len(boxes), 0, 2)))
    places = torch.tensor((points if points.ndim == 3 else points[None]) * scale, dtype=torch.float32)
    signs = torch.tensor(prompts.get("point_labels", np.zeros(places.shape[:2])), dtype=torch.long)
    return places, signs.reshape(places.shape[:2]), boxes
