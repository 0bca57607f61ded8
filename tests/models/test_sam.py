"""The Segment Anything family: prompts, sizes, training, checkpoints, and the three ways to frame a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from vesalius.grid import make_grid
from vesalius.models.sam import (
    Frame,
    Sam,
    frame_litemedsam,
    frame_medsam,
    frame_sam,
    restore_litemedsam,
    restore_medsam,
    restore_sam,
    tokenize,
)
from vesalius.scene import Cues, Memo, View

POINTS = torch.tensor([[[20.0, 30.0], [40.0, 8.0]]])
SIGNS = torch.tensor([[1, 0]])


def nano(encoder: str = "vit_nano", size: int = 64) -> Sam:
    """A model small enough for tests."""
    torch.manual_seed(0)
    return Sam({"encoder": encoder, "size": size, "preprocess": "sam"}).eval()


@pytest.fixture(scope="module")
def sam() -> Sam:
    return nano()


@pytest.fixture(scope="module")
def embedding(sam: Sam) -> Tensor:
    with torch.no_grad():
        return sam.encode(torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize("encoder", ["vit_nano", "tiny_vit_nano", "tiny_vit_lite_nano"])
def test_masks_have_one_cell_for_each_quarter_of_a_stride(encoder: str) -> None:
    model = nano(encoder)
    embedding = model.encode(torch.randn(1, 3, 64, 64))
    masks, iou = model.decode(embedding, POINTS, SIGNS, None, multimask=True)
    side = 4 * embedding.shape[2]
    assert masks.shape == (1, 3, side, side)
    assert iou.shape == (1, 3)


def test_one_embedding_serves_many_prompt_sets(sam: Sam, embedding: Tensor) -> None:
    points, signs = torch.rand(5, 2, 2) * 64, torch.tensor([[1, 0]] * 5)
    masks, iou = sam.decode(embedding, points, signs, None, multimask=False)
    for n in range(5):
        alone = sam.decode(embedding, points[n : n + 1], signs[:1], None, multimask=False)
        torch.testing.assert_close(masks[n : n + 1], alone[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(iou[n : n + 1], alone[1], rtol=1e-4, atol=1e-4)


def test_several_boxes_are_decoded_a_few_at_a_time_and_united(sam: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1, 40, 30, 1), dtype=np.uint8)
    corners = np.array([[[i, 3, 0], [i + 6, 20, 0]] for i in range(0, 30, 5)], float)
    view, memo = View(pixels, make_grid((40, 30, 1), np.eye(4))), Memo()
    alone = [sam.segment(replace(view, cues=Cues(boxes=box[None])), memo.get)[0] for box in corners]
    decode, batches = sam.decode, []
    monkeypatch.setattr(sam, "decode", lambda *given: (batches.append(len(given[1])), decode(*given))[1])
    (both,) = sam.segment(replace(view, cues=Cues(boxes=corners)), memo.get)
    assert batches == [4, 2]
    np.testing.assert_allclose(both.logits, np.maximum.reduce([cut.logits for cut in alone]), atol=1e-5)
    assert both.score == pytest.approx(min(cut.score for cut in alone), abs=1e-5)


def test_masks_of_low_quality_are_left_out(sam: Sam) -> None:
    view = View(np.zeros((1, 40, 30, 1), np.uint8), make_grid((40, 30, 1), np.eye(4)))
    clicks = [Cues(np.array([[i, 15.0, 0]]), np.array([True])) for i in (5.0, 20.0, 30.0)]
    every = list(sam.segment_each(view, clicks, Memo().get))
    least = float(np.median([cut.score for cuts in every for cut in cuts]))
    some = list(sam.segment_each(view, clicks, Memo().get, least))
    assert [len(cuts) for cuts in every] == [3, 3, 3]
    assert [[cut.score for cut in cuts if cut.score >= least] for cuts in every] == [
        [cut.score for cut in cuts] for cuts in some
    ]


def test_the_single_mask_comes_before_the_three_candidates(sam: Sam, embedding: Tensor) -> None:
    masks, iou = sam.decode_all(embedding, POINTS, SIGNS, None)
    single, three = (sam.decode(embedding, POINTS, SIGNS, None, multimask) for multimask in (False, True))
    assert torch.equal(torch.cat([single[0], three[0]], dim=1), masks)
    assert torch.equal(torch.cat([single[1], three[1]], dim=1), iou)


def test_signs_places_and_masks_matter_and_padding_has_no_place(sam: Sam, embedding: Tensor) -> None:
    def masks(points: Tensor, signs: list[list[int]], mask: Tensor | None = None) -> Tensor:
        return sam.decode(embedding, points, torch.tensor(signs), mask, multimask=False)[0]

    reference = masks(POINTS, [[1, 0]])
    assert not torch.allclose(reference, masks(POINTS, [[1, 1]]))
    assert not torch.allclose(reference, masks(POINTS + 5, [[1, 0]]))
    assert not torch.allclose(reference, masks(POINTS, [[1, 0]], torch.zeros(1, 1, 16, 16)))
    assert not torch.allclose(reference, masks(POINTS, [[1, -1]]))
    elsewhere = POINTS + torch.tensor([[[0.0, 0.0], [7.0, 7.0]]])
    assert torch.equal(masks(POINTS, [[1, -1]]), masks(elsewhere, [[1, -1]]))


def test_a_mask_alone_is_a_prompt(sam: Sam, embedding: Tensor) -> None:
    none = torch.zeros(2, 0, 2)
    masks, _ = sam.decode(embedding, none, torch.zeros(2, 0, dtype=torch.long), torch.randn(2, 1, 16, 16), False)
    assert masks.shape == (2, 1, 16, 16)
    assert not torch.allclose(masks[0], masks[1])


def test_a_place_is_relative_to_the_size_of_the_input() -> None:
    """The same network, an input of twice the size: a click on the same spot gives the same token."""
    sam = nano("tiny_vit_nano")
    seen: list[Tensor] = []
    handle = sam.prompt_encoder.pe_layer.register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
    for size in (64, 128):
        embedding = sam.encode(torch.randn(1, 3, size, size))
        click = torch.tensor([[[0.75 * size - 0.5, 0.25 * size - 0.5]]])
        sam.decode(embedding, click, torch.tensor([[1]]), None, multimask=False)
    handle.remove()
    clicks = [places for places in seen if places.shape == (1, 1, 2)]
    assert torch.equal(clicks[0], torch.tensor([[[0.75, 0.25]]]))
    assert torch.equal(clicks[0], clicks[1])


def test_points_come_before_the_corners_of_a_box_and_are_padded_without_one() -> None:
    box = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    points, signs = tokenize(POINTS, SIGNS, box)
    assert points[0].tolist() == [[20, 30], [40, 8], [1, 2], [3, 4]]
    assert signs.tolist() == [[1, 0, 2, 3]]
    points, signs = tokenize(POINTS, SIGNS, None)
    assert points.shape == (1, 3, 2)
    assert signs.tolist() == [[1, 0, -1]]
    nothing = tokenize(POINTS[:, :0], SIGNS[:, :0], None)
    assert nothing[0].shape == (1, 0, 2)


@pytest.mark.parametrize("encoder", ["vit_nano", "tiny_vit_nano"])
def test_the_loss_reaches_every_parameter(encoder: str) -> None:
    model = nano(encoder)
    embedding = model.encode(torch.randn(2, 3, 64, 64))
    points, signs = torch.rand(2, 5, 2) * 64, torch.tensor([[0, 1, 2, 3, -1]] * 2)
    mask = torch.randn(2, 1, 16, 16)
    masks, iou = model.decode_all(embedding, points, signs, mask)
    without, _ = model.decode_all(embedding, points, signs, None)
    (masks.square().sum() + iou.sum() + without.square().sum()).backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert all(name.endswith("token_to_image.k_proj.bias") for name in idle)  # it moves all logits of a token alike


@pytest.mark.parametrize("encoder", ["vit_nano", "tiny_vit_nano"])
def test_bf16_autocast_stays_close(encoder: str) -> None:
    model, pixels = nano(encoder), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        exact = model.decode(model.encode(pixels), POINTS, SIGNS, None, multimask=False)[0]
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model.decode(model.encode(pixels), POINTS, SIGNS, None, multimask=False)[0]
    assert (rounded - exact).abs().max() < 0.05 * exact.abs().max()


def test_a_checkpoint_for_another_size_has_its_tables_resized() -> None:
    large, small = nano(size=128), nano(size=64)
    small.load_state_dict(small.convert(large.state_dict()))
    own = small.image_encoder.pos_embed
    blocks = large.image_encoder.pos_embed.reshape(1, 4, 2, 4, 2, -1).mean((2, 4))
    torch.testing.assert_close(own, blocks)


def test_prefixes_and_the_unused_classifier_are_dropped() -> None:
    sam = nano("tiny_vit_nano")
    state = {f"module.sam.{name}": tensor for name, tensor in sam.state_dict().items()}
    state["module.sam.image_encoder.head.weight"] = torch.zeros(1000, 24)
    assert sam.convert(state).keys() == sam.state_dict().keys()


RGB = np.random.default_rng(0).integers(10, 240, (30, 40, 3), np.uint8)


def test_sam_keeps_the_aspect_and_pads_after_normalising() -> None:
    frame = frame_sam(RGB, 64)
    assert frame.pixels.shape == (1, 3, 64, 64)
    assert frame.resized == (48, 64)
    assert frame.scale == (1.6, 1.6)
    assert frame.original == (30, 40)
    assert (frame.pixels[..., 48:, :] == 0).all()
    mean = (RGB.reshape(-1, 3).mean(0) - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    assert np.allclose(frame.pixels[0, :, :48].mean((1, 2)), mean, atol=0.05)


def test_medsam_stretches_to_a_square_between_0_and_1() -> None:
    frame = frame_medsam(RGB, 64)
    assert frame.resized == (64, 64)
    assert frame.scale == (64 / 40, 64 / 30)
    assert (float(frame.pixels.min()), float(frame.pixels.max())) == (0, 1)


def test_litemedsam_keeps_the_aspect_and_pads_after_spreading() -> None:
    frame = frame_litemedsam(RGB, 64)
    assert frame.resized == (48, 64)
    assert frame.scale == (1.6, 1.6)
    assert (frame.pixels[..., 48:, :] == 0).all()
    assert (float(frame.pixels[..., :48, :].min()), float(frame.pixels.max())) == (0, 1)


@pytest.mark.parametrize("framing", [frame_sam, frame_medsam, frame_litemedsam])
@pytest.mark.parametrize("shape", [(1, 700), (900, 1), (64, 64)])
def test_extreme_pictures_can_be_framed(framing: Callable[[np.ndarray, int], Frame], shape: tuple[int, int]) -> None:
    frame = framing(np.full((*shape, 3), 7, np.uint8), 64)
    assert frame.pixels.isfinite().all()


def test_masks_return_to_the_place_they_came_from() -> None:
    """A blob drawn in the decoder's grid lands where the frame says, in every convention."""
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    blob = (9 - (rows - 6) ** 2 - (columns - 10) ** 2)[None, None]
    for framing, restore in ((frame_sam, restore_sam), (frame_medsam, restore_medsam)):
        frame = framing(RGB, 64)
        inside = restore(blob, frame)[0, 0] > (0.5 if restore is restore_medsam else 0)
        centre = inside.nonzero().float().mean(0)
        expected = torch.tensor([6.5 * 4 / frame.scale[1], 10.5 * 4 / frame.scale[0]]) - 0.5
        torch.testing.assert_close(centre, expected, atol=0.3, rtol=0)
    wide = torch.full((1, 1, 64, 64), -1.0)
    wide[..., 16:32, 32:48] = 1
    inside = (restore_litemedsam(wide, frame_litemedsam(RGB, 64))[0, 0] > 0).nonzero()
    assert inside.min(0).values.tolist() == [10, 20]
    assert inside.max(0).values.tolist() == [19, 29]
