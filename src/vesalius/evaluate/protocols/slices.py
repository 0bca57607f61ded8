"""Which slice to prompt, and which way to go from it: the options of the studies that bring SAM 2 to volumes.

After Dong et al., Segment Anything Model 2: an application to 2D and 3D medical images, 2024, arXiv:2408.00756.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vesalius.answer import Answer
from vesalius.errors import PromptError
from vesalius.evaluate.trial import Conversation, Found, Trial, box_around
from vesalius.grid import PLANES, Grid
from vesalius.intensity import choose_window
from vesalius.labels import LabelSpace
from vesalius.prompts import Box
from vesalius.scene import default_plane
from vesalius.segmentation import Segmentation
from vesalius.session import Model
from vesalius.volume import Volume

CHOICES = ("first", "middle", "largest", "last")  # of the slices that show the structure, in storage order


def run(model: Model, trial: Trial) -> Iterator[Found]:
    """A flat box in one slice of each structure.

    Settings: "axial, middle slice" for each plane and choice of a slice; then in the plane of acquisition from the
    middle slice "one way" (towards the last slice) and "the other way" only: the rest of the volume is not shown.
    """
    if trial.image.grid.thin_axis() is not None:
        raise PromptError(f"{trial.case} is a picture and the protocol slices needs volumes; choose another protocol.")
    for plane in PLANES:
        talk = Conversation(model, trial.image, plane)
        for choice in CHOICES:
            talk.session.steps.clear()
            for name in trial.present:
                talk.say(flat_box(trial.reference.mask(name), trial.image.grid, plane, choice), target=name)
            yield talk.found(f"{plane}, {choice} slice", trial)
    for way in ("one way", "the other way"):
        yield from _walk(model, trial, way)


def flat_box(mask: NDArray[np.bool_], grid: Grid, plane: str, choice: str) -> Box:
    """The tight box around what one slice shows of a structure."""
    across, at = choose_slice(mask, grid, plane, choice)
    here = np.zeros_like(mask)
    np.moveaxis(here, across, 0)[at] = np.moveaxis(mask, across, 0)[at]
    return box_around(here, grid)


def choose_slice(mask: NDArray[np.bool_], grid: Grid, plane: str, choice: str) -> tuple[int, int]:
    """The index axis across a plane, and the index of the chosen slice along it."""
    order, _ = grid.axis_order(PLANES[plane])
    areas = mask.sum(axis=order[:2])
    filled = np.flatnonzero(areas)
    at = {"first": filled[0], "middle": filled[len(filled) // 2], "largest": areas.argmax(), "last": filled[-1]}
    return order[2], int(at[choice])


def _walk(model: Model, trial: Trial, way: str) -> Iterator[Found]:
    """One conversation for each structure, about the part of the volume on one side of its middle slice, included."""
    grid, plane, seconds, masks = trial.image.grid, default_plane(trial.image.grid), 0.0, []
    window = choose_window(trial.image)  # of the whole volume: a part must not look different
    for name in trial.present:
        mask = trial.reference.mask(name)
        across, at = choose_slice(mask, grid, plane, "middle")
        start, shape = [0, 0, 0], list(grid.shape)
        start[across] = at if way == "one way" else 0
        shape[across] = grid.shape[across] - at if way == "one way" else at + 1
        part = trial.image.crop((start[0], start[1], start[2]), (shape[0], shape[1], shape[2]))
        talk = Conversation(model, part, plane, (window.low, window.high))
        talk.say(flat_box(mask, grid, plane, "middle"), target=name)
        seconds += talk.seconds
        masks.append(Answer(Volume(talk.session.result().mask(name)[None], part.grid), (name,), 0.5))
    found = Segmentation.from_answers(masks, grid, LabelSpace.of(trial.present))
    yield Found(f"{plane}, middle slice, {way}", found, trial.reference, seconds, trial.present)
