"""TotalSegmentator's CT and MR data (Zenodo): `sNNNN/{ct,mri}.nii.gz`, `sNNNN/segmentations/`, `meta.csv`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, number, search, stem

if TYPE_CHECKING:
    from vesalius.segmentation import Segmentation


def open_totalsegmentator_ct(folder: Path) -> Dataset:
    """Every `sNNNN/ct.nii.gz`, in the splits of `meta.csv`."""
    return _open(CT, folder, "ct.nii.gz")


def open_totalsegmentator_mr(folder: Path) -> Dataset:
    """Every `sNNNN/mri.nii.gz`, in the splits of `meta.csv`."""
    return _open(MR, folder, "mri.nii.gz")


def read_masks(dataset: Dataset, case: Case) -> Segmentation:
    """One file per structure, called by its name."""
    from vesalius.data.reading import layer_masks, read_mask
    from vesalius.io import read

    grid = read(case.parts[0]).grid
    return layer_masks(dataset, case, ((stem(part), read_mask(part, grid)) for part in case.parts), grid)


def _open(layout: Layout, folder: Path, file: str) -> Dataset:
    """The structures are those that any case has a file for; their codes follow the order of the names."""
    splits = _read_splits(search(folder, "meta.csv"))
    cases = []
    for image in search(folder, f"s*/{file}"):
        subject = image.parent.name
        parts = tuple(sorted((image.parent / "segmentations").glob("*.nii.gz")))
        annotated = tuple(map(stem, parts))
        split = splits.get(subject, "train")
        segmentation = image.parent / "segmentations"
        cases.append(Case(subject, image, segmentation, annotated, split, subject, parts=parts))
    return layout.dataset(cases, number(*sorted({name for case in cases for name in case.annotated})))


def _read_splits(files: list[Path]) -> dict[str, str]:
    if not files:
        return {}
    with files[0].open(encoding="utf-8-sig", newline="") as lines:
        return {row["image_id"]: row["split"] for row in csv.DictReader(lines, delimiter=";")}


CT = Layout(
    name="totalsegmentator-ct",
    title="TotalSegmentator CT",
    modality="CT",
    annotated="104 (version 1) or 117 structures of the whole body, corrected model output",
    groups="patient",
    licence="CC BY 4.0",
    homepage="https://doi.org/10.5281/zenodo.6802613",
    signature=("s*/ct.nii.gz", "s*/segmentations/*.nii.gz"),
    open=open_totalsegmentator_ct,
    read=read_masks,
)
MR = Layout(
    name="totalsegmentator-mr",
    title="TotalSegmentator MR",
    modality="MR",
    annotated="50 structures of the whole body, corrected model output",
    groups="patient",
    licence="CC BY-NC-SA 2.0",
    homepage="https://doi.org/10.5281/zenodo.11367004",
    signature=("s*/mri.nii.gz", "s*/segmentations/*.nii.gz"),
    open=open_totalsegmentator_mr,
    read=read_masks,
)
