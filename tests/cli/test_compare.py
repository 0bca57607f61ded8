"""`vesalius compare`: pairs, corrected tests, ranks, and what is in one table only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vesalius.__main__ import main
from vesalius.evaluate.table import Record, write_csv


def save(
    name: str, gain: float, cases: str = "abcdefgh", metric: str = "dice", structures: tuple[str, ...] = "12"
) -> None:
    """A table `NAME/scores.csv` of cases whose values are the same for every name, but for the gain."""
    rows = []
    for structure in structures:
        for n, case in enumerate(cases):
            value = 0.5 + 0.02 * n + gain * (1 + 0.01 * n)
            rows.append(Record("", "", case, case, "box", structure, metric, value, "1", "scored"))
    Path(name).mkdir(exist_ok=True)
    write_csv(rows, Path(name, "scores.csv"))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save("one", 0)
    save("two", 0.1)


def test_two_tables_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "one/scores.csv", "two/scores.csv"]) == 0
    out = capsys.readouterr().out
    assert "A = one, B = two" in out and out.count("B is better") == 3 and "only in" not in out
    assert main(["compare", "one/scores.csv", "two/scores.csv", "--json"]) == 0
    together, first, second = json.loads(capsys.readouterr().out)["second"]["two"]
    assert together["structure"] == "(all)" and together["groups"] == 8
    assert first["mean"] == pytest.approx(0.1 * np.mean(1 + 0.01 * np.arange(8)))
    assert first["p"] == 2 / 2**8 and first["p_holm"] == second["p_holm"] == 2 * first["p"]
    assert together["p_holm"] == together["p"]  # a family of its own


def test_less_is_better_for_distances(capsys: pytest.CaptureFixture[str]) -> None:
    save("one", 0, metric="hd95", structures=("1",))
    save("two", 0.1, metric="hd95", structures=("1",))
    main(["compare", "one/scores.csv", "two/scores.csv"])
    assert capsys.readouterr().out.count("A is better") == 1


def test_what_only_one_has_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    save("two", 0.1, cases="abcdefgx", structures=("1", "3"))
    assert main(["compare", "one/scores.csv", "two/scores.csv"]) == 0
    out = capsys.readouterr().out
    assert "only in A, so in no difference: 9 numbers of 8 cases (a, b, c, d, e, ...), structures 1, 2" in out
    assert "only in B, so in no difference: 9 numbers" in out and "structures 1, 3" in out


def test_few_patients_are_not_sure(capsys: pytest.CaptureFixture[str]) -> None:
    for name, gain in (("one", 0.0), ("two", 0.1)):
        save(name, gain, cases="abcd")
    main(["compare", "one/scores.csv", "two/scores.csv"])
    assert "is better" not in capsys.readouterr().out  # four pairs cannot be below p = 0.125


def test_three_tables_are_ranked(capsys: pytest.CaptureFixture[str]) -> None:
    save("three", 0.05)
    assert main(["compare", "one/scores.csv", "two/scores.csv", "three/scores.csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("how often each takes which rank by dice, patients drawn anew")
    ranks = {line.split()[0]: line.split()[1:] for line in lines[at + 2 : at + 5]}
    assert ranks == {"one": ["0%", "0%", "100%"], "two": ["100%", "0%", "0%"], "three": ["0%", "100%", "0%"]}


@pytest.mark.parametrize(
    ("tables", "complaint"),
    [
        (["one/scores.csv"], "two tables or more"),
        (["one/scores.csv", "one/scores.csv"], "is given twice"),
        (["one/scores.csv", "nowhere.csv"], "nowhere.csv cannot be read"),
        (["one/scores.csv", "other.csv"], "no column 'case'"),
        (["one/scores.csv", "far/scores.csv"], "have no case, setting and metric in common"),
    ],
)
def test_a_wrong_call_is_one_sentence(tables: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    save("far", 0, metric="iou")
    Path("other.csv").write_text("x,y\n1,2\n")
    assert main(["compare", *tables]) == 2
    assert complaint in capsys.readouterr().err
