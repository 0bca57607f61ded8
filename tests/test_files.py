"""Files that are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from vesalius.errors import FormatError
from vesalius.files import replacing, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_and_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.txt", "one")
    write_text(tmp_path / "deep" / "a.txt", "two\r\n")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == b"two\r\n"
    assert names(tmp_path / "deep") == ["a.txt"]


def test_what_stops_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.nii.gz", "old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.nii.gz") as part:
        assert part.name.endswith("a.nii.gz")
        part.write_text("ne")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["a.nii.gz"] and (tmp_path / "a.nii.gz").read_text() == "old"


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    with pytest.raises(FormatError, match=r"taken cannot be written: .*; choose another place"):
        write_text(tmp_path / "taken", "text")
    assert names(tmp_path) == ["taken"]


def test_a_file_is_no_folder_to_write_into(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FormatError, match="cannot be written"):
        write_text(tmp_path / "file" / "a.txt", "text")
