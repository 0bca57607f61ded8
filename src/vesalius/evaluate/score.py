"""Every metric of every structure of a case, one row for each number, also where a structure is missing.

    rows = score_case(prediction, reference, ("dice", "nsd@2", "hd95"))

A structure is cut out of both segmentations in the box that holds it, so memory goes with the largest structures that
are in work at one time, and never with the number of structures.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import ndimage

from vesalius.data.layout import load_json
from vesalius.errors import FormatError, GeometryError, VesaliusError
from vesalius.evaluate.metrics import MaskPair, Metric, read_metric
from vesalius.evaluate.overlap import Mask
from vesalius.grid import Grid
from vesalius.labels import Structure
from vesalius.segmentation import Segmentation

METRICS = ("dice", "nsd@2", "hd95")
LEAST_SINE = 1e-3  # the sine of an angle between two axes by which they are not at right angles
CHOICES = {  # of a policy
    "one_empty": ("worst", "infinite", "undefined"),
    "both_empty": ("undefined", "perfect"),
    "not_annotated": ("undefined", "empty"),
}
Box = tuple[slice, ...]


@dataclass(frozen=True)
class Policy:
    """What a row says where a structure is missing, and the tolerances of structures.

    A row is there in any case, and its status names the choice:
    `one_empty`: only one side has voxels. Overlaps are 0; distances are the diagonal of the image ("worst") or infinite
    ("infinite"); or all is NaN ("undefined").
    `both_empty`: neither side has voxels, as it should be. NaN ("undefined"), or what equal masks have ("perfect").
    `not_annotated`: nobody looked for it in the reference. NaN ("undefined"), or it counts as empty there ("empty"),
    which is for references that do not say what was looked for. Raises VesaliusError for any other word.
    `tolerances_mm`: at which distance two surfaces of a structure count as the same, for the metric "nsd".
    """

    one_empty: Literal["worst", "infinite", "undefined"] = "worst"
    both_empty: Literal["undefined", "perfect"] = "undefined"
    not_annotated: Literal["undefined", "empty"] = "undefined"
    tolerances_mm: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                said = getattr(self, name)
                raise VesaliusError(f"The policy {name}={said!r} does not exist; choose {' or '.join(choices)}.")


@dataclass(frozen=True)
class Row:
    """One number and where it comes from.

    `status` is "scored" where both sides have voxels, else what is missing and what the policy makes of it, such as
    "missed: worst", "spurious: worst", "absent: undefined" or "not annotated: undefined"; it is "not annotated,
    spurious: worst" where what is not annotated counts as empty.
    """

    case: str
    structure: str
    metric: str
    value: float
    unit: str
    status: str


DEFAULT_POLICY = Policy()


def read_tolerances(path: Path) -> dict[str, float]:
    """The tolerance of each structure in mm from a JSON file, {"liver": 5}; raises FormatError for anything else."""
    record = load_json(path)
    for name, mm in record.items():
        if not isinstance(mm, int | float) or isinstance(mm, bool) or not 0 < mm < math.inf:
            raise FormatError(
                f"{path.name} gives {name} the tolerance {mm!r}; write a number of mm, as in {{'liver': 5}}."
            )
    return record


def score_case(
    prediction: Segmentation,
    reference: Segmentation,
    metrics: Sequence[str] = METRICS,
    policy: Policy = DEFAULT_POLICY,
    case: str = "",
    threads: int | None = None,
) -> list[Row]:
    """All `metrics` of all structures that either side names, those of the reference first.

    Structures are the same by name or synonym, case ignored; one that the prediction does not name is empty there. A
    grid one voxel thick is 2D. Distances and tolerances are in mm, or in pixels where the grid is not calibrated.
    Structures are shared among `threads`, by default as many as `count_cores` finds. Raises GeometryError for different
    grids, and for surfaces on a sheared one; VesaliusError for an unknown metric, and for "nsd" of a structure that the
    policy has no tolerance for.
    """
    grid = reference.grid
    if not prediction.grid.same_as(grid):
        raise GeometryError(
            f"The prediction ({_describe(prediction.grid)}) is not on the grid of the reference ({_describe(grid)}); "
            "resample it first: prediction.to(reference.grid) takes the nearest labels."
        )
    chosen = {name: read_metric(name) for name in metrics}
    if any(metric.surface for metric in chosen.values()):
        _require_right_angles(grid)
    our_boxes, their_boxes = _find_boxes(prediction), _find_boxes(reference)
    tolerances = {name.lower(): mm for name, mm in policy.tolerances_mm.items()}
    thin = grid.thin_axis()

    def score(our_name: str, their_name: str) -> list[Row]:
        ours, theirs = our_boxes.get(our_name), their_boxes.get(their_name)
        box = _enclose([each for each in (ours, theirs) if each is not None])
        masks = (_cut(prediction, our_name, box), _cut(reference, their_name, box))
        structure = their_name or our_name
        tolerance = tolerances.get(structure.lower(), math.nan)
        pair = MaskPair(*masks, grid.spacing_mm, tolerance)
        pair = pair if thin is None else _flatten(pair, thin)
        annotated = theirs is not None or their_name in reference.annotated
        status = _judge(ours is not None, theirs is not None, annotated, policy)
        if "nsd" in chosen and status == "scored" and math.isnan(tolerance):
            raise VesaliusError(f"nsd needs a tolerance of {structure}; add it, or use nsd@2 for one that all share.")
        return [
            Row(case, structure, name, _value(metric, pair, status, grid), _unit(metric, grid), status)
            for name, metric in chosen.items()
        ]

    with ThreadPoolExecutor(threads or count_cores()) as pool:
        return [row for rows in pool.map(score, *zip(*_pair_names(prediction, reference), strict=True)) for row in rows]


def count_cores() -> int | None:
    """The cores that this process may use: as many as OMP_NUM_THREADS says, which clusters set, or all."""
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(said) if said.isdecimal() and int(said) else os.cpu_count()


def _pair_names(prediction: Segmentation, reference: Segmentation) -> list[tuple[str, str]]:
    """The names of each structure in both, "" where a side does not know it."""
    ours = {word.lower(): each.name for each in prediction.labels.structures for word in (each.name, *each.synonyms)}
    bare = (Structure(name) for name in sorted(reference.annotated - set(reference.labels.names)))
    pairs = []
    for structure in (*reference.labels.structures, *bare):
        words = (structure.name, *sorted(structure.synonyms))
        pairs.append((next((ours[word.lower()] for word in words if word.lower() in ours), ""), structure.name))
    known = {name for name, _ in pairs}
    return pairs + [(name, "") for name in prediction.labels.names if name not in known]


def _judge(ours: bool, theirs: bool, annotated: bool, policy: Policy) -> str:
    """The status of a structure that the prediction (`ours`) and the reference show or do not."""
    if ours and theirs:
        return "scored"
    if not annotated and policy.not_annotated == "undefined":
        return "not annotated: undefined"
    said = "" if annotated else "not annotated, "
    if theirs:
        return f"missed: {policy.one_empty}"
    return f"{said}spurious: {policy.one_empty}" if ours else f"{said}absent: {policy.both_empty}"


def _value(metric: Metric, pair: MaskPair, status: str, grid: Grid) -> float:
    """The metric, or what stands for it where a structure is missing."""
    match status.rpartition(": ")[2]:  # the policy's word, or "scored"
        case "undefined":
            return float("nan")
        case "perfect":
            return metric.perfect
        case "worst" if metric.length:
            return _diagonal(grid)
        case _:  # overlaps with an empty mask are 0, and distances to it infinite, by themselves
            return metric.value(pair)


def _diagonal(grid: Grid) -> float:
    """From corner to corner of an image; of a grid one voxel thick, of the picture."""
    sides = (
        n * mm for axis, (n, mm) in enumerate(zip(grid.shape, grid.spacing_mm, strict=True)) if axis != grid.thin_axis()
    )
    return math.hypot(*sides)


def _unit(metric: Metric, grid: Grid) -> str:
    return "1" if not metric.length else "mm" if grid.calibrated else "px"


def _find_boxes(segmentation: Segmentation) -> dict[str, Box]:
    """The smallest box around each structure that has voxels."""
    layers = [ndimage.find_objects(layer) for layer in segmentation.layers]
    boxes = {}
    for name, (layer, value) in segmentation.places.items():
        if value <= len(layers[layer]) and layers[layer][value - 1] is not None:
            boxes[name] = layers[layer][value - 1]
    return boxes


def _enclose(boxes: Sequence[Box]) -> Box:
    """The smallest box around boxes; an empty one around none."""
    if not boxes:
        return (slice(0, 0),) * 3
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))


def _cut(segmentation: Segmentation, name: str, box: Box) -> Mask:
    """A structure's mask in a box, empty where it has no place."""
    layer, value = segmentation.places.get(name, (0, -1))
    return np.asarray(segmentation.layers[layer][box] == value)


def _flatten(pair: MaskPair, thin: int) -> MaskPair:
    """Masks (i, j) of a grid that is one voxel thick along an axis."""
    prediction, reference = (np.asarray(mask.any(axis=thin)) for mask in (pair.prediction, pair.reference))
    spacing = tuple(mm for axis, mm in enumerate(pair.spacing_mm) if axis != thin)
    return MaskPair(prediction, reference, spacing, pair.tolerance_mm)


def _require_right_angles(grid: Grid) -> None:
    directions = grid.matrix[:3, :3] / grid.spacing_mm
    if np.abs(directions.T @ directions - np.eye(3)).max() > LEAST_SINE:
        raise GeometryError(
            "The grid is sheared (a tilted gantry), and distances are only measured along axes at right angles; "
            "resample both segmentations to an upright grid first."
        )


def _describe(grid: Grid) -> str:
    spacing = " x ".join(f"{mm:.4g}" for mm in grid.spacing_mm)
    return (
        f"{' x '.join(map(str, grid.shape))} voxels of {spacing} mm, from {np.round(grid.world((0, 0, 0)), 2).tolist()}"
    )
