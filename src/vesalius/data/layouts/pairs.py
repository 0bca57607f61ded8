"""Two folders, `images/` and `labels/` (or `masks/`), whose files pair by name: any format, 2D or 3D.

A file `labels.json`, {name: code}, beside them names the structures.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vesalius.batch import stem
from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, load_json, search
from vesalius.errors import FormatError

NAMES = "labels.json"


def open_pairs(folder: Path) -> Dataset:
    """Every image whose name, without the suffix, a label file shares."""
    images = search(folder, "images")
    if not images:
        raise FormatError(f"There is no folder images/ under {folder}; name the folder that holds it.")
    root = images[0].parent
    where = root / "labels" if (root / "labels").is_dir() else root / "masks"
    masks = {stem(path): path for path in where.iterdir()} if where.is_dir() else {}
    codes = load_json(root / NAMES) if (root / NAMES).exists() else {}
    labels = {name: int(code) for name, code in codes.items() if int(code)}
    cases = [
        Case(stem(path), path, masks.get(stem(path), where / stem(path)), tuple(labels), "train", stem(path))
        for path in sorted(images[0].iterdir())
        if not path.name.startswith(".")
    ]
    found = LAYOUT.dataset(cases, labels)
    return replace(found, name=root.name, modality="", licence="", source="", channels=("image",))


LAYOUT = Layout(
    name="pairs",
    title="images and labels in pairs",
    modality="any",
    annotated="values of the label files; names from `labels.json`",
    groups="image",
    licence="not said",
    homepage="",
    signature=("images/*", "[lm]a[bs]*/*"),  # labels/ or masks/
    open=open_pairs,
)
