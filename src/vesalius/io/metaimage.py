"""MetaImage (.mha, .mhd with its data file beside it), the format of ITK: LPS in the file, RAS inside.

The format: https://itk.org/Wiki/MetaIO/Documentation. Its matrix is a rotation, so it cannot hold a sheared grid.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import FormatError
from vesalius.grid import Grid, make_grid
from vesalius.io import labelmap
from vesalius.segmentation import Segmentation
from vesalius.volume import Source, Volume

LPS_TO_RAS = np.array([[-1.0], [-1.0], [1.0]])
TYPES = {
    "MET_CHAR": "int8",
    "MET_UCHAR": "uint8",
    "MET_SHORT": "int16",
    "MET_USHORT": "uint16",
    "MET_LONG": "int32",
    "MET_INT": "int32",
    "MET_ULONG": "uint32",
    "MET_UINT": "uint32",
    "MET_LONG_LONG": "int64",
    "MET_ULONG_LONG": "uint64",
    "MET_FLOAT": "float32",
    "MET_DOUBLE": "float64",
}
WORDS = {name: word for word, name in TYPES.items()}
MODALITIES = {"MET_MOD_CT": "CT", "MET_MOD_MR": "MR", "MET_MOD_US": "US", "MET_MOD_NM": "NM"}
PIXELS = "unit: pixel"  # the comment where the image has no physical unit
ZLIB_LEVEL = 3  # half the time of the usual 6
CHUNK = 2**16  # bytes decoded at one time


def read_metaimage(path: Path) -> Volume:
    """A MetaImage of two or three dimensions with its channels; raises FormatError for a time series."""
    with path.open("rb") as file:
        fields = _header(file, path.name)
        try:
            sizes = [int(size) for size in fields["DimSize"].split()]
            channels = int(fields.get("ElementNumberOfChannels", 1))
            dtype = np.dtype(TYPES[fields["ElementType"]])
            if min(*sizes, channels) < 1:
                raise ValueError(f"sizes {sizes}, {channels} channels")
            if np.prod(sizes[3:], dtype=int) > 1:
                raise FormatError(
                    f"{path.name} is a series of {sizes[3]} volumes; extract one of them to a file of its own first."
                )
            if fields.get("BinaryData", "True") != "True":
                raise FormatError(f"{path.name} holds its voxels as text, which cannot be read; save it as binary.")
            grid = _grid(fields, sizes)
            array = np.empty((*grid.shape[::-1], channels), dtype)
            _fill(array, file, path, fields)
        except (KeyError, ValueError) as error:
            raise FormatError(f"The header of {path.name} has a missing or bad field ({error}); repair it.") from error
    source = Source("metaimage", "LPS", MODALITIES.get(fields.get("Modality", ""), ""))
    return Volume(array.transpose(3, 2, 1, 0), grid, source)


def write_metaimage(thing: Volume | Segmentation, path: Path) -> None:
    """Writes a compressed .mha, or a .mhd with `<stem>.zraw`; refuses a sheared grid with a FormatError."""
    volume = thing if isinstance(thing, Volume) else labelmap.to_volume(thing)
    voxels = volume.voxels.astype(volume.voxels.dtype.newbyteorder("<"), copy=False)
    data = _compressed(voxels)
    beside = path.with_suffix(".zraw") if path.suffix.lower() == ".mhd" else None
    lines = [*_geometry_lines(volume), f"CompressedDataSize = {len(data)}"]
    if isinstance(thing, Segmentation) and thing.licence:
        lines.append(f"Licence = {thing.licence}")
    lines.append(f"ElementDataFile = {beside.name if beside else 'LOCAL'}")
    header = ("\n".join(lines) + "\n").encode()
    path.write_bytes(header if beside else header + data)
    if beside:
        beside.write_bytes(data)


def _header(file: IO[bytes], name: str) -> dict[str, str]:
    """The `Key = value` lines up to the one that says where the data are."""
    fields: dict[str, str] = {}
    while "ElementDataFile" not in fields:
        key, equals, value = file.readline(2**16).decode("latin-1").partition("=")
        if not equals:
            raise FormatError(f"{name} is not a MetaImage file; check its suffix.")
        fields[key.strip()] = value.strip()
    return fields


def _grid(fields: Mapping[str, str], sizes: list[int]) -> Grid:
    """The geometry, under any of the names that MetaIO has had for its parts; a 2D image is one unit thick."""
    axes = len(sizes)
    spacing = _numbers(fields, ("ElementSpacing", "ElementSize"), np.ones(axes))
    if not (spacing > 0).all():
        raise ValueError(f"ElementSpacing {spacing.tolist()}")
    offset = _numbers(fields, ("Offset", "Position", "Origin"), np.zeros(axes))
    rows = _numbers(fields, ("TransformMatrix", "Rotation", "Orientation"), np.eye(axes)).reshape(axes, axes)
    used = min(axes, 3)
    matrix = np.eye(4)
    matrix[:used, :used] = (rows * spacing[:, None])[:used, :used].T  # each row is the direction of one axis
    matrix[:used, 3] = offset[:used]
    matrix[:3] *= LPS_TO_RAS
    i, j, k = (*sizes, 1)[:3]
    return make_grid((i, j, k), matrix, calibrated=fields.get("Comment") != PIXELS)


def _numbers(fields: Mapping[str, str], names: tuple[str, ...], default: NDArray) -> NDArray:
    text = next((fields[name] for name in names if name in fields), "")
    values = np.array([float(word) for word in text.split()]) if text else default
    if values.size != default.size:
        raise ValueError(f"{names[0]} {text}")
    return values


def _fill(array: NDArray, file: IO[bytes], path: Path, fields: Mapping[str, str]) -> None:
    """Reads the data behind the header or beside it into the array, in the machine's byte order."""
    name = fields["ElementDataFile"]
    if name == "LOCAL":
        _copy(array, file, fields)
    else:
        beside = (path.parent / name).resolve()
        if not beside.is_file() or not beside.is_relative_to(path.parent.resolve()):  # a header may come from anyone
            raise FormatError(f"{path.name} needs its data file {name!r}; put this one file beside it.")
        with beside.open("rb") as other:
            other.seek(max(0, int(fields.get("HeaderSize", 0))))
            _copy(array, other, fields)
    if "True" in (fields.get("BinaryDataByteOrderMSB"), fields.get("ElementByteOrderMSB")):
        array.byteswap(inplace=True)


