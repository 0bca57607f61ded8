"""`vesalius.json` beside converted data: what the target format has no place for, so that nothing is lost on the way.

That is each case's split, patient group, modality and what was annotated, and the licence and source of the set.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from vesalius.data.case import Dataset
from vesalius.data.layout import load_json
from vesalius.errors import FormatError
from vesalius.files import write_text

FILE = "vesalius.json"
KEPT = ("name", "modality", "label_kind", "licence", "source", "dimension")


def claim_folder(folder: Path, dataset: Dataset, target: str) -> None:
    """Makes a folder for a conversion, or goes on with one of the same set to the same layout.

    Raises FormatError for a folder that holds anything else.
    """
    if (folder / FILE).exists():
        record = load_json(folder / FILE)
        if (record.get("name"), record.get("layout")) != (dataset.name, target):
            held = f"{record.get('name')} as {record.get('layout')}"
            raise FormatError(f"{folder} holds {held}; choose another folder for {dataset.name} as {target}.")
        return
    if folder.exists() and any(folder.iterdir()):
        raise FormatError(f"{folder} holds other files; choose a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder, replace(dataset, cases=()), target)


def write_record(folder: Path, dataset: Dataset, target: str) -> None:
    """Writes the record of a folder whose label files are those of the data set; whole or not at all."""
    cases = {}
    for case in dataset.cases:
        facts = {"split": case.split, "group": case.group, "annotated": case.annotated, "modality": case.modality}
        cases[case.segmentation.relative_to(folder).as_posix()] = {"id": case.id} | facts
    record = (
        {"version": 1, "layout": target}
        | {key: getattr(dataset, key) for key in (*KEPT, "channels")}
        | {"cases": cases}
    )
    write_json(folder / FILE, record)


def apply_record(folder: Path, dataset: Dataset) -> Dataset:
    """The data set with what the folder's record says of it; unchanged where there is no record."""
    if not (folder / FILE).exists():
        return dataset
    record = load_json(folder / FILE)
    said = record["cases"]
    cases = []
    for case in dataset.cases:
        facts = dict(said.get(case.segmentation.relative_to(folder).as_posix(), {}))
        if "annotated" in facts:
            facts["annotated"] = tuple(facts["annotated"])
        cases.append(replace(case, **facts))
    kept = {key: record[key] for key in KEPT if key in record}
    channels = tuple(record.get("channels", dataset.channels))
    return replace(dataset, **kept, channels=channels, cases=tuple(sorted(cases, key=lambda case: case.id)))


def write_json(path: Path, record: object) -> None:
    """Writes JSON for people to read, whole or not at all; raises FormatError where that cannot be."""
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
