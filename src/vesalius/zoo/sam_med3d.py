"""SAM-Med3D, Segment Anything made three-dimensional and trained on medical volumes from the start."""

from __future__ import annotations

from vesalius.card import APACHE, Card, Weights

SAM_MED3D = Card(
    name="sam-med3d",
    entry="vesalius.models.sam_med3d:SamMed3d",
    summary="SAM-Med3D turbo: structures of a volume, in 3D from a few clicks.",
    options={"size": 128, "width": 768, "depth": 12, "heads": 12, "channels": 384},
    accepts=frozenset({"point"}),
    dimensions=3,
    orientation="RAS",
    preprocessing=(
        "Cubes of 128 voxels of 1.5 mm around the clicks (linear, 0 outside the image), without windowing, normalised"
        " by mean and standard deviation of the voxels above 0."
    ),
    weights=Weights(
        urls=(
            "hf:blueyo0/SAM-Med3D/sam_med3d_turbo.pth@main",
            "https://drive.usercontent.google.com/download?id=1MuqYRQKIZb4YPtEraK8zTKKpp-dUQIR9&export=download&confirm=t",
        ),
        file="sam_med3d_turbo.pth",
    ),
    licence=APACHE,
    paper="Wang et al., SAM-Med3D: Towards General-purpose Segmentation Models for Volumetric Medical Images, 2023,"
    " arXiv:2310.15161",
    modalities=("CT", "MR", "US"),
    tiny={"size": 32, "width": 24, "depth": 3, "heads": 2, "channels": 48},
    trained_on={"SA-Med3D-140K and others, 44 data sets": "various"},
)

CARDS = (SAM_MED3D,)
