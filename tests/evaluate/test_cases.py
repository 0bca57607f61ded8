"""From data sets to trials: names, absent structures, objects, splits, and examples of other patients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from toy_models import Alike, Named
from vesalius.errors import FormatError
from vesalius.evaluate.cases import OBJECTS, Task, list_offers, list_tasks, open_data, read_trial
from vesalius.evaluate.exam import Exam
from vesalius.evaluate.protocols import find_protocol
from vesalius.evaluate.table import WHOLE_CASE
from vesalius.evaluate.trial import Trial
from vesalius.grid import make_grid
from vesalius.io import read_segmentation, write
from vesalius.prompts import Box
from vesalius.volume import Volume

GRID = make_grid((20, 16, 8), np.diag([-1.0, -1.0, 2.0, 1]))


def write_set(folder: Path, kind: str = "semantic", splits: str = "tttvv") -> Path:
    """Volumes with the structures "low" and "high" and without "ghost"; two cases a patient."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    labels = np.zeros(GRID.shape, np.uint8)
    labels[2:9, 3:12, 2:6] = 1
    labels[11:18, 4:13, 1:7] = 2
    for n in range(len(splits)):
        write(Volume(np.array([40, 120, 220], np.uint8)[labels][None], GRID), folder / "images" / f"c{n}.nii.gz")
        write(Volume(labels[None], GRID), folder / "labels" / f"c{n}.nii.gz")
    facts = {
        "name": folder.name,
        "modality": "MR",
        "dimension": 3,
        "labels": {"background": 0, "low": 1, "high": 2, "ghost": 3},
        "annotated": ["low", "high", "ghost"],
        "label_kind": kind,
        "licence": "CC0-1.0",
        "source": "made",
        "split": {f"c{n}": {"t": "train", "v": "val"}[each] for n, each in enumerate(splits)},
        "group": {f"c{n}": f"p{n // 2}" for n in range(len(splits))},
    }
    (folder / "dataset.json").write_text(json.dumps(facts))
    return folder


def test_a_trial_knows_names_what_is_absent_and_examples_of_others(tmp_path: Path) -> None:
    (dataset,) = open_data(write_set(tmp_path / "one"))
    tasks = list_tasks([dataset], "val")
    assert [task.name for task in tasks] == ["one/c3", "one/c4"]
    trial = read_trial(tasks[0], list_offers([dataset]))
    assert trial.present == ("low", "high") and trial.reference.annotated == {"low", "high", "ghost"}
    assert [offer.group for offer in trial.offers] == ["p0", "p0"]  # c2 is of the same patient as c3
    assert trial.objects is None
    example = trial.offers[0].read("low")
    assert example is not None and example.mask.voxels.sum() == 7 * 9 * 4
    assert trial.offers[0].read("ghost") is None


def test_a_folder_of_sets_gives_all_of_them(tmp_path: Path) -> None:
    write_set(tmp_path / "one")
    write_set(tmp_path / "two", splits="vv")
    assert [task.name for task in list_tasks(open_data(tmp_path), "val", limit=1)] == ["one/c3", "two/c0"]
    assert len(list_tasks(open_data(tmp_path), "all")) == 7
    with pytest.raises(FormatError, match="No case is of the split 'test'; use train, val or all"):
        list_tasks(open_data(tmp_path), "test")


def test_objects_are_structures_the_largest_first(tmp_path: Path) -> None:
    (dataset,) = open_data(write_set(tmp_path / "one", kind="instance"))
    path = tmp_path / "one" / "labels" / "c3.nii.gz"
    labels = np.zeros(GRID.shape, np.uint8)
    for n in range(OBJECTS + 3):
        labels[n, : n + 2, 0] = n + 1
    write(Volume(labels[None], GRID), path)
    trial = read_trial(list_tasks([dataset], "val")[0])
    reference, objects = trial.reference, trial.objects
    assert objects is not None and objects.kind == "low" and objects.values.max() == OBJECTS + 3
    assert len(reference.labels.names) == OBJECTS and reference.labels.names[0] == "low 1"
    assert reference.mask("low 1").sum() == OBJECTS + 4 > reference.mask("low 2").sum()


def test_a_reference_on_another_grid_is_refused(tmp_path: Path) -> None:
    (dataset,) = open_data(write_set(tmp_path / "one"))
    write(Volume(np.ones((1, 4, 4, 4), np.uint8), GRID.crop((0, 0, 0), (4, 4, 4))), dataset.cases[3].segmentation)
    with pytest.raises(FormatError, match=r"c3.nii.gz \(4, 4, 4\) does not lie on the grid"):
        read_trial(list_tasks([dataset], "val")[0])


