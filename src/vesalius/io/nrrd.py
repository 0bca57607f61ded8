"""NRRD images: .nrrd, and .nhdr with its data file beside it (https://teem.sourceforge.net/nrrd/format.html).

What was read in LPS or RAS is written in the same frame; shear is kept, since the file holds the three axis vectors.
"""

from __future__ import annotations

import bz2
import gzip
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import FormatError
from vesalius.grid import make_grid
from vesalius.volume import Source, Volume

SIGNS = {"RAS": (1, 1, 1), "LAS": (-1, 1, 1), "LPS": (-1, -1, 1)}  # from the axes of the file to RAS
SPACES = {
    "RAS": "right-anterior-superior",
    "LAS": "left-anterior-superior",
    "LPS": "left-posterior-superior",
}
TYPES = {
    "int8": ("int8", "int8_t", "signed char"),
    "uint8": ("uint8", "uint8_t", "uchar", "unsigned char"),
    "int16": ("int16", "int16_t", "short", "short int", "signed short", "signed short int"),
    "uint16": ("uint16", "uint16_t", "ushort", "unsigned short", "unsigned short int"),
    "int32": ("int32", "int32_t", "int", "signed int"),
    "uint32": ("uint32", "uint32_t", "uint", "unsigned int"),
    "int64": ("int64", "int64_t", "longlong", "long long", "long long int", "signed long long"),
    "uint64": ("uint64", "uint64_t", "ulonglong", "unsigned long long", "unsigned long long int"),
    "float32": ("float",),
    "float64": ("double",),
}
POSITION_KINDS = ("domain", "space", "???", "none")
SERIES_KINDS = (*POSITION_KINDS, "time", "list")  # beside three axes of position: volumes, not channels
ENCODINGS = ("raw", "gzip", "gz", "bzip2", "bz2", "text", "txt", "ascii")
GZIP_LEVEL = 3  # half the time of the usual 6
CHUNK = 2**20  # bytes decoded at one time


def read_nrrd(path: Path) -> Volume:
    """An NRRD image; its colour or vector axis becomes the channels.

    A file that states no world frame is taken as LPS, as ITK does. Raises FormatError for a time series.
    """
    return read_with_notes(path)[0]


def read_with_notes(path: Path) -> tuple[Volume, dict[str, str]]:
    """An NRRD image and the key:=value notes of its header; an axis of kind `list` is read where there are segments."""
    with path.open("rb") as file:
        fields, notes = _header(file, path.name)
        try:
            sizes = [int(size) for size in fields["sizes"].split()]
            kinds = fields.get("kinds", "").lower().split() or ["domain"] * len(sizes)
            steps = _steps(fields, kinds)
            spatial = [n for n, step in enumerate(steps) if step is not None][:3]
            agrees = len(sizes) == len(kinds) == len(steps) == int(fields.get("dimension", len(sizes)))
            if not agrees or min(sizes) < 1 or len(spatial) < 2:
                raise ValueError(f"sizes {sizes}, {len(kinds)} kinds, {len(spatial)} of {len(steps)} axes in space")
            others = [n for n in range(len(sizes)) if n not in spatial]
            series = [sizes[n] for n in others if sizes[n] > 1 and kinds[n] in SERIES_KINDS]
            if series and "Segment0_ID" not in notes:
                raise FormatError(
                    f"{path.name} is a series of {series[0]} volumes; extract one of them to a file of its own first."
                )
            matrix = _matrix([step for step in steps if step is not None][:3], fields)
            array = _array(file, path, fields, np.empty(sizes[::-1], _dtype(fields)))
        except (KeyError, ValueError) as error:
            raise FormatError(f"The header of {path.name} has a missing or bad field ({error}); repair it.") from error
    voxels = array.transpose(*others, *spatial)
    i, j, k = (*voxels.shape[len(others) :], 1)[:3]
    grid = make_grid((i, j, k), matrix, _is_calibrated(fields))
    return Volume(voxels.reshape(-1, i, j, k), grid, Source("nrrd", _space(fields))), notes


