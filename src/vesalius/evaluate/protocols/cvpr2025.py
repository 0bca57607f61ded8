"""The CVPR 2025 challenge "Foundation Models for Interactive 3D Biomedical Image Segmentation".

A box, then five clicks at the largest error; scored by the area under the curve of Dice and NSD over the clicks (at
most 4) and by their last values. Reimplemented after `CVPR25_iter_eval.py` of JunMa11/CVPR-MedSegFMCompetition.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from vesalius.evaluate.clicks import challenge_click
from vesalius.evaluate.protocols.challenge import score_as_challenge
from vesalius.evaluate.trial import Conversation, Found, Trial, mask_of
from vesalius.grid import Grid
from vesalius.prompts import Box
from vesalius.session import Model

CLICKS = 5
LIMIT_S = 90.0  # for each structure, all rounds together
LARGEST_SHIFT = 5  # pixels of a picture 256 pixels wide by which the box is loosened


def run(model: Model, trial: Trial) -> Iterator[Found]:
    """A box where the model takes one, then five clicks for each structure, all structures in each round.

    Boxes are those of the case's file, and made where it has none. A structure without an error gets no click.
    Settings: "box", "1 click" to "5 clicks".
    """
    talk, grid = Conversation(model, trial.image), trial.image.grid
    names = trial.present
    if "box" in model.card.accepts:
        boxes = trial.read_boxes()
        for name in names:
            seed = zlib.crc32(f"{trial.case}/{name}".encode())
            talk.say(boxes.get(name) or middle_box(trial.reference.mask(name), grid, seed), target=name)
        yield talk.found("box", trial)
    for count in range(1, CLICKS + 1):
        result = talk.session.result()
        for name in names:
            click = challenge_click(mask_of(result, name), trial.reference.mask(name), grid)
            if click:
                talk.say(click, target=name)
        yield talk.found("1 click" if count == 1 else f"{count} clicks", trial)


def middle_box(mask: NDArray[np.bool_], grid: Grid, seed: int) -> Box:
    """The challenge's box: all axial slices of the structure, and the extent that it has in the middle one of them.

    Like `get_boxes.py` it is loosened by up to 5 pixels of 256, the same on all four sides, here from a `seed`.
    """
    order, _ = grid.axis_order("LPS")
    i, j, k = order
    slices = np.flatnonzero(mask.any(axis=(i, j)))
    here = mask.take([slices[len(slices) // 2]], axis=k)
    filled = np.argwhere(here)
    low, high = filled.min(axis=0), filled.max(axis=0)
    shift = int(np.random.default_rng(seed).integers(0, LARGEST_SHIFT + 1))
    for axis in (i, j):
        by = int(shift * grid.shape[axis] / 256)
        low[axis], high[axis] = max(0, low[axis] - by), min(grid.shape[axis] - 1, high[axis] + by)
    low[k], high[k] = slices[0], slices[-1]
    return Box.from_index(grid, low, high)


def summarise(rounds: Sequence[Found]) -> dict[str, float]:
    """DSC_AUC, NSD_AUC, DSC_Final, NSD_Final of a case, its seconds, and whether they exceed the limit.

    The challenge's ranking counts a case above the limit as 0; its script only warns, and so does "late" here.
    """
    scores = [score_as_challenge(each.prediction, each.reference) for each in rounds]
    dice, nsd = zip(*scores, strict=True)
    seconds = sum(each.seconds for each in rounds)
    return {
        "DSC_AUC": area_under(dice),
        "NSD_AUC": area_under(nsd),
        "DSC_Final": dice[-1],
        "NSD_Final": nsd[-1],
        "seconds": seconds,
        "late": float(seconds > LIMIT_S * len(rounds[-1].asked)),
    }


def area_under(scores: Sequence[float]) -> float:
    """The area, by the trapezoid rule, under the scores of the last five rounds, one apart: the box does not count."""
    return float(trapezoid(scores[-CLICKS:]))
