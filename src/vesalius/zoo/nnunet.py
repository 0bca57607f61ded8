"""nnU-Net's result folders, and what was trained with it: TotalSegmentator, MRSegmentator, STU-Net, MultiTalent.

Where a checkpoint comes with its plans, these are what counts; a card's own options say what is known without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from vesalius.card import APACHE, Card, Licence, Weights
from vesalius.errors import CardError
from vesalius.zoo.structures import (
    MRSEGMENTATOR,
    MULTITALENT,
    TOTALSEGMENTATOR,
    TOTALSEGMENTATOR_1,
    TOTALSEGMENTATOR_MR,
)

CUBE, HALVE = [3, 3, 3], [2, 2, 2]
# TotalSegmentator's statistics, as projects that run its networks outside of nnU-Net state them.
CT = {"scheme": "ct", "mean": -370.00039267657144, "sd": 436.5998675471528, "low": -1024.0, "high": 276.0}
SCHEMES = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "zscore",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "unit",
    "RGBTo01Normalization": "rgb",
}
ORDERS = {  # of the splines by which each of nnU-Net's functions resamples an image
    "resample_data_or_seg_to_shape": 3,
    "resample_torch_fornnunet": 1,
    "no_resampling_hack": 0,
}
UNKNOWN = "These results are of a {} that we do not know; install a newer vesalius."
STUNET = {"small": (16, 1), "base": (32, 1), "large": (64, 2), "huge": (96, 3)}  # finest width, blocks of each stage
TOTALSEGMENTATOR_PAPER = "Wasserthal et al., TotalSegmentator, Radiology: Artificial Intelligence 5, 2023"
RELEASES = "https://github.com/wasserth/TotalSegmentator/releases/download"

FEW = 3  # structures of a small variant for tests
NNUNET = Card(
    name="nnunet",
    entry="vesalius.models.nnunet:NnUnet",
    summary="A folder of results of nnU-Net.",
    options={},
    accepts=frozenset({"named"}),
    dimensions=3,
    orientation="SPL",
    preprocessing="",
    weights=Weights(urls=(), file="checkpoint_final.pth"),
    licence=Licence(code="Apache-2.0", weights="not stated", commercial=True, note="Ask whoever trained it."),
    paper="Isensee et al., nnU-Net, Nature Methods 18:203, 2021",
)


def described(base: Card, options: Mapping[str, Any]) -> Card:
    """A card with these options and what follows from them: labels, preprocessing, small sizes for tests."""
    how = "linearly" if options.get("order") == 1 else "with cubic splines"
    spacing = " x ".join("own" if mm is None else f"{mm:g}" for mm in options["spacing_mm"])
    patch = " x ".join(map(str, options["patch"]))
    schemes = sorted({each["scheme"] for each in options["normalisation"]})
    outputs = options["outputs"][: FEW + ("" in options["outputs"])]
    small = {"widths": [4, 8], "kernels": [CUBE] * 2, "strides": [[1, 1, 1], HALVE], "depth": [1] * 2}
    return replace(
        base,
        options=options,
        orientation=options["axes"],
        dimensions=2 if options["patch"][0] == 1 else 3,
        modalities=base.modalities or ("CT",) * (schemes == ["ct"]),
        preprocessing=f"Cropped to what is not 0; normalised ({', '.join(schemes)}); resampled {how} to {spacing} mm;"
        f" windows of {patch} voxels.",
        labels=tuple(structure for structure in options["outputs"] if structure),
        tiny={
            "sizes": {**options["sizes"], **small, "decoder_depth": [1], "classes": len(outputs)},
            "outputs": outputs,
            "structures": FEW,
            "patch": [8, 16, 16],
            "spacing_mm": [3.0, 1.5, 1.5],
            "folds": 1,
            "mirror": [],
        },
    )


def sizes(widths: list[int], classes: int, depth: int, last_stride: list[int] = HALVE) -> dict[str, Any]:
    """The sizes of a network for one channel with cubic kernels that halves each axis from stage to stage."""
    return {
        "channels": 1,
        "classes": classes,
        "widths": widths,
        "kernels": [CUBE] * len(widths),
        "strides": [[1, 1, 1], *[HALVE] * (len(widths) - 2), last_stride],
        "depth": [depth] * len(widths),
        "decoder_depth": [depth] * (len(widths) - 1),
    }


def stunet(size: str, letter: str) -> Card:
    """The card of one of STU-Net's four sizes."""
    width, depth = STUNET[size]
    file = f"{size}_ep4k.model"
    base = replace(
        NNUNET,
        name=f"stunet-{letter}",
        summary=f"STU-Net, {size}: 104 structures of the body in CT.",
        weights=Weights(urls=(f"hf:ziyanhuang/STU-Net/{file}@main",), file=file),
        licence=replace(
            APACHE, note="CT values are scaled as TotalSegmentator does; STU-Net's own plans are not public text."
        ),
        paper="Huang et al., STU-Net, 2023, arXiv:2304.06716",
        modalities=("CT",),
        trained_on={"TotalSegmentator v1": "CC-BY-4.0"},
    )
    return described(
        base,
        {
            "network": "stunet",
            "sizes": sizes([width * factor for factor in (1, 2, 4, 8, 16, 16)], 105, depth),
            "axes": "SAR",
            "patch": [128, 128, 128],
            "spacing_mm": [1.5, 1.5, 1.5],
            "normalisation": [CT],
            "outputs": ["", *TOTALSEGMENTATOR_1],
            "mirror": [0, 1, 2],
        },
    )


