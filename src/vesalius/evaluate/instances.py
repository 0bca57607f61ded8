"""How many objects were found, and how well: F1 of detection and panoptic quality (Kirillov et al., CVPR 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True)
class Matching:
    """The IoU of each pair of a predicted object and its reference, and how many objects have no partner."""

    ious: tuple[float, ...]
    missed: int
    spurious: int

    def f1(self) -> float:
        """The share of objects, of both sides together, that have a partner; NaN where there are no objects."""
        return self._over_objects(len(self.ious))

    def panoptic_quality(self) -> float:
        """The sum of the pairs' IoU in place of their number: F1 times the pairs' mean IoU."""
        return self._over_objects(sum(self.ious))

    def mean_dice(self) -> float:
        """Of the pairs; 0 where there are none."""
        return sum(2 * iou / (1 + iou) for iou in self.ious) / max(1, len(self.ious))

    def _over_objects(self, found: float) -> float:
        objects = len(self.ious) + (self.missed + self.spurious) / 2
        return found / objects if objects else float("nan")


def match_instances(prediction: NDArray[np.integer], reference: NDArray[np.integer], least_iou: float) -> Matching:
    """Pairs objects of two label maps of one shape (0: no object), each with at most one, where their IoU reaches
    `least_iou`: as many pairs as possible, and among these the ones with the largest sum of IoU.

    Holds a table of the objects that have a candidate, ours times theirs.
    """
    ours, sizes = np.unique(prediction[prediction > 0], return_counts=True)
    theirs, other_sizes = np.unique(reference[reference > 0], return_counts=True)
    both = (prediction > 0) & (reference > 0)
    place = np.searchsorted(ours, prediction[both]) * len(theirs) + np.searchsorted(theirs, reference[both])
    pairs, common = np.unique(place, return_counts=True)
    rows, columns = np.divmod(pairs, max(1, len(theirs)))
    iou = common / (sizes[rows] + other_sizes[columns] - common)
    fit = iou >= least_iou
    ious = _assign(rows[fit], columns[fit], iou[fit])
    return Matching(ious, missed=len(theirs) - len(ious), spurious=len(ours) - len(ious))


def split_components(mask: NDArray[np.bool_], by_corners: bool = True) -> NDArray[np.int32]:
    """The connected parts of a mask, numbered from 1; voxels that touch by a corner are connected, or only by faces."""
    return ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, mask.ndim if by_corners else 1))[0]


def _assign(rows: NDArray[np.int64], columns: NDArray[np.int64], iou: NDArray[np.float64]) -> tuple[float, ...]:
    """The IoU of the pairs chosen among candidates."""
    if not len(iou):
        return ()
    row_names, row = np.unique(rows, return_inverse=True)
    column_names, column = np.unique(columns, return_inverse=True)
    table = np.zeros((len(row_names), len(column_names)))
    table[row, column] = iou
    chosen = table[linear_sum_assignment(table + len(iou) * (table > 0), maximize=True)]  # a pair outweighs any IoU
    return tuple(float(each) for each in chosen if each)
