"""LiTS 2017: `Training Batch 1` and `2` with `volume-N.nii` and `segmentation-N.nii` side by side (CodaLab 17094)."""

from __future__ import annotations

from pathlib import Path

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, number, search, stem


def open_lits(folder: Path) -> Dataset:
    """`volume-N.nii` with `segmentation-N.nii` in the same folder; one batch or both."""
    cases = []
    for image in search(folder, "volume-*.nii"):
        name = stem(image)
        label = image.with_name(image.name.replace("volume", "segmentation"))
        cases.append(Case(name, image, label, tuple(LAYOUT.labels), "train", name))
    return LAYOUT.dataset(cases)


LAYOUT = Layout(
    name="lits",
    title="LiTS 2017",
    modality="CT",
    annotated="liver without its tumours, and these",
    groups="scan",
    licence="CC BY-NC-ND",
    homepage="https://competitions.codalab.org/competitions/17094",
    signature=("volume-*.nii", "segmentation-*.nii"),
    open=open_lits,
    labels=number("liver", "liver tumor"),
)
