"""The .npz of the CVPR 2024 and 2025 challenges: `imgs`, `gts` and `spacing` go in, `segs` comes out.

Arrays are [z, y, x] and `spacing` is (x, y, z) in mm, as the challenges' own scripts saved SimpleITK's GetSpacing; the
format has neither origin nor directions, so x, y, z are taken as L, P, S from 0.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import FormatError
from vesalius.grid import make_grid
from vesalius.io import labelmap
from vesalius.segmentation import Segmentation
from vesalius.volume import Source, Volume


def read_npz(path: Path) -> Volume:
    """`imgs`: (D, H, W), a colour volume (D, H, W, 3), or a picture (H, W) or (H, W, 3); without `spacing`, in pixels.

    The source's modality stays empty although file names carry one: the numbers are no HU but windowed to 0..255.
    """
    arrays = _arrays(path, "imgs")
    array = arrays["imgs"]
    colour = array.ndim in (3, 4) and array.shape[-1] == 3
    return _volume(array if colour else array[..., None], arrays, path.name)


def read_npz_labels(path: Path) -> Segmentation:
    """`segs` (a result), else `gts` (the reference): (D, H, W), or (H, W) for a picture."""
    arrays = _arrays(path, "segs", "gts")
    array = arrays["segs"] if "segs" in arrays else arrays["gts"]
    return labelmap.from_volume(_volume(array[..., None], arrays, path.name), path.name)


def write_npz(thing: Volume | Segmentation, path: Path) -> None:
    """Writes `imgs` or `segs`, turned to the storage order LPS; the origin and any obliqueness are lost."""
    volume = (thing if isinstance(thing, Volume) else labelmap.to_volume(thing)).orient("LPS")
    array = volume.voxels.transpose(3, 2, 1, 0)
    if len(volume.voxels) == 1:
        array = array[..., 0]
    if not volume.grid.calibrated and volume.grid.shape[2] == 1:
        array = array[0]
    arrays = {"imgs" if isinstance(thing, Volume) else "segs": array}
    if isinstance(thing, Segmentation) and thing.licence:
        arrays["licence"] = np.array(thing.licence)
    if volume.grid.calibrated:
        arrays["spacing"] = np.array(volume.grid.spacing_mm)
    with path.open("wb") as file:  # by its name, numpy would write E.NPZ to E.NPZ.npz
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _arrays(path: Path, *names: str) -> dict[str, NDArray]:
    """Those of `names` that there are, and the spacing; never the prompts, which are pickled and may hold anything."""
    if not zipfile.is_zipfile(path):
        raise FormatError(f"{path.name} is not an .npz file, or is cut short; copy it again from its source.")
    try:
        with np.load(path, allow_pickle=False) as stored:
            if not any(name in stored for name in names):
                found = ", ".join(stored.files) or "nothing"
                raise FormatError(f"{path.name} has no array `{'` or `'.join(names)}` but {found}; rename the array.")
            return {name: stored[name] for name in (*names, "spacing") if name in stored}
    except (ValueError, NotImplementedError) as error:
        raise FormatError(f"{path.name} holds no plain arrays ({error}); save its image again.") from error


def _volume(array: NDArray, arrays: dict[str, NDArray], name: str) -> Volume:
    """An array (D, H, W, C), or (H, W, C) of a picture, with its spacing."""
    if array.ndim not in (3, 4):
        raise FormatError(f"{name} holds an array of shape {array.shape[:-1]}; give (D, H, W) or (H, W).")
    voxels = (array if array.ndim == 4 else array[None]).transpose(3, 2, 1, 0)
    spacing = np.ones(3)
    given = np.asarray(arrays.get("spacing", ()), dtype=float).reshape(-1)[:3]
    if not (np.isfinite(given) & (given > 0)).all():
        raise FormatError(f"{name} has the spacing {given.tolist()}; give positive numbers in mm.")
    spacing[: len(given)] = given
    i, j, k = voxels.shape[1:]
    grid = make_grid((i, j, k), np.diag([-spacing[0], -spacing[1], spacing[2], 1]), calibrated=len(given) > 0)
    return Volume(voxels, grid, Source("npz", "LPS"))
