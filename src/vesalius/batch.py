"""Many images in one go: pairs images and prompts by their names, skips what is done, and isolates a bad case.

A case is done when its report lies beside its mask and says that the same was asked, so a batch that was stopped
goes on where it was, and a changed prompt file is worked again.
"""

from __future__ import annotations

import hashlib
import json
import re
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from vesalius.errors import FormatError, VesaliusError

PROMPT_SUFFIXES = (".json", ".csv", ".npz")
NO_IMAGES = (".json", ".csv", ".txt", ".md", ".log", ".raw", ".zraw", ".raw.gz")  # a header names its own .raw
DOUBLE_SUFFIXES = re.compile(r"\.(nii\.gz|seg\.nrrd|mrk\.json)$", re.IGNORECASE)


class HasName(Protocol):
    """What a batch is made of: anything that its log can name."""

    @property
    def name(self) -> str:
        """The case's name, of which there is only one."""


Work = TypeVar("Work", bound=HasName)


class Runner(Protocol):
    """Who works on cases: `run_cases` on this machine, or what keeps its promises on others."""

    def __call__(
        self,
        cases: list[Work],
        work: Callable[[Work], None],
        log: Path,
        tell: Callable[[str], None],
        prepare: Callable[[], object] | None = None,
    ) -> dict[str, str]:
        """Returns one sentence for each case that failed, by name."""


@dataclass(frozen=True)
class Case:
    """One image, what is said about it, and where its mask and report go."""

    name: str
    image: Path
    prompts: Path
    mask: Path
    report: Path


def stem(path: Path) -> str:
    """The name that an image, its prompts and its mask share: without the suffix, and a folder's whole name."""
    if path.is_dir():
        return path.name
    return DOUBLE_SUFFIXES.sub("", path.name) if DOUBLE_SUFFIXES.search(path.name) else path.stem


def pair_files(images: Path, prompts: Path, output: Path, suffix: str = ".seg.nrrd") -> tuple[list[Case], list[str]]:
    """The cases of two folders in order of their names, and the files that found no partner.

    An image may be a folder (a DICOM series). Raises FormatError where two images or two prompt files share a name.
    """
    said = _by_stem(path for path in prompts.iterdir() if path.name.lower().endswith(PROMPT_SUFFIXES))
    shown = _by_stem(path for path in images.iterdir() if not path.name.lower().endswith(NO_IMAGES))
    cases = [
        Case(name, shown[name], said[name], output / f"{name}{suffix}", output / f"{name}.report.json")
        for name in sorted(shown.keys() & said.keys())
    ]
    alone = sorted((shown | said)[name].name for name in shown.keys() ^ said.keys())
    return cases, alone


def take_shard(cases: list[Work], number: int, count: int) -> list[Work]:
    """Every `count`-th case from the `number`-th on; shards 1 to `count` together are all cases, each one once."""
    if not 1 <= number <= count:
        raise FormatError(f"There is no shard {number}/{count}; shards of {count} are 1/{count} to {count}/{count}.")
    return cases[number - 1 :: count]


def request_id(case: Case, asked: str) -> str:
    """A hash of what is said about a case and of `asked`, the words that describe the model and how it looks."""
    return hashlib.sha256(case.prompts.read_bytes() + asked.encode()).hexdigest()


def is_done(case: Case, asked: str) -> bool:
    """Whether mask and report of a case are there and the report's "request" is this one."""
    if not case.mask.exists() or not case.report.exists():
        return False
    try:
        return json.loads(case.report.read_text(encoding="utf-8")).get("request") == request_id(case, asked)
    except ValueError:  # cut short by a full disk or a dead machine
        return False


def run_cases(
    cases: list[Work],
    work: Callable[[Work], None],
    log: Path,
    tell: Callable[[str], None],
    prepare: Callable[[], object] | None = None,
) -> dict[str, str]:
    """Works on each case and returns one sentence for each that failed, by name; `tell` hears each case's end.

    `prepare` comes before the first case: what it raises is wrong with every case, and ends the batch. What is not a
    VesaliusError is a bug: its traceback goes into the file `log`, without the message, which may quote the image's
    header.
    """
    if cases and prepare:
        prepare()
    failed = {}
    for n, case in enumerate(cases, start=1):
        try:
            work(case)
        except VesaliusError as error:
            failed[case.name] = str(error)
        except Exception as error:
            failed[case.name] = f"{type(error).__name__}, which is a bug of vesalius; where it happened is in {log}."
            with log.open("a", encoding="utf-8") as lines:
                lines.write(
                    f"{case.name}: {type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}\n"
                )
        tell(f"{n}/{len(cases)} {case.name}: {failed.get(case.name, 'done')}")
    return failed


def _by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(paths):
        if path.name.startswith("."):
            continue
        if stem(path) in found:
            raise FormatError(
                f"{path.name} and {found[stem(path)].name} share the name {stem(path)!r}; give each case its own."
            )
        found[stem(path)] = path
    return found
