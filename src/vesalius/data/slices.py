"""Pictures out of cases: 2D images as they are, volumes as slices of the three anatomical planes.
A slice keeps its own resolution; CT volumes keep Hounsfield units, so that a window can be chosen later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vesalius.data.case import Case, Dataset

SOFT_TISSUE_WINDOW = (-160.0, 240.0)
PLANES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True)
class Slice:
    """A labelled picture: `pixels` (H, W) or (H, W, 3) uint8, or (H, W) int16 in HU; `labels` (H, W) int32."""

    dataset: str
    case: str
    pixels: np.ndarray
    labels: np.ndarray


def read_picture(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """The pixels and labels of a 2D case."""
    with Image.open(case.image) as image:
        pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    with Image.open(case.segmentation) as image:
        labels = np.asarray(image).astype(np.int32)
    return pixels, labels


def read_volume(case: Case, modality: str) -> tuple[np.ndarray, np.ndarray]:
    """The voxels and labels of a 3D case, axes right, anterior, superior.

    CT stays in HU (int16); anything else is mapped from its 0.5 and 99.5 percentiles to 0-255 (uint8).
    """
    import nibabel

    voxels = np.asarray(nibabel.as_closest_canonical(nibabel.load(case.image)).dataobj)
    labels = np.asarray(nibabel.as_closest_canonical(nibabel.load(case.segmentation)).dataobj)
    if modality == "CT":
        return voxels.astype(np.int16), labels.astype(np.int32)
    low, high = np.percentile(voxels, (0.5, 99.5))
    scaled = (voxels.astype(np.float32) - low) / max(high - low, 1e-6) * 255
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8), labels.astype(np.int32)


def cut(volume: np.ndarray, plane: int, position: int) -> np.ndarray:
    """One slice across axis `plane`, turned so that superior (or anterior, in an axial slice) is up."""
    return np.ascontiguousarray(np.rot90(np.take(volume, position, axis=plane)))


def iterate_slices(dataset: Dataset, split: str, per_plane: int) -> Iterator[Slice]:
    """Every picture of a split.

    Of each volume and plane: `per_plane` slices, evenly spaced over those that hold a label. A set with few
    volumes gives more of each: at least 120 in all.
    """
    cases = dataset.split(split)
    for case in cases:
        if dataset.dimension == 2:
            yield Slice(dataset.name, case.id, *read_picture(case))
            continue
        voxels, labels = read_volume(case, dataset.modality)
        for plane in range(3):
            others = tuple(axis for axis in range(3) if axis != plane)
            labelled = np.flatnonzero((labels > 0).any(axis=others))
            count = min(len(labelled), max(per_plane, 120 // len(cases)))
            for position in labelled[((np.arange(count) + 0.5) * len(labelled) / count).astype(int)]:
                name = f"{case.id}/{PLANES[plane]}/{position}"
                yield Slice(dataset.name, name, cut(voxels, plane, position), cut(labels, plane, position))


def window(hounsfield: np.ndarray, low: float, high: float) -> np.ndarray:
    """HU mapped linearly from `low`-`high` to 0-255 and clipped, uint8."""
    scaled = (hounsfield.astype(np.float32) - low) / (high - low) * 255
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
