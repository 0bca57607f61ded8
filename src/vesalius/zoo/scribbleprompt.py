"""ScribblePrompt, the U-Net."""

from __future__ import annotations

from vesalius.card import APACHE, Card, Weights

SCRIBBLEPROMPT_UNET = Card(
    name="scribbleprompt-unet",
    entry="vesalius.models.scribbleprompt:ScribblePrompt",
    summary="ScribblePrompt-UNet: scribbles, clicks and boxes on any medical picture, small and fast.",
    options={"width": 192, "depth": 4, "size": 128},
    accepts=frozenset({"point", "box", "scribble", "lasso", "mask"}),
    dimensions=2,
    orientation="LPS",
    preprocessing=(
        "Grey levels 0-255 as 0-1, stretched to 128 x 128 (bilinear, not antialiased); prompts and the last logits as"
        " channels beside them."
    ),
    weights=Weights(
        urls=(
            "https://www.dropbox.com/scl/fi/pnw88n05irnv5z1snlklr/ScribblePrompt_unet_v1_nf192_res128.pt"
            "?rlkey=dr8xvkf0wj2r082h1zzpcmz5o&dl=1",
        ),
        file="ScribblePrompt_unet_v1_nf192_res128.pt",
    ),
    licence=APACHE,
    paper=(
        "Wong et al., ScribblePrompt: Fast and Flexible Interactive Segmentation for Any Biomedical Image, ECCV 2024,"
        " arXiv:2312.07381"
    ),
    modalities=("CT", "MR", "X-ray", "US", "OCT", "fundus", "microscopy", "dermoscopy"),
    tiny={"width": 8, "depth": 3, "size": 32},
    trained_on={"65 data sets, listed in the paper, and synthetic labels": "various"},
)

CARDS = (SCRIBBLEPROMPT_UNET,)
