"""Worse images: each corruption does what it says, more so with severity, and keeps what must stay."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from phantoms import ball, grids
from toy_models import two_structures
from vesalius.evaluate.corruptions import (
    CORRUPTIONS,
    CROPS,
    add_bias,
    add_noise,
    bend_contrast,
    blur,
    coarsen,
    crop,
    move,
)
from vesalius.intensity import choose_window
from vesalius.volume import Source, Volume


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def apart(first: Volume, second: Volume) -> float:
    return float(np.abs(first.voxels.astype(float) - second.voxels.astype(float)).mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("kind", ["uint8", "int16", "float32"])
def test_severity_grows_and_kind_and_place_stay(name: str, kind: str) -> None:
    image = ball(grids()["anisotropic"])
    image = Volume((image.voxels.astype(kind) * (4 if kind == "int16" else 1)), image.grid, Source(modality="MR"))
    corrupt, severities = CORRUPTIONS[name]
    worse = [corrupt(image, amount, rng()) for amount in severities]
    distances = [apart(image, each) for each in worse]
    assert 0 < distances[0] < distances[1] < distances[2]
    for each in worse:
        assert each.grid is image.grid and each.voxels.dtype == kind and each.source == image.source
    assert np.array_equal(worse[0].voxels, corrupt(image, severities[0], rng()).voxels)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_pictures_stay_flat(name: str) -> None:
    image = ball(grids()["isotropic"]).crop((0, 0, 3), (26, 22, 1))
    corrupt, severities = CORRUPTIONS[name]
    worse = corrupt(image, severities[2], rng())
    assert worse.voxels.shape == image.voxels.shape and apart(image, worse) > 0


def test_noise_is_measured_against_the_window() -> None:
    image = Volume(
        np.full((1, 40, 40, 10), 100, np.int16), grids()["isotropic"].resize((40, 40, 10)), Source(modality="CT")
    )
    added = add_noise(image, 0.1, rng()).voxels.astype(float) - 100
    assert added.std() == pytest.approx(0.1 * 400, rel=0.03) and abs(added.mean()) < 1  # 400 HU are the CT window


def test_blur_is_the_same_in_mm() -> None:
    grid = grids()["anisotropic"]  # 0.8 x 0.8 x 3 mm
    point = np.zeros((1, *grid.shape), np.float32)
    point[0, 13, 11, 3] = 1000
    spread = blur(Volume(point, grid), 2, rng()).voxels[0]
    i = np.arange(grid.shape[0])
    line = spread.sum(axis=(1, 2))
    sigma_mm = np.sqrt((line * (i - 13) ** 2).sum() / line.sum()) * 0.8
    assert sigma_mm == pytest.approx(1.6, rel=0.05)
    assert spread[13, 11, 2] < spread[10, 11, 3]  # one slice is 3 mm away, three columns are 2.4 mm


def test_motion_smears_along_one_axis() -> None:
    image = two_structures().image
    moved = move(image, 5, rng()).voxels[0].astype(float)
    assert np.abs(moved - ndimage.uniform_filter1d(image.voxels[0].astype(float), 5, 0, mode="nearest")).max() <= 0.51


def test_bias_stays_within_its_share_and_is_smooth() -> None:
    image = Volume(np.full((1, 32, 32, 32), 100, np.uint8), grids()["isotropic"].resize((32, 32, 32)))
    field = add_bias(image, 0.4, rng()).voxels[0] / 100
    assert field.min() >= 0.6 - 0.01 and field.max() <= 1.4 + 0.01 and np.ptp(field) > 0.4
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in range(3)) < 0.1


def test_contrast_bends_within_the_window_only() -> None:
    image = two_structures().image
    bent = bend_contrast(image, 2, rng())
    window = choose_window(image)
    share = (image.voxels - window.low) / (window.high - window.low)
    either = [window.low + (window.high - window.low) * share**power for power in (2, 0.5)]
    assert min(np.abs(bent.voxels - each).max() for each in either) <= 0.51


def test_coarse_voxels_lose_what_is_small() -> None:
    grid = grids()["isotropic"].resize((32, 32, 32))
    stripes = np.where(np.indices(grid.shape)[0] % 2, 200, 0).astype(np.uint8)
    coarse = coarsen(Volume(stripes[None], grid), 4, rng()).voxels[0]
    assert np.ptp(coarse[8:24, 8:24, 8:24]) < 40  # stripes of one voxel become grey
    image = ball(grids()["isotropic"], radius_mm=3)
    bright = np.argwhere(coarsen(image, 2, rng()).voxels[0] > 110).mean(axis=0)
    assert np.allclose(bright, np.argwhere(image.voxels[0] > 110).mean(axis=0), atol=0.3)  # nothing has moved


def test_the_field_of_view_ends_inside_of_the_structures() -> None:
    trial = two_structures()
    whole = int(trial.reference.layers.any(axis=0).any(axis=(1, 2)).sum())
    for part in CROPS:
        image, reference = crop(trial.image, trial.reference, part)
        assert image.grid.same_as(reference.grid) and image.grid.shape[1:] == trial.image.grid.shape[1:]
        assert np.array_equal(image.voxels, trial.image.voxels[:, : image.grid.shape[0]])
        end = np.flatnonzero(trial.reference.layers.any(axis=(0, 2, 3)))[0] + round((1 - part) * 20)
        assert image.grid.shape[0] == end and whole <= 20