def write_npz(folder: Path, boxes: list[dict[str, int]], **arrays: object) -> Task:
    """A case of the CVPR 2025 challenge with the labels 2 and 5."""
    folder.mkdir()
    labels = np.zeros((8, 16, 20), np.uint8)
    labels[2:6, 3:12, 2:9], labels[1:7, 4:13, 11:18] = 5, 2
    kept = {"boxes": np.array(boxes), **arrays} if boxes else arrays
    np.savez(folder / "c.npz", imgs=labels * 40, gts=labels, spacing=np.array([1.0, 1.0, 2.0]), **kept)  # type: ignore[arg-type]
    return list_tasks(open_data(folder), "all")[0]


def box_of(x0: int, y0: int, z0: int, x1: int, y1: int, z1: int) -> dict[str, int]:
    """A box as the challenge stores it."""
    middle = {"z_mid_x_min": x0, "z_mid_y_min": y0, "z_mid_x_max": x1, "z_mid_y_max": y1}
    return {"z_min": z0, "z_max": z1, "z_mid": (z0 + z1) // 2, **middle}


def test_the_challenge_says_the_boxes_of_its_files(tmp_path: Path) -> None:
    boxes = [box_of(11, 4, 1, 17, 12, 6), box_of(2, 3, 2, 8, 11, 5)]  # of 2, then of 5
    model = Alike()
    list(find_protocol("cvpr2025").run(model, read_trial(write_npz(tmp_path / "with", boxes))))
    assert model.heard[:2] == [
        ("2", Box.from_index(GRID, (11, 4, 1), (17, 12, 6))),
        ("5", Box.from_index(GRID, (2, 3, 2), (8, 11, 5))),
    ]
    trial = read_trial(write_npz(tmp_path / "without", []))
    assert trial.read_boxes() == {} and isinstance(next(made_boxes(trial)), Box)
    trial = read_trial(write_npz(tmp_path / "one", boxes[:1]))  # which of the two is not known
    with pytest.raises(FormatError, match=r"c.npz has 1 boxes for 2 labels; make its boxes anew"):
        trial.read_boxes()


def made_boxes(trial: Trial) -> Iterator[object]:
    model = Alike()
    next(iter(find_protocol("cvpr2025").run(model, trial)))
    return (prompt for _, prompt in model.heard)


def test_boxes_of_a_converted_file_lie_where_its_image_was(tmp_path: Path) -> None:
    grid = make_grid((8, 20, 16), np.array([[0, -1, 0, 7], [0, 0, 1.0, -3], [2, 0, 0, 40], [0, 0, 0, 1]]))
    names = np.array('{"high": 2, "low": 5}')
    boxes = [box_of(11, 4, 1, 17, 12, 6), box_of(2, 3, 2, 8, 11, 5)]
    task = write_npz(tmp_path / "npz", boxes, affine=grid.matrix, codes=np.array(grid.codes), names=names)
    trial = read_trial(task)
    assert trial.image.grid.same_as(grid)
    for name, box in trial.read_boxes().items():
        filled = np.argwhere(trial.reference.mask(name))
        index = grid.index(box.corners())
        assert np.allclose([index.min(0), index.max(0)], [filled.min(0), filled.max(0)])


def test_an_exam_scores_what_was_asked_and_keeps_the_last_masks(tmp_path: Path) -> None:
    (dataset,) = open_data(write_set(tmp_path / "one"))
    task = list_tasks([dataset], "val")[0]
    exam = Exam(Alike(), find_protocol("cvpr2025"), ("dice",))
    records = exam.score(task, tmp_path / "masks" / "m.seg.nrrd")
    assert {row.structure for row in records} == {"low", "high", WHOLE_CASE}
    assert {(row.group, row.modality, row.dataset) for row in records} == {("p1", "MR", "one")}
    whole = {row.metric: row for row in records if row.structure == WHOLE_CASE and not row.setting}
    assert whole["DSC_AUC"].value == pytest.approx(4) and whole["seconds"].unit == "s"
    assert sum(row.metric == "seconds" and row.setting != "" for row in records) == 6
    assert read_segmentation(tmp_path / "masks" / "m.seg.nrrd").mask("low").sum() == 7 * 9 * 4


def test_what_is_absent_and_was_asked_for_has_a_row(tmp_path: Path) -> None:
    (dataset,) = open_data(write_set(tmp_path / "one"))
    records = Exam(Named(), find_protocol("named"), ("dice",)).score(list_tasks([dataset], "val")[0])
    found = {row.structure: row for row in records if row.metric == "dice"}
    assert found["low"].value == found["high"].value == 1
    assert found["ghost"].value == 0 and found["ghost"].status == "spurious: worst"
