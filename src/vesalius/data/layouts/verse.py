"""VerSe 2019 and 2020, subject-based structure: `rawdata/sub-*/` and `derivatives/sub-*/` (anjany/verse)."""

from __future__ import annotations

from pathlib import Path

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, search, stem

SPLITS = ("training", "validation", "test")  # part of the names of the archives
SHORT = {"training": "train", "validation": "val", "test": "test"}
VERTEBRAE = (
    {f"vertebra C{n}": n for n in range(1, 8)}
    | {f"vertebra T{n}": 7 + n for n in range(1, 13)}
    | {f"vertebra L{n}": 19 + n for n in range(1, 7)}
)


def open_verse(folder: Path) -> Dataset:
    """One archive, or the folder of several of them; a patient with several series has a `split-` entity in the name.

    Vertebrae that are cut off by the image's edge have no label.
    """
    cases = []
    for image in search(folder, "rawdata/sub-*/*_ct.nii.gz"):
        root, subject = image.parents[2], image.parent.name
        label = root / "derivatives" / subject / image.name.replace("_ct.nii.gz", "_seg-vert_msk.nii.gz")
        split = next((SHORT[word] for word in SPLITS if word in root.name), "train")
        edition = f"{root.name}_" if root != folder else ""  # some patients are in both editions
        cases.append(
            Case(edition + stem(image).removesuffix("_ct"), image, label, tuple(LAYOUT.labels), split, subject)
        )
    return LAYOUT.dataset(cases)


LAYOUT = Layout(
    name="verse",
    title="VerSe 2019, 2020",
    modality="CT",
    annotated="vertebrae that are wholly in view, C1 to L6 and T13",
    groups="patient",
    licence="CC BY-SA 4.0",
    homepage="https://github.com/anjany/verse",
    signature=("rawdata/sub-*/*_ct.nii.gz", "derivatives/sub-*/*_seg-vert_msk.nii.gz"),
    open=open_verse,
    labels=VERTEBRAE | {"vertebra T13": 28},
)
