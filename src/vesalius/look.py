"""Ways of looking at an image: a frame around a prompt, and slices, with the walk that carries a 2D mask through them.

A 2D model only says what it sees in one slice (`Cut`); how its masks become a volume is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.answer import Answer
from vesalius.grid import PLANES, Grid, make_grid
from vesalius.scene import Cues, Scene, View, box_slices, cues_by_slice, mask_cues
from vesalius.volume import Volume

LOWEST_DICE = 0.5  # the walk ends where a slice's mask overlaps the carried one less than this
LARGEST_GROWTH = 2.0  # ... or covers more than this many times the area of the mask of the slice before
LOWEST_SCORE = 0.4  # ... or the model's own predicted Dice is below this
MEAN_SHARE = 0.5  # ... or its mean grey left the seed's by more than this part of the seed's contrast to what is around
PIXEL_SHARE = 0.75  # a pixel is carried on if its grey is no further than this part of that contrast from the seed's
SPREADS = 3.0  # both tolerances are at least so many times the spread of the seed's own greys, for uneven seeds ...
GREY_LEVELS = 25.0  # ... the mean's at most so many of the 255 grey levels then
RIM = 3  # voxels around a mask that count as what is around it
LOOSE = 0.2  # the box around a carried mask is larger than it by this part of its size on each side
SMALLEST_SLICE = 0.05  # a slice's mask that covers less than this part of the seed's is no longer followed
DEEP = 0.8  # a negative click at this part of a mask's depth or more means the mask as a whole ...
HARDLY = 0.5  # ... unless the model takes away more than this part of it
COVERED = 0.5  # a slice that the walk had reached is seen anew only with masks that cover this part of the walk's
PIECES = 8  # components of one slice that are tracked one by one, the largest first
SMALLEST_PIECE = 0.02  # components below this part of the largest one are not tracked
SMALLEST_REST = 0.1  # a component of which less than this part still looks like the seed has ended


@dataclass(frozen=True, eq=False)
class Cut:
    """A 2D model's answer for one view: `logits` (i, j), positive inside, and its predicted Dice.

    `feedback` is what the model wants back when the user corrects this slice.
    """

    logits: NDArray[np.float32]
    score: float
    feedback: Any = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where the target is, (i, j)."""
        return self.logits > 0


