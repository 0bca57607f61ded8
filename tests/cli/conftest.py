"""Files for the command line: an image, a model of the user's own that needs no weights, and how to call."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from phantoms import ball, grids
from vesalius.grid import Grid
from vesalius.io import write

MODEL = '''
import numpy as np
from torch import nn

from vesalius.answer import Answer
from vesalius.card import Card, Licence, Weights
from vesalius.volume import Volume


class Bright(nn.Module):
    """Everything nearly as bright as what the first positive point or the middle of the box shows."""

    card = Card(
        name="bright",
        entry="",
        summary="A threshold.",
        options={},
        accepts=frozenset({"point", "box"}),
        dimensions=3,
        orientation="RAS",
        preprocessing="",
        weights=Weights((), ""),
        licence=Licence("Apache-2.0", "none", True),
        paper="",
    )

    def __init__(self, options):
        super().__init__()

    def run(self, scene):
        said = scene.rounds[-1][0]
        at = said.at if hasattr(said, "at") else said.corners().mean(axis=0)
        grey = scene.window.grey(scene.image.voxels[:1]).astype(float)
        i, j, k = np.rint(scene.image.grid.index(at)).astype(int)
        near = 60 - np.abs(grey - grey[0, i, j, k])
        yield Answer(Volume(near, scene.image.grid), (scene.target,), score=0.9)


class Broken(Bright):
    def run(self, scene):
        raise KeyError("HTIMS"[::-1])
'''


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A model file as a user writes one, as `-m` takes it."""
    (tmp_path / "own.py").write_text(MODEL)
    return f"{tmp_path / 'own.py'}:Bright"


@pytest.fixture
def grid() -> Grid:
    """Where the test image is."""
    return grids()["anisotropic"]


@pytest.fixture
def image(tmp_path: Path, grid: Grid) -> Path:
    """A bright ball in the middle of a NIfTI."""
    path = tmp_path / "ct.nii.gz"
    write(ball(grid), path)
    return path


@pytest.fixture
def folders(tmp_path: Path, grid: Grid, middle: str) -> SimpleNamespace:
    """Three images with prompts, `a` to `c`."""
    images, prompts = tmp_path / "images", tmp_path / "prompts"
    for folder in (images, prompts):
        folder.mkdir()
    for name in "abc":
        write(ball(grid), images / f"{name}.nii.gz")
        point = {"kind": "point", "target": "ball", "positive": True, "at": [float(n) for n in middle.split(",")]}
        (prompts / f"{name}.json").write_text(json.dumps({"version": 1, "space": "index", "prompts": [point]}))
    return SimpleNamespace(images=images, prompts=prompts, masks=tmp_path / "masks")


@pytest.fixture
def middle(grid: Grid) -> str:
    """The voxel in the middle of the ball, as the command line writes it."""
    return ",".join(str(n // 2) for n in grid.shape)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A grey PNG, 40 columns by 30 rows, with a bright square in columns 20..29 and rows 5..14."""
    from PIL import Image

    pixels = np.full((30, 40), 40, dtype=np.uint8)
    pixels[5:15, 20:30] = 220
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"
