"""ScribblePrompt-UNet: where each kind of prompt is drawn, and what a correction starts from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vesalius as vs
from vesalius.hub import random_model
from vesalius.models.scribbleprompt import ScribblePrompt, draw_clicks, fill_boxes
from vesalius.scene import Cues, View, cues_by_slice

GRID = vs.make_grid((64, 48, 1), np.diag([-1.0, -1, 1, 1]), calibrated=False)
IMAGE = vs.Volume(np.random.default_rng(0).integers(0, 256, (1, *GRID.shape), np.uint8), GRID)
PICTURE, BOXES, POSITIVE, NEGATIVE, PREVIOUS = range(5)


@pytest.fixture(scope="module")
def model() -> ScribblePrompt:
    """It looks at 32 x 32 pixels, so that the picture shrinks by 2 across and 1.5 down."""
    return random_model(vs.find_card("scribbleprompt-unet"))


def maps(model: ScribblePrompt, *prompts: vs.Point | vs.Box | vs.Scribble | vs.MaskHint) -> np.ndarray:
    """What the network sees of some prompts: five maps of rows and columns."""
    cues = cues_by_slice(prompts, GRID).get(0, Cues())
    return model.look(View(IMAGE.voxels, GRID, cues))[0].numpy()


def scribble(*index: tuple[int, int], positive: bool = True) -> vs.Scribble:
    return vs.Scribble(tuple(tuple(GRID.world((*at, 0)).tolist()) for at in index), positive)


def test_clicks_are_one_pixel_each_and_the_last_one_decides(model: ScribblePrompt) -> None:
    seen = maps(model, vs.Point.from_index(GRID, (41, 10, 0)), vs.Point.from_index(GRID, (3, 46, 0), positive=False))
    assert np.argwhere(seen[POSITIVE]).tolist() == [[6, 20]]  # row 10 / 1.5, column 41 / 2
    assert np.argwhere(seen[NEGATIVE]).tolist() == [[30, 1]]
    assert not seen[BOXES].any() and not seen[PREVIOUS].any()
    twice = draw_clicks(np.array([[4.0, 5.0], [4.0, 5.0]]), np.array([True, False]), 8)
    assert twice[0, :, 5, 4].tolist() == [0, 1]


def test_a_click_beyond_the_first_pixel_centre_stays_at_the_edge() -> None:
    assert draw_clicks(np.array([[-2.0, 9.0]]), np.array([True]), 8)[0, 0].nonzero().tolist() == [[7, 0]]


def test_boxes_are_filled_and_several_are_one_map(model: ScribblePrompt) -> None:
    seen = maps(
        model, vs.Box.from_index(GRID, (10, 6, 0), (20, 12, 0)), vs.Box.from_index(GRID, (40, 30, 0), (44, 36, 0))
    )
    expected = np.zeros((32, 32))
    expected[4:8, 5:10] = expected[20:24, 20:22] = 1
    assert np.array_equal(seen[BOXES], expected)


def test_a_box_smaller_than_a_pixel_of_the_network_is_still_seen() -> None:
    assert fill_boxes(np.array([[[3.0, 4.0], [3.0, 4.0]]]), 8).nonzero().tolist() == [[0, 0, 4, 3]]
    assert fill_boxes(np.array([[[-5.0, 6.0], [2.0, 20.0]]]), 8).sum() == 4  # hanging over two edges


def test_scribbles_are_drawn_with_their_sign(model: ScribblePrompt) -> None:
    seen = maps(model, scribble((8, 9), (50, 9)), scribble((30, 20), (30, 44), positive=False))
    assert (seen[POSITIVE, 6, 4:25] > 0.4).all() and not seen[POSITIVE, 9:].any()
    assert (seen[NEGATIVE, 14:29, 15] > 0.4).all() and not seen[NEGATIVE, :, :14].any()
    assert seen.max() <= 1


def test_a_thin_scribble_survives_a_large_picture(model: ScribblePrompt) -> None:
    grid = vs.make_grid((640, 480, 1), np.diag([-1.0, -1, 1, 1]), calibrated=False)
    line = vs.Scribble(tuple(tuple(grid.world(at).tolist()) for at in ((103, 97, 0), (555, 97, 0))))
    view = View(np.zeros((1, *grid.shape), np.uint8), grid, cues_by_slice([line], grid)[0])
    assert (model.look(view)[0, POSITIVE].amax(dim=0)[6:27] == 1).all()


def test_a_mask_enters_as_logits_and_an_answer_as_it_was(model: ScribblePrompt) -> None:
    inside = np.zeros((1, *GRID.shape), bool)
    inside[:, 20:40, 12:36] = True
    cues = cues_by_slice([vs.MaskHint(vs.Volume(inside, GRID))], GRID)[0]
    seen = model.look(View(IMAGE.voxels, GRID, cues))[0, PREVIOUS]
    assert (seen[10, 12], seen[2, 2]) == (8, -8)
    logits = np.random.default_rng(1).normal(size=(1, 1, 32, 32)).astype(np.float32)
    kept = model.look(View(IMAGE.voxels, GRID, Cues(mask=cues.mask, feedback=logits)))
    assert np.array_equal(kept[:, PREVIOUS:], logits)


def test_a_correction_sees_the_last_logits_and_all_that_was_said(
    model: ScribblePrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda maps: (seen.append(maps), decode(maps))[1])
    session = vs.Session(model, IMAGE)
    session.add(vs.Box.from_index(GRID, (10, 6, 0), (20, 12, 0)))
    session.add(scribble((30, 20), (40, 20), positive=False))
    first, second = seen
    with torch.inference_mode():
        assert torch.equal(second[:, PREVIOUS:], decode(first))
    assert torch.equal(second[:, BOXES], first[:, BOXES]) and second[:, NEGATIVE].any()


def test_grey_levels_and_colours_become_one_channel(model: ScribblePrompt) -> None:
    flat = np.full((1, *GRID.shape), 51, np.uint8)
    assert np.allclose(model.look(View(flat, GRID))[0, PICTURE], 0.2)
    assert np.allclose(model.look(View(np.repeat(flat, 3, axis=0), GRID))[0, PICTURE], 0.2)
    with pytest.raises(vs.PromptError, match="2 channels: choose one"):
        model.look(View(np.repeat(flat, 2, axis=0), GRID))


def test_a_picture_of_one_size_gives_a_mask_at_the_same_place(model: ScribblePrompt) -> None:
    logits = torch.full((1, 1, 32, 32), -4.0)
    logits[..., 8:16, 20:28] = 4  # rows, columns
    model_that_knows = random_model(vs.find_card("scribbleprompt-unet"))
    model_that_knows.decode = lambda maps: logits
    found = vs.Session(model_that_knows, IMAGE).add(vs.Point.from_index(GRID, (48, 18, 0)))
    expected = np.zeros(GRID.shape, bool)
    expected[40:56, 12:24] = True
    assert (found.mask("1") != expected).mean() < 0.01
    assert vs.Session(model_that_knows, IMAGE).add(scribble((48, 18))).mask("1").any()
