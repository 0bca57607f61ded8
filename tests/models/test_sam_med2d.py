"""SAM-Med2D: its adapters, its preprocessing, and the order in which it takes boxes and points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vesalius as vs
from vesalius.hub import fit_weights, random_model
from vesalius.layers.prompt_tokens import tokenize
from vesalius.models.sam_med2d import Adapter, SamMed2d
from vesalius.scene import Cues, View

SHAPE = (40, 50)  # rows and columns
BOX = np.array([[[5.0, 6, 0], [30, 20, 0]]])
POINT = {"points": np.array([[20.0, 11, 0]]), "positive": np.array([True])}
EMBEDDING = torch.randn(1, 256, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model() -> SamMed2d:
    return random_model(vs.find_card("sam-med2d"))


def answer(model: SamMed2d, cues: Cues) -> torch.Tensor:
    with torch.no_grad():
        return model.answer(EMBEDDING, SHAPE, cues)[2]


def view(pixels: np.ndarray, cues: Cues | None = None) -> View:
    return View(pixels, vs.make_grid((*pixels.shape[1:3], 1), np.eye(4)), cues or Cues())


def test_an_adapter_gates_channels_and_looks_at_neighbours() -> None:
    adapter = Adapter(8)
    tokens = torch.randn(1, 4, 4, 8)
    for layer in adapter.spatial[::2]:
        torch.nn.init.zeros_(layer.weight)
    torch.testing.assert_close(adapter(tokens), adapter.norm(tokens))
    torch.nn.init.constant_(adapter.spatial[0].weight, 0.1)
    torch.nn.init.constant_(adapter.spatial[2].weight, 0.1)
    changed = (adapter(tokens) - adapter.norm(tokens)).abs().amax(dim=-1) > 0
    assert changed.any()


def test_adapters_stand_beside_the_mlp_and_can_be_left_out(model: SamMed2d) -> None:
    official = {name.replace(".adapter.", ".Adapter."): tensor for name, tensor in model.state_dict().items()}
    plain = random_model(vs.find_card("sam-med2d-plain"))
    fit_weights(plain, official, "sam-med2d_b.pth")
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(plain.encode(pixels), model.encode(pixels))
        block, other = model.image_encoder.blocks[0], plain.image_encoder.blocks[0]
        tokens = torch.randn(1, 4, 4, 32)
        attended = tokens + other.attn(torch.nn.functional.pad(other.norm1(tokens), (0, 0, 0, 10, 0, 10)))[:, :4, :4]
        torch.testing.assert_close(block(tokens) - other(tokens), block.adapter(other.norm2(attended)))


def test_a_picture_is_normalised_and_then_stretched_without_mixing_pixels(model: SamMed2d) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (1, 30, 50, 1), np.uint8)
    frame = model.frame(view(grey))
    assert frame.shape == (1, 3, 64, 64)
    restored = frame[0].permute(1, 2, 0).numpy() * [58.395, 57.12, 57.375] + [123.675, 116.28, 103.53]
    assert np.allclose(
        restored, grey[0, np.arange(64) * 30 // 64][:, np.arange(64) * 50 // 64].transpose(1, 0, 2), atol=1e-3
    )
    with pytest.raises(vs.PromptError, match="grey or RGB"):
        model.frame(view(np.zeros((2, 8, 8, 1), np.uint8)))


def test_the_candidate_of_the_highest_predicted_iou_is_taken(model: SamMed2d) -> None:
    points = torch.tensor([[[9.0, 9]], [[50.0, 30]]])
    places = tokenize(points, torch.ones(2, 1, dtype=torch.long), None)
    with torch.no_grad():
        prompts = model.prompt_encoder.tokens((places[0] + 0.5) / 64, places[1])
        image = EMBEDDING + model.prompt_encoder.mask(None)
        masks, iou = model.mask_decoder(image, model.prompt_encoder.pe_layer.dense(4, 4), prompts)
        low, best = model.decode(EMBEDDING, *places, None)
    for n in range(2):
        assert best[n, 0] == iou[n, 1:].max()
        assert torch.equal(low[n, 0], masks[n, 1 + iou[n, 1:].argmax()])


def test_points_correct_the_mask_of_a_box_that_was_given_with_them(model: SamMed2d) -> None:
    boxed = answer(model, Cues(boxes=BOX))
    together = answer(model, Cues(boxes=BOX, **POINT))
    after = answer(model, Cues(feedback=boxed.numpy(), **POINT))
    assert torch.equal(together, after)
    assert torch.equal(after, answer(model, Cues(boxes=BOX, feedback=boxed.numpy(), **POINT)))
    assert not torch.allclose(after, answer(model, Cues(**POINT)))


def test_a_mask_is_given_back_as_probabilities(model: SamMed2d) -> None:
    boxed = answer(model, Cues(boxes=BOX))
    assert boxed.min() > 0 and boxed.max() < 1
    everywhere = Cues(mask=np.ones((50, 40, 1), bool), **POINT)
    ones = Cues(feedback=np.ones((16, 16), np.float32), **POINT)
    torch.testing.assert_close(answer(model, everywhere), answer(model, ones))


def test_a_carried_mask_is_seen_as_the_box_around_it(model: SamMed2d) -> None:
    mask = np.zeros((50, 40, 1), bool)
    mask[5:31, 6:21] = True
    assert torch.equal(answer(model, Cues(boxes=BOX, mask=mask)), answer(model, Cues(boxes=BOX)))


def test_several_boxes_are_united(model: SamMed2d) -> None:
    other = np.array([[[15.0, 18, 0], [45, 38, 0]]])
    both = answer(model, Cues(boxes=np.concatenate([BOX, other])))
    assert torch.allclose(both, torch.maximum(answer(model, Cues(boxes=BOX)), answer(model, Cues(boxes=other))))


def test_places_are_scaled_along_each_axis(model: SamMed2d) -> None:
    with torch.no_grad():
        places = tokenize(torch.tensor([[[20 * 64 / 50, 11 * 64 / 40]]]), torch.ones(1, 1, dtype=torch.long), None)
        low, _ = model.decode(EMBEDDING, *places, None)
    torch.testing.assert_close(answer(model, Cues(**POINT)), low[0, 0].sigmoid())


def test_the_loss_reaches_adapters(model: SamMed2d) -> None:
    learner = random_model(model.card)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 50, 40, 1), np.uint8)
    learner(view(pixels, Cues(boxes=BOX, **POINT))).square().sum().backward()
    assert all(parameter.grad is not None for parameter in learner.image_encoder.parameters())


def test_a_session_gives_the_mask_of_the_network_on_the_picture(model: SamMed2d) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (3, 50, 40, 1), np.uint8)
    grid = vs.make_grid((50, 40, 1), np.diag([-1, -1, 1, 1]), calibrated=False)
    found = vs.Session(model, vs.Volume(picture, grid)).add(vs.Point.from_index(grid, (20, 11, 0)))
    with torch.no_grad():
        embedding = model.encode(model.frame(view(picture)))
        places = tokenize(torch.tensor([[[20 * 64 / 50, 11 * 64 / 40]]]), torch.ones(1, 1, dtype=torch.long), None)
        logits = model.restore(model.decode(embedding, *places, None)[0], SHAPE)[0, 0]
    assert np.array_equal(found.mask("1")[..., 0].T, logits.numpy() > 0)
