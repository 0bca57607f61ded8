"""`vesalius evaluate`: folders, a model, bad input, shards, and what is printed and written."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vesalius.__main__ import main
from vesalius.grid import Grid, make_grid
from vesalius.io import read_segmentation, write
from vesalius.labels import LabelSpace
from vesalius.volume import Volume

GRID = make_grid((16, 14, 8), np.diag([-1.0, -1.0, 2.0, 1]))

SHOWN = '''

class Shown(Bright):
    """Everything as bright as what an example shows."""

    card = Card("shown", "", "", {}, frozenset({"example"}), 3, "RAS", "", Weights((), ""), Bright.card.licence, "")

    def run(self, scene):
        shown = scene.rounds[-1][0]
        grey = shown.image.voxels[shown.mask.voxels > 0].mean()
        yield Answer(Volume(abs(scene.image.voxels - grey) < 9, scene.image.grid), (scene.target,), score=0.9)
'''


def save(folder: Path, name: str, shift: int = 0, grid: Grid = GRID) -> Path:
    """A label file with the structures 1 and 2, moved by `shift` voxels."""
    folder.mkdir(exist_ok=True)
    labels = np.zeros((1, *grid.shape), np.uint8)
    labels[0, 2 + shift : 8 + shift, 2:9, 2:6] = 1
    labels[0, 9 + shift : 13 + shift, 3:12, 1:7] = 2
    write(Volume(labels, grid), folder / f"{name}.nii.gz")
    return folder / f"{name}.nii.gz"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three references, and predictions that are right in `a` and moved in `b` and `c`."""
    monkeypatch.chdir(tmp_path)
    for name, shift in zip("abc", (0, 1, 2), strict=True):
        save(tmp_path / "ref", name)
        save(tmp_path / "pred", name, shift)
    return tmp_path


def scores(folder: Path) -> list[dict[str, str]]:
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_folders_are_scored(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "pred", "ref", "--images", "ref"]) == 0
    out = capsys.readouterr().out
    assert "3 done, 0 were done before, 0 failed" in out and "evaluation/report.html" in out
    rows = scores(folders / "evaluation")
    assert len(rows) == 3 * 2 * 3 and {row["metric"] for row in rows} == {"dice", "nsd@2", "hd95"}
    found = {(row["case"], row["structure"]): float(row["value"]) for row in rows if row["metric"] == "dice"}
    assert found["a", "1"] == 1 and found["b", "1"] == pytest.approx(5 / 6) and found["c", "2"] == pytest.approx(0.5)
    summary = json.loads((folders / "evaluation" / "summary.json").read_text())
    assert summary["all"][0]["mean"] == pytest.approx(np.mean(list(found.values())))
    page = (folders / "evaluation" / "report.html").read_text()
    assert all(words in page for words in ("worst: c", "median: b", "best: a")) and page.count("data:image/png") == 3


