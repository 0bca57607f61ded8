"""How sure a number is: intervals and tests in which the patient, not the image or the structure, is what is drawn.

Maier-Hein et al., Why rankings of biomedical image analysis competitions should be interpreted with care, 2018;
Wiesenfarth et al., Methods and open-source toolkit for analyzing and visualizing challenge results, 2021.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from vesalius.evaluate.table import Record, less_is_better

DRAWS = 2000
SEED = 0
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval (NaN with fewer than two patients).

    Over `values` numbers of `groups` patients; `left_out` numbers were not finite and are in none of these.
    """

    mean: float
    low: float
    high: float
    values: int
    groups: int
    left_out: int


@dataclass(frozen=True)
class Summary:
    """The numbers that share `keys`: their mean with its interval, their median, and the case of the worst one."""

    keys: tuple[str, ...]
    interval: Interval
    median: float
    worst: str


@dataclass(frozen=True)
class Difference:
    """One metric of one structure under one setting in two tables: the mean of second minus first over pairs.

    `p` is of Wilcoxon's signed-rank test over patients, `p_holm` corrected for all the tests of the comparison. `ups`
    and `downs` count patients whose value rose and fell.
    """

    setting: str
    structure: str
    metric: str
    first: float
    second: float
    interval: Interval
    ups: int
    downs: int
    p: float
    p_holm: float


def bootstrap_mean(values: ArrayLike, groups: Sequence[str], level: float = LEVEL, draws: int = DRAWS) -> Interval:
    """The mean of all values, and the percentile interval of it when patients (`groups`) are drawn with replacement.

    A patient brings all of its values, so many images of one patient do not make the interval narrow.
    """
    numbers = np.asarray(values, dtype=float)
    finite = np.isfinite(numbers)
    left_out = int((~finite).sum())
    if not finite.any():
        return Interval(np.nan, np.nan, np.nan, 0, 0, left_out)
    sums, counts = _by_group(numbers[finite], np.asarray(groups)[finite])
    mean = float(sums.sum() / counts.sum())
    low = high = float("nan")
    if len(sums) > 1:
        means = np.concatenate([_draw_means(sums, counts, rows) for rows in _draws(len(sums), draws)])
        low, high = (float(v) for v in np.quantile(means, ((1 - level) / 2, (1 + level) / 2)))
    return Interval(mean, low, high, int(finite.sum()), len(sums), left_out)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """P values corrected for their number by Holm's step-down method; NaN stays NaN and does not count."""
    p = np.asarray(p_values, dtype=float)
    corrected = np.full(p.shape, np.nan)
    order = np.argsort(p)[: np.isfinite(p).sum()]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def summarise(records: Iterable[Record], by: Sequence[str]) -> list[Summary]:
    """The numbers of each combination of the columns `by`, in the order in which they first appear.

    `by` must hold "metric": the worst case of a metric of which less is better is the one with the most.
    """
    found = []
    for keys, rows in _grouped(records, by).items():
        values = np.array([row.value for row in rows])
        finite = values[np.isfinite(values)]
        worst = worst_first(rows)[0].case
        interval = bootstrap_mean(values, [patient(row) for row in rows])
        found.append(Summary(keys, interval, float(np.median(finite)) if len(finite) else float("nan"), worst))
    return found


def compare(first: Iterable[Record], second: Iterable[Record]) -> list[Difference]:
    """Every metric of every structure and setting that both tables have, paired by data set and case.

    Pairs in which a value is not finite are left out of that metric and counted in its interval.
    """
    theirs = {pair_key(row): row for row in second}
    pairs = [(row, theirs[pair_key(row)]) for row in first if pair_key(row) in theirs]
    grouped: dict[tuple[str, str, str], list[tuple[Record, Record]]] = {}
    for one, other in pairs:
        grouped.setdefault((one.setting, one.structure, one.metric), []).append((one, other))
    found = [_difference(keys, rows) for keys, rows in grouped.items()]
    corrected = holm([each.p for each in found])
    return [replace(each, p_holm=float(p)) for each, p in zip(found, corrected, strict=True)]


