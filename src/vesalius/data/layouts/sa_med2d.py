"""SA-Med2D-20M: `SAMed2Dv1/{images,masks}` with two JSON files (Hugging Face, OpenGVLab/SA-Med2D-20M).

An image is called `<modality>--<data set>--<patient or volume>--<slice>.png`, a mask `<image>--<class>_<instance>.png`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, find_one, load_json, number, stem
from vesalius.errors import FormatError

if TYPE_CHECKING:
    from vesalius.segmentation import Segmentation

PAIRS, CLASSES = "SAMed2D_v1.json", "SAMed2D_v1_class_mapping_id.json"


def open_sa_med2d(folder: Path) -> Dataset:
    """Every image of the pairing file; the codes are counted over the names of all classes of all sets in it."""
    root = find_one(folder, PAIRS).parent
    classes = load_json(root / CLASSES)
    cases = []
    for image, masks in load_json(root / PAIRS).items():
        name = stem(Path(image))
        modality, source, patient = name.split("--")[:3]
        parts = tuple(root / mask for mask in masks)
        names = tuple(sorted(classes.get(source, ())))
        group, kind = f"{source}--{patient}", modality.split("_")[0].upper()
        first = parts[0] if parts else root / "masks" / f"{name}.png"
        cases.append(Case(name, root / image, first, names, "train", group, parts=parts, modality=kind))
    return LAYOUT.dataset(cases, number(*sorted({name for names in classes.values() for name in names})))


def read_class_masks(dataset: Dataset, case: Case) -> Segmentation:
    """The masks of one image, the instances of a class together."""
    from vesalius.data.reading import layer_masks, read_mask
    from vesalius.io import read

    names = _names_by_id(case.image.parents[1] / CLASSES, case.id.split("--")[1])
    found: dict[str, Any] = {}
    grid = read(case.image).grid
    for part in case.parts:
        code = int(stem(part).rsplit("--", 1)[1].split("_")[0])
        if code not in names:
            raise FormatError(f"{part.name} has the class {code}, which {CLASSES} does not name; copy that file again.")
        mask = read_mask(part, grid)
        found[names[code]] = found[names[code]] | mask if names[code] in found else mask
    return layer_masks(dataset, case, found.items(), grid)


@lru_cache(maxsize=512)
def _names_by_id(classes: Path, source: str) -> dict[int, str]:
    return {int(code): name for name, code in load_json(classes).get(source, {}).items()}


LAYOUT = Layout(
    name="sa-med2d-20m",
    title="SA-Med2D-20M",
    modality="several",
    annotated="what each of its source sets names; slices of ten modalities",
    groups="patient or volume of the source set",
    licence="CC BY-NC-SA 4.0",
    homepage="https://huggingface.co/datasets/OpenGVLab/SA-Med2D-20M",
    signature=(PAIRS, CLASSES),
    open=open_sa_med2d,
    dimension=2,
    read=read_class_masks,
)
