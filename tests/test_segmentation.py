"""Segmentations: answers on any grid become label layers on the image's own, overlapping structures kept whole."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phantoms import ORDERS
from strategies import grids
from vesalius import segmentation as module
from vesalius.answer import Answer
from vesalius.errors import GeometryError, PromptError
from vesalius.grid import Grid, make_grid
from vesalius.labels import LabelSpace
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume

NAMES = ("liver", "tumour", "vessel")
CUBE = make_grid((6, 5, 4), np.eye(4))


def logits(grid: Grid, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(len(NAMES), *grid.shape)).astype(np.float32)


def blocks(values: Volume, cut: int, codes: str, exclusive: bool = False) -> Iterator[Answer]:
    """The values as two blocks in another storage order."""
    for first, last in ((0, cut), (cut, values.grid.shape[0])):
        if last > first:
            block = values.crop((first, 0, 0), (last - first, *values.grid.shape[1:])).orient(codes)
            yield Answer(block, NAMES, exclusive=exclusive)


@given(grids(), st.sampled_from(ORDERS), st.integers(0, 5), st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_overlapping_answers_in_blocks_keep_every_voxel(grid: Grid, codes: str, cut: int, seed: int) -> None:
    values = logits(grid, seed)
    answers = blocks(Volume(values, grid), min(cut, grid.shape[0]), codes)
    found = Segmentation.from_answers(answers, grid, LabelSpace.of(NAMES))
    for channel, name in enumerate(NAMES):
        np.testing.assert_array_equal(found.mask(name), values[channel] > 0)


@given(grids(), st.sampled_from(ORDERS), st.integers(0, 5), st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_exclusive_answers_are_the_largest_channel_in_one_layer(grid: Grid, codes: str, cut: int, seed: int) -> None:
    values = logits(grid, seed)
    answers = blocks(Volume(values, grid), min(cut, grid.shape[0]), codes, exclusive=True)
    found = Segmentation.from_answers(answers, grid, LabelSpace.of(NAMES))
    np.testing.assert_array_equal(found.layers[0], values.argmax(axis=0) + 1)
    assert len(found.layers) == 1


def test_thin_slabs_give_the_same_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    values = Volume(logits(CUBE, 3), CUBE.respace(0.7).crop((0, 0, 0), CUBE.shape))
    whole = Segmentation.from_answers([Answer(values, NAMES)], CUBE, LabelSpace.of(NAMES))
    monkeypatch.setattr(module, "BLOCK_BYTES", 1)
    slabs = Segmentation.from_answers([Answer(values, NAMES)], CUBE, LabelSpace.of(NAMES))
    for name in NAMES:
        np.testing.assert_array_equal(slabs.mask(name), whole.mask(name))
        assert whole.mask(name).any()


def test_an_answer_beside_the_image_adds_nothing() -> None:
    away = Answer(Volume(np.ones((3, 6, 5, 4), np.float32), CUBE.crop((20, 0, 0), CUBE.shape)), NAMES)
    assert not Segmentation.from_answers([away], CUBE, LabelSpace.of(NAMES)).layers.any()


def test_other_candidates_and_absent_targets_are_not_read() -> None:
    full = Volume(np.ones((1, 6, 5, 4), np.float32), CUBE)
    answers = [Answer(full, ("liver",), candidate=1), Answer(full, ("tumour",), present=False)]
    found = Segmentation.from_answers(answers, CUBE, LabelSpace.of(NAMES))
    assert not found.layers.any()
    assert found.annotated == set(NAMES)


@given(grids(), st.sampled_from(ORDERS))
@settings(deadline=None)
def test_to_another_storage_order_and_back_is_exact(grid: Grid, codes: str) -> None:
    answers = [Answer(Volume(logits(grid, 1), grid), NAMES)]
    found = Segmentation.from_answers(answers, grid, LabelSpace.of(NAMES))
    np.testing.assert_array_equal(found.to(grid.orient(codes)).to(grid).layers, found.layers)


def test_an_unknown_structure_names_the_near_ones() -> None:
    found = Segmentation.from_answers([], CUBE, LabelSpace.of(NAMES))
    with pytest.raises(PromptError, match="tumour"):
        found.mask("tumor")


def test_layers_that_do_not_fit_the_grid_are_refused() -> None:
    with pytest.raises(GeometryError):
        Segmentation(np.zeros((6, 5, 4), np.uint8), CUBE, LabelSpace(), {})


def test_many_classes_need_two_label_volumes_and_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vesalius.segmentation.BLOCK_BYTES", 2**20)
    grid, names = make_grid((96, 96, 96), np.eye(4)), [f"s{n}" for n in range(50)]
    coarse = grid.resize((24, 24, 24))

    def blocks() -> Iterator[Answer]:
        for k in range(0, 24, 4):
            values = np.random.default_rng(k).random((50, 24, 24, 4), dtype=np.float32)
            yield Answer(Volume(values, coarse.crop((0, 0, k), (24, 24, 4))), tuple(names), exclusive=True)

    tracemalloc.start()
    found = Segmentation.from_answers(blocks(), grid, LabelSpace.of(names))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    labels, block = 96**3, 50 * 24 * 24 * 4 * 4
    assert len(np.unique(found.layers)) == 50
    assert peak < 2 * labels + 2 * block + 4 * 2**20  # 50 float volumes would be 177 MB


def test_codes_are_places_among_the_targets() -> None:
    codes = np.arange(120, dtype=np.uint8).reshape(1, 6, 5, 4) % 4
    answer = Answer(Volume(codes, CUBE), ("", "vessel", "", "liver"), coded=True)
    found = Segmentation.from_answers([answer], CUBE, LabelSpace.of(NAMES))
    np.testing.assert_array_equal(found.mask("vessel"), codes[0] == 1)
    np.testing.assert_array_equal(found.mask("liver"), codes[0] == 3)
    assert not found.mask("tumour").any() and len(found.layers) == 1


def test_codes_over_other_structures_move_to_a_free_layer() -> None:
    codes = np.ones((1, 6, 5, 4), np.uint8)
    under = Answer(Volume(np.ones((1, 6, 5, 4), bool), CUBE), ("tumour",), 0.5)
    over = Answer(Volume(codes, CUBE), ("", "liver"), coded=True)
    found = Segmentation.from_answers([under, over], CUBE, LabelSpace.of(NAMES))
    assert found.mask("tumour").all() and found.mask("liver").all() and len(found.layers) == 2