def totalsegmentator(name: str, archive: str, structures: list[str], spacing_mm: float, modality: str = "CT") -> Card:
    """The card of one of TotalSegmentator's networks, whose plans come with it."""
    release = "v2.5.0-weights" if modality == "MR" else "v2.0.0-weights"
    base = replace(
        NNUNET,
        name=name,
        summary=f"TotalSegmentator: {len(structures)} structures in {modality}, {structures[0]} to {structures[-1]}.",
        weights=Weights(urls=(f"{RELEASES}/{release}/{archive}.zip",), file=f"{archive}.zip"),
        licence=APACHE,
        paper=TOTALSEGMENTATOR_PAPER,
        modalities=(modality,),
        trained_on={"TotalSegmentator": "CC-BY-4.0"},
    )
    return described(
        base,
        {
            "network": "unet",
            "sizes": sizes([32, 64, 128, 256, 320, 320], len(structures) + 1, 2),
            "axes": "SAR",
            "patch": [128, 128, 128],
            "spacing_mm": [spacing_mm] * 3,
            "normalisation": [CT if modality == "CT" else {"scheme": "zscore"}],
            "outputs": ["", *structures],
        },
    )


def together(name: str, summary: str, parts: Iterable[Card]) -> Card:
    """The card of several networks that share the structures among them."""
    parts = list(parts)
    return replace(
        parts[0],
        name=name,
        entry="vesalius.models.nnunet:NnUnetParts",
        summary=summary,
        options={"parts": [part.options for part in parts]},
        parts=tuple(part.name for part in parts),
        weights=Weights(urls=(), file=""),
        labels=tuple(structure for part in parts for structure in part.labels),
        tiny={"parts": [small_part(parts[0], 0, 2), small_part(parts[0], 2, FEW)], "structures": FEW},
    )


def small_part(card: Card, first: int, last: int) -> dict[str, Any]:
    """The options of a small part that knows some of a card's structures."""
    options: dict[str, Any] = dict(card.options) | dict(card.tiny)
    outputs = ["", *card.labels[first:last]]
    return options | {"outputs": outputs, "sizes": options["sizes"] | {"classes": len(outputs)}}


