"""ACDC: `database/{training,testing}/patientNNN/patientNNN_frameNN.nii.gz` with `_gt` beside it (CREATIS, Lyon)."""

from __future__ import annotations

from pathlib import Path

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, number, search, stem

SPLITS = {"training": "train", "testing": "test"}


def open_acdc(folder: Path) -> Dataset:
    """End diastole and end systole of each patient; the 4D series beside them has no labels."""
    cases = []
    for part, split in SPLITS.items():
        for label in search(folder, f"{part}/patient*/patient*_frame*_gt.nii.gz"):
            name = stem(label).removesuffix("_gt")
            image = label.with_name(f"{name}.nii.gz")
            cases.append(Case(name, image, label, tuple(LAYOUT.labels), split, label.parent.name))
    return LAYOUT.dataset(cases)


LAYOUT = Layout(
    name="acdc",
    title="ACDC",
    modality="MR",
    annotated="cavities of both ventricles and the left myocardium, at end diastole and end systole",
    groups="patient",
    licence="CC BY-NC-SA 4.0, on registration",
    homepage="https://www.creatis.insa-lyon.fr/Challenge/acdc/",
    signature=("training/patient*/patient*_frame*_gt.nii.gz",),
    open=open_acdc,
    labels=number("right ventricle", "myocardium", "left ventricle"),
    channels=("cine MR",),
)
