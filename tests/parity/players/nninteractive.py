"""Plays the recordings of nnInteractive: its network, what it draws, and a session of seven prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from vesalius.card import Card
from vesalius.models.nninteractive import Case, Mark, NnInteractive, bounds, drawn_mark, point_ball, statistics
from vesalius.zoo.nninteractive import NNINTERACTIVE


def card(contract: Mapping[str, Any]) -> Card:
    """The card for the network of a contract; where it states none, the network is the card's tiny one."""
    sizes = NNINTERACTIVE.tiny["sizes"]
    if told := contract.get("arguments"):
        sizes = {
            "widths": told["features_per_stage"],
            "kernels": told["kernel_sizes"],
            "strides": told["strides"],
            "depth": told["n_blocks_per_stage"],
            "decoder_depth": told["n_conv_per_stage_decoder"][::-1],
        }
    return replace(NNINTERACTIVE, options={**NNINTERACTIVE.options, "sizes": sizes})


@torch.inference_mode()
def play(model: NnInteractive, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Everything that may have been recorded for these inputs."""
    if "patch" not in inputs:
        return play_network(model, torch.from_numpy(inputs["image"]))
    image = inputs["image"] * np.float32(100) + np.float32(40)
    image[:, :4] = image[:, :, -5:] = image[..., :3] = 0
    model.patch, model.decay = inputs["patch"], float(inputs["decay"])
    marks = [mark(model, inputs, said) for said in inputs["sequence"]]
    case = Case(image, *statistics(image), (), np.zeros(image.shape[1:], bool))
    outputs = play_prompts(model, case, marks, inputs) | play_mask(model, case, inputs)
    mean, std = rounded_statistics(image)
    return outputs | play_session(model, replace(case, mean=mean, std=std), marks)


def rounded_statistics(image: np.ndarray) -> tuple[float, float]:
    """Mean and deviation with the original's own rounding, since one voxel that it tips tips others in later rounds."""
    low, high = bounds((image != 0).any(axis=0))
    box = torch.from_numpy(image)[:, low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    return float(box.mean()), float(box.std())


def play_network(model: NnInteractive, image: torch.Tensor) -> dict[str, np.ndarray]:
    """Features and logits at every resolution."""
    skips = model.network.encoder(image)
    outputs = {f"skip_{n}": skip for n, skip in enumerate(skips[:-1])} | {"bottleneck": skips[-1]}
    features = model.network.decoder(skips)
    logits = [head(seen) for head, seen in zip(model.network.heads, features, strict=True)][::-1]
    outputs |= {f"deep_supervision_{n}": coarse for n, coarse in enumerate(logits)} | {"logits": logits[0]}
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def mark(model: NnInteractive, inputs: Mapping[str, np.ndarray], said: Mapping[str, Any]) -> Mark:
    """One prompt of the sequence; the bounds of a box are half open, scribbles and lassos are arrays."""
    kind, value, positive = said["kind"], said["value"], said["include"]
    shape = inputs["image"].shape[1:]
    if kind == "point":
        return model.point_mark(np.array(value), positive, shape)
    if kind == "bbox":
        low, high = np.rint(value).astype(int).T
        return model.box_mark(low, high - 1, positive, shape, normal=0)
    area = inputs[value.removeprefix("in_")] > 0
    return drawn_mark(model.channels[kind][not positive], np.zeros(3, int), area)


def play_prompts(
    model: NnInteractive, case: Case, marks: list[Mark], inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What was drawn after each prompt, as it is stored and as the network sees it at several zooms."""
    shape = np.array(case.mask.shape)
    faded = [model.fade(marks[:count]) for count in range(1, len(marks) + 1)]
    zooms = [max(1, ((each.high - each.low + model.patch // 3) / model.patch).max()) for each in marks]
    outputs = {
        "preprocessed_image": (case.image - np.float32(case.mean)) / np.float32(case.std),
        "intensity": np.array([drawn[-1].strength for drawn in faded]),
        "initial_zoom_out": np.array(zooms),
        "patch_centre": np.array([centre(each) for each in marks]),
        "ball_radius_4_3_2": point_ball((4, 3, 2)),
    }
    outputs |= {f"ball_radius{r}": point_ball((r, r, r)) for r in (1, 2, 3, 4)}
    for count, drawn in enumerate(faded, start=1):
        seen = model.look(replace(case, marks=drawn), np.zeros(3, int), shape)[1:].numpy()
        outputs[f"interactions_after_{count}"] = seen * drawn[-1].strength
    outputs["interactions_after_all"] = outputs[f"interactions_after_{len(marks)}"]
    for zoom in {1.0, 1.5, 1.5**3, *zooms}:
        name = f"zoom{zoom:.4g}"
        if f"bbox_{name}" in inputs:
            size = np.rint(model.patch * zoom).astype(int)
            looks = [np.stack([start, start + size], axis=1) for start in (centre(each) - size // 2 for each in marks)]
            # Which of the prompts was looked at is not the same at all zooms.
            place = next((look for look in reversed(looks) if np.array_equal(look, inputs[f"bbox_{name}"])), looks[-1])
            seen = model.look(replace(case, marks=faded[-1]), place[:, 0], model.patch, zoom).numpy()
            outputs |= {f"bbox_{name}": place, f"netinput_image_{name}": seen[:1]}
            outputs[f"netinput_interactions_{name}"] = seen[1:]
    return outputs


def play_session(model: NnInteractive, case: Case, marks: list[Mark]) -> dict[str, np.ndarray]:
    """The mask after each prompt, each of which is answered by one look without zoom."""
    model.largest_zoom = 1
    outputs: dict[str, np.ndarray] = {}
    for count, mark in enumerate(marks, start=1):
        case = replace(case, marks=model.fade(marks[:count]))
        seen = model.look(case, centre(mark) - model.patch // 2, model.patch)
        outputs[f"logits_first_{count}"] = model.network(seen[None]).numpy()
        case = replace(case, mask=model.segment(case, mark.low, mark.high))
        outputs[f"target_{count}"] = np.packbits(case.mask[::2, ::2, ::2])
        outputs[f"target_count_{count}"] = np.array(case.mask.sum())
    return outputs


def play_mask(model: NnInteractive, case: Case, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What is stored after a mask was given, which makes the session forget all else."""
    given = replace(case, mask=inputs["initial_seg"] > 0)
    seen = model.look(given, np.zeros(3, int), np.array(case.mask.shape))[1:].numpy()
    return {
        "prev_seg_channel_after_initial_seg": seen[0],
        "other_channels_max_after_initial_seg": seen[1:].max((1, 2, 3)),
    }


def centre(mark: Mark) -> np.ndarray:
    """The middle of the patch that shows a mark."""
    return np.rint((mark.low + mark.high) / 2).astype(int)
