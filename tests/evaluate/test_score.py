"""Scores of a case: a row for everything, what it says where a structure is missing, and bounded memory."""

from __future__ import annotations

import math
import os
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from vesalius.errors import GeometryError, VesaliusError
from vesalius.evaluate.metrics import PLAIN, MaskPair, read_metric
from vesalius.evaluate.score import Policy, Row, count_cores, score_case
from vesalius.grid import Grid, make_grid
from vesalius.labels import LabelSpace, Structure
from vesalius.segmentation import Segmentation

GRID = make_grid((20, 16, 12), np.diag([0.8, 1.0, 2.5, 1]))
ALL = (*(name for name in PLAIN if name != "nsd"), "nsd@2", "f1@0.5", "pq@0.5")
DIAGONAL = math.hypot(20 * 0.8, 16 * 1.0, 12 * 2.5)


def segment(boxes: dict[str, tuple[int, int]], names: str = "", grid: Grid = GRID) -> Segmentation:
    """Blocks from one corner to another along all axes, in one layer; `names` (by spaces) are looked for."""
    labels = LabelSpace.of(names.split() or boxes)
    layers = np.zeros((1, *grid.shape), np.uint8)
    places = {name: (0, value) for value, name in enumerate(labels.names, start=1)}
    for name, (first, last) in boxes.items():
        layers[(0, *(slice(min(first, n - 1), last) for n in grid.shape))] = places[name][1]
    return Segmentation(layers, grid, labels, places, frozenset(labels.names))


def by_metric(rows: list[Row], structure: str) -> dict[str, float]:
    return {row.metric: row.value for row in rows if row.structure == structure}


def test_each_structure_has_the_numbers_of_its_two_masks() -> None:
    prediction, reference = segment({"a": (1, 6), "b": (7, 11)}), segment({"a": (2, 6), "b": (7, 12)})
    rows = score_case(prediction, reference, ALL, case="x")
    assert len(rows) == 2 * len(ALL)
    assert {(row.case, row.status) for row in rows} == {("x", "scored")}
    for name in ("a", "b"):
        pair = MaskPair(prediction.mask(name), reference.mask(name), GRID.spacing_mm)
        expected = {metric: read_metric(metric).value(pair) for metric in ALL}
        assert by_metric(rows, name) == pytest.approx(expected)
    assert {row.metric for row in rows if row.unit == "mm"} == {"hd", "hd95", "assd", "masd"}


@pytest.mark.parametrize("grid", [GRID, make_grid((20, 16, 1), np.diag([0.8, 1.0, 2.5, 1]))])
def test_a_structure_can_have_a_tolerance_of_its_own(grid: Grid) -> None:
    prediction, reference = (
        segment({"a": (1, 6), "b": (7, 11)}, grid=grid),
        segment({"a": (2, 6), "b": (7, 13)}, grid=grid),
    )
    rows = score_case(prediction, reference, ("nsd", "nsd@1", "nsd@3"), Policy(tolerances_mm={"A": 1, "b": 3.0}))
    a, b = by_metric(rows, "a"), by_metric(rows, "b")
    assert a["nsd"] == a["nsd@1"] < a["nsd@3"] and b["nsd"] == b["nsd@3"] > b["nsd@1"]
    with pytest.raises(VesaliusError, match="nsd needs a tolerance of b; add it, or use nsd@2"):
        score_case(prediction, reference, ("nsd",), Policy(tolerances_mm={"a": 1}))
    one = segment({"a": (1, 6)}, "a b", grid)  # where a structure is missed, its tolerance plays no part
    assert by_metric(score_case(one, reference, ("nsd",), Policy(tolerances_mm={"a": 1})), "b") == {"nsd": 0}


@pytest.mark.parametrize("threads", [1, 3])
def test_rows_come_in_the_order_of_the_reference(threads: int) -> None:
    reference = segment({"c": (0, 3), "a": (4, 7), "b": (8, 11)})
    rows = score_case(segment({"b": (8, 11), "z": (0, 3), "a": (4, 7)}), reference, ("dice", "hd"), threads=threads)
    assert [row.structure for row in rows] == ["c", "c", "a", "a", "b", "b", "z", "z"]
    assert [row.metric for row in rows] == ["dice", "hd"] * 4


