"""Painted pictures show their labels; drawn shapes are varied; slices of label maps stand upright."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image, ImageDraw

from vesalius.errors import FormatError
from vesalius.learn.shapes import draw_trunk
from vesalius.learn.synthesize import draw_shapes, paint, read_label_maps, smooth_noise


def disc_in_square() -> np.ndarray:
    rows, columns = np.ogrid[:96, :80]
    labels = np.zeros((96, 80), np.int32)
    labels[16:80, 10:70] = 1
    labels[(rows - 48) ** 2 + (columns - 40) ** 2 < 200] = 2
    return labels


def test_the_same_seed_paints_the_same_picture_and_another_seed_another() -> None:
    shapes = [draw_shapes((64, 96), np.random.default_rng(seed)) for seed in (1, 1, 2)]
    pictures = [paint(labels, np.random.default_rng(seed)) for labels, seed in zip(shapes, (1, 1, 2), strict=True)]
    for first, same, other in (shapes, pictures):
        assert np.array_equal(first, same)
        assert not np.array_equal(first, other)
    assert shapes[0].shape == pictures[0].shape == (64, 96)
    assert (shapes[0].dtype, pictures[0].dtype) == (np.int32, np.uint8)


def test_most_borders_can_be_seen_and_either_side_may_be_the_brighter() -> None:
    labels = disc_in_square()
    pictures = [paint(labels, np.random.default_rng(seed)).astype(float) for seed in range(40)]
    steps = np.array([picture[labels == 2].mean() - picture[labels == 1].mean() for picture in pictures])
    assert np.mean(np.abs(steps) > 10) > 0.6
    assert 0.2 < np.mean(steps > 0) < 0.8
    spread = [picture[labels == 1].std() for picture in pictures]
    assert min(spread) > 0
    assert np.ptp([picture[labels == 0].mean() for picture in pictures]) > 100


def test_any_label_map_can_be_painted() -> None:
    for labels in (np.zeros((9, 200), np.uint8), np.full((40, 40), 3000, np.uint16)):
        assert paint(labels, np.random.default_rng(0)).shape == labels.shape


def test_drawings_hold_from_few_large_to_many_small_shapes() -> None:
    drawings = [draw_shapes((128, 128), np.random.default_rng(seed)) for seed in range(30)]
    counts = [len(np.unique(labels)) - 1 for labels in drawings]
    assert min(counts) >= 1
    assert min(counts) <= 5
    assert max(counts) >= 30
    assert any((labels == 0).mean() > 0.7 for labels in drawings)
    assert any((labels == 0).mean() < 0.3 for labels in drawings)


def test_a_trunk_is_a_body_with_a_cavity_on_either_side() -> None:
    for seed in range(12):
        canvas = Image.fromarray(np.zeros((120, 160), np.int32))
        last = draw_trunk(ImageDraw.Draw(canvas), 3, np.random.default_rng(seed))
        labels = np.array(canvas)
        assert set(np.unique(labels)) <= {0, *range(4, last + 1)} and last >= 7
        assert 0.1 < (labels > 0).mean() < 0.85
        left, right = (np.argwhere(labels == value)[:, 1].mean() for value in (5, 6))
        assert left < 70 and right > 90


def test_a_cavity_may_be_as_black_as_what_is_around() -> None:
    labels = disc_in_square()
    pictures = [paint(labels, np.random.default_rng(seed)).astype(float) for seed in range(80)]
    means = [[picture[labels == value].mean() for value in range(3)] for picture in pictures]
    assert any(around < 30 and abs(cavity - around) < 8 and body > 80 for around, body, cavity in means)


def test_noise_has_the_grain_that_was_asked_for() -> None:
    def alike(lengths: tuple[float, float]) -> tuple[float, float]:
        """Correlation of pixels that lie 4 columns, and 4 rows, apart."""
        noise = smooth_noise((160, 160), lengths, 0, np.random.default_rng(0))
        assert noise.std() == pytest.approx(1, abs=0.25)
        return float((noise[:, 4:] * noise[:, :-4]).mean()), float((noise[4:] * noise[:-4]).mean())

    assert max(alike((1.5, 1.5))) < 0.2
    assert min(alike((16, 16))) > 0.7
    along, across = alike((16, 1.5))
    assert along > 0.7
    assert across < 0.2


def test_slices_of_the_train_split_are_upright_in_three_planes(tmp_path: Path) -> None:
    labels = np.zeros((10, 12, 14), np.uint8)
    labels[2:8, 3:9, 4:13] = 1
    labels[2:8, 3:9, 12] = 7  # the top of the head
    flipped = nibabel.Nifti1Image(labels[::-1], np.diag([-1, 1, 1, 1]))
    (tmp_path / "labels").mkdir()
    for case in ("a", "b"):
        nibabel.save(flipped, tmp_path / "labels" / f"{case}.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"split": {"a": "train", "b": "val"}}))
    maps = read_label_maps(tmp_path, per_plane=3)
    assert [labels.shape for labels in maps] == [(14, 12)] * 3 + [(14, 10)] * 3 + [(12, 10)] * 3
    for sagittal_or_coronal in maps[:6]:
        assert sagittal_or_coronal.dtype == np.uint8
        assert set(np.unique(sagittal_or_coronal[:2])) == {0, 7}


def test_a_folder_without_label_maps_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="label maps"):
        read_label_maps(tmp_path)
