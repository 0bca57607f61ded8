"""NIfTI 1 and 2 (.nii, .nii.gz): RAS+ mm in the file as inside, the sform preferred where it has a code.

Both codes, the unit and the version of the file that was read are repeated when its answers are written.
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

UNITS = {1: "meter", 2: "mm", 3: "micron"}  # of xyzt_units
MM = {"mm": 1.0, "micron": 1e-3, "meter": 1e3, "unknown": 1.0}
COLOUR = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
SAME_MM = 0.01  # a qform of float32 quaternions is this near to the sform that it repeats
PIXELS = b"unit: pixel"  # the header's description where the image has no physical unit


def read_nifti(path: Path) -> Volume:
    """A NIfTI image (1 or 2, any byte order); stored integers stay as they are unless the header scales them.

    Colours and 5-D vectors become channels. Raises FormatError for a time series.
    """
    image = _opened(path)
    header = image.header
    unit = UNITS.get(int(header["xyzt_units"]) % 8, "unknown")
    _check_spacing(path, header)
    voxels = _voxels(image, path.name)
    matrix = np.asarray(image.affine, dtype=float)
    matrix[:3] *= MM[unit]
    grid = make_grid(voxels.shape[1:], matrix, calibrated=PIXELS not in bytes(header["descrip"]))
    kept: dict[str, object] = {"version": 2 if header["sizeof_hdr"] == 540 else 1, "unit": unit}
    kept |= {name: int(header[name]) for name in ("qform_code", "sform_code")}
    if kept["qform_code"] and kept["sform_code"]:
        try:
            qform = image.get_qform()
        except ValueError:  # no rotation: it says nothing, and the sform does not need it
            kept["qform_code"] = 0
        else:
            if _moved(qform, image.affine, grid.shape) * MM[unit] > SAME_MM:  # the scanner's frame and an atlas's
                kept["qform_from_sform"] = (qform @ np.linalg.inv(image.affine)).tolist()
    return Volume(voxels, grid, Source("nifti", header=kept))


def read_nifti_labels(path: Path) -> Segmentation:
    """A label image, with the names that `write_nifti` left in its comment."""
    comments = [extension for extension in _opened(path).header.extensions if extension.get_code() == 6]
    notes = [bytes(comment.get_content()).decode("utf-8", "replace").rstrip("\0") for comment in comments]
    return labelmap.from_volume(read_nifti(path), path.name, next((note for note in notes if "vesalius" in note), ""))


def write_nifti(thing: Volume | Segmentation, path: Path) -> None:
    """Writes .nii or .nii.gz, by the suffix; the names of a segmentation go into a comment of the header."""
    import nibabel

    volume = thing if isinstance(thing, Volume) else labelmap.to_volume(thing)
    kept = volume.source.header if volume.source.format == "nifti" else {}
    big = max(volume.grid.shape) > 32767
    kind = nibabel.Nifti2Image if big or kept.get("version") == 2 else nibabel.Nifti1Image
    stored = _stored(volume.voxels)
    image = kind(stored, None, dtype=stored.dtype)
    if stored.ndim == 5:
        image.header.set_intent("vector")
    _place(image.header, volume, kept)
    if isinstance(thing, Segmentation):
        note = labelmap.to_note(thing).encode()
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", note))
    image.to_filename(path)


def _opened(path: Path) -> Any:
    """The image with nothing but its header read."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    if zipped != path.name.lower().endswith(".gz"):
        right = path.name + ".gz" if zipped else path.name[: -len(".gz")]
        raise FormatError(f"{path.name} is{'' if zipped else ' not'} gzip-compressed; rename it to {right}.")
    try:
        image = nibabel.load(path, mmap=False)
    except (ImageFileError, HeaderDataError, ValueError) as error:
        raise FormatError(f"{path.name} is not NIfTI, or has a bad header ({error}); copy it again.") from error
    if not isinstance(image, nibabel.Nifti1Image):
        raise FormatError(f"{path.name} is not NIfTI but {type(image).__name__}; convert it to NIfTI first.")
    return image


