"""How much a box may miss: boxes around each structure whose sides are moved by a growing part of their length."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vesalius.evaluate.trial import Conversation, Found, Trial, box_around
from vesalius.session import Model

PARTS = (0.0, 0.05, 0.1, 0.2, 0.3)  # of the box's length along each axis
DRAWS = 3


def run(model: Model, trial: Trial) -> Iterator[Found]:
    """Each side moves in or out by its own uniform draw of up to the part; drawn three times, the same for every model.

    Settings: "0 %", then "5 %, draw 1" to "30 %, draw 3".
    """
    grid = trial.image.grid
    talk = Conversation(model, trial.image)
    for part in PARTS:
        for draw in range(1, DRAWS + 1) if part else (0,):
            talk.session.steps.clear()
            for name in trial.present:
                mask = trial.reference.mask(name)
                seed = zlib.crc32(f"{trial.case}/{name}/{part}/{draw}".encode())
                talk.say(box_around(mask, grid, moves(mask, part, seed)), target=name)
            yield talk.found(f"{part:.0%}".replace("%", " %") + (f", draw {draw}" if draw else ""), trial)


def moves(mask: NDArray[np.bool_], part: float, seed: int) -> NDArray[np.float64]:
    """By how many voxels the two corners (2, 3) move; an axis on which the mask is one voxel thick stays."""
    filled = np.argwhere(mask)
    length = np.ptp(filled, axis=0) + 1
    drawn = np.random.default_rng(seed).uniform(-part, part, (2, 3))
    return drawn * np.where(length > 1, length, 0)