def _copy(array: NDArray, file: IO[bytes], fields: Mapping[str, str]) -> None:
    """Decodes piece by piece, so that no second copy of the volume is held."""
    packed = fields.get("CompressedData") == "True"
    if fields.get("HeaderSize") == "-1" and not packed:  # the data are the end of their file
        file.seek(max(0, file.seek(0, 2) - array.nbytes))
    unpacker = zlib.decompressobj()
    rest = array.reshape(-1).view(np.uint8)
    while len(rest):
        piece = file.read(CHUNK)
        if not piece:
            raise EOFError(f"{len(rest)} bytes are missing")
        values = np.frombuffer(unpacker.decompress(piece) if packed else piece, np.uint8)[: len(rest)]
        rest[: len(values)] = values
        rest = rest[len(values) :]


def _geometry_lines(volume: Volume) -> list[str]:
    """The header up to the size of the data."""
    dtype = str(volume.voxels.dtype)
    if dtype not in WORDS:
        raise FormatError(f"MetaImage cannot hold voxels of type {dtype}; convert them first.")
    matrix = volume.grid.matrix[:3] * LPS_TO_RAS
    directions = matrix[:, :3] / np.asarray(volume.grid.spacing_mm)
    if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-3):
        raise FormatError("MetaImage cannot hold a sheared grid (a tilted gantry); write .nrrd or .nii.gz instead.")
    return [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        f"TransformMatrix = {_words(directions.T)}",
        f"Offset = {_words(matrix[:, 3])}",
        f"ElementSpacing = {_words(np.asarray(volume.grid.spacing_mm))}",
        *([] if volume.grid.calibrated else [f"Comment = {PIXELS}"]),
        f"DimSize = {' '.join(map(str, volume.grid.shape))}",
        f"ElementNumberOfChannels = {len(volume.voxels)}",
        f"ElementType = {WORDS[dtype]}",
    ]


def _words(values: NDArray) -> str:
    return " ".join(repr(value) for value in values.reshape(-1).tolist())


def _compressed(voxels: NDArray) -> bytes:
    """Channels fastest, slice by slice, so that no second copy of the volume is held."""
    packer = zlib.compressobj(ZLIB_LEVEL)
    parts = [packer.compress(voxels[..., k].T.tobytes()) for k in range(voxels.shape[-1])]
    return b"".join([*parts, packer.flush()])
