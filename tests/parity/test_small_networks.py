"""A session with UniverSeg or ScribblePrompt, and not only the network, gives the official masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from players import CARDS
from recording import Recording

import vesalius as vs
from vesalius.hub import fit_weights, random_model
from vesalius.zoo import find_card

GRID = vs.make_grid((128, 128, 1), np.diag([-1.0, -1, 1, 1]), calibrated=False)


def play(name: str, shared: Path) -> tuple[Recording, torch.nn.Module]:
    """A recording and the model of its card with the recorded weights."""
    if not (shared / "parity" / name).is_dir():
        pytest.skip(f"there are no recordings of {name}")
    recording = Recording(shared / "parity" / name, "a")
    model = random_model(find_card(CARDS[name]), tiny=False)
    fit_weights(model, {key: torch.from_numpy(array) for key, array in recording.weights().items()}, Path("keys.txt"))
    return recording, model


def volume(rows: np.ndarray) -> vs.Volume:
    """A picture of rows and columns as an image."""
    return vs.Volume(rows.T[None, ..., None], GRID)


def official(recording: Recording, tag: str) -> np.ndarray:
    return np.unpackbits(recording.arrays[f"out.{tag}.mask"]).reshape(128, 128).astype(bool)


def test_clicks_and_boxes_of_scribbleprompt(shared: Path) -> None:
    recording, model = play("scribbleprompt_unet", shared)
    inputs = recording.inputs()
    session = vs.Session(model, volume(inputs["image"]))
    points = zip(inputs["c0.point_coords"][0], inputs["c0.point_labels"][0], strict=True)
    clicks = [vs.Point.from_index(GRID, (*at, 0), bool(sign)) for at, sign in points]
    x0, y0, x1, y1 = inputs["c1.box"][0, 0]
    session.add(*clicks, target="c0")
    session.add(vs.Box.from_index(GRID, (x0, y0, 0), (x1, y1, 0)), target="c1")
    for tag in ("c0", "c1"):
        mask = session.result().mask(tag)[..., 0].T
        assert mask.any() and not mask.all()
        assert (mask != official(recording, tag)).mean() <= 5e-4


def test_examples_of_universeg(shared: Path) -> None:
    recording, model = play("universeg_v1", shared)
    inputs = recording.inputs()
    examples = [
        vs.Example(volume(image), volume(mask))
        for image, mask in zip(inputs["support_u8"], inputs["labels_u8"], strict=True)
    ]
    session = vs.Session(model, volume(inputs["target_u8"][0]))
    for count in (1, 3, 8):
        mask = session.add(*examples[:count], target=f"s{count}").mask(f"s{count}")[..., 0].T
        assert mask.any() and not mask.all()
        assert (mask != official(recording, f"s{count}")).mean() <= 5e-4
