"""FLARE 2022, the 50 labelled cases: `FLARE22_LabeledCase50/{images,labels}` (also Zenodo 7860267)."""

from __future__ import annotations

from pathlib import Path

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, number, search, stem


def open_flare22(folder: Path) -> Dataset:
    """`images/FLARE22_Tr_NNNN_0000.nii.gz` with `labels/FLARE22_Tr_NNNN.nii.gz`."""
    cases = []
    for image in search(folder, "images/FLARE22_Tr_*_0000.nii.gz"):
        name = stem(image).removesuffix("_0000")
        label = image.parents[1] / "labels" / f"{name}.nii.gz"
        cases.append(Case(name, image, label, tuple(LAYOUT.labels), "train", name))
    return LAYOUT.dataset(cases)


LAYOUT = Layout(
    name="flare22",
    title="FLARE 2022, labelled cases",
    modality="CT",
    annotated="13 abdominal organs and vessels",
    groups="scan",
    licence="research use, under the challenge's rules",
    homepage="https://flare22.grand-challenge.org",
    signature=("images/FLARE22_Tr_*_0000.nii.gz", "labels/FLARE22_Tr_*.nii.gz"),
    open=open_flare22,
    labels=number(
        "liver",
        "right kidney",
        "spleen",
        "pancreas",
        "aorta",
        "inferior vena cava",
        "right adrenal gland",
        "left adrenal gland",
        "gallbladder",
        "esophagus",
        "stomach",
        "duodenum",
        "left kidney",
    ),
)
