"""What is being done, on stderr: a moving line or bar on a terminal, now and then a plain line anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

SILENCE_S = 5.0  # the least between two plain lines about one piece of work, and before the first


@contextmanager
def show_steps() -> Iterator[Callable[[str], None]]:
    """Shows one piece of work; the function it gives is told each step."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.markup import escape

        with Console(stderr=True).status("") as status:
            yield lambda step: status.update(escape(step))
    else:
        yield _now_and_then()


@contextmanager
def show_bytes(file: str) -> Iterator[Callable[[int, int], None]]:
    """Shows a download; the function it gives is told the bytes so far and in all (0 where nobody knows)."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(file, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total or None)
    else:
        tell = _now_and_then()
        yield lambda done, total: tell(
            f"{file}: {done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else f"{done} bytes"
        )


@contextmanager
def show_cases(total: int) -> Iterator[tuple[Callable[[str], None], Callable[[str], None]]]:
    """Shows a batch; the first function it gives is told each step of a case, the second each case's end."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("", total=total)

            def end(line: str) -> None:
                bar.console.print(escape(line), highlight=False, soft_wrap=True)
                bar.advance(task)

            yield lambda step: bar.update(task, description=escape(step)), end
    else:
        yield _now_and_then(), lambda line: print(line, file=sys.stderr)


def _now_and_then() -> Callable[[str], None]:
    last = monotonic()

    def tell(step: str) -> None:
        nonlocal last
        if monotonic() - last > SILENCE_S:
            print(step, file=sys.stderr)
            last = monotonic()

    return tell
