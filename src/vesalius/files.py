"""Files that are whole or not there, also where several programs write the same one at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from vesalius.errors import FormatError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to, with the same suffix: it becomes `path` at the end, and is gone if that fails.

    Missing folders are made. Raises FormatError where the file cannot be written.
    """
    part = path.with_name(f".{token_hex(4)}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise FormatError(f"{path} cannot be written: {error.strerror or error}; choose another place.") from None
    finally:
        if path.parent.is_dir():
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text as UTF-8, whole or not at all; raises FormatError where that cannot be."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="")
