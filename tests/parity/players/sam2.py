"""Plays the recordings of SAM 2: prompt sets on one picture, or prompts on one slice of a volume and both walks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from vesalius.grid import make_grid
from vesalius.look import Cut
from vesalius.look_memory import Past
from vesalius.models.sam2 import ABSENT, LARGEST_LOGIT, Sam2, tokenize
from vesalius.scene import Cues, Memo, View


@torch.inference_mode()
def play(model: Sam2, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Everything that may have been recorded for these inputs."""
    if "volume" in inputs:
        return play_volume(
            model, [make_view(picture, k) for k, picture in enumerate(inputs["volume"])], prompt_sets(inputs)
        )
    view = make_view(inputs["image"])
    features = model.features(view, Memo().get)
    image = model.recall(features[0], Past(1))
    outputs = {
        "network_input": model.frame(view)[0].numpy(),
        "image_embed": image[0].numpy(),
        "high_res0": features[2][0].numpy(),
        "high_res1": features[1][0].numpy(),
    }
    for tag, prompts in prompt_sets(inputs).items():
        points, signs, boxes = network_prompts(model, view, prompts)
        if points.shape[1] or boxes is not None:
            points, signs = tokenize(points, signs, boxes)
        given = prompts.get("mask_input")
        mask = None if given is None else torch.from_numpy(given.reshape(-1, 1, *given.shape[-2:]))
        multimask = bool(np.any(prompts.get("multimask", False)))
        low, iou, _, _ = model.decode(image, features, points, signs, mask, multimask)
        batched = len(points) > 1
        logits = model.restore(low, view)
        low = low.clamp(-LARGEST_LOGIT, LARGEST_LOGIT)
        named = {"iou": iou, "low_res": low, "logits": logits, "mask": logits}
        outputs |= {f"{tag}.{name}": (found if batched else found[0]).numpy() for name, found in named.items()}
    return outputs


def play_volume(model: Sam2, views: list[View], sets: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """One prompted slice, and the walks from there to both ends."""
    memo = Memo()
    outputs = {"network_input": torch.cat([model.frame(view) for view in views]).numpy()}
    for tag, prompts in sets.items():
        key = int(prompts["frame"].item())
        cut = model.segment(replace(views[key], cues=slice_cues(prompts)), Past(len(views)), memo.get)[0]
        outputs[f"{tag}.key_logits"] = model.restore(cut.feedback.low, views[key])[0, 0].numpy()
        union = np.full((len(views), *outputs[f"{tag}.key_logits"].shape), ABSENT, np.float32)
        for way, order in (("forward", range(key, len(views))), ("reverse", range(key, -1, -1))):
            found = walk(model, views, order, cut, memo) if way == "forward" or key > 0 else {}
            outputs |= {f"{tag}.{way}.{name}": array for name, array in found.items()}
            if found:
                union[found["frames"]] = np.maximum(union[found["frames"]], found["logits"])
        outputs |= {f"{tag}.union": union, f"{tag}.largest_component": largest_component(union)}
    return outputs


def walk(model: Sam2, views: list[View], order: range, cut: Cut, memo: Memo) -> dict[str, np.ndarray]:
    """What is found in the slices of an order that starts with a prompted one."""
    cuts, memories = [cut], [model.remember(model.features(views[order[0]], memo.get)[0], cut.feedback, True)]
    for k in order[1:]:
        n = len(cuts)
        past = Past(len(views), ((n, memories[0]),), tuple((n - m, memories[m]) for m in range(1, n)))
        cuts.append(model.segment(views[k], past, memo.get)[0])
        memories.append(model.remember(model.features(views[k], memo.get)[0], cuts[-1].feedback, False))
    traces = [one.feedback for one in cuts]
    return {
        "frames": np.array(order),
        "logits": np.stack([model.restore(trace.low, views[0])[0, 0].numpy() for trace in traces]),
        "low_res": torch.cat([trace.low[0] for trace in traces]).numpy(),
        "object_score": np.array([trace.presence for trace in traces], np.float32),
        "obj_ptr": torch.cat([trace.pointer for trace in traces]).numpy(),
        "maskmem": torch.cat([memory.map for memory in memories]).float().numpy(),
    }


def largest_component(values: np.ndarray) -> np.ndarray:
    """Values whose positive ones are those of the largest component (26 neighbours) and stay as they were."""
    labels, _ = ndimage.label(values > 0, structure=np.ones((3, 3, 3)))
    largest = labels == 1 + np.bincount(labels.ravel())[1:].argmax() if labels.any() else labels > 0
    return np.where(largest | (values <= 0), values, -np.abs(values).max())


def prompt_sets(inputs: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The prompts of each tag, `c0` and so on."""
    sets: dict[str, dict[str, np.ndarray]] = {}
    for name, array in inputs.items():
        tag, dot, rest = name.partition(".")
        if dot:
            sets.setdefault(tag, {})[rest] = array
    return sets


def make_view(picture: np.ndarray, k: int = 0) -> View:
    """A picture (H, W) or (H, W, 3), slice k of its volume, as a model sees it."""
    pixels = np.atleast_3d(picture).transpose(2, 1, 0)[..., None]
    affine = np.eye(4)
    affine[2, 3] = k
    return View(pixels, make_grid(pixels.shape[1:], affine))


def slice_cues(prompts: Mapping[str, np.ndarray]) -> Cues:
    """What was said of a slice."""
    flat = {name: np.atleast_2d(prompts[name]) for name in ("point_coords", "box", "mask") if name in prompts}
    points = np.pad(flat.get("point_coords", np.empty((0, 2))), ((0, 0), (0, 1)))
    boxes = np.pad(flat.get("box", np.empty((0, 4))).reshape(-1, 2, 2), ((0, 0), (0, 0), (0, 1)))
    mask = flat["mask"].T[..., None] > 0 if "mask" in flat else None
    return Cues(points, np.ravel(prompts.get("point_labels", ())) > 0, boxes, mask)


def network_prompts(model: Sam2, view: View, prompts: Mapping[str, np.ndarray]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Points `(B, N, 2)`, signs `(B, N)` and boxes `(B, 2, 2)` in pixels of the network's input."""
    scale = model.size / np.array(view.grid.shape[:2])
    given = prompts.get("boxes", prompts.get("box"))
    boxes = None if given is None else torch.tensor(given.reshape(-1, 2, 2) * scale, dtype=torch.float32)
    points = prompts.get("point_coords", np.zeros((1 if boxes is None else len(boxes), 0, 2)))
    places = torch.tensor((points if points.ndim == 3 else points[None]) * scale, dtype=torch.float32)
    signs = torch.tensor(prompts.get("point_labels", np.zeros(places.shape[:2])), dtype=torch.long)
    return places, signs.reshape(places.shape[:2]), boxes
