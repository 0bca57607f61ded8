"""Files to volumes and back: the format is told by the suffix and checked against the file's first bytes.

volume = read("ct.nii.gz")                 world RAS+ mm inside, whatever frame the file has
write(segmentation, "mask.seg.nrrd")       complete or not at all
reference = read_segmentation("gt.nrrd")
"""

from __future__ import annotations

import errno
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from vesalius.errors import FormatError, GeometryError
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume

SUFFIXES = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
    ".npz": "npz",
    ".png": "raster",
    ".jpg": "raster",
    ".jpeg": "raster",
    ".tif": "raster",
    ".tiff": "raster",
    ".bmp": "raster",
    ".dcm": "dicom",
    ".ima": "dicom",
    ".zip": "dicom",
}
FIRST_BYTES = (  # where, what, of which format
    (0, b"NRRD", "nrrd"),
    (0, b"ObjectType", "metaimage"),
    (0, b"\x89PNG", "raster"),
    (0, b"\xff\xd8\xff", "raster"),
    (0, b"BM", "raster"),
    (0, b"II*\0", "raster"),
    (0, b"MM\0*", "raster"),
    (4, b"n+2\0", "nifti"),
    (344, b"n+1\0", "nifti"),
    (128, b"DICM", "dicom"),
)
WRITABLE = tuple(suffix for suffix, name in SUFFIXES.items() if name != "dicom")


def read(path: str | Path, series: str = "", resample: bool = False) -> Volume:
    """An image of any format: a file, or a folder or zip of DICOM files.

    `series` names one of several DICOM series; `resample` accepts uneven slices. Raises FormatError.
    """
    path = Path(path)
    with _explained(path):
        match format_of(path):
            case "nifti":
                from vesalius.io.nifti import read_nifti

                return read_nifti(path)
            case "nrrd":
                from vesalius.io.nrrd import read_nrrd

                return read_nrrd(path)
            case "metaimage":
                from vesalius.io.metaimage import read_metaimage

                return read_metaimage(path)
            case "npz":
                from vesalius.io.npz import read_npz

                return read_npz(path)
            case "raster":
                from vesalius.io.raster import read_raster

                return read_raster(path)
            case _:
                from vesalius.io.dicom import read_dicom

                return read_dicom(path, series, resample)


def read_segmentation(path: str | Path) -> Segmentation:
    """A label file of any format: names from a .seg.nrrd or from a NIfTI that vesalius wrote, else "1", "2" ...

    Raises FormatError.
    """
    path = Path(path)
    with _explained(path):
        match format_of(path):
            case "nifti":
                from vesalius.io.nifti import read_nifti_labels

                return read_nifti_labels(path)
            case "nrrd":
                from vesalius.io.seg_nrrd import read_seg_nrrd

                return read_seg_nrrd(path)
            case "npz":
                from vesalius.io.npz import read_npz_labels

                return read_npz_labels(path)
            case "raster":
                from vesalius.io.raster import read_raster_labels

                return read_raster_labels(path)
            case "metaimage":
                from vesalius.io import labelmap
                from vesalius.io.metaimage import read_metaimage

                return labelmap.from_volume(read_metaimage(path), path.name)
            case _:
                raise FormatError(f"{path.name} is DICOM, whose labels cannot be read yet; export it as .seg.nrrd.")


def write(thing: Volume | Segmentation, path: str | Path) -> None:
    """Writes by the suffix, under a temporary name first, so that a failure leaves nothing; raises FormatError."""
    path = Path(path)
    name = SUFFIXES.get(suffix_of(path), "")
    if name in ("", "dicom"):
        raise FormatError(f"{path.name} cannot be written; use one of the suffixes {', '.join(WRITABLE)}.")
    if isinstance(thing, Volume):
        if path.name.lower().endswith(".seg.nrrd"):
            raise FormatError("A .seg.nrrd holds a segmentation, not an image; write .nrrd instead.")
        thing = _storable(thing)
    try:
        with TemporaryDirectory(prefix=".vesalius-", dir=path.parent, ignore_cleanup_errors=True) as folder:
            _write_as(name, thing, Path(folder, path.name))
            for part in sorted(Path(folder).iterdir(), key=lambda part: part.name == path.name):  # a header last
                part.replace(path.with_name(part.name))
    except OSError as error:
        raise FormatError(_advice(error, path)) from error


def suffix_of(path: Path) -> str:
    """The suffix in lower case, with both parts of .nii.gz."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def format_of(path: Path) -> str:
    """The format of a file or folder; raises FormatError where its name and its first bytes disagree."""
    if path.is_dir():
        return "dicom"
    if not path.exists():
        raise FormatError(f"There is no file {path}; check the path.")
    with path.open("rb") as file:
        start = file.read(352)
    if not start:
        raise FormatError(f"{path.name} is empty; copy it again from its source.")
    named = SUFFIXES.get(suffix_of(path), "")
    found = next((name for at, magic, name in FIRST_BYTES if start[at:].startswith(magic)), "")
    if not named and not found:
        raise FormatError(
            f"The format of {path.name} is not known; give a DICOM folder or one of {', '.join(SUFFIXES)}."
        )
    if named and found and named != found:
        raise FormatError(f"{path.name} is {named} by its name but {found} by its content; rename it.")
    return named or found


def _write_as(name: str, thing: Volume | Segmentation, path: Path) -> None:
    match name:
        case "nifti":
            from vesalius.io.nifti import write_nifti

            write_nifti(thing, path)
        case "nrrd":
            if isinstance(thing, Segmentation):
                from vesalius.io.seg_nrrd import write_seg_nrrd

                write_seg_nrrd(thing, path)
            else:
                from vesalius.io.nrrd import write_nrrd

                write_nrrd(thing, path)
        case "metaimage":
            from vesalius.io.metaimage import write_metaimage

            write_metaimage(thing, path)
        case "npz":
            from vesalius.io.npz import write_npz

            write_npz(thing, path)
        case "raster":
            from vesalius.io.raster import write_raster

            write_raster(thing, path)


def _storable(volume: Volume) -> Volume:
    """Masks as uint8 and half floats as float32, which no format has."""
    other = {"bool": np.uint8, "float16": np.float32}.get(str(volume.voxels.dtype))
    return Volume(volume.voxels.astype(other), volume.grid, volume.source) if other else volume


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what the readers raise about a bad file into one sentence with its name."""
    try:
        yield
    except GeometryError as error:
        raise FormatError(f"{path.name}: {error}") from error
    except (EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise FormatError(f"{path.name} is damaged or cut short; copy it again from its source.") from error
    except MemoryError as error:
        raise FormatError(f"{path.name} does not fit into memory; crop or downsample it first.") from error
    except OSError as error:
        if error.errno is None:  # from a decoder, not from the system
            raise FormatError(f"{path.name} is damaged or cut short; copy it again from its source.") from error
        raise FormatError(f"{path.name} cannot be read ({error.strerror}); check its permissions.") from error


def _advice(error: OSError, path: Path) -> str:
    """What to do about a failure to write."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"There is no space left for {path.name}; free some or choose another folder."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"{path.name} cannot be written: {path.parent} is read-only; choose another folder."
        case errno.ENOENT | errno.ENOTDIR:
            return f"{path.name} cannot be written: there is no folder {path.parent}; create it first."
    return f"{path.name} cannot be written ({error.strerror or error}); choose another folder."
