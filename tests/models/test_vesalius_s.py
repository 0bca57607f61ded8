"""vesalius-s on a tiny random network: where it starts from, what it draws, and that drawn prompts reach the mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from vesalius.grid import make_grid
from vesalius.layers.prompt_tokens import tokenize
from vesalius.models import vesalius_s
from vesalius.models.sam import Sam
from vesalius.models.vesalius_s import (
    Frame,
    Seen,
    VesaliusS,
    closeness,
    draw_strokes,
    first_crop,
    is_cut_off,
    mask_logits,
    move_logits,
    restore,
)
from vesalius.scene import Cues, View

OPTIONS = {"encoder": "tiny_vit_nano", "size": 64}


@pytest.fixture(scope="module")
def model() -> VesaliusS:
    torch.manual_seed(0)
    return VesaliusS(OPTIONS).eval()


@torch.inference_mode()
def test_it_starts_as_the_mobile_sam_that_it_is_given(model: VesaliusS) -> None:
    torch.manual_seed(1)
    start = Sam({**OPTIONS, "preprocess": "sam"}).eval()
    fresh = VesaliusS(OPTIONS).eval()
    missing, unexpected = fresh.load_state_dict(start.state_dict(), strict=False)
    assert not unexpected and {name.split(".")[0] for name in missing} == {"skips", "drawing", "mask_decoder"}
    pixels = torch.randn(1, 3, 64, 64)
    places, signs = tokenize(torch.tensor([[[30.0, 20.0]]]), torch.tensor([[1]]), torch.tensor([[8.0, 9, 50, 40]]))
    low, quality = start.decode_all(start.encode(pixels), places, signs, None)
    masks, dice = fresh.decode(fresh.encode(pixels), places, signs, None, None)
    twice = torch.nn.functional.interpolate(low, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(masks, twice)
    torch.testing.assert_close(dice, quality)


def test_a_drawn_line_lands_on_its_pixels() -> None:
    frame = Frame(64, (64, 32), (128, 64))
    line = np.array([[4.0, 20.0, 0.0], [60.0, 20.0, 0.0]])
    maps = draw_strokes(Cues(strokes=((line, True),)), frame)
    assert maps is not None and maps.shape == (1, 2, 32, 32) and not maps[0, 1].any()
    rows, columns = torch.nonzero(maps[0, 0], as_tuple=True)
    assert abs(rows.float().mean() - 5) < 0.7 and columns.min() <= 1 and 14 <= columns.max() <= 16
    assert draw_strokes(Cues(), frame) is None


def test_a_mask_comes_back_where_it_was() -> None:
    frame = Frame(64, (48, 64), (30, 40))
    mask = np.zeros((40, 30, 1), dtype=bool)
    mask[5:20, 8:25] = True
    logits = mask_logits(Cues(mask=mask), frame)
    assert logits is not None
    np.testing.assert_array_equal(restore(logits, frame)[0, 0].numpy().T > 0, mask[..., 0])


@torch.inference_mode()
def test_every_kind_of_prompt_changes_the_answer(model: VesaliusS) -> None:
    for layer in (model.mask_decoder.fine_mlps[0].layers[2], model.drawing.embedding):
        torch.nn.init.normal_(layer.weight, std=0.3)  # they start from nothing
    features, frame = model.encode(torch.randn(1, 3, 64, 64)), Frame(64, (64, 64), (64, 64))
    line = np.array([[10.0, 10, 0], [50, 10, 0]])
    mask = np.zeros((64, 64, 1), dtype=bool)
    mask[:30] = True
    said = {
        "nothing": Cues(),
        "point": Cues(points=np.array([[30.0, 30, 0]]), positive=np.array([True])),
        "negative": Cues(points=np.array([[30.0, 30, 0]]), positive=np.array([False])),
        "box": Cues(boxes=np.array([[[10.0, 10, 0], [40, 40, 0]]])),
        "stroke": Cues(strokes=((line, True),)),
        "negative stroke": Cues(strokes=((line, False),)),
        "mask": Cues(mask=mask),
    }
    answers = {kind: model.answer(features, frame, [cues])[0][0] for kind, cues in said.items()}
    kinds = list(answers)
    for one in range(len(kinds)):
        for other in range(one):
            assert (answers[kinds[one]] - answers[kinds[other]]).abs().max() > 1e-4, (kinds[one], kinds[other])


@torch.inference_mode()
def test_one_embedding_serves_many_prompts(model: VesaliusS) -> None:
    features = model.encode(torch.randn(1, 3, 64, 64))
    places = torch.tensor([[[12.0, 40]], [[40.0, 12]], [[5.0, 5]]])
    signs = torch.tensor([[1], [0], [1]])
    masks, dice = model.decode(features, places, signs, None, None)
    for row in range(3):
        alone, judged = model.decode(features, places[row : row + 1], signs[row : row + 1], None, None)
        torch.testing.assert_close(masks[row : row + 1], alone, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(dice[row : row + 1], judged, rtol=1e-4, atol=1e-4)


def test_what_lies_near_a_click_tells_a_mask_around_it_from_one_beside_it() -> None:
    masks = torch.zeros(1, 2, 16, 16)
    masks[0, 0, 4:12, 4:12], masks[0, 1, 4:12, 12:] = 1, 1
    places = torch.tensor([[[31.5, 31.5], [0, 0]]])  # the middle of the first mask, and padding
    near = closeness(masks, places, torch.tensor([[1, -1]]))[0].unflatten(1, (-1, 2))
    around, beside = near[:, :, 0]
    assert around[0] > 0.99 and beside[0] < 0.01
    assert (around.diff() < 0).all() and (beside[:3].diff() > 0).all()  # the further, the less and the more
    assert not near[:, :, 1].any()  # nothing negative was said
    negative = closeness(masks, places, torch.tensor([[0, -1]]))[0].unflatten(1, (-1, 2))
    torch.testing.assert_close(negative[:, :, 1], near[:, :, 0])


@torch.inference_mode()
def test_the_critic_sees_the_other_masks() -> None:
    decoder = VesaliusS(OPTIONS).mask_decoder
    torch.nn.init.normal_(decoder.critic[2].weight)
    masks, tokens, image = torch.randn(1, 4, 32, 32), torch.randn(1, 5, 256), torch.randn(1, 32, 16, 16)
    clicks = torch.tensor([[[20.0, 20]]]), torch.tensor([[1]])
    before = decoder.quality(masks, tokens, image, clicks)
    masks[:, 3] += 3
    after = decoder.quality(masks, tokens, image, clicks)
    assert ((after - before).abs() > 1e-5).all()
    elsewhere = decoder.quality(masks, tokens, image, (clicks[0] + 30, clicks[1]))
    assert ((elsewhere - after).abs() > 1e-5).all()


def test_a_box_reaches_the_outer_edges_of_its_pixels(model: VesaliusS, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of 16 pixels is enlarged four times: its pixels 2 to 5 are 8 to 23 of the network's input."""
    seen = []
    monkeypatch.setattr(vesalius_s, "tokenize", lambda *said: (seen.append(said), tokenize(*said))[1])
    frame = Frame(64, (64, 64), (16, 16))
    cues = Cues(np.array([[3.0, 3, 0]]), np.array([True]), np.array([[[2.0, 2, 0], [5, 5, 0]]]))
    model.answer(model.encode(torch.zeros(1, 3, 64, 64)), frame, [cues])
    points, _, boxes = seen[0]
    assert boxes.tolist() == [[8, 8, 23, 23]] and points.tolist() == [[[13.5, 13.5]]]