def rank_stability(tables: Mapping[str, Iterable[Record]], metric: str, draws: int = DRAWS) -> dict[str, NDArray]:
    """For each name, how often it takes rank 1, 2, ... when patients are drawn with replacement; rows sum to 1.

    Ranks are by the mean of a metric over the cases, settings and structures that all tables have; ties share the
    better rank.
    """
    kept = {name: {pair_key(row): row for row in rows if row.metric == metric} for name, rows in tables.items()}
    common = [key for key in next(iter(kept.values())) if all(key in rows for rows in kept.values())]
    common = [key for key in common if all(np.isfinite(rows[key].value) for rows in kept.values())]
    if not common:
        return {name: np.full(len(kept), np.nan) for name in kept}
    groups = np.asarray([patient(next(iter(kept.values()))[key]) for key in common])
    sign = 1 if less_is_better(metric) else -1
    scores = []
    for rows in kept.values():
        sums, counts = _by_group(np.array([sign * rows[key].value for key in common]), groups)
        scores.append(np.concatenate([_draw_means(sums, counts, drawn) for drawn in _draws(len(sums), draws)]))
    ranks = stats.rankdata(np.round(scores, 12), method="min", axis=0).astype(int)
    return {name: np.bincount(row - 1, minlength=len(kept)) / draws for name, row in zip(kept, ranks, strict=True)}


def worst_first(records: Iterable[Record]) -> list[Record]:
    """Records of one metric from the worst to the best; what is not defined comes last."""

    def key(row: Record) -> tuple[bool, float, str]:
        return math.isnan(row.value), -abs(row.value) if less_is_better(row.metric) else row.value, row.case

    return sorted(records, key=key)


def patient(row: Record) -> str:
    """What is drawn: the patient within the data set."""
    return f"{row.dataset}/{row.group or row.case}"


def _difference(keys: tuple[str, str, str], pairs: list[tuple[Record, Record]]) -> Difference:
    before, after = (np.array([pair[side].value for pair in pairs]) for side in (0, 1))
    groups = [patient(one) for one, _ in pairs]
    with np.errstate(invalid="ignore"):
        change = after - before
    finite = np.isfinite(change)
    p, ups, downs = float("nan"), 0, 0
    if finite.any():
        sums, counts = _by_group(change[finite], np.asarray(groups)[finite])
        means = np.round(sums / counts, 12)  # a difference that is only rounding is none
        ups, downs = int((means > 0).sum()), int((means < 0).sum())
        p = float(stats.wilcoxon(means).pvalue) if ups + downs else 1.0
    first, second = (float(side[finite].mean()) if finite.any() else float("nan") for side in (before, after))
    return Difference(*keys, first, second, bootstrap_mean(change, groups), ups, downs, p, float("nan"))


def _by_group(values: NDArray, groups: NDArray) -> tuple[NDArray, NDArray]:
    """Sum and count of the values of each group."""
    _, place = np.unique(groups, return_inverse=True)
    return np.bincount(place, values), np.bincount(place)


def _draws(groups: int, draws: int) -> Iterable[NDArray[np.int64]]:
    """Indices of drawn groups (some draws, groups), a bounded number at a time; the same for the same sizes."""
    rng = np.random.default_rng(SEED)
    step = max(1, 2_000_000 // groups)
    for begun in range(0, draws, step):
        yield rng.integers(groups, size=(min(step, draws - begun), groups))


def _draw_means(sums: NDArray, counts: NDArray, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    return sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)


def _grouped(records: Iterable[Record], by: Sequence[str]) -> dict[tuple[str, ...], list[Record]]:
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        found.setdefault(tuple(getattr(record, name) for name in by), []).append(record)
    return found


def pair_key(row: Record) -> tuple[str, ...]:
    """What makes two records of different tables a pair."""
    return row.dataset, row.case, row.setting, row.structure, row.metric
