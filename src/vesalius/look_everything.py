"""Looking for everything in a picture, or in one slice of a volume: a grid of clicks, and what is sure of the answers.

The automatic mode of Segment Anything, Kirillov et al. 2023, section 5 and appendix B, for any 2D model that takes
clicks and judges its masks: each click gives candidates; those of high predicted quality whose edge hardly moves with
the threshold stay, and of several masks of one thing the best. Small things in large pictures are found in tiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.answer import Answer
from vesalius.errors import PromptError
from vesalius.grid import PLANES
from vesalius.labels import LabelSpace
from vesalius.look import Cut
from vesalius.prompts import Box, Point, check_prompt
from vesalius.scene import Cues, Scene, default_plane
from vesalius.segmentation import Segmentation
from vesalius.session import Session
from vesalius.volume import Volume

MARGIN = 1.0  # by which the threshold of a logit is moved to see whether the mask's edge moves
SHARED = 1 / 3  # of a tile that its neighbour shows too
GLANCE = (0.25, 0.12)  # by which quality and stability may be lower at a glance than when something is looked at


@dataclass(frozen=True)
class Sought:
    """How closely to look, and what counts as found.

    `clicks` lie along the longer side of each tile. `quality` is the least predicted Dice, `stability` the least IoU of
    the masks at thresholds that differ by two logits, and of masks with an IoU above `overlap` only the best is kept.
    `tiles` is how often the picture is cut further, each time in twice as many tiles along each side. The defaults suit
    `vesalius-s`; SAM's paper has a quality of 0.936 (an IoU of 0.88) and a stability of 0.95.
    """

    clicks: int = 32
    quality: float = 0.85
    stability: float = 0.92
    overlap: float = 0.7
    tiles: int = 0


@dataclass(frozen=True, eq=False)
class Piece:
    """One mask that was found: packed bits of the part (i, j) of the picture where it is."""

    start: tuple[int, int]
    shape: tuple[int, int]
    bits: NDArray[np.uint8]
    area: int
    rank: tuple[int, float]  # how often the picture was cut, and the predicted Dice

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask (i, j) of the part."""
        return np.unpackbits(self.bits, count=self.shape[0] * self.shape[1]).reshape(self.shape).view(bool)

    @property
    def span(self) -> tuple[slice, slice]:
        """Where the part is in the picture."""
        return slice(self.start[0], self.start[0] + self.shape[0]), slice(self.start[1], self.start[1] + self.shape[1])


def segment_everything(session: Session, sought: Sought | None = None, within: Box | None = None) -> Segmentation:
    """Every thing that a session's model is sure of, called "1", "2" and so on from the largest to the smallest.

    The session itself is not changed. `within` is the part to look at, which a volume needs, one voxel thick. Where
    things overlap, the smaller one is in front. Raises PromptError for a model that does not answer clicks on pictures
    and for a volume without a slice.
    """
    sought = sought or Sought()
    card = session.model.card
    if card.dimensions != 2 or "point" not in card.accepts:
        raise PromptError(f"{card.name} does not answer clicks on a picture; use a model that does, such as sam-vit-b.")
    picture = one_slice(session.image, within)
    found: list[Piece] = []
    for cuts in range(sought.tiles + 1):
        for start, shape in tiles(picture.grid.shape, 2**cuts):
            session.progress(f"looking for everything, tile at {start[0]},{start[1]}")
            tile = picture.crop((*start, 0), (*shape, 1))
            for cut in click_everywhere(session, tile, sought):
                if cut.score >= sought.quality and is_stable(cut.logits, sought.stability):
                    found += piece_of(cut, start, picture.grid.shape, cuts)
    pieces = sorted(best_of_each(found, sought.overlap), key=lambda piece: -piece.area)
    codes = np.zeros(picture.grid.shape, np.uint16)
    for code, piece in enumerate(pieces, start=1):
        codes[piece.span][piece.mask] = code
    names = tuple(str(code) for code in range(1, len(pieces) + 1))
    answer = Answer(Volume(codes[None], picture.grid), ("", *names), coded=True)
    result = Segmentation.from_answers([answer], session.image.grid, LabelSpace.of(names))
    return replace(result, source=session.image.source, licence="" if card.licence.commercial else card.licence.weights)


def one_slice(image: Volume, within: Box | None) -> Volume:
    """A picture, or the one slice of a volume that a box is about, stored as it is shown on screen."""
    if within:
        check_prompt(within, image.grid, frozenset({"box"}), "the search for everything")
        index = image.grid.index(within.corners())
        last = np.array(image.grid.shape) - 1
        low, high = (np.clip(np.rint(end), 0, last).astype(int) for end in (index.min(axis=0), index.max(axis=0)))
        i, j, k = low.tolist()
        i_end, j_end, k_end = (high + 1).tolist()
        image = image.crop((i, j, k), (i_end - i, j_end - j, k_end - k))
    if image.grid.thin_axis() is None:
        raise PromptError(
            "Everything is looked for in a picture or in one slice; give a region that is one voxel thick."
        )
    return image.orient(PLANES[default_plane(image.grid)])