PICTURE = (300, 200)  # columns and rows


def boxed(low: tuple[int, int], high: tuple[int, int]) -> Cues:
    return Cues(boxes=np.array([[[*low, 0], [*high, 0]]], dtype=float))


def test_a_box_is_looked_at_from_near_and_a_click_from_far() -> None:
    assert first_crop(boxed((100, 80), (129, 99)), PICTURE) == (70, 45, 160, 135)  # 90 = three times 30
    assert first_crop(boxed((0, 0), (9, 9)), PICTURE) == (0, 0, 48, 48)  # not nearer than that, and inside
    assert first_crop(boxed((10, 10), (200, 150)), PICTURE) == (0, 0, 300, 200)
    click = Cues(points=np.array([[100.0, 80, 0]]), positive=np.array([True]))
    assert first_crop(click, PICTURE) == (0, 0, 300, 200)
    mask = np.zeros((*PICTURE, 1), dtype=bool)
    mask[100:130, 80:100] = True
    assert first_crop(Cues(mask=mask), PICTURE) == (70, 45, 160, 135)


def test_a_correction_stays_in_the_part_unless_it_is_outside() -> None:
    seen = Seen((70, 45, 160, 135), Frame(64, (64, 64), (90, 90)), np.zeros((32, 32)))
    inside = Cues(np.array([[150.0, 50, 0]]), np.array([False]), feedback=seen)
    assert first_crop(inside, PICTURE) == seen.crop
    i, j, i_end, j_end = first_crop(Cues(np.array([[180.0, 50, 0]]), np.array([True]), feedback=seen), PICTURE)
    assert i <= 70 and j <= 45 and i_end > 180 and j_end >= 135


