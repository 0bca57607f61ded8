"""Plain label images, as every format but .seg.nrrd holds them: one array of integers, 0 for background.

The names of the structures travel beside the voxels, in a short JSON note where the format has room for one.
"""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import FormatError
from vesalius.labels import LabelSpace, Structure
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume


def from_volume(volume: Volume, name: str, note: str = "") -> Segmentation:
    """The structures of a label image; a value that the `note` (see `to_note`) does not name is called "1", "2" ...

    Raises FormatError, with the `name` of the file, for several channels and for values that are not labels.
    """
    if len(volume.voxels) != 1:
        raise FormatError(
            f"{name} has {len(volume.voxels)} channels and a mask has one; give the mask, not the picture."
        )
    layers = label_layers(volume.voxels, name)
    record = _record(note)
    structures = {int(row["value"]): _structure(row) for row in record.get("structures", [])}
    for value in _values(layers):
        structures.setdefault(value, Structure(str(value)))
    labels = LabelSpace(tuple(structures.values()))
    places = {structure.name: (0, value) for value, structure in structures.items()}
    annotated = frozenset(record.get("annotated", labels.names))
    licence = record.get("licence", "")
    return Segmentation(layers, volume.grid, labels, places, annotated, volume.source, licence)


def to_volume(segmentation: Segmentation) -> Volume:
    """The one layer of a segmentation as an image; raises FormatError for overlapping structures."""
    if len(segmentation.layers) != 1:
        raise FormatError(
            f"Structures overlap ({len(segmentation.layers)} layers) and this format holds one label a voxel; "
            "write .seg.nrrd instead."
        )
    return Volume(segmentation.layers, segmentation.grid, segmentation.source)


def to_note(segmentation: Segmentation) -> str:
    """Names, values, codes and colours of the structures, which were looked for, and the licence, as JSON."""
    rows = []
    for structure in segmentation.labels.structures:
        row = {"name": structure.name, "value": segmentation.places[structure.name][1], "part_of": structure.part_of}
        rows.append(row | {"code": structure.code, "colour": structure.colour})
    record = {"vesalius": 1, "structures": rows, "annotated": sorted(segmentation.annotated)}
    return json.dumps(record | ({"licence": segmentation.licence} if segmentation.licence else {}))


def label_layers(voxels: NDArray, name: str) -> NDArray:
    """Whole numbers 0..65535 of any type as uint8 or uint16; raises FormatError for anything else."""
    if voxels.dtype == np.uint8:
        return voxels
    with np.errstate(invalid="ignore"):
        layers = voxels.astype(np.uint16, copy=False)
    if not np.array_equal(layers, voxels):
        raise FormatError(f"{name} holds other numbers than the labels 0 to 65535; give the mask, not the image.")
    return layers.astype(np.uint8) if layers.max() < 256 else layers


def _values(layers: NDArray) -> list[int]:
    """The labels that occur; plane by plane, since indexing holds eight bytes for every voxel it looks at."""
    present = np.zeros(2**16, dtype=bool)
    for k in range(layers.shape[-1]):
        present[layers[..., k]] = True
    return [value for value in np.flatnonzero(present).tolist() if value]


def _record(note: str) -> dict:
    """The note as a dictionary; empty for a comment that somebody else wrote."""
    try:
        record = json.loads(note)
    except ValueError:
        return {}
    return record if isinstance(record, dict) and "vesalius" in record else {}


def _structure(row: dict) -> Structure:
    colour = row.get("colour")
    return Structure(str(row["name"]), row.get("part_of", ""), row.get("code", ""), tuple(colour) if colour else None)
