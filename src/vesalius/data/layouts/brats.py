"""BraTS: one folder per case with four MR sequences and `seg`, in the names of 2021 and before, of 2023 and of 2024.

Until 2021 `X_{t1,t1ce,t2,flair,seg}.nii.gz` with 4 for the enhancing tumour, from 2023 `X-{t1n,t1c,t2w,t2f,seg}.nii.gz`
with 3, the last number of the name being the visit. Visits after treatment, the gliomas of 2024, count from 100 on and
have one more label, 4: resection cavity.
"""

from __future__ import annotations

from pathlib import Path

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, number, search


def open_brats2021(folder: Path) -> Dataset:
    """Every `BraTS*/BraTS*_seg.nii.gz` (or .nii) with its four sequences; a case is a patient."""
    return _open(BRATS2021, folder, "_", "[Bb]ra[Tt][Ss]*/*_seg.nii*")


def open_brats2023(folder: Path) -> Dataset:
    """Every `BraTS-*/BraTS-*-seg.nii.gz` with its four sequences; visits of one patient stay together."""
    return _open(BRATS2023, folder, "-", "BraTS-*/*-seg.nii.gz")


def open_brats2024(folder: Path) -> Dataset:
    """As 2023; a set of visits before and after treatment is one."""
    return _open(BRATS2024, folder, "-", "BraTS-GLI-*/*-seg.nii.gz")


def _open(layout: Layout, folder: Path, joint: str, pattern: str) -> Dataset:
    cases = []
    for label in search(folder, pattern):
        name, suffix = label.name.split(f"{joint}seg", 1)
        image, *others = [label.with_name(f"{name}{joint}{sequence}{suffix}") for sequence in layout.channels]
        patient = name.rsplit("-", 1)[0] if joint == "-" else name
        cases.append(Case(name, image, label, tuple(layout.labels), "train", patient, tuple(others)))
    return layout.dataset(cases)


BRATS2021 = Layout(
    name="brats2021",
    title="BraTS until 2021",
    modality="MR",
    annotated="glioma: necrotic core, oedema, enhancing tumour",
    groups="patient",
    licence="on registration",
    homepage="https://www.synapse.org/#!Synapse:syn25829067",
    signature=("[Bb]ra[Tt][Ss]*/*_t1ce.nii*", "[Bb]ra[Tt][Ss]*/*_seg.nii*"),
    open=open_brats2021,
    labels={"necrotic tumor core": 1, "edema": 2, "enhancing tumor": 4},
    channels=("t1", "t1ce", "t2", "flair"),
)
BRATS2023 = Layout(
    name="brats2023",
    title="BraTS 2023",
    modality="MR",
    annotated="glioma, meningioma, metastases or paediatric tumours: necrotic core, oedema, enhancing tumour",
    groups="patient",
    licence="on registration",
    homepage="https://www.synapse.org/#!Synapse:syn51514105",
    signature=("BraTS-*/*-0??-t1c.nii.gz", "BraTS-*/*-0??-seg.nii.gz"),
    open=open_brats2023,
    labels=number("necrotic tumor core", "edema", "enhancing tumor"),
    channels=("t1n", "t1c", "t2w", "t2f"),
)
BRATS2024 = Layout(
    name="brats2024",
    title="BraTS 2024, gliomas after treatment",
    modality="MR",
    annotated="glioma: necrotic core, oedema, enhancing tumour, resection cavity",
    groups="patient",
    licence="on registration",
    homepage="https://www.synapse.org/Synapse:syn53708249",
    signature=("BraTS-GLI-*/*-1??-t1c.nii.gz", "BraTS-GLI-*/*-1??-seg.nii.gz"),
    open=open_brats2024,
    labels=number("necrotic tumor core", "edema", "enhancing tumor", "resection cavity"),
    channels=("t1n", "t1c", "t2w", "t2f"),
)