@dataclass(frozen=True, eq=False)
class Kept:
    """A slice's mask as packed bits, with its score and feedback."""

    bits: NDArray[np.uint8]
    shape: tuple[int, int]
    score: float
    feedback: Any = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask (i, j)."""
        return np.unpackbits(self.bits, count=self.shape[0] * self.shape[1]).reshape(self.shape).astype(bool)


@dataclass(frozen=True, eq=False)
class Track:
    """A target through the slices: what was kept of each slice, and the slices that the user spoke of."""

    slices: Mapping[int, Kept] = field(default_factory=dict)
    seeds: frozenset[int] = frozenset()


Segment = Callable[[View], list[Cut]]  # candidates, the best first


def around(grid: Grid, world: ArrayLike, shape: tuple[int, int, int], spacing_mm: float) -> Grid:
    """A frame of `shape` cubic voxels centred on a position in mm, along the axes of `grid`; it may stick out."""
    matrix = np.eye(4)
    matrix[:3, :3] = grid.matrix[:3, :3] / np.asarray(grid.spacing_mm) * spacing_mm
    matrix[:3, 3] = np.asarray(world) - matrix[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return make_grid(shape, matrix, grid.calibrated)


def slices(grid: Grid, plane: str) -> Iterator[Grid]:
    """The slices of a grid in an anatomical plane, each one voxel thick, oriented as on screen."""
    grid = grid.orient(PLANES[plane])
    for k in range(grid.shape[2]):
        yield grid.crop((0, 0, k), (grid.shape[0], grid.shape[1], 1))


def propagate(scene: Scene, segment: Segment) -> Iterator[Answer]:
    """A 2D model's answer for the whole image: segments the slices that were spoken of and walks on from them.

    The walk goes both ways from the outermost seeds and closes the gap between neighbouring ones. It carries each
    component of the mask of the slice before as a prompt of its own, and ends where the mask is empty, overlaps the
    carried one with Dice below `LOWEST_DICE`, exceeds `LARGEST_GROWTH` times its area, is only a remnant of the seed
    (`SMALLEST_SLICE`), has a predicted Dice below `LOWEST_SCORE`, or another mean grey than the seed (`MEAN_SHARE`);
    from a seed inside a box with depth it ends at the box's faces too. What a new prompt does not reach is kept.
    """
    walk = _Walk(scene, segment)
    track = walk.follow(scene.notes.get("track", Track()))
    scene.notes["track"] = track
    return walk.stack.answers(track.slices, walk.candidates)


class Stack:
    """The slices of a scene in its plane, oriented as on screen, and what is said of them."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.codes = PLANES[scene.plane]
        self.grid = scene.image.grid.orient(self.codes)
        self.width, self.height, self.depth = self.grid.shape
        self.spans = box_slices(scene.prompts, self.grid)

    def view(self, k: int, cues: Cues) -> View:
        """Slice k as the image has it, and what a model is told of it."""
        view = self.scene.native(self.codes, (0, 0, k), (self.width, self.height, 1))
        return View(view.pixels, view.grid, cues)

    def limits(self, seed: int) -> tuple[int, int]:
        """The first and last slice that a walk from a seed may reach: those of the boxes that it lies in, or all."""
        spans = [span for span in self.spans if span[0] <= seed <= span[1]] or [(0, self.depth - 1)]
        return min(low for low, _ in spans), max(high for _, high in spans)

    def answers(self, kept: Mapping[int, Kept], candidates: Mapping[int, list[Cut]]) -> Iterator[Answer]:
        """All slices: what is kept of them or, of those that were spoken of, what the model says of them."""
        target = (self.scene.target,)
        for k, before in kept.items():
            if k not in candidates:
                mask = Volume(before.mask[None, :, :, None], self.slice_grid(k))
                yield Answer(mask, target, 0.5, score=before.score)
        for k, cuts in candidates.items():
            for rank, cut in enumerate(cuts if self.depth == 1 else cuts[:1]):
                values = Volume(cut.logits[None, :, :, None], self.slice_grid(k))
                yield Answer(values, target, candidate=rank, score=cut.score)

    def slice_grid(self, k: int) -> Grid:
        """The grid of slice k."""
        return self.grid.crop((0, 0, k), (self.width, self.height, 1))