ARCHIVES = {
    "organs": "Dataset291_TotalSegmentator_part1_organs_1559subj",
    "vertebrae": "Dataset292_TotalSegmentator_part2_vertebrae_1532subj",
    "cardiac": "Dataset293_TotalSegmentator_part3_cardiac_1559subj",
    "muscles": "Dataset294_TotalSegmentator_part4_muscles_1559subj",
    "ribs": "Dataset295_TotalSegmentator_part5_ribs_1559subj",
}
PARTS = [
    totalsegmentator(f"totalsegmentator-{part}", archive, TOTALSEGMENTATOR[part], 1.5)
    for part, archive in ARCHIVES.items()
]
ALL = [structure for part in TOTALSEGMENTATOR.values() for structure in part]
MR_PARTS = [
    totalsegmentator(f"totalsegmentator-mr-{part}", archive, structures, 1.5, "MR")
    for part, archive, structures in (
        ("organs", "Dataset850_TotalSegMRI_part1_organs_1088subj", TOTALSEGMENTATOR_MR[:29]),
        ("muscles", "Dataset851_TotalSegMRI_part2_muscles_1088subj", TOTALSEGMENTATOR_MR[29:]),
    )
]
MRSEGMENTATOR_CARD = described(
    replace(
        NNUNET,
        name="mrsegmentator",
        summary="MRSegmentator: 40 structures of the body in MR and CT.",
        weights=Weights(
            urls=("https://github.com/hhaentze/MRSegmentator/releases/download/v1.2.0/weights.zip",), file="weights.zip"
        ),
        licence=APACHE,
        paper="Häntze et al., MRSegmentator, 2024, arXiv:2405.06463",
        modalities=("MR", "CT"),
        trained_on={"UK Biobank": "on application", "in-house MR": "not public", "TotalSegmentator": "CC-BY-4.0"},
    ),
    {
        "network": "unet",
        "sizes": sizes([32, 64, 128, 256, 320, 320], 41, 2),
        "folds": 5,
        "axes": "SPL",
        "patch": [128, 128, 128],
        "spacing_mm": [1.5, 1.5, 1.5],
        "normalisation": [{"scheme": "zscore"}],
        "outputs": ["", *MRSEGMENTATOR],
        "mirror": [0, 1, 2],
    },
)
MULTITALENT_CARD = described(
    replace(
        NNUNET,
        name="multitalent",
        summary="MultiTalent: 47 structures of 13 CT data sets, each as its data set defines it.",
        weights=Weights(
            urls=("https://zenodo.org/record/8297767/files/Task100_MultiTalent.zip",), file="Task100_MultiTalent.zip"
        ),
        licence=Licence(
            code="Apache-2.0",
            weights="LicenseRef-Zenodo-8297767",
            commercial=False,
            note="Some of the data sets may not allow commercial use; see the Zenodo record.",
        ),
        paper="Ulrich et al., MultiTalent, MICCAI 2023, arXiv:2303.14444",
        modalities=("CT",),
        trained_on={f"data set {name[4:7]} of the paper": "various" for name in MULTITALENT},
    ),
    {
        "network": "unet",
        "sizes": sizes([30, 60, 120, 240, 320, 320], 47, 2, [1, 2, 2]),
        "axes": "SPL",
        "patch": [96, 192, 192],
        "spacing_mm": [1.5, 1.0, 1.0],
        "normalisation": [{"scheme": "ct", "mean": 63.436882, "sd": 175.48094, "low": -927.0, "high": 275.0}],
        "outputs": [region for regions in MULTITALENT.values() for region in regions],
        "exclusive": False,
        "mirror": [0, 1, 2],
        "member": "*__MultiTalent_bs4/fold_*/model_final_checkpoint.model",
    },
)
CARDS = (
    together("totalsegmentator", "TotalSegmentator: 117 structures of the body in CT, in five networks.", PARTS),
    *PARTS,
    totalsegmentator("totalsegmentator-3mm", "Dataset297_TotalSegmentator_total_3mm_1559subj", ALL, 3.0),
    totalsegmentator("totalsegmentator-6mm", "Dataset298_TotalSegmentator_total_6mm_1559subj", ALL, 6.0),
    together("totalsegmentator-mr", "TotalSegmentator: 50 structures of the body in MR, in two networks.", MR_PARTS),
    *MR_PARTS,
    MRSEGMENTATOR_CARD,
    stunet("small", "s"),
    stunet("base", "b"),
    stunet("large", "l"),
    stunet("huge", "h"),
    MULTITALENT_CARD,
)


def result_card(
    plans: Mapping[str, Any], configuration: Mapping[str, Any], dataset: Mapping[str, Any], told: Mapping[str, Any]
) -> Card:
    """The card of a folder of results; CardError or KeyError where it is of a kind that we do not know.

    `configuration` is that of its plans, `dataset` what dataset.json holds, and `told` what the checkpoint says:
    `trainer_name`, `inference_allowed_mirroring_axes` and the number of `folds`.
    """
    flat = len(configuration["patch_size"]) == 2
    labels = {name: value for name, value in dataset["labels"].items() if name != "ignore"}
    regions = any(isinstance(value, list) and len(value) > 1 for value in labels.values())
    structures = [name for name, value in labels.items() if value not in (0, [0])]
    outputs = structures if regions else ["", *sorted(structures, key=lambda name: first(labels[name]))]
    channels = dataset.get("channel_names") or dataset["modality"]
    options = {
        "network": "stunet" if told["trainer_name"].startswith("STUNetTrainer") else "unet",
        "sizes": network_sizes(configuration, told["trainer_name"], len(channels), len(outputs)),
        "folds": told["folds"],
        "axes": "".join(
            ("SAR" if "Reorient" in plans["image_reader_writer"] else "SPL")[axis]
            for axis in plans["transpose_forward"]
        ),
        "patch": [1] * flat + list(configuration["patch_size"]),
        "spacing_mm": [None] * flat + list(configuration["spacing"]),
        **resampling(configuration),
        "normalisation": normalisation(plans, configuration),
        "outputs": outputs,
        "exclusive": not regions,
        "mirror": [axis + flat for axis in told["inference_allowed_mirroring_axes"] or ()],
    }
    name = plans.get("dataset_name", "nnunet")
    return described(replace(NNUNET, name=name, summary=f"{name}, trained with nnU-Net."), options)


