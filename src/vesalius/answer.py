"""What a model says: numbers on a grid of its own choice, and how to read them."""

from __future__ import annotations

from dataclasses import dataclass

from vesalius.volume import Volume


@dataclass(frozen=True, eq=False)
class Answer:
    """One block of a model's answer: `values` (T, i, j, k), one channel for each of its `targets`.

    The block may be the whole image or a part, on any grid. A target is where its channel exceeds `threshold`, where
    it is the largest of all channels (`exclusive`), or where the only channel, of whole numbers, holds its place among
    the targets (`coded`); a target "" is the background. Candidate 0 is the best; blocks of one candidate are disjoint.
    `score` is the predicted Dice, `present=False` says "not there".
    """

    values: Volume
    targets: tuple[str, ...]
    threshold: float = 0.0
    exclusive: bool = False
    coded: bool = False
    candidate: int = 0
    score: float | None = None
    present: bool = True
