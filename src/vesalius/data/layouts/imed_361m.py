"""IMed-361M, one of its sets: `dataset.json`, `image/X.png` and `label/*.npz` (Hugging Face).

A label file is a sparse matrix of SciPy whose dense shape, (structures, rows, columns, 1), stands in its name. The
masks in `imask/` come from a model, name nothing, and are left out.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, find_one, load_json, stem
from vesalius.errors import FormatError

if TYPE_CHECKING:
    from vesalius.segmentation import Segmentation

SPLITS = {"training": "train", "validation": "val", "testing": "test", "test": "test"}


def open_imed_361m(folder: Path) -> Dataset:
    """The images that `dataset.json` pairs with labels; slices whose names differ in the last number stay together."""
    description = find_one(folder, "dataset.json")
    facts = load_json(description)
    labels = {name: int(code) for code, name in facts["labels"].items() if int(code)}
    modality = ", ".join(facts.get("modality", {}).values()).upper()
    cases = []
    for key, split in SPLITS.items():
        for pair in facts.get(key, ()):
            image = description.parent / pair["image"]
            label, name = description.parent / pair["label"], stem(image)
            group = name.rsplit("_", 1)[0]
            cases.append(Case(name, image, label, tuple(labels), split, group, modality=modality))
    return LAYOUT.dataset(cases, labels)


def read_sparse(dataset: Dataset, case: Case) -> Segmentation:
    """The rows of a sparse matrix as masks, one for each structure."""
    from scipy import sparse

    from vesalius.data.reading import layer_masks
    from vesalius.io import read

    try:
        shape = ast.literal_eval(case.segmentation.name.split(".")[-2])
        dense = sparse.load_npz(case.segmentation).toarray().reshape(shape)[..., 0] > 0
    except (ValueError, SyntaxError, OSError, EOFError, IndexError) as error:
        raise FormatError(f"{case.segmentation.name} holds no sparse masks ({error}); copy it again.") from error
    masks = ((name, dense[code - 1].T[..., None]) for name, code in dataset.labels.items())
    return layer_masks(dataset, case, masks, read(case.image).grid)


LAYOUT = Layout(
    name="imed-361m",
    title="IMed-361M",
    modality="several",
    annotated="what its `dataset.json` names; slices and pictures of 14 modalities",
    groups="images whose names differ in the last number",
    licence="Apache-2.0 as published; per source set",
    homepage="https://huggingface.co/datasets/General-Medical-AI/IMed-361M",
    signature=("dataset.json#labels", "image/*.png", "label/*.npz"),
    open=open_imed_361m,
    dimension=2,
    read=read_sparse,
)
