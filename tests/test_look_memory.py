"""The walk of models that remember, with one that follows bright components."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import vesalius as vs
from tubes import GRID, X, Y, Z, at, tube, volume
from vesalius.look import Cut
from vesalius.look_memory import MOST_SEEDS, REACH, Past, follow
from vesalius.scene import Scene, View


class Bright:
    """Segments the bright components that it is shown, or, without prompts, those that touch the nearest memory."""

    card = vs.find_card("mobile-sam")

    def __init__(self) -> None:
        self.looks: list[tuple[int, Past]] = []  # slice, and what could be remembered there
        self.remembered: list[tuple[int, bool]] = []

    def run(self, scene: Scene) -> object:
        return follow(scene, self.segment, self.remember)

    def segment(self, view: View, past: Past) -> list[Cut]:
        self.looks.append((height(view), past))
        labels, _ = ndimage.label(view.pixels[0, ..., 0] > 100)
        seen = np.zeros(labels.shape, bool)
        memories = (pair for pair in (*past.seeds, *past.walked) if pair[1].any())
        nearest = min(memories, key=lambda pair: abs(pair[0]), default=(0, seen))
        cues = view.cues
        shown = cues.mask[..., 0] if cues.mask is not None else nearest[1] if not len(cues.points) else seen
        if cues.mask is not None and not len(cues.points) and not len(cues.boxes):
            return [Cut(np.where(shown, 1, -1).astype(np.float32), 1.0)]
        seen |= np.isin(labels, labels[shown]) & (labels > 0)
        for (i, j, _), positive in zip(cues.points.round().astype(int), cues.positive, strict=True):
            if positive:
                seen |= (labels == labels[i, j]) & (labels > 0)
            else:
                seen[max(0, i - 3) : i + 4, max(0, j - 3) : j + 4] = False
        for low, high in cues.boxes[:, :, :2].round().astype(int):
            seen[low[0] : high[0] + 1, low[1] : high[1] + 1] |= labels[low[0] : high[0] + 1, low[1] : high[1] + 1] > 0
        return [Cut(np.where(seen, 1, -1).astype(np.float32), 0.9)]

    def remember(self, view: View, cut: Cut, prompted: bool) -> np.ndarray:
        self.remembered.append((height(view), prompted))
        return cut.mask


def height(view: View) -> int:
    return round(float(view.grid.world((0, 0, 0))[2]))


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_one_click_fills_the_structure_both_ways_and_stops_where_it_ends(plane: str) -> None:
    found = vs.Session(Bright(), volume(tube()), plane=plane).add(at(20, 18, 12))
    assert np.array_equal(found.mask("1"), tube())


def test_a_slice_is_answered_from_the_seed_and_from_the_slices_just_passed() -> None:
    model = Bright()
    vs.Session(model, volume(tube()), plane="axial").add(at(20, 18, 12))
    past = dict(model.looks)
    assert past[12].seeds == past[12].walked == ()
    assert [distance for distance, _ in past[15].seeds] == [3]
    assert [distance for distance, _ in past[15].walked] == [2, 1]
    assert [distance for distance, _ in past[9].seeds] == [3]
    assert past[9].depth == 30
    assert [k for k, prompted in model.remembered if prompted] == [12]


def test_what_is_remembered_does_not_grow_with_the_number_of_slices() -> None:
    model = Bright()
    session = vs.Session(model, volume(tube(0, 29)), plane="axial")
    session.add(at(20, 18, 0))
    assert max(len(past.walked) for _, past in model.looks) == REACH
    session.add(*(at(20, 18, k) for k in range(12)))
    assert max(len(past.seeds) for _, past in model.looks) == MOST_SEEDS
    assert all(abs(distance) <= REACH for _, past in model.looks for distance, _ in past.walked)


def test_between_two_seeds_the_walk_sees_both_and_goes_on_where_nothing_is_seen() -> None:
    model = Bright()
    inside = tube(4, 10) | tube(16, 25)
    found = vs.Session(model, volume(inside), plane="axial").add(at(20, 18, 8), at(20, 18, 20))
    assert np.array_equal(found.mask("1"), inside)
    past = dict(model.looks)
    assert sorted(distance for distance, _ in past[14].seeds) == [-6, 6]
    assert [distance for distance, _ in past[24].walked] == [*range(15, 4, -1), 3, 2, 1]  # they go along past a seed
    assert [distance for distance, _ in past[25].walked] == [*range(15, 5, -1), 4, 3, 2, 1]


def test_components_that_touch_nothing_of_the_slice_before_are_left_out() -> None:
    class Careless(Bright):
        def segment(self, view: View, past: Past) -> list[Cut]:
            bright = view.pixels[0, ..., 0] > 100
            return super().segment(view, past) if len(view.cues.points) else [Cut(np.where(bright, 1.0, -1.0), 0.9)]

    other = tube(8, 25, centre=(6, 6))
    found = vs.Session(Careless(), volume(tube() | other), plane="axial").add(at(20, 18, 12))
    assert np.array_equal(found.mask("1"), tube())


def test_a_correction_makes_its_slice_a_seed_and_reruns_to_the_next_ones() -> None:
    model = Bright()
    leak = ((np.abs(X - 30) <= 4) & (np.abs(Y - 18) <= 2) & (Z >= 18) & (Z <= 25)) | tube()
    session = vs.Session(model, volume(leak), plane="axial")
    session.add(at(20, 18, 8), at(20, 18, 24))
    model.looks.clear()
    session.add(at(30, 18, 20, positive=False))
    first, past = model.looks[0]
    assert first == 20
    assert sorted(distance for distance, _ in past.seeds) == [-4, 12]
    assert sorted(k for k, _ in model.looks) == [*range(9, 24)]
    before = session.undo()
    session.add(at(20, 18, 8, positive=True), target="another")
    assert np.array_equal(session.result().mask("1"), before.mask("1"))


def test_a_given_mask_is_the_mask_of_its_slice_and_is_followed() -> None:
    model = Bright()
    half = tube(12, 12) & (X < 20)
    hint = vs.MaskHint(vs.Volume(half[None], GRID))
    found = vs.Session(model, volume(tube()), plane="axial").add(hint).mask("1")
    assert np.array_equal(found[:, :, 12], half[:, :, 12])
    assert np.array_equal(found[:, :, 13], tube()[:, :, 13])


def test_a_later_mask_replaces_what_was_said_of_its_slice() -> None:
    session = vs.Session(Bright(), volume(tube()), plane="axial")
    session.add(at(20, 18, 12))
    half = tube(12, 12) & (X < 20)
    found = session.add(vs.MaskHint(vs.Volume(half[None], GRID))).mask("1")
    assert np.array_equal(found[:, :, 12], half[:, :, 12])


def test_a_box_with_depth_is_not_left() -> None:
    found = vs.Session(Bright(), volume(tube()), plane="axial").add(vs.Box.from_index(GRID, (12, 10, 8), (28, 26, 16)))
    assert np.array_equal(found.mask("1"), tube(8, 16))


def test_only_not_here_where_nothing_is_changes_nothing() -> None:
    session = vs.Session(Bright(), volume(tube()), plane="axial")
    before = session.add(at(20, 18, 12)).mask("1")
    after = session.add(at(20, 18, 28, positive=False)).mask("1")
    assert np.array_equal(before, after)
