"""What every model must satisfy, on a tiny random variant of each card."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import vesalius as vs
from phantoms import ORDERS, ball, grids
from vesalius.hub import random_model, set_precision
from vesalius.look import slices
from vesalius.look_examples import example_views
from vesalius.prompts import KINDS
from vesalius.scene import Cues, Scene, View, cues_by_slice
from vesalius.segmentation import Segmentation

CARDS = [card.name for card in vs.CARDS]
Index = tuple[int, int, int]
every_card = pytest.mark.parametrize("name", CARDS)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA sees no GPU")


@cache
def model(name: str) -> torch.nn.Module:
    return random_model(vs.find_card(name))


def image(kind: str = "anisotropic") -> vs.Volume:
    return ball(grids()[kind].crop((0, 0, 2), (26, 22, 3)))


Said = vs.Box | vs.Point | vs.Example | vs.Named


def around(card: vs.Card, grid: vs.Grid, corner: Index, opposite: Index) -> Said:
    """A box or a click in its middle; for a model that is told no place, an example that fills it, or a name."""
    if "box" in card.accepts:
        return vs.Box.from_index(grid, corner, opposite)
    if "point" in card.accepts:
        return vs.Point.from_index(grid, np.add(corner, opposite) / 2)
    if "named" in card.accepts:
        return vs.Named(card.labels[-1])
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    inside = ((index >= corner) & (index <= opposite)).all(axis=-1)
    return vs.Example(ball(grid), vs.Volume(inside[None], grid))


def prompts(card: vs.Card, grid: vs.Grid) -> list[Said]:
    """One prompt on the middle slice, or several where the model takes more than a box; or all names."""
    if "named" in card.accepts:
        return [vs.Named(structure) for structure in card.labels]
    found: list[Said] = [around(card, grid, (6, 5, 1), (19, 16, 1))]
    if "point" in card.accepts:
        found += [vs.Point.from_index(grid, (13, 11, 1)), vs.Point.from_index(grid, (2, 2, 1), positive=False)]
    return found


def session(name: str, volume: vs.Volume) -> vs.Session:
    return vs.Session(model(name), volume, plane="axial")


def in_world(found: Segmentation, grid: vs.Grid) -> np.ndarray:
    """The mask of every target."""
    there = found.to(grid)
    return np.stack([there.mask(name) for name in there.labels.names])


def channels(card: vs.Card) -> int:
    """How many channels of a colour picture a model takes; one that scales values in its own way knows how many."""
    options = card.options.get("parts", [card.options])[0]  # type: ignore[index]
    return len(options.get("normalisation", "rgb"))


@every_card
def test_builds_from_its_card_without_network(name: str) -> None:
    built = random_model(vs.find_card(name))
    assert built.card.name == name and not built.training
    again = built.state_dict()
    converted = built.convert(again)
    assert converted.keys() == again.keys()


@every_card
@pytest.mark.parametrize("kind", grids())
def test_storage_order_changes_nothing(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vesalius.look.PIECES", 1)  # random masks have many pieces; following one keeps this fast
    volume = image(kind)
    said = prompts(model(name).card, volume.grid)
    expected = in_world(session(name, volume).add(*said), volume.grid)
    assert expected.any() and not expected.all()
    for order in ORDERS:
        stored = volume.orient(order)
        found = session(name, stored).add(*said)
        assert found.grid is stored.grid
        assert np.array_equal(in_world(found, volume.grid), expected), order


@every_card
def test_takes_a_picture(name: str) -> None:
    grid = vs.make_grid((40, 30, 1), np.diag([-1.0, -1, 1, 1]), calibrated=False)
    card = model(name).card
    pixels = np.random.default_rng(0).integers(0, 255, (channels(card), *grid.shape), dtype=np.uint8)
    found = session(name, vs.Volume(pixels, grid)).add(around(card, grid, (5, 4, 0), (30, 20, 0)))
    assert found.grid is grid and found.layers.shape == (1, 40, 30, 1)


@every_card
def test_refuses_a_prompt_outside(name: str) -> None:
    volume = image()
    if not {"box", "point"} & vs.find_card(name).accepts:
        pytest.skip("none of its prompts has a place")
    with pytest.raises(vs.PromptError, match="outside the image"):
        session(name, volume).add(around(model(name).card, volume.grid, (40, 5, 1), (60, 16, 1)))


@every_card
def test_refuses_a_kind_that_it_does_not_accept(name: str) -> None:
    card = vs.find_card(name)
    assert card.accepts <= set(KINDS)
    with pytest.raises(vs.PromptError, match=f"takes {', '.join(sorted(card.accepts))}; you gave a text"):
        session(name, image()).add(vs.Text("liver"))


@every_card
def test_a_refused_prompt_changes_nothing(name: str) -> None:
    volume = image()
    talk = session(name, volume)
    before = talk.add(*prompts(model(name).card, volume.grid))
    with pytest.raises(vs.PromptError):
        talk.add(vs.Text("liver"))
    assert np.array_equal(talk.result().layers, before.layers) and len(talk.history()) == 1


@every_card
def test_heavy_work_is_done_once_per_frame(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = image()
    if not hasattr(model(name), "encode"):
        pytest.skip("all of its work depends on the prompts")
    seen = []
    encode = model(name).encode
    monkeypatch.setattr(model(name), "encode", lambda pixels: (seen.append(1), encode(pixels))[1])
    talk = session(name, volume)
    talk.add(*prompts(model(name).card, volume.grid))
    first = len(seen)
    talk.undo()
    talk.add(*prompts(model(name).card, volume.grid), target="another")
    assert first > 0 and len(seen) == first


@every_card
def test_undo_restores_exactly_and_history_replays(name: str) -> None:
    volume = image()
    talk = session(name, volume)
    first = talk.add(*prompts(model(name).card, volume.grid))
    more = around(model(name).card, volume.grid, (3, 3, 2), (22, 18, 2))
    second = talk.add(more)
    told = json.loads(json.dumps(talk.history()))
    assert np.array_equal(session(name, volume).replay(told).layers, second.layers)
    assert np.array_equal(talk.undo().layers, first.layers)
    again = talk.add(more)
    assert np.array_equal(again.layers, second.layers)


@every_card
def test_two_sessions_do_not_touch_each_other(name: str) -> None:
    volume = image()
    said = prompts(model(name).card, volume.grid)
    alone = session(name, volume).add(*said)
    one, other = session(name, volume), session(name, image("oblique"))
    other.add(*prompts(model(name).card, other.image.grid))
    together = one.add(*said)
    other.undo()
    assert np.array_equal(together.layers, alone.layers)
    assert np.array_equal(one.result().layers, alone.layers)


@every_card
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_forward_learns(name: str, device: str) -> None:
    volume = image()
    learner = random_model(vs.find_card(name)).to(device)
    frame = list(slices(volume.grid, "axial"))[1]
    said = prompts(model(name).card, volume.grid)[:1]
    examples = example_views(Scene(volume, "1", (tuple(said),), vs.choose_window(volume), "axial"))
    cues = replace(cues_by_slice(said, frame).get(0, Cues()), examples=examples)
    view = View(volume.to(frame).voxels, frame, cues)
    truth = torch.tensor(volume.to(frame).voxels > 150, device=device).float()
    optimizer = torch.optim.Adam(learner.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        logits = learner(view)
        assert logits.shape[1:] == frame.shape
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits[:1], truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@needs_gpu
@every_card
@pytest.mark.parametrize(("precision", "same"), [("fp32", 0.99), ("auto", 0.9)])  # bf16 has eight bits
def test_a_gpu_gives_the_masks_of_the_cpu(
    name: str, precision: str, same: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vesalius.look.PIECES", 1)  # random masks have many pieces
    volume = image()
    said = prompts(model(name).card, volume.grid)
    expected = in_world(session(name, volume).add(*said), volume.grid)
    there = deepcopy(model(name)).to("cuda")
    set_precision(there, "cuda", precision)
    found = vs.Session(there, volume, plane="axial").add(*said)
    assert found.grid is volume.grid
    assert np.mean(in_world(found, volume.grid) == expected) > same
