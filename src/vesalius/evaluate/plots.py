"""Two kinds of plot as SVG, for a page that needs nothing else: values by row, and means along settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from vesalius.evaluate.statistics import Interval

WIDTH, ROW, LEFT, RIGHT = 760, 30, 210, 24
TICKS = 5
MOST_DOTS = 200  # in one row


@dataclass(frozen=True)
class Dots:
    """One row of values: its label, the values with a word for each, and the mean with its interval."""

    label: str
    values: Sequence[tuple[float, str]]
    interval: Interval


def plot_dots(rows: Sequence[Dots], unit: str) -> str:
    """A dot for each value, or for 200 of many; a bar is the mean's confidence interval, a line in it the mean."""
    finite = [value for row in rows for value, _ in row.values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = _limits(finite)
    height = ROW * len(rows) + 40
    parts = [*_axis(low, high, height - 30, unit)]
    for n, row in enumerate(rows):
        y = ROW * n + ROW / 2 + 4
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" class="label">{escape(_shorten(row.label))}</text>')
        if math.isfinite(row.interval.low):
            left, right = _x(row.interval.low, low, high), _x(row.interval.high, low, high)
            parts.append(
                f'<rect x="{left:.1f}" y="{y - 9}" width="{max(right - left, 1):.1f}" height="18" class="band"/>'
            )
        for m, (value, word) in enumerate(_thin_out(row.values)):
            if math.isfinite(value):
                shift = 5 * math.sin(12.9898 * (m + 1))  # apart from each other, and the same every time
                title = f"<title>{escape(word)}: {value:.4g}</title>"
                x = _x(value, low, high)
                parts.append(f'<circle cx="{x:.1f}" cy="{y + shift:.1f}" r="3" class="dot">{title}</circle>')
        if math.isfinite(row.interval.mean):
            x = _x(row.interval.mean, low, high)
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 11}" y2="{y + 11}" class="mean"/>')
    return _svg(height, parts, f"{len(rows)} rows of values")


def plot_steps(labels: Sequence[str], intervals: Sequence[Interval], unit: str) -> str:
    """The mean under each setting, from above to below, with its confidence interval as a whisker."""
    ends = [v for each in intervals for v in (each.mean, each.low, each.high) if math.isfinite(v)]
    if not ends:
        return ""
    low, high = _limits(ends)
    height = ROW * len(labels) + 40
    parts, path = [*_axis(low, high, height - 30, unit)], []
    for n, (label, each) in enumerate(zip(labels, intervals, strict=True)):
        y = ROW * n + ROW / 2 + 4
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" class="label">{escape(_shorten(label))}</text>')
        if math.isfinite(each.low):
            ends_x = _x(each.low, low, high), _x(each.high, low, high)
            parts.append(f'<line x1="{ends_x[0]:.1f}" x2="{ends_x[1]:.1f}" y1="{y}" y2="{y}" class="whisker"/>')
        if math.isfinite(each.mean):
            x = _x(each.mean, low, high)
            path.append(f"{x:.1f},{y}")
            title = f"<title>{escape(label)}: {each.mean:.4g} [{each.low:.4g}, {each.high:.4g}]</title>"
            parts.append(f'<circle cx="{x:.1f}" cy="{y}" r="4" class="point">{title}</circle>')
    parts.insert(0, f'<polyline points="{" ".join(path)}" class="path"/>')
    return _svg(height, parts, f"means under {len(labels)} settings")


def _thin_out(values: Sequence[tuple[float, str]]) -> Sequence[tuple[float, str]]:
    """At most `MOST_DOTS` values, evenly spaced in rank, with the least and the greatest."""
    if len(values) <= MOST_DOTS:
        return values
    ranked = sorted(each for each in values if math.isfinite(each[0]))
    return [ranked[round(n * (len(ranked) - 1) / (MOST_DOTS - 1))] for n in range(MOST_DOTS)]


def _axis(low: float, high: float, bottom: float, unit: str) -> list[str]:
    parts = []
    for n in range(TICKS + 1):
        value = low + (high - low) * n / TICKS
        x = _x(value, low, high)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{bottom}" class="grid"/>')
        text = f"{value:.3g}" + (f" {unit}" if n == TICKS and unit not in ("", "1") else "")
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" class="tick">{escape(text)}</text>')
    return parts


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """From the least to the greatest value, rounded outwards; shares of one are shown from where they begin to 1."""
    low, high = min(values), max(values)
    if low >= 0 and high <= 1:
        return math.floor(low * 10) / 10 if low < 1 else 0.9, 1.0
    step = 10 ** math.floor(math.log10(max(high - low, 1e-9)))
    return math.floor(low / step) * step, max(math.ceil(high / step) * step, math.floor(low / step) * step + step)


def _x(value: float, low: float, high: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)


def _shorten(label: str, most: int = 26) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}…"


def _svg(height: float, parts: Sequence[str], words: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(words)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
