"""BIDS derivatives: `sub-X[/ses-Y]/anat/*_dseg.nii.gz` with a table of names, or `*_label-X_mask.nii.gz`.

The images are those that the labels' JSON file names under `Sources`, else the other images of the same subject and
session, here or in the raw data set two folders up. BIDS has no suffix for CT yet: converted sets write `_ct`, as VerSe
does.
Format: bids-specification.readthedocs.io, "Imaging derivatives".
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, find_one, guess_modality, load_json, number, stem
from vesalius.data.record import FILE, apply_record, write_json
from vesalius.errors import FormatError
from vesalius.files import replacing

if TYPE_CHECKING:
    from vesalius.segmentation import Segmentation
    from vesalius.volume import Volume

SUFFIXES = {  # what BIDS calls the channels of other formats, with the entity that tells two T1w apart
    **dict.fromkeys(("t1", "t1n", "t1w"), "T1w"),
    **dict.fromkeys(("t1c", "t1ce", "t1gd"), "ce-gadolinium_T1w"),
    **dict.fromkeys(("t2", "t2w"), "T2w"),
    **dict.fromkeys(("flair", "t2f"), "FLAIR"),
}
LABELS = ("dseg", "mask", "probseg")  # suffixes of what is no image
PLACES = ("sub-*/*/{}.nii.gz", "sub-*/ses-*/*/{}.nii.gz")
TABLE = "dseg.tsv"


def open_bids(folder: Path) -> Dataset:
    """Every discrete segmentation, or else every group of masks; a subject is a patient."""
    description = find_one(folder, "dataset_description.json")
    root, facts = description.parent, load_json(description)
    segmentations = _glob(root, "*_dseg")
    found = _open_discrete(root, segmentations) if segmentations else _open_masks(root)
    channels = tuple(_channel(path) for path in (found.cases[0].image, *found.cases[0].channels))
    found = replace(
        found,
        name=facts.get("Name") or root.name,
        modality=guess_modality(channels),
        licence=facts.get("License") or "",
        source=next((entry.get("URL", "") for entry in facts.get("SourceDatasets", ())), ""),
        channels=channels,
    )
    return apply_record(root, found)


def read_bids(dataset: Dataset, case: Case) -> Segmentation:
    """A label image, or masks in files of their own."""
    from vesalius.data.reading import layer_masks, read_label_image, read_mask
    from vesalius.io import read

    if not case.parts:
        return read_label_image(dataset, case)
    grid = read(case.parts[0]).grid
    return layer_masks(dataset, case, ((_entity(part, "label"), read_mask(part, grid)) for part in case.parts), grid)


def place_bids(folder: Path, case: Case) -> Path:
    """Where the labels of a converted case go: a subject for each patient, a session where a case is not a patient."""
    subject = f"sub-{_word(case.group)}"
    if case.group == case.id:
        return folder / subject / "anat" / f"{subject}_dseg.nii.gz"
    session = f"ses-{_word(case.id)}"
    return folder / subject / session / "anat" / f"{subject}_{session}_dseg.nii.gz"


def write_bids_case(folder: Path, case: Case, image: Volume, labels: Segmentation, channels: Iterable[str]) -> None:
    """One file for each channel, the JSON file that names them, then the labels."""
    from vesalius.io import write
    from vesalius.volume import Volume

    label = place_bids(folder, case)
    label.parent.mkdir(parents=True, exist_ok=True)
    start = label.name.removesuffix("_dseg.nii.gz")
    paths = [label.with_name(f"{start}_{_suffix(name)}.nii.gz") for name in channels]
    if len(set(paths)) < len(paths):
        raise FormatError(f"Two channels of {case.id} have one name in BIDS; give the channels distinct names.")
    for path, channel in zip(paths, image.voxels, strict=True):
        write(Volume(channel[None], image.grid, image.source), path)
    sources = [f"bids::{path.relative_to(folder).as_posix()}" for path in paths]
    write_json(label.with_name(f"{start}_dseg.json"), {"Sources": sources, "SpatialReference": sources[0]})
    write(labels, label)


def write_bids_description(folder: Path, dataset: Dataset) -> None:
    """`dataset_description.json`, `participants.tsv`, `dseg.tsv` of all labels, and what a validator is to skip."""
    from vesalius import __version__

    record = {
        "Name": dataset.name,
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "License": dataset.licence,
        "GeneratedBy": [{"Name": "vesalius", "Version": __version__}],
        "SourceDatasets": [{"URL": dataset.source}],
    }
    write_json(folder / "dataset_description.json", record)
    own = sorted({f"*_{_suffix(name)}.nii.gz" for name in dataset.channels if name.lower() not in SUFFIXES})
    (folder / ".bidsignore").write_text("\n".join([FILE, *own]) + "\n", encoding="utf-8")
    _write_table(folder / TABLE, ("index", "name"), ((code, name) for name, code in dataset.labels.items()))
    subjects = sorted({(f"sub-{_word(case.group)}", case.split) for case in dataset.cases})
    _write_table(folder / "participants.tsv", ("participant_id", "split"), subjects)


def _open_discrete(root: Path, segmentations: list[Path]) -> Dataset:
    labels: dict[str, int] = {}
    cases = []
    for path in segmentations:
        names = _read_table(path, root)
        for name, code in names.items():
            if labels.setdefault(name, code) != code:
                raise FormatError(f"{name} is {labels[name]} and {code} in two tables; convert them apart.")
        cases.append(_case(root, path, tuple(names), ()))
    return LAYOUT.dataset(cases, labels)


def _open_masks(root: Path) -> Dataset:
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in _glob(root, "*_label-*_mask"):
        groups[_common(path)].append(path)
    if not groups:
        raise FormatError(f"There is no *_dseg.nii.gz and no *_label-*_mask.nii.gz under {root}; give the derivatives.")
    cases = [
        _case(root, parts[0], tuple(_entity(part, "label") for part in parts), tuple(parts))
        for parts in groups.values()
    ]
    return LAYOUT.dataset(cases, number(*sorted({name for case in cases for name in case.annotated})))


def _case(root: Path, label: Path, annotated: tuple[str, ...], parts: tuple[Path, ...]) -> Case:
    images = _sources(root, label) or _siblings(root, label)
    if not images:
        raise FormatError(f"There is no image for {label.name}; name it under Sources in its JSON file.")
    subject = label.relative_to(root).parts[0]
    return Case(_common(label), images[0], label, annotated, "train", subject, tuple(images[1:]), parts)


def _sources(root: Path, label: Path) -> list[Path]:
    """The images that the JSON file of the labels names and that are there."""
    beside = label.with_name(f"{stem(label)}.json")
    named = load_json(beside).get("Sources", ()) if beside.exists() else ()
    paths = [root / re.sub(r"^bids:\w*:", "", name) for name in ([named] if isinstance(named, str) else named)]
    return [path for path in paths if path.exists()]


def _siblings(root: Path, label: Path) -> list[Path]:
    """Other images of the same subject and session, here or in the raw data two folders up."""
    own = [part for part in _common(label).split("_") if part.startswith(("sub-", "ses-"))]
    for base in (root, root.parent.parent):
        near = base / label.parent.relative_to(root)
        found = [path for path in sorted(near.glob("_".join(own) + "_*.nii.gz")) if not _is_label(path)]
        if found:
            return found
    return []


def _read_table(label: Path, root: Path) -> dict[str, int]:
    """Names and codes from the table beside the labels, or that of the whole set."""
    tables = [label.with_name(f"{stem(label)}.tsv"), root / TABLE, *sorted(root.glob("*_dseg.tsv"))]
    table = next((path for path in tables if path.exists()), None)
    if table is None:
        raise FormatError(f"There is no table of names for {label.name}; put {stem(label)}.tsv beside it.")
    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    return {row["name"]: int(row["index"]) for row in rows if int(row["index"])}


def _write_table(path: Path, header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as lines:
        csv.writer(lines, delimiter="\t", lineterminator="\n").writerows([header, *rows])


def _glob(root: Path, pattern: str) -> list[Path]:
    return sorted(path for place in PLACES for path in root.glob(place.format(pattern)))


def _is_label(path: Path) -> bool:
    return stem(path).rsplit("_", 1)[1] in LABELS


def _entity(path: Path, key: str) -> str:
    return next(part.removeprefix(f"{key}-") for part in stem(path).split("_") if part.startswith(f"{key}-"))


def _common(path: Path) -> str:
    """The name without what tells labels of one image apart: suffix, `label-`, `desc-` and `seg-`."""
    parts = stem(path).split("_")[:-1]
    return "_".join(part for part in parts if not part.startswith(("label-", "desc-", "seg-")))


def _word(text: str) -> str:
    """Letters and digits, all that BIDS allows in a label."""
    return re.sub(r"[^A-Za-z0-9]", "", text) or "x"


def _suffix(channel: str) -> str:
    """The end of an image's name; what BIDS has no suffix for keeps its own name, "ct" in small letters."""
    return SUFFIXES.get(channel.lower(), _word("ct" if channel == "CT" else channel))


def _channel(path: Path) -> str:
    """What an image shows: its suffix, after the contrast agent if one is named."""
    *entities, suffix = stem(path).split("_")
    return " ".join([*(part[3:] for part in entities if part.startswith("ce-")), suffix])


LAYOUT = Layout(
    name="bids",
    title="BIDS derivatives",
    modality="any",
    annotated="what the tables of the segmentations name",
    groups="subject",
    licence="as `dataset_description.json` says",
    homepage="https://bids-specification.readthedocs.io",
    signature=("dataset_description.json", "sub-*"),
    open=open_bids,
    read=read_bids,
)
