"""What a protocol works on and what it gives: an image with its reference, and a model's answers under each setting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from vesalius.grid import Grid
from vesalius.prompts import Box, Example, Prompt
from vesalius.segmentation import Segmentation
from vesalius.session import Model, Session
from vesalius.volume import Volume

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Offer:
    """A labelled image of a data set and a patient that can be an example of the structures that were looked for in it.

    `read` makes it the example of one of them; None where it does not show that one.
    """

    dataset: str
    group: str
    structures: tuple[str, ...]
    read: Callable[[str], Example | None]


@dataclass(frozen=True, eq=False)
class Objects:
    """All objects of one kind in an image: each has its own value in `values` (i, j, k), which are 0 elsewhere."""

    kind: str
    values: NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Trial:
    """One image of a data set and its reference on the same grid.

    `offers` are images of other patients, of the same data set and of others, that can be examples. In an instance set
    the reference has the largest `objects` as structures. `read_boxes` gives the boxes that come with the case.
    """

    case: str
    image: Volume
    reference: Segmentation
    dataset: str = ""
    offers: tuple[Offer, ...] = ()
    objects: Objects | None = None
    read_boxes: Callable[[], dict[str, Box]] = dict

    @cached_property
    def present(self) -> tuple[str, ...]:
        """The structures that the reference shows."""
        return tuple(name for name in self.reference.labels.names if self.reference.mask(name).any())


@dataclass(frozen=True, eq=False)
class Found:
    """The answer to all targets of a trial under one setting, and what it is to be compared with.

    `seconds` is the time of this setting's answers alone, without reading the image or making the prompts. `asked` are
    the structures that were asked for, also where the answer is that they are absent.
    """

    setting: str
    prediction: Segmentation
    reference: Segmentation
    seconds: float
    asked: tuple[str, ...]
    objects: Objects | None = None


class Conversation:
    """A session that is asked for several structures, and a clock that runs only while the model works."""

    def __init__(self, model: Model, image: Volume, plane: str = "", window: tuple[float, float] | None = None) -> None:
        self.seconds = 0.0
        with self._clock():
            self.session = Session(model, image, window, plane)

    def say(self, *prompts: Prompt, target: str) -> None:
        """Says something about one target."""
        with self._clock():
            self.session.add(*prompts, target=target)

    def found(self, setting: str, trial: Trial, asked: Iterable[str] | None = None) -> Found:
        """The answers so far, and the seconds since they were last asked for."""
        seconds, self.seconds = self.seconds, 0.0
        names = trial.present if asked is None else tuple(asked)
        return Found(setting, self.session.result(), trial.reference, seconds, names, trial.objects)

    @contextmanager
    def _clock(self) -> Iterator[None]:
        began = perf_counter()
        yield
        self.seconds += perf_counter() - began


def mask_of(found: Segmentation, structure: str) -> Mask:
    """The mask (i, j, k) of a structure, case ignored; empty where nothing was said of it."""
    name = next((name for name in found.places if name.lower() == structure.lower()), None)
    return np.zeros(found.grid.shape, bool) if name is None else found.mask(name)


def box_around(mask: Mask, grid: Grid, moves: NDArray[np.float64] | None = None) -> Box:
    """The tight box around a mask, along the grid's axes; `moves` (2, 3) in voxels are added to its two corners.

    Corners are kept inside the image.
    """
    filled = np.argwhere(mask)
    corners = np.stack([filled.min(axis=0), filled.max(axis=0)]).astype(float)
    if moves is not None:
        corners = np.sort(np.clip(corners + moves, 0, np.subtract(grid.shape, 1)), axis=0)
    return Box.from_index(grid, corners[0], corners[1])
