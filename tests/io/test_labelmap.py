"""Label images: what is a mask, and what is an image that was given for one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vesalius.errors import FormatError
from vesalius.grid import make_grid
from vesalius.io import labelmap
from vesalius.labels import LabelSpace
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume

GRID = make_grid((2, 2, 1), np.eye(4))


def image(*values: float, dtype: str = "float32") -> Volume:
    return Volume(np.array(values).reshape(1, 2, 2, 1).astype(dtype), GRID)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int64", "float32", "float64"])
def test_whole_numbers_of_any_type_are_labels(dtype: str) -> None:
    found = labelmap.from_volume(image(0, 3, 3, 200, dtype=dtype), "mask.nii")
    assert found.layers.dtype == np.uint8
    assert found.places == {"3": (0, 3), "200": (0, 200)}
    assert found.annotated == {"3", "200"}


def test_large_labels_take_sixteen_bits() -> None:
    assert labelmap.from_volume(image(0, 0, 1, 65535), "mask.nii").layers.dtype == np.uint16


@pytest.mark.parametrize("value", [0.5, -1, 65536, np.nan, np.inf])
def test_other_numbers_are_no_labels(value: float) -> None:
    with pytest.raises(FormatError, match=r"ct\.nii holds other numbers"):
        labelmap.from_volume(image(0, 1, 2, value), "ct.nii")


def test_an_empty_mask_has_no_structures() -> None:
    assert labelmap.from_volume(image(0, 0, 0, 0), "mask.nii").labels.names == ()


def test_a_note_names_values_and_absent_structures() -> None:
    labels = LabelSpace.of(["liver", "spleen"])
    places = {"liver": (0, 1), "spleen": (0, 2)}
    layers = np.ones((1, 2, 2, 1), np.uint8)
    note = labelmap.to_note(Segmentation(layers, GRID, labels, places, frozenset({"spleen", "liver"})))
    found = labelmap.from_volume(image(1, 1, 0, 7), "mask.nii", note)
    assert found.labels.names == ("liver", "spleen", "7")
    assert found.annotated == {"liver", "spleen"}


@pytest.mark.parametrize("note", ["", "free words", "[1, 2]", json.dumps({"other": "program"})])
def test_the_comments_of_others_are_no_notes(note: str) -> None:
    assert labelmap.from_volume(image(0, 1, 0, 1), "mask.nii", note).labels.names == ("1",)
