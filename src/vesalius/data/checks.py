"""What is wrong with a data set: files, geometry, labels, duplicates and splits, one sentence for each problem."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from vesalius.data.case import Case, Dataset
from vesalius.data.reading import SAME_MM, find_values, read_image, read_labels
from vesalius.errors import VesaliusError
from vesalius.grid import Grid
from vesalius.volume import Volume

RIGHT_ANGLE = 1e-3  # the cosine between two axes that still counts as a right angle


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a case: `kind` is a word to sort by, `sentence` says what was found."""

    case: str
    kind: str
    sentence: str


def check_dataset(dataset: Dataset, tell: Callable[[str], None]) -> list[Problem]:
    """Reads every case, one at a time, and returns all problems in the order of the cases, then those between cases.

    `tell` hears each case's end.
    """
    problems: list[Problem] = []
    first_with: dict[str, Case] = {}
    for n, case in enumerate(dataset.cases, start=1):
        found, digest = _check_case(dataset, case)
        if digest in first_with:
            found.append(_duplicate(case, first_with[digest]))
        elif digest:
            first_with[digest] = case
        problems += found
        tell(f"{n}/{len(dataset.cases)} {case.id}: {'; '.join(p.sentence for p in found) or 'good'}")
    return problems + _check_splits(dataset)


def hash_image(image: Volume) -> str:
    """The sha256 of the voxels, whatever their storage order and wherever they lie."""
    turned = np.ascontiguousarray(image.orient("RAS").voxels)
    digest = hashlib.sha256(f"{turned.shape} {turned.dtype}".encode())
    digest.update(memoryview(turned).cast("B"))
    return digest.hexdigest()


def _check_case(dataset: Dataset, case: Case) -> tuple[list[Problem], str]:
    """The problems of one case, and the hash of its image if it can be read."""
    try:
        image = read_image(dataset, case)
    except VesaliusError as error:
        return [Problem(case.id, "unreadable", f"image: {error}")], ""
    problems = [Problem(case.id, kind, sentence) for kind, sentence in _check_image(image)]
    try:
        problems += [Problem(case.id, kind, text) for kind, text in _check_labels(dataset, case, image.grid)]
    except VesaliusError as error:
        problems.append(Problem(case.id, "unreadable", f"labels: {error}"))
    return problems, hash_image(image)


def _check_image(image: Volume) -> Iterable[tuple[str, str]]:
    directions = image.grid.matrix[:3, :3] / np.asarray(image.grid.spacing_mm)
    cosine = float(np.abs(directions.T @ directions - np.eye(3)).max())
    if cosine > RIGHT_ANGLE:
        degrees = np.degrees(np.arcsin(min(1.0, cosine)))
        yield "geometry", f"the axes are {degrees:.1f} degrees from right angles"
    if image.voxels.dtype.kind == "f":
        bad = int(image.voxels.size - np.isfinite(image.voxels).sum())
        if bad:
            yield "numbers", f"{bad} voxels are not numbers"


def _check_labels(dataset: Dataset, case: Case, grid: Grid) -> Iterable[tuple[str, str]]:
    labels = read_labels(dataset, case)
    if labels.grid.shape != grid.shape:
        yield "grid", f"image of {_size(grid)} voxels and labels of {_size(labels.grid)}"
    elif not labels.grid.same_as(grid, SAME_MM):
        yield "grid", f"image and labels have the same size and lie up to {_distance(labels.grid, grid):.3g} mm apart"
    values = find_values(labels.layers)
    if not values:
        yield "empty", "no voxel is labelled"
    unknown = values - set(dataset.labels.values()) if dataset.labels and dataset.label_kind == "semantic" else set()
    if unknown:
        yield "values", f"labels {', '.join(map(str, sorted(unknown)))} are not in the list"


def _duplicate(case: Case, other: Case) -> Problem:
    which = "the same patient" if case.group == other.group else "two patients"
    sentence = f"the image is that of {other.id}, listed as {which}"
    if case.split != other.split:
        sentence += f", in {case.split} and in {other.split}"
    return Problem(case.id, "duplicate", sentence)


def _check_splits(dataset: Dataset) -> list[Problem]:
    """A problem for each patient whose cases are in more than one split."""
    splits: dict[str, dict[str, Case]] = defaultdict(dict)
    for case in dataset.cases:
        splits[case.group].setdefault(case.split, case)
    return [
        Problem(group, "split", "is in " + " and in ".join(f"{name} ({case.id})" for name, case in where.items()))
        for group, where in splits.items()
        if len(where) > 1
    ]


def _distance(one: Grid, other: Grid) -> float:
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in one.shape])).reshape(3, -1).T
    return float(np.linalg.norm(one.world(corners) - other.world(corners), axis=1).max())


def _size(grid: Grid) -> str:
    return " x ".join(map(str, grid.shape))
