"""Plays the recordings of nnU-Net's networks and of STU-Net and MultiTalent, which are built like them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vesalius.card import Card
from vesalius.learn.regions import region_losses
from vesalius.models.nnunet import NnUnet
from vesalius.zoo.nnunet import NNUNET, described
from vesalius.zoo.structures import MULTITALENT

REGIONS = {name: labels for regions in MULTITALENT.values() for name, labels in regions.items()}
INDEX = {name: n for n, name in enumerate(REGIONS)}


def card(contract: Mapping[str, Any]) -> Card:
    """A card for the network that a contract describes."""
    told = contract["arguments"]
    residual = "n_blocks_per_stage" in told
    options = {
        "network": "unet",
        "sizes": {
            "channels": told["input_channels"],
            "classes": told["num_classes"],
            "widths": told["features_per_stage"],
            "kernels": told["kernel_sizes"],
            "strides": told["strides"],
            "depth": told["n_blocks_per_stage" if residual else "n_conv_per_stage"],
            "decoder_depth": told["n_conv_per_stage_decoder"][::-1],
            "residual": residual,
        },
        "axes": "SPL",
        "patch": [16, 64, 64],
        "spacing_mm": [1, 1, 1],
        "normalisation": [{"scheme": "zscore"}] * told["input_channels"],
        "outputs": ["", *map(str, range(1, told["num_classes"]))],
    }
    return described(NNUNET, options)


@torch.inference_mode()
def play(model: NnUnet, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every output that may have been recorded for an image."""
    image = torch.from_numpy(inputs["image"])
    network = model.folds()[0]
    outputs: dict[str, Tensor | np.ndarray] = {}
    if hasattr(network, "encoder"):
        skips = network.encoder(image)
        outputs |= {f"skip_{n}": skip for n, skip in enumerate(skips[:-1])} | {"bottleneck": skips[-1]}
    pairs = zip(reversed(network.heads), reversed(network.features(image)), strict=True)
    deep = [head(seen) for head, seen in pairs]  # fine to coarse
    outputs |= {f"deep_supervision_{n}": logits for n, logits in enumerate(deep)}
    outputs |= {f"deep{n}": logits for n, logits in enumerate(deep)}
    logits = network(image)
    outputs |= {"logits": logits, "logits_corner": logits[..., :4, :4, :4], "argmax": logits.argmax(dim=1)}
    if "datasets" in inputs:
        outputs |= multitalent(deep, inputs)
    return {name: np.asarray(array) for name, array in outputs.items()}


def multitalent(deep: list[Tensor], inputs: Mapping[str, np.ndarray]) -> dict[str, Tensor | np.ndarray]:
    """The losses, and what each data set of the batch reads from the outputs: its own label map."""
    datasets = inputs["datasets"].tolist()
    annotated = torch.tensor([[region in MULTITALENT[dataset] for region in REGIONS] for dataset in datasets])
    entropy = dice = torch.zeros(())
    for n, weight in enumerate(inputs["ds_weights"].tolist()):
        labels = torch.from_numpy(inputs[f"target_{n}"])[:, 0]
        truth = torch.stack([torch.isin(labels, torch.tensor(united)) for united in REGIONS.values()], dim=1)
        each = region_losses(deep[n], truth, annotated)
        entropy, dice = entropy + weight * each[0], dice + weight * each[1]
    outputs: dict[str, Tensor | np.ndarray] = {"bce": entropy, "dice": dice, "loss": entropy - dice}
    for b, dataset in enumerate(datasets):
        outputs[f"output_index_{b}"] = np.array([INDEX[region] for region in MULTITALENT[dataset]])
        written = np.zeros(deep[0].shape[2:], np.uint8)
        for region, united in MULTITALENT[dataset].items():  # later regions over earlier ones
            written[(deep[0][b, INDEX[region]] > 0).numpy()] = united[0]
        outputs[f"seg_{b}"] = written
    return outputs
