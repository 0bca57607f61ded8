"""The CVPR 2024 and 2025 challenges: their scripts' numbers on fixed predictions, and what a model is told.

The numbers were recorded from `CVPR25_iter_eval.py` and `compute_metrics.py` (with the latter's rule for pictures).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import ndimage

from phantoms import ORDERS
from toy_models import Alike, two_structures
from vesalius.evaluate.protocols import find_protocol
from vesalius.evaluate.protocols.challenge import challenge_spacing, score_as_challenge, score_objects_as_challenge
from vesalius.evaluate.protocols.cvpr2025 import area_under, middle_box, summarise
from vesalius.evaluate.trial import Found, Objects
from vesalius.grid import Grid, make_grid
from vesalius.labels import LabelSpace
from vesalius.prompts import Box
from vesalius.segmentation import Segmentation

SPACING = (0.8, 1.5, 3.0)  # x, y, z, as the challenge's files hold it
RECORDED = {
    0: (
        (0.4499112607504, 0.4739258991111, 0.5366300203100, 0.6145568159317, 0.7378769167869, 0.9070524696871),
        (0.7617074974251, 0.7575989989175, 0.8076982275079, 0.8668157108326, 0.9211666000524, 0.9873677239819),
        (2.5795529374277, 3.4681638998427),
    ),
    1: (
        (0.3719026703999, 0.4525488875655, 0.4994990653116, 0.6108106226704, 0.6699872900234, 0.9085798659296),
        (0.6824491147111, 0.7278204133848, 0.7677446987416, 0.8493961147116, 0.8923302374106, 0.9917893305193),
        (2.4608613547530, 3.3692759228159),
    ),
}
RECORDED_OBJECTS = {  # F1 and DSC_TP of `CVPR25_text_eval.py`
    0: (0.5454545454545454, 0.7872436286182715),
    1: (0.7368421052631577, 0.8080174175265222),
    2: (0.34782608695652173, 0.7971536969590343),
}


def arrays(seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The reference and six predictions, ever better, as arrays [z, y, x]."""
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.normal(size=(12, 20, 24)), 2) for _ in range(3)]
    truth = np.where(np.max(fields, 0) > 0.05, 1 + np.argmax(fields, 0), 0)
    for n in range(6):
        noise = [ndimage.gaussian_filter(rng.normal(size=truth.shape), 1.5) * (1.1 - 0.2 * n) for _ in fields]
        worse = np.add(fields, noise)
        yield truth, np.where(np.max(worse, 0) > 0.05, 1 + np.argmax(worse, 0), 0)


def labelled(array: np.ndarray, grid: Grid) -> Segmentation:
    places = {name: (0, value) for value, name in enumerate(("one", "two", "three"), start=1)}
    layers = array.transpose(2, 1, 0)[None].astype(np.uint8)
    return Segmentation(layers, grid, LabelSpace.of(places), places, frozenset(places))


def rounds(seed: int, codes: str = "LPS", seconds: float = 1.0) -> list[Found]:
    grid = make_grid((24, 20, 12), np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1]))
    turned = grid.orient(codes)
    return [
        Found(f"round {n}", labelled(found, grid).to(turned), labelled(truth, grid).to(turned), seconds, ("one",) * 3)
        for n, (truth, found) in enumerate(arrays(seed))
    ]


@pytest.mark.parametrize("seed", RECORDED)
def test_the_scores_are_those_of_the_official_script(seed: int) -> None:
    dice, nsd, areas = RECORDED[seed]
    scores = [score_as_challenge(each.prediction, each.reference) for each in rounds(seed)]
    assert np.allclose(scores, np.stack([dice, nsd], axis=1), rtol=0, atol=1e-12)
    assert (area_under(dice), area_under(nsd)) == pytest.approx(areas, abs=1e-12)
    summary = summarise(rounds(seed))
    assert (summary["DSC_AUC"], summary["NSD_AUC"]) == pytest.approx(areas, abs=1e-12)
    assert (summary["DSC_Final"], summary["NSD_Final"]) == pytest.approx((dice[-1], nsd[-1]), abs=1e-12)


