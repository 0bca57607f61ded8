"""Reader of a folder of small data sets: `<set>/dataset.json`, `<set>/images/<case>`, `<set>/labels/<case>`.
The split, the labels and the licence of each set come from its `dataset.json`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from vesalius.data.case import Case, Dataset
from vesalius.errors import FormatError


def open_collection(folder: Path) -> list[Dataset]:
    """Every set of the folder that has images, in the order of their names."""
    descriptions = sorted(Path(folder).glob("*/dataset.json"))
    if not descriptions:
        raise FormatError(f"No */dataset.json under {folder}: name the folder that holds the data sets.")
    return [read_dataset(path) for path in descriptions if (path.parent / "images").is_dir()]


def read_dataset(description: Path) -> Dataset:
    """The set described by one `dataset.json`."""
    facts = json.loads(description.read_text(encoding="utf-8"))
    images = _files_by_case(description.parent / "images")
    labels = _files_by_case(description.parent / "labels")
    missing = [case for case in facts["split"] if case not in images or case not in labels]
    if missing:
        raise FormatError(f"{description} lists {missing[0]}, which lacks an image or a label file.")
    group = facts.get("group", {})
    cases = tuple(
        Case(case, images[case], labels[case], tuple(facts["annotated"]), split, group.get(case, case))
        for case, split in sorted(facts["split"].items())
    )
    return Dataset(
        name=facts["name"],
        modality=facts["modality"],
        dimension=facts["dimension"],
        labels={name: value for name, value in facts["labels"].items() if value != 0},
        label_kind=facts["label_kind"],
        licence=facts["licence"],
        source=facts["source"],
        cases=cases,
    )


def hash_manifest(folder: Path) -> str:
    """The sha256 of `manifest.json`, which in turn holds the sha256 of every file: it names the data exactly."""
    return hashlib.sha256((Path(folder) / "manifest.json").read_bytes()).hexdigest()


def _files_by_case(folder: Path) -> dict[str, Path]:
    return {path.name.removesuffix(".gz").rsplit(".", 1)[0]: path for path in sorted(folder.iterdir())}
