"""One labelled image and one set of them, as plain data: paths and facts, no pixels.
Readers of public layouts make these; recipes and benchmarks consume them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Case:
    """One image with its segmentation.

    `annotated` names the structures that were looked for: everything else may be there and unlabelled.
    `group` is the patient, image or experiment that a split must keep together. `channels` are further images on the
    same grid, in the order of `Dataset.channels`; `parts` the files of the segmentation where each structure has its
    own; `modality` that of a case in a set of several.
    """

    id: str
    image: Path
    segmentation: Path
    annotated: tuple[str, ...]
    split: str
    group: str
    channels: tuple[Path, ...] = ()
    parts: tuple[Path, ...] = ()
    modality: str = ""


@dataclass(frozen=True)
class Dataset:
    """Cases of one origin, labelled in one way.

    In a `semantic` set a voxel's value is one of `labels` (empty where the folder does not name them); in an
    `instance` set each object has its own value. `layout` is the reader that knows how the labels are stored,
    `channels` names the channels of an image, and `unlabelled` are the images of the folder that have no labels.
    """

    name: str
    modality: str
    dimension: Literal[2, 3]
    labels: Mapping[str, int]
    label_kind: Literal["semantic", "instance"]
    licence: str
    source: str
    cases: tuple[Case, ...]
    layout: str = ""
    channels: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()

    def split(self, name: str) -> tuple[Case, ...]:
        """The cases of one split, in order."""
        return tuple(case for case in self.cases if case.split == name)