@pytest.mark.parametrize(("said", "cores"), [("3", 3), ("4,2", 4), ("", os.cpu_count()), ("0", os.cpu_count())])
def test_no_more_cores_are_used_than_a_cluster_grants(said: str, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert count_cores() == cores


def test_a_missed_and_a_spurious_structure_are_worst_by_default() -> None:
    """Neither is left out: a model that finds less never gets a better mean distance."""
    prediction, reference = segment({"b": (3, 8)}, "a b"), segment({"a": (3, 8)}, "a b")
    for structure, status, volume in (("a", "missed: worst", -1), ("b", "spurious: worst", math.inf)):
        rows = score_case(prediction, reference, ALL)
        assert {row.status for row in rows if row.structure == structure} == {status}
        found = by_metric(rows, structure)
        assert found.pop("volume_error") == volume
        for metric in ("hd", "hd95", "assd", "masd"):
            assert found.pop(metric) == pytest.approx(DIAGONAL)
        assert found and set(found.values()) == {0}


def test_no_real_distance_is_larger_than_that_of_a_missed_structure() -> None:
    first, last = np.zeros((2, 1, *GRID.shape), np.uint8)
    first[0, 0, 0, 0] = last[0, -1, -1, -1] = 1
    template = segment({"a": (0, 1)})
    (row,) = score_case(replace(template, layers=first), replace(template, layers=last), ("hd",))
    assert 0.9 * DIAGONAL < row.value <= DIAGONAL


@pytest.mark.parametrize(
    ("policy", "dice", "distance"),
    [(Policy(one_empty="infinite"), 0, math.inf), (Policy(one_empty="undefined"), math.nan, math.nan)],
)
def test_one_empty_by_choice(policy: Policy, dice: float, distance: float) -> None:
    rows = score_case(segment({}, "a"), segment({"a": (3, 8)}), ("dice", "hd95"), policy)
    assert [row.value for row in rows] == pytest.approx([dice, distance], nan_ok=True)
    assert {row.status for row in rows} == {f"missed: {policy.one_empty}"}


@pytest.mark.parametrize(("choice", "perfect"), [("undefined", False), ("perfect", True)])
def test_rightly_absent(choice: str, perfect: bool) -> None:
    rows = score_case(segment({}, "a"), segment({}, "a"), ALL, Policy(both_empty=choice))  # type: ignore[arg-type]
    equal = score_case(segment({"a": (3, 8)}), segment({"a": (3, 8)}), ALL)
    assert {row.status for row in rows} == {f"absent: {choice}"}
    if perfect:
        assert by_metric(rows, "a") == by_metric(equal, "a")
    else:
        assert all(math.isnan(row.value) for row in rows)


def test_what_nobody_looked_for_has_no_number_unless_it_counts_as_empty() -> None:
    prediction = segment({"liver": (0, 4), "spleen": (5, 9)}, "liver spleen kidney")
    reference = segment({"liver": (0, 4)}, "liver spleen kidney")
    reference = replace(reference, annotated=frozenset({"liver"}))
    rows = score_case(prediction, reference, ("dice",))
    assert [row.status for row in rows] == ["scored", "not annotated: undefined", "not annotated: undefined"]
    assert [row.value for row in rows] == pytest.approx([1, math.nan, math.nan], nan_ok=True)
    rows = score_case(prediction, reference, ("dice",), Policy(not_annotated="empty"))
    assert [row.status for row in rows[1:]] == ["not annotated, spurious: worst", "not annotated, absent: undefined"]
    assert rows[1].value == 0


def test_a_reference_that_lists_what_it_has_no_label_for() -> None:
    reference = replace(segment({"liver": (0, 4)}), annotated=frozenset({"liver", "tumour"}))
    rows = score_case(segment({"liver": (0, 4), "tumour": (5, 7)}), reference, ("dice",))
    assert [(row.structure, row.status) for row in rows] == [("liver", "scored"), ("tumour", "spurious: worst")]


def test_structures_are_the_same_by_synonym_and_overlap_in_layers() -> None:
    reference = segment({"left kidney": (0, 4)}, "")
    labels = LabelSpace((Structure("left kidney", synonyms=frozenset({"kidney_left"})), Structure("organs")))
    layers = np.concatenate([reference.layers, 2 * np.ones_like(reference.layers)])
    places = {"left kidney": (0, 1), "organs": (1, 2)}
    reference = replace(reference, labels=labels, places=places, layers=layers, annotated=frozenset(labels.names))
    rows = score_case(segment({"Kidney_Left": (0, 4)}), reference, ("dice",))
    assert [(row.structure, row.value, row.status) for row in rows] == [
        ("left kidney", 1, "scored"),
        ("organs", 0, "missed: worst"),
    ]


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_picture_is_two_dimensional_and_its_unit_is_the_pixel(calibrated: bool) -> None:
    grid = make_grid((20, 1, 16), np.diag([0.5, 9, 1, 1]), calibrated)
    prediction, reference = segment({"a": (2, 9)}, grid=grid), segment({"a": (3, 9)}, grid=grid)
    rows = score_case(prediction, reference, ("hd", "assd", "nsd@0.6"))
    flat = MaskPair(prediction.mask("a")[:, 0], reference.mask("a")[:, 0], (0.5, 1))
    expected = [read_metric(name).value(flat) for name in ("hd", "assd", "nsd@0.6")]
    assert [row.value for row in rows] == pytest.approx(expected)
    assert [row.unit for row in rows] == (["mm", "mm", "1"] if calibrated else ["px", "px", "1"])
    (missed,) = score_case(segment({}, "a", grid), reference, ("hd",))
    assert missed.value == pytest.approx(math.hypot(20 * 0.5, 16))
    absent = score_case(segment({}, "a", grid), segment({}, "a", grid), ("hd",), Policy(both_empty="perfect"))
    assert absent[0].value == 0


def test_another_grid_is_refused_and_resampling_offered() -> None:
    other = segment({"a": (1, 5)}, grid=make_grid((20, 16, 12), np.diag([0.8, 1.0, 2.4, 1])))
    reference = segment({"a": (1, 5)})
    with pytest.raises(GeometryError, match=r"prediction\.to\(reference\.grid\)"):
        score_case(other, reference)
    assert score_case(other.to(GRID), reference)[0].status == "scored"


def test_surfaces_on_a_sheared_grid_are_refused_and_voxels_are_counted() -> None:
    affine = np.diag([1.0, 1, 2, 1])
    affine[1, 2] = 0.5
    tilted = segment({"a": (1, 5)}, grid=make_grid((8, 8, 8), affine))
    with pytest.raises(GeometryError, match="upright"):
        score_case(tilted, tilted, ("hd95",))
    assert score_case(tilted, tilted, ("dice",))[0].value == 1


@pytest.mark.parametrize("name", ["dise", "nsd", "nsd@x", "dice@2", "hd96"])
def test_an_unknown_metric_names_the_known_ones(name: str) -> None:
    with pytest.raises(VesaliusError, match="nsd@2"):
        score_case(segment({"a": (1, 5)}), segment({"a": (1, 5)}), (name,))


def test_a_policy_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(VesaliusError, match="undefined or perfect"):
        Policy(both_empty="Perfect")  # type: ignore[arg-type]


def test_memory_does_not_grow_with_the_number_of_structures() -> None:
    grid = make_grid((96, 96, 96), np.eye(4))
    names = [f"s{n}" for n in range(64)]
    labels = LabelSpace.of(names)
    places = {name: (0, value) for value, name in enumerate(names, start=1)}
    layers = np.zeros((1, *grid.shape), np.uint8)
    for value, (i, j, k) in enumerate(np.ndindex(4, 4, 4), start=1):
        layers[0, 24 * i + 2 : 24 * i + 20, 24 * j + 2 : 24 * j + 20, 24 * k + 2 : 24 * k + 20] = value
    reference = Segmentation(layers, grid, labels, places, frozenset(names))
    prediction = replace(reference, layers=np.roll(layers, 1, axis=2))
    tracemalloc.start()
    rows = score_case(prediction, reference, threads=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == 64 * 3
    assert peak < layers.nbytes  # one byte for each voxel; a mask for each of the structures would be 64
