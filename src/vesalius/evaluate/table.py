"""The tidy table of an evaluation: one record for each number, and its CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from io import StringIO
from pathlib import Path

from vesalius.errors import FormatError
from vesalius.files import write_text

WHOLE_CASE = "(case)"  # stands for the structure of a number that is about all of them together


@dataclass(frozen=True)
class Record:
    """One number: of which case (of which patient, `group`), structure and metric, under which `setting` of a protocol.

    `status` says why a value is what it is where a structure is missing on one side or both; `value` may be NaN then.
    """

    dataset: str
    modality: str
    group: str
    case: str
    setting: str
    structure: str
    metric: str
    value: float
    unit: str
    status: str


LESS_IS_BETTER = ("volume_error", "hd", "assd", "masd", "seconds", "runningtime", "late", "false positive")
COLUMNS = tuple(each.name for each in fields(Record))


def write_csv(records: Iterable[Record], path: Path) -> None:
    """Writes the table, whole or not at all: a value that is not defined is an empty cell, an infinite one is "inf"."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for record in records:
        writer.writerow("" if isinstance(cell, float) and math.isnan(cell) else cell for cell in astuple(record))
    write_text(path, text.getvalue())


def read_csv(path: Path) -> list[Record]:
    """A table that `write_csv` wrote, or one with the same columns in any order; raises FormatError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = sorted(set(COLUMNS) - set(reader.fieldnames or ()))
            if missing:
                raise FormatError(f"{path} has no column {missing[0]!r}; give a scores.csv of `vesalius evaluate`.")
            rows = [{name: row[name] or "" for name in COLUMNS} for row in reader]
        return [Record(**{**row, "value": float(row["value"] or "nan")}) for row in rows]  # type: ignore[arg-type]
    except OSError as error:
        raise FormatError(f"{path} cannot be read ({error.strerror}); check the path.") from None
    except (ValueError, KeyError, csv.Error) as error:
        raise FormatError(
            f"{path} is not a table of scores ({error}); give a scores.csv of `vesalius evaluate`."
        ) from None


def less_is_better(metric: str) -> bool:
    """Whether a metric is a distance, an error (whose sign does not count) or a time."""
    return metric.lower().startswith(LESS_IS_BETTER)
