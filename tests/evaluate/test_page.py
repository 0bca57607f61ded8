"""The report and its parts: means, plots and pictures say what the records say, and nothing is left out unsaid."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from toy_models import two_structures
from vesalius.evaluate.page import Evaluation, make_page
from vesalius.evaluate.pictures import draw_errors, mark_errors
from vesalius.evaluate.plots import Dots, plot_dots, plot_steps
from vesalius.evaluate.statistics import Interval, bootstrap_mean
from vesalius.evaluate.summary import (
    average,
    count_missing,
    metrics_of,
    pick_cases,
    pool_draws,
    rank_cases,
    shared,
    split_units,
    summarise_all,
)
from vesalius.evaluate.table import WHOLE_CASE, Record
from vesalius.grid import make_grid
from vesalius.labels import LabelSpace
from vesalius.segmentation import Segmentation


def record(case: str, value: float, setting: str = "", structure: str = "liver", metric: str = "dice") -> Record:
    status = "missed: worst" if value == 0 else "scored"
    return Record("set", "CT", case, case, setting, structure, metric, value, "mm" if metric == "hd95" else "1", status)


def records() -> list[Record]:
    rows = []
    for n, case in enumerate("abcde"):
        for setting in ("1 click", "2 clicks"):
            for structure in ("liver", "<spleen>"):
                rows.append(record(case, 0.1 * n + 0.3 * (setting == "2 clicks"), setting, structure))
                rows.append(record(case, 9 - n, setting, structure, "hd95"))
        rows.append(record(case, 3.0, "", WHOLE_CASE, "DSC_AUC"))
    return rows


def test_cases_are_ranked_under_the_last_setting() -> None:
    ranked = rank_cases(records(), "dice")
    assert [row.case for row in ranked] == list("abcde") and ranked[0].value == pytest.approx(0.3)
    assert [row.case for row in rank_cases(records(), "hd95")] == list("abcde")
    assert [(word, row.case) for word, row in pick_cases(ranked)] == [("worst", "a"), ("median", "c"), ("best", "e")]
    assert [word for word, _ in pick_cases(ranked[:1])] == ["worst"] and pick_cases([]) == []


def test_draws_become_one_setting_and_their_mean() -> None:
    rows = [record("a", 0.4, "10 %, draw 1"), record("a", 0.8, "10 %, draw 2"), record("a", np.nan, "10 %, draw 3")]
    (mean,) = average(pool_draws(rows))
    assert mean.setting == "10 %" and mean.value == pytest.approx(0.6)


def test_only_what_both_have_is_shared() -> None:
    first, second = [record("a", 0.5), record("b", np.inf)], [record("a", 0.7), record("b", 0.1), record("c", 0.2)]
    assert [[row.case for row in rows] for rows in shared(first, second)] == [["a"], ["a"]]


def test_lengths_in_different_units_are_not_averaged() -> None:
    rows = [record("a", 3.0, metric="hd95"), replace(record("b", 40.0, metric="hd95"), unit="px"), record("a", 0.5)]
    assert metrics_of(split_units(rows)) == ["hd95 (mm)", "hd95 (px)", "dice"]
    page = make_page(Evaluation("two units", {}, rows))
    assert '<th class="number">hd95 (px)</th>' in page and "21.5" not in page


def test_summaries_are_json_without_nan() -> None:
    found = summarise_all(records())
    assert list(found) == ["all", "cases", "structures"]
    assert {row["setting"] for row in found["all"]} == {"1 click", "2 clicks"}
    alone = summarise_all([record("a", 0.5)])["all"][0]
    assert alone["mean"] == 0.5 and alone["low"] is None and alone["worst_case"] == "a"
    assert count_missing(records(), "dice")["liver"] == {"missed: worst": 1}


class Tags(HTMLParser):
    """Checks that tags are closed in the order in which they were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "img", "br", "line", "rect", "circle", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "rect", "circle", "polyline"):
            assert self.open.pop() == tag


def test_the_page_is_whole_and_says_what_is_not_in_it() -> None:
    evaluation = Evaluation(
        "vesalius-s: clicks",
        {"model": "vesalius-s & co"},
        records(),
        failed={"x": "x.nii.gz is damaged; copy it again."},
        left=("x", "y"),
        alone=("pred/extra.nii.gz",),
        pictures=[("worst: a", b"PNG")],
    )
    page = make_page(evaluation)
    tags = Tags()
    tags.feed(page)
    assert not tags.open and "<spleen>" not in page and "vesalius-s &amp; co" in page
    for words in ("x.nii.gz is damaged", "1 cases are not done yet: y", "pred/extra.nii.gz", "missed: worst"):
        assert words in page
    assert "0.500<small> [0.3" in page and "10 values" not in page and "n 10" in page  # 2 clicks, over all structures
    assert not re.search(r'(src|href)="(?!data:)', page) and "<script" not in page  # needs nothing else
    assert page.index("Not in these numbers") < page.index("Over all structures")


