"""What a table of scores says in short: means with their intervals, what was missing, and which cases to look at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace

from vesalius.evaluate.statistics import Summary, pair_key, summarise, worst_first
from vesalius.evaluate.table import WHOLE_CASE, Record

ALL = "(all)"  # stands for the structure of a mean over all of them


def pool_draws(records: Iterable[Record]) -> list[Record]:
    """The draws and episodes of a setting under its own name: "10 %, draw 2" as "10 %"."""
    return [replace(each, setting=each.setting.split(", draw ")[0].split(", episode ")[0]) for each in records]


def split_units(records: Iterable[Record]) -> list[Record]:
    """Where one metric has several units (mm and pixels), each becomes a metric of its own: "hd95 (mm)", "hd95 (px)".

    Lengths in different units have no mean.
    """
    rows = list(records)
    units: dict[str, set[str]] = {}
    for row in rows:
        units.setdefault(row.metric, set()).add(row.unit)
    return [
        replace(each, metric=f"{each.metric} ({each.unit})") if len(units[each.metric]) > 1 else each for each in rows
    ]


def metrics_of(records: Iterable[Record]) -> list[str]:
    """The metrics of structures, in the order in which they were asked for."""
    return list(dict.fromkeys(row.metric for row in records if row.structure != WHOLE_CASE))


def join_structures(records: Iterable[Record]) -> list[Record]:
    """The records of all structures under one name, without those that are about a whole case."""
    return [replace(each, structure=ALL) for each in records if each.structure != WHOLE_CASE]


def average(records: Iterable[Record]) -> list[Record]:
    """One record where several share data set, case, setting, structure and metric: the mean of the finite values."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for row in records:
        found.setdefault(pair_key(row), []).append(row)
    means = []
    for rows in found.values():
        finite = [row.value for row in rows if math.isfinite(row.value)]
        means.append(replace(rows[0], value=sum(finite) / len(finite) if finite else math.nan))
    return means


def shared(first: Iterable[Record], second: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """The records of two tables whose counterparts in the other one are finite too."""
    ours, theirs = ({pair_key(row): row for row in rows if math.isfinite(row.value)} for rows in (first, second))
    return [row for key, row in ours.items() if key in theirs], [row for key, row in theirs.items() if key in ours]


def whole_cases(records: Iterable[Record]) -> list[Record]:
    """The records that are about a whole case."""
    return [each for each in records if each.structure == WHOLE_CASE]


def rank_cases(records: Iterable[Record], metric: str) -> list[Record]:
    """One record for each case, the mean of a metric over its structures under the last setting, the worst first.

    A case without any finite value is left out.
    """
    rows = [each for each in records if each.metric == metric and each.structure != WHOLE_CASE]
    last = rows[-1].setting if rows else ""
    cases: dict[tuple[str, str], list[Record]] = {}
    for row in rows:
        if row.setting == last and math.isfinite(row.value):
            cases.setdefault((row.dataset, row.case), []).append(row)
    means = [
        replace(each[0], structure=ALL, value=sum(row.value for row in each) / len(each)) for each in cases.values()
    ]
    return worst_first(means)


def pick_cases(ranked: Sequence[Record]) -> list[tuple[str, Record]]:
    """The worst, the median and the best case, each one once."""
    places = {"worst": 0, "median": len(ranked) // 2, "best": len(ranked) - 1}
    picked: dict[str, tuple[str, Record]] = {}
    for word, place in places.items() if ranked else ():
        picked.setdefault(ranked[place].case, (word, ranked[place]))
    return list(picked.values())


def count_missing(records: Iterable[Record], metric: str) -> dict[str, Counter[str]]:
    """Of each structure, how often each status other than "scored" occurs; every case and setting counts once."""
    found: dict[str, Counter[str]] = {}
    for row in records:
        if row.metric == metric and row.status != "scored":
            found.setdefault(row.structure, Counter())[row.status] += 1
    return found


def to_json(summaries: Iterable[Summary], by: Sequence[str]) -> list[dict[str, object]]:
    """Summaries as JSON records; what is not a finite number is null."""
    rows = []
    for each in summaries:
        numbers = {**asdict(each.interval), "median": each.median}
        kept = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        rows.append({**dict(zip(by, each.keys, strict=True)), **kept, "worst_case": each.worst})
    return rows


def summarise_all(records: Sequence[Record]) -> dict[str, list[dict[str, object]]]:
    """The breakdowns of an evaluation: over all, by structure, and by data set and modality where there are several."""
    pooled = split_units(pool_draws(records))
    by, each = ("setting", "metric"), ("setting", "structure", "metric")
    found = {
        "all": to_json(summarise(join_structures(pooled), by), by),
        "cases": to_json(summarise(whole_cases(pooled), by), by),
        "structures": to_json(summarise([row for row in pooled if row.structure != WHOLE_CASE], each), each),
    }
    for name in ("dataset", "modality"):
        if len({getattr(row, name) for row in pooled}) > 1:
            columns = ("setting", name, "metric")
            found[f"{name}s" if name == "dataset" else "modalities"] = to_json(
                summarise(join_structures(pooled), columns), columns
            )
    return found