def first(label: int | list[int]) -> int:
    """A label, which may be written as a list of one."""
    return label[0] if isinstance(label, list) else label


def normalisation(plans: Mapping[str, Any], configuration: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How each channel is normalised."""
    found: list[dict[str, Any]] = []
    masked = configuration["use_mask_for_norm"]
    for channel, name in enumerate(configuration["normalization_schemes"]):
        if name not in SCHEMES:
            raise CardError(f"These results are normalised by {name}, which we do not know; install a newer vesalius.")
        scheme: dict[str, Any] = {"scheme": SCHEMES[name]}
        if scheme["scheme"] == "ct":
            facts = plans["foreground_intensity_properties_per_channel"][str(channel)]
            scheme |= {"mean": facts["mean"], "sd": facts["std"]}
            scheme |= {"low": facts["percentile_00_5"], "high": facts["percentile_99_5"]}
        elif scheme["scheme"] == "zscore":
            scheme["masked"] = bool(masked[channel])
        found.append(scheme)
    return found


def resampling(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """How images are resampled, and, where they are not, the spacing that is their own."""
    ways = [
        (
            configuration.get(f"resampling_fn_{what}", "resample_data_or_seg_to_shape"),
            configuration.get(f"resampling_fn_{what}_kwargs", {}),
        )
        for what in ("data", "probabilities")
    ]
    (name, told), (name_back, _) = ways
    apart = {each.get("force_separate_z") for _, each in ways}
    if name not in ORDERS or name != name_back or apart not in ({None}, {False}):
        raise CardError(
            f"These results are resampled by {name} in a way that we do not know; install a newer vesalius."
        )
    found = {"order": told.get("order", ORDERS[name]), "slices_apart": apart == {None}}
    return found | ({"spacing_mm": [None] * 3} if name == "no_resampling_hack" else {})


def network_sizes(configuration: Mapping[str, Any], trainer: str, channels: int, classes: int) -> dict[str, Any]:
    """The sizes of the network that plans describe, in the words of newer or of older versions of nnU-Net."""
    if trainer.startswith("STUNetTrainer"):
        width, depth = STUNET[trainer.split("_")[1]]
        return sizes([width * factor for factor in (1, 2, 4, 8, 16, 16)], classes, depth) | {"channels": channels}
    built = configuration.get("architecture")
    network = (built["network_class_name"] if built else configuration.get("UNet_class_name", "network")).split(".")[-1]
    if network not in ("PlainConvUNet", "ResidualEncoderUNet"):
        raise CardError(UNKNOWN.format(network))
    if built:
        told = built["arch_kwargs"]
        widths, kernels, strides = told["features_per_stage"], told["kernel_sizes"], told["strides"]
        depth = told["n_blocks_per_stage" if "n_blocks_per_stage" in told else "n_conv_per_stage"]
        norm = told.get("norm_op", "InstanceNorm").split(".")[-1]
        if not norm.startswith("InstanceNorm") or not told.get("conv_bias", True):
            raise CardError(UNKNOWN.format(network))
    else:
        told = configuration
        kernels, strides = told["conv_kernel_sizes"], told["pool_op_kernel_sizes"]
        most, least = told["unet_max_num_features"], told["UNet_base_num_features"]
        widths, depth = [min(least * 2**stage, most) for stage in range(len(strides))], told["n_conv_per_stage_encoder"]
    flat = [1] * (3 - len(kernels[0]))
    return {
        "channels": channels,
        "classes": classes,
        "widths": widths,
        "kernels": [flat + list(kernel) for kernel in kernels],
        "strides": [flat + list(stride) for stride in strides],
        "depth": each(depth, len(widths)),
        "decoder_depth": each(told["n_conv_per_stage_decoder"], len(widths) - 1)[::-1],
        "residual": network == "ResidualEncoderUNet",
    }


def each(value: int | list[int], count: int) -> list[int]:
    """One number for each stage, where one may stand for all."""
    return [value] * count if isinstance(value, int) else list(value)
