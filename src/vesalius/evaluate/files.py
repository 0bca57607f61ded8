"""Files that are whole or not there, also where several shards write the same one at the same time."""

from __future__ import annotations

from pathlib import Path
from tempfile import NamedTemporaryFile

from vesalius.errors import FormatError


def write_whole(path: Path, text: str) -> None:
    """Writes a file under a name of its own first, and then gives it its name; raises FormatError where it cannot."""
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}-", delete=False, encoding="utf-8", newline=""
        ) as file:
            part = Path(file.name)
            file.write(text)
        part.chmod(0o644)  # temporary files are their owner's alone
        part.replace(path)
    except OSError as error:
        if part:
            part.unlink(missing_ok=True)
        raise FormatError(f"{path} cannot be written: {error.strerror}; choose another folder.") from None