def write_nrrd(volume: Volume, path: Path, notes: Mapping[str, str] | None = None, channels: str = "vector") -> None:
    """Writes a gzip-compressed NRRD in the frame of the source's file, in LPS where that had another format.

    `channels` is the kind of the first axis where there are several. A .nhdr gets its data in `<stem>.raw.gz`.
    """
    voxels = volume.voxels.astype(volume.voxels.dtype.newbyteorder("<"), copy=False)
    lines = _geometry_lines(volume, channels)
    detached = path.with_suffix(".raw.gz") if path.suffix.lower() == ".nhdr" else None
    if detached:
        lines.append(f"data file: {detached.name}")
    for key, text in (notes or {}).items():
        lines.append(f"{key}:=" + text.replace("\\", "\\\\").replace("\n", "\\n"))
    with path.open("wb") as file:
        file.write("\n".join([*lines, "", ""]).encode())
        if not detached:
            _write_gzip(voxels, file)
    if detached:
        with detached.open("wb") as file:
            _write_gzip(voxels, file)


def _header(file: IO[bytes], name: str) -> tuple[dict[str, str], dict[str, str]]:
    """The `field: value` lines and the `key:=value` notes up to the blank line that begins the data."""
    if not file.readline().startswith(b"NRRD"):
        raise FormatError(f"{name} is not an NRRD file; check its suffix.")
    fields, notes = {}, {}
    for line in file:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not text:
            break
        key, _, value = text.partition(":")
        if text.startswith("#"):
            continue
        if value.startswith("="):
            notes[key] = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], value[1:])
        else:
            fields[key.strip().lower()] = value.strip()
    return fields, notes


def _dtype(fields: Mapping[str, str]) -> np.dtype:
    """The type of a voxel with its byte order."""
    word = fields["type"].lower()
    name = next((name for name, words in TYPES.items() if word in words), None)
    if name is None:
        raise ValueError(f"type {word!r}")
    return np.dtype(name).newbyteorder(">" if fields.get("endian", "").lower() == "big" else "<")


def _steps(fields: Mapping[str, str], kinds: list[str]) -> list[NDArray | None]:
    """The step of each axis through the world, None for an axis that is no position."""
    if "space directions" in fields:
        words = re.findall(r"none|\([^)]*\)", fields["space directions"].lower())
        return [None if word == "none" else _vector(word) for word in words]
    spacings = [float(word) for word in fields.get("spacings", "").split()] or [1.0] * len(kinds)
    steps: list[NDArray | None] = []
    for kind, spacing in zip(kinds, spacings, strict=True):
        axis = sum(step is not None for step in steps)
        if kind not in POSITION_KINDS or axis == 3:
            steps.append(None)
        elif spacing > 0:
            steps.append(np.eye(3)[axis] * spacing)
        else:
            raise ValueError(f"spacing {spacing}")
    return steps


def _vector(text: str) -> NDArray:
    """A vector "(x,y,z)"; one of a 2D image gets z = 0, a time component is dropped."""
    values = [float(word) for word in text.strip("() ").split(",")]
    return np.array([*values, 0.0][:3])


def _space(fields: Mapping[str, str]) -> str:
    """The letters of the file's world frame; LPS where it is none of those that ITK turns."""
    words = fields.get("space", "").lower().replace("-time", "")
    return next((code for code, name in SPACES.items() if words in (name, code.lower())), "LPS")


def _is_calibrated(fields: Mapping[str, str]) -> bool:
    """Whether the header states a spacing, in a unit that is not the pixel."""
    return ("space directions" in fields or "spacings" in fields) and "pixel" not in fields.get("space units", "")


def _matrix(steps: list[NDArray], fields: Mapping[str, str]) -> NDArray[np.float64]:
    """The affine to RAS; a 2D image is one unit thick."""
    if len(steps) == 2:
        normal = np.cross(steps[0], steps[1])
        steps = [*steps, normal / max(np.linalg.norm(normal), 1e-12)]
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack(steps, axis=1)
    matrix[:3, 3] = _vector(fields.get("space origin", "(0,0,0)"))
    matrix[:3] *= np.array(SIGNS[_space(fields)])[:, None]
    return matrix