class _Walk:
    """One round of prompts carried through the slices of one plane."""

    def __init__(self, scene: Scene, segment: Segment) -> None:
        self.scene, self.segment, self.stack = scene, segment, Stack(scene)
        self.candidates: dict[int, list[Cut]] = {}

    def follow(self, track: Track) -> Track:
        """The track after the last round: its slices are segmented, then everything that they reach."""
        new = cues_by_slice(self.scene.rounds[-1], self.stack.grid)
        said = cues_by_slice(self.scene.prompts, self.stack.grid)
        kept, seeds = dict(track.slices), set(track.seeds)
        first = [k for k in new if new[k].seeds]
        later = [k for k in new if not new[k].seeds]  # only "not here": corrections of what is there by then
        for ks in (first, later):
            changed = {k for k in ks if k in kept or said[k].seeds}
            least = SMALLEST_SLICE * max((int(kept[k].mask.sum()) for k in seeds), default=0)
            for k in sorted(changed):
                self.candidates[k] = self.ask(k, said[k], kept)
                if not said[k].seeds and _is_gone(self.candidates[k][0].mask, kept[k].mask, said[k], least):
                    self.candidates[k] = [_empty(cut) for cut in self.candidates[k]]
                kept[k] = _keep(self.candidates[k][0])
            seeds |= changed
            self.reach(kept, sorted(seeds), changed)
        return Track(dict(sorted(kept.items())), frozenset(seeds))

    def ask(self, k: int, said: Cues, kept: Mapping[int, Kept]) -> list[Cut]:
        """The masks of a slice that the user spoke of, the best first.

        A slice that the walk had reached is shown its mask; after a positive prompt it is asked without it too, since
        a mask that shrank on the way misleads. In other slices the mask most like the nearest slice's comes first.
        """
        self.scene.progress(f"{self.scene.plane} slice {k}")
        if k not in kept:
            cuts = self.segment(self.stack.view(k, said))
            near = min((n for n in kept if kept[n].bits.any()), key=lambda n: abs(n - k), default=None)
            return cuts if near is None else _ranked(cuts, kept[near].mask)
        if kept[k].feedback is not None or said.mask is not None:
            return self.segment(self.stack.view(k, replace(said, feedback=kept[k].feedback)))
        reached = kept[k].mask
        cuts = self.segment(self.stack.view(k, replace(said, mask=reached[..., None])))
        if said.seeds:
            others = self.segment(self.stack.view(k, said))
            cuts = [*cuts, *(cut for cut in others if (cut.mask & reached).sum() >= COVERED * reached.sum())]
        return sorted(cuts, key=lambda cut: -cut.score)

    def reach(self, kept: dict[int, Kept], seeds: list[int], changed: set[int]) -> None:
        """Walks from the changed seeds: outwards from the outermost, and between neighbours."""
        for end, step in ((min(seeds), -1), (max(seeds), 1)) if changed else ():
            if end in changed:
                for k in [k for k in kept if (k - end) * step > 0]:
                    del kept[k]
                kept.update(self.walk(end, kept[end], step, self.stack.limits(end)[step > 0]))
        for low, high in pairwise(seeds):
            if low in changed or high in changed:
                for k in range(low + 1, high):
                    kept.pop(k, None)
                self.close(low, high, kept)

    def close(self, low: int, high: int, kept: dict[int, Kept]) -> None:
        """Fills the slices between two seeds: walks from both to the middle, and on where the other walk ended.

        Where both ended, the masks are interpolated by their distance maps: the user said that it goes on. A seed
        whose mask is empty says that it does not.
        """
        middle = (low + high) // 2
        up = dict(self.walk(low, kept[low], 1, middle))
        last = max(up, default=low)
        down = dict(self.walk(high, kept[high], -1, last + 1))
        first = min(down, default=high)
        if last == middle and first > middle + 1 and up:
            up |= dict(self.walk(last, up[last], 1, first - 1))
        kept.update(up | down)
        if not kept[low].bits.any() or not kept[high].bits.any():
            return
        below, above = max(up, default=low), first
        for k in range(below + 1, above):
            share = (k - below) / (above - below)
            kept[k] = _interpolate(kept[below], kept[above], share)

    def walk(self, start: int, seed: Kept, step: int, limit: int) -> Iterator[tuple[int, Kept]]:
        """The slices after `start`, up to `limit` included, until the target ends."""
        ahead = range(start + step, limit + step, step)
        if not ahead:  # in a picture a seed's tone would take as long as its mask
            return
        carried = seed.mask
        least = SMALLEST_SLICE * carried.sum()
        tone = _tone(self.stack.view(start, Cues()), carried)
        for k in ahead:
            self.scene.progress(f"{self.scene.plane} slice {k}")
            view = self.stack.view(k, Cues())
            pieces = []
            for piece, rest in _pieces(carried, tone.alike(view)):
                cut = self.segment(replace(view, cues=_loose_cues(rest)))[0]
                if not _ended(cut, piece, rest) and tone.holds(view, cut.mask):
                    pieces.append(cut)
            carried = np.logical_or.reduce([cut.mask for cut in pieces]) if pieces else np.zeros_like(carried)
            if carried.sum() < max(1, least):
                return
            yield k, _keep(Cut(np.where(carried, 1, -1).astype(np.float32), min(cut.score for cut in pieces)))


@dataclass(frozen=True)
class _Tone:
    """How a seed looks: its mean grey, by how much the rim just outside differs from it, and how its greys spread."""

    grey: float
    contrast: float
    spread: float  # standard deviation of the lightly smoothed greys

    def alike(self, view: View) -> NDArray[np.bool_]:
        """The pixels (i, j), lightly smoothed, that may be of the target by their grey."""
        tolerance = max(PIXEL_SHARE * self.contrast, SPREADS * self.spread)
        return np.abs(_smooth(view) - self.grey) <= tolerance

    def holds(self, view: View, mask: NDArray[np.bool_]) -> bool:
        """Whether a mask still has the seed's mean grey."""
        change = abs(float(_greys(view)[mask].mean()) - self.grey) if mask.any() else 0.0
        return change <= max(MEAN_SHARE * self.contrast, min(SPREADS * self.spread, GREY_LEVELS))


