"""Looking for everything: discs are found one by one, once each, in pictures, slices and tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import vesalius as vs
from vesalius.grid import PLANES
from vesalius.hub import random_model
from vesalius.look import Cut
from vesalius.look_everything import Piece, best_of_each, iou, is_stable, one_slice, piece_of, spread, tiles
from vesalius.scene import Cues, Scene, View

DISCS = ((20, 15, 8), (60, 40, 12), (90, 20, 5), (95, 75, 3))  # i, j and radius


def picture(*discs: tuple[int, int, int]) -> vs.Volume:
    """Bright discs on a dark ground, 120 x 90 pixels."""
    i, j = np.mgrid[:120, :90]
    bright = np.any([i < 0, *((i - x) ** 2 + (j - y) ** 2 <= r * r for x, y, r in discs)], axis=0)
    grid = vs.make_grid((120, 90, 1), np.diag([-1, -1, 1, 1]), calibrated=False)
    return vs.Volume((200 * bright).astype(np.uint8)[None, :, :, None], grid)


class Touched:
    """A model that sees the bright thing under a click, if it is at least `smallest` pixels wide in what it looks at.

    Beside it, it offers a mask that it is not sure of, and one whose edge is soft.
    """

    card = vs.find_card("mobile-sam")
    smallest = 0.0

    def run(self, scene: Scene) -> Iterator[vs.Answer]:
        view = scene.native(PLANES[scene.plane], (0, 0, 0), scene.image.grid.shape)
        (click,) = scene.prompts
        for rank, cut in enumerate(self.segment(replace(view, cues=Cues(view.grid.index(click.at)[None])))):
            yield vs.Answer(vs.Volume(cut.logits[None, ..., None], view.grid), ("",), candidate=rank, score=cut.score)

    def segment(self, view: View) -> list[Cut]:
        labels, _ = ndimage.label(view.pixels[0, :, :, 0] > 100)
        i, j = np.rint(view.cues.points[0, :2]).astype(int)
        inside = (labels == labels[i, j]) & (labels > 0)
        width = np.sqrt(inside.sum()) / max(view.grid.shape)
        here = np.where(inside & (width >= self.smallest), 9.0, -9.0).astype(np.float32)
        everywhere = np.full_like(here, 9)
        return [Cut(here, 0.97), Cut(everywhere, 0.6), Cut(everywhere / 10, 0.99)]


class TouchedTogether(Touched):
    """The same, asked for several clicks at a time."""

    asked = 0

    def segment_each(
        self, view: View, each: Sequence[Cues], memo: Callable[..., Any], lowest: float
    ) -> Iterator[list[Cut]]:
        self.asked += 1
        for cues in each:
            yield [cut for cut in self.segment(replace(view, cues=cues)) if cut.score >= lowest]


class TouchedTwice(Touched):
    """The same, which glances at many clicks, and then looks where it is worth it."""

    looks = 0

    def glance_each(
        self, view: View, each: Sequence[Cues], memo: Callable[..., Any], lowest: float
    ) -> Iterator[list[Cut]]:
        for cues in each:
            cuts = [replace(cut, score=cut.score - 0.2) for cut in self.segment(replace(view, cues=cues))]
            yield [cut for cut in cuts if cut.score >= lowest]

    def run(self, scene: Scene) -> Iterator[vs.Answer]:
        self.looks += 1
        return super().run(scene)


@pytest.mark.parametrize("model", [Touched(), TouchedTogether(), TouchedTwice()])
def test_every_disc_is_found_once_the_largest_first(model: Touched) -> None:
    image = picture(*DISCS)
    found = vs.segment_everything(vs.Session(model, image))
    assert found.grid is image.grid and found.labels.names == ("1", "2", "3", "4")
    for name, disc in zip(found.labels.names, sorted(DISCS, key=lambda disc: -disc[2]), strict=True):
        assert np.array_equal(found.mask(name), picture(disc).voxels[0] > 0)
    if isinstance(model, TouchedTogether):
        assert model.asked == 1


def test_a_second_look_is_taken_once_for_each_thing() -> None:
    model = TouchedTwice()
    vs.segment_everything(vs.Session(model, picture(*DISCS)))
    assert model.looks == len(DISCS)


def test_few_clicks_miss_what_is_small() -> None:
    session = vs.Session(Touched(), picture(*DISCS))
    assert vs.segment_everything(session, vs.Sought(clicks=8)).labels.names == ("1", "2")


def test_an_empty_picture_holds_nothing() -> None:
    found = vs.segment_everything(vs.Session(Touched(), picture()))
    assert found.labels.names == () and not found.layers.any()


def test_what_is_small_is_found_in_tiles_and_what_a_tile_cuts_off_is_not() -> None:
    model = Touched()
    model.smallest = 0.08
    image = picture(*DISCS, (60, 75, 6))  # the large disc and the last one lie across the middle
    whole = vs.segment_everything(vs.Session(model, image))
    assert len(whole.labels.names) == 3
    cut = vs.segment_everything(vs.Session(model, image), vs.Sought(tiles=1))
    discs = sorted((*DISCS[:3], (60, 75, 6)), key=lambda disc: -disc[2])
    assert len(cut.labels.names) == 4
    for name, disc in zip(cut.labels.names, discs, strict=True):
        assert np.array_equal(cut.mask(name), picture(disc).voxels[0] > 0)


def test_one_slice_of_a_volume_in_any_direction() -> None:
    voxels = np.zeros((1, 30, 40, 20), np.uint8)
    voxels[0, 10:20, 10:20, 5:15] = 200
    image = vs.Volume(voxels, vs.make_grid((30, 40, 20), np.diag([2.0, 1, 3, 1])))
    session = vs.Session(Touched(), image)
    with pytest.raises(vs.PromptError, match="one voxel thick"):
        vs.segment_everything(session)
    for axis, at in enumerate((12, 15, 7)):
        low, high = np.zeros(3), np.array([29.0, 39, 19])
        low[axis] = high[axis] = at
        expected = np.zeros(voxels.shape[1:], bool)
        plane = tuple(at if n == axis else slice(None) for n in range(3))
        expected[plane] = voxels[0][plane] > 0
        within = vs.Box.from_index(image.grid, low, high)
        found = vs.segment_everything(session, within=within)
        assert np.array_equal(found.mask("1"), expected), axis
    assert one_slice(image, within).grid.shape[2] == 1


def test_the_smaller_thing_is_in_front() -> None:
    class Nested(Touched):
        def segment(self, view: View) -> list[Cut]:
            there = np.full((120, 90), -9, np.float32)
            there[10:60, 10:60] = 9
            part = np.full_like(there, -9)
            part[20:30, 20:30] = 9
            return [Cut(there, 0.99), Cut(part, 0.96)]

    found = vs.segment_everything(vs.Session(Nested(), picture()), vs.Sought(clicks=4))
    assert [int(found.mask(name).sum()) for name in found.labels.names] == [2400, 100]


def test_a_model_that_answers_no_clicks_is_refused() -> None:
    for name in ("medsam", "sam-med3d"):
        with pytest.raises(vs.PromptError, match=f"{name} does not answer clicks on a picture"):
            vs.segment_everything(vs.Session(random_model(vs.find_card(name)), picture()))


@pytest.mark.parametrize("name", ["sam-vit-b", "sam2.1-hiera-t", "vesalius-s", "sam-med2d"])
def test_real_networks_take_part(name: str) -> None:
    model = random_model(vs.find_card(name))
    anything = vs.Sought(clicks=3, quality=0.0, stability=0.0)
    found = vs.segment_everything(vs.Session(model, picture(*DISCS)), anything)
    assert found.layers.shape == (1, 120, 90, 1) and len(found.labels.names) > 0


def test_clicks_are_as_dense_along_both_sides() -> None:
    places = spread((120, 60, 1), 4)
    assert places.shape == (8, 3)
    assert sorted(set(places[:, 0])) == [14.5, 44.5, 74.5, 104.5] and sorted(set(places[:, 1])) == [14.5, 44.5]
    assert len(spread((300, 2, 1), 8)) == 8


def test_tiles_cover_the_picture_and_overlap() -> None:
    assert list(tiles((120, 90, 1), 1)) == [((0, 0), (120, 90))]
    for count in (2, 4):
        seen = np.zeros((120, 91), int)
        for (i, j), (width, height) in tiles((120, 91, 1), count):
            seen[i : i + width, j : j + height] += 1
        assert seen.min() == 1 and seen.max() == 4
        assert (seen > 1).mean() > 0.3


def test_an_edge_that_moves_with_the_threshold_is_not_stable() -> None:
    ramp = np.tile(np.linspace(-10, 10, 101, dtype=np.float32), (10, 1))
    assert not is_stable(ramp, 0.95) and is_stable(100 * ramp, 0.95)
    assert not is_stable(np.full((4, 4), -9, np.float32), 0.0)


def test_a_mask_that_ends_at_the_edge_of_a_tile_is_not_whole() -> None:
    logits = np.full((10, 10), -1, np.float32)
    logits[0:4, 3:6] = 1
    assert piece_of(Cut(logits, 0.9), (5, 0), (15, 10), 1) == []
    (piece,) = piece_of(Cut(logits, 0.9), (0, 0), (15, 10), 1)
    assert piece.start == (0, 3) and piece.area == 12 and piece.mask.all()


def test_of_one_thing_the_best_mask_is_kept() -> None:
    def square(i: int, j: int, side: int, score: float, cuts: int = 0) -> Piece:
        bits = np.packbits(np.ones((side, side), bool))
        return Piece((i, j), (side, side), bits, side * side, (cuts, score))

    one, shifted, apart, near = (
        square(0, 0, 10, 0.9),
        square(1, 0, 10, 0.95),
        square(5, 5, 10, 0.8),
        square(1, 0, 9, 0.1, 1),
    )
    assert iou(one, shifted) == pytest.approx(90 / 110) and iou(one, apart) == pytest.approx(25 / 175)
    assert iou(one, square(10, 0, 5, 0.9)) == 0
    assert best_of_each([one, shifted, apart], 0.7) == [shifted, apart]
    assert best_of_each([one, shifted, apart, near], 0.7) == [near, apart]
