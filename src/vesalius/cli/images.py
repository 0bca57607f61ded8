"""`vesalius info` and `vesalius convert`: what is in an image file, and the same in another format."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vesalius.cli.words import words

if TYPE_CHECKING:
    from vesalius.volume import Volume

Series = Annotated[str, typer.Option(help="Which of several DICOM series: its number or UID.")]
Resample = Annotated[bool, typer.Option("--resample", help="Even out uneven DICOM slices.")]


def info(
    image: Path,
    series: Series = "",
    resample: Resample = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is in an image: its grid, its values and how they will be shown; nothing of the patient."""
    from vesalius.io import format_of, read
    from vesalius.io.dicom import list_series

    if format_of(image) == "dicom" and not series and len(several := list_series(image)) > 1:
        record: dict[str, object] = {"series": [asdict(one) for one in several]}
        lines = [f"{len(several)} series; name one with --series:", *map(str, several)]
    else:
        record = _record(read(image, series, resample))
        lines = [
            f"{key.replace('_', ' '):12} {words(value)}" for key, value in record.items() if value not in ("", None)
        ]
    print(json.dumps(record, indent=1) if as_json else "\n".join(lines))


def convert(
    image: Path,
    output: Path,
    fill: Annotated[float | None, typer.Option(help="Replace voxels that are not numbers by this.")] = None,
    series: Series = "",
    resample: Resample = False,
) -> None:
    """Write an image in another format, on the same grid; to or from .seg.nrrd, labels."""
    from vesalius.cli.arguments import check_output
    from vesalius.io import read, read_segmentation, write

    check_output(output, image)
    if any(path.name.lower().endswith(".seg.nrrd") for path in (image, output)):
        write(read_segmentation(image), output)
    else:
        volume = read(image, series, resample)
        write(volume if fill is None else _filled(volume, fill), output)
    print(output)


def _filled(volume: Volume, value: float) -> Volume:
    import numpy as np

    from vesalius.volume import Volume

    voxels = np.where(np.isfinite(volume.voxels), volume.voxels, volume.voxels.dtype.type(value))
    return Volume(voxels, volume.grid, volume.source)


def _record(volume: Volume) -> dict[str, object]:
    import numpy as np

    from vesalius.intensity import choose_window
    from vesalius.scene import default_plane

    grid, finite = volume.grid, volume.voxels[np.isfinite(volume.voxels)]
    record: dict[str, object] = {
        "format": volume.source.format,
        "modality": volume.source.modality,
        "shape": grid.shape,
        "channels": len(volume.voxels),
        "dtype": str(volume.voxels.dtype),
        "calibrated": grid.calibrated,
        "spacing_mm": grid.spacing_mm if grid.calibrated else None,
        "codes": grid.codes,
        "affine": grid.affine,
        "plane": default_plane(grid),
        "lowest": finite.min().item() if finite.size else None,
        "highest": finite.max().item() if finite.size else None,
        "not_finite": int(volume.voxels.size - finite.size),
    }
    if not record["not_finite"]:
        record["window"] = asdict(choose_window(volume))
    return record