def _tone(view: View, mask: NDArray[np.bool_]) -> _Tone:
    from scipy import ndimage

    rim = ndimage.binary_dilation(mask, iterations=RIM) & ~mask
    if not mask.any() or not rim.any():
        return _Tone(0.0, 512.0, 0.0)  # nothing to compare with: everything looks alike
    greys = _greys(view)
    inside = float(greys[mask].mean())
    return _Tone(inside, abs(inside - float(greys[rim].mean())), float(_smooth(view)[mask].std()))


def _greys(view: View) -> NDArray[np.float64]:
    return view.pixels[..., 0].mean(axis=0)


def _smooth(view: View) -> NDArray[np.float64]:
    from scipy import ndimage

    smooth: NDArray[np.float64] = ndimage.gaussian_filter(_greys(view), 1)
    return smooth


def _keep(cut: Cut) -> Kept:
    return Kept(np.packbits(cut.mask), cut.logits.shape, cut.score, cut.feedback)


def _empty(cut: Cut) -> Cut:
    return replace(cut, logits=np.minimum(cut.logits, -1))


def _is_gone(left: NDArray[np.bool_], before: NDArray[np.bool_], said: Cues, least: float) -> bool:
    """Whether negative prompts leave nothing of a mask (i, j): only a remnant, or what they hit in its middle."""
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(np.pad(before, 1))[1:-1, 1:-1]
    i, j = np.clip(said.points[:, :2].round(), 0, np.array(before.shape) - 1).astype(int).T
    whole = depth[i, j].max(initial=0) >= max(DEEP * depth.max(), 1)
    return bool(left.sum() < least or (whole and left.sum() > (1 - HARDLY) * before.sum()))


def _ranked(cuts: list[Cut], near: NDArray[np.bool_]) -> list[Cut]:
    """Candidates by their predicted Dice and their Dice with the mask of a near slice."""
    return sorted(cuts, key=lambda cut: -cut.score - _dice(cut.mask, near))


def _pieces(mask: NDArray[np.bool_], alike: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """The components of a mask (i, j), the largest first, and what is carried on of each.

    That is only what is `alike`, holes filled: what has become something else is no longer pointed at.
    """
    from scipy import ndimage

    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    for label in np.argsort(-sizes, kind="stable")[:PIECES] + 1:
        size = sizes[label - 1]
        if size < SMALLEST_PIECE * sizes.max():
            return
        rest = ndimage.binary_fill_holes((labels == label) & alike)
        if rest.sum() >= max(1, SMALLEST_REST * size):
            yield labels == label, rest


def _loose_cues(mask: NDArray[np.bool_]) -> Cues:
    """A carried mask (i, j) and a box with room around it: within a tight one masks shrink from slice to slice."""
    cues = mask_cues(mask[..., None])
    low, high = cues.boxes[0]
    margin = LOOSE * (high - low + 1) * (1, 1, 0)
    limit = (*np.array(mask.shape) - 1, 0)
    return replace(cues, boxes=np.clip([[low - margin, high + margin]], 0, limit))


def _ended(cut: Cut, before: NDArray[np.bool_], carried: NDArray[np.bool_]) -> bool:
    """Whether a mask does not go on from the one `before`, nor from what was `carried` of it."""
    overlap = max(_dice(cut.mask, before), _dice(cut.mask, carried))
    growth = int(cut.mask.sum()) / max(1, int(before.sum()))
    return overlap < LOWEST_DICE or growth > LARGEST_GROWTH or cut.score < LOWEST_SCORE


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return 2 * int((one & other).sum()) / max(1, int(one.sum() + other.sum()))


def _interpolate(below: Kept, above: Kept, share: float) -> Kept:
    """The mask `share` of the way between two, by their signed distances (Raya and Udupa 1990)."""
    from scipy import ndimage

    def signed(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        return ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)

    mask = (1 - share) * signed(below.mask) + share * signed(above.mask) > 0
    return Kept(np.packbits(mask), below.shape, min(below.score, above.score))


def together(parts: Iterable[Cut]) -> Cut:
    """The union of several cuts of one view, scored as the least certain of them."""
    union, *others = parts
    for cut in others:
        union = Cut(np.maximum(union.logits, cut.logits), min(union.score, cut.score))
    return union