def _check_spacing(path: Path, header: Any) -> None:
    """Refuses a spacing that nibabel would silently replace by its absolute value or by 1."""
    from nibabel.openers import ImageOpener

    with ImageOpener(str(path)) as file:
        spacing = type(header).from_fileobj(file, check=False)["pixdim"][1:4]
    if not header["sform_code"] and not (spacing[: header["dim"][0]] > 0).all():
        raise FormatError(f"{path.name} has the spacing {spacing.tolist()} mm; repair pixdim in its header.")


def _voxels(image: Any, name: str) -> NDArray:
    """The stored numbers as (C, i, j, k) in the machine's byte order, scaled to float32 where the header says so."""
    shape = image.shape + (1,) * (4 - len(image.shape))
    if min(shape) < 1:
        raise FormatError(f"{name} has the size {image.shape}; repair dim in its header.")
    if shape[3] > 1:
        raise FormatError(f"{name} is a series of {shape[3]} volumes; extract one of them to a file of its own first.")
    raw = image.dataobj.get_unscaled()
    if raw.dtype.names:
        channels = np.stack([raw[colour] for colour in "RGB"]).reshape(3, *shape[:3])
    elif np.issubdtype(raw.dtype, np.complexfloating):
        raise FormatError(f"{name} holds complex numbers; save their magnitude first.")
    else:
        channels = np.moveaxis(raw.reshape(*shape[:3], -1, order="F"), -1, 0)
    slope, offset = image.dataobj.slope, image.dataobj.inter
    if (slope, offset) != (1, 0):
        channels = channels.astype(np.float32)
        channels *= slope
        channels += offset
    return channels.astype(channels.dtype.newbyteorder("="), copy=False)


def _stored(voxels: NDArray) -> NDArray:
    """Channels (C, i, j, k) as NIfTI lays them out: colour triples, or a fifth dimension."""
    if len(voxels) == 1:
        return voxels[0]
    if len(voxels) == 3 and voxels.dtype == np.uint8:
        return np.ascontiguousarray(np.moveaxis(voxels, 0, -1)).view(COLOUR)[..., 0]
    return np.moveaxis(voxels, 0, -1)[:, :, :, None]


def _place(header: Any, volume: Volume, kept: Any) -> None:
    """Sets the affine with the codes of the source; a frame that quaternions cannot say goes into the sform alone."""
    unit = str(kept.get("unit", "mm"))
    header.set_xyzt_units(unit)
    if not volume.grid.calibrated:
        header["descrip"] = PIXELS
    matrix = volume.grid.matrix.copy()
    matrix[:3] /= MM[unit]
    header.set_zooms([*(np.asarray(volume.grid.spacing_mm) / MM[unit]), *header.get_zooms()[3:]])
    qform, sform = int(kept.get("qform_code", 1)), int(kept.get("sform_code", 1))
    if not qform and not sform and not np.allclose(header.get_base_affine(), matrix, atol=1e-4):
        sform = 1
    if qform:
        wanted = np.asarray(kept.get("qform_from_sform", np.eye(4))) @ matrix
        header.set_qform(wanted, qform)
        moved_mm = _moved(header.get_qform(), wanted, volume.grid.shape) * MM[unit]
        if moved_mm > SAME_MM:  # sheared, as the slices of a tilted gantry are
            header["qform_code"] = 0
        if moved_mm > 1e-4:  # a quaternion in float32 is not exact
            sform = sform or qform
    header.set_sform(matrix, sform)


def _moved(affine: NDArray, other: NDArray, shape: tuple[int, ...]) -> float:
    """How far apart, at most, two affines put a voxel."""
    return float((np.abs(affine - other)[:3] @ (*shape, 1)).max())
