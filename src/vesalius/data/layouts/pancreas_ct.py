"""Pancreas-CT (NIH, TCIA): DICOM in `Pancreas-CT/PANCREAS_NNNN`, labels in `TCIA_pancreas_labels-02-05-2017`.

The label files do not repeat the DICOM images' position: they are laid over the image in the order of the body's axes
(right, anterior, superior), as nnU-Net's conversion of this set does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, number, search
from vesalius.errors import FormatError

if TYPE_CHECKING:
    from vesalius.segmentation import Segmentation


def open_pancreas_ct(folder: Path) -> Dataset:
    """`PANCREAS_NNNN` with `labelNNNN.nii.gz`; two of the 82 labels have had no image since 2020."""
    labels = {path.name[5:9]: path for path in search(folder, "TCIA_pancreas_labels-02-05-2017/label*.nii.gz")}
    cases = []
    for image in search(folder, "Pancreas-CT/PANCREAS_*"):
        label = labels.get(image.name[-4:], folder / f"label{image.name[-4:]}.nii.gz")
        cases.append(Case(image.name, image, label, ("pancreas",), "train", image.name))
    return LAYOUT.dataset(cases)


def read_shifted(dataset: Dataset, case: Case) -> Segmentation:
    """The label image on the grid of its DICOM series."""
    from vesalius.data.reading import layer_masks
    from vesalius.io import read

    grid = read(case.image).grid
    label = read(case.segmentation).orient("RAS")
    if label.grid.shape != grid.orient("RAS").shape:
        raise FormatError(f"{case.segmentation.name} has another size than {case.id}; download both again.")
    placed = type(label)(label.voxels, grid.orient("RAS")).orient(grid.codes)
    return layer_masks(dataset, case, [("pancreas", placed.voxels[0] > 0)], grid)


LAYOUT = Layout(
    name="pancreas-ct",
    title="Pancreas-CT",
    modality="CT",
    annotated="pancreas",
    groups="patient",
    licence="CC BY 3.0",
    homepage="https://www.cancerimagingarchive.net/collection/pancreas-ct/",
    signature=("Pancreas-CT/PANCREAS_*", "TCIA_pancreas_labels-02-05-2017/label*.nii.gz"),
    open=open_pancreas_ct,
    labels=number("pancreas"),
    read=read_shifted,
)
