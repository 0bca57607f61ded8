"""What `vesalius compare` prints: paired differences, and ranks where there are three tables or more."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from vesalius.cli.tables import print_table
from vesalius.errors import FormatError
from vesalius.evaluate.statistics import Difference, compare, pair_key, rank_stability
from vesalius.evaluate.summary import average, join_structures, pool_draws, shared, split_units
from vesalius.evaluate.table import WHOLE_CASE, Record, less_is_better, read_csv

SURE = 0.05
SHOWN = 5  # names of what is in one table only
COLUMNS = ("setting", "structure", "metric", "patients", "A", "B", "B - A", "95 % interval", "p", "p (Holm)", "")


def print_comparison(files: Sequence[Path], metrics: tuple[str, ...], as_json: bool) -> None:
    """Compares every table with the first; raises FormatError where they share nothing or one is given twice."""
    if twice := [file for file in files if files.count(file) > 1]:
        raise FormatError(f"{twice[0]} is given twice; give different tables.")
    tables = {name: _chosen(read_csv(file), metrics) for name, file in zip(_names(files), files, strict=True)}
    (first, base), *others = tables.items()
    found = {name: differences(base, rows) for name, rows in others}
    ranks = _ranks(tables) if len(tables) > 2 else {}
    if as_json:
        record = {name: [_record(each) for each in rows] for name, rows in found.items()}
        print(json.dumps({"first": first, "second": record, "ranks": ranks}, indent=1))
        return
    for name, rows in found.items():
        if not rows:
            raise FormatError(f"{first} and {name} have no case, setting and metric in common; compare other tables.")
        print(f"A = {first}, B = {name}")
        print_table(COLUMNS, [_cells(each) for each in rows])
        print("p: Wilcoxon's signed-rank test over patients; Holm: corrected for all tests of its kind in this table")
        print(_unpaired(base, tables[name]))
    for metric, by_name in ranks.items():
        print(f"how often each takes which rank by {metric}, patients drawn anew")
        head = ("", *(f"rank {n + 1}" for n in range(len(tables))))
        print_table(head, [(name, *map("{:.0%}".format, shares)) for name, shares in by_name.items()])


def differences(first: Sequence[Record], second: Sequence[Record]) -> list[Difference]:
    """First over all structures together, then of each, then of whole cases: families of tests, each corrected."""
    parts, cases = (
        [[row for row in rows if (row.structure == WHOLE_CASE) == whole] for rows in (first, second)]
        for whole in (False, True)
    )
    several = len({row.structure for row in parts[0]}) > 1
    together = compare(*(average(join_structures(rows)) for rows in shared(*parts))) if several else []
    return together + compare(*parts) + compare(*cases)


def _unpaired(first: Sequence[Record], second: Sequence[Record]) -> str:
    """What only one of two tables has, and so is in no difference; empty where there is nothing."""
    ours, theirs = ({pair_key(row): row for row in rows} for rows in (first, second))
    words = []
    for name, one, other in (("A", ours, theirs), ("B", theirs, ours)):
        alone = [row for key, row in one.items() if key not in other]
        if alone:
            cases, structures = (sorted({getattr(row, each) for row in alone}) for each in ("case", "structure"))
            words.append(
                f"only in {name}, so in no difference: {len(alone)} numbers of {len(cases)} cases "
                f"({', '.join(cases[:SHOWN])}{', ...' if len(cases) > SHOWN else ''}), "
                f"structures {', '.join(structures[:SHOWN])}{', ...' if len(structures) > SHOWN else ''}"
            )
    return "\n".join([*words, ""])


def _chosen(records: Sequence[Record], metrics: tuple[str, ...]) -> list[Record]:
    """The records of the metrics, draws averaged; errors without their sign, so that less is better."""
    rows = [row for row in records if not metrics or row.metric in metrics]
    rows = [replace(row, value=abs(row.value)) if less_is_better(row.metric) else row for row in rows]
    return average(split_units(pool_draws(rows)))


def _ranks(tables: dict[str, list[Record]]) -> dict[str, dict[str, list[float]]]:
    names = dict.fromkeys(row.metric for row in next(iter(tables.values())) if row.structure != WHOLE_CASE)
    return {metric: {name: row.tolist() for name, row in rank_stability(tables, metric).items()} for metric in names}


def _names(files: Sequence[Path]) -> list[str]:
    """What tables are called: by their folders where all have the usual name, made distinct where they are not."""
    names = [file.absolute().parent.name if file.name == "scores.csv" else file.stem for file in files]
    return [name if names.count(name) == 1 else str(file) for name, file in zip(names, files, strict=True)]


def _cells(each: Difference) -> tuple[str, ...]:
    interval = each.interval
    better = (interval.mean > 0) != less_is_better(each.metric)
    word = ("B is better" if better else "A is better") if each.p_holm < SURE and interval.mean else ""
    numbers = [f"{value:.4g}" for value in (each.first, each.second)]
    within = f"[{interval.low:+.4g}, {interval.high:+.4g}]"
    p_values = [f"{value:.3g}" for value in (each.p, each.p_holm)]
    left = f"{interval.groups}" + (f" ({interval.left_out} values left out)" if interval.left_out else "")
    return each.setting, each.structure, each.metric, left, *numbers, f"{interval.mean:+.4g}", within, *p_values, word


def _record(each: Difference) -> dict[str, object]:
    """A difference as JSON; what is not a finite number is null."""
    flat = {name: value for name, value in asdict(each).items() if name != "interval"} | asdict(each.interval)
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in flat.items()
    }
