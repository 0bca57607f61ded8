"""nnInteractive, whose weights may not be used commercially, and the folders in which it is released."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vesalius.card import Card, Licence, Weights
from vesalius.errors import CardError

SETTINGS = ("inference_info.json", "inference_session_class.json")  # in a released folder: the new one and the old
PROMPTS = {  # the original's kinds of channels -> ours of prompts
    "points": "point",
    "bbox2d": "box",
    "bbox3d": "box",
    "lasso": "lasso",
    "scribble": "scribble",
    "prev_seg": "mask",
}
FREE = ("Apache-2.0", "MIT", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0")
CHANNELS = {"prev_seg": 0, "bbox2d": [1, 2], "lasso": [1, 2], "points": [3, 4], "scribble": [5, 6]}
CUBE, HALVE = [3, 3, 3], [2, 2, 2]

NNINTERACTIVE = Card(
    name="nninteractive",
    entry="vesalius.models.nninteractive:NnInteractive",
    summary="nnInteractive: any structure of a 3D image from points, scribbles, lassos, flat boxes or a mask.",
    options={
        "patch": [192, 192, 192],
        "decay": 0.9,
        "point_radius": [4, 4, 4],
        "scribble_thickness": [2, 2, 2],
        "inputs": 7,
        "channels": CHANNELS,
        "sizes": {
            "widths": [32, 64, 128, 256, 320, 320],
            "kernels": [CUBE] * 6,
            "strides": [[1, 1, 1], *[HALVE] * 5],
            "depth": [1, 3, 4, 6, 6, 6],
            "decoder_depth": [1, 1, 1, 1, 1],
        },
    },
    accepts=frozenset({"point", "box", "scribble", "lasso", "mask"}),
    dimensions=3,
    orientation="SPL",
    preprocessing=(
        "Voxels as they are, without windowing or resampling, normalised by mean and standard deviation of the box"
        " around all that are not 0."
    ),
    weights=Weights(
        urls=("hf:MIC-DKFZ/nnInteractive/nnInteractive_v1.0/fold_0/checkpoint_final.pth@main",),
        file="checkpoint_final.pth",
    ),
    licence=Licence(
        code="Apache-2.0",
        weights="CC-BY-NC-SA-4.0",
        commercial=False,
        note="What is made from the weights must be shared alike.",
    ),
    paper="Isensee et al., nnInteractive: Redefining 3D Promptable Segmentation, 2025, arXiv:2503.08373",
    modalities=("CT", "MR", "PET", "US", "microscopy"),
    tiny={
        "patch": [16, 16, 16],
        "sizes": {
            "widths": [8, 16, 32],
            "kernels": [CUBE] * 3,
            "strides": [[1, 1, 1], HALVE, HALVE],
            "depth": [1, 1, 1],
            "decoder_depth": [1, 1],
        },
    },
    trained_on={"more than 120 public data sets, listed in the paper": "various"},
)

CARDS = (NNINTERACTIVE,)


def released_card(folder: str, configuration: Mapping[str, Any], settings: Any, licence: str) -> Card:
    """The card of a released folder; CardError or KeyError where it is of a kind that we do not know.

    `configuration` is that of its plans, `settings` what one of `SETTINGS` holds (of the oldest releases a mere name)
    and `licence` the first line of its file LICENSE, "" without one.
    """
    architecture = configuration["architecture"]
    network = architecture["network_class_name"].rpartition(".")[2]
    if network != "ResidualEncoderUNet":
        raise CardError(f"{folder} holds a {network}, but we know only ResidualEncoderUNet; install a newer vesalius.")
    sizes = architecture["arch_kwargs"]
    told: dict[str, Any] = settings if isinstance(settings, dict) else {"interaction_decay": 0.9}
    radius, thickness = told.get("point_radius", 4), told.get("preferred_scribble_thickness", 2)
    channels = {"bbox3d": [1, 2], **CHANNELS, **told.get("channel_mapping", {})}
    each = [n for pair in channels.values() for n in (pair if isinstance(pair, list) else [pair])]
    count = told["interaction_channels"] + 1 if "interaction_channels" in told else max(max(each) + 1, -min(each))
    known = {"bbox3d": False} | told.get("supported_interactions", {})
    known["prev_seg"] = told.get("supports_initial_label", True)
    options = {
        "patch": configuration["patch_size"],
        "decay": told.get("interaction_decay", 0.98),
        "point_radius": radius if isinstance(radius, list) else [radius] * 3,
        "scribble_thickness": thickness if isinstance(thickness, list) else [thickness] * 3,
        "inputs": count,
        "channels": {  # a negative one counts from the last
            kind: [n % count for n in pair] if isinstance(pair, list) else pair % count
            for kind, pair in channels.items()
            if known.get(kind, True) or kind == "prev_seg"
        },
        "sizes": {
            "widths": sizes["features_per_stage"],
            "kernels": sizes["kernel_sizes"],
            "strides": sizes["strides"],
            "depth": sizes["n_blocks_per_stage"],
            "decoder_depth": sizes["n_conv_per_stage_decoder"][::-1],
        },
    }
    name = licence.replace(" ", "-") or NNINTERACTIVE.licence.weights
    return replace(
        NNINTERACTIVE,
        name=folder,
        options=options,
        accepts=frozenset(prompt for kind, prompt in PROMPTS.items() if kind in channels and known.get(kind, True)),
        weights=Weights(urls=(), file="checkpoint_final.pth"),
        licence=replace(NNINTERACTIVE.licence, weights=name, commercial=name in FREE),
    )
