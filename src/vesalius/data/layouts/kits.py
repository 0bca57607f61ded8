"""KiTS 2019, 2021 and 2023: `case_NNNNN/imaging.nii.gz` with one label file beside it (neheller/kits23).

Cysts were labelled from 2021 on: those releases keep each instance's annotations, or a majority vote of them.
"""

from __future__ import annotations

from pathlib import Path

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, number, search

MAJORITY = "aggregated_MAJ_seg.nii.gz"  # the label file of 2021


def open_kits(folder: Path) -> Dataset:
    """Every `case_NNNNN` with `segmentation.nii.gz` (2019, 2023) or the majority vote of 2021; a case is a patient."""
    cases = []
    for image in search(folder, "case_*/imaging.nii.gz"):
        case = image.parent
        label = case / MAJORITY if (case / MAJORITY).exists() else case / "segmentation.nii.gz"
        with_cysts = label.name == MAJORITY or (case / "instances").is_dir()
        annotated = tuple(LAYOUT.labels)[: 3 if with_cysts else 2]
        cases.append(Case(case.name, image, label, annotated, "train", case.name))
    return LAYOUT.dataset(cases)


LAYOUT = Layout(
    name="kits",
    title="KiTS 2019, 2021, 2023",
    modality="CT",
    annotated="kidneys without their tumours and cysts, tumours; cysts from 2021 on",
    groups="patient",
    licence="CC BY-NC-SA",
    homepage="https://kits-challenge.org",
    signature=("case_*/imaging.nii.gz",),
    open=open_kits,
    labels=number("kidney", "kidney tumor", "kidney cyst"),
)