def tiles(shape: tuple[int, ...], count: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """The first pixels and the shapes of `count` x `count` tiles that overlap; one tile is the whole picture (i, j)."""
    sides = [int(np.ceil(size * (1 + SHARED) / count)) if count > 1 else size for size in shape[:2]]
    firsts = [
        np.linspace(0, size - side, count).round().astype(int).tolist()
        for size, side in zip(shape[:2], sides, strict=True)
    ]
    for i, j in product(*firsts):
        yield (i, j), (sides[0], sides[1])


def click_everywhere(session: Session, tile: Volume, sought: Sought) -> Iterator[Cut]:
    """The candidates of each click of a grid on a picture.

    A model that can is asked several at a time; one that looks twice at small things glances at all of them first.
    """
    plane = default_plane(tile.grid)
    scene = Scene(tile, "", (), session.window, plane, {}, session.memory, session.progress)
    view = scene.native(PLANES[plane], (0, 0, 0), tile.grid.shape)
    places = spread(view.grid.shape, sought.clicks)
    model: Any = session.model
    each = [Cues(place[None], np.array([True])) for place in places]
    if hasattr(model, "segment_each"):
        for cuts in model.segment_each(view, each, scene.memo, sought.quality):
            yield from cuts
        return
    if hasattr(model, "glance_each"):
        lenient = replace(sought, quality=sought.quality - GLANCE[0], stability=sought.stability - GLANCE[1])
        glances = model.glance_each(view, each, scene.memo, lenient.quality)
        places = places[worth_a_look(glances, lenient)]
    for place in places:
        click = Point.from_index(view.grid, place)
        for answer in model.run(replace(scene, rounds=((click,),), notes={})):
            logits = answer.values.to(view.grid).voxels[0, :, :, 0].astype(np.float32) - answer.threshold
            yield Cut(logits, 1.0 if answer.score is None else answer.score)


def worth_a_look(glances: Iterable[list[Cut]], sought: Sought) -> list[int]:
    """The numbers of the clicks whose glance shows something that the glance of no other click shows better."""
    seen: dict[Piece, int] = {}
    for click, cuts in enumerate(glances):
        for cut in cuts:
            if is_stable(cut.logits, sought.stability):
                seen |= dict.fromkeys(piece_of(cut, (0, 0), cut.mask.shape, 0), click)
    return sorted({seen[piece] for piece in best_of_each(seen, sought.overlap)})


def spread(shape: tuple[int, ...], clicks: int) -> NDArray[np.float64]:
    """Positions (N, 3) as a grid over a picture (i, j), `clicks` along its longer side."""
    step = max(shape[:2]) / clicks
    counts = [max(1, round(size / step)) for size in shape[:2]]
    i, j = ((np.arange(count) + 0.5) * size / count - 0.5 for count, size in zip(counts, shape[:2], strict=True))
    return np.stack([*(axis.ravel() for axis in np.meshgrid(i, j, indexing="ij")), np.zeros(len(i) * len(j))], axis=1)


def is_stable(logits: NDArray[np.float32], least: float) -> bool:
    """Whether there is a mask, and most of it stays when the threshold moves."""
    inner, outer = (int(np.count_nonzero(logits > threshold)) for threshold in (MARGIN, -MARGIN))
    return bool((logits > 0).any()) and inner >= least * outer


def piece_of(cut: Cut, start: tuple[int, int], shape: tuple[int, ...], cuts: int) -> list[Piece]:
    """A mask of the tile at `start` in the picture; none where it ends at an edge at which the picture goes on."""
    mask = cut.mask
    columns, rows = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    low, high = (columns[0], rows[0]), (columns[-1], rows[-1])
    for axis in (0, 1):
        before, after = start[axis] > 0, start[axis] + mask.shape[axis] < shape[axis]
        if (before and low[axis] == 0) or (after and high[axis] == mask.shape[axis] - 1):
            return []
    part = mask[low[0] : high[0] + 1, low[1] : high[1] + 1]
    corner = (int(start[0] + low[0]), int(start[1] + low[1]))
    return [Piece(corner, part.shape, np.packbits(part), int(part.sum()), (cuts, cut.score))]


def best_of_each(pieces: Iterable[Piece], overlap: float) -> list[Piece]:
    """Pieces of which no two have an IoU above `overlap`: those from smaller tiles first, then the surest."""
    kept: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: piece.rank, reverse=True):
        alike = (other for other in kept if min(piece.area, other.area) > overlap * max(piece.area, other.area))
        if all(iou(piece, other) <= overlap for other in alike):
            kept.append(piece)
    return kept


def iou(one: Piece, other: Piece) -> float:
    """Intersection over union of two masks."""
    low = np.maximum(one.start, other.start)
    high = np.minimum(np.add(one.start, one.shape), np.add(other.start, other.shape))
    if (high <= low).any():
        return 0.0
    parts = []
    for piece in (one, other):
        i, j = low - piece.start
        i_end, j_end = high - piece.start
        parts.append(piece.mask[i:i_end, j:j_end])
    common = np.count_nonzero(parts[0] & parts[1])
    return common / (one.area + other.area - common)
