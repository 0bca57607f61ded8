"""A way of looking for models that remember: a target is followed through the slices as through the frames of a video.

What the user spoke of is segmented and remembered for good; every other slice is answered from these memories and from
those of the slices just passed (SAM 2, Ravi et al. 2024), so that memory does not grow with the number of slices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.answer import Answer
from vesalius.look import Cut, Kept, Stack, Track
from vesalius.prompts import MaskHint
from vesalius.scene import Cues, Scene, View, cues_by_slice

REACH = 15  # slices that a walk remembers
MOST_SEEDS = 8  # of the slices that the user spoke of, so many are looked at, the nearest ones


@dataclass(frozen=True, eq=False)
class Past:
    """What a model may look at beside one of `depth` slices: pairs of a distance and what `Remember` made.

    Distances count slices back along the walk; a seed further on has a negative one.
    """

    depth: int
    seeds: tuple[tuple[int, Any], ...] = ()
    walked: tuple[tuple[int, Any], ...] = ()


Segment = Callable[[View, Past], list[Cut]]  # candidates, the best first
Remember = Callable[[View, Cut, bool], Any]  # of a slice and its mask; True where the user spoke of it


def follow(scene: Scene, segment: Segment, remember: Remember) -> Iterator[Answer]:
    """The answer for the whole image of a model that remembers.

    A slice that was not answered yet is segmented from its prompts alone, one that a walk had reached from its mask,
    its prompts and the seeds' memories. A mask given by the user is the mask of its slice. The walk goes up from the
    lowest seed, through the others to the end, and down from the lowest one. Beyond the outermost seeds it ends where
    no component touches the mask of the slice before, and at the faces of a box with depth. A correction re-runs from
    its slice to the next seed on either side; the rest is kept as it was.
    """
    walk = _Walk(scene, segment, remember)
    walk.answer_last_round()
    scene.notes["track"] = Track(dict(sorted(walk.kept.items())), frozenset(walk.memories))
    scene.notes["memories"] = walk.memories
    return walk.stack.answers(walk.kept, walk.candidates)


class _Walk:
    """One round of prompts carried through the slices of one plane."""

    def __init__(self, scene: Scene, segment: Segment, remember: Remember) -> None:
        self.scene, self.stack, self.segment, self.remember = scene, Stack(scene), segment, remember
        self.kept: dict[int, Kept] = dict(scene.notes.get("track", Track()).slices)
        self.memories: dict[int, Any] = dict(scene.notes.get("memories", {}))  # of the seeds
        self.candidates: dict[int, list[Cut]] = {}

    def view(self, k: int, cues: Cues) -> View:
        self.scene.progress(f"{self.scene.plane} slice {k}")
        return self.stack.view(k, cues)

    def answer_last_round(self) -> None:
        """Segments the slices that the last round speaks of, then everything that they reach."""
        new = cues_by_slice(self.scene.rounds[-1], self.stack.grid)
        said = cues_by_slice(self.scene.prompts, self.stack.grid)
        first = [k for k in new if new[k].seeds]
        later = [k for k in new if not new[k].seeds]  # only "not here": corrections of what is there by then
        for ks in (first, later):
            changed = {k for k in ks if k in self.kept or said[k].seeds}
            for k in sorted(changed):
                self.prompt(k, self.cues(k, said[k], new[k]))
            if changed and self.stack.depth > 1:
                self.reach(changed)

    def cues(self, k: int, said: Cues, new: Cues) -> Cues:
        """What the model is told of a slice: all that was said of it, and the mask that it has."""
        masks = cues_by_slice(
            (prompt for prompt in self.scene.rounds[-1] if isinstance(prompt, MaskHint)), self.stack.grid
        )
        if self.stack.depth > 1 and k in masks and not len(new.points):
            return Cues(mask=masks[k].mask)
        if k not in self.kept:
            return said
        if k in self.memories:
            return replace(said, feedback=self.kept[k].feedback)
        return said if said.mask is not None else replace(said, mask=self.kept[k].mask[..., None])

    def prompt(self, k: int, cues: Cues) -> None:
        """Segments a slice that the user spoke of, and makes it a seed."""
        corrects = k in self.kept and k not in self.memories
        step = 1 if self.memories and k > min(self.memories) else -1
        view = self.view(k, cues)
        self.candidates[k] = self.segment(view, self.past(k, step, {}) if corrects else Past(self.stack.depth))
        best = self.candidates[k][0]
        self.kept[k] = Kept(np.packbits(best.mask), best.logits.shape, best.score, best.feedback)
        self.memories[k] = self.remember(view, best, True) if self.stack.depth > 1 else None

    def past(self, k: int, step: int, walked: dict[int, Any]) -> Past:
        """What may be looked at beside slice k on the way up (1) or down (-1)."""
        nearest = sorted(self.memories, key=lambda seed: abs(k - seed))[:MOST_SEEDS]
        seeds = tuple(((k - seed) * step, self.memories[seed]) for seed in nearest)
        return Past(self.stack.depth, seeds, tuple(((k - other) * step, memory) for other, memory in walked.items()))

    def reach(self, changed: set[int]) -> None:
        """Walks again wherever a changed seed is the next one."""
        seeds = sorted(self.memories)
        lowest, highest = self.stack.limits(seeds[0])[0], self.stack.limits(seeds[-1])[1]
        if seeds[0] in changed:
            self.walk(seeds[0], -1, lowest - 1, {})
        walked: dict[int, Any] = {}
        for low, high in pairwise([*seeds, highest + 1]):
            if low in changed or high in changed:
                self.walk(low, 1, high, walked)
            else:
                walked.clear()

    def walk(self, seed: int, step: int, stop: int, walked: dict[int, Any]) -> None:
        """Answers the slices after a seed, before `stop` or until the target ends; `walked` goes along."""
        between = stop in self.memories  # two seeds: the user said that it goes on
        for k in [k for k in self.kept if (k - seed) * step > 0 and (not between or (stop - k) * step > 0)]:
            del self.kept[k]
        before = self.kept[seed].mask
        for k in range(seed + step, stop, step):
            view = self.view(k, Cues())
            cut = self.segment(view, self.past(k, step, walked))[0]
            before = cut.mask if between else _touching(cut.mask, before)
            if not between and not before.any():
                return
            self.kept[k] = Kept(np.packbits(before), before.shape, cut.score)
            walked[k] = self.remember(view, cut, False)
            for old in [other for other in walked if (k - other) * step >= REACH]:
                del walked[old]


def _touching(mask: NDArray[np.bool_], before: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The components of a mask (i, j) that touch the mask of the slice before; MedSAM2 keeps only the largest in 3D."""
    from scipy import ndimage

    corners = np.ones((3, 3))
    labels, _ = ndimage.label(mask, structure=corners)
    touched = np.unique(labels[mask & ndimage.binary_dilation(before, structure=corners)])
    return np.isin(labels, touched) & mask
