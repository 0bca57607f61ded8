"""The report of an evaluation as one HTML file that needs nothing else: numbers, plots, pictures, what is missing."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from vesalius.evaluate.plots import Dots, plot_dots, plot_steps
from vesalius.evaluate.statistics import DRAWS, Summary, summarise
from vesalius.evaluate.summary import (
    count_missing,
    join_structures,
    metrics_of,
    pool_draws,
    rank_cases,
    split_units,
    whole_cases,
)
from vesalius.evaluate.table import WHOLE_CASE, Record
from vesalius.files import write_text

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #66707d; --line: #d9dee5; --tint: #eef3f8; --mark: #0b6fb8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ecf1; --soft: #9aa5b1; --line: #3a434e; --tint: #222a33; --mark: #58b4f5; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 960px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p.note, figcaption, dt { color: var(--soft); } p.note { font-size: .9rem; margin: .3rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; } dd { margin: 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
td.number, th.number { text-align: right; } td small { color: var(--soft); }
svg { width: 100%; height: auto; margin: .4rem 0; } svg text { font: 13px system-ui, sans-serif; fill: var(--ink); }
svg .label { text-anchor: end; } svg .tick { text-anchor: middle; fill: var(--soft); font-size: 12px; }
svg .grid { stroke: var(--line); } svg .dot { fill: var(--mark); fill-opacity: .45; } svg .band { fill: var(--tint); }
svg .band { stroke: var(--line); } svg .mean { stroke: var(--ink); stroke-width: 2; }
svg .whisker { stroke: var(--mark); stroke-width: 2; stroke-opacity: .5; } svg .point { fill: var(--mark); }
svg .path { fill: none; stroke: var(--mark); stroke-opacity: .35; stroke-width: 2; }
figure { margin: 1rem 0; } img { max-width: 100%; border-radius: 4px; background: #000; }
.bad { border-left: 4px solid #d1495b; padding: .2rem 1rem; background: var(--tint); }
"""
WORST = 10  # cases that are listed
MOST_ROWS = 40  # of a plot


@dataclass(frozen=True)
class Evaluation:
    """What a report is about: `facts` in the order in which they are shown, and all records.

    `failed` has a sentence for each case that failed, `left` names those that are not done yet, `alone` the files
    without a partner; `pictures` are captions and PNGs, empty where there is none.
    """

    title: str
    facts: Mapping[str, str]
    records: Sequence[Record]
    failed: Mapping[str, str] = field(default_factory=dict)
    left: Sequence[str] = ()
    alone: Sequence[str] = ()
    pictures: Sequence[tuple[str, bytes]] = ()


def write_page(evaluation: Evaluation, path: Path) -> None:
    """Writes the report, whole or not at all."""
    write_text(path, make_page(evaluation))


def make_page(evaluation: Evaluation) -> str:
    """The report as HTML."""
    pooled = split_units(pool_draws(evaluation.records))
    metrics = metrics_of(pooled)
    sections = [_facts(evaluation), _trouble(evaluation)]
    if pooled:
        sections += [
            _section("Over all structures", _summary_table(join_structures(pooled), ("setting",), metrics)),
            _steps(pooled, metrics[0]),
            _whole_cases(pooled),
            _structures(pooled, metrics),
            _breakdown(pooled, "dataset", "By data set", metrics),
            _breakdown(pooled, "modality", "By modality", metrics),
            _worst(pooled, metrics[0]),
            _pictures(evaluation.pictures),
            _missing(evaluation.records),
        ]
    title = escape(evaluation.title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body><h1>{title}</h1>\n" + "\n".join(filter(None, sections)) + "\n</body></html>\n"
    )


def _facts(evaluation: Evaluation) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in evaluation.facts.items())
    return f"<dl>{rows}</dl>"


def _trouble(evaluation: Evaluation) -> str:
    """What is not in the numbers, before any of them."""
    lines = [f"<b>{escape(name)}</b> failed: {escape(sentence)}" for name, sentence in evaluation.failed.items()]
    left = [name for name in evaluation.left if name not in evaluation.failed]
    if left:
        lines.append(f"{len(left)} cases are not done yet: {escape(_enumerate(left))}")
    if evaluation.alone:
        lines.append(f"without a partner: {escape(_enumerate(evaluation.alone))}")
    return f'<div class="bad"><h2>Not in these numbers</h2><p>{"<br>".join(lines)}</p></div>' if lines else ""


def _summary_table(records: Sequence[Record], by: Sequence[str], metrics: Sequence[str]) -> str:
    """A row for each combination of the columns `by`, a column for each metric: the mean and its interval."""
    units = {row.metric: row.unit for row in records}
    return _table_of(summarise(records, (*by, "metric")), by, metrics, units)


def _table_of(summaries: Sequence[Summary], by: Sequence[str], metrics: Sequence[str], units: Mapping[str, str]) -> str:
    found = {each.keys: each for each in summaries}
    rows = list(dict.fromkeys(keys[:-1] for keys in found))
    named = [n for n in range(len(by)) if any(keys[n] for keys in rows)]
    head = [_name(by[n]) for n in named] + [f"{metric}{_in(units.get(metric, ''), metric)}" for metric in metrics]
    body = []
    for keys in rows:
        cells = [_cell(found.get((*keys, metric))) for metric in metrics]
        body.append([escape(keys[n] or WHOLE_CASE) for n in named] + cells)
    return _table(head, body, len(named)) + _note(found.values())


