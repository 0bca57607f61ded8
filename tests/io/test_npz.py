"""The challenge archives: axes, spacing and keys as the challenges' scripts read and write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vesalius import io
from vesalius.errors import FormatError
from vesalius.grid import make_grid
from vesalius.labels import LabelSpace
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume

IMAGE = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)  # z, y, x
SPACING = (0.7, 0.8, 5.0)  # x, y, z


def test_a_volume_is_z_y_x_and_its_spacing_x_y_z(tmp_path: Path) -> None:
    prompts = np.array([{"z_mid": 1}], dtype=object)  # pickled, and never loaded with the image
    np.savez_compressed(tmp_path / "CT_case.npz", imgs=IMAGE, spacing=SPACING, boxes=prompts)
    volume = io.read(tmp_path / "CT_case.npz")
    assert (volume.grid.shape, volume.grid.spacing_mm, volume.grid.codes) == ((4, 3, 2), SPACING, "LPS")
    assert volume.grid.calibrated and volume.source.modality == ""
    np.testing.assert_array_equal(volume.voxels[0], IMAGE.T)


def test_a_picture_is_rows_by_columns_by_colour_in_pixels(tmp_path: Path) -> None:
    colour = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    np.savez(tmp_path / "2D.npz", imgs=colour)
    volume = io.read(tmp_path / "2D.npz")
    assert volume.voxels.shape == (3, 5, 4, 1) and not volume.grid.calibrated
    np.testing.assert_array_equal(volume.voxels[..., 0], colour.transpose(2, 1, 0))
    io.write(volume, tmp_path / "again.npz")
    np.testing.assert_array_equal(np.load(tmp_path / "again.npz")["imgs"], colour)


def test_a_result_has_the_key_and_the_axes_of_the_challenge(tmp_path: Path) -> None:
    np.savez(tmp_path / "case.npz", imgs=IMAGE, spacing=SPACING, gts=(IMAGE > 9).astype(np.uint8))
    volume = io.read(tmp_path / "case.npz")
    found = Segmentation((volume.voxels > 15) * np.uint8(2), volume.grid, LabelSpace.of("a"), {"a": (0, 2)})
    io.write(found, tmp_path / "result.npz")
    segs = np.load(tmp_path / "result.npz")["segs"]
    assert segs.dtype == np.uint8
    np.testing.assert_array_equal(segs, 2 * (IMAGE > 15))
    reference = io.read_segmentation(tmp_path / "case.npz")
    np.testing.assert_array_equal(reference.mask("1"), (IMAGE > 9).T)
    assert io.read_segmentation(tmp_path / "result.npz").grid == reference.grid


def test_a_mask_of_a_picture_is_flat(tmp_path: Path) -> None:
    np.savez(tmp_path / "2D.npz", imgs=np.zeros((4, 5, 3), np.uint8), gts=np.eye(4, 5, dtype=np.uint8))
    reference = io.read_segmentation(tmp_path / "2D.npz")
    assert reference.grid.shape == (5, 4, 1)
    io.write(reference, tmp_path / "result.npz")
    np.testing.assert_array_equal(np.load(tmp_path / "result.npz")["segs"], np.eye(4, 5))


def test_another_storage_order_is_turned_to_lps(tmp_path: Path) -> None:
    ras = Volume(IMAGE.T[None], make_grid((4, 3, 2), np.diag([0.7, 0.8, 5, 1])))
    io.write(ras, tmp_path / "case.npz")
    np.testing.assert_array_equal(np.load(tmp_path / "case.npz")["imgs"], IMAGE[:, ::-1, ::-1])
    np.testing.assert_allclose(np.load(tmp_path / "case.npz")["spacing"], SPACING)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"gts": IMAGE}, "no array `imgs` but gts; rename"),
        ({"imgs": IMAGE, "spacing": (1, 0, 1)}, "spacing"),
        ({"imgs": IMAGE, "spacing": (1, 1, -2)}, "spacing"),
        ({"imgs": IMAGE, "spacing": (1, 1, np.nan)}, "spacing"),
        ({"imgs": np.zeros(5)}, "shape"),
        ({"imgs": np.zeros((2, 2, 2, 2, 2))}, "shape"),
        ({"imgs": np.array([{}], dtype=object)}, "no plain arrays"),
    ],
)
def test_what_is_no_image_is_refused_by_name(tmp_path: Path, arrays: dict, says: str) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(FormatError, match=rf"bad\.npz.*{says}"):
        io.read(tmp_path / "bad.npz")


def test_an_archive_without_labels_is_refused_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "case.npz", imgs=IMAGE)
    with pytest.raises(FormatError, match=r"case\.npz has no array `segs` or `gts` but imgs"):
        io.read_segmentation(tmp_path / "case.npz")
