"""SAM-Med2D, with the adapters of its encoder and without them, which its authors offer too."""

from __future__ import annotations

from dataclasses import replace

from vesalius.card import APACHE, Card, Weights

SAM_MED2D = Card(
    name="sam-med2d",
    entry="vesalius.models.sam_med2d:SamMed2d",
    summary="SAM-Med2D: SAM ViT-B at 256 pixels, tuned on medical images with adapters.",
    options={"encoder": "vit_b", "size": 256, "adapters": True},
    accepts=frozenset({"point", "box", "scribble", "lasso", "mask"}),
    dimensions=2,
    orientation="LPS",
    preprocessing=(
        "RGB of 0-255 normalised with SAM's mean and standard deviation, then stretched to a square of 256 (nearest"
        " pixel, as OpenCV)."
    ),
    weights=Weights(
        urls=(
            "https://drive.usercontent.google.com/download?id=1ARiB5RkSsWmAB_8mqWnwDF8ZKTtFwsjl&export=download&confirm=t",
        ),
        file="sam-med2d_b.pth",
    ),
    licence=APACHE,
    paper="Cheng et al., SAM-Med2D, 2023, arXiv:2308.16184",
    modalities=(
        "CT",
        "MR",
        "PET",
        "X-ray",
        "US",
        "OCT",
        "endoscopy",
        "dermoscopy",
        "fundus",
        "microscopy",
    ),
    tiny={"encoder": "vit_nano", "size": 64},
    trained_on={"SA-Med2D-20M": "CC-BY-NC-SA-4.0"},
)

SAM_MED2D_PLAIN = replace(
    SAM_MED2D,
    name="sam-med2d-plain",
    summary="SAM-Med2D without its adapters: SAM's own encoder before the tuned decoder; faster, worse from clicks.",
    options={**SAM_MED2D.options, "adapters": False},
    unused=("image_encoder.blocks.*.Adapter.*",),
)

CARDS = (SAM_MED2D, SAM_MED2D_PLAIN)
