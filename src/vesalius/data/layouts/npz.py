"""The .npz of the CVPR challenges with its labels: `imgs`, `gts` [z, y, x], `spacing` and `boxes`, one file per case.

Converted files say in `affine` and `codes` where the voxels lay before (the format has only the spacing), and in
`names` what the labels are; the challenges' own programs ignore these. Images are 0..255 in one window, as the format
says.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, search, stem
from vesalius.data.record import apply_record
from vesalius.errors import FormatError
from vesalius.files import replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vesalius.prompts import Box
    from vesalius.segmentation import Segmentation
    from vesalius.volume import Volume


def open_npz(folder: Path) -> Dataset:
    """Every .npz of the folder; the first one says whether the labels have names."""
    files = search(folder, "*.npz")
    if not files:
        raise FormatError(f"There is no .npz under {folder}; name the folder that holds them.")
    first = _load(files[0])
    labels = json.loads(str(first["names"])) if "names" in first else {}
    cases = [Case(stem(path), path, path, tuple(labels), "train", stem(path)) for path in files]
    root, licence = files[0].parent, str(first.get("licence", ""))
    found = LAYOUT.dataset(cases, labels)
    found = replace(found, name=root.name, modality="", licence=licence, source="", channels=("image",))
    return apply_record(root, found)


def read_npz_image(path: Path) -> Volume:
    """`imgs`, turned back to where it was before a conversion."""
    from vesalius.io import read

    return _restored(read(path), path)


def read_npz_labels(dataset: Dataset, case: Case) -> Segmentation:
    """`gts`, turned back likewise, under the data set's names."""
    from vesalius.data.reading import name_labels
    from vesalius.io import read_segmentation
    from vesalius.volume import Volume

    found = read_segmentation(case.segmentation)
    placed = _restored(Volume(found.layers, found.grid), case.segmentation)
    return name_labels(dataset, case, replace(found, layers=placed.voxels, grid=placed.grid))


def read_npz_boxes(path: Path, labels: Segmentation) -> dict[str, Box]:
    """`boxes` by structure, empty where the file has none: the k-th belongs to the k-th value that `gts` shows.

    `labels` are those of the file. Raises FormatError where there are not as many boxes as values.
    """
    import numpy as np

    from vesalius.data.reading import find_values
    from vesalius.io.prompt_files import read_prompts
    from vesalius.prompts import Box

    with np.load(path, allow_pickle=False) as stored:
        if "boxes" not in stored.files:
            return {}
    boxes = [prompt for _, prompt in read_prompts(path, labels.grid.orient("LPS")) if isinstance(prompt, Box)]
    values = sorted(find_values(labels.layers))
    if len(boxes) != len(values):
        raise FormatError(f"{path.name} has {len(boxes)} boxes for {len(values)} labels; make its boxes anew.")
    names = {value: name for name, (_, value) in labels.places.items()}
    return {names[value]: box for value, box in zip(values, boxes, strict=True) if value in names}


def place_npz(folder: Path, case: Case) -> Path:
    """Where a converted case goes."""
    return folder / f"{case.id}.npz"


def write_npz_case(folder: Path, dataset: Dataset, case: Case, image: Volume, labels: Segmentation) -> None:
    """One file with everything; raises FormatError for an image of neither one nor three channels."""
    import numpy as np

    from vesalius.intensity import choose_window
    from vesalius.io.labelmap import to_volume

    if len(image.voxels) not in (1, 3):
        raise FormatError(f"{case.id} has {len(image.voxels)} channels and this format one or three; choose another.")
    grey = choose_window(image).grey(image.orient("LPS").voxels).transpose(3, 2, 1, 0)
    arrays: dict[str, Any] = {
        "imgs": grey[..., 0] if grey.shape[-1] == 1 else grey,
        "gts": to_volume(labels).orient("LPS").voxels[0].transpose(2, 1, 0),
        "spacing": np.array(image.grid.orient("LPS").spacing_mm),
        "affine": image.grid.matrix,
        "codes": np.array(image.grid.codes),
        "names": np.array(json.dumps(dict(dataset.labels))),
    }
    if dataset.licence:
        arrays["licence"] = np.array(dataset.licence)
    with replacing(place_npz(folder, case)) as part:
        np.savez_compressed(part, **arrays)


def _restored(volume: Volume, path: Path) -> Volume:
    from vesalius.grid import make_grid
    from vesalius.volume import Volume

    arrays = _load(path)
    if "affine" not in arrays:
        return volume
    turned = volume.orient(str(arrays["codes"]))
    return Volume(turned.voxels, make_grid(turned.grid.shape, arrays["affine"]), volume.source)


def _load(path: Path) -> dict[str, NDArray[np.generic]]:
    """The small arrays of a file, without those that hold voxels."""
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in ("affine", "codes", "names", "licence") if key in stored}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path.name} is no .npz that can be read ({error}); copy it again.") from error


LAYOUT = Layout(
    name="npz",
    title="challenge .npz",
    modality="any",
    annotated="values of `gts`, without names unless converted",
    groups="file",
    licence="not said",
    homepage="https://github.com/JunMa11/CVPR-MedSegFMCompetition",
    signature=("*.npz",),
    open=open_npz,
    read=read_npz_labels,
)
