"""3D-IRCADb-01: `3Dircadb1.N` with `PATIENT_DICOM` and `MASKS_DICOM/<structure>`, unpacked from the archives inside.

A mask's file has the name of the image's file that it belongs to. Structures overlap, and differ between patients.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, number, search
from vesalius.data.layouts.chaos import files_by_slice
from vesalius.errors import FormatError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vesalius.segmentation import Segmentation


def open_ircadb(folder: Path) -> Dataset:
    """Every patient whose two archives are unpacked; the codes follow the order of the structures' names."""
    cases = []
    for patient in sorted({path.parent for path in search(folder, "3Dircadb1.*/PATIENT_DICOM*")}):
        images, masks = _unpacked(patient, "PATIENT_DICOM"), _unpacked(patient, "MASKS_DICOM")
        parts = tuple(sorted(path for path in masks.iterdir() if path.is_dir()))
        names = tuple(part.name for part in parts)
        cases.append(Case(patient.name, images, masks, names, "train", patient.name, parts=parts))
    return LAYOUT.dataset(cases, number(*sorted({name for case in cases for name in case.annotated})))


def read_series(dataset: Dataset, case: Case) -> Segmentation:
    """One DICOM series per structure, on the grid of the image."""
    from vesalius.data.reading import layer_masks
    from vesalius.io import read

    names = [file.name for file in files_by_slice(case.image)]
    masks = ((part.name, _read_mask(part, names)) for part in case.parts)
    return layer_masks(dataset, case, masks, read(case.image).grid)


def _read_mask(folder: Path, names: list[str]) -> NDArray[np.bool_]:
    """The files of a mask in the order of `names`, as (i, j, k)."""
    from vesalius.io.dicom_frames import decode, read_frames

    missing = next((name for name in names if not (folder / name).exists()), "")
    if missing:
        raise FormatError(f"The mask {folder.name} has no file {missing}; unpack MASKS_DICOM.zip again.")
    voxels = decode([read_frames(folder / name)[0] for name in names])
    return voxels[0].transpose(2, 1, 0) > 0


def _unpacked(patient: Path, name: str) -> Path:
    """The folder of an archive, which some programs unpack into a folder of its own name."""
    folder = patient / name / name if (patient / name / name).is_dir() else patient / name
    if not folder.is_dir():
        raise FormatError(f"{patient.name} has no folder {name}; unpack {name}.zip where it lies.")
    return folder


LAYOUT = Layout(
    name="3d-ircadb",
    title="3D-IRCADb-01",
    modality="CT",
    annotated="liver, its tumours and vessels, and other organs, which differ from patient to patient",
    groups="patient",
    licence="CC BY-NC-ND 3.0",
    homepage="https://www.ircad.fr/research/data-sets/liver-segmentation-3d-ircadb-01/",
    signature=("3Dircadb1.*/PATIENT_DICOM*", "3Dircadb1.*/MASKS_DICOM*"),
    open=open_ircadb,
    read=read_series,
)
