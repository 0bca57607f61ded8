"""CheXmask: masks as run lengths in `OriginalResolution/<collection>.csv` or `Preprocessed/` (PhysioNet), no images.

Put the images of a collection, under the names that its table has, anywhere into the same folder. Only masks with an
estimated Dice (`Dice RCA (Mean)`) of at least 0.7 are taken, as the provider advises.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, number, search
from vesalius.errors import FormatError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vesalius.segmentation import Segmentation

SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
QUALITY, ENOUGH = "Dice RCA (Mean)", 0.7
FOLDER = "--"  # in a case's id, which becomes a file's name, instead of the slash in the names of CheXpert
COLUMNS = {"right lung": "Right Lung", "left lung": "Left Lung", "heart": "Heart"}


def open_chexmask(folder: Path) -> Dataset:
    """The images that are there and that a table has a good mask for; no table says which images share a patient."""
    images = _images_by_name(folder)
    cases = []
    for table in search(folder, "OriginalResolution/*.csv") or search(folder, "Preprocessed/*.csv"):
        for name, row in _rows(table).items():
            image = images.get(name.replace(FOLDER, "/"))
            if image and row.quality >= ENOUGH:
                cases.append(Case(name, image, table, tuple(LAYOUT.labels), "train", name))
    if not cases:
        raise FormatError(f"None of the images that CheXmask's tables name lies under {folder}; put them there.")
    return LAYOUT.dataset(cases)


def read_runs(dataset: Dataset, case: Case) -> Segmentation:
    """The masks of one row of a table."""
    from vesalius.data.reading import layer_masks
    from vesalius.io import read

    with case.segmentation.open("rb") as file:
        header = next(_parsed(file))
        file.seek(_rows(case.segmentation)[case.id].offset)
        row = dict(zip(header, next(_parsed(file)), strict=True))
    shape = int(float(row["Height"])), int(float(row["Width"]))
    masks = ((name, decode_runs(row[column], shape).T[..., None]) for name, column in COLUMNS.items())
    grid = read(case.image).grid
    if grid.shape[:2] != (shape[1], shape[0]):
        raise FormatError(f"{case.image.name} is not {shape[1]} x {shape[0]} pixels as its mask; give the original.")
    return layer_masks(dataset, case, masks, grid)


def decode_runs(text: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pairs of a start (from 1, row by row) and a length as a mask (rows, columns)."""
    import numpy as np

    numbers = np.array(text.split(), dtype=int)
    mask = np.zeros(shape[0] * shape[1], bool)
    for start, length in numbers.reshape(-1, 2):
        mask[start - 1 : start - 1 + length] = True
    return mask.reshape(shape)


def _images_by_name(folder: Path) -> dict[str, Path]:
    """Images by their names without suffix, and by these with up to four folders before them, as CheXpert's need."""
    found = {}
    for path in folder.rglob("*"):
        if path.suffix.lower() in SUFFIXES:
            parts = Path(_without_suffix(str(path.relative_to(folder)))).parts
            found.update({"/".join(parts[-n:]): path for n in range(1, min(5, len(parts)) + 1)})
    return found


def _without_suffix(name: str) -> str:
    return name.rsplit(".", 1)[0] if name.lower().endswith(SUFFIXES) else name


class _Row:
    """Where a row begins in its file, and how good its mask is."""

    __slots__ = ("offset", "quality")

    def __init__(self, offset: int, quality: float) -> None:
        self.offset, self.quality = offset, quality


@lru_cache(maxsize=16)
def _rows(table: Path) -> dict[str, _Row]:
    """The rows of a table by the name of their image, without suffix, from the first column that has a name."""
    rows = {}
    with table.open("rb") as file:
        parsed = _parsed(file)
        header = next(parsed)
        name, quality = next(n for n, word in enumerate(header) if word), header.index(QUALITY)
        offset = file.tell()
        for row in parsed:
            if len(row) != len(header):
                raise FormatError(f"{table.name} is cut short; copy it again from its source.")
            rows[_without_suffix(row[name]).replace("/", FOLDER)] = _Row(offset, float(row[quality] or 0))
            offset = file.tell()
    return rows


def _parsed(file: object) -> Iterator[list[str]]:
    """The rows of a CSV file, read line by line so that the file's position is the end of the row."""
    csv.field_size_limit(sys.maxsize)
    lines = iter(file.readline, b"")  # type: ignore[attr-defined]
    return csv.reader(line.decode("utf-8-sig") for line in lines)


LAYOUT = Layout(
    name="chexmask",
    title="CheXmask",
    modality="CR",
    annotated="lungs and heart, from a model, with an estimate of their quality",
    groups="image",
    licence="see its page; images under their own terms",
    homepage="https://physionet.org/content/chexmask-cxr-segmentation-data/",
    signature=("OriginalResolution/*.csv",),
    open=open_chexmask,
    labels=number(*COLUMNS),
    dimension=2,
    read=read_runs,
)
