"""Pixels of a case: its image with all channels, and its labels with the names of the structures."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.data.case import Case, Dataset
from vesalius.errors import FormatError
from vesalius.grid import Grid, make_grid
from vesalius.io import format_of, read, read_segmentation
from vesalius.io.nifti import PIXELS
from vesalius.labels import LabelSpace
from vesalius.prompts import Box
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume

SAME_MM = 0.01  # headers in float32 are this exact


def read_image(dataset: Dataset, case: Case) -> Volume:
    """The image with its channels as (C, i, j, k); raises FormatError where channels lie on different grids."""
    volumes = [_read_channels(path) for path in (case.image, *case.channels)]
    first = volumes[0]
    for path, volume in zip(case.channels, volumes[1:], strict=True):
        if not volume.grid.same_as(first.grid, SAME_MM):
            raise FormatError(f"{path.name} lies on another grid than {case.image.name}; resample it first.")
    modality = case.modality or dataset.modality
    source = first.source if first.source.modality else replace(first.source, modality=modality)
    voxels = first.voxels if len(volumes) == 1 else np.concatenate([volume.voxels for volume in volumes])
    return Volume(voxels, first.grid, source)


def read_labels(dataset: Dataset, case: Case) -> Segmentation:
    """The labels of a case under the names of the data set; raises FormatError.

    Values that the data set does not name stay in the layers, without a name.
    """
    from vesalius.data.registry import find_layout

    read_own = find_layout(dataset.layout).read if dataset.layout else None
    return read_own(dataset, case) if read_own else read_label_image(dataset, case)


def read_boxes(case: Case, labels: Segmentation) -> dict[str, Box]:
    """The boxes that the file of a case holds, by the structure of its `labels`; most formats hold none."""
    if case.image.suffix != ".npz":
        return {}
    from vesalius.data.layouts.npz import read_npz_boxes

    return read_npz_boxes(case.image, labels)


def read_label_image(dataset: Dataset, case: Case) -> Segmentation:
    """One file whose values are the data set's labels, or objects."""
    return name_labels(dataset, case, read_segmentation(case.segmentation))


def name_labels(dataset: Dataset, case: Case, found: Segmentation) -> Segmentation:
    """One layer of labels under the data set's names, or as it is where there are none or each object has a value."""
    if not dataset.labels or dataset.label_kind == "instance":
        return replace(found, annotated=frozenset(case.annotated) or found.annotated, licence=dataset.licence)
    places = {name: (0, value) for name, value in dataset.labels.items()}
    names, annotated = LabelSpace.of(dataset.labels), frozenset(case.annotated)
    return Segmentation(found.layers, found.grid, names, places, annotated, found.source, dataset.licence)


def layer_masks(
    dataset: Dataset, case: Case, masks: Iterable[tuple[str, NDArray[np.bool_]]], grid: Grid
) -> Segmentation:
    """Masks (i, j, k) of named structures as label layers; a structure that meets another goes to the next layer."""
    dtype = np.uint8 if max(dataset.labels.values()) < 256 else np.uint16
    layers = [np.zeros(grid.shape, dtype)]
    places = {name: (0, value) for name, value in dataset.labels.items()}
    for name, mask in masks:
        if mask.shape != grid.shape:
            raise FormatError(
                f"The mask of {name} in {case.id} has {mask.shape} voxels, not {grid.shape}; make it anew."
            )
        free = next((n for n, layer in enumerate(layers) if not layer[mask].any()), len(layers))
        if free == len(layers):
            layers.append(np.zeros(grid.shape, dtype))
        layers[free][mask] = dataset.labels[name]
        places[name] = (free, dataset.labels[name])
    names, annotated = LabelSpace.of(dataset.labels), frozenset(case.annotated)
    return Segmentation(np.stack(layers), grid, names, places, annotated, licence=dataset.licence)


def read_mask(path: Path, grid: Grid) -> NDArray[np.bool_]:
    """What is not zero in a mask of its own file, as (i, j, k); raises FormatError where it is on another grid."""
    mask = read(path)
    if not mask.grid.same_as(grid, SAME_MM):
        raise FormatError(f"{path.name} in {path.parent.name} lies on another grid than the other masks; make it anew.")
    return mask.voxels[0] > 0


def find_values(layers: NDArray) -> set[int]:
    """The labels that occur, plane by plane: indexing holds eight bytes for every voxel that it looks at."""
    present = np.zeros(2**16, dtype=bool)
    for layer in layers:
        for plane in np.moveaxis(layer, -1, 0):
            present[plane] = True
    return {int(value) for value in np.flatnonzero(present) if value}


def _read_channels(path: Path) -> Volume:
    """A file of any format; the fourth axis of a NIfTI file is its channels, as MSD stores them."""
    if path.suffix == ".npz":
        from vesalius.data.layouts.npz import read_npz_image

        return read_npz_image(path)
    if path.is_dir() or format_of(path) != "nifti":
        return read(path)
    import nibabel

    try:
        image: Any = nibabel.load(path, mmap=False)
        if len(image.shape) != 4 or image.shape[3] == 1:
            return read(path)
        voxels = np.moveaxis(np.asanyarray(image.dataobj), 3, 0)
    except (nibabel.filebasedimages.ImageFileError, EOFError, OSError, ValueError, zlib.error) as error:
        raise FormatError(f"{path.name} is damaged or cut short ({error}); copy it again from its source.") from error
    calibrated = PIXELS not in bytes(image.header["descrip"])
    return Volume(voxels, make_grid(image.shape[:3], image.affine, calibrated))