def _note(summaries: Iterable[Summary]) -> str:
    intervals = [each.interval for each in summaries]
    patients, left = max(each.groups for each in intervals), sum(each.left_out for each in intervals)
    words = f"mean [95 % interval, {patients} patients drawn {DRAWS} times with replacement]; n values"
    if patients < 2:
        words = "mean, n values; without an interval, since they are of one patient"
    words += f"; {left} values are not defined or infinite and not in the means" if left else ""
    return f'<p class="note">{words}</p>'


def _cell(summary: Summary | None) -> str:
    if summary is None or not summary.interval.values:
        return "–"
    each = summary.interval
    within = f" [{_number(each.low)}, {_number(each.high)}]" if math.isfinite(each.low) else ""
    return f"{_number(each.mean)}<small>{within} n {each.values}</small>"


def _steps(records: Sequence[Record], metric: str) -> str:
    """The main metric along the settings, where there are several."""
    rows = [row for row in join_structures(records) if row.metric == metric]
    found = summarise(rows, ("setting", "metric"))
    if len(found) < 2:
        return ""
    plot = plot_steps([each.keys[0] for each in found], [each.interval for each in found], rows[0].unit)
    return _section(f"{metric} under each setting", plot)


def _whole_cases(records: Sequence[Record]) -> str:
    rows = whole_cases(records)
    metrics = list(dict.fromkeys(row.metric for row in rows))
    return _section("Whole cases", _summary_table(rows, ("setting",), metrics)) if rows else ""


def _structures(records: Sequence[Record], metrics: Sequence[str]) -> str:
    """A plot of the main metric and a table of all, for each structure under the last setting."""
    rows = [row for row in records if row.structure != WHOLE_CASE]
    rows = [row for row in rows if row.setting == rows[-1].setting]
    names = list(dict.fromkeys(row.structure for row in rows))
    found = summarise(rows, ("structure", "metric"))
    intervals = {each.keys[0]: each.interval for each in found if each.keys[1] == metrics[0]}
    values: dict[str, list[tuple[float, str]]] = {name: [] for name in names}
    for row in rows:
        if row.metric == metrics[0]:
            values[row.structure].append((row.value, row.case))
    dots = [Dots(name, values[name], intervals[name]) for name in names[:MOST_ROWS]]
    setting = f" ({rows[-1].setting})" if rows and rows[-1].setting else ""
    more = (
        f'<p class="note">The plot shows the first {MOST_ROWS} of {len(names)}.</p>' if len(names) > MOST_ROWS else ""
    )
    unit = next((row.unit for row in rows if row.metric == metrics[0]), "")
    units = {row.metric: row.unit for row in rows}
    body = plot_dots(dots, unit) + more + _table_of(found, ("structure",), metrics, units)
    return _section(f"By structure: {metrics[0]}{setting}", body)


def _breakdown(records: Sequence[Record], column: str, title: str, metrics: Sequence[str]) -> str:
    if len({getattr(row, column) for row in records}) < 2:
        return ""
    rows = join_structures(records)
    return _section(title, _summary_table([r for r in rows if r.setting == rows[-1].setting], (column,), metrics))


def _worst(records: Sequence[Record], metric: str) -> str:
    ranked = rank_cases(records, metric)[:WORST]
    body = [[escape(row.case), _number(row.value)] for row in ranked]
    return _section("Worst cases", _table(["case", f"mean {metric}"], body, 1)) if len(body) > 1 else ""


def _pictures(pictures: Sequence[tuple[str, bytes]]) -> str:
    figures = [
        f"<figure>{_image(caption, png)}<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, png in pictures
    ]
    return _section("Right and wrong", "".join(figures)) if figures else ""


def _image(caption: str, png: bytes) -> str:
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}">' if png else ""


def _missing(records: Sequence[Record]) -> str:
    """How often a structure was missing on a side, and what it counts as."""
    found = count_missing(records, metrics_of(records)[0])
    kinds = sorted({status for counts in found.values() for status in counts})
    body = [[escape(name), *(str(counts[kind] or "–") for kind in kinds)] for name, counts in found.items()]
    note = '<p class="note">What is missing, and after the colon what that counts as; times, over all settings.</p>'
    return _section("Missing structures", _table(["structure", *kinds], body, 1) + note) if body else ""


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _table(head: Sequence[str], body: Sequence[Sequence[str]], words: int) -> str:
    """A table whose first `words` columns are words, and whose cells are HTML."""

    def row(cells: Sequence[str], tag: str) -> str:
        kinds = ["" if n < words else ' class="number"' for n in range(len(cells))]
        return "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))

    lines = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in body)
    return f'<div class="wide"><table><tr>{row([escape(each) for each in head], "th")}</tr>{lines}</table></div>'


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) <= 1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _in(unit: str, metric: str) -> str:
    return f" ({unit})" if unit not in ("", "1") and f"({unit})" not in metric else ""


def _name(column: str) -> str:
    return {"dataset": "data set"}.get(column, column)


def _enumerate(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
