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
LARGEST_GROWTH = 2.0  # ... or covers more than this many times its area
LOWEST_SCORE = 0.4  # ... or the model's own predicted Dice is below this
MEAN_SHARE = 0.5  # ... or its mean grey left the seed's by more than this part of the seed's contrast to what is around
PIXEL_SHARE = 0.75  # a pixel is carried on if its grey is no further than this part of that contrast from the seed's
GREY_LEVELS = 25.0  # both tolerances are at least so many of the 255 grey levels, for seeds of little contrast
RIM = 3  # voxels around a mask that count as what is around it
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
    carried one with Dice below `LOWEST_DICE`, exceeds `LARGEST_GROWTH` times its area, has a predicted Dice below
    `LOWEST_SCORE`, or has another mean grey than the seed (`MEAN_SHARE`); from a seed inside a box with depth it ends
    at the box's faces too. What a new prompt does not reach is kept as it was.
    """
    walk = _Walk(scene, segment)
    track = walk.follow(scene.notes.get("track", Track()))
    scene.notes["track"] = track
    target = (scene.target,)
    for k, kept in track.slices.items():
        if k not in walk.candidates:
            mask = Volume(kept.mask[None, :, :, None], walk.view_grid(k))
            yield Answer(mask, target, 0.5, score=kept.score)
    for k, cuts in walk.candidates.items():
        for rank, cut in enumerate(cuts if walk.depth == 1 else cuts[:1]):
            values = Volume(cut.logits[None, :, :, None], walk.view_grid(k))
            yield Answer(values, target, candidate=rank, score=cut.score)


class _Walk:
    """One round of prompts carried through the slices of one plane."""

    def __init__(self, scene: Scene, segment: Segment) -> None:
        self.scene, self.segment = scene, segment
        self.codes = PLANES[scene.plane]
        self.grid = scene.image.grid.orient(self.codes)
        self.width, self.height, self.depth = self.grid.shape
        self.spans = box_slices(scene.prompts, self.grid)
        self.candidates: dict[int, list[Cut]] = {}

    def view_grid(self, k: int) -> Grid:
        return self.grid.crop((0, 0, k), (self.width, self.height, 1))

    def view(self, k: int, cues: Cues) -> View:
        view = self.scene.native(self.codes, (0, 0, k), (self.width, self.height, 1))
        return View(view.pixels, view.grid, cues)

    def follow(self, track: Track) -> Track:
        """The track after the last round: its slices are segmented, then everything that they reach."""
        new = cues_by_slice(self.scene.rounds[-1], self.grid)
        said = cues_by_slice(self.scene.prompts, self.grid)
        kept, seeds = dict(track.slices), set(track.seeds)
        first = [k for k in new if new[k].seeds]
        later = [k for k in new if not new[k].seeds]  # only "not here": corrections of what is there by then
        for ks in (first, later):
            changed = {k for k in ks if k in kept or said[k].seeds}
            for k in sorted(changed):
                cues = replace(said[k], feedback=kept[k].feedback if k in kept else None)
                if k in kept and cues.feedback is None and cues.mask is None:  # a slice that the walk had reached
                    cues = replace(cues, mask=kept[k].mask[..., None])
                self.scene.progress(f"{self.scene.plane} slice {k}")
                self.candidates[k] = self.segment(self.view(k, cues))
                kept[k] = _keep(self.candidates[k][0])
            seeds |= changed
            self.reach(kept, sorted(seeds), changed)
        return Track(dict(sorted(kept.items())), frozenset(seeds))

    def reach(self, kept: dict[int, Kept], seeds: list[int], changed: set[int]) -> None:
        """Walks from the changed seeds: outwards from the outermost, and between neighbours."""
        for end, step in ((min(seeds), -1), (max(seeds), 1)) if changed else ():
            if end in changed:
                for k in [k for k in kept if (k - end) * step > 0]:
                    del kept[k]
                kept.update(self.walk(end, kept[end], step, self.limits(end)[step > 0]))
        for low, high in pairwise(seeds):
            if low in changed or high in changed:
                for k in range(low + 1, high):
                    kept.pop(k, None)
                self.close(low, high, kept)

    def limits(self, seed: int) -> tuple[int, int]:
        """The first and last slice that a walk from a seed may reach: those of the boxes that it lies in, or all."""
        spans = [span for span in self.spans if span[0] <= seed <= span[1]] or [(0, self.depth - 1)]
        return min(low for low, _ in spans), max(high for _, high in spans)

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
        carried = seed.mask
        tone = _tone(self.view(start, Cues()), carried)
        for k in range(start + step, limit + step, step):
            self.scene.progress(f"{self.scene.plane} slice {k}")
            view = self.view(k, Cues())
            pieces = []
            for cues in _pieces(carried, tone.alike(view)):
                cut = self.segment(replace(view, cues=cues))[0]
                if not _ended(cut, cues.mask[..., 0]) and tone.holds(view, cut.mask):  # type: ignore[index]
                    pieces.append(cut)
            if not pieces:
                return
            carried = np.logical_or.reduce([cut.mask for cut in pieces])
            yield k, _keep(Cut(np.where(carried, 1, -1).astype(np.float32), min(cut.score for cut in pieces)))


@dataclass(frozen=True)
class _Tone:
    """How a seed looks: its mean grey, and by how much the rim just outside differs from it."""

    grey: float
    contrast: float

    def alike(self, view: View) -> NDArray[np.bool_]:
        """The pixels (i, j), lightly smoothed, that may be of the target by their grey."""
        from scipy import ndimage

        smooth = ndimage.gaussian_filter(_greys(view), 1)
        return np.abs(smooth - self.grey) <= max(PIXEL_SHARE * self.contrast, GREY_LEVELS)

    def holds(self, view: View, mask: NDArray[np.bool_]) -> bool:
        """Whether a mask still has the seed's mean grey."""
        change = abs(float(_greys(view)[mask].mean()) - self.grey) if mask.any() else 0.0
        return change <= max(MEAN_SHARE * self.contrast, GREY_LEVELS)


