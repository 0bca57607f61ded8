"""Looking at a volume through cubes: around the clicks, and on beyond a cube's face wherever the mask touches it.

Cubes lie half a cube apart, counted from the one around the first click; where two overlap their voxels coincide.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from vesalius.answer import Answer
from vesalius.grid import Grid
from vesalius.look import around
from vesalius.prompts import Point, Prompt
from vesalius.scene import Cues, Scene
from vesalius.volume import Volume

TOUCHING = 4  # cells of a face inside the mask: the structure goes on beyond it
AGREEMENT = 0.5  # a neighbour's mask counts if its Dice with what is known of their overlap is at least this
UNSEEN = -8.0  # logits between cubes, where nothing was looked at

Place = tuple[int, int, int]  # of a cube: half cubes from the first one, along each axis
Segment = Callable[[Grid, Cues], NDArray[np.float32]]  # a frame and what was said in it -> logits of its cells


@dataclass(frozen=True, eq=False)
class Cubes:
    """What a target was seen through: the `first` frame, and for each cube the logits (n, n, n) of the cells in it."""

    first: Grid
    logits: Mapping[Place, NDArray[np.float32]]


def through_cubes(scene: Scene, size: int, spacing_mm: float, segment: Segment) -> Iterator[Answer]:
    """A 3D model's answer for a structure of any size, from clicks.

    `segment` sees a frame of `size` cubic voxels of `spacing_mm` along the image's axes, in the order nearest to RAS,
    and gives logits on n x n x n cells (n even) that divide it. It is asked again for each cube that holds a new click,
    with all clicks there and its own last logits as feedback. Where the mask touches a face and the image goes on, the
    neighbouring cube is looked at, from a click in the middle of what is known of the mask there. Where cubes overlap,
    logits are averaged. Without a positive click nothing is looked at.
    """
    clicks = [prompt for prompt in scene.prompts if isinstance(prompt, Point)]
    positive = [click for click in clicks if click.positive]
    if not positive:
        return
    shape = (size, size, size)
    centred = around(scene.image.grid.orient("RAS"), positive[0].at, shape, spacing_mm)
    # The click lies on a voxel's centre, so that of an image one voxel thick something is seen.
    known = scene.notes.get("cubes", Cubes(centred.crop((-0.5, -0.5, -0.5), shape), {}))
    walk = _Walk(scene, segment, clicks, known)
    walk.look(scene.rounds[-1] if known.logits else clicks)
    scene.notes["cubes"] = Cubes(known.first, walk.logits)
    yield Answer(walk.values(), (scene.target,))


class _Walk:
    """One round of clicks and the cubes that they lead to."""

    def __init__(self, scene: Scene, segment: Segment, clicks: list[Point], known: Cubes) -> None:
        self.scene, self.segment, self.clicks = scene, segment, clicks
        self.first, self.logits = known.first, dict(known.logits)
        self.half = self.first.shape[0] // 2

    def look(self, new: Iterable[Prompt]) -> None:
        """Looks at the cubes that hold new clicks, and at all that the mask reaches from them."""
        tried = self.holding(new)
        for place in sorted(tried):
            self.logits[place] = self.see(place)
        reached = deque(sorted(tried))
        tried |= set(self.logits)
        while reached:
            for place in self.neighbours(reached.popleft()):
                if place not in tried:
                    tried.add(place)
                    seen = self.see(place)
                    if self.agrees(place, seen):
                        self.logits[place] = seen
                        reached.append(place)
                    else:
                        self.scene.progress(f"cube {place} does not show the same; click there to go on")

    def holding(self, new: Iterable[Prompt]) -> set[Place]:
        """The cubes that hold new clicks; a positive one that no cube holds yet gets the cube nearest to it."""
        found: set[Place] = set()
        for click in new:
            if isinstance(click, Point):
                places = {place for place in {*self.logits, *found} if self.frame(place).contains(click.at)}
                if not places and click.positive:
                    i, j, k = np.rint(self.first.index(click.at) / self.half - 1).astype(int).tolist()
                    places = {(i, j, k)}
                found |= places
        return found

    def frame(self, place: Place) -> Grid:
        """The voxels of a cube."""
        return self.first.crop(self.half * np.array(place), self.first.shape)

    def see(self, place: Place) -> NDArray[np.float32]:
        """The logits of one cube: from the clicks in it, or else from one in the middle of the mask there."""
        self.scene.progress(f"cube {place}")
        frame = self.frame(place)
        world = np.array([click.at for click in self.clicks])
        here = frame.contains(world)
        points, positive = frame.index(world[here]), np.array([click.positive for click in self.clicks])[here]
        if not positive.any():
            points = np.concatenate([points, self.middle(place)])
            positive = np.append(positive, True)
        return self.segment(frame, Cues(points, positive, feedback=self.logits.get(place)))

    def middle(self, place: Place) -> NDArray[np.float64]:
        """The index (1, 3) in a cube of the point deepest within what is known of the mask there."""
        from scipy import ndimage

        inside = self.known(place)[0] > 0
        depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1, 1:-1]
        cell = np.array(np.unravel_index(depth.argmax(), depth.shape))
        return (cell[None] + 0.5) * self.first.shape[0] / len(depth) - 0.5

    def known(self, place: Place) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Logits of the cells of a cube as far as other cubes tell, and which cells were seen."""
        cells = len(next(iter(self.logits.values())))
        return blend(self.logits, cells // 2 * np.array(place), np.full(3, cells))

    def agrees(self, place: Place, logits: NDArray[np.float32]) -> bool:
        """Whether a look at a cube finds what other cubes showed of it."""
        known, seen = self.known(place)
        before, now = known[seen] > 0, logits[seen] > 0
        overlap = np.count_nonzero(before & now)
        return bool(2 * overlap >= AGREEMENT * (np.count_nonzero(before) + np.count_nonzero(now)))

    def neighbours(self, place: Place) -> Iterator[Place]:
        """The cubes beyond those faces of a cube that the mask touches, where the image goes on."""
        inside = self.logits[place] > 0
        cells = self.frame(place).resize(inside.shape)
        for axis, step in product(range(3), (-1, 1)):
            face = np.argwhere(np.take(inside, [0 if step < 0 else -1], axis))
            face[:, axis] = -1 if step < 0 else len(inside)
            if np.count_nonzero(self.scene.image.grid.contains(cells.world(face))) >= TOUCHING:
                i, j, k = (np.array(place) + step * np.eye(3, dtype=int)[axis]).tolist()
                yield i, j, k

    def values(self) -> Volume:
        """The logits of all cubes as one block of cells."""
        cells = len(next(iter(self.logits.values())))
        places = np.array(list(self.logits))
        start = cells // 2 * places.min(axis=0)
        i, j, k = (cells // 2 * places.max(axis=0) + cells - start).tolist()
        values, _ = blend(self.logits, start, np.array((i, j, k)))
        return Volume(values[None], self.first.resize((cells, cells, cells)).crop(start, (i, j, k)))


def blend(
    logits: Mapping[Place, NDArray[np.float32]], start: NDArray[np.int64], shape: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Logits of the cells from index `start` on, and which were seen.

    Where cubes overlap it is their mean, in which a cube weighs less towards its faces.
    """
    cells = len(next(iter(logits.values())))
    ramp = 1 - np.abs(2 * (np.arange(cells) + 0.5) / cells - 1)
    weights = np.einsum("i,j,k->ijk", ramp, ramp, ramp).astype(np.float32)
    total, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for place, values in logits.items():
        corner = cells // 2 * np.array(place) - start
        low, high = np.maximum(corner, 0), np.minimum(corner + cells, shape)
        if (low < high).all():
            block = tuple(map(slice, low, high))
            own = tuple(map(slice, low - corner, high - corner))
            total[block] += weights[own] * values[own]
            weight[block] += weights[own]
    seen = weight > 0
    return np.where(seen, total / np.where(seen, weight, 1), np.float32(UNSEEN)), seen
