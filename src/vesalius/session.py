"""One image, one model, and everything said so far: what a user talks to.

Models are stateless; a session holds the prompts, the answers and the way back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vesalius.answer import Answer
from vesalius.card import Card
from vesalius.errors import PromptError
from vesalius.grid import PLANES, Grid
from vesalius.intensity import choose_window
from vesalius.labels import LabelSpace
from vesalius.prompts import Prompt, check_prompt, from_json, to_json
from vesalius.scene import Memo, Scene, default_plane
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume


class Model(Protocol):
    """What every model is: a card, and one verb."""

    card: Card

    def run(self, scene: Scene) -> Iterable[Answer]:
        """The answer for one target, block by block."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One mask that the model offers for a target, cropped to where it is, with its predicted Dice."""

    start: tuple[int, int, int]
    shape: tuple[int, int, int]
    bits: NDArray[np.uint8]
    score: float | None

    def answer(self, grid: Grid, target: str) -> Answer:
        """The mask as an answer on a crop of the image's grid."""
        mask = np.unpackbits(self.bits, count=int(np.prod(self.shape))).reshape(1, *self.shape).view(bool)
        return Answer(Volume(mask, grid.crop(self.start, self.shape)), (target,), 0.5, score=self.score)


@dataclass(frozen=True, eq=False)
class Step:
    """One `add`: what was said of which target, and what came of it."""

    target: str
    prompts: tuple[Prompt, ...]
    candidates: tuple[Candidate, ...]
    chosen: int = 0
    notes: dict[str, Any] = field(default_factory=dict)


class Session:
    """A conversation with one model about one image.

    `window` (LOW, HIGH) replaces the rule that maps the image's values to grey levels; `plane` is the plane in which
    2D models look at a volume. `progress` is told each step of long work. Raises FormatError for an image with NaN or
    infinite voxels and PromptError for an unknown plane.
    """

    def __init__(
        self,
        model: Model,
        image: Volume,
        window: tuple[float, float] | None = None,
        plane: str = "",
        progress: Callable[[str], None] = lambda step: None,
    ) -> None:
        if plane and plane not in PLANES:
            raise PromptError(f"There is no plane {plane!r}; use one of {', '.join(PLANES)}.")
        self.model, self.image, self.progress = model, image, progress
        self.window = choose_window(image, window)
        self.plane = default_plane(image.grid) if image.grid.thin_axis() is not None or not plane else plane
        self.memory = Memo()
        self.steps: list[Step] = []

    def add(self, *prompts: Prompt, target: str = "1") -> Segmentation:
        """Says something more about a target; returns all targets so far on the image's own grid.

        Raises PromptError, and changes nothing, for a prompt that the model does not accept or outside the image.
        """
        if not prompts:
            raise PromptError("There is no prompt; give at least one point, box or other prompt.")
        for prompt in prompts:
            check_prompt(prompt, self.image.grid, self.model.card.accepts, self.model.card.name)
        before = [step for step in self.steps if step.target == target]
        rounds = (*(step.prompts for step in before), tuple(prompts))
        notes = dict(before[-1].notes) if before else {}
        scene = Scene(
            self.image, target, rounds, self.window, self.plane, notes, memory=self.memory, progress=self.progress
        )
        candidates = _read(self.model.run(scene), self.image.grid, target)
        self.steps.append(Step(target, tuple(prompts), candidates, notes=scene.notes))
        return self.result()

    def choose(self, candidate: int, target: str = "1") -> Segmentation:
        """Takes another of the masks that the model offered for a target in its last answer."""
        at = self._last(target)
        step = self.steps[at]
        if not 0 <= candidate < len(step.candidates):
            raise PromptError(f"There are {len(step.candidates)} candidates; choose 0 to {len(step.candidates) - 1}.")
        self.steps[at] = Step(step.target, step.prompts, step.candidates, candidate, step.notes)
        return self.result()

    def undo(self, target: str | None = None) -> Segmentation:
        """Takes back the last `add`, of one target or of all; what was before is back exactly."""
        if self.steps:
            del self.steps[self._last(target)]
        return self.result()

    def result(self) -> Segmentation:
        """All targets on the image's own grid."""
        last = {step.target: step for step in self.steps}
        answers = (step.candidates[step.chosen].answer(self.image.grid, target) for target, step in last.items())
        found = Segmentation.from_answers(answers, self.image.grid, LabelSpace.of(last))
        return Segmentation(
            found.layers, self.image.grid, found.labels, found.places, found.annotated, self.image.source
        )

    def score(self, target: str = "1") -> float | None:
        """The predicted Dice of a target's mask, of a volume the mean of its slices weighted by their areas.

        None where the model predicts none.
        """
        step = self.steps[self._last(target)]
        return step.candidates[step.chosen].score

    def history(self) -> list[dict[str, object]]:
        """Everything said, as JSON records; `replay` on a new session gives the same result."""
        return [
            {"target": step.target, "prompts": [to_json(prompt) for prompt in step.prompts], "chosen": step.chosen}
            for step in self.steps
        ]

    def replay(self, history: Iterable[dict]) -> Segmentation:
        """Says everything of a history again."""
        for record in history:
            self.add(*(from_json(prompt) for prompt in record["prompts"]), target=record["target"])
            if record.get("chosen"):
                self.choose(record["chosen"], record["target"])
        return self.result()

    def _last(self, target: str | None) -> int:
        for at in reversed(range(len(self.steps))):
            if target is None or self.steps[at].target == target:
                return at
        raise PromptError(f"Nothing was said of target {target!r} yet; add a prompt first.")


def _read(answers: Iterable[Answer], grid: Grid, target: str) -> tuple[Candidate, ...]:
    """A model's answer for one target as masks, the best first; each block is read and freed before the next."""
    scores: list[tuple[float, int]] = []
    others: list[Answer] = []

    def best() -> Iterable[Answer]:
        for answer in answers:
            if answer.candidate == 0:
                if answer.score is not None:
                    scores.append((answer.score, int(np.count_nonzero(answer.values.voxels > answer.threshold))))
                yield answer
            else:
                others.append(answer)

    found = Segmentation.from_answers(best(), grid, LabelSpace.of([target]))
    area = sum(size for _, size in scores)
    mean = (
        sum(score * size for score, size in scores) / area
        if area
        else min((score for score, _ in scores), default=None)
    )
    masks = [_crop(found.layers[0], mean)]
    for answer in others:
        alone = Answer(answer.values, answer.targets, answer.threshold, score=answer.score)
        other = Segmentation.from_answers([alone], grid, LabelSpace.of([target]))
        masks.append(_crop(other.layers[0], answer.score))
    return tuple(masks)


def _crop(mask: NDArray, score: float | None) -> Candidate:
    spans = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        spans.append(slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, 1))
    part = mask[tuple(spans)]
    i, j, k = (span.start for span in spans)
    return Candidate((i, j, k), part.shape, np.packbits(part), score)
