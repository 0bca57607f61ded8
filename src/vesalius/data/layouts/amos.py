"""AMOS 2022: `amos22/{images,labels}{Tr,Va}` (Zenodo 7262581); numbers above 500 are MR. No labels for `imagesTs`."""

from __future__ import annotations

from pathlib import Path

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, number, search, stem

SPLITS = {"Tr": "train", "Va": "val", "Ts": "test"}
LAST_CT = 500


def open_amos(folder: Path) -> Dataset:
    """`imagesTr/amos_NNNN.nii.gz` with `labelsTr/` under the same name, and so for Va."""
    cases = []
    for part, split in SPLITS.items():
        for image in search(folder, f"images{part}/amos_????.nii.gz"):
            label = image.parents[1] / f"labels{part}" / image.name
            modality = "CT" if int(stem(image).split("_")[1]) <= LAST_CT else "MR"
            case = Case(stem(image), image, label, tuple(LAYOUT.labels), split, stem(image), modality=modality)
            cases.append(case)
    return LAYOUT.dataset(cases)


LAYOUT = Layout(
    name="amos",
    title="AMOS 2022",
    modality="CT, MR",
    annotated="15 abdominal organs",
    groups="scan",
    licence="CC BY 4.0",
    homepage="https://zenodo.org/records/7262581",
    signature=("imagesTr/amos_????.nii.gz", "labelsTr/amos_????.nii.gz"),
    open=open_amos,
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
        "pancreas",
        "right adrenal gland",
        "left adrenal gland",
        "duodenum",
        "bladder",
        "prostate or uterus",
    ),
)
