"""The walk of 2D masks through slices, with a model that sees by brightness alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import vesalius as vs
from tubes import GRID, X, Y, Z, at, tube, volume
from vesalius.look import Cut, around, propagate, slices
from vesalius.scene import Scene, View


class Bright:
    """Segments the bright components that its positive cues touch, without what lies near negative points."""

    card = vs.find_card("mobile-sam")

    def __init__(self) -> None:
        self.looks: list[float] = []

    def run(self, scene: Scene) -> object:
        return propagate(scene, self.segment)

    def segment(self, view: View) -> list[Cut]:
        self.looks.append(float(view.grid.world((0, 0, 0))[2]))
        labels, _ = ndimage.label(view.pixels[0, ..., 0] > 100)
        seen = np.zeros(labels.shape, bool)
        if view.cues.mask is not None:
            seen |= np.isin(labels, labels[view.cues.mask[..., 0]]) & (labels > 0)
        for (i, j, _), positive in zip(view.cues.points.round().astype(int), view.cues.positive, strict=True):
            if positive:
                seen |= (labels == labels[i, j]) & (labels > 0)
            else:
                seen[max(0, i - 3) : i + 4, max(0, j - 3) : j + 4] = False
        for low, high in view.cues.boxes[:, :, :2].round().astype(int):
            inside = np.zeros_like(seen)
            inside[low[0] : high[0] + 1, low[1] : high[1] + 1] = True
            seen |= inside & (labels > 0)
        return [Cut(np.where(seen, 1, -1).astype(np.float32), 0.9)]


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_one_click_fills_the_structure_and_stops_where_it_ends(plane: str) -> None:
    ball = (X - 20) ** 2 + (Y - 18) ** 2 + (Z - 15) ** 2 <= 100
    talk = vs.Session(Bright(), volume(ball), plane=plane)
    found = talk.add(at(20, 18, 15)).mask("1")
    assert np.array_equal(found & ball, found)
    assert 2 * (found & ball).sum() / (found.sum() + ball.sum()) > 0.97
    assert len(talk.model.looks) <= 25  # the slices of the ball and one beyond each end, not the whole image


def test_the_walk_stops_where_the_mask_jumps_to_something_larger() -> None:
    plate = tube() | ((Z == 26) & (X > 2) & (Y > 2))
    found = vs.Session(Bright(), volume(plate)).add(at(20, 18, 15)).mask("1")
    assert np.array_equal(found, tube())


def test_scattered_pieces_are_followed_one_by_one() -> None:
    pieces = tube(4, 25, (10, 10)) | tube(8, 20, (30, 26))
    found = vs.Session(Bright(), volume(pieces)).add(at(10, 10, 15), at(30, 26, 15)).mask("1")
    assert np.array_equal(found, pieces)


def test_a_gap_between_seeds_is_closed() -> None:
    broken = tube(4, 12) | tube(18, 25)
    found = vs.Session(Bright(), volume(broken)).add(at(20, 18, 6), at(20, 18, 24)).mask("1")
    assert np.array_equal(found, tube(4, 25))


def test_a_box_with_depth_limits_the_walk() -> None:
    box = vs.Box.from_index(GRID, (13, 11, 10), (27, 25, 20))
    found = vs.Session(Bright(), volume(tube())).add(box).mask("1")
    assert np.array_equal(found, tube(10, 20))


def test_a_flat_box_across_the_plane_is_refused() -> None:
    with pytest.raises(vs.PromptError, match="--plane"):
        vs.Session(Bright(), volume(tube()), plane="axial").add(vs.Box.from_index(GRID, (20, 11, 8), (20, 25, 20)))


def test_a_correction_reruns_only_what_it_reaches() -> None:
    model = Bright()
    talk = vs.Session(model, volume(tube()), plane="axial")
    talk.add(at(20, 18, 6))
    talk.add(at(20, 18, 15))
    model.looks.clear()
    talk.add(at(20, 23, 22, positive=False))
    assert set(model.looks) == set(range(16, 26))  # up from the seed at 15 to the end; never below it


def test_a_negative_click_alone_corrects_a_slice_that_the_walk_had_reached() -> None:
    talk = vs.Session(Bright(), volume(tube()), plane="axial")
    before = talk.add(at(20, 18, 15)).mask("1")
    after = talk.add(at(20, 23, 20, positive=False)).mask("1")
    assert not after[20, 23, 20] and before[20, 23, 20]
    assert after[20, 18, 20] and np.array_equal(after[..., :15], before[..., :15])


def test_a_negative_click_in_the_middle_says_that_the_structure_is_not_there() -> None:
    talk = vs.Session(Bright(), volume(tube()), plane="axial")
    talk.add(at(20, 18, 15))
    assert np.array_equal(talk.add(at(20, 18, 22, positive=False)).mask("1"), tube(4, 21))


def test_several_components_in_one_mask_prompt() -> None:
    mask = np.zeros((1, *GRID.shape), bool)
    mask[0, 8:13, 8:13, 15] = mask[0, 28:33, 24:29, 15] = True
    pieces = tube(4, 25, (10, 10)) | tube(8, 20, (30, 26))
    found = vs.Session(Bright(), volume(pieces)).add(vs.MaskHint(vs.Volume(mask, GRID))).mask("1")
    assert np.array_equal(found, pieces)


def test_progress_names_each_slice() -> None:
    told: list[str] = []
    vs.Session(Bright(), volume(tube(13, 17)), plane="axial", progress=told.append).add(at(20, 18, 15))
    assert "axial slice 15" in told and len(told) == 7


def test_around_is_centred_and_cubic() -> None:
    frame = around(GRID, (5.0, 6.0, 7.0), (16, 16, 16), 1.5)
    assert np.allclose(frame.world((7.5, 7.5, 7.5)), (5, 6, 7)) and np.allclose(frame.spacing_mm, 1.5)


def test_slices_cover_the_grid_as_on_screen() -> None:
    views = list(slices(GRID, "sagittal"))
    assert len(views) == 40 and views[0].shape == (36, 30, 1) and views[0].codes[:2] == "PI"


def test_the_walk_stops_where_the_grey_changes() -> None:
    two = vs.Volume(np.where(tube(4, 14), 220, np.where(tube(15, 25), 110, 20)).astype(np.uint8)[None], GRID)
    found = vs.Session(Bright(), two).add(at(20, 18, 9)).mask("1")
    assert np.array_equal(found, tube(4, 14))


def test_a_seed_of_uneven_grey_is_followed() -> None:
    greys = np.where(tube(), np.where(X < 23, 105, 245), 95)
    found = vs.Session(Bright(), vs.Volume(greys.astype(np.uint8)[None], GRID), window=(0, 255)).add(at(20, 18, 15))
    assert np.array_equal(found.mask("1"), tube())


def test_the_walk_ends_where_hardly_anything_is_left() -> None:
    radius = np.clip(10 - (Z - 8), 1.5, 10)  # a cone from slice 8 on, with a thin tail
    cone = (radius**2 >= (X - 20) ** 2 + (Y - 18) ** 2) & (Z >= 8)
    found = vs.Session(Bright(), volume(cone), plane="axial").add(at(20, 18, 8)).mask("1")
    last = int(np.flatnonzero(found.any(axis=(0, 1)))[-1])
    assert 14 <= last <= 17 and np.array_equal(found[..., : last + 1], cone[..., : last + 1])


class Boxed(Bright):
    """Sees nothing outside of a box."""

    def segment(self, view: View) -> list[Cut]:
        logits = super().segment(view)[0].logits
        for low, high in view.cues.boxes[:, :, :2]:
            inside = [(low[axis] <= n) & (n <= high[axis]) for axis, n in enumerate(np.indices(logits.shape))]
            logits = np.where(inside[0] & inside[1], logits, -1)
        return [Cut(logits, 0.9)]


def test_a_structure_that_grows_leaves_the_box_around_the_slice_before() -> None:
    cone = ((X - 20) ** 2 + (Y - 18) ** 2 <= (3 + (Z - 8) / 2) ** 2) & (Z >= 8) & (Z <= 24)
    found = vs.Session(Boxed(), volume(cone), plane="axial").add(at(20, 18, 8)).mask("1")
    assert np.array_equal(found, cone)


class Sticky(Bright):
    """Keeps to a mask that it is given; without one it offers the component and, preferred, all that is bright."""

    def segment(self, view: View) -> list[Cut]:
        if view.cues.mask is not None:
            return [Cut(np.where(view.cues.mask[..., 0], 1, -1).astype(np.float32), 0.5)]
        everything = np.where(view.pixels[0, ..., 0] > 100, 1, -1).astype(np.float32)
        return [Cut(everything, 0.95), Cut(super().segment(view)[0].logits, 0.9)]


def test_a_positive_click_frees_a_slice_from_the_mask_that_reached_it() -> None:
    step = tube(4, 14) | (((X - 20) ** 2 + (Y - 18) ** 2 <= 49) & (Z > 14) & (Z < 25))
    talk = vs.Session(Sticky(), volume(step), plane="axial")
    before = talk.add(at(20, 18, 9)).mask("1")
    after = talk.add(at(26, 20, 20)).mask("1")
    assert not before[26, 20, 20] and np.array_equal(after[..., 20], step[..., 20])


def test_the_mask_that_is_like_the_nearest_slice_is_preferred() -> None:
    beside = tube(4, 20) | ((X > 30) & (Z > 12) & (Z < 20)) | tube(24, 25) | ((X > 30) & (Z > 23))
    talk = vs.Session(Sticky(), volume(beside), plane="axial")
    talk.add(at(20, 18, 9))
    found = talk.add(at(20, 18, 24)).mask("1")
    assert np.array_equal(found[..., 24], tube()[..., 24])
