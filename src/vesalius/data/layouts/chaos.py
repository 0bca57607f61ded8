"""CHAOS: `Train_Sets/{CT,MR}/N` with DICOM images and one PNG of labels per slice (Zenodo 3431873).

The n-th picture belongs to the n-th image in the order of the file names, and is placed where that image's header says.
The test sets have no public labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, natural, search
from vesalius.errors import FormatError

if TYPE_CHECKING:
    from vesalius.segmentation import Segmentation

RANGES = {  # the grey levels that mean each organ of MR, as the provider says; its codes lie in them
    "liver": (55, 70),
    "right kidney": (110, 135),
    "left kidney": (175, 200),
    "spleen": (240, 255),
}


def open_chaos(folder: Path) -> Dataset:
    """CT with the liver alone; of each MR patient T1-DUAL in and out of phase, with one set of labels, and T2-SPIR."""
    cases = []
    for ground in search(folder, "CT/*/Ground"):
        patient = f"CT_{ground.parent.name}"
        image = ground.parent / "DICOM_anon"
        cases.append(Case(patient, image, ground, ("liver",), "train", patient, modality="CT"))
    for ground in search(folder, "MR/*/*/Ground"):
        sequence, patient = ground.parent.name, f"MR_{ground.parents[1].name}"
        dicom = ground.parent / "DICOM_anon"
        for phase in ("InPhase", "OutPhase") if sequence == "T1DUAL" else ("",):
            name = "_".join(filter(None, (patient, sequence, phase)))
            cases.append(Case(name, dicom / phase, ground, tuple(LAYOUT.labels), "train", patient, modality="MR"))
    return LAYOUT.dataset(cases)


def read_slices(dataset: Dataset, case: Case) -> Segmentation:
    """The pictures of a folder as one label image on the grid of the DICOM series beside it."""
    import numpy as np

    from vesalius.data.reading import layer_masks
    from vesalius.io import read

    files, pictures = files_by_slice(case.image), sorted(case.segmentation.glob("*.png"), key=natural)
    if len(pictures) != len(files):
        raise FormatError(
            f"{case.id} has {len(files)} images and {len(pictures)} pictures of labels; unpack the archive again."
        )
    picture_of = dict(zip(sorted(files, key=natural), pictures, strict=True))
    grid = read(case.image).grid
    values = np.concatenate([read(picture_of[file]).voxels[0] for file in files], axis=2)
    if case.modality == "CT":
        return layer_masks(dataset, case, [("liver", values > 0)], grid)
    masks = ((name, (low <= values) & (values <= high)) for name, (low, high) in RANGES.items())
    return layer_masks(dataset, case, masks, grid)


def files_by_slice(folder: Path) -> list[Path]:
    """The files of a DICOM folder in the order of the slices of the volume that it makes."""
    from vesalius.io.dicom_frames import is_dicom, read_frames

    files = (file for file in folder.iterdir() if file.is_file() and is_dicom(file))
    return sorted(files, key=lambda file: read_frames(file)[0].depth_mm)


LAYOUT = Layout(
    name="chaos",
    title="CHAOS",
    modality="CT, MR",
    annotated="liver in CT; liver, kidneys and spleen in MR",
    groups="patient",
    licence="CC BY-NC-SA",
    homepage="https://chaos.grand-challenge.org",
    signature=("CT/*/Ground/*.png", "MR/*/T2SPIR/Ground/*.png"),
    open=open_chaos,
    labels={"liver": 63, "right kidney": 126, "left kidney": 189, "spleen": 252},
    read=read_slices,
)
