"""Mean Dice and NSD of a case, number for number as the scripts of the CVPR 2024 and 2025 challenges compute them.

The mean is over the structures that the reference shows; what is found beside them costs nothing. NSD counts as 0 where
the mean Dice is not above 0.2. The scripts give the spacing, stored as x, y, z, to arrays stored as z, y, x, so the
NSD of anisotropic volumes is measured along wrong axes, and so do we here; the metrics of each structure, which stand
beside these numbers in every table, are measured as the image lies.
"""

from __future__ import annotations

import numpy as np

from vesalius.evaluate.instances import match_instances, split_components
from vesalius.evaluate.surfaces import measure_distances
from vesalius.evaluate.trial import Mask, Objects, mask_of
from vesalius.grid import Grid
from vesalius.segmentation import Segmentation

TOLERANCE_MM = 2.0
LEAST_DICE = 0.2  # up to it, NSD is not computed and counts as 0
LEAST_IOU = 0.5  # of an object that counts as found


def score_as_challenge(prediction: Segmentation, reference: Segmentation) -> tuple[float, float]:
    """Mean Dice and NSD of a case; both are NaN where the reference shows nothing."""
    masks = [(mask_of(prediction, name), reference.mask(name)) for name in reference.labels.names]
    masks = [(found, mask) for found, mask in masks if mask.any()]
    if not masks:
        return float("nan"), float("nan")
    dice = np.mean([2 * (found & mask).sum() / (found.sum() + mask.sum()) for found, mask in masks])
    if dice <= LEAST_DICE:
        return float(dice), 0.0
    spacing = challenge_spacing(reference.grid)
    nsd = np.mean([measure_distances(found, mask, spacing).nsd(TOLERANCE_MM) for found, mask in masks])
    return float(dice), float(nsd)


def score_objects_as_challenge(found: Mask, objects: Objects) -> tuple[float, float]:
    """F1 of the objects that were found, and the mean Dice of the pairs: the scores of the text track of 2025.

    The objects of a mask are its parts that are connected by faces. F1 is NaN, and in the script 0, where no object is
    and none was found.
    """
    matching = match_instances(split_components(found, by_corners=False), objects.values, LEAST_IOU)
    return matching.f1(), matching.mean_dice()


def challenge_spacing(grid: Grid) -> tuple[float, ...]:
    """What the scripts take for the spacing of each of a grid's axes: x and z are exchanged; 1 in pictures."""
    if grid.thin_axis() is not None or not grid.calibrated:
        return 1.0, 1.0, 1.0
    x, y, z = grid.axis_order("LPS")[0]
    spacing = np.empty(3)
    spacing[[z, y, x]] = np.asarray(grid.spacing_mm)[[x, y, z]]
    return tuple(spacing.tolist())