def _array(file: IO[bytes], path: Path, fields: Mapping[str, str], array: NDArray) -> NDArray:
    """Fills the array (slowest axis first) from the file or its data file; gives it back fastest axis first."""
    encoding = fields["encoding"].lower()
    if encoding not in ENCODINGS:
        raise FormatError(f"{path.name} has the encoding {encoding!r}, which cannot be read; save it as gzip or raw.")
    data_file = fields.get("data file", fields.get("datafile"))
    if data_file is None:
        return _filled(file, fields, array).T
    data_path = (path.parent / data_file).resolve()
    if not data_path.is_file() or not data_path.is_relative_to(path.parent.resolve()):  # a header may come from anyone
        raise FormatError(f"{path.name} needs its data file {data_file!r}; put this one file beside it.")
    with data_path.open("rb") as data:
        return _filled(data, fields, array).T


def _filled(file: IO[bytes], fields: Mapping[str, str], array: NDArray) -> NDArray:
    """The array with the decoded data in it, in the machine's byte order; decoded in place, without a second copy."""
    for _ in range(int(fields.get("line skip", fields.get("lineskip", 0)))):
        file.readline()
    encoding = fields["encoding"].lower()
    native = array.dtype.newbyteorder("=")
    if encoding in ("text", "txt", "ascii"):
        return np.array(file.read().split(), dtype=float).reshape(array.shape).astype(native)
    stream: gzip.GzipFile | bz2.BZ2File | IO[bytes] = file
    if encoding in ("gzip", "gz"):
        stream = gzip.GzipFile(fileobj=file)
    elif encoding in ("bzip2", "bz2"):
        stream = bz2.BZ2File(file)
    skip = int(fields.get("byte skip", fields.get("byteskip", 0)))
    if skip == -1:
        stream.seek(max(0, stream.seek(0, 2) - array.nbytes))
    else:
        stream.read(skip)
    rest = memoryview(array.reshape(-1).view(np.uint8))
    while rest:
        count = stream.readinto(rest[:CHUNK])  # type: ignore[union-attr]
        if not count:
            raise EOFError(f"{len(rest)} bytes are missing")
        rest = rest[count:]
    return array if array.dtype.isnative else array.byteswap(inplace=True).view(native)


def _geometry_lines(volume: Volume, channels: str) -> list[str]:
    """The header up to the data's encoding."""
    count = len(volume.voxels)
    dtype = str(volume.voxels.dtype)
    if dtype not in TYPES:
        raise FormatError(f"NRRD cannot hold voxels of type {dtype}; convert them first.")
    space = volume.source.space if volume.source.format == "nrrd" else "LPS"
    matrix = volume.grid.matrix[:3] * np.array(SIGNS[space])[:, None]
    vectors = ["(" + ",".join(repr(value) for value in column) + ")" for column in matrix.T.tolist()]
    first = count > 1
    lines = [
        "NRRD0004",
        f"type: {TYPES[dtype][0]}",
        f"dimension: {4 if first else 3}",
        f"space: {SPACES[space]}",
        "sizes: " + " ".join(map(str, volume.voxels.shape if first else volume.grid.shape)),
        "space directions: " + " ".join(["none"] * first + vectors[:3]),
        "kinds: " + " ".join([channels] * first + ["domain"] * 3),
        "endian: little",
        "encoding: gzip",
        f"space origin: {vectors[3]}",
    ]
    return lines if volume.grid.calibrated else [*lines, 'space units: "pixel" "pixel" "pixel"']


def _write_gzip(voxels: NDArray, file: IO[bytes]) -> None:
    """Channels fastest, slice by slice, so that no second copy of the volume is held."""
    with gzip.GzipFile(filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=file, mtime=0) as stream:
        for k in range(voxels.shape[-1]):
            stream.write(voxels[..., k].T.tobytes())
