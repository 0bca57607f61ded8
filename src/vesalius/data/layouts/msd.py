"""The Medical Segmentation Decathlon and whatever is laid out like its tasks: `dataset.json`, `imagesTr`, `labelsTr`.

`labels` are {code: name}, `modality` the channels, which lie on the fourth axis of an image. A `test` list names images
without labels; converted sets keep labels of test cases in `labelsTs`. medicaldecathlon.com.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, find_one, guess_modality, load_json, make_task_folders, stem
from vesalius.data.record import apply_record, write_json
from vesalius.errors import FormatError
from vesalius.files import replacing

if TYPE_CHECKING:
    from vesalius.segmentation import Segmentation
    from vesalius.volume import Volume

TASKS = {  # the ten official tasks, which share one licence
    "Task01_BrainTumour": "glioma in four MR sequences: edema, non-enhancing and enhancing tumour",
    "Task02_Heart": "left atrium in MR",
    "Task03_Liver": "liver and tumour in CT (the scans of LiTS)",
    "Task04_Hippocampus": "anterior and posterior hippocampus in MR",
    "Task05_Prostate": "peripheral and transition zone in MR (T2 and ADC)",
    "Task06_Lung": "lung tumour in CT",
    "Task07_Pancreas": "pancreas and tumour in CT",
    "Task08_HepaticVessel": "hepatic vessels and tumour in CT",
    "Task09_Spleen": "spleen in CT",
    "Task10_Colon": "colon cancer in CT",
}
OFFICIAL = "CC BY-SA 4.0"


def open_msd(folder: Path) -> Dataset:
    """The cases of `training` and, where there are labels for them, of `test`."""
    description = find_one(folder, "dataset.json")
    root, facts = description.parent, load_json(description)
    labels = {name: int(code) for code, name in facts["labels"].items() if int(code)}
    channels = tuple(facts["modality"].values())
    cases = [
        Case(stem(image), image, label, tuple(labels), split, stem(image))
        for image, label, split in _pairs(root, facts)
    ]
    found = replace(
        LAYOUT.dataset(cases, labels),
        name=facts.get("name") or root.name,
        modality=guess_modality(channels),
        licence=facts.get("licence") or facts.get("license") or (OFFICIAL if root.name in TASKS else ""),
        source=facts.get("reference") or facts.get("source") or "",
        channels=channels,
    )
    return apply_record(root, found)


def write_msd_case(folder: Path, case: Case, image: Volume, labels: Segmentation) -> None:
    """The channels as one 4D file, then the labels."""
    from vesalius.io import write

    images, label = make_task_folders(folder, case)
    _write_channels(image, images / label.name)
    write(labels, label)


def write_msd_description(folder: Path, dataset: Dataset) -> None:
    """`dataset.json` of the cases that are there."""
    training = [case.segmentation for case in dataset.cases if case.split != "test"]
    test = [case.segmentation for case in dataset.cases if case.split == "test"]
    record = {
        "name": dataset.name,
        "description": dataset.name,
        "reference": dataset.source,
        "licence": dataset.licence,
        "release": "",
        "tensorImageSize": "4D" if len(dataset.channels) > 1 else "3D",
        "modality": {str(n): name for n, name in enumerate(dataset.channels)},
        "labels": {"0": "background"} | {str(code): name for name, code in dataset.labels.items()},
        "numTraining": len(training),
        "numTest": len(test),
        "training": [{"image": f"./imagesTr/{path.name}", "label": f"./labelsTr/{path.name}"} for path in training],
        "test": [f"./imagesTs/{path.name}" for path in test],
    }
    write_json(folder / "dataset.json", record)


def _pairs(root: Path, facts: dict) -> Iterator[tuple[Path, Path, str]]:
    """Image, label and split of what `dataset.json` lists; some sets list names without .nii.gz."""
    for pair in facts["training"]:
        image, label = root / pair["image"], root / pair["label"]
        if not image.exists():
            raise FormatError(f"dataset.json lists {pair['image']}, which is not there; unpack the archive again.")
        yield image, label, "train"
    for entry in facts.get("test", ()):
        image = root / (entry["image"] if isinstance(entry, dict) else entry)
        yield image, root / "labelsTs" / image.name, "test"


def _write_channels(image: Volume, path: Path) -> None:
    """One channel as a 3D file, several on the fourth axis of a 4D one."""
    import nibabel
    import numpy as np

    from vesalius.io import write
    from vesalius.io.nifti import PIXELS

    if len(image.voxels) == 1:
        write(image, path)
        return
    made = nibabel.Nifti1Image(np.moveaxis(image.voxels, 0, 3), image.grid.matrix, dtype=image.voxels.dtype)
    made.header.set_xyzt_units("mm")
    if not image.grid.calibrated:
        made.header["descrip"] = PIXELS
    with replacing(path) as part:
        made.to_filename(part)


LAYOUT = Layout(
    name="msd",
    title="Medical Segmentation Decathlon",
    modality="CT, MR",
    annotated="what its `dataset.json` names; of the official tasks: " + "; ".join(TASKS.values()),
    groups="image",
    licence=OFFICIAL + " (the ten tasks), or as `dataset.json` says",
    homepage="http://medicaldecathlon.com",
    signature=("dataset.json#training", "dataset.json#modality", "dataset.json#labels", "labelsT[rs]/*"),
    open=open_msd,
)
