"""The metrics by their names, and the two masks that they are taken from.

| name | what | in |
|---|---|---|
| `dice`, `iou`, `volume_error`, `cldice` | voxels | `overlap` |
| `nsd@2`, `hd`, `hd95`, `assd`, `masd` | surfaces; NSD at a tolerance, here of 2 mm | `surfaces` |
| `nsd` | surfaces, at the structure's own tolerance | `surfaces` |
| `f1@0.5`, `pq@0.5` | connected parts, paired where their IoU is at least, here, 0.5 | `instances` |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from vesalius.errors import VesaliusError
from vesalius.evaluate.instances import Matching, match_instances, split_components
from vesalius.evaluate.overlap import Mask, Overlap, cldice
from vesalius.evaluate.surfaces import Distances, measure_distances


@dataclass(frozen=True, eq=False)
class MaskPair:
    """A structure in the prediction and in the reference, as masks of one shape; what metrics share is made once.

    `tolerance_mm` is the structure's own, NaN where it has none.
    """

    prediction: Mask
    reference: Mask
    spacing_mm: tuple[float, ...]
    tolerance_mm: float = float("nan")

    @cached_property
    def overlap(self) -> Overlap:
        """Counts of voxels."""
        return Overlap.of(self.prediction, self.reference)

    @cached_property
    def distances(self) -> Distances:
        """Distances between the surfaces."""
        return measure_distances(self.prediction, self.reference, self.spacing_mm)

    def matching(self, least_iou: float) -> Matching:
        """Connected parts of both sides, paired."""
        return match_instances(split_components(self.prediction), split_components(self.reference), least_iou)


@dataclass(frozen=True)
class Metric:
    """How a number is taken from two masks; `perfect` is its value for equal ones.

    `surface`: it needs right angles between the axes. `length`: it is a distance, in mm.
    """

    value: Callable[[MaskPair], float]
    perfect: float = 1.0
    surface: bool = False
    length: bool = False


PLAIN = {
    "dice": Metric(lambda pair: pair.overlap.dice()),
    "iou": Metric(lambda pair: pair.overlap.iou()),
    "volume_error": Metric(lambda pair: pair.overlap.volume_error(), perfect=0.0),
    "cldice": Metric(lambda pair: cldice(pair.prediction, pair.reference)),
    "nsd": Metric(lambda pair: pair.distances.nsd(pair.tolerance_mm), surface=True),
    "hd": Metric(lambda pair: pair.distances.hausdorff(100), perfect=0.0, surface=True, length=True),
    "hd95": Metric(lambda pair: pair.distances.hausdorff(95), perfect=0.0, surface=True, length=True),
    "assd": Metric(lambda pair: pair.distances.assd(), perfect=0.0, surface=True, length=True),
    "masd": Metric(lambda pair: pair.distances.masd(), perfect=0.0, surface=True, length=True),
}
WITH_NUMBER: dict[str, Callable[[float], Metric]] = {
    "nsd": lambda tolerance: Metric(lambda pair: pair.distances.nsd(tolerance), surface=True),
    "f1": lambda iou: Metric(lambda pair: pair.matching(iou).f1()),
    "pq": lambda iou: Metric(lambda pair: pair.matching(iou).panoptic_quality()),
}


def read_metric(name: str) -> Metric:
    """The metric of a name such as "dice" or "nsd@2"; raises VesaliusError with the names that there are."""
    word, _, number = name.partition("@")
    if name in PLAIN:
        return PLAIN[name]
    if word in WITH_NUMBER:
        try:
            return WITH_NUMBER[word](float(number))
        except ValueError:
            pass
    names = ", ".join([*PLAIN, *(f"{each}@NUMBER" for each in WITH_NUMBER)])
    raise VesaliusError(f"There is no metric {name!r}; choose among {names}, such as nsd@2 for a tolerance of 2 mm.")
