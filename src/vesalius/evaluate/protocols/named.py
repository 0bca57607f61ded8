"""Structures by their names, without a place: what is found, and what is found although it is not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from vesalius.errors import PromptError
from vesalius.evaluate.protocols.challenge import score_objects_as_challenge
from vesalius.evaluate.trial import Conversation, Found, Objects, Trial, mask_of
from vesalius.grid import Grid
from vesalius.labels import LabelSpace
from vesalius.prompts import Named, Text
from vesalius.segmentation import Segmentation
from vesalius.session import Model


def run(model: Model, trial: Trial) -> Iterator[Found]:
    """Asks for every structure that was looked for in the reference, also for those that it says are absent.

    A model that names its structures is asked once for all that it knows among them ("prompt-free": no place is
    given); one that reads words is asked for each by its name. Of an instance set, for all objects at once by the name
    of their kind. Setting: "by name". Raises PromptError where the model knows none of them.
    """
    if trial.objects:
        trial = replace(trial, reference=merge_objects(trial.objects, trial.image.grid))
    looked_for = [name for name in trial.reference.labels.names if name in trial.reference.annotated]
    talk = Conversation(model, trial.image)
    if "named" in model.card.accepts:
        known = LabelSpace.of(model.card.labels)
        spelled = {structure.name.lower(): structure.name for structure in known.structures}
        asked = [name for name in looked_for if name.lower() in spelled]
        if not asked:
            raise PromptError(
                f"{model.card.name} names none of {', '.join(looked_for[:5])}; its structures are "
                f"{', '.join(known.names[:5])} ...: choose data that shows some of them."
            )
        talk.say(*(Named(spelled[name.lower()]) for name in asked), target=asked[0])
    else:
        asked = looked_for
        for name in asked:
            talk.say(Text(name), target=name)
    yield talk.found("by name", trial, asked)


def merge_objects(objects: Objects, grid: Grid) -> Segmentation:
    """All objects as one structure."""
    place = {objects.kind: (0, 1)}
    layers = (objects.values > 0).astype(np.uint8)[None]
    return Segmentation(layers, grid, LabelSpace.of(place), place, frozenset(place))


def summarise(rounds: Sequence[Found]) -> dict[str, float]:
    """Of the absent structures that were asked for: how many, the share that was found nevertheless, and its ml.

    Of objects also F1 and DSC_TP, as the text track of CVPR 2025 scores them.
    """
    (only,) = rounds
    absent = [name for name in only.asked if not only.reference.mask(name).any()]
    grid = only.reference.grid
    voxel_ml = abs(float(np.linalg.det(grid.matrix[:3, :3]))) / 1000
    voxels = [int(mask_of(only.prediction, name).sum()) for name in absent]
    scores = {"absent": float(len(absent)), "seconds": only.seconds}
    if absent:
        scores["false positive rate"] = float(np.mean([n > 0 for n in voxels]))
        if grid.calibrated:
            scores["false positive ml"] = float(np.sum(voxels)) * voxel_ml
    if only.objects:
        found = mask_of(only.prediction, only.objects.kind)
        scores["F1"], scores["DSC_TP"] = score_objects_as_challenge(found, only.objects)
    return scores