def test_a_mask_is_cut_off_only_where_the_picture_goes_on() -> None:
    mask = np.zeros(PICTURE, dtype=bool)
    mask[0:20, 60:80] = True
    assert not is_cut_off(mask, (0, 40, 60, 100))
    assert (
        is_cut_off(mask, (0, 60, 60, 120)) and is_cut_off(mask, (0, 20, 60, 80)) and is_cut_off(mask, (0, 20, 20, 99))
    )


def test_logits_move_to_another_part_of_the_picture() -> None:
    near, far = Frame(64, (64, 64), (60, 60)), Frame(64, (43, 64), (200, 300))
    mask = np.zeros((*PICTURE, 1), dtype=bool)
    mask[100:130, 80:110] = True
    logits = mask_logits(Cues(mask=mask), far)
    assert logits is not None
    seen = Seen((0, 0, *PICTURE), far, logits[0, 0].numpy())
    moved = torch.from_numpy(move_logits(seen, (85, 65, 145, 125), near, PICTURE))
    there = restore(moved[None, None], near)[0, 0].numpy().T > 0
    expected = mask[85:145, 65:125, 0]
    assert 2 * (there & expected).sum() / (there.sum() + expected.sum()) > 0.9
    assert move_logits(seen, seen.crop, far, PICTURE) is seen.logits


def test_a_small_target_gets_a_second_look_and_answers_in_the_whole_picture(model: VesaliusS) -> None:
    """A network that marks a disc of four cells around the first click, wherever it looks."""
    learner = VesaliusS(OPTIONS).eval()

    def around_the_click(features, points, signs, mask, drawn):  # type: ignore[no-untyped-def]
        grid = 2.0 * torch.arange(32) + 0.5
        far = (grid[None, :] - points[0, 0, 0]) ** 2 + (grid[:, None] - points[0, 0, 1]) ** 2
        return (8 - 0.5 * far).expand(1, 4, 32, 32), torch.full((1, 4), 0.7)

    learner.decode = around_the_click  # type: ignore[method-assign]
    looked: list[tuple[int, ...]] = []

    def memo(key, make):  # type: ignore[no-untyped-def]
        looked.append(key.shape)
        return make()

    grid = make_grid((*PICTURE, 1), np.eye(4), calibrated=False)
    click = Cues(points=np.array([[200.0, 100, 0]]), positive=np.array([True]))
    pixels = np.zeros((1, *PICTURE, 1), dtype=np.uint8)
    first, *others = learner.segment(View(pixels, grid, click), memo)
    assert looked == [(300, 200, 1), (105, 105, 1)] and len(others) == 2
    assert first.mask.shape == PICTURE and first.mask[200, 100] and first.mask.sum() < others[0].mask.sum()
    again = replace(click, feedback=first.feedback)
    learner.segment(View(pixels, grid, again), memo)
    assert looked[2:] == [(105, 105, 1)]


@torch.inference_mode()
def test_a_glance_at_many_clicks_is_the_first_look_at_each(model: VesaliusS) -> None:
    grid = make_grid((40, 30, 1), np.eye(4))
    pixels = np.random.default_rng(0).integers(0, 255, (1, 40, 30, 1), dtype=np.uint8)
    clicks = [Cues(points=np.array([[i, 12.0, 0]]), positive=np.array([True])) for i in (3.0, 15, 22, 30, 38)]

    def keep(key: object, make: Callable[[], Any]) -> Any:
        return make()

    view = View(pixels, grid)
    for cuts, cues in zip(model.glance_each(view, clicks, keep, -1.0), clicks, strict=True):
        alone = model.cuts(view, (0, 0, 40, 30), cues, keep)
        for one, other in zip(sorted(cuts, key=lambda cut: -cut.score), alone, strict=True):
            np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)
    assert list(model.glance_each(view, clicks, keep, 2.0)) == [[]] * 5
