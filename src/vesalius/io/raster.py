"""Pictures: PNG, JPEG, BMP and TIFF, 8 or 16 bit, grey or colour; their unit is the pixel.

A picture lies in the world as it lies on screen: columns run to L, rows to P, so that its axial view is the picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import FormatError
from vesalius.grid import make_grid
from vesalius.io import labelmap
from vesalius.segmentation import Segmentation
from vesalius.volume import Source, Volume

TIFF = (".tif", ".tiff")
COPYRIGHT = 33432  # the TIFF tag


def read_raster(path: Path) -> Volume:
    """A picture as (1 or 3, W, H, 1): palettes and CMYK become RGB, alpha is dropped, the EXIF orientation is applied.

    One bit a pixel becomes 0 and 255. The pages of a TIFF are a stack (C, W, H, pages); FormatError where they differ.
    """
    return _volume(_pages(path), path.name)


def read_raster_labels(path: Path) -> Segmentation:
    """A mask; the indices of a palette are its labels, one bit a pixel is label 1."""
    return labelmap.from_volume(_volume(_pages(path, labels=True), path.name), path.name)


def write_raster(thing: Volume | Segmentation, path: Path) -> None:
    """Writes one axial slice as a picture, or several as the pages of a TIFF; FormatError for what it cannot hold."""
    volume = thing if isinstance(thing, Volume) else labelmap.to_volume(thing)
    pages = volume.orient("LPS").voxels.transpose(3, 2, 1, 0)
    suffix, dtype = path.suffix.lower(), str(pages.dtype)
    _check_fits(pages, suffix, isinstance(thing, Segmentation))
    if pages.shape[-1] == 3 and dtype == "uint16":
        _write_colour_16_bit(pages, path)
        return
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    licence = thing.licence if isinstance(thing, Segmentation) else ""
    first, *rest = [Image.fromarray(page[..., 0] if page.shape[-1] == 1 else page) for page in pages]
    if suffix in TIFF:
        tags = {COPYRIGHT: licence} if licence else {}
        first.save(path, save_all=True, append_images=rest, compression="tiff_adobe_deflate", tiffinfo=tags)
    elif suffix == ".png":
        note = PngInfo()
        if licence:
            note.add_text("Copyright", licence)
        first.save(path, pnginfo=note)
    else:
        first.save(path, quality=95)


def _pages(path: Path, labels: bool = False) -> list[NDArray]:
    """The pages (H, W) or (H, W, 3) of a file; more than one only for a TIFF."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            if file.mode in ("RGB", "RGBA") and ";16" in str(file.tile[0][3]):
                return _colour_16_bit(path)
            pages = []
            for n in range(getattr(file, "n_frames", 1) if file.format == "TIFF" else 1):
                file.seek(n)
                array = _array(ImageOps.exif_transpose(file), labels)
                wide = file.mode == "I" and file.format == "PNG"  # 16 bit, as Pillow opened them before version 11
                pages.append(array.astype(np.uint16) if wide else array)
            return pages
    except UnidentifiedImageError as error:
        raise FormatError(f"{path.name} is no kind of picture that can be read; convert it to PNG.") from error
    except Image.DecompressionBombError as error:
        raise FormatError(
            f"{path.name} is too large for one picture; cut the region that you need out of it."
        ) from error
    except (OSError, SyntaxError, TypeError, ValueError) as error:  # what Pillow's readers raise
        raise FormatError(f"{path.name} is damaged or cut short ({error}); copy it again from its source.") from error


def _array(page: Any, labels: bool) -> NDArray:
    """One page as an array; a Pillow mode that is neither grey nor a mask is taken as RGB."""
    if page.mode == "1":
        return np.asarray(page).astype(np.uint8) * (1 if labels else 255)
    if page.mode == "LA":
        page = page.convert("L")
    elif not (page.mode in ("L", "I", "F") or page.mode.startswith("I;16") or (page.mode == "P" and labels)):
        page = page.convert("RGB")
    array = np.array(page)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _colour_16_bit(path: Path) -> list[NDArray]:
    """What Pillow would cut to 8 bit."""
    import SimpleITK

    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise FormatError(
            f"{path.name} is damaged or has a 16-bit alpha channel; save it again without one."
        ) from error
    array = SimpleITK.GetArrayFromImage(image)[..., :3]
    return list(array) if image.GetDimension() == 3 else [array]


def _volume(pages: list[NDArray], name: str) -> Volume:
    if any(page.shape != pages[0].shape for page in pages):
        raise FormatError(f"The pages of {name} differ in size; save the one that you need as a file of its own.")
    stack = np.stack(pages)
    voxels = (stack if stack.ndim == 4 else stack[..., None]).transpose(3, 2, 1, 0)
    i, j, k = voxels.shape[1:]
    return Volume(voxels, make_grid((i, j, k), np.diag([-1, -1, 1, 1]), calibrated=False), Source("raster", "LPS"))


def _check_fits(pages: NDArray, suffix: str, labels: bool) -> None:
    """Refuses what the file would lose or could not hold."""
    count, rows, columns, channels = pages.shape
    if labels and suffix in (".jpg", ".jpeg"):
        raise FormatError("JPEG changes the values of labels; write .png instead.")
    if count > 1 and suffix not in TIFF:
        raise FormatError(
            f"A picture holds one axial slice, not {columns} x {rows} x {count} voxels; write .nii.gz, .nrrd or .tif."
        )
    if channels not in (1, 3):
        raise FormatError(f"A picture has 1 or 3 channels, not {channels}; write .nii.gz or .nrrd instead.")
    held = ["uint8"]
    held += ["uint16"] if suffix in (".png", *TIFF) and (channels == 1 or count == 1) else []
    held += ["int32", "float32"] if suffix in TIFF and channels == 1 else []
    if str(pages.dtype) not in held:
        raise FormatError(f"A {suffix} file cannot hold voxels of type {pages.dtype}; write .nii.gz or .nrrd instead.")


def _write_colour_16_bit(pages: NDArray, path: Path) -> None:
    import SimpleITK

    try:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pages[0], isVector=True), str(path))
    except RuntimeError as error:
        raise OSError(str(error).rsplit("Reason: ", maxsplit=1)[-1]) from error