def _tone(view: View, mask: NDArray[np.bool_]) -> _Tone:
    from scipy import ndimage

    rim = ndimage.binary_dilation(mask, iterations=RIM) & ~mask
    if not mask.any() or not rim.any():
        return _Tone(0.0, 512.0)  # nothing to compare with: everything looks alike
    greys = _greys(view)
    inside = float(greys[mask].mean())
    return _Tone(inside, abs(inside - float(greys[rim].mean())))


def _greys(view: View) -> NDArray[np.float64]:
    return view.pixels[..., 0].mean(axis=0)


def _keep(cut: Cut) -> Kept:
    return Kept(np.packbits(cut.mask), cut.logits.shape, cut.score, cut.feedback)


def _pieces(mask: NDArray[np.bool_], alike: NDArray[np.bool_]) -> Iterator[Cues]:
    """The components of a mask (i, j), the largest first, each as the box around it and itself as a mask.

    Of each only what is `alike` is carried on, holes filled: what has become something else is no longer pointed at.
    """
    from scipy import ndimage

    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    for label in np.argsort(-sizes, kind="stable")[:PIECES] + 1:
        size = sizes[label - 1]
        if size < SMALLEST_PIECE * sizes.max():
            return
        piece = ndimage.binary_fill_holes((labels == label) & alike)
        if piece.sum() >= max(1, SMALLEST_REST * size):
            yield mask_cues(piece[..., None])


def _ended(cut: Cut, carried: NDArray[np.bool_]) -> bool:
    area, before = int(cut.mask.sum()), int(carried.sum())
    dice = 2 * int((cut.mask & carried).sum()) / max(1, area + before)
    return area == 0 or dice < LOWEST_DICE or area > LARGEST_GROWTH * before or cut.score < LOWEST_SCORE


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
