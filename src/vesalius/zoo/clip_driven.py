"""The CLIP-Driven Universal Model with either backbone, whose weights may not be used commercially."""

from __future__ import annotations

from dataclasses import replace

from vesalius.card import Card, Licence, Weights
from vesalius.zoo.structures import words

STRUCTURES = words("""
    spleen right_kidney left_kidney gall_bladder esophagus liver stomach aorta postcava portal_vein_and_splenic_vein
    pancreas right_adrenal_gland left_adrenal_gland duodenum hepatic_vessel right_lung left_lung colon intestine rectum
    bladder prostate left_head_of_femur right_head_of_femur celiac_trunk kidney_tumor liver_tumor pancreas_tumor
    hepatic_vessel_tumor lung_tumor colon_tumor kidney_cyst
""")
PAIRS = ("kidney", "adrenal_gland", "lung", "head_of_femur")
SINGLE = words("spleen gall_bladder liver stomach pancreas bladder prostate") + [
    f"{side}_{organ}" for organ in PAIRS for side in ("right", "left")
]
INSIDE = {
    "kidney_tumor": ["right_kidney", "left_kidney"],
    "liver_tumor": ["liver"],
    "pancreas_tumor": ["pancreas"],
    "hepatic_vessel_tumor": ["liver"],
    "lung_tumor": ["right_lung", "left_lung"],
    "colon_tumor": ["colon"],
    "kidney_cyst": ["right_kidney", "left_kidney"],
}
RULES = [  # name, structures that it changes, structures that it is given
    *(["part_sides", [f"right_{organ}", f"left_{organ}"], []] for organ in PAIRS),
    *(["keep_largest", [organ], []] for organ in SINGLE),
    *(["keep_within", [tumour], organs] for tumour, organs in INSIDE.items()),
]
FEW = 3  # structures of a small variant for tests

UNET = Card(
    name="clip-driven-unet",
    entry="vesalius.models.clip_driven:ClipDriven",
    summary="CLIP-Driven Universal Model, U-Net: 25 organs, six kinds of tumours and kidney cysts in CT.",
    options={
        "backbone": "unet",
        "width": 64,
        "text": 512,
        "shared": 256,
        "outputs": STRUCTURES,
        "rules": RULES,
        "spacing_mm": 1.5,
        "patch": [96, 96, 96],
        "normalisation": [{"low": -175.0, "high": 250.0}],
    },
    accepts=frozenset({"named"}),
    dimensions=3,
    orientation="RAS",
    preprocessing="Resampled linearly to 1.5 mm; -175 to 250 HU spread over 0 to 1; windows of 96 x 96 x 96 voxels.",
    weights=Weights(
        urls=("hf:ljwztc/CLIP-Driven-Universal-Model/clip_driven_universal_unet.pth@main",),
        file="clip_driven_universal_unet.pth",
    ),
    licence=Licence(
        code="CC-BY-NC-ND-4.0",
        weights="CC-BY-NC-ND-4.0",
        commercial=False,
        note="Changed weights may not be shared. The code here is not the authors'.",
    ),
    paper="Liu et al., CLIP-Driven Universal Model, ICCV 2023, arXiv:2301.00785",
    modalities=("CT",),
    labels=tuple(STRUCTURES),
    unused=("*.running_mean", "*.running_var", "*.relative_position_index"),
    tiny={
        "width": 16,
        "text": 8,
        "shared": 4,
        "outputs": STRUCTURES[:FEW],
        "structures": FEW,
        "patch": [16, 16, 16],
        "rules": [["part_sides", STRUCTURES[1:3], []], ["keep_within", STRUCTURES[:1], STRUCTURES[1:3]]],
    },
    trained_on={
        "BTCV": "on registration",
        "Pancreas-CT": "CC-BY-3.0",
        "CHAOS": "CC-BY-NC-SA-4.0",
        "LiTS": "CC-BY-NC-ND-4.0",
        "KiTS": "CC-BY-NC-SA-4.0",
        "3D-IRCADb": "research use",
        "WORD": "research use",
        "AbdomenCT-1K": "various",
        "AMOS22": "CC-BY-4.0",
        "Medical Segmentation Decathlon": "CC-BY-SA-4.0",
        "CT-ORG": "CC-BY-3.0",
        "AbdomenCT-12organ": "not stated",
    },
)
SWIN_UNETR = replace(
    UNET,
    name="clip-driven-swin-unetr",
    summary="CLIP-Driven Universal Model, Swin UNETR: 25 organs, six kinds of tumours and kidney cysts in CT.",
    options={**UNET.options, "backbone": "swin_unetr", "width": 48, "heads": [3, 6, 12, 24]},
    weights=Weights(
        urls=("hf:ljwztc/CLIP-Driven-Universal-Model/clip_driven_universal_swin_unetr.pth@main",),
        file="clip_driven_universal_swin_unetr.pth",
    ),
    tiny={**UNET.tiny, "shared": 3, "heads": [2, 2, 2, 2], "patch": [32, 32, 32]},
)
CARDS = (UNET, SWIN_UNETR)
