"""Prompts as a table in CSV: a header, then one prompt per row. Only the column `kind` is required.

kind, target, positive (true or false)
x, y, z        a point, or the corner of a box
x2, y2, z2     the opposite corner of a box
id             rows of one scribble or lasso share kind, target and id; each gives the next point
space          RAS (the default) or index, as in the JSON
words          of a text prompt
structure      of a named prompt
file           of a mask
"""

from __future__ import annotations

import csv
from pathlib import Path

from vesalius.errors import FormatError, PromptError

COLUMNS = ("kind", "target", "positive", *"xyz", "x2", "y2", "z2", "id", "space", "words", "structure", "file")
SIGNS = {"true": True, "yes": True, "1": True, "+": True, "false": False, "no": False, "0": False, "-": False}
DRAWN = {"scribble": "points", "lasso": "outline"}


def csv_to_records(path: Path) -> list[tuple[str, str, dict]]:
    """Where each prompt stands in the file, its space, and its JSON record; raises FormatError and PromptError."""
    entries = []
    lines: dict[tuple[str, ...], list] = {}  # the positions of each scribble and lasso so far
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, restkey="more", restval="")
        try:
            columns = rows.fieldnames or ()
            if unknown := set(columns) - set(COLUMNS) or {"kind"} - set(columns):
                raise FormatError(
                    f"{path.name} has a wrong or missing column {min(unknown)!r}; use kind and some of {COLUMNS[1:]}."
                )
            for row in rows:
                where = f"line {rows.line_num}"
                try:
                    if "more" in row:
                        raise ValueError("it has more cells than the header")
                    cells = {name: cell.strip() for name, cell in row.items() if cell.strip()}
                    record = _record(cells)
                except ValueError as error:
                    raise PromptError(f"{path.name}, {where}: {error}.") from None
                if field := DRAWN.get(cells.get("kind", "")):
                    line = (cells["kind"], cells.get("target", ""), cells.get("id", ""))
                    if line in lines:
                        lines[line] += record[field]
                        continue
                    lines[line] = record[field]
                entries.append((where, cells.get("space", "RAS"), record))
        except (csv.Error, UnicodeDecodeError) as error:
            raise FormatError(f"{path.name} is not a table in CSV ({error}); save it as UTF-8 with commas.") from None
    return entries


def _record(cells: dict[str, str]) -> dict:
    """The JSON record of one row; of a scribble or lasso with one point. Raises ValueError."""
    record: dict = {n: cells[n] for n in ("kind", "target", "words", "structure", "file") if n in cells}
    if "positive" in cells:
        if cells["positive"].lower() not in SIGNS:
            raise ValueError(f"positive is {cells['positive']!r}; write true or false")
        record["positive"] = SIGNS[cells["positive"].lower()]
    match cells.get("kind"):
        case "point":
            record["at"] = _position(cells, ("x", "y", "z"))
        case "box":
            record["corner"] = _position(cells, ("x", "y", "z"))
            record["opposite"] = _position(cells, ("x2", "y2", "z2"))
        case "scribble" | "lasso" as kind:
            record[DRAWN[kind]] = [_position(cells, ("x", "y", "z"))]
    return record


def _position(cells: dict[str, str], names: tuple[str, str, str]) -> list[float]:
    """The numbers of three cells, of which the last may be empty for a picture."""
    if missing := [name for name in names[:2] if name not in cells]:
        raise ValueError(f"{missing[0]} is empty; give a number")
    return [float(cells[name]) for name in names if name in cells]
