"""Pictures: as on screen, with the numbers of the file, whatever kind of picture it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from PIL import Image

from vesalius import io
from vesalius.errors import FormatError
from vesalius.grid import PLANES, make_grid
from vesalius.labels import LabelSpace
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume

ROWS, COLUMNS = 4, 5
GREY = np.arange(20, dtype=np.uint8).reshape(ROWS, COLUMNS)
COLOUR = np.arange(60, dtype=np.uint8).reshape(ROWS, COLUMNS, 3)


def read_back(path: Path, image: Image.Image) -> np.ndarray:
    """What `io.read` makes of a picture, as (C, W, H)."""
    image.save(path)
    return io.read(path).voxels[..., 0]


def test_the_axial_view_is_the_picture(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    volume = io.read(tmp_path / "grey.png")
    assert (volume.grid.shape, volume.grid.codes) == ((COLUMNS, ROWS, 1), PLANES["axial"])
    assert not volume.grid.calibrated
    np.testing.assert_array_equal(volume.voxels[0, :, :, 0].T, GREY)
    np.testing.assert_allclose(volume.grid.world((3, 2, 0)), (-3, -2, 0))


def test_kinds_of_pictures(tmp_path: Path) -> None:
    colour = Image.fromarray(COLOUR)
    palette = Image.fromarray(GREY % 3, "P")
    palette.putpalette([0, 0, 0, 250, 10, 20, 0, 255, 0])
    bits = Image.fromarray((GREY > 9).astype(np.uint8) * 255).convert("1")
    rgba, grey_alpha = colour.copy(), Image.fromarray(GREY)
    rgba.putalpha(7)
    grey_alpha.putalpha(7)
    chw = COLOUR.transpose(2, 1, 0)
    np.testing.assert_array_equal(read_back(tmp_path / "colour.png", colour), chw)
    np.testing.assert_array_equal(read_back(tmp_path / "colour.bmp", colour), chw)
    np.testing.assert_array_equal(read_back(tmp_path / "alpha.png", rgba), chw)
    np.testing.assert_array_equal(read_back(tmp_path / "grey_alpha.png", grey_alpha)[0], GREY.T)
    np.testing.assert_array_equal(read_back(tmp_path / "bits.png", bits)[0], 255 * (GREY > 9).T)
    np.testing.assert_array_equal(read_back(tmp_path / "palette.png", palette)[:, 1, 0], (250, 10, 20))
    assert read_back(tmp_path / "cmyk.jpg", colour.convert("CMYK")).shape == (3, COLUMNS, ROWS)
    np.testing.assert_array_equal(read_back(tmp_path / "cmyk.tif", Image.new("CMYK", (2, 2), (0, 255, 255, 0)))[0], 255)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_kept_and_alpha_is_not(tmp_path: Path, suffix: str, channels: int) -> None:
    values = (np.arange(20 * channels).reshape(ROWS, COLUMNS, channels) * 700).astype(np.uint16)
    image = SimpleITK.GetImageFromArray(values if channels > 1 else values[..., 0], isVector=channels > 1)
    SimpleITK.WriteImage(image, str(tmp_path / ("image" + suffix)))
    found = io.read(tmp_path / ("image" + suffix)).voxels[..., 0]
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, values[..., : 3 if channels > 2 else 1].transpose(2, 1, 0))


def test_sixteen_bits_of_grey_with_alpha_are_refused(tmp_path: Path) -> None:
    values = np.zeros((ROWS, COLUMNS, 2), np.uint16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values, isVector=True), str(tmp_path / "image.png"))
    with pytest.raises(FormatError, match=r"image\.png .*alpha"):
        io.read(tmp_path / "image.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied_to_picture_and_mask(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((40, 60), np.uint8)
    upright[:20, :15] = 200  # the upper left corner
    stored = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T}
    stored |= {6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, 3)}
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored[orientation]).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    Image.fromarray(stored[orientation] // 200).save(tmp_path / "mask.png", exif=exif)
    assert (np.abs(io.read(tmp_path / "photo.jpg").voxels[0, ..., 0].T - upright.astype(float)) < 30).all()
    np.testing.assert_array_equal(io.read_segmentation(tmp_path / "mask.png").mask("1")[..., 0].T, upright > 0)


def test_the_pages_of_a_tiff_are_a_stack(tmp_path: Path) -> None:
    pages = [Image.fromarray(GREY.astype(np.uint16) * 100 + n) for n in range(3)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    volume = io.read(tmp_path / "stack.tif")
    assert volume.voxels.shape == (1, COLUMNS, ROWS, 3) and not volume.grid.calibrated
    np.testing.assert_array_equal(volume.voxels[0, :, :, 2].T, GREY.astype(np.uint16) * 100 + 2)
    io.write(volume, tmp_path / "again.tif")
    np.testing.assert_array_equal(io.read(tmp_path / "again.tif").voxels, volume.voxels)
    with pytest.raises(FormatError, match=r"one axial slice.*\.nii\.gz"):
        io.write(volume, tmp_path / "again.png")


def test_pages_of_different_size_are_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(GREY[:2])])
    with pytest.raises(FormatError, match=r"pages of a\.tif differ"):
        io.read(tmp_path / "a.tif")


def test_the_labels_of_a_mask(tmp_path: Path) -> None:
    palette = Image.fromarray(GREY % 3, "P")
    palette.putpalette([0, 0, 0, 250, 10, 20, 0, 255, 0])
    palette.save(tmp_path / "palette.png")
    found = io.read_segmentation(tmp_path / "palette.png")
    np.testing.assert_array_equal(found.layers[0, :, :, 0].T, GREY % 3)
    Image.fromarray((GREY > 9).astype(np.uint8) * 255).convert("1").save(tmp_path / "bits.png")
    assert io.read_segmentation(tmp_path / "bits.png").labels.names == ("1",)
    Image.fromarray(COLOUR).save(tmp_path / "photo.png")
    with pytest.raises(FormatError, match=r"photo\.png has 3 channels"):
        io.read_segmentation(tmp_path / "photo.png")


def test_a_slice_of_another_orientation_is_written_as_it_is_looked_at(tmp_path: Path) -> None:
    io.write(Volume(GREY.T[None, ..., None], make_grid((COLUMNS, ROWS, 1), np.eye(4))), tmp_path / "ras.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "ras.png")), GREY[::-1, ::-1])


@pytest.mark.parametrize(
    ("dtype", "channels", "suffix"),
    [("int16", 1, ".png"), ("float32", 1, ".png"), ("uint16", 1, ".jpg"), ("uint16", 1, ".bmp"), ("uint8", 2, ".png")],
)
def test_what_a_picture_cannot_hold_is_refused_with_another_format(
    tmp_path: Path, dtype: str, channels: int, suffix: str
) -> None:
    volume = Volume(np.zeros((channels, 5, 4, 1), dtype), make_grid((5, 4, 1), np.diag([-1, -1, 1, 1])))
    with pytest.raises(FormatError, match=r"\.nii\.gz or \.nrrd"):
        io.write(volume, tmp_path / ("image" + suffix))


def test_a_jpeg_is_close_and_no_mask_is_written_as_one(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    volume = Volume(smooth[None, ..., None], make_grid((64, 48, 1), np.diag([-1, -1, 1, 1]), calibrated=False))
    io.write(volume, tmp_path / "image.jpg")
    assert np.abs(io.read(tmp_path / "image.jpg").voxels.astype(int) - volume.voxels).max() <= 4
    found = Segmentation(volume.voxels, volume.grid, LabelSpace.of("a"), {"a": (0, 1)})
    with pytest.raises(FormatError, match=r"write \.png"):
        io.write(found, tmp_path / "mask.jpg")


def test_a_picture_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(GREY).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9)
    with pytest.raises(FormatError, match=r"huge\.png is too large"):
        io.read(tmp_path / "huge.png")
