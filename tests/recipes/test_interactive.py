"""The recipe on a tiny random network and pictures made here: it learns, and a stopped run goes on bit for bit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from vesalius.models.sam import Sam
from vesalius.recipes import interactive
from vesalius.recipes.interactive import Args

ENCODER = "tiny_vit_nano"


@pytest.fixture(scope="module")
def args(tmp_path_factory: pytest.TempPathFactory) -> Args:
    folder = tmp_path_factory.mktemp("recipe")
    rows, columns = np.mgrid[:64, :64]
    for name in ("discs", "slicerio_chest_ct"):
        (folder / "data" / name / "images").mkdir(parents=True)
        (folder / "data" / name / "labels").mkdir()
        for number in range(4):
            disc = (columns - 20 - 6 * number) ** 2 + (rows - 30) ** 2 < 144
            Image.fromarray(np.where(disc, 200, 60).astype(np.uint8)).save(
                folder / "data" / name / "images" / f"{number}.png"
            )
            Image.fromarray(disc.astype(np.uint8)).save(folder / "data" / name / "labels" / f"{number}.png")
        facts = {"name": name, "modality": "US", "dimension": 2, "labels": {"disc": 1}, "label_kind": "semantic"}
        facts |= {"annotated": ["disc"], "licence": "CC0-1.0", "source": "made here"}
        facts |= {"split": {"0": "train", "1": "train", "2": "train", "3": "val"}}
        (folder / "data" / name / "dataset.json").write_text(json.dumps(facts))
    (folder / "data" / "manifest.json").write_text("{}")
    torch.manual_seed(0)
    start = Sam({"encoder": ENCODER, "size": 64, "preprocess": "sam"})
    save_file(start.state_dict(), folder / "start.safetensors")
    return Args(
        data=str(folder / "data"),
        start=str(folder / "start.safetensors"),
        out="",
        encoder=ENCODER,
        size=64,
        batch=2,
        steps=4,
        warmup=1,
        save_every=2,
    )


def test_a_run_that_was_stopped_ends_at_the_same_weights(
    args: Args, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interactive.main(dataclasses.replace(args, out=str(tmp_path / "whole")))

    stopped = dataclasses.replace(args, out=str(tmp_path / "stopped"))
    steps_done = interactive.train_step

    def stop_at_three(*arguments):  # type: ignore[no-untyped-def]
        if arguments[3] == 3:
            raise KeyboardInterrupt
        return steps_done(*arguments)

    monkeypatch.setattr(interactive, "train_step", stop_at_three)
    with pytest.raises(KeyboardInterrupt):
        interactive.main(stopped)
    assert not (tmp_path / "stopped" / "weights.safetensors").exists()
    monkeypatch.undo()
    interactive.main(stopped)

    whole = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)["model"]
    resumed = torch.load(tmp_path / "stopped" / "checkpoint.pt", weights_only=True)["model"]
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    start = load_file(args.start)
    assert any(not torch.equal(tensor, start[name]) for name, tensor in whole.items())

    logs = [(tmp_path / run / "log.jsonl").read_text().splitlines() for run in ("whole", "stopped")]
    steps = [[json.loads(line)["step"] for line in log] for log in logs]
    assert steps == [[0, 1, 2, 3]] * 2


def test_the_weights_written_are_half_precision_under_the_same_names(args: Args, tmp_path: Path) -> None:
    interactive.main(dataclasses.replace(args, out=str(tmp_path), steps=1))
    written, start = load_file(tmp_path / "weights.safetensors"), load_file(args.start)
    assert written.keys() == start.keys()
    assert {tensor.dtype for tensor in written.values()} == {torch.float16, torch.int64}


def test_the_number_of_steps_is_found_and_kept(args: Args, tmp_path: Path) -> None:
    interactive.main(dataclasses.replace(args, out=str(tmp_path), steps=0, minutes=0.01))
    kept = json.loads((tmp_path / "args.json").read_text())
    assert kept["steps"] == len((tmp_path / "log.jsonl").read_text().splitlines())


def test_only_the_train_split_is_seen_and_the_demo_is_left_out(args: Args) -> None:
    assert [len(of_set) for of_set in interactive.read_tasks(args)] == [3]


def test_the_loss_falls_on_one_batch(args: Args) -> None:
    torch.manual_seed(0)
    args = dataclasses.replace(args, encoder_rate=1e-3, decoder_rate=1e-3)
    model = Sam({"encoder": ENCODER, "size": 64, "preprocess": "sam"}).eval()
    optimiser = interactive.build_optimiser(model, args)
    for group in optimiser.param_groups:
        group["lr"] = group["peak"]
    tasks = interactive.read_tasks(args)
    losses = [interactive.train_step(model, optimiser, tasks, 7, args) for _ in range(12)]
    assert losses[-1]["click"] < 0.9 * losses[0]["click"]
    assert losses[-1]["box"] < 0.9 * losses[0]["box"]


def test_every_first_prompt_points_at_its_region(args: Args) -> None:
    regions = np.zeros((2, 64, 64), bool)
    regions[0, 10:30, 20:50] = regions[1, 40:60, 5:25] = True
    seen = set()
    for prompt in ("click", "box", "scribble", "hint"):
        for seed in range(12):
            rng = np.random.default_rng(seed)
            points, signs, boxes, mask = interactive.first_prompt(prompt, regions, args, rng)
            seen.add((prompt, bool(points[0]), boxes is not None, mask is not None))
            for region, of_row, signs_of_row in zip(regions, points, signs, strict=True):
                assert all(region[y, x] for x, y in of_row)
                assert signs_of_row == [1] * len(of_row)
            if boxes is not None:
                assert (boxes[:, :2] < boxes[:, 2:]).all()
            if mask is not None:
                assert mask.shape == (2, 1, 16, 16)
                assert mask[0, 0, 5, 9] > 0 > mask[0, 0, 14, 2]
    assert seen == {
        ("click", True, False, False),
        ("box", False, True, False),
        ("scribble", True, False, False),
        ("hint", True, False, True),
        ("hint", False, True, True),
        ("hint", False, False, True),
    }
