"""Intervals, tests, ranks and breakdowns, against closed forms and SciPy; and the table that they read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from vesalius.errors import FormatError
from vesalius.evaluate.statistics import bootstrap_mean, compare, holm, rank_stability, summarise, worst_first
from vesalius.evaluate.table import Record, read_csv, write_csv


def record(case: str, value: float, metric: str = "dice", group: str = "", structure: str = "liver") -> Record:
    return Record("set", "CT", group, case, "box", structure, metric, value, "", "scored")


def table(values: dict[str, float], metric: str = "dice") -> list[Record]:
    return [record(case, value, metric) for case, value in values.items()]


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        interval = bootstrap_mean(rng.normal(0.7, 0.1, 60), [str(n) for n in range(60)], draws=400)
        hits += interval.low <= 0.7 <= interval.high
    assert 0.9 <= hits / 200 <= 0.98


def test_the_interval_is_close_to_the_normal_one_for_many_patients() -> None:
    values = np.random.default_rng(1).normal(0.8, 0.05, 500)
    interval = bootstrap_mean(values, [str(n) for n in range(500)])
    half = 1.96 * values.std(ddof=1) / np.sqrt(500)
    assert interval.mean == pytest.approx(values.mean())
    assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=5e-4)


def test_many_images_of_few_patients_do_not_narrow_it() -> None:
    values = np.repeat([0.5, 0.9, 0.7, 0.8], 50)
    patients = np.repeat(list("abcd"), 50).tolist()
    wide = bootstrap_mean(values, patients)
    narrow = bootstrap_mean(values, [str(n) for n in range(200)])
    assert wide.groups == 4 and wide.values == 200
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_what_is_not_finite_is_counted_and_not_averaged() -> None:
    interval = bootstrap_mean([0.5, np.nan, np.inf, 0.7], list("abcd"))
    assert (interval.mean, interval.values, interval.left_out) == (pytest.approx(0.6), 2, 2)
    alone = bootstrap_mean([0.5], ["a"])
    assert alone.mean == 0.5 and np.isnan(alone.low)
    assert np.isnan(bootstrap_mean([np.nan], ["a"]).mean)


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, np.nan, 0.9])[[0, 2]] == pytest.approx([1, 1])
    assert np.isnan(holm([np.nan])).all() and holm([]).size == 0


def test_a_difference_is_tested_over_patients() -> None:
    rng = np.random.default_rng(2)
    before = {str(n): float(v) for n, v in enumerate(rng.uniform(0.6, 0.8, 20))}
    after = {case: value + float(rng.normal(0.02, 0.02)) for case, value in before.items()}
    (found,) = compare(table(before), table(after))
    change = np.array([after[case] - before[case] for case in before])
    assert found.interval.mean == pytest.approx(change.mean()) and found.second > found.first
    assert found.p == pytest.approx(stats.wilcoxon(change).pvalue) == found.p_holm
    assert found.interval.low < change.mean() < found.interval.high
    assert (found.ups, found.downs) == ((change > 0).sum(), (change < 0).sum())


def test_only_pairs_count_and_equal_tables_do_not_differ() -> None:
    one = table({"a": 0.5, "b": 0.6, "c": 0.7})
    (found,) = compare(one, table({"b": 0.6, "c": 0.7, "d": 0.1}))
    assert found.interval.values == 2 and found.interval.mean == 0 and found.p == 1
    assert compare(one, table({"a": 1.0}, "hd95")) == []


def test_more_tests_make_each_of_them_stricter() -> None:
    rng = np.random.default_rng(3)
    first, second = [], []
    for structure in ("liver", "spleen", "kidney"):
        for case in map(str, range(12)):
            value = float(rng.uniform(0.5, 0.9))
            first.append(record(case, value, structure=structure))
            second.append(record(case, value + float(rng.normal(0.01, 0.02)), structure=structure))
    found = compare(first, second)
    assert len(found) == 3 and all(each.p_holm >= each.p for each in found)
    assert min(each.p_holm for each in found) == pytest.approx(min(1, 3 * min(each.p for each in found)))


def test_summaries_name_the_worst_case_of_each_metric() -> None:
    rows = table({"a": 0.9, "b": 0.2, "c": 0.5}) + table({"a": 1.0, "b": 40.0, "c": 5.0}, "hd95")
    dice, distance = summarise(rows, ("structure", "metric"))
    assert dice.keys == ("liver", "dice") and dice.worst == "b" and dice.median == 0.5
    assert distance.worst == "b" and distance.interval.mean == pytest.approx(46 / 3)
    assert [row.case for row in worst_first(table({"a": 0.9, "b": float("nan"), "c": 0.5}))] == ["c", "a", "b"]


def test_the_sign_of_an_error_does_not_make_it_better() -> None:
    rows = table({"a": -0.5, "b": 0.1, "c": 0.3}, "volume_error")
    assert [row.case for row in worst_first(rows)] == ["a", "c", "b"]


def test_a_clear_winner_is_always_first_and_twins_take_turns() -> None:
    rng = np.random.default_rng(4)
    cases = [str(n) for n in range(40)]
    good = {case: float(rng.uniform(0.8, 0.9)) for case in cases}
    twins = [{case: float(rng.uniform(0.5, 0.7)) for case in cases} for _ in range(2)]
    ranks = rank_stability({"good": table(good), "x": table(twins[0]), "y": table(twins[1])}, "dice")
    assert ranks["good"].tolist() == [1, 0, 0]
    assert 0.02 < ranks["x"][1] < 0.98 and ranks["x"].sum() == pytest.approx(1)
    flipped = rank_stability({"good": table(good, "hd95"), "x": table(twins[0], "hd95")}, "hd95")
    assert flipped["x"].tolist() == [1, 0]


def test_ranks_are_over_common_cases_only() -> None:
    ranks = rank_stability({"a": table({"1": 0.9, "2": 0.9, "3": 0.0}), "b": table({"1": 0.8, "2": 0.8})}, "dice")
    assert ranks["a"].tolist() == [1, 0]
    assert np.isnan(rank_stability({"a": table({"1": 0.9}), "b": table({"2": 0.8})}, "dice")["a"]).all()


def test_the_table_survives_its_file(tmp_path: Path) -> None:
    rows = [record("a, with a comma", 0.1 + 0.2), record("b", float("inf"), "hd95"), record("c", float("nan"))]
    write_csv(rows, tmp_path / "scores.csv")
    back = read_csv(tmp_path / "scores.csv")
    assert back[:2] == rows[:2] and np.isnan(back[2].value)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("a,b\n1,2\n", "has no column 'case'"), ("", "has no column"), (None, "cannot be read")],
)
def test_another_table_is_refused(text: str | None, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FormatError, match=complaint):
        read_csv(path)


def test_a_value_that_is_no_number_is_refused(tmp_path: Path) -> None:
    write_csv([record("a", 0.5)], tmp_path / "scores.csv")
    (tmp_path / "bad.csv").write_text((tmp_path / "scores.csv").read_text().replace("0.5", "half"))
    with pytest.raises(FormatError, match="not a table of scores"):
        read_csv(tmp_path / "bad.csv")
