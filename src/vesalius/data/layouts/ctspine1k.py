"""CTSpine1K: `raw_data/{volumes,labels}/<source>/` and `metadata/data_split.txt` (Hugging Face mirror)."""

from __future__ import annotations

from pathlib import Path

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, search
from vesalius.data.layouts.verse import VERTEBRAE

SPLITS = {"trainset": "train", "test_public": "val", "test_private": "test"}  # as the mirror's own loader takes them


def open_ctspine1k(folder: Path) -> Dataset:
    """`volumes/<source>/X.nii.gz` with `labels/<source>/X_seg.nii.gz`; an image that no split lists is for training."""
    splits = _read_splits(search(folder, "data_split.txt"))
    cases = []
    for image in search(folder, "volumes/*/*.nii.gz"):
        source, name = image.parent.name, image.name.removesuffix(".nii.gz")  # some names are UIDs: full of dots
        label = image.parents[2] / "labels" / source / f"{name}_seg.nii.gz"
        case = Case(name, image, label, tuple(LAYOUT.labels), splits.get(image.name, "train"), name)
        cases.append(case)
    return LAYOUT.dataset(cases)


def _read_splits(files: list[Path]) -> dict[str, str]:
    """The split of each file name: a line `trainset:` and so on, then one name a line."""
    splits, current = {}, "train"
    for line in files[0].read_text(encoding="utf-8").split() if files else ():
        if line.endswith(":"):
            current = SPLITS.get(line[:-1], line[:-1])
        else:
            splits[line] = current
    return splits


LAYOUT = Layout(
    name="ctspine1k",
    title="CTSpine1K",
    modality="CT",
    annotated="all vertebrae in view, C1 to L6; scans of COLONOG, HNSCC-3DCT-RT, MSD liver and COVID-19",
    groups="scan",
    licence="CC BY-NC-SA",
    homepage="https://github.com/MIRACLE-Center/CTSpine1K",
    signature=("raw_data/volumes/*/*.nii.gz", "raw_data/labels/*/*_seg.nii.gz"),
    open=open_ctspine1k,
    labels=VERTEBRAE,
)
