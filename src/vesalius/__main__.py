"""The command `vesalius`: runs it, and turns what went wrong into one sentence and an exit code.

Codes: 0 done, 1 some cases of a batch failed, 2 bad input, 130 stopped by Ctrl-C. Anything else that is raised is a
bug and keeps its traceback.
"""

from __future__ import annotations

import sys
import warnings
from typing import TextIO

from vesalius.cli.app import app
from vesalius.errors import VesaliusError, VesaliusWarning


def main(arguments: list[str] | None = None) -> int:
    """Runs a command line (the process's own by default) and returns its exit code."""
    code = 0
    words = sys.argv[1:] if arguments is None else arguments
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            app(words, prog_name="vesalius", obj=words)  # a command may have to repeat its line (--slurm)
    except SystemExit as end:  # the way that typer returns, after it has reported a wrong option itself
        code = int(end.code or 0)
    except VesaliusError as error:
        print(f"vesalius: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    if code == 130:
        print("vesalius: Stopped; what is written is whole, and a batch goes on when started again.", file=sys.stderr)
    return code


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Prints our own warnings as one sentence, and those of others as Python does."""
    if issubclass(category, VesaliusWarning):
        print(f"vesalius: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno), end="", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
