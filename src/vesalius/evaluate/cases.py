"""From the cases of data sets to trials: images with the names of their structures, and examples of other patients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from vesalius.data.case import Case, Dataset
from vesalius.data.collection import open_collection, read_dataset
from vesalius.errors import FormatError
from vesalius.evaluate.trial import Offer, Trial
from vesalius.io import read, read_segmentation
from vesalius.labels import LabelSpace
from vesalius.prompts import Example
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume

OBJECTS = 10  # of a picture of an instance set, so many are targets, the largest ones
MODALITIES = {"CT": "CT", "MR": "MR", "PET": "PT", "US": "US"}  # ours to DICOM's


@dataclass(frozen=True)
class Task:
    """A case and the data set that it is of."""

    dataset: Dataset
    case: Case

    @property
    def name(self) -> str:
        """The case's name among all data sets, without anything that a file name cannot hold."""
        return f"{self.dataset.name}/{self.case.id}".replace("\\", "_").replace(":", "_")


def open_data(path: Path) -> list[Dataset]:
    """The data sets of a folder: the one that its `dataset.json` describes, or every one in a folder of it."""
    for description in (path, path / "dataset.json"):
        if description.is_file():
            return [read_dataset(description)]
    return open_collection(path)


def list_tasks(datasets: Iterable[Dataset], split: str, limit: int = 0) -> list[Task]:
    """The cases of a split of every data set, of each at most `limit`; raises FormatError where there is none."""
    datasets = list(datasets)
    tasks = [Task(dataset, case) for dataset in datasets for case in dataset.split(split)[: limit or None]]
    if not tasks:
        splits = sorted({case.split for dataset in datasets for case in dataset.cases})
        raise FormatError(f"No case is of the split {split!r}; use one of {', '.join(splits)}.")
    return tasks


def list_offers(datasets: Iterable[Dataset]) -> tuple[Offer, ...]:
    """The training cases of data sets as examples, of which the last 64 that were read are kept."""
    cases = [(case, dataset) for dataset in datasets for case in dataset.split("train")]

    @lru_cache(maxsize=64)
    def read_example(number: int, structure: str) -> Example | None:
        case, dataset = cases[number]
        reference = read_reference(case, dataset)
        mask = reference.mask(structure)
        return Example(read_image(case, dataset), Volume(mask[None], reference.grid)) if mask.any() else None

    return tuple(
        Offer(dataset.name, case.group, case.annotated, partial(read_example, number))
        for number, (case, dataset) in enumerate(cases)
    )


def read_trial(task: Task, offers: Iterable[Offer] = ()) -> Trial:
    """The image and reference of a case, and those of the offers that are of other patients.

    Raises FormatError for a label that the data set does not list and for a reference on another grid.
    """
    image, reference = read_image(task.case, task.dataset), read_reference(task.case, task.dataset)
    if not image.grid.same_as(reference.grid):
        raise FormatError(
            f"{task.case.segmentation.name} {reference.grid.shape} does not lie on the grid of {task.case.image.name} "
            f"{image.grid.shape}; resample it to its image first."
        )
    own = task.dataset.name, task.case.group
    others = tuple(offer for offer in offers if (offer.dataset, offer.group) != own)
    return Trial(task.name, image, reference, task.dataset.name, others)


def read_image(case: Case, dataset: Dataset) -> Volume:
    """A case's image, which is known to be what its data set says it is."""
    image = read(case.image)
    known = image.source.modality or MODALITIES.get(dataset.modality, "")
    return replace(image, source=replace(image.source, modality=known))


def read_reference(case: Case, dataset: Dataset) -> Segmentation:
    """A case's labels by name: also of structures that were looked for and are absent.

    Of an instance set each of the largest objects is a structure: "nucleus 1" is the largest.
    """
    labels = read_segmentation(case.segmentation)
    if dataset.label_kind == "instance":
        return _largest_objects(labels, next(iter(dataset.labels)))
    names = {value: name for name, value in dataset.labels.items()}
    if unknown := sorted(set(map(int, labels.labels.names)) - set(names)):
        listed = ", ".join(f"{value} {name}" for value, name in sorted(names.items()))
        raise FormatError(f"{case.segmentation.name} has the label {unknown[0]}, and {dataset.name} lists {listed}.")
    places = {name: (0, value) for value, name in sorted(names.items()) if name in case.annotated}
    return replace(labels, labels=LabelSpace.of(places), places=places, annotated=frozenset(places))


def _largest_objects(labels: Segmentation, kind: str) -> Segmentation:
    areas = np.bincount(labels.layers[0].ravel())[1:]
    largest = [int(value) for value in np.argsort(-areas, kind="stable")[:OBJECTS] + 1 if areas[value - 1]]
    places = {f"{kind} {n}": (0, value) for n, value in enumerate(largest, start=1)}
    return replace(labels, labels=LabelSpace.of(places), places=places, annotated=frozenset(places))
