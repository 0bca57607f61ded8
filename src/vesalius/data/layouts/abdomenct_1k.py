"""AbdomenCT-1K: `AbdomenCT-1K-ImagePart{1,2,3}/Case_NNNNN_0000.nii.gz` and `Mask/Case_NNNNN.nii.gz` (Zenodo)."""

from __future__ import annotations

from pathlib import Path

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, number, search, stem


def open_abdomenct_1k(folder: Path) -> Dataset:
    """The images of every part that is there, with the masks of the fourth archive."""
    masks = {stem(path): path for path in search(folder, "Mask/Case_*.nii.gz")}
    cases = []
    for image in search(folder, "AbdomenCT-1K-ImagePart*/Case_*_0000.nii.gz"):
        name = stem(image).removesuffix("_0000")
        label = masks.get(name, folder / "Mask" / f"{name}.nii.gz")
        cases.append(Case(name, image, label, tuple(LAYOUT.labels), "train", name))
    return LAYOUT.dataset(cases)


LAYOUT = Layout(
    name="abdomenct-1k",
    title="AbdomenCT-1K",
    modality="CT",
    annotated="liver, kidneys, spleen and pancreas; scans of LiTS, KiTS, MSD and Pancreas-CT among others",
    groups="scan",
    licence="mixed, per source",
    homepage="https://github.com/JunMa11/AbdomenCT-1K",
    signature=("AbdomenCT-1K-ImagePart*/Case_*_0000.nii.gz", "Mask/Case_*.nii.gz"),
    open=open_abdomenct_1k,
    labels=number("liver", "kidney", "spleen", "pancreas"),
)
