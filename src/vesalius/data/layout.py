"""What is known of one public way of laying out labelled images, and how its folder is searched; no dependencies."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vesalius.data.case import Case, Dataset
from vesalius.errors import FormatError

if TYPE_CHECKING:
    from vesalius.segmentation import Segmentation

MR_WORDS = ("mr", "t1", "t2", "flair", "adc", "pd", "cine")  # how the names of MR channels begin


@dataclass(frozen=True)
class Layout:
    """One row of the table of layouts: facts for people, and the functions that read the folder.

    `signature` are glob patterns that all match in the folder or in its subfolders; `file.json#key` asks for a key
    of a JSON file. `labels` are the provider's codes, empty where the folder states them. `annotated` and `groups`
    say in words what was labelled and what a split must keep together. `open` finds the cases; `read` decodes the
    labels of one where they are not simply a label image.
    """

    name: str
    title: str
    modality: str
    annotated: str
    groups: str
    licence: str
    homepage: str
    signature: tuple[str, ...]
    open: Callable[[Path], Dataset]
    labels: Mapping[str, int] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    dimension: Literal[2, 3] = 3
    read: Callable[[Dataset, Case], Segmentation] | None = None

    def matches(self, folder: Path) -> float:
        """The share of the signature that is found in the folder."""
        return sum(_found(folder, pattern) for pattern in self.signature) / len(self.signature)

    def dataset(self, cases: Iterable[Case], labels: Mapping[str, int] | None = None) -> Dataset:
        """The cases that have labels as a data set; raises FormatError where there is none or two share an id."""
        found = sorted(cases, key=lambda case: case.id)
        twice = [name for name, count in Counter(case.id for case in found).items() if count > 1]
        if twice:
            raise FormatError(f"Two cases are called {twice[0]}; give each file a name of its own.")
        labelled = [case for case in found if case.segmentation.exists()]
        if not labelled:
            raise FormatError(
                f"No image of the folder has labels where {self.title} keeps them; see docs/data.md for the layout."
            )
        return Dataset(
            name=self.name,
            modality=self.modality,
            dimension=self.dimension,
            labels=self.labels if labels is None else labels,
            label_kind="semantic",
            licence=self.licence,
            source=self.homepage,
            cases=tuple(labelled),
            layout=self.name,
            channels=self.channels or (self.modality,),
            unlabelled=tuple(case.id for case in found if not case.segmentation.exists()),
        )


def search(folder: Path, pattern: str) -> list[Path]:
    """What matches in the folder, or else in its subfolders, in order of the names; hidden files are left out.

    Archives often unpack into one folder more than expected, and sets into several parts.
    """
    for prefix in ("", "*/", "*/*/"):
        found = sorted(path for path in folder.glob(prefix + pattern) if not path.name.startswith("."))
        if found:
            return found
    return []


def find_one(folder: Path, file: str) -> Path:
    """The one file of that name in the folder or below; raises FormatError where there are several or none."""
    found = search(folder, file)
    if not found:
        raise FormatError(f"There is no {file} under {folder}; name the folder that holds it.")
    if len(found) > 1:
        raise FormatError(f"{folder} holds {len(found)} sets; name one of them, such as {found[0].parent}.")
    return found[0]


def number(*names: str) -> dict[str, int]:
    """Names with the codes 1, 2 ..."""
    return {name: code for code, name in enumerate(names, start=1)}


def stem(path: Path) -> str:
    """A file's name without .gz and the suffix before it."""
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]


def natural(path: Path) -> list[Any]:
    """A key that sorts image_2 before image_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def load_json(path: Path) -> dict[str, Any]:
    """An object from a JSON file; raises FormatError for anything else."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} is no JSON that can be read ({error}); copy it again.") from None
    if not isinstance(record, dict):
        raise FormatError(f"{path} holds no JSON object; copy it again.")
    return record


def guess_modality(channels: Iterable[str]) -> str:
    """CT or MR where the names of the channels say so, else the names."""
    names = [name.lower() for name in channels]
    if names and all(name == "ct" for name in names):
        return "CT"
    if names and all(name.startswith(MR_WORDS) for name in names):
        return "MR"
    return ", ".join(channels)


def _found(folder: Path, pattern: str) -> bool:
    """Whether a pattern of a signature matches in the folder or one level below."""
    glob, _, key = pattern.partition("#")
    for prefix in ("", "*/"):
        for path in folder.glob(prefix + glob):
            if not path.name.startswith(".") and (not key or key in _keys(path)):
                return True
    return False


def _keys(path: Path) -> Iterable[str]:
    try:
        return load_json(path)
    except FormatError:
        return ()


def place_in_task(folder: Path, case: Case) -> Path:
    """Where MSD, and nnU-Net after it, keep the labels of a case; its images lie in the folder beside."""
    return folder / f"labels{'Ts' if case.split == 'test' else 'Tr'}" / f"{case.id}.nii.gz"


def make_task_folders(folder: Path, case: Case) -> tuple[Path, Path]:
    """The folder for the images of a case and the file for its labels, ready to be written."""
    label = place_in_task(folder, case)
    images = folder / label.parent.name.replace("labels", "images")
    for made in (images, label.parent):
        made.mkdir(parents=True, exist_ok=True)
    return images, label
