"""SAM 2.1: the order of prompts, the choice of a mask, absence, and what a slice may look at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import vesalius as vs
from vesalius.hub import random_model
from vesalius.look_memory import Past
from vesalius.models.sam2 import ABSENT, Memory, Sam2, Trace, frame_medsam2, frame_sam2, tokenize
from vesalius.scene import Cues, Memo, View
from vesalius.zoo.sam2 import CARDS, MEDSAM2

GRID = vs.make_grid((40, 30, 1), np.eye(4))
CLICK = Cues(np.array([[20.0, 15, 0]]), np.array([True]))
BOX = Cues(boxes=np.array([[[10.0, 8, 0], [30, 22, 0]]]))


@pytest.fixture
def model() -> Sam2:
    return random_model(MEDSAM2)


def view(cues: Cues) -> View:
    return View(np.random.default_rng(0).integers(0, 255, (1, 40, 30, 1), dtype=np.uint8), GRID, cues)


def say(model: Sam2, presence: float) -> None:
    """Makes a model as sure as that of the target being there."""
    with torch.no_grad():
        model.sam_mask_decoder.pred_obj_score_head.layers[2].weight.zero_()
        model.sam_mask_decoder.pred_obj_score_head.layers[2].bias.fill_(presence)


def memory(seed: int) -> Memory:
    torch.manual_seed(seed)
    return Memory(torch.randn(1, 64, 4, 4).to(torch.bfloat16), torch.randn(1, 256))


@pytest.mark.parametrize(
    ("name", "tensors", "millions"),
    [
        ("sam2.1-hiera-t", 471, 38.96),
        ("sam2.1-hiera-s", 519, 46.06),
        ("sam2.1-hiera-b+", 615, 80.85),
        ("sam2.1-hiera-l", 903, 224.45),
    ],
)
def test_sizes_are_the_official_ones(name: str, tensors: int, millions: float) -> None:
    card = next(card for card in CARDS if card.name == name)
    with torch.device("meta"):
        state = random_model(card, tiny=False).state_dict()
    assert len(state) + len(card.unused) == tensors
    assert sum(tensor.numel() for tensor in state.values()) / 1e6 == pytest.approx(millions, abs=0.006)


def test_the_corners_of_a_box_come_before_the_points_and_padding_last() -> None:
    points, signs = torch.tensor([[[20.0, 30.0], [40.0, 8.0]]]), torch.tensor([[1, 0]])
    places, kinds = tokenize(points, signs, torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    assert places[0].tolist() == [[1, 2], [3, 4], [20, 30], [40, 8], [0, 0]]
    assert kinds.tolist() == [[2, 3, 1, 0, -1]]
    assert tokenize(points[:, :0], signs[:, :0], None)[1].tolist() == [[-1, -1]]


def test_a_picture_is_stretched_to_a_square() -> None:
    rgb = np.random.default_rng(0).integers(10, 240, (30, 40, 3), np.uint8)
    mean = (rgb.reshape(-1, 3).mean(0) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    for frame in (frame_sam2, frame_medsam2):
        pixels = frame(rgb, 64)
        assert pixels.shape == (1, 3, 64, 64)
        assert np.allclose(pixels.mean((0, 2, 3)), mean, atol=0.05)


def test_a_click_has_three_candidates_and_a_box_one(model: Sam2) -> None:
    cuts = model.segment(view(CLICK), Past(1), Memo().get)
    assert len(cuts) == 3
    assert cuts[0].score >= cuts[1].score >= cuts[2].score
    assert len(model.segment(view(BOX), Past(1), Memo().get)) == 1


@pytest.mark.parametrize(("stable", "expected"), [(True, 0), (False, 2)])
def test_an_unstable_mask_is_replaced_by_the_best_candidate(
    model: Sam2, monkeypatch: pytest.MonkeyPatch, stable: bool, expected: int
) -> None:
    masks = torch.stack([torch.full((16, 16), float(n)) for n in (1, 2, 3, 4)])[None]
    if not stable:
        masks[0, 0, :, :8] = 0.04  # within the margin of the threshold
    iou = torch.tensor([[0.9, 0.1, 0.3, 0.2]])
    decoded = (masks, iou, torch.zeros(1, 4, 256), torch.ones(1, 1))
    monkeypatch.setattr(model.sam_mask_decoder, "forward", lambda *inputs: decoded)
    features = (torch.zeros(1, 256, 4, 4), torch.zeros(1, 64, 8, 8), torch.zeros(1, 32, 16, 16))
    points, signs = tokenize(torch.zeros(1, 0, 2), torch.zeros(1, 0, dtype=torch.long), None)
    low, score, _, _ = model.decode(features[0], features, points, signs, None, multimask=False)
    assert torch.equal(low[0, 0], masks[0, expected])
    assert score.item() == iou[0, expected]


def test_in_a_volume_a_target_may_be_absent(model: Sam2) -> None:
    say(model, -1)
    assert model.segment(view(BOX), Past(1), Memo().get)[0].mask.any()
    absent = model.segment(view(BOX), Past(3), Memo().get)[0]
    assert np.allclose(absent.logits, ABSENT)
    assert torch.equal(absent.feedback.pointer, model.no_obj_ptr)
    say(model, 1)
    assert model.segment(view(BOX), Past(3), Memo().get)[0].mask.any()


def test_a_memory_says_whether_the_target_was_there(model: Sam2) -> None:
    embedding, low, pointer = torch.randn(1, 256, 4, 4), torch.full((1, 1, 16, 16), -1.0), torch.randn(1, 256)
    there, absent = (model.remember(embedding, Trace(low, pointer, presence), False) for presence in (1.0, -1.0))
    difference = (absent.map - there.map).float().mean((2, 3))
    torch.testing.assert_close(difference, model.no_obj_embed_spatial, atol=0.02, rtol=0)
    assert there.map.dtype == torch.bfloat16


def test_a_prompted_mask_is_remembered_sharp(model: Sam2) -> None:
    embedding, pointer = torch.randn(1, 256, 4, 4), torch.randn(1, 256)

    def remember(size: float, prompted: bool) -> Tensor:
        return model.remember(embedding, Trace(torch.full((1, 1, 16, 16), size), pointer, 1.0), prompted).map

    assert torch.equal(remember(0.1, True), remember(9.0, True))
    assert not torch.equal(remember(0.1, False), remember(9.0, False))


def test_the_past_is_seven_maps_and_the_pointers_behind(model: Sam2, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def attend(embedding: Tensor, tokens: Tensor, positions: Tensor, pointers: int) -> Tensor:
        assert tokens.shape == positions.shape
        seen.append(((tokens.shape[1] - pointers) // 16, pointers // 4))
        return embedding

    monkeypatch.setattr(model.memory_attention, "forward", attend)
    embedding = torch.randn(1, 256, 4, 4)
    walked = tuple((distance, memory(distance)) for distance in range(15, 0, -1))
    model.recall(embedding, Past(30, ((16, memory(0)),), walked))
    model.recall(embedding, Past(30, ((3, memory(0)), (-4, memory(1))), walked[-2:]))
    model.recall(embedding, Past(4, ((4, memory(0)),), walked[-5:]))  # of four slices, the pointers of three
    assert seen == [(7, 16), (4, 3), (6, 4)]
    assert torch.equal(model.recall(embedding, Past(30)), embedding + model.no_mem_embed.view(1, 256, 1, 1))


def test_how_long_ago_matters(model: Sam2) -> None:
    embedding = torch.randn(1, 256, 4, 4)
    with torch.no_grad():
        near, far, ahead = (model.recall(embedding, Past(30, ((n, memory(0)),))) for n in (1, 9, -1))
    assert not torch.allclose(near, far, atol=1e-4)
    assert not torch.allclose(near, ahead, atol=1e-4)


def test_a_mask_alone_is_taken_as_it_is_and_a_drawn_one_is_a_hint(model: Sam2) -> None:
    mask = np.zeros((40, 30, 1), bool)
    mask[10:30, 8:22] = True
    alone = model.segment(view(Cues(mask=mask)), Past(3), Memo().get)[0]
    assert np.array_equal(alone.mask, mask[..., 0])
    assert (alone.feedback.low[0, 0, 6:10, 6:10] == 10).all()
    drawn, without = (model.segment(view(cues), Past(3), Memo().get)[0] for cues in (replace(BOX, mask=mask), BOX))
    assert not np.array_equal(drawn.logits, without.logits)


def test_a_correction_starts_from_the_logits_before(model: Sam2) -> None:
    first = model.segment(view(BOX), Past(1), Memo().get)[0]
    again, corrected = (
        model.segment(view(replace(BOX, feedback=feedback)), Past(1), Memo().get)[0]
        for feedback in (None, first.feedback)
    )
    assert np.array_equal(again.logits, first.logits)
    assert not np.array_equal(corrected.logits, first.logits)


def test_several_boxes_are_united(model: Sam2) -> None:
    boxes = np.array([[[2.0, 2, 0], [12, 12, 0]], [[20, 15, 0], [38, 28, 0]]])
    one, other, both = (
        model.segment(view(Cues(boxes=part)), Past(3), Memo().get)[0] for part in (boxes[:1], boxes[1:], boxes)
    )
    assert np.array_equal(both.mask, one.mask | other.mask)
    assert both.score == min(one.score, other.score)


def test_the_names_of_the_two_way_transformer_are_translated(model: Sam2) -> None:
    official = {
        name.replace(".lin1.", ".layers.0.").replace(".lin2.", ".layers.1."): tensor
        for name, tensor in model.state_dict().items()
    }
    assert "sam_mask_decoder.transformer.layers.0.mlp.layers.1.bias" in official
    assert model.convert(official).keys() == model.state_dict().keys()


def test_four_channels_are_refused(model: Sam2) -> None:
    with pytest.raises(vs.PromptError, match="4 channels"):
        model.frame(View(np.zeros((4, 40, 30, 1), np.uint8), GRID))
