"""From the cases of data sets to trials: images with the names of their structures, and examples of other patients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from vesalius.data.case import Case, Dataset
from vesalius.data.collection import open_collection
from vesalius.data.layout import load_json
from vesalius.data.reading import read_boxes, read_image, read_labels
from vesalius.data.registry import open_dataset
from vesalius.errors import FormatError
from vesalius.evaluate.trial import Objects, Offer, Trial
from vesalius.labels import LabelSpace
from vesalius.prompts import Example
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume

OBJECTS = 10  # of a picture of an instance set, so many are targets, the largest ones


@dataclass(frozen=True)
class Task:
    """A case and the facts of the data set that it is of, which need list no cases."""

    dataset: Dataset
    case: Case

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that the case is made of."""
        case = self.case
        return case.image, *case.channels, *(case.parts or (case.segmentation,))

    @property
    def modality(self) -> str:
        """The case's own, or the data set's."""
        return self.case.modality or self.dataset.modality

    @property
    def name(self) -> str:
        """The case's name among all data sets, without anything that a file name cannot hold."""
        return f"{self.dataset.name}/{self.case.id}".replace("\\", "_").replace(":", "_")


def open_data(folder: Path, layout: str = "") -> list[Dataset]:
    """The data sets of a folder: one of any layout, or all of a folder of vesalius' own sets; raises FormatError."""
    own = [path for path in folder.glob("*/dataset.json") if "label_kind" in load_json(path)]
    return open_collection(folder) if own and not layout else [open_dataset(folder, layout or None)]


def list_tasks(datasets: Iterable[Dataset], split: str, limit: int = 0) -> list[Task]:
    """The cases of a split ("all" for every one) of every data set, of each at most `limit`.

    Raises FormatError where there is none.
    """
    datasets = list(datasets)
    tasks = []
    for dataset in datasets:
        cases = dataset.cases if split == "all" else dataset.split(split)
        facts = replace(dataset, cases=(), unlabelled=())  # what a task weighs on its way to another machine
        tasks += [Task(facts, case) for case in cases[: limit or None]]
    if not tasks:
        splits = sorted({case.split for dataset in datasets for case in dataset.cases})
        raise FormatError(f"No case is of the split {split!r}; use {', '.join(splits)} or all.")
    return tasks


def list_offers(datasets: Iterable[Dataset]) -> tuple[Offer, ...]:
    """The training cases of data sets as examples, of which the last 64 that were read are kept."""
    cases = [(case, dataset) for dataset in datasets for case in dataset.split("train")]

    @lru_cache(maxsize=64)
    def read_example(number: int, structure: str) -> Example | None:
        case, dataset = cases[number]
        reference = read_reference(case, dataset)
        mask = reference.mask(structure)
        return Example(read_image(dataset, case), Volume(mask[None], reference.grid)) if mask.any() else None

    return tuple(
        Offer(dataset.name, case.group, case.annotated, partial(read_example, number))
        for number, (case, dataset) in enumerate(cases)
    )


def read_trial(task: Task, offers: Iterable[Offer] = ()) -> Trial:
    """The image and reference of a case, and those of the offers that are of other patients.

    Raises FormatError for a reference on another grid.
    """
    image, reference = read_image(task.dataset, task.case), read_reference(task.case, task.dataset)
    if not image.grid.same_as(reference.grid):
        raise FormatError(
            f"{task.case.segmentation.name} {reference.grid.shape} does not lie on the grid of {task.case.image.name} "
            f"{image.grid.shape}; resample it to its image first."
        )
    own = task.dataset.name, task.case.group
    others = tuple(offer for offer in offers if (offer.dataset, offer.group) != own)
    objects = Objects(_kind(task.dataset), reference.layers[0]) if task.dataset.label_kind == "instance" else None
    boxes = partial(read_boxes, task.case, reference)
    return Trial(task.name, image, reference, task.dataset.name, others, objects, boxes)


def read_reference(case: Case, dataset: Dataset) -> Segmentation:
    """A case's labels by name: of all structures that were looked for, also of those that are absent.

    Of an instance set each of the largest objects is a structure: "nucleus 1" is the largest.
    """
    labels = read_labels(dataset, case)
    if dataset.label_kind == "instance":
        return _largest_objects(labels, _kind(dataset))
    places = {name: labels.places[name] for name in labels.labels.names if name in labels.annotated}
    return replace(labels, labels=LabelSpace.of(places), places=places, annotated=frozenset(places))


def _kind(dataset: Dataset) -> str:
    """What the objects of an instance set are called."""
    return next(iter(dataset.labels), "object")


def _largest_objects(labels: Segmentation, kind: str) -> Segmentation:
    areas = np.bincount(labels.layers[0].ravel())[1:]
    largest = [int(value) for value in np.argsort(-areas, kind="stable")[:OBJECTS] + 1 if areas[value - 1]]
    places = {f"{kind} {n}": (0, value) for n, value in enumerate(largest, start=1)}
    return replace(labels, labels=LabelSpace.of(places), places=places, annotated=frozenset(places))
