"""Whether a model serves all groups of patients alike: equity-scaled scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def equity_scaled(scores: ArrayLike, groups: Sequence[str]) -> float:
    """The mean score (Dice, IoU: more is better) divided by 1 + the sum of what the groups' means differ from it.

    One score and one group for each case. It equals the mean only where all groups have the same. Tian et al., FairSeg,
    ICLR 2024. Scores that are not finite must be dealt with before: here they make the result NaN or infinite.
    """
    values, names = np.asarray(scores, dtype=float), np.asarray(groups)
    mean = float(values.mean())
    apart = sum(abs(float(values[names == name].mean()) - mean) for name in np.unique(names))
    return mean / (1 + apart)
