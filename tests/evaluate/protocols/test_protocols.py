"""What each protocol says to a model and what it asks to be scored, on a volume whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from toy_models import Alike, Named, two_structures
from vesalius.errors import PromptError
from vesalius.evaluate.instances import split_components
from vesalius.evaluate.protocols import PROTOCOLS, find_protocol
from vesalius.evaluate.protocols.clicks import run, run_box
from vesalius.evaluate.protocols.jitter import moves
from vesalius.evaluate.protocols.slices import choose_slice, flat_box
from vesalius.evaluate.trial import Found, Objects, Offer, Trial, box_around, mask_of
from vesalius.prompts import Box, Example, Point
from vesalius.volume import Volume


def dice(found: Found, name: str) -> float:
    mask, truth = mask_of(found.prediction, name), found.reference.mask(name)
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


def test_the_second_click_finds_the_second_piece_and_nothing_is_clicked_without_an_error() -> None:
    model, trial = Alike(), two_structures()
    found = list(run(model, trial))
    assert [each.setting for each in found] == ["1 click", "2 clicks", "3 clicks", "4 clicks", "5 clicks"]
    assert 0.8 < dice(found[0], "low") < 1 and dice(found[1], "low") == dice(found[0], "high") == 1
    assert [target for target, _ in dict.fromkeys(model.heard)] == ["low", "high", "low"]
    assert all(each.asked == ("low", "high") for each in found)
    assert found[0].seconds > 0 and found[-1].seconds == 0  # nothing was left to say


def test_boxes_are_tight() -> None:
    model, trial = Alike(), two_structures()
    (found,) = run_box(model, trial)
    (_, low), (_, high) = model.heard
    assert high == Box.from_index(trial.image.grid, (13, 4, 3), (21, 14, 9))
    assert low == Box.from_index(trial.image.grid, (2, 3, 2), (9, 17, 7))
    assert found.setting == "box" and dice(found, "high") == 1


def test_jittered_boxes_miss_by_at_most_their_part_and_are_the_same_for_every_model() -> None:
    trial = two_structures()
    first, second = Alike(), Alike()
    settings = [each.setting for each in find_protocol("jitter").run(first, trial)]
    assert settings[:2] == ["0 %", "5 %, draw 1"] and settings[-1] == "30 %, draw 3" and len(settings) == 13
    assert list(find_protocol("jitter").run(second, trial)) and first.heard == second.heard
    tight = trial.image.grid.index(box_around(trial.reference.mask("high"), trial.image.grid).corners())
    for n, (_, box) in enumerate(each for each in first.heard if each[0] == "high"):
        part = (0, *np.repeat([0.05, 0.1, 0.2, 0.3], 3))[n]
        index = trial.image.grid.index(box.corners())
        assert (abs(index - tight).max(axis=0) <= part * np.array([9, 11, 7]) + 1e-9).all()
    assert len({box for _, box in first.heard}) == len(first.heard)


def test_a_flat_target_stays_flat() -> None:
    mask = np.zeros((9, 9, 1), bool)
    mask[2:6, 3:5] = True
    assert (moves(mask, 0.5, 1)[:, 2] == 0).all() and (moves(mask, 0.5, 1)[:, :2] != 0).all()


def test_slices_are_chosen_along_the_plane() -> None:
    trial = two_structures()
    mask, grid = trial.reference.mask("low"), trial.image.grid
    assert [choose_slice(mask, grid, "axial", each) for each in ("first", "middle", "last")] == [(2, 2), (2, 5), (2, 7)]
    assert choose_slice(mask, grid, "coronal", "largest")[0] == 1
    assert flat_box(mask, grid, "axial", "first") == Box.from_index(grid, (2, 3, 2), (9, 11, 2))


def test_one_way_and_the_other_way_meet_in_the_middle() -> None:
    trial = two_structures()
    found = {each.setting: each for each in find_protocol("slices").run(Alike("box"), trial)}
    assert len(found) == 3 * 4 + 2
    flat = mask_of(found["axial, middle slice, one way"].prediction, "high")
    assert flat.any() and not (flat & ~trial.reference.mask("high")).any()
    picture = Volume(trial.image.voxels[..., :1], trial.image.grid.crop((0, 0, 0), (24, 20, 1)))
    with pytest.raises(PromptError, match="needs volumes"):
        next(iter(find_protocol("slices").run(Alike("box"), replace(trial, image=picture))))


def test_names_are_asked_for_also_where_they_are_absent() -> None:
    protocol = find_protocol("named")
    (found,) = rounds = list(protocol.run(Named(), two_structures()))
    assert found.asked == ("low", "high", "ghost") and dice(found, "low") == dice(found, "high") == 1
    assert protocol.summarise is not None
    scores = protocol.summarise(rounds)
    assert scores["absent"] == scores["false positive rate"] == 1
    assert scores["false positive ml"] == pytest.approx(24 * 2.5 / 1000)


def test_objects_are_asked_for_by_their_kind_and_counted() -> None:
    trial, protocol = two_structures(), find_protocol("named")
    values = split_components(trial.reference.mask("low"))
    values[20:, 16:, 10:] = 7  # has the grey of what is around it, so the model misses it
    (found,) = rounds = list(protocol.run(Named(), replace(trial, objects=Objects("low", values))))
    assert found.asked == ("low",) and found.reference.mask("low").sum() == (values > 0).sum()
    assert protocol.summarise is not None
    scores = protocol.summarise(rounds)
    assert scores["F1"] == pytest.approx(4 / 5) and scores["DSC_TP"] == 1
    assert "F1" not in protocol.summarise(list(protocol.run(Named(), trial)))


def test_a_model_without_a_common_name_says_what_it_knows() -> None:
    model = Named()
    model.card = replace(model.card, labels=("heart", "lung"))
    with pytest.raises(PromptError, match="names none of low, high, ghost; its structures are heart, lung"):
        list(find_protocol("named").run(model, two_structures()))


def with_offers(trial: Trial) -> Trial:
    other = two_structures(seed=1)

    def read(structure: str) -> Example | None:
        mask = other.reference.mask(structure)
        return Example(other.image, Volume(mask[None], other.image.grid)) if mask.any() else None

    offers = [Offer(origin, str(n), ("low", "high", "ghost"), read) for n in range(4) for origin in ("made", "far")]
    return replace(trial, offers=(*offers, Offer("empty", "1", ("ghost",), lambda structure: None)))


def test_episodes_draw_as_many_examples_as_they_say() -> None:
    model, trial = Alike("example"), with_offers(two_structures())
    found = list(find_protocol("few-shot").run(model, trial))
    assert [each.setting for each in found][::3] == [
        f"{n} example{s}, episode 1" for n, s in ((1, ""), (2, "s"), (4, "s"))
    ]
    assert len(model.heard) == 2 * 3 * (1 + 2 + 4) and dice(found[0], "high") == 1


def test_transfer_asks_with_the_examples_of_each_set_the_own_one_first() -> None:
    found = list(find_protocol("transfer").run(Alike("example"), with_offers(two_structures())))
    assert [each.setting for each in found] == ["from the same set", "from far"]


def test_corruptions_keep_the_prompts_and_crops_the_reference_that_is_left() -> None:
    model, trial = Alike(), two_structures()
    found = {each.setting: each for each in find_protocol("corruption").run(model, trial)}
    assert len(found) == 1 + 7 * 3 and dice(found["none"], "high") == 1
    boxes = [prompt for target, prompt in model.heard if target == "high"]
    assert boxes.count(boxes[0]) == 1 + 6 * 3 and isinstance(boxes[0], Box)
    assert dice(found["noise 3"], "high") < dice(found["noise 1"], "high") <= 1
    left = found["crop 3"].reference
    assert left.grid.shape[0] < 24 and left.mask("low").any()
    assert isinstance(next(prompt for _, prompt in asked_with_clicks()), Point)


def asked_with_clicks() -> list[tuple[str, object]]:
    model = Alike("point")
    next(iter(find_protocol("corruption").run(model, two_structures())))
    return model.heard


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_refuses_a_model_that_it_cannot_ask(name: str) -> None:
    with pytest.raises(PromptError, match=f"{name} gives .* and like takes lasso"):
        find_protocol(name).check(Alike("lasso").card)
    find_protocol(name).check(Alike("box point named example").card)


def test_an_unknown_protocol_is_named_with_those_that_there_are() -> None:
    with pytest.raises(PromptError, match="no protocol 'cvpr'; use one of clicks, box"):
        find_protocol("cvpr")
