"""Two folders of label files, of which those of one name belong together, as cases to be scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from vesalius.batch import stem
from vesalius.data.layout import load_json
from vesalius.errors import FormatError, GeometryError
from vesalius.evaluate.score import DEFAULT_POLICY, METRICS, Policy, score_case
from vesalius.evaluate.table import Record
from vesalius.io import SUFFIXES, read, read_segmentation, suffix_of
from vesalius.labels import LabelSpace, Structure
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume

FIRST_CHANNEL = "_0000"  # what nnU-Net adds to the names of images


@dataclass(frozen=True)
class Pair:
    """The prediction and the reference of a case, and its image where there is one."""

    name: str
    prediction: Path
    reference: Path
    image: Path | None = None


@dataclass(frozen=True)
class Rules:
    """How all cases are read and scored."""

    metrics: tuple[str, ...] = METRICS
    policy: Policy = DEFAULT_POLICY
    names: Mapping[int, str] = field(default_factory=dict)
    resample: bool = False


def pair_labels(predictions: Path, references: Path, images: Path | None = None) -> tuple[list[Pair], list[str]]:
    """The cases of two folders (or of two files) in order of their names, and the files that found no partner.

    Raises FormatError where two files of a folder share a name, or no prediction has a reference.
    """
    if predictions.is_file() and references.is_file():
        return [Pair(stem(references), predictions, references, images if images and images.is_file() else None)], []
    ours, theirs = _by_name(predictions), _by_name(references)
    shown = _by_name(images) if images else {}
    pairs = [
        Pair(name, ours[name], theirs[name], shown.get(name) or shown.get(name + FIRST_CHANNEL))
        for name in sorted(ours.keys() & theirs.keys())
    ]
    if not pairs:
        raise FormatError(f"No file of {predictions} has the name of one in {references}; give both the same name.")
    alone = [ours[name] for name in ours.keys() - theirs.keys()] + [
        theirs[name] for name in theirs.keys() - ours.keys()
    ]
    return pairs, sorted(f"{path.parent.name}/{path.name}" for path in alone)


def read_names(path: Path) -> dict[int, str]:
    """What label values are called, from a JSON file: {"liver": 1}, or {"1": "liver"}, also under a key "labels".

    These are the `dataset.json` of nnU-Net and MSD. Raises FormatError for anything else.
    """
    record = load_json(path)
    record = record.get("labels", record)
    try:
        pairs = [(int(key), str(value)) if key.isdigit() else (int(value), key) for key, value in record.items()]
    except (AttributeError, TypeError, ValueError):
        raise FormatError(
            f"{path.name} does not name label values; write them as {{'liver': 1, 'spleen': 2}}."
        ) from None
    return {value: name for value, name in pairs if value}


def read_pair(pair: Pair, names: Mapping[int, str], resample: bool = False) -> tuple[Segmentation, Segmentation]:
    """Prediction and reference on the reference's grid; `names` says what values are called that have no name.

    Raises GeometryError for different grids, unless `resample` takes the prediction's nearest labels, and FormatError
    where one side has names and the other one numbers.
    """
    prediction, reference = (_name(read_segmentation(path), names) for path in (pair.prediction, pair.reference))
    ours, theirs = ({name.lower() for name in side.labels.names} for side in (prediction, reference))
    if ours and theirs and not ours & theirs and _all_numbers(ours) != _all_numbers(theirs):
        raise FormatError(
            f"{pair.prediction.name} holds {', '.join(prediction.labels.names[:3])} and its reference "
            f"{', '.join(reference.labels.names[:3])}; say with --labels FILE.json which value is what."
        )
    if not prediction.grid.same_as(reference.grid):
        if not resample:
            raise GeometryError(
                f"{pair.prediction.name} {_describe(prediction)} does not lie on the grid of its reference "
                f"{_describe(reference)}; with --resample nearest its labels are taken at the reference's voxels."
            )
        prediction = prediction.to(reference.grid)
    return prediction, reference


def read_background(pair: Pair, reference: Segmentation) -> Volume:
    """The image under a picture of a case, on the reference's grid: black where there is none."""
    if pair.image is None:
        return Volume((reference.layers[:1] * 0).astype("uint8"), reference.grid, reference.source)
    return read(pair.image).to(reference.grid)


def score_pair(pair: Pair, rules: Rules) -> list[Record]:
    """The records of a case; each file is a patient of its own."""
    prediction, reference = read_pair(pair, rules.names, rules.resample)
    rows = score_case(prediction, reference, rules.metrics, rules.policy, pair.name)
    return [
        Record("", "", pair.name, row.case, "", row.structure, row.metric, row.value, row.unit, row.status)
        for row in rows
    ]


def _name(labels: Segmentation, names: Mapping[int, str]) -> Segmentation:
    """The same labels, where those without a name of their own are called by `names`, all of which were looked for."""
    if not names:
        return labels
    called = {name: names.get(int(name), name) if name.isdigit() else name for name in labels.labels.names}
    structures = [replace(each, name=called[each.name]) for each in labels.labels.structures]
    known = set(called.values())
    structures += [Structure(name) for name in names.values() if name not in known]
    places = {called[name]: place for name, place in labels.places.items()}
    unused = int(labels.layers.max(initial=0)) + 1
    places |= {name: (0, unused) for name in names.values() if name not in known}
    looked_for = frozenset(called.get(name, name) for name in labels.annotated) | frozenset(names.values())
    return replace(labels, labels=LabelSpace(tuple(structures)), places=places, annotated=looked_for)


def _all_numbers(names: Iterable[str]) -> bool:
    return all(name.isdigit() for name in names)


def _by_name(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise FormatError(f"{folder} is not a folder; give two folders, or two files.")
    files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and suffix_of(path) in SUFFIXES]
    return _distinct(files)


def _distinct(files: Iterable[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files:
        if stem(path) in found:
            raise FormatError(f"{path.name} and {found[stem(path)].name} share a name; give each case its own.")
        found[stem(path)] = path
    return found


def _describe(labels: Segmentation) -> str:
    spacing = " x ".join(f"{mm:.4g}" for mm in labels.grid.spacing_mm)
    return f"({' x '.join(map(str, labels.grid.shape))}, {spacing} mm, {labels.grid.codes})"
