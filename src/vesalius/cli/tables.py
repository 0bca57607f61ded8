"""Rows of words in columns of equal width."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows under their head, without the columns that are empty below it."""
    kept = [n for n in range(len(head)) if any(row[n] for row in rows)]
    widths = {n: max(len(row[n]) for row in (head, *rows)) for n in kept}
    for row in (head, *rows):
        print("  ".join(row[n].ljust(widths[n]) for n in kept).rstrip())