def test_what_is_done_is_skipped(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", "pred", "ref"])
    save(folders / "pred", "b", 0)
    capsys.readouterr()
    assert main(["evaluate", "pred", "ref", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["all"][0]["values"] == 6
    main(["evaluate", "pred", "ref"])
    assert "0 done, 3 were done before" in capsys.readouterr().out


def test_bad_cases_are_named_and_the_rest_is_done(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = (folders / "pred" / "b.nii.gz").read_bytes()
    (folders / "pred" / "b.nii.gz").write_bytes(content[:-40])
    write(Volume(np.full((1, *GRID.shape), 0.5, np.float32), GRID), folders / "pred" / "c.nii.gz")
    save(folders / "ref", "d")
    save(folders / "pred", "d", grid=GRID.crop((0, 0, 0), (16, 14, 7)))
    save(folders / "pred", "unmatched")
    assert main(["evaluate", "pred", "ref"]) == 1
    out = capsys.readouterr().out
    assert "1 done, 0 were done before, 3 failed" in out
    assert "failed: b: b.nii.gz is damaged or cut short" in out
    assert "failed: c: c.nii.gz holds other numbers than the labels" in out
    assert "failed: d: d.nii.gz (16 x 14 x 7" in out and "with --resample nearest" in out
    assert "without a partner: pred/unmatched.nii.gz" in out
    page = (folders / "evaluation" / "report.html").read_text()
    assert "pred/unmatched.nii.gz" in page and "b.nii.gz is damaged" in page


def test_other_grids_are_resampled_only_when_that_is_said(folders: Path) -> None:
    save(folders / "pred", "a", grid=GRID.crop((0, 0, 0), (16, 14, 7)))
    assert main(["evaluate", "pred", "ref"]) == 1
    assert main(["evaluate", "pred", "ref", "--resample", "nearest", "-o", "again"]) == 0
    assert {row["value"] for row in scores(folders / "again") if row["case"] == "a"} == {"1.0", "0.0"}
    assert "nearest label" in (folders / "again" / "report.html").read_text()


def test_structures_of_one_side_count_as_the_policy_says(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.zeros((1, *GRID.shape), np.uint8)
    labels[0, 2:8, 2:9, 2:6] = 7
    write(Volume(labels, GRID), folders / "pred" / "a.nii.gz")
    assert main(["evaluate", "pred", "ref"]) == 0
    out = capsys.readouterr().out
    assert "1: 1 times missed: worst" in out and "7: 1 times not annotated, spurious: worst" in out
    assert main(["evaluate", "pred", "ref", "--not-annotated", "undefined", "--one-empty", "undefined", "-o", "u"]) == 0
    rows = [row for row in scores(folders / "u") if row["case"] == "a"]
    assert len(rows) == 9 and {row["value"] for row in rows} == {""}


def test_numbers_get_names(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segmentation = read_segmentation(folders / "ref" / "a.nii.gz")
    names = LabelSpace.of(["cube", "plate"])
    named = replace(
        segmentation, labels=names, places={"cube": (0, 1), "plate": (0, 2)}, annotated=frozenset(names.names)
    )
    write(named, folders / "pred" / "a.nii.gz")
    assert main(["evaluate", "pred", "ref"]) == 1
    assert "a.nii.gz holds cube, plate and its reference 1, 2; say with --labels" in capsys.readouterr().out
    (folders / "labels.json").write_text(json.dumps({"labels": {"background": 0, "cube": 1, "plate": 2, "ghost": 3}}))
    assert main(["evaluate", "pred", "ref", "--labels", "labels.json", "--metrics", "dice"]) == 0
    rows = scores(folders / "evaluation")
    assert {row["structure"] for row in rows} == {"cube", "plate", "ghost"}
    assert {row["status"] for row in rows if row["structure"] == "ghost"} == {"absent: undefined"}
    assert [row["value"] for row in rows if row["case"] == "a"] == ["1.0", "1.0", ""]
    (folders / "labels.json").write_text(json.dumps({"labels": {"1": "cube", "2": "plate"}}))  # as MSD writes them
    assert main(["evaluate", "pred", "ref", "--labels", "labels.json", "--metrics", "dice", "-o", "again"]) == 0
    assert {row["structure"] for row in scores(folders / "again")} == {"cube", "plate"}
    (folders / "labels.json").write_text(json.dumps({"labels": [1, 2]}))
    assert main(["evaluate", "pred", "ref", "--labels", "labels.json"]) == 2
    assert "does not name label values" in capsys.readouterr().err


def test_structures_have_tolerances_of_their_own(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "own.json").write_text(json.dumps({"1": 0.1, "2": 50}))
    assert main(["evaluate", "pred", "ref", "--tolerances", "own.json"]) == 0
    rows = [row for row in scores(folders / "evaluation") if row["case"] == "b"]
    assert {row["metric"] for row in rows} == {"dice", "nsd", "hd95"}
    strict, loose = (float(row["value"]) for row in rows if row["metric"] == "nsd")
    assert strict < loose == 1
    assert "1 0.1, 2 50" in (folders / "evaluation" / "report.html").read_text()
    (folders / "own.json").write_text(json.dumps({"1": 0.1}))
    assert main(["evaluate", "pred", "ref", "--tolerances", "own.json"]) == 1  # scored anew, as the question changed
    assert "nsd needs a tolerance of 2; add it" in capsys.readouterr().out
    (folders / "own.json").write_text(json.dumps({"1": "5 mm"}))
    assert main(["evaluate", "pred", "ref", "--tolerances", "own.json"]) == 2
    assert "own.json gives 1 the tolerance '5 mm'; write a number of mm" in capsys.readouterr().err


def test_a_bad_image_costs_only_its_picture(folders: Path) -> None:
    (folders / "img").mkdir()
    for name in "abc":
        (folders / "img" / f"{name}.nii.gz").write_bytes(b"\x1f\x8bnothing")
    assert main(["evaluate", "pred", "ref", "--images", "img", "--metrics", "dice"]) == 0
    page = (folders / "evaluation" / "report.html").read_text()
    assert page.count("no picture: ") == 3 and "no picture: c.nii.gz" in page and "data:image" not in page
    assert len(scores(folders / "evaluation")) == 6


def test_shards_share_a_folder(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "pred", "ref", "--shard", "1/2"]) == 0
    assert "1 cases are left to other shards" in capsys.readouterr().out
    assert main(["evaluate", "pred", "ref", "--shard", "2/2"]) == 0
    assert len(scores(folders / "evaluation")) == 18


def test_two_files_are_a_case(folders: Path) -> None:
    assert main(["evaluate", "pred/b.nii.gz", "ref/b.nii.gz", "--metrics", "dice"]) == 0
    assert len(scores(folders / "evaluation")) == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["pred"], "Give the folder of reference masks too"),
        (["pred", "nowhere"], "nowhere is not a folder"),
        (["pred", "ref", "--metrics", "dise"], "There is no metric 'dise'"),
        (["pred", "ref", "--metrics", "nsd"], "nsd and --tolerances FILE.json go together"),
        (["pred", "ref", "--protocol", "clicks"], "A --protocol is for a model"),
        (["pred", "empty"], "No file of pred has the name of one in empty"),
        (["pred", "-m", "vesalius-s"], "--protocol list names all"),
        (["pred", "-m", "vesalius-s", "--protocol", "click"], "no protocol 'click'"),
        (["pred", "-m", "universeg", "--protocol", "clicks"], "universeg takes example"),
        (["pred", "ref", "-m", "vesalius-s", "--protocol", "clicks"], "With -m give one folder of data"),
        (["pred", "ref", "--shard", "3/2"], "no shard 3/2"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    arguments: list[str], complaint: str, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "empty").mkdir()
    assert main(["evaluate", *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert not (folders / "evaluation").exists()


def test_protocols_are_listed(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", ".", "--protocol", "list"]) == 0
    assert "cvpr2025" in capsys.readouterr().out


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set of three volumes, one of which is damaged."""
    folder = tmp_path / "sets"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    labels = np.zeros((1, *GRID.shape), np.uint8)
    labels[0, 2:8, 2:9, 2:6] = 1
    for name in "abc":
        write(Volume(np.array([40, 220], np.uint8)[labels], GRID), folder / "images" / f"{name}.nii.gz")
        write(Volume(labels, GRID), folder / "labels" / f"{name}.nii.gz")
    content = (folder / "images" / "b.nii.gz").read_bytes()
    (folder / "images" / "b.nii.gz").write_bytes(content[:-40])
    facts = {"name": "cubes", "modality": "MR", "dimension": 3, "labels": {"background": 0, "cube": 1}}
    facts |= {"annotated": ["cube"], "label_kind": "semantic", "licence": "CC0-1.0", "source": "made"}
    (folder / "dataset.json").write_text(json.dumps(facts | {"split": dict.fromkeys("abc", "val")}))
    return folder


def test_a_model_is_asked(data: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["evaluate", str(data), "-m", model, "--protocol", "box", "-o", str(out)]) == 1
    printed = capsys.readouterr().out
    assert "2 done, 0 were done before, 1 failed" in printed and "failed: cubes/b: b.nii.gz is damaged" in printed
    rows = scores(out)
    assert {row["value"] for row in rows if row["metric"] == "dice"} == {"1.0"}
    assert {row["setting"] for row in rows} == {"box"} and (out / "masks" / "cubes" / "a.seg.nrrd").exists()
    page = (out / "report.html").read_text()
    assert "box: one tight box" in page and "CC0-1.0" in page and page.count("data:image/png") == 2
    (data / "images" / "b.nii.gz").write_bytes((data / "images" / "a.nii.gz").read_bytes())
    assert main(["evaluate", str(data), "-m", model, "--protocol", "box", "-o", str(out)]) == 0
    assert "1 done, 2 were done before, 0 failed" in capsys.readouterr().out


def test_examples_are_the_training_cases_of_the_folder(
    data: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads((data / "dataset.json").read_text()) | {"split": {"a": "val", "c": "train"}}
    (data / "dataset.json").write_text(json.dumps(facts))
    with (tmp_path / "own.py").open("a") as lines:
        lines.write(SHOWN)
    call = ["evaluate", str(data), "-m", model.replace("Bright", "Shown"), "-o", str(tmp_path / "out")]
    assert main([*call, "--protocol", "few-shot", "--metrics", "dice"]) == 0
    rows = [row for row in scores(tmp_path / "out") if row["metric"] == "dice"]
    assert rows and {(row["case"], row["value"]) for row in rows} == {("cubes/a", "1.0")}


def test_a_restricted_licence_is_accepted_on_the_way(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VESALIUS_ACCEPT_LICENCE", raising=False)
    monkeypatch.setenv("VESALIUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VESALIUS_OFFLINE", "1")
    call = ["evaluate", str(data), "-m", "nninteractive", "--protocol", "clicks", "-o", str(tmp_path / "out")]
    assert main(call) == 2
    assert "--accept-licence CC-BY-NC-SA-4.0" in capsys.readouterr().err
    assert main([*call, "--accept-licence", "CC-BY-NC-SA-4.0"]) == 2
    assert "offline" in capsys.readouterr().err.lower()