def test_one_patient_has_no_interval_and_that_is_said() -> None:
    page = make_page(Evaluation("one", {}, [record("a", 0.5), record("a", 0.7)]))
    assert "without an interval, since they are of one patient" in page and "0.600<small> n 2" in page


def test_a_page_without_any_record_still_says_why() -> None:
    page = make_page(Evaluation("nothing", {}, [], failed={"a": "It is bad; mend it."}))
    assert "It is bad; mend it." in page and "Over all structures" not in page


def test_plots_put_values_where_they_belong() -> None:
    rows = [Dots("liver", [(0.0, "a"), (1.0, "b"), (np.nan, "c")], bootstrap_mean([0, 1], ["a", "b"]))]
    svg = ElementTree.fromstring(plot_dots(rows, "1"))
    dots = svg.findall(".//{*}circle")
    assert [dot.get("cx") for dot in dots] == ["210.0", "736.0"]
    assert [dot[0].text for dot in dots] == ["a: 0", "b: 1"]
    assert svg.find(".//{*}line[@class='mean']").get("x1") == "473.0"  # type: ignore[union-attr]
    assert plot_dots([Dots("none", [(np.nan, "a")], bootstrap_mean([np.nan], ["a"]))], "") == ""


def test_of_many_values_some_are_drawn_with_the_extremes() -> None:
    values = [(n / 1000, str(n)) for n in range(1001)]
    svg = ElementTree.fromstring(plot_dots([Dots("liver", values, Interval(0.5, 0.4, 0.6, 1001, 1001, 0))], "1"))
    dots = svg.findall(".//{*}circle")
    assert len(dots) == 200 and [dots[0].get("cx"), dots[-1].get("cx")] == ["210.0", "736.0"]


def test_steps_have_a_whisker_where_there_is_an_interval() -> None:
    intervals = [Interval(12.0, 10.0, 14.0, 5, 5, 0), Interval(20.0, np.nan, np.nan, 1, 1, 0)]
    svg = ElementTree.fromstring(plot_steps(["noise 1", "noise 2"], intervals, "mm"))
    assert len(svg.findall(".//{*}line[@class='whisker']")) == 1
    assert len(svg.findall(".//{*}circle")) == 2
    ticks = [each.text for each in svg.findall(".//{*}text[@class='tick']")]
    assert float(ticks[0] or "") <= 10 and ticks[-1] == "20 mm"
    assert plot_steps(["a"], [Interval(np.nan, np.nan, np.nan, 0, 0, 1)], "") == ""


def test_errors_are_marked_by_their_kind() -> None:
    reference = two_structures().reference
    layers = reference.layers.copy()
    layers[0, 2, 3:12, 2:8] = 0  # missed
    layers[0, 0, :2, :2] = 1  # spurious
    layers[0, 13, 4:15, 3:10] = 1  # "high" taken for "low"
    prediction = Segmentation(layers, reference.grid, reference.labels, reference.places)
    errors = mark_errors(prediction, reference, ("low", "high"))
    counts = {name: int(errors.mask(name).sum()) for name in errors.labels.names}
    assert counts == {"agreed": 7 * 54 + 48 + 8 * 77, "missed": 54, "spurious": 4, "wrong structure": 77}
    assert mark_errors(reference, reference, ("low",)).labels.names == ("agreed", "missed", "spurious")


def test_the_picture_shows_the_image_and_the_errors() -> None:
    trial = two_structures()
    errors = mark_errors(trial.reference, trial.reference, ("low", "high"))
    picture = Image.open(io.BytesIO(draw_errors(trial.image, errors)))
    green = np.array(picture.convert("RGB"))
    assert picture.width > 900 and (green == np.round(255 * np.array([0.3, 0.8, 0.4]))).all(axis=-1).any()


def test_a_picture_of_a_flat_image_is_drawn() -> None:
    grid = make_grid((20, 20, 1), np.diag([-1.0, -1, 1, 1]), calibrated=False)
    layer = np.zeros((1, 20, 20, 1), np.uint8)
    layer[0, 5:10, 5:10] = 1
    mask = Segmentation(layer, grid, LabelSpace.of(["cell"]), {"cell": (0, 1)})
    errors = mark_errors(mask, mask, ("cell",))
    assert Image.open(io.BytesIO(draw_errors(two_structures().image.crop((0, 0, 0), (20, 20, 1)), errors))).height > 300
