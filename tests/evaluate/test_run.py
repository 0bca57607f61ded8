"""The work of an evaluation: kept case by case, never twice, never half, and a bad case costs only itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vesalius.errors import FormatError
from vesalius.evaluate.run import Work, collect, evaluate
from vesalius.evaluate.table import Record


def silent(line: str) -> None:
    pass


def make_works(folder: Path, names: str = "abc") -> tuple[list[Work], list[str]]:
    """Cases whose records are the length of their file, and the names of those that were scored."""
    scored: list[str] = []

    def work(name: str) -> Work:
        file = folder / f"{name}.txt"
        file.write_text(name * 3)

        def score() -> list[Record]:
            scored.append(name)
            size = float(len(file.read_text()))
            return [Record("", "", name, name, "", "liver", "dice", size, "1", "scored")]

        return Work(name, (file,), score)

    return [work(name) for name in names], scored


def test_what_is_done_is_not_done_again_unless_its_file_or_the_question_changes(tmp_path: Path) -> None:
    works, scored = make_works(tmp_path)
    out = tmp_path / "out"
    assert evaluate(works, out, "dice", silent).done == ("a", "b", "c")
    again = evaluate(works, out, "dice", silent)
    assert again.skipped == ("a", "b", "c") and scored == ["a", "b", "c"]
    (tmp_path / "b.txt").write_text("longer than before")
    assert evaluate(works, out, "dice", silent).done == ("b",)
    assert evaluate(works, out, "hd95", silent).done == ("a", "b", "c")


def test_a_file_that_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    works, _ = make_works(tmp_path)
    out = tmp_path / "out"
    evaluate(works, out, "dice", silent)
    file = out / "cases" / "b.json"
    file.write_text(file.read_text()[:50])
    assert collect(works, out, "dice")[1] == ["b"]
    assert evaluate(works, out, "dice", silent).done == ("b",)
    assert not list(out.rglob("*.part"))


def test_a_bad_case_is_named_and_the_rest_is_done(tmp_path: Path) -> None:
    works, _ = make_works(tmp_path)

    def fail() -> list[Record]:
        raise FormatError("It is damaged; copy it again.")

    def stumble() -> list[Record]:
        raise KeyError("HTIMS"[::-1])

    works[1:1] = [Work("x", works[0].files, fail), Work("y", works[0].files, stumble)]
    heard: list[str] = []
    outcome = evaluate(works, tmp_path / "out", "dice", heard.append)
    assert outcome.done == ("a", "b", "c") and set(outcome.failed) == {"x", "y"}
    assert heard[1] == "2/5 x: It is damaged; copy it again."
    assert "bug of vesalius" in outcome.failed["y"]
    log = (tmp_path / "out" / "vesalius.log").read_text()
    assert "stumble" in log and "SMITH" not in log
    records, left = collect(works, tmp_path / "out", "dice")
    assert [record.case for record in records] == ["a", "b", "c"] and left == ["x", "y"]


def test_a_run_that_is_stopped_keeps_what_is_done(tmp_path: Path) -> None:
    works, scored = make_works(tmp_path)
    score_b = works[1].score
    stops = iter([KeyboardInterrupt])

    def stop_once() -> list[Record]:
        for stop in stops:
            raise stop
        return score_b()

    works[1] = Work("b", works[1].files, stop_once)
    with pytest.raises(KeyboardInterrupt):
        evaluate(works, tmp_path / "out", "dice", silent)
    assert evaluate(works, tmp_path / "out", "dice", silent).skipped == ("a",)
    assert scored == ["a", "b", "c"]


def test_values_that_json_has_no_number_for_survive(tmp_path: Path) -> None:
    values = [0.1 + 0.2, float("inf"), float("nan")]
    records = [Record("", "", "", "a", "", "", "hd", value, "mm", "") for value in values]
    work = Work("set/a", (), lambda: records)
    evaluate([work], tmp_path, "hd", silent)
    text = (tmp_path / "cases" / "set" / "a.json").read_text()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    found, _ = collect([work], tmp_path, "hd")
    assert np.array_equal([row.value for row in found], values, equal_nan=True)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(FormatError, match="cannot be made"):
        evaluate(make_works(tmp_path)[0], tmp_path / "out", "dice", silent)
