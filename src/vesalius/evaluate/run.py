"""The work of an evaluation, case by case: what is done is kept in a file of its own and never done again.

    OUT/cases/NAME.json    the records of a finished case, and a hash of what was asked of which files
    OUT/scores.csv         all of them; written, like the summary and the report, from the files of all shards

A run that was stopped goes on where it was, shards share a folder, and a bad case costs only itself.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from vesalius.batch import Runner, run_cases
from vesalius.errors import FormatError
from vesalius.evaluate.table import Record
from vesalius.files import write_text


@dataclass(frozen=True)
class Work:
    """A case to be scored: its name, the files that it is made of, and how its records come about.

    `score` can be pickled where other machines are to do it.
    """

    name: str
    files: tuple[Path, ...]
    score: Callable[[], list[Record]]


@dataclass(frozen=True)
class Outcome:
    """The names of the cases done now and before, and a sentence for each that failed."""

    done: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: dict[str, str]


def evaluate(
    works: Sequence[Work],
    out: Path,
    asked: str,
    tell: Callable[[str], None],
    run: Runner = run_cases,
    prepare: Callable[[], object] | None = None,
) -> Outcome:
    """Scores every case that is not done; `asked` are the words that describe metrics, model and protocol.

    `run` is who does it, after `prepare`. Raises FormatError where the folder cannot be made.
    """
    todo = [work for work in works if load_case(work, out, asked) is None]
    make_output(out)
    failed = run(todo, partial(_score_and_save, out, asked), out / "vesalius.log", tell, prepare)
    left = {work.name for work in todo}
    done = tuple(work.name for work in todo if work.name not in failed)
    skipped = tuple(work.name for work in works if work.name not in left)
    return Outcome(done, skipped, failed)


def make_output(out: Path) -> None:
    """Makes the folder of an evaluation; raises FormatError where it cannot be made."""
    try:
        (out / "cases").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"The folder {out} cannot be made: {error.strerror}; choose another.") from None


def collect(works: Iterable[Work], out: Path, asked: str) -> tuple[list[Record], list[str]]:
    """The records of all cases that are done, by whichever shard, and the names of those that are not."""
    records, left = [], []
    for work in works:
        found = load_case(work, out, asked)
        if found is None:
            left.append(work.name)
        else:
            records += found
    return records, left


def load_case(work: Work, out: Path, asked: str) -> list[Record] | None:
    """The records of a finished case; None where it is not done, or was another request, or has other files now."""
    try:
        kept = json.loads(_file(work, out).read_text(encoding="utf-8"))
        if kept["request"] != request_id(work, asked):
            return None
        return [Record(**{**row, "value": float(row["value"])}) for row in kept["records"]]
    except (OSError, ValueError, KeyError, TypeError):  # not there, or cut short by a dead machine
        return None


def request_id(work: Work, asked: str) -> str:
    """A hash of what was asked, and of the names, sizes and times of the case's files."""
    facts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in work.files]
    return hashlib.sha256(repr((asked, facts)).encode()).hexdigest()


def _score_and_save(out: Path, asked: str, work: Work) -> None:
    rows = [asdict(record) | {"value": _storable(record.value)} for record in work.score()]
    text = json.dumps({"request": request_id(work, asked), "records": rows}, indent=1)
    write_text(_file(work, out), text + "\n")


def _storable(value: float) -> float | str:
    """Numbers as they are; what JSON has no number for, as "nan" and "inf"."""
    return value if math.isfinite(value) else str(value)


def _file(work: Work, out: Path) -> Path:
    return out / "cases" / f"{work.name}.json"
