"""DICOM images from a folder, a zip or a file: one series becomes one volume, its slices ordered by position.

What is no regular stack of slices is refused with what to do about it, never guessed into one.
"""

from __future__ import annotations

import zipfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import FormatError
from vesalius.grid import make_grid
from vesalius.io.dicom_frames import TELL_APART, File, Frame, decode, is_dicom, read_frames
from vesalius.volume import Source, Volume

LPS_TO_RAS = np.diag((-1.0, -1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Series:
    """One series of images: what tells it from its neighbours, without free text. `shape` is columns, rows, images."""

    uid: str
    number: str
    modality: str
    shape: tuple[int, int, int]
    files: int

    def __str__(self) -> str:
        columns, rows, images = self.shape
        size = f"{images} image{'s' * (images > 1)} of {columns} x {rows}"
        return f"number {self.number or 'none'}, {self.modality}, {size}, UID {self.uid}"


def list_series(path: Path) -> list[Series]:
    """The series of images in a folder (searched through), a zip or a file, in order of their number."""
    return _listed(_find(path))


def read_dicom(path: Path, series: str = "", resample: bool = False) -> Volume:
    """One series as a volume (C, column, row, slice), the slices in order of position along their normal.

    `path` is a folder (searched through), a zip, or one file, which is then read alone. `series` names one of several
    by its number, its UID or an ending of its UID. Values are rescaled (CT: HU) and int16 where all are whole numbers
    that fit, else float32; colour is 8 bit RGB. MONOCHROME1 is inverted so that bright means dense, but not where
    values are measurements (CT, PET, NM). Uneven slices are refused, or with `resample` interpolated linearly from
    the first to the last one, at the even spacing nearest to their median. Raises FormatError.
    """
    frames = _choose(_find(path), series, path.name)
    _check_alike(frames)
    if frames[0].axes.any():
        frames.sort(key=lambda frame: frame.depth_mm)
        _check_stack(frames)
        depths = _even_depths(frames, resample)
        affine, voxels = _affine(frames, len(depths)), _interpolate(decode(frames), frames, depths)
    else:
        affine, voxels = _picture_affine(frames), decode(frames)
    grid = make_grid(
        (voxels.shape[3], voxels.shape[2], voxels.shape[1]),
        LPS_TO_RAS @ affine,
        calibrated=frames[0].spacing_mm is not None,
    )
    return Volume(voxels.transpose(0, 3, 2, 1), grid, _source(frames))


def _find(path: Path) -> dict[str, list[Frame]]:
    """All frames by the UID of their series; raises FormatError where there are none."""
    try:
        import pydicom  # noqa: F401
    except ImportError:
        raise FormatError("Reading DICOM needs pydicom: pip install 'vesalius[dicom]'.") from None
    found: dict[str, dict[tuple[str, str], list[Frame]]] = defaultdict(dict)
    for file in _files(path):
        if is_dicom(file) and (frames := read_frames(file)):
            header = frames[0].header
            # a second copy of a file is dropped; the position is there for anonymisers that repeat one UID
            identity = (header.get("SOPInstanceUID", ""), str(frames[0].position))
            found[header.get("SeriesInstanceUID", "")].setdefault(identity, frames)
    if not found:
        raise FormatError(
            f"{path.name} holds no DICOM images; give the folder, the zip or a file with the images of one series."
        )
    return {uid: [frame for frames in files.values() for frame in frames] for uid, files in found.items()}


def _files(path: Path) -> Sequence[File]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    if not path.is_file():
        raise FormatError(f"There is no file or folder {path}; check the name.")
    if not zipfile.is_zipfile(path):
        if path.suffix.lower() == ".zip":
            raise FormatError(f"{path.name} is a damaged zip; copy it again.")
        return [path]
    archive = zipfile.ZipFile(path)
    if any(entry.flag_bits & 1 for entry in archive.infolist()):
        raise FormatError(f"{path.name} is encrypted; unpack it with its password and give the folder.")
    return [zipfile.Path(archive, entry.filename) for entry in archive.infolist() if not entry.is_dir()]


def _listed(found: dict[str, list[Frame]]) -> list[Series]:
    return sorted(map(_describe, found.values()), key=lambda series: (len(series.number), series.number, series.uid))


def _describe(frames: list[Frame]) -> Series:
    header = frames[0].header
    number = "" if header.get("SeriesNumber") is None else str(header.SeriesNumber)
    shape = (int(header.Columns), int(header.Rows), len(frames))
    files = len({str(frame.file) for frame in frames})
    return Series(header.get("SeriesInstanceUID", ""), number, header.get("Modality", ""), shape, files)


def _choose(found: dict[str, list[Frame]], wanted: str, name: str) -> list[Frame]:
    listed = _listed(found)
    exact = [series for series in listed if wanted in ("", series.uid, series.number)]
    matches = exact or [series for series in listed if series.uid.endswith(wanted)]
    if len(matches) == 1:
        return found[matches[0].uid]
    problem = f"{len(matches) or 'none'} of them fit {wanted!r}" if wanted else "one must be named"
    raise FormatError(
        f"{name} holds {len(found)} series and {problem}: choose with --series and its number, its UID or the end "
        "of its UID.\n" + "\n".join(f"  {series}" for series in listed)
    )


def _check_alike(frames: list[Frame]) -> None:
    """Refuses images of several sizes, orientations or spacings in one series, and many without a position."""
    for what, values in (
        ("size", [(f.header.Rows, f.header.Columns, f.header.SamplesPerPixel) for f in frames]),
        ("orientation", [f.axes.ravel() for f in frames]),
        ("pixel spacing", [f.spacing_mm or (0, 0) for f in frames]),
    ):
        table = np.array(values, dtype=float)
        kinds = [tuple(row) for row in table.round(2)]
        usual = table[kinds.index(Counter(kinds).most_common(1)[0][0])]
        odd = [frame for frame, row in zip(frames, table, strict=True) if not np.allclose(row, usual, 1e-3, 1e-3)]
        if odd:
            names = [f.file.name + " (a localizer)" * ("LOCALIZER" in f.header.get("ImageType", [])) for f in odd[:3]]
            more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
            raise FormatError(
                f"The {what} of {', '.join(names)}{more} differs from that of the other {len(frames) - len(odd)} "
                "images in the series; move them out of the folder."
            )
    if len(frames) > 1 and not frames[0].axes.any():
        raise FormatError(
            f"The series holds {len(frames)} images without a position (a film over time, or single pictures); "
            "give a file with one image, or save the frame that you want as PNG."
        )


def _check_stack(frames: list[Frame]) -> None:
    """Refuses two images at one position, and images that are shifted against each other."""
    depths = np.array([frame.depth_mm for frame in frames])
    gaps = np.diff(depths)
    if len(gaps) and gaps.min() <= 0.01 * gaps.max():
        _refuse_repeated(frames, 1 + int((gaps > 0.01 * gaps.max()).sum()))
    positions = np.array([frame.position for frame in frames])
    shares = (depths - depths[0]) / max(depths[-1] - depths[0], 1e-9)
    sideways = np.linalg.norm(positions - positions[0] - np.outer(shares, positions[-1] - positions[0]), axis=1)
    if sideways.max() > 0.1 * min(_checked_spacing(frames[0])):
        raise FormatError(
            f"The slices are shifted sideways against each other by up to {sideways.max():.3g} mm; "
            "copy the images of one field of view into a folder of their own."
        )


def _refuse_repeated(frames: list[Frame], places: int) -> NoReturn:
    reason = ""
    for name in TELL_APART:
        values = sorted({str(frame.header.get(name, "none")) for frame in frames})
        if len(values) > 1 and not reason:
            reason = f", which differ in {name} ({', '.join(values[:5])})"
    raise FormatError(
        f"The series holds {len(frames)} images at {places} position{'s' * (places > 1)}{reason}: a time series, or "
        "several acquisitions; copy the images of one of them into a folder of their own."
    )


def _checked_spacing(frame: Frame) -> tuple[float, float]:
    if frame.spacing_mm is None or not min(frame.spacing_mm) > 0:
        raise FormatError(f"{frame.file.name} states no pixel spacing above zero; repair its PixelSpacing.")
    return frame.spacing_mm


def _even_depths(frames: list[Frame], resample: bool) -> NDArray[np.float64]:
    """The depths of evenly spaced slices: those of the frames, or with `resample` new ones where they are uneven."""
    depths = np.array([frame.depth_mm for frame in frames])
    gaps = np.diff(depths)
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    wrong = np.abs(gaps - usual) > max(0.01 * usual, 0.01)
    if not wrong.any():
        return depths
    if not resample:
        k = int(wrong.argmax())
        raise FormatError(
            f"The slices are not evenly spaced ({gaps[k]:.4g} mm after slice {k}, {usual:.4g} mm as a rule), so images "
            "may be missing: find them, or add --resample to interpolate between those that are there."
        )
    return np.linspace(depths[0], depths[-1], round((depths[-1] - depths[0]) / usual) + 1)


def _affine(frames: list[Frame], count: int) -> NDArray[np.float64]:
    """Index to LPS mm for `count` slices from the first position to the last; a tilted gantry is a shear in it."""
    first, last = frames[0], frames[-1]
    rows, columns = _checked_spacing(first)
    affine = np.eye(4)
    affine[:3, 0] = first.axes[0] * columns
    affine[:3, 1] = first.axes[1] * rows
    affine[:3, 2] = np.cross(*first.axes) * first.thickness_mm
    if count > 1:
        affine[:3, 2] = (last.position - first.position) / (count - 1)
    affine[:3, 3] = first.position
    return affine


def _picture_affine(frames: list[Frame]) -> NDArray[np.float64]:
    """Of an image that does not know where in the patient it lies: its first pixel is the origin."""
    rows, columns = _checked_spacing(frames[0]) if frames[0].spacing_mm else (1.0, 1.0)
    return np.diag((columns, rows, 1.0, 1.0))


def _interpolate(voxels: NDArray, frames: list[Frame], wanted: NDArray[np.float64]) -> NDArray:
    """Slices at the `wanted` depths, each linear between its two neighbours, in the same number type."""
    depths = np.array([frame.depth_mm for frame in frames])
    if np.array_equal(depths, wanted):
        return voxels
    out = np.empty((len(voxels), len(wanted), *voxels.shape[2:]), dtype=voxels.dtype)
    whole = np.issubdtype(voxels.dtype, np.integer)
    for k, depth in enumerate(wanted):
        after = int(np.clip(np.searchsorted(depths, depth), 1, len(depths) - 1))
        share = (depth - depths[after - 1]) / (depths[after] - depths[after - 1])
        values = (1 - share) * voxels[:, after - 1].astype(np.float32) + share * voxels[:, after]
        out[:, k] = np.rint(values) if whole else values
    return out


def _source(frames: list[Frame]) -> Source:
    """What a DICOM segmentation must refer to; UIDs point at a patient, so "references" stays out of every report.

    "instances" are (class, UID, frame number) in slice order before any resampling.
    """
    header = frames[0].header
    references = {
        "study": header.get("StudyInstanceUID", ""),
        "series": header.get("SeriesInstanceUID", ""),
        "frame_of_reference": header.get("FrameOfReferenceUID", ""),
        "instances": tuple((f.header.get("SOPClassUID"), f.header.get("SOPInstanceUID"), f.number + 1) for f in frames),
    }
    return Source("dicom", "LPS", header.get("Modality", ""), {"references": references})
