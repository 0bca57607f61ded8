"""One image, one model, and everything said so far: what a user talks to.

Models are stateless; a session holds the prompts, the answers and the way back.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vesalius.answer import Answer
from vesalius.card import Card
from vesalius.errors import PromptError, VesaliusWarning
from vesalius.grid import PLANES, Grid
from vesalius.intensity import choose_window
from vesalius.labels import LabelSpace
from vesalius.prompts import Box, Named, Prompt, check_prompt, from_json, to_json
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
    score: float | None = None

    def answer(self, grid: Grid, target: str) -> Answer:
        """The mask as an answer on a crop of the image's grid."""
        mask = np.unpackbits(self.bits, count=int(np.prod(self.shape))).reshape(1, *self.shape).view(bool)
        return Answer(Volume(mask, grid.crop(self.start, self.shape)), (target,), 0.5, score=self.score)


@dataclass(frozen=True, eq=False)
class Step:
    """One `add`: what was said of which target, and the candidates of each target that came of it."""

    target: str
    prompts: tuple[Prompt, ...]
    found: Mapping[str, tuple[Candidate, ...]]
    chosen: int = 0
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The candidates of the only target, or of the first of several."""
        return next(iter(self.found.values()))

    def best(self, target: str) -> Candidate:
        """The candidate of a target that stands: the chosen one."""
        return self.found[target][min(self.chosen, len(self.found[target]) - 1)]


class Session:
    """A conversation with one model about one image.

    `window` (LOW, HIGH) replaces the rule that maps the image's values to grey levels; `plane` is the plane in which
    2D models look at a volume. `progress` is told each step of long work. `region` is all that a model that names its
    structures looks at. Raises FormatError for an image with NaN or infinite voxels and PromptError for an unknown
    plane or a region that the model cannot keep to. VesaliusWarning: the model knows only CT, the image is none.
    """

    def __init__(
        self,
        model: Model,
        image: Volume,
        window: tuple[float, float] | None = None,
        plane: str = "",
        progress: Callable[[str], None] = lambda step: None,
        region: Box | None = None,
    ) -> None:
        if region:
            if "named" not in model.card.accepts:
                raise PromptError(f"{model.card.name} looks where its prompts point; it takes no region.")
            check_prompt(region, image.grid, frozenset({"box"}), model.card.name)
        modality = image.source.modality
        if model.card.modalities == ("CT",) and modality not in ("", "CT"):
            told = f"{model.card.name} was trained on CT alone, and the image says that it is {modality}."
            warnings.warn(VesaliusWarning(told), stacklevel=2)
        if plane and plane not in PLANES:
            raise PromptError(f"There is no plane {plane!r}; use one of {', '.join(PLANES)}.")
        self.model, self.image, self.progress, self.region = model, image, progress, region
        self.window = choose_window(image, window)
        self.plane = default_plane(image.grid) if image.grid.thin_axis() is not None or not plane else plane
        self.memory = Memo()
        self.steps: list[Step] = []

    def add(self, *prompts: Prompt, target: str = "1") -> Segmentation:
        """Says something more about a target; returns all targets so far on the image's own grid.

        The targets of `Named` prompts are the structures that they name, and without any prompt all that the model
        knows. Raises PromptError, and changes nothing, for a prompt that the model does not accept or outside the
        image.
        """
        for prompt in prompts:
            check_prompt(prompt, self.image.grid, self.model.card.accepts, self.model.card.name)
        structures = self._structures(prompts)
        targets = structures or (target,)
        before = [step for step in self.steps if targets[0] in step.found]
        rounds = (*(step.prompts for step in before), tuple(prompts))
        notes = dict(before[-1].notes) if before else {}
        scene = Scene(
            self.image,
            targets[0],
            rounds,
            self.window,
            self.plane,
            notes,
            self.memory,
            self.progress,
            structures,
            self.region,
        )
        found = _read(self.model.run(scene), self.image.grid, targets)
        self.steps.append(Step(targets[0], tuple(prompts), found, notes=scene.notes))
        return self.result()

    def choose(self, candidate: int, target: str = "1") -> Segmentation:
        """Takes another of the masks that the model offered for a target in its last answer."""
        at = self._last(target)
        step = self.steps[at]
        if not 0 <= candidate < len(step.candidates):
            raise PromptError(f"There are {len(step.candidates)} candidates; choose 0 to {len(step.candidates) - 1}.")
        self.steps[at] = Step(step.target, step.prompts, step.found, candidate, step.notes)
        return self.result()

    def undo(self, target: str | None = None) -> Segmentation:
        """Takes back the last `add`, of one target or of all; what was before is back exactly."""
        if self.steps:
            del self.steps[self._last(target)]
        return self.result()

    def result(self) -> Segmentation:
        """All targets on the image's own grid."""
        last = {target: step for step in self.steps for target in step.found}
        answers = (step.best(target).answer(self.image.grid, target) for target, step in last.items())
        found = Segmentation.from_answers(answers, self.image.grid, LabelSpace.of(last))
        licence = self.model.card.licence
        return replace(found, source=self.image.source, licence="" if licence.commercial else licence.weights)

    def score(self, target: str = "1") -> float | None:
        """The predicted Dice of a target's mask, of a volume the mean of its slices weighted by their areas.

        None where the model predicts none.
        """
        return self.steps[self._last(target)].best(target).score

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
            if target is None or target in self.steps[at].found:
                return at
        raise PromptError(f"Nothing was said of target {target!r} yet; add a prompt first.")

    def _structures(self, prompts: Iterable[Prompt]) -> tuple[str, ...]:
        """The structures that prompts name, as the model's card spells them; all of them where nothing is said."""
        card, said = self.model.card, list(prompts)
        if not said:
            if "named" not in card.accepts:
                kinds = " or ".join(sorted(card.accepts))
                raise PromptError(f"There is no prompt; give {card.name} at least one {kinds}.")
            return card.labels
        known = LabelSpace.of(card.labels)
        return tuple(dict.fromkeys(known.named(each.structure).name for each in said if isinstance(each, Named)))


def _read(answers: Iterable[Answer], grid: Grid, targets: tuple[str, ...]) -> dict[str, tuple[Candidate, ...]]:
    """A model's answer as masks of each target, the best first; each block is read and freed before the next."""
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

    masks = {target: [mask] for target, mask in _masks(best(), grid, targets).items()}
    area = sum(size for _, size in scores)
    mean = (
        sum(score * size for score, size in scores) / area
        if area
        else min((score for score, _ in scores), default=None)
    )
    masks = {target: [replace(mask, score=mean) for mask in found] for target, found in masks.items()}
    for answer in others:
        alone = replace(answer, candidate=0)
        for target, mask in _masks([alone], grid, answer.targets).items():
            masks[target].append(replace(mask, score=answer.score))
    return {target: tuple(found) for target, found in masks.items()}


def _masks(answers: Iterable[Answer], grid: Grid, targets: tuple[str, ...]) -> dict[str, Candidate]:
    """The mask of each target, cropped to where it is."""
    from scipy import ndimage

    found = Segmentation.from_answers(answers, grid, LabelSpace.of(targets))
    spans = [ndimage.find_objects(layer, len(targets)) for layer in found.layers]
    return {
        target: _crop(found.layers[at], value, spans[at][value - 1]) for target, (at, value) in found.places.items()
    }


def _crop(layer: NDArray, value: int, span: tuple[slice, ...] | None) -> Candidate:
    span = span or (slice(0, 1),) * 3
    part = layer[span] == value
    i, j, k = (side.start for side in span)
    return Candidate((i, j, k), part.shape, np.packbits(part))
