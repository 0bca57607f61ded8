"""`vesalius data`: layouts, check and convert, with their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import layout_trees as trees
from vesalius.__main__ import main
from vesalius.data.registry import LAYOUTS, open_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three cases and an image without labels."""
    trees.word(tmp_path / "in")
    return tmp_path / "in"


def test_layouts_are_listed_with_licences(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "layouts"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [layout.name for layout in LAYOUTS]
    assert main(["data", "layouts", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert next(row for row in rows if row["name"] == "verse")["licence"] == "CC BY-SA 4.0"


def test_a_good_folder_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(folder)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == ["word (word): 3 cases (1 test, 1 train, 1 val), 0 problems", "without labels and left out: 1 images"]


def test_problems_are_named_at_the_end(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trees.labels(folder / "WORD-V0.1.0/labelsTr/word_0002.nii.gz", 99)
    assert main(["data", "check", str(folder)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "values: word_0002: labels 99 are not in the list"
    assert main(["data", "check", str(folder), "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["cases"] == 3 and [problem["kind"] for problem in record["problems"]] == ["values"]


def test_a_folder_is_converted_and_goes_on(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = folder / "WORD-V0.1.0/imagesTr/word_0002.nii.gz"
    content = broken.read_bytes()
    broken.write_bytes(content[:-20])
    command = ["data", "convert", str(folder), str(tmp_path / "out"), "--to", "nnunet"]
    assert main(command) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("failed: word_0002: ")
    broken.write_bytes(content)
    assert main([*command, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["done"] == ["word_0002"] and record["skipped"] == ["word_0001", "word_0014"]
    assert len(open_dataset(tmp_path / "out").cases) == 3


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--layout", "wrod"], "did you mean word"),
        (["--layout", "btcv"], "No image"),
        (["--to", "dicom"], "msd, nnunet"),
    ],
)
def test_options_that_do_not_fit(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], word: str
) -> None:
    assert main(["data", "convert", str(folder), str(tmp_path / "out"), "--to", "msd", *more]) == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unknown_folder_names_the_nearest_layouts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trees.image(tmp_path / "imagesTr/word_0001.nii.gz")
    assert main(["data", "check", str(tmp_path)]) == 2
    assert "nearest are word" in capsys.readouterr().err
