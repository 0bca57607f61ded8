"""Prompts drawn as maps: clicks, boxes, strokes and the mask before, each where it is."""

from __future__ import annotations

import torch

from vesalius.layers.prompt_maps import draw_prompts
from vesalius.layers.prompt_tokens import tokenize

NOTHING = torch.empty(1, 0, 2), torch.empty(1, 0, dtype=torch.long)


def test_prompts_are_drawn_where_they_are() -> None:
    places, signs = tokenize(
        torch.tensor([[[20.5, 10.5], [50.5, 40.5]]]), torch.tensor([[1, 0]]), torch.tensor([[8.0, 9, 31, 24]])
    )
    before, inner, outer, box = draw_prompts(places, signs, None, None, (32, 32))[0]
    assert inner[5, 10] == 1 and inner.argmax() == 5 * 32 + 10 and inner[20, 25] < 1e-3
    assert outer.argmax() == 20 * 32 + 25
    assert not before.any()
    rows, columns = torch.nonzero(box, as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 12, 4, 15)


def test_without_prompts_the_maps_are_empty() -> None:
    assert not draw_prompts(*NOTHING, None, None, (32, 32)).any()


def test_strokes_and_the_mask_before_are_drawn() -> None:
    drawn = torch.zeros(1, 2, 32, 32)
    drawn[0, 0, 3], drawn[0, 1, 9] = 1, 1
    mask = torch.full((1, 1, 32, 32), -20.0)
    mask[..., :5] = 20
    before, inner, outer, _ = draw_prompts(*NOTHING, mask, drawn, (32, 32))[0]
    assert (inner[3] == 1).all() and inner.sum() == 32 and (outer[9] == 1).all()
    assert before[0, 4] > 0.99 and before[0, 5] < -0.99
