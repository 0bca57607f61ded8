"""The protocol of the benchmark of the embedded default: targets, prompts and scores.
Fake models record what they are asked; tiny random ones run through the whole of it."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import vesalius as vs
from vesalius.data.case import Dataset
from vesalius.hub import random_model
from vesalius.scene import Scene


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "default_model.py"
    spec = importlib.util.spec_from_file_location("default_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def dataset(kind: str) -> Dataset:
    return Dataset("made here", "US", 2, {"cyst": 1, "nodule": 2}, kind, "CC0-1.0", "made here", ())  # type: ignore[arg-type]


def labels() -> np.ndarray:
    picture = np.zeros((80, 80), np.int32)
    picture[5:15, 5:15] = picture[30:50, 30:50] = 1
    picture[60:66, 60:66] = 2
    picture[70, 5:8] = 3
    return picture


def square() -> np.ndarray:
    target = np.zeros((80, 90), bool)
    target[30:51, 40:61] = True
    return target


def test_semantic_targets_are_the_largest_part_of_each_label(benchmark: ModuleType) -> None:
    targets = benchmark.largest_targets(labels(), dataset("semantic"))
    assert [int(target.sum()) for target in targets] == [400, 36]  # 3 pixels of label 3 are too few


def test_instance_targets_are_whole_objects(benchmark: ModuleType) -> None:
    targets = benchmark.largest_targets(labels(), dataset("instance"))
    assert [int(target.sum()) for target in targets] == [500, 36]


class Fake:
    """Answers with the masks (H, W) it was given, the first one best, and remembers the rounds it was asked."""

    card = vs.find_card("mobile-sam")

    def __init__(self, *masks: np.ndarray) -> None:
        self.masks = masks
        self.asked: list[tuple] = []

    def run(self, scene: Scene) -> Iterator[vs.Answer]:
        self.asked.append(scene.rounds)
        for rank, mask in enumerate(self.masks):
            values = vs.Volume(mask.T[None, :, :, None], scene.image.grid)
            yield vs.Answer(values, (scene.target,), 0.5, candidate=rank, score=0.9 - rank / 10)


def ask(benchmark: ModuleType, model: Fake, target: np.ndarray) -> dict[str, tuple]:
    session = vs.Session(model, benchmark.to_image(np.zeros((*target.shape, 3), np.uint8)))
    return dict(benchmark.score_target(session, target, np.random.default_rng(0)))


def test_a_perfect_answer_scores_one_and_an_empty_one_nothing(benchmark: ModuleType) -> None:
    perfect = ask(benchmark, Fake(square()), square())
    assert list(perfect) == list(benchmark.PROMPTS)
    assert set(perfect.values()) == {(1.0, 1.0, 0.9, 1.0)}
    assert set(ask(benchmark, Fake(~square() & False), square()).values()) == {(0.0, 0.0, 0.9, 0.0)}


def test_the_oracle_takes_the_best_candidate(benchmark: ModuleType) -> None:
    half = square()
    half[:40] = False
    scored, _, predicted, oracle = ask(benchmark, Fake(half, square()), square())["1 click"]
    assert (round(scored, 3), predicted, oracle) == (0.688, 0.9, 1.0)


def test_clicks_follow_the_error_and_every_other_prompt_starts_anew(benchmark: ModuleType) -> None:
    spill = square()
    spill[60:80, 0:30] = True  # right about the target, and wrong elsewhere
    model = Fake(spill)
    ask(benchmark, model, square())
    grid = benchmark.to_image(square().astype(np.uint8)).grid
    first = vs.Point.from_index(grid, (50, 40, 0))
    assert [len(rounds) for rounds in model.asked] == [1, 2, 3, 4, 5, 1, 1, 1]
    ((click,), (wrong,), *_) = model.asked[4]
    x, y, _ = grid.index(wrong.at)
    assert click == first and not wrong.positive
    assert 0 <= x < 30 and 60 <= y < 80
    kinds = [type(rounds[0][0]) for rounds in model.asked[5:]]
    assert kinds == [vs.Box, vs.Box, vs.Scribble]
    tight = grid.index(model.asked[5][0][0].corners())
    assert tight.min(axis=0).tolist() == [40, 30, 0] and tight.max(axis=0).tolist() == [60, 50, 0]


def test_a_loose_box_moves_each_side_by_up_to_a_tenth_both_ways(benchmark: ModuleType) -> None:
    tight = benchmark.tight_box(square())
    moves = np.array([benchmark.loose_box(square(), np.random.default_rng(n)) - tight for n in range(200)])
    assert np.abs(moves).max() <= 2.1  # of a box of 21 pixels
    assert (moves.min(axis=0) < -1.5).all() and (moves.max(axis=0) > 1.5).all()
    assert abs(np.corrcoef(moves.T) - np.eye(4)).max() < 0.3  # each side on its own


def test_a_scribble_runs_along_the_middle_of_a_bent_target(benchmark: ModuleType) -> None:
    rows, columns = np.ogrid[:90, :90]
    radius = np.hypot(rows - 85, columns - 45)
    arch = (np.abs(radius - 35) <= 5) & (rows < 80)
    line = np.array(benchmark.centre_line(arch))
    off = np.abs(np.hypot(line[:, 1] - 85, line[:, 0] - 45) - 35)
    assert off.max() <= 3  # inside, where a straight line between its ends would be in the hollow
    assert np.ptp(line[:, 0]) > 0.7 * 80


def test_cldice_asks_for_the_line_and_not_for_its_width(benchmark: ModuleType) -> None:
    line = np.zeros((60, 60), bool)
    line[29:32, 5:55] = True
    thick = np.zeros_like(line)
    thick[27:34, 5:55] = True
    assert benchmark.cldice(line, line) == 1
    assert benchmark.cldice(thick, line) > 0.9 > 0.65 > benchmark.dice(thick, line)
    assert benchmark.cldice(np.roll(line, 5, axis=0), line) == 0
    half = line.copy()
    half[:, 30:] = False
    assert benchmark.cldice(half, line) == pytest.approx(2 / 3, abs=0.05)


def test_the_report_keeps_thin_sets_apart_and_counts_where_ours_is_better(
    benchmark: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {"a": (0.9, 0.5), "b": (0.6, 0.7), "rop_ridge": (0.0, 0.0)}  # ours, theirs
    rows = [
        benchmark.Row(name, "case", 0, target, prompt, model, score, 0.25, 0.8, score + 0.03)
        for name, scores in values.items()
        for target in range(3 if name == "a" else 1)  # a mean over targets would count "a" three times
        for prompt in benchmark.PROMPTS
        for model, score in zip(("ours", "theirs"), scores, strict=True)
    ]
    benchmark.report(rows)
    printed = capsys.readouterr().out
    assert "| a | 3 | 0.900 (0.500) |" in printed
    assert "| mean over sets |  | 0.750 (0.600) |" in printed
    assert "| ours - theirs |  | +0.150 |" in printed
    assert "| sets where ours is better |  | 1 of 2 |" in printed
    assert "| error of the predicted Dice |  | 0.150 (0.200) |" in printed
    assert "ours: the predicted Dice is wrong by 0.150" in printed and "loses 0.030" in printed
    assert "| rop_ridge | 1 | 0.250 (0.250) |" in printed.partition("clDice")[2]


def test_a_run_writes_every_answer_of_both_models(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cysts", "rop_ridge"):
        write_set(tmp_path / "data" / name)
    weights = tmp_path / "weights.safetensors"
    weights.touch()
    monkeypatch.setattr(benchmark.vs, "load", lambda name, weights, device: tiny_model())
    flags = [
        "--data",
        str(tmp_path / "data"),
        "--weights",
        str(weights),
        "--peer-weights",
        str(weights),
        "--limit",
        "1",
    ]
    monkeypatch.setattr("sys.argv", ["default_model.py", *flags, "--out", str(tmp_path / "scores.csv")])
    benchmark.main()
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    said = [(row["dataset"], row["case"], row["target"], row["model"], row["prompt"]) for row in rows]
    assert said == [
        (name, "b", target, model, prompt)
        for name in ("cysts", "rop_ridge")
        for model in ("ours", "theirs")
        for target in ("0", "1")
        for prompt in benchmark.PROMPTS
    ]
    scores = [[row[name] for name in ("dice", "cldice", "predicted", "oracle")] for row in rows]
    assert scores[:12] == scores[12:24]  # both are the same model here, and so get the same loose boxes
    assert all(float(row["oracle"]) >= float(row["dice"]) for row in rows)
    assert "| sets where ours is better |  | 0 of 1 |" in capsys.readouterr().out


def tiny_model() -> vs.Model:
    model = random_model(vs.find_card("mobile-sam"))
    model.precision_reason = "made here"
    return model


def write_set(folder: Path) -> None:
    """Three pictures of two squares: the first for training, the others for validation."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for case in ("a", "b", "c"):
        labelled = labels().clip(0, 2).astype(np.uint8)
        Image.fromarray(labelled * 100).save(folder / "images" / f"{case}.png")
        Image.fromarray(labelled).save(folder / "labels" / f"{case}.png")
    facts = {
        "name": folder.name,
        "modality": "US",
        "dimension": 2,
        "labels": {"background": 0, "cyst": 1, "nodule": 2},
        "label_kind": "semantic",
        "licence": "CC0-1.0",
        "source": "made here",
        "annotated": ["cyst", "nodule"],
        "split": {"a": "train", "b": "val", "c": "val"},
    }
    (folder / "dataset.json").write_text(json.dumps(facts))