@pytest.mark.parametrize("codes", ORDERS[::11])
def test_they_do_not_depend_on_the_storage_order(codes: str) -> None:
    assert summarise(rounds(0, codes)) == pytest.approx(summarise(rounds(0)))


def test_a_case_that_takes_too_long_is_late() -> None:
    assert summarise(rounds(0, seconds=44.9))["late"] == 0
    assert summarise(rounds(0, seconds=45.1))["late"] == 1  # six rounds, three structures of 90 s


def test_a_picture_is_one_voxel_thick_and_its_pixels_are_the_unit() -> None:
    truth, found = list(arrays(0))[3]
    grid = make_grid((24, 20, 1), np.diag([-2, -2, 1, 1]), calibrated=False)
    scores = score_as_challenge(labelled(found[3:4], grid), labelled(truth[3:4], grid))
    assert scores == pytest.approx((0.5365308441715, 0.7812907422743), abs=1e-12)
    assert challenge_spacing(grid) == (1, 1, 1)


def test_nsd_is_zero_where_dice_is_small_and_nothing_is_scored_against_nothing() -> None:
    trial = two_structures()
    empty = Segmentation(np.zeros_like(trial.reference.layers), trial.image.grid, LabelSpace(), {})
    assert score_as_challenge(empty, trial.reference) == (0, 0)
    assert np.isnan(score_as_challenge(trial.reference, empty)).all()


@pytest.mark.parametrize(("seed", "scores"), RECORDED_OBJECTS.items())
def test_objects_are_scored_as_by_the_script_of_the_text_track(seed: int, scores: tuple[float, float]) -> None:
    rng = np.random.default_rng(seed)
    field, noise = (ndimage.gaussian_filter(rng.normal(size=(12, 30, 36)), 1.5) for _ in range(2))
    objects = Objects("nodule", ndimage.label(field > 0.07)[0])
    found = field + 0.2 * noise > 0.07
    assert score_objects_as_challenge(found, objects) == pytest.approx(scores, abs=1e-12)
    assert score_objects_as_challenge(np.zeros_like(found), objects) == (0, 0)
    f1, dice = score_objects_as_challenge(np.zeros_like(found), Objects("nodule", np.zeros(found.shape, np.int32)))
    assert np.isnan(f1) and dice == 0


def test_the_box_has_all_slices_and_the_extent_of_the_middle_one() -> None:
    mask = np.zeros((256, 256, 9), bool)
    mask[100:120, 60:90, 2:8] = True
    mask[110:200, 60:90, 7] = True
    grid = make_grid(mask.shape, np.diag([-1.0, -1, 3, 1]))
    boxes = {middle_box(mask, grid, seed) for seed in range(40)}
    assert boxes == {Box.from_index(grid, (100 - n, 60 - n, 2), (119 + n, 89 + n, 7)) for n in range(6)}


def test_a_model_hears_a_box_and_then_clicks_and_its_mask_gets_better() -> None:
    model, trial = Alike(), two_structures()
    protocol = find_protocol("cvpr2025")
    found = list(protocol.run(model, trial))
    assert [each.setting for each in found] == ["box", "1 click", "2 clicks", "3 clicks", "4 clicks", "5 clicks"]
    assert [type(prompt).__name__ for _, prompt in model.heard[:2]] == ["Box", "Box"]
    scores = protocol.summarise(found) if protocol.summarise else {}
    assert scores["DSC_Final"] == scores["NSD_Final"] == 1 and 3.5 < scores["DSC_AUC"] <= 4
    without = list(protocol.run(Alike("point"), trial))
    assert [each.setting for each in without] == [each.setting for each in found[1:]]


def test_the_box_track_gives_one_answer_and_its_time() -> None:
    protocol = find_protocol("cvpr2024")
    found = list(protocol.run(Alike(), two_structures()))
    scores = protocol.summarise(found) if protocol.summarise else {}
    assert scores["RunningTime"] == found[0].seconds > 0
    assert scores["DSC"] == score_as_challenge(found[0].prediction, found[0].reference)[0] > 0.8
