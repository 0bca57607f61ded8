"""What one DICOM file says: its frames with their place, spacing and scale, and their decoded pixels.

Of the headers only the elements in `TAGS` are read, so no patient data can reach a message or a report.
"""

from __future__ import annotations

import struct
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import FormatError

if TYPE_CHECKING:
    from pydicom import Dataset

File = Path | zipfile.Path  # in a folder, or inside a zip
TELL_APART = ("AcquisitionNumber", "TemporalPositionIdentifier", "EchoTime", "DiffusionBValue", "TriggerTime")
# fmt: off
TAGS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "SeriesNumber", "Modality", "ImageType", "Rows", "Columns", "NumberOfFrames", "FrameTime", "FrameTimeVector",
    "SamplesPerPixel", "PhotometricInterpretation", "BitsStored", "PixelRepresentation",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices", "SliceThickness",
    "ImagerPixelSpacing", "NominalScannedPixelSpacing", "EstimatedRadiographicMagnificationFactor",
    "SequenceOfUltrasoundRegions", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", *TELL_APART,
)
NO_IMAGES = {"SEG", "RTDOSE"}  # they have rows and columns, but belong to an image rather than being one
MEASUREMENTS = {"CT", "PT", "NM"}  # modalities whose values mean something, however a screen is to show them
# what pydicom and its decoders raise for broken files
DAMAGE = (
    ValueError, TypeError, RuntimeError, AttributeError, KeyError, EOFError, OSError, struct.error, zipfile.BadZipFile,
)
# fmt: on


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of one file, in LPS mm.

    `position` is the centre of the first pixel, `axes` (2, 3) point to the next column and to the next row; both are
    zero where the file does not say. `spacing_mm` is between rows and between columns, None where the unit is the
    pixel; `thickness_mm` is that of a slice that has no neighbour to measure from.
    """

    file: File
    header: Dataset
    number: int
    position: NDArray[np.float64]
    axes: NDArray[np.float64]
    spacing_mm: tuple[float, float] | None
    thickness_mm: float
    slope: float
    intercept: float

    @property
    def depth_mm(self) -> float:
        """Position along the normal."""
        return float(np.cross(*self.axes) @ self.position)


def is_dicom(path: File) -> bool:
    """Whether a file says that it is DICOM, whatever its name."""
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def read_frames(file: File) -> list[Frame]:
    """The frames of one file, without pixels; none for reports, plans, segmentations and directories."""
    from pydicom import dcmread

    try:
        with file.open("rb") as stream:
            header = dcmread(stream, stop_before_pixels=True, specific_tags=list(TAGS))
        if "Rows" not in header or "Columns" not in header or header.get("Modality") in NO_IMAGES:
            return []
        return [_frame(file, header, number) for number in range(int(_number(header, "NumberOfFrames", 1)))]
    except DAMAGE as error:
        raise FormatError(f"{file.name} is a damaged DICOM file ({error}); copy it again.") from None


def _frame(file: File, header: Dataset, number: int) -> Frame:
    position, axes = _place(header, number)
    measures = _functional(header, number, "PixelMeasuresSequence")
    thickness = abs(_number(measures, "SpacingBetweenSlices", 0)) or _number(measures, "SliceThickness", 0) or 1.0
    scale = _functional(header, number, "PixelValueTransformationSequence")
    slope, intercept = _number(scale, "RescaleSlope", 1), _number(scale, "RescaleIntercept", 0)
    return Frame(file, header, number, position, axes, _spacing(header, measures), thickness, slope, intercept)


def _functional(header: Dataset, number: int, name: str) -> Dataset:
    """Where a frame's attributes stand: in its own functional group, in that of all frames, or in the header."""
    own = header.get("PerFrameFunctionalGroupsSequence", [])[number : number + 1]
    for group in (*own, *header.get("SharedFunctionalGroupsSequence", [])):
        if group.get(name):
            return group[name][0]
    return header


def _number(dataset: Dataset, name: str, default: float) -> float:
    value = dataset.get(name)
    return default if value in (None, "") else float(value)


