"""WORD: `WORD-V0.1.0/{images,labels}{Tr,Val,Ts}` (HiLab-git/WORD); `labelsTs` is a download of its own."""

from __future__ import annotations

from pathlib import Path

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, number, search, stem

SPLITS = {"Tr": "train", "Val": "val", "Ts": "test"}


def open_word(folder: Path) -> Dataset:
    """`imagesTr/word_NNNN.nii.gz` with `labelsTr/` under the same name, and so for Val and Ts."""
    cases = []
    for part, split in SPLITS.items():
        for image in search(folder, f"images{part}/word_????.nii.gz"):
            label = image.parents[1] / f"labels{part}" / image.name
            cases.append(Case(stem(image), image, label, tuple(LAYOUT.labels), split, stem(image)))
    return LAYOUT.dataset(cases)


LAYOUT = Layout(
    name="word",
    title="WORD",
    modality="CT",
    annotated="16 abdominal organs",
    groups="scan",
    licence="GPL-3.0, for academic research only",
    homepage="https://github.com/HiLab-git/WORD",
    signature=("imagesTr/word_????.nii.gz", "labelsTr/word_????.nii.gz"),
    open=open_word,
    labels=number(
        "liver",
        "spleen",
        "left kidney",
        "right kidney",
        "stomach",
        "gallbladder",
        "esophagus",
        "pancreas",
        "duodenum",
        "colon",
        "intestine",
        "adrenal gland",
        "rectum",
        "bladder",
        "left head of femur",
        "right head of femur",
    ),
)
