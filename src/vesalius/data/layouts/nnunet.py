"""nnU-Net's raw data, version 2: `dataset.json`, `imagesTr/CASE_0000.nii.gz` by channel, `labelsTr/CASE.nii.gz`.

`labels` are {name: code}, where a list of codes is a region; codes follow each other without a gap.
`splits_final.json`, which nnU-Net keeps with its preprocessed data, is read and written here: copy it there. Format:
nnU-Net, `documentation/dataset_format.md`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, find_one, guess_modality, load_json, make_task_folders, number
from vesalius.data.record import apply_record, write_json

if TYPE_CHECKING:
    from vesalius.segmentation import Segmentation
    from vesalius.volume import Volume

SPLITS = "splits_final.json"
IGNORE = "ignore"


def open_nnunet(folder: Path) -> Dataset:
    """The labelled cases of Tr and Ts; the first fold of `splits_final.json`, if there is one, says which validate."""
    description = find_one(folder, "dataset.json")
    root, facts = description.parent, load_json(description)
    ending, channels = facts["file_ending"], tuple(facts["channel_names"].values())
    codes = {name: code for name, code in facts["labels"].items() if code != 0}
    plain = all(isinstance(code, int) for code in codes.values())
    annotated = tuple(name for name in codes if name != IGNORE)
    validated = _read_validated(root / SPLITS)
    cases = []
    for part, split in (("Tr", "train"), ("Ts", "test")):
        for image in sorted((root / f"images{part}").glob(f"*_0000{ending}")):
            name = image.name.removesuffix(f"_0000{ending}")
            others = tuple(image.with_name(f"{name}_{n:04d}{ending}") for n in range(1, len(channels)))
            label = root / f"labels{part}" / f"{name}{ending}"
            kind = "val" if name in validated else split
            cases.append(Case(name, image, label, annotated, kind, name, others))
    found = replace(
        LAYOUT.dataset(cases, codes if plain else number(*annotated)),
        name=facts.get("name") or root.name,
        modality=guess_modality(channels),
        licence=facts.get("licence") or facts.get("license") or "",
        source=facts.get("reference") or "",
        channels=channels,
    )
    return apply_record(root, found)


def read_regions(dataset: Dataset, case: Case) -> Segmentation:
    """The labels of a case; a region is every voxel that has one of its codes, so regions may overlap."""
    import numpy as np

    from vesalius.data.reading import layer_masks, read_label_image
    from vesalius.io import read_segmentation

    codes = load_json(case.segmentation.parents[1] / "dataset.json")["labels"]
    if all(isinstance(code, int) for code in codes.values()):
        return read_label_image(dataset, case)
    found = read_segmentation(case.segmentation)
    masks = ((name, np.isin(found.layers[0], codes[name])) for name in dataset.labels)
    return layer_masks(dataset, case, masks, found.grid)


def write_nnunet_case(folder: Path, case: Case, image: Volume, labels: Segmentation) -> None:
    """One file for each channel, then the labels with codes that follow each other."""
    from vesalius.io import write
    from vesalius.volume import Volume

    images, label = make_task_folders(folder, case)
    for n, channel in enumerate(image.voxels):
        write(Volume(channel[None], image.grid, image.source), images / f"{case.id}_{n:04d}.nii.gz")
    write(labels, label)


def write_nnunet_description(folder: Path, dataset: Dataset) -> None:
    """`dataset.json` and, where cases validate, `splits_final.json` with one fold."""
    training = [case for case in dataset.cases if case.split != "test"]
    record = {
        "name": dataset.name,
        "channel_names": {str(n): name for n, name in enumerate(dataset.channels)},
        "labels": {"background": 0, **dataset.labels},
        "numTraining": len(training),
        "file_ending": ".nii.gz",
        "licence": dataset.licence,
        "reference": dataset.source,
    }
    write_json(folder / "dataset.json", record)
    validated = [case.id for case in training if case.split == "val"]
    if validated:
        trained = [case.id for case in training if case.split != "val"]
        write_json(folder / SPLITS, [{"train": trained, "val": validated}])


def _read_validated(path: Path) -> set[str]:
    return set(json.loads(path.read_text(encoding="utf-8"))[0]["val"]) if path.exists() else set()


LAYOUT = Layout(
    name="nnunet",
    title="nnU-Net raw data",
    modality="any",
    annotated="what its `dataset.json` names",
    groups="image",
    licence="as `dataset.json` says",
    homepage="https://github.com/MIC-DKFZ/nnUNet",
    signature=("dataset.json#channel_names", "dataset.json#file_ending"),
    open=open_nnunet,
    read=read_regions,
)