def _place(header: Dataset, number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Position and axes of a frame; zeros where either is missing."""
    plane = _functional(header, number, "PlanePositionSequence")
    position = plane.get("ImagePositionPatient")
    orientation = _functional(header, number, "PlaneOrientationSequence").get("ImageOrientationPatient")
    step = 0.0
    if plane is header and _number(header, "NumberOfFrames", 1) > 1:  # an old multi-frame file: one position, one step
        film = "FrameTime" in header or "FrameTimeVector" in header
        step = 0.0 if film else _number(header, "SpacingBetweenSlices", 0)
    if not position or not orientation:
        return np.zeros(3), np.zeros((2, 3))
    axes = np.array(orientation, dtype=float).reshape(2, 3)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return np.array(position, dtype=float) + number * step * np.cross(*axes), axes


def _spacing(header: Dataset, measures: Dataset) -> tuple[float, float] | None:
    """Between rows and between columns, from the first attribute that states it."""
    if measures.get("PixelSpacing"):
        rows, columns = measures.PixelSpacing
        return float(rows), float(columns)
    for name in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if header.get(name):  # measured at the detector, while the body stands nearer to the tube
            rows, columns = header[name].value
            magnified = _number(header, "EstimatedRadiographicMagnificationFactor", 1)
            return float(rows) / magnified, float(columns) / magnified
    in_mm = {
        (abs(float(region.PhysicalDeltaY)) * 10, abs(float(region.PhysicalDeltaX)) * 10)
        for region in header.get("SequenceOfUltrasoundRegions", [])
        if region.get("RegionSpatialFormat") == 1 and region.get("PhysicalUnitsXDirection") == 3  # 2D tissue, in cm
    }
    return in_mm.pop() if len(in_mm) == 1 else None


def decode(frames: list[Frame]) -> NDArray:
    """Voxels (C, frame, row, column) of frames of one size, decoded one at a time into place.

    Grey values are rescaled, int16 where all are whole numbers that fit, else float32; colour is 8 bit RGB.
    """
    header = frames[0].header
    colour = header.SamplesPerPixel > 1 or header.PhotometricInterpretation == "PALETTE COLOR"
    shape = (3 if colour else 1, len(frames), header.Rows, header.Columns)
    voxels = np.empty(shape, dtype=np.uint8 if colour else np.int16)
    members: dict[str, list[int]] = defaultdict(list)
    for k, frame in enumerate(frames):
        members[str(frame.file)].append(k)
    for ks in members.values():
        for k, pixels in zip(ks, _pixels([frames[k] for k in ks]), strict=True):
            if colour:
                voxels[:, k] = pixels.transpose(2, 0, 1)
                continue
            values = _measured(frames[k], pixels)
            if voxels.dtype == np.int16 and not _fits_int16(values):
                voxels = voxels.astype(np.float32)
            voxels[0, k] = values
    return voxels


def _pixels(frames: list[Frame]) -> Iterator[NDArray]:
    """Stored values (row, column) of some frames of one file, or RGB bytes (row, column, 3)."""
    from pydicom import dcmread
    from pydicom.pixels import apply_color_lut, get_decoder, iter_pixels

    file = frames[0].file
    try:
        with file.open("rb") as stream:
            dataset = dcmread(stream)
        syntax = dataset.file_meta.TransferSyntaxUID
        if not get_decoder(syntax).is_available:
            raise FormatError(
                f"{file.name} is compressed as {syntax.name}, which needs a decoder: pip install 'vesalius[dicom]'."
            )
        unused = 0 if syntax.is_encapsulated else dataset.BitsAllocated - dataset.BitsStored
        for pixels in iter_pixels(dataset, indices=[frame.number for frame in frames]):
            if dataset.PhotometricInterpretation == "PALETTE COLOR":
                pixels = apply_color_lut(pixels, dataset)
                yield (pixels >> 8 * (pixels.itemsize - 1)).astype(np.uint8)
            elif pixels.ndim == 3:
                yield (pixels >> max(0, dataset.BitsStored - 8)).astype(np.uint8)
            else:  # bits above the stored ones may hold an old overlay; the shift back restores the sign
                yield pixels << unused >> unused
    except NotImplementedError:
        raise FormatError(f"{file.name} holds a video or an unknown compression; export its frames first.") from None
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200]
        raise FormatError(f"{file.name} cannot be decoded ({reason}); it may be cut short: copy it again.") from None


def _measured(frame: Frame, stored: NDArray) -> NDArray[np.float64]:
    """Stored values as what the modality measures; bright means dense."""
    from pydicom.pixels import apply_modality_lut

    header = frame.header
    if "ModalityLUTSequence" in header:
        return np.asarray(apply_modality_lut(stored, header), dtype=np.float64)
    values = stored.astype(np.float64)
    if header.PhotometricInterpretation == "MONOCHROME1" and header.get("Modality") not in MEASUREMENTS:
        values = (-1 if header.PixelRepresentation else 2**header.BitsStored - 1) - values
    return values * frame.slope + frame.intercept


def _fits_int16(values: NDArray[np.float64]) -> bool:
    low, high = np.iinfo(np.int16).min, np.iinfo(np.int16).max
    return bool(values.min() >= low and values.max() <= high and (values == np.rint(values)).all())
