"""Embeddings in a folder: found again, never mistaken for others, and noticed when they are damaged."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.embeddings import hash_tensors, keep_embeddings
from vesalius.hub import random_model
from vesalius.segmentation import Segmentation

GRID = vs.make_grid((24, 20, 3), np.diag([1.0, 1, 4, 1]))
VOXELS = np.random.default_rng(0).integers(0, 255, (1, 24, 20, 3), dtype=np.uint8)
IMAGE = vs.Volume(VOXELS, GRID)


class Counted:
    """Sessions with one model that keep embeddings in one folder, and how often the model encoded."""

    def __init__(self, name: str, folder: Path) -> None:
        self.model, self.folder, self.encoded = random_model(vs.find_card(name)), folder, 0
        encode = self.model.encode

        def count(pixels: torch.Tensor) -> object:
            self.encoded += 1
            return encode(pixels)

        self.model.encode = count

    def segment(self, image: vs.Volume = IMAGE, window: tuple[float, float] | None = None) -> Segmentation:
        """A click in the middle slice, and the walk from there."""
        session = vs.Session(self.model, image, window)
        keep_embeddings(session, self.folder)
        return session.add(vs.Point.from_index(image.grid, (12, 10, 1)))


@pytest.fixture(params=["mobile-sam", "sam2.1-hiera-t", "vesalius-s"])
def counted(request: pytest.FixtureRequest, tmp_path: Path) -> Counted:
    return Counted(request.param, tmp_path / "embeddings")


def test_what_was_made_once_is_found_again(counted: Counted) -> None:
    first = counted.segment()
    made = counted.encoded
    again = counted.segment()
    assert made > 0 and counted.encoded == made == len(list(counted.folder.iterdir()))
    assert np.array_equal(first.layers, again.layers)


def test_the_place_in_the_world_does_not_matter_and_the_place_in_the_image_does(counted: Counted) -> None:
    counted.segment()
    made = counted.encoded
    counted.segment(vs.Volume(VOXELS, vs.make_grid(GRID.shape, GRID.matrix + SHIFT)))
    assert counted.encoded == made
    counted.segment(vs.Volume(VOXELS[..., [0, 2, 1]], GRID))
    assert counted.encoded > made


SHIFT = np.pad([[7.3], [-0.1], [1e3]], ((0, 1), (3, 0)))


def test_another_image_window_precision_or_weight_is_missed(counted: Counted) -> None:
    counted.segment()
    for change in (
        lambda: counted.segment(replace(IMAGE, voxels=np.where(VOXELS == 7, 0, VOXELS))),
        lambda: counted.segment(window=(10, 200)),
        lambda: (setattr(counted.model, "precision", "bf16"), counted.segment()),
        lambda: (next(counted.model.parameters()).data.add_(0.01), counted.segment()),
    ):
        made = counted.encoded
        change()
        assert counted.encoded > made


def test_a_damaged_file_is_made_anew(counted: Counted) -> None:
    expected = counted.segment()
    for damage in (lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data[:50], lambda data: b""):
        made, file = counted.encoded, sorted(counted.folder.iterdir())[0]
        file.write_bytes(damage(file.read_bytes()))
        with pytest.warns(vs.VesaliusWarning, match="damaged; it was made anew"):
            found = counted.segment()
        assert np.array_equal(found.layers, expected.layers) and counted.encoded == made + 1
        counted.segment()
        assert counted.encoded == made + 1


def test_the_hash_knows_names_kinds_and_shapes() -> None:
    one = torch.zeros(2, 3)
    others = [{"b": one}, {"a": one.T}, {"a": one.int()}, {"a": one + 1}]
    assert len({hash_tensors(tensors) for tensors in ({"a": one}, *others)}) == 5


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(vs.FormatError, match="choose another"):
        Counted("mobile-sam", file).segment()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(vs.FormatError, match="choose another folder for embeddings"):
        Counted("mobile-sam", tmp_path).segment()


def test_a_model_that_is_no_network_is_refused(tmp_path: Path) -> None:
    class Words:
        card = vs.find_card("mobile-sam")

        def run(self, scene: object) -> list[vs.Answer]:
            return []

    assert not isinstance(Words(), nn.Module)
    with pytest.raises(vs.PromptError, match="no network"):
        keep_embeddings(vs.Session(Words(), IMAGE), tmp_path)
