"""BTCV, "Multi-Atlas Labeling Beyond the Cranial Vault", abdomen: `RawData/Training/{img,label}` (Synapse)."""

from __future__ import annotations

from pathlib import Path

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, number, search, stem


def open_btcv(folder: Path) -> Dataset:
    """`Training/img/imgNNNN.nii.gz` with `Training/label/labelNNNN.nii.gz`; the test images have no public labels."""
    cases = []
    for image in search(folder, "Training/img/img*.nii.gz"):
        label = image.parents[1] / "label" / image.name.replace("img", "label")
        cases.append(Case(stem(image), image, label, tuple(LAYOUT.labels), "train", stem(image)))
    return LAYOUT.dataset(cases)


LAYOUT = Layout(
    name="btcv",
    title="BTCV abdomen",
    modality="CT",
    annotated="13 abdominal organs and vessels",
    groups="scan",
    licence="on registration",
    homepage="https://www.synapse.org/#!Synapse:syn3193805",
    signature=("Training/img/img*.nii.gz", "Training/label/label*.nii.gz"),
    open=open_btcv,
    labels=number(
        "spleen",
        "right kidney",
        "left kidney",
        "gallbladder",
        "esophagus",
        "liver",
        "stomach",
        "aorta",
        "inferior vena cava",
        "portal vein and splenic vein",
        "pancreas",
        "right adrenal gland",
        "left adrenal gland",
    ),
)
