"""A data set in another layout: MSD, nnU-Net, BIDS derivatives or challenge .npz, case by case.

A case that is there is not written again, so that a conversion which was stopped goes on; delete what has changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import number, place_in_task
from vesalius.data.layouts import bids, msd, nnunet, npz
from vesalius.data.reading import SAME_MM, find_values, read_image, read_labels
from vesalius.data.record import claim_folder, write_record
from vesalius.errors import FormatError, VesaliusError
from vesalius.labels import LabelSpace
from vesalius.segmentation import Segmentation

PLACES = {"msd": place_in_task, "nnunet": place_in_task, "bids": bids.place_bids, "npz": npz.place_npz}


@dataclass
class Converted:
    """What became of each case: written now, there before, or failed with one sentence."""

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def convert_dataset(dataset: Dataset, folder: Path, target: str, tell: Callable[[str], None]) -> Converted:
    """Writes the cases of a data set into a folder in the layout `target`; `tell` hears each case's end.

    A bad case does not stop the others. nnU-Net's labels are numbered anew where codes are missing between them. Raises
    FormatError where no case can be converted as it is.
    """
    place = _place_of(target)
    _check_target(dataset, folder, place)
    labels = dataset.labels or _find_labels(dataset)
    if target == "nnunet":
        labels = number(*sorted(labels, key=labels.__getitem__))
    goal = replace(dataset, labels=labels, channels=_name_channels(dataset))
    claim_folder(folder, goal, target)
    result = Converted()
    for n, case in enumerate(dataset.cases, start=1):
        if place(folder, case).exists():
            result.skipped.append(case.id)
        else:
            try:
                _write_case(dataset, goal, case, folder, target)
                result.done.append(case.id)
            except VesaliusError as error:
                result.failed[case.id] = str(error)
        tell(f"{n}/{len(dataset.cases)} {case.id}: {result.failed.get(case.id, 'done')}")
    there = tuple(case for case in dataset.cases if case.id not in result.failed)
    if there:
        written = tuple(replace(case, segmentation=place(folder, case), parts=()) for case in there)
        _write_description(folder, replace(goal, cases=written), target)
    return result


def _place_of(target: str) -> Callable[[Path, Case], Path]:
    if target not in PLACES:
        raise FormatError(f"{target} is no layout to convert to; choose one of {', '.join(PLACES)}.")
    return PLACES[target]


def _check_target(dataset: Dataset, folder: Path, place: Callable[[Path, Case], Path]) -> None:
    """Refuses what would overwrite the source or put two cases in one place."""
    if dataset.label_kind == "instance":
        raise FormatError(
            "Each object of this set has a value of its own, which no target can name; choose another set."
        )
    if folder.resolve() in dataset.cases[0].image.resolve().parents:
        raise FormatError(f"{folder} holds the data that are to be converted; choose another folder.")
    counts = Counter(place(folder, case) for case in dataset.cases)
    twice = [path for path, count in counts.items() if count > 1]
    if twice:
        names = ", ".join(case.id for case in dataset.cases if place(folder, case) == twice[0])
        raise FormatError(f"{names} would all be written to {twice[0].name}; rename them first.")


def _find_labels(dataset: Dataset) -> Mapping[str, int]:
    """Names for labels that have none: every value that occurs, called by its number."""
    found: dict[str, int] = {}
    for case in dataset.cases:
        try:
            found |= {name: value for name, (_, value) in read_labels(dataset, case).places.items()}
        except VesaliusError:
            continue  # said when the case itself is converted
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _name_channels(dataset: Dataset) -> tuple[str, ...]:
    """The names of the channels, as many as the first image that can be read has; a set of pictures names none."""
    for case in dataset.cases:
        try:
            count = len(read_image(dataset, case).voxels)
        except VesaliusError:
            continue
        if count == len(dataset.channels):
            break
        return ("R", "G", "B") if count == 3 else tuple(f"channel{n}" for n in range(1, count + 1))
    return dataset.channels


def _write_case(dataset: Dataset, goal: Dataset, case: Case, folder: Path, target: str) -> None:
    image, labels = read_image(dataset, case), read_labels(dataset, case)
    if not labels.grid.same_as(image.grid, SAME_MM):
        raise FormatError(f"Image and labels of {case.id} lie on different grids; resample the labels first.")
    if len(image.voxels) != len(goal.channels):
        raise FormatError(
            f"{case.id} has {len(image.voxels)} channels and the set {len(goal.channels)}; check the case."
        )
    flat = _one_layer(labels, goal, case)
    match target:
        case "msd":
            msd.write_msd_case(folder, case, image, flat)
        case "nnunet":
            nnunet.write_nnunet_case(folder, case, image, flat)
        case "bids":
            bids.write_bids_case(folder, case, image, flat, goal.channels)
        case _:
            npz.write_npz_case(folder, goal, case, image, flat)


def _one_layer(labels: Segmentation, goal: Dataset, case: Case) -> Segmentation:
    """The structures in one layer under the goal's codes; raises FormatError for overlap and for unknown values."""
    unknown = find_values(labels.layers) - {value for _, value in labels.places.values()}
    if unknown:
        raise FormatError(f"{case.id} has the label {min(unknown)}, which the set does not name; check it.")
    dtype = np.uint8 if max(goal.labels.values(), default=0) < 256 else np.uint16
    flat = np.zeros(labels.grid.shape, dtype)
    for n, layer in enumerate(labels.layers):
        code_of = np.zeros(2**16, dtype)
        for name, (where, value) in labels.places.items():
            if where == n:
                code_of[value] = goal.labels[name]
        for k in range(layer.shape[-1]):
            codes = code_of[layer[..., k]]
            if (flat[..., k].astype(bool) & codes.astype(bool)).any():
                raise FormatError(
                    f"Structures of {case.id} overlap, which one label a voxel cannot hold; leave it as it is."
                )
            flat[..., k] += codes
    places = {name: (0, code) for name, code in goal.labels.items()}
    names, annotated = LabelSpace.of(goal.labels), frozenset(case.annotated)
    return Segmentation(flat[None], labels.grid, names, places, annotated, labels.source, goal.licence)


def _write_description(folder: Path, dataset: Dataset, target: str) -> None:
    match target:
        case "msd":
            msd.write_msd_description(folder, dataset)
        case "nnunet":
            nnunet.write_nnunet_description(folder, dataset)
        case "bids":
            bids.write_bids_description(folder, dataset)
    write_record(folder, dataset, target)
