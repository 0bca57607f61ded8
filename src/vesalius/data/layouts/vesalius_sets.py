"""vesalius' own small sets: `dataset.json` with splits, licence and what was annotated, `images/` and `labels/`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vesalius.data.case import Dataset
from vesalius.data.collection import read_dataset
from vesalius.data.layout import Layout, find_one


def open_vesalius(folder: Path) -> Dataset:
    """The set that `dataset.json` describes."""
    found = read_dataset(find_one(folder, "dataset.json"))
    return replace(found, layout=LAYOUT.name, channels=(found.modality,))


LAYOUT = Layout(
    name="vesalius",
    title="a small set of vesalius",
    modality="any",
    annotated="as `dataset.json` says",
    groups="as `dataset.json` says",
    licence="as `dataset.json` says",
    homepage="",
    signature=("dataset.json#label_kind", "dataset.json#split", "images/*", "labels/*"),
    open=open_vesalius,
)
