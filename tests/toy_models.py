"""Models that need no weights, and an image of two structures for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy import ndimage

from vesalius.answer import Answer
from vesalius.card import APACHE, Card, Weights
from vesalius.evaluate.trial import Trial
from vesalius.grid import make_grid
from vesalius.labels import LabelSpace
from vesalius.prompts import Box, Example, Point
from vesalius.scene import Scene
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume

CARD = Card("like", "", "", {}, frozenset({"point", "box"}), 3, "RAS", "", Weights((), ""), APACHE, "")


class Alike:
    """What has the grey of a positive click and is connected to it, or has that of a box's middle and is inside."""

    card = CARD

    def __init__(self, accepts: str = "point box") -> None:
        self.card = replace(CARD, accepts=frozenset(accepts.split()))
        self.heard: list[tuple[str, object]] = []

    def run(self, scene: Scene) -> Iterator[Answer]:
        grid, grey = scene.image.grid, scene.image.voxels[0].astype(int)
        mask = np.zeros(grid.shape, bool)
        for prompt in scene.prompts:
            self.heard.append((scene.target, prompt))
            if isinstance(prompt, Box):
                index = np.rint(grid.index(prompt.corners())).astype(int)
                span = tuple(slice(low, high + 1) for low, high in zip(index.min(0), index.max(0), strict=True))
                middle = tuple((part.start + part.stop) // 2 for part in span)
                mask[span] |= abs(grey[span] - grey[middle]) < 20
            elif isinstance(prompt, Point):
                at = tuple(np.rint(grid.index(prompt.at)).astype(int))
                parts, _ = ndimage.label(abs(grey - grey[at]) < 20)
                mask[parts == parts[at]] = prompt.positive
            elif isinstance(prompt, Example):
                mask |= abs(grey - prompt.image.voxels[0][prompt.mask.voxels[0] > 0].mean()) < 20
        yield Answer(Volume(mask[None], grid), (scene.target,), 0.5)


class Named:
    """Finds each structure that it knows by its grey, and "ghost" in a corner where there is nothing."""

    card = replace(CARD, accepts=frozenset({"named"}), labels=("Ghost", "low", "high", "unasked"))

    def run(self, scene: Scene) -> Iterator[Answer]:
        for name in scene.structures:
            mask = abs(scene.image.voxels.astype(int) - {"low": 120, "high": 220}.get(name, 999)) < 20
            if name == "Ghost":
                mask[0, :2, :3, :4] = True
            yield Answer(Volume(mask, scene.image.grid), (name,), 0.5)


def two_structures(seed: int = 0) -> Trial:
    """A volume with a structure in two pieces ("low"), one in one piece ("high"), and an absent one ("ghost")."""
    grid = make_grid((24, 20, 12), np.diag([-1.0, -1.0, 2.5, 1]))
    labels = np.zeros((1, *grid.shape), np.uint8)
    labels[0, 2:10, 3:12, 2:8] = labels[0, 3:7, 14:18, 3:6] = 1
    labels[0, 13:22, 4:15, 3:10] = 2
    greys = np.array([40, 120, 220])[labels] + np.random.default_rng(seed).integers(-4, 5, labels.shape)
    names = {"low": (0, 1), "high": (0, 2), "ghost": (0, 3)}
    reference = Segmentation(labels, grid, LabelSpace.of(names), names, frozenset(names))
    return Trial("case", Volume(greys.astype(np.uint8), grid), reference, "made")
