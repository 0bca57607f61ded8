"""UniverSeg, whose weights are for research only."""

from __future__ import annotations

from dataclasses import replace

from vesalius.card import Card, Licence, Weights

UNIVERSEG = Card(
    name="universeg",
    entry="vesalius.models.universeg:UniverSeg",
    summary="UniverSeg: any task that a set of example images with masks shows, without training.",
    options={"widths": [64, 64, 64, 64], "size": 128, "bag": 64},
    accepts=frozenset({"example"}),
    dimensions=2,
    orientation="LPS",
    preprocessing=(
        "Grey pictures stretched to 128 x 128 (bilinear, antialiased), the darkest pixel 0 and the brightest 1; so the"
        " examples, whose masks become soft at the border."
    ),
    weights=Weights(
        urls=("https://github.com/JJGO/UniverSeg/releases/download/weights/universeg_v1_nf64_ss64_STA.pt",),
        file="universeg_v1_nf64_ss64_STA.pt",
    ),
    licence=Licence(
        code="Apache-2.0",
        weights="OpenRAIL++-M",
        commercial=False,
        note="Use of the weights is restricted to research, and to what the licence does not forbid.",
    ),
    paper="Butoi, Gonzalez Ortiz et al., UniverSeg: Universal Medical Image Segmentation, ICCV 2023, arXiv:2304.06131",
    modalities=("CT", "MR", "X-ray", "US", "OCT", "fundus", "microscopy"),
    tiny={"widths": [8, 8, 8], "size": 32, "bag": 4},
    trained_on={"MegaMedical: 53 data sets, listed in the paper": "various"},
)

UNIVERSEG_TILED = replace(
    UNIVERSEG,
    name="universeg-tiled",
    summary="UniverSeg on pieces of a picture with their own pixels: for small targets; slow.",
    options={**UNIVERSEG.options, "tiled": True},
    preprocessing=(
        "Grey pictures, the darkest pixel 0 and the brightest 1, in overlapping pieces of 128 x 128 pixels, whose"
        " answers are blended; examples in pieces side by side."
    ),
)

CARDS = (UNIVERSEG, UNIVERSEG_TILED)
