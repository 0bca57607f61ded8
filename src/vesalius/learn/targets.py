"""What can be asked of a labelled picture: its objects, whole labels, and families of touching labels.
A target is a set of connected parts, so that one map of parts serves all targets of a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vesalius.data.case import Dataset
from vesalius.data.slices import Slice

EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Task:
    """A picture and its targets: each is a tuple of values of `parts` (H, W), drawn with its weight."""

    dataset: str
    modality: str
    pixels: np.ndarray
    parts: np.ndarray
    targets: tuple[tuple[int, ...], ...]
    weights: np.ndarray

    def mask(self, target: tuple[int, ...]) -> np.ndarray:
        """The target as (H, W) bool."""
        chosen = np.zeros(int(self.parts.max()) + 1, dtype=bool)
        chosen[list(target)] = True
        return chosen[self.parts]


def smallest(shape: tuple[int, ...]) -> float:
    """The least area of a target in pixels: 16, or half a percent of a picture that is itself tiny."""
    return min(16.0, 0.005 * shape[0] * shape[1])


def connected_parts(labels: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """(H, W) number of the 8-connected part of one label at each pixel (0: no label), and the label of each part.

    The list starts with 0, for the background.
    """
    from scipy import ndimage

    parts = np.zeros(labels.shape, dtype=np.int32)
    owners = [0]
    for value in np.unique(labels[labels > 0]):
        numbered, count = ndimage.label(labels == value, EIGHT_NEIGHBOURS)
        parts[numbered > 0] = numbered[numbered > 0] + len(owners) - 1
        owners += [int(value)] * count
    return parts, owners


def list_targets(picture: Slice, dataset: Dataset) -> Task:
    """The targets of one picture that are not smaller than `smallest`.

    Instance sets: each object. Semantic sets: each connected part of each label, drawn in proportion to the root
    of its area; each whole label in several parts; and the connected unions of labels whose names share the first
    or the last word (vertebrae, lung lobes, ribs, brain matter), so that a coarse answer is also learnt.
    """
    floor = smallest(picture.labels.shape)
    if dataset.label_kind == "instance":
        parts, owners = picture.labels, list(range(int(picture.labels.max()) + 1))
    else:
        parts, owners = connected_parts(picture.labels)
    areas = np.bincount(parts.ravel(), minlength=len(owners))
    targets: list[tuple[int, ...]] = []
    weights: list[float] = []
    by_label: dict[int, list[int]] = {}
    for part in range(1, len(owners)):
        if areas[part] >= floor:
            by_label.setdefault(owners[part] if dataset.label_kind == "semantic" else 1, []).append(part)
    for members in by_label.values():
        shares = np.sqrt(areas[members])
        targets += [(part,) for part in members]
        weights += list(shares / shares.sum())
        if dataset.label_kind == "semantic" and len(members) > 1:
            targets.append(tuple(members))
            weights.append(0.25)
    if dataset.label_kind == "semantic":
        for union in _family_unions(parts, owners, dataset):
            if areas[list(union)].sum() >= floor:
                targets.append(union)
                weights.append(0.25)
    probability = np.array(weights) / max(sum(weights), 1e-9)
    return Task(dataset.name, dataset.modality, picture.pixels, parts.astype(np.uint16), tuple(targets), probability)


def list_regions(labels: np.ndarray, pixels: np.ndarray | None = None, modality: str = "") -> Task:
    """Each connected part of a label map as a target, in proportion to the root of its area; pixels may come later."""
    parts, owners = connected_parts(labels)
    areas = np.bincount(parts.ravel(), minlength=len(owners))
    targets = [(part,) for part in range(1, len(owners)) if areas[part] >= smallest(labels.shape)]
    shares = np.sqrt([areas[part] for (part,) in targets])
    blank = np.zeros(labels.shape, np.uint8) if pixels is None else pixels
    return Task("", modality, blank, parts.astype(np.uint16), tuple(targets), shares / max(shares.sum(), 1e-9))


def _family_unions(parts: np.ndarray, owners: list[int], dataset: Dataset) -> list[tuple[int, ...]]:
    """Connected unions of at least two labels of one family."""
    families: dict[str, list[int]] = {}
    for name, value in dataset.labels.items():
        # Sorted, because the order of a set of strings differs from one process to the next.
        for word in sorted({name.split()[0], name.split()[-1]} - {"left", "right"}):
            families.setdefault(word, []).append(value)
    unions = []
    for values in families.values():
        if len(values) < 2:
            continue
        member = np.isin(owners, values)
        joined, owners_joined = connected_parts(member[parts].astype(np.int32))
        for number in range(1, len(owners_joined)):
            inside = np.unique(parts[joined == number])
            if len({owners[part] for part in inside}) > 1:
                unions.append(tuple(int(part) for part in inside))
    return unions
