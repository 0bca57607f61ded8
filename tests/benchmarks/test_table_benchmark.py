"""The benchmark that compares models: which cases it takes, what its tables say, and that a run is not done twice."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import nibabel
import numpy as np
import pytest
from PIL import Image

import vesalius as vs
from vesalius.evaluate.table import Record
from vesalius.hub import random_model


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "table.py"
    spec = importlib.util.spec_from_file_location("table_benchmark", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def write_set(folder: Path, dimension: int, cases: int) -> None:
    """Pictures or volumes of a bright square or cube, each of a patient of its own, all for validation."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    names = [f"case{n:02}" for n in range(cases)]
    for n, name in enumerate(names):
        mask = np.zeros((48, 48, 9)[:dimension], np.uint8)
        mask[(slice(10 + n, 30 + n), slice(12, 32), slice(3, 6))[:dimension]] = 1
        for part, voxels in (("images", 40 + 160 * mask), ("labels", mask)):
            if dimension == 2:
                Image.fromarray(voxels).save(folder / part / f"{name}.png")
            else:
                nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1, 1, 3, 1])), folder / part / f"{name}.nii.gz")
    facts = {
        "name": folder.name,
        "modality": "US" if dimension == 2 else "MR",
        "dimension": dimension,
        "labels": {"background": 0, "cyst": 1},
        "label_kind": "semantic",
        "licence": "CC0-1.0",
        "source": "made here",
        "annotated": ["cyst"],
        "split": dict.fromkeys(names, "val"),
    }
    (folder / "dataset.json").write_text(json.dumps(facts))


def make_records(case: str, values: dict[str, float], setting: str = "box", modality: str = "CT") -> list[Record]:
    """The Dice of each structure of a case, and a time, which no table shows."""
    place = ("made", modality, case, case, setting)
    scores = [Record(*place, name, "dice", value, "1", "scored") for name, value in values.items()]
    return [*scores, Record(*place, "(case)", "seconds", 7.0, "s", "scored")]


def find_lines(printed: str, start: str) -> list[list[str]]:
    """The cells of the lines that begin with a word."""
    lines = [line.strip("| ").split(" | ") for line in printed.splitlines()]
    return [line for line in lines if line[0] == start]


def test_cases_are_spread_over_a_set_and_volumes_are_counted_apart(benchmark: ModuleType, tmp_path: Path) -> None:
    write_set(tmp_path / "cubes", 3, 4)
    write_set(tmp_path / "squares", 2, 7)
    chosen = [task.name for task in benchmark.choose_tasks(tmp_path, 3, 2)]
    assert chosen == ["cubes/case00", "cubes/case02", "squares/case00", "squares/case02", "squares/case04"]
    assert len(benchmark.choose_tasks(tmp_path, 0, 100)) == 11


def test_a_case_counts_once_however_many_structures_it_has(
    benchmark: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_records("a", {"liver": 0.9, "spleen": 0.6, "aorta": 0.6}) + make_records("b", {"liver": 0.1})
    benchmark.print_report({"ours": rows})
    printed = capsys.readouterr().out
    assert "2 cases of 2 patients with 4 structures; of each set: made 2." in printed
    assert find_lines(printed, "ours") == [["ours", "-", "-", "-", "0.400 [0.100, 0.700]"]]
    assert "Difference" not in printed and "modality" not in printed  # there is nothing to compare with


def test_differences_are_to_the_first_model_on_what_both_have(
    benchmark: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [f"p{n}" for n in range(12)]
    ours = [row for case in cases for row in make_records(case, {"liver": 0.8})]
    worse = [row for case in cases[1:] for row in make_records(case, {"liver": 0.5})]
    clicked = [row for case in cases for row in make_records(case, {"liver": 0.8}, "1 click")]
    benchmark.print_report({"ours": ours, "worse": worse, "clicked": clicked})
    differences = capsys.readouterr().out.partition("Difference to ours")[2]
    (line,) = find_lines(differences, "worse")
    assert line == ["worse", "11", "-", "-", "-", "-0.300 [-0.300, -0.300], p < 0.001"]
    assert find_lines(differences, "clicked") == [["clicked", "0", "-", "-", "-", "-"]]


def test_modalities_have_lines_of_their_own(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    tables = {
        name: make_records("a", {"liver": value}) + make_records("b", {"heart": 1.0, "aorta": 1.0}, modality="MR")
        for name, value in (("ours", 0.5), ("theirs", 0.25))
    }
    benchmark.print_report(tables)
    printed = capsys.readouterr().out
    assert find_lines(printed, "CT") == [
        ["CT", "1, 1, 1", "ours", "-", "-", "-", "0.500"],
        ["CT", "1, 1, 1", "theirs", "-", "-", "-", "0.250"],
    ]
    assert [line[1] for line in find_lines(printed, "MR")] == ["1, 1, 2"] * 2


def test_a_run_shows_both_models_and_is_not_done_twice(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path / "data" / "squares", 2, 2)
    loaded = []

    def load(name: str, weights: Path | None) -> vs.Model:
        loaded.append(name)
        return random_model(vs.find_card(name)) if name == "mobile-sam" else vs.load(name, weights)

    monkeypatch.setattr(benchmark, "load", load)
    flags = ["--data", str(tmp_path / "data"), "--models", "vesalius-s,mobile-sam", "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["table.py", *flags])
    benchmark.main()
    first = capsys.readouterr()
    ours, theirs, difference = (
        find_lines(first.out, name)[n] for name, n in (("vesalius-s", 0), ("mobile-sam", 0), ("mobile-sam", 1))
    )
    dice, others = ([float(cell.split()[0]) for cell in line[1:]] for line in (ours, theirs))
    assert min(dice) > 0.85 > max(others)  # a bright square is easy, unless the weights are random
    changes = [float(cell.split()[0]) for cell in difference[2:]]
    assert changes == pytest.approx(np.subtract(others, dice), abs=2e-3) and difference[1] == "2"
    assert (tmp_path / "out" / "mobile-sam" / "scores.csv").is_file()
    benchmark.main()
    assert capsys.readouterr().out == first.out and loaded == ["vesalius-s", "mobile-sam"]


def test_what_failed_is_named_and_in_no_table(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path / "data" / "squares", 2, 3)
    (tmp_path / "data" / "squares" / "images" / "case01.png").write_bytes(b"cut short")
    flags = ["--data", str(tmp_path / "data"), "--models", "vesalius-s", "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["table.py", *flags])
    with pytest.raises(SystemExit, match="vesalius-s, clicks, squares/case01: "):
        benchmark.main()
    assert "2 cases of 2 patients" in capsys.readouterr().out


def test_by_default_every_model_that_takes_clicks_and_is_here(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"vesalius-s", "medsam", "sam2.1-hiera-t"}
    monkeypatch.setattr(benchmark, "locate_weights", lambda card: Path("file") if card.name in here else None)
    assert benchmark.list_models() == ["vesalius-s", "mobile-sam", "sam2.1-hiera-t"]  # MedSAM takes boxes alone
