"""nnInteractive: what is drawn for each prompt, how far out it looks, what it refines, and what it remembers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

import vesalius as vs
from vesalius.hub import random_model
from vesalius.models.nninteractive import (
    Case,
    Mark,
    NnInteractive,
    border_changed,
    last_start,
    open_changes,
    plan_windows,
    point_ball,
    statistics,
)
from vesalius.prompts import Prompt
from vesalius.zoo.nninteractive import NNINTERACTIVE

# Stored as the network sees it, so that indices are the network's.
GRID = vs.make_grid((24, 28, 32), [[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
AXIAL, SAGITTAL = 0, 2  # the index axis across each plane


@pytest.fixture
def model() -> NnInteractive:
    built: NnInteractive = random_model(NNINTERACTIVE)
    return built


class SeesBright(NnInteractive):
    """Finds every voxel of its input that is brighter than the mean, and notes how it was asked."""

    def predict(self, seen: torch.Tensor) -> np.ndarray:
        self.seen = [*getattr(self, "seen", []), seen]
        return (seen[0] > 0).numpy()


@pytest.fixture
def bright() -> NnInteractive:
    card = NNINTERACTIVE
    built = SeesBright({**card.options, **card.tiny})
    built.card = card
    return built


def block(low: Sequence[int], high: Sequence[int], grid: vs.Grid = GRID) -> np.ndarray:
    """A mask that is true between two indices."""
    mask = np.zeros(grid.shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def image(mask: np.ndarray, grid: vs.Grid = GRID) -> vs.Volume:
    """A dark image of which a part is bright."""
    return vs.Volume(np.where(mask, 900, 100).astype(np.int16)[None], grid)


def hint(mask: np.ndarray, positive: bool = True) -> vs.MaskHint:
    return vs.MaskHint(vs.Volume(mask[None], GRID), positive)


def outline(corners: Sequence[Sequence[float]], positive: bool = True) -> vs.Lasso:
    return vs.Lasso(tuple(map(tuple, GRID.world(corners))), positive)


def drawn(model: NnInteractive, prompt: Prompt, normal: int = AXIAL) -> tuple[int, np.ndarray]:
    """The channel that a prompt is drawn into, and where."""
    mark = model.mark(prompt, GRID, normal)
    case = Case(np.ones((1, *GRID.shape)), 0, 1, model.fade([mark]), np.zeros(GRID.shape, bool))
    seen = model.look(case, np.zeros(3, int), np.array(GRID.shape))[1:].numpy()
    assert {n for n in range(len(seen)) if seen[n].any()} == {mark.channel}
    return mark.channel, seen[mark.channel]


def test_the_test_grid_is_the_networks_orientation() -> None:
    assert GRID.codes == NNINTERACTIVE.orientation


@pytest.mark.parametrize("positive", [True, False])
def test_each_kind_of_prompt_has_a_channel_for_each_sign(model: NnInteractive, positive: bool) -> None:
    corners = [(5, 4, 4), (5, 4, 12), (5, 12, 12), (5, 12, 4)]
    said = {
        "bbox2d": vs.Box.from_index(GRID, (5, 4, 4), (5, 12, 12), positive),
        "lasso": outline(corners, positive),
        "points": vs.Point.from_index(GRID, (5, 8, 8), positive),
        "scribble": vs.Scribble(tuple(map(tuple, GRID.world(corners[:2]))), positive),
    }
    for kind, prompt in said.items():
        channel, seen = drawn(model, prompt)
        assert channel == model.channels[kind][0 if positive else 1]
        assert seen[5, 4:13, 4:13].max() == 1


def test_a_click_is_a_ball_that_fades_outwards_and_is_cut_at_the_border(model: NnInteractive) -> None:
    _, seen = drawn(model, vs.Point.from_index(GRID, (1.4, 8, 8)))
    assert np.argwhere(seen == 1).tolist() == [[1, 8, 8]]
    assert seen[1, 8, 4] > 0 and seen[1, 8, 3] == 0 and seen[5, 8, 8] > 0
    assert (np.diff(seen[1, 8, 4:9]) > 0).all()
    assert point_ball((4, 3, 2)).shape == (9, 7, 5)


def test_a_box_with_depth_becomes_the_middle_slice_of_the_plane(model: NnInteractive) -> None:
    box = vs.Box.from_index(GRID, (2, 4, 6), (8, 10, 12))
    assert np.array_equal(drawn(model, box, AXIAL)[1] > 0, block((5, 4, 6), (6, 11, 13)))
    assert np.array_equal(drawn(model, box, SAGITTAL)[1] > 0, block((2, 4, 9), (9, 11, 10)))


def test_a_flat_box_stays_in_its_slice_whatever_the_plane(model: NnInteractive) -> None:
    box = vs.Box.from_index(GRID, (2, 7, 6), (8, 7, 12))
    assert np.array_equal(drawn(model, box, AXIAL)[1] > 0, block((2, 7, 6), (9, 8, 13)))


def test_a_checkpoint_that_knows_boxes_with_depth_gets_them(model: NnInteractive) -> None:
    model.channels["bbox3d"] = [3, 4]
    channel, seen = drawn(model, vs.Box.from_index(GRID, (2, 4, 6), (8, 10, 12)))
    assert channel == 3 and np.array_equal(seen > 0, block((2, 4, 6), (9, 11, 13)))


def test_a_lasso_is_filled_in_its_slice(model: NnInteractive) -> None:
    _, seen = drawn(model, outline([(4, 7, 5), (9, 7, 5), (9, 7, 12), (4, 7, 12)]))
    assert np.array_equal(seen > 0, block((4, 7, 5), (10, 8, 13)))


def test_a_lasso_across_slices_is_refused(model: NnInteractive) -> None:
    with pytest.raises(vs.PromptError, match="not drawn in one slice"):
        drawn(model, outline([(4, 7, 5), (9, 12, 9), (14, 16, 14)]))


def test_a_scribble_is_thick_within_its_slice_only(model: NnInteractive) -> None:
    line = vs.Scribble(tuple(map(tuple, GRID.world([(5, 8, 8), (5, 8, 20)]))))
    assert np.array_equal(drawn(model, line)[1] > 0, block((5, 7, 7), (6, 10, 22)))


def test_older_marks_are_fainter(model: NnInteractive) -> None:
    points = [vs.Point.from_index(GRID, (5, 8, at)) for at in (4, 14, 24)]
    marks = model.fade([model.mark(point, GRID, AXIAL) for point in points])
    case = Case(np.ones((1, *GRID.shape)), 0, 1, marks, np.zeros(GRID.shape, bool))
    seen = model.look(case, np.zeros(3, int), np.array(GRID.shape))[1 + model.channels["points"][0]]
    assert seen[5, 8, [4, 14, 24]].tolist() == pytest.approx([0.81, 0.9, 1], abs=1e-3)


def test_hundreds_of_marks_do_not_overflow(model: NnInteractive) -> None:
    marks = model.fade([model.mark(vs.Point.from_index(GRID, (5, 8, 8)), GRID, AXIAL)] * 400)
    assert np.isfinite(np.float16(marks[-1].strength)) and marks[-1].strength > marks[-2].strength > 0


def test_the_image_is_normalised_by_the_box_around_what_is_not_zero() -> None:
    pixels = np.zeros((1, 10, 10, 10), np.int16)
    pixels[0, 2:6, 2:6, 2:6] = np.arange(64).reshape(4, 4, 4)
    inside = pixels[0, 2:6, 2:6, 2:6]
    assert statistics(pixels) == pytest.approx((inside.mean(), inside.std(ddof=1)))
    assert statistics(np.zeros((1, 3, 3, 3)))[1] > 0


def test_a_large_structure_is_found_by_zooming_out_and_refined(bright: NnInteractive) -> None:
    grid = GRID.crop((0, 0, 0), (60, 50, 40))
    truth = block((8, 6, 4), (52, 44, 37), grid)
    found = vs.Session(bright, image(truth, grid)).add(vs.Point.from_index(grid, (30, 25, 20)))
    assert np.array_equal(found.mask("1"), truth)


def test_what_is_too_thin_to_be_refined_stays_as_it_was_seen_from_afar(bright: NnInteractive) -> None:
    """A rod between two blocks, that no window at full resolution looks at."""
    before = np.zeros((60, 16, 16), bool)
    coarse = before.copy()
    coarse[2:10], coarse[50:58], coarse[:, 7:9, 7:9] = True, True, True
    case = Case(np.zeros((1, *coarse.shape)), 0, 1, (), coarse.copy())
    windows = plan_windows(open_changes(coarse), bright.patch)
    mask = bright.refine(case, before, windows)
    seen = np.zeros_like(before)
    for start in windows:
        seen[tuple(slice(max(0, n), n + 16) for n in start)] = True
    assert not seen.all() and not mask[seen].any()  # from near nothing is there
    assert np.array_equal(mask[~seen], coarse[~seen]) and mask.any()


def test_a_structure_inside_the_patch_is_answered_by_one_look(bright: NnInteractive) -> None:
    truth = block((8, 10, 10), (14, 16, 16))
    found = vs.Session(bright, image(truth)).add(vs.Point.from_index(GRID, (11, 13, 13)))
    assert np.array_equal(found.mask("1"), truth) and len(bright.seen) == 1


def test_what_a_new_prompt_does_not_reach_stays(bright: NnInteractive) -> None:
    near, far = block((1, 1, 1), (6, 6, 6)), block((17, 21, 25), (22, 26, 30))
    session = vs.Session(bright, image(near | far))
    assert np.array_equal(session.add(vs.Point.from_index(GRID, (3, 3, 3))).mask("1"), near)
    assert np.array_equal(session.add(vs.Point.from_index(GRID, (20, 24, 28))).mask("1"), near | far)
    assert np.array_equal(session.undo().mask("1"), near)


def test_the_mask_before_is_a_channel(bright: NnInteractive) -> None:
    truth = block((8, 10, 10), (14, 16, 16))
    session = vs.Session(bright, image(truth))
    session.add(vs.Point.from_index(GRID, (11, 13, 13)))
    session.add(vs.Point.from_index(GRID, (11, 13, 14), positive=False))
    first, second = (seen[1 + bright.channels["prev_seg"]] for seen in bright.seen)
    assert not first.any() and second.sum() == truth.sum()


def test_a_mask_makes_forget_what_was_said_before_it(bright: NnInteractive) -> None:
    session = vs.Session(bright, image(block((8, 10, 10), (14, 16, 16))))
    session.add(vs.Point.from_index(GRID, (11, 13, 13)))
    session.add(hint(block((9, 11, 11), (13, 15, 15))), vs.Point.from_index(GRID, (11, 13, 15), positive=False))
    seen = bright.seen[-1]
    assert not seen[1 + bright.channels["points"][0]].any() and seen[1 + bright.channels["points"][1]].max() == 1
    assert seen[1 + bright.channels["prev_seg"]].sum() == 64


def test_a_mask_alone_is_refined_as_a_whole(bright: NnInteractive) -> None:
    truth = block((3, 3, 3), (21, 25, 29))
    found = vs.Session(bright, image(truth)).add(hint(block((2, 2, 2), (20, 24, 28))))
    assert np.array_equal(found.mask("1"), truth)


def test_an_empty_mask_stays_empty(bright: NnInteractive) -> None:
    found = vs.Session(bright, image(block((3, 3, 3), (9, 9, 9)))).add(hint(np.zeros(GRID.shape, bool)))
    assert not found.mask("1").any() and not hasattr(bright, "seen")


def test_a_negative_mask_is_drawn_as_a_negative_lasso(model: NnInteractive) -> None:
    area = block((4, 5, 6), (8, 9, 10))
    channel, seen = drawn(model, hint(area, positive=False))
    assert channel == model.channels["lasso"][1] and np.array_equal(seen > 0, area)
    assert last_start([[hint(area, positive=False)], [hint(area)], [hint(area, positive=False)]]) == 1


def test_thin_marks_survive_a_zoom(model: NnInteractive) -> None:
    """A line one voxel wide would lose most of its strength where 3 x 3 x 3 voxels become one."""
    mark = Mark(5, np.array([16, 24, 8]), np.ones((1, 1, 32), np.float32), np.zeros(3, int), np.zeros(3, int))
    case = Case(np.ones((1, 48, 48, 48)), 0, 1, model.fade([mark]), np.zeros((48, 48, 48), bool))
    seen = model.look(case, np.zeros(3, int), model.patch, zoom=3)[1 + 5]
    assert seen.max() > 0.6


def test_outside_of_the_image_everything_is_zero(model: NnInteractive) -> None:
    case = Case(np.full((1, *GRID.shape), 7.0), 0, 1, (), np.ones(GRID.shape, bool))
    for zoom in (1.0, 2.0):
        seen = model.look(case, np.array([-8, 0, 0]), model.patch, zoom)
        edge = int(8 / zoom)
        assert not seen[:, : edge - 1].any() and (seen[0, edge + 1 :, :13, :13] == 7).all()


def test_small_changes_at_the_border_do_not_zoom_out() -> None:
    before, inside = np.zeros((2, 48, 48, 48), bool)
    inside[0, :9, :11] = True
    assert not border_changed(inside, before)
    inside[0, :10, :11] = True
    assert border_changed(inside, before)
    assert not border_changed(inside, inside)


def test_windows_cover_all_changes_the_fullest_first() -> None:
    patch = np.array([16, 16, 16])
    area = block((1, 1, 1), (23, 27, 31))
    covered = np.zeros(area.shape, bool)
    counts = []
    for start in plan_windows(area, patch):
        inner = tuple(slice(max(0, s + 2), s + 14) for s in start)
        counts.append(area[inner].sum())
        covered[inner] = True
    assert (covered | ~area).all() and counts == sorted(counts, reverse=True)
    assert plan_windows(np.zeros(area.shape, bool), patch) == []


def test_thin_changes_are_not_refined() -> None:
    assert not open_changes(block((3, 3, 3), (7, 20, 20))).any()
    assert np.array_equal(open_changes(block((3, 3, 3), (8, 20, 20))), block((3, 3, 3), (8, 20, 20)))


def test_an_image_of_several_contrasts_is_refused(bright: NnInteractive) -> None:
    session = vs.Session(bright, vs.Volume(np.ones((4, *GRID.shape)), GRID))
    with pytest.raises(vs.PromptError, match="4 channels: choose one"):
        session.add(vs.Point.from_index(GRID, (5, 8, 8)))
