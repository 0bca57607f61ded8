"""The recipe on a tiny random network and pictures made here: it learns, and a stopped run goes on bit for bit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from vesalius.errors import CardError
from vesalius.models.sam import Sam
from vesalius.models.vesalius_s import VesaliusS
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
    maps = folder / "data" / interactive.LABEL_MAPS
    (maps / "labels").mkdir(parents=True)
    head = np.zeros((24, 26, 28), np.uint8)
    head[4:20, 4:22, 4:24], head[8:14, 8:14, 8:14] = 1, 2
    nibabel.save(nibabel.Nifti1Image(head, np.eye(4)), maps / "labels" / "0.nii.gz")
    (maps / "dataset.json").write_text(json.dumps({"name": maps.name, "dimension": 3, "split": {"0": "train"}}))
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
        regions=2,
        painted=0.3,
        unlabelled=0.3,
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


def test_the_weights_written_are_half_precision_and_start_the_next_run(args: Args, tmp_path: Path) -> None:
    interactive.main(dataclasses.replace(args, out=str(tmp_path / "one"), steps=1))
    written, start = load_file(tmp_path / "one" / "weights.safetensors"), load_file(args.start)
    assert written.keys() > start.keys()
    assert {tensor.dtype for tensor in written.values()} == {torch.float16, torch.int64}
    model = VesaliusS({"encoder": ENCODER, "size": 64})
    assert len(interactive.start_from(model, Path(args.start))) == len(written) - len(start)
    assert not interactive.start_from(model, tmp_path / "one" / "weights.safetensors")


def test_only_what_is_named_learns(args: Args, tmp_path: Path) -> None:
    interactive.main(dataclasses.replace(args, out=str(tmp_path / "first"), steps=1))
    start = tmp_path / "first" / "weights.safetensors"
    critic = ("mask_decoder.critic.", "mask_decoder.iou_prediction_head.")
    second = dataclasses.replace(args, start=str(start), out=str(tmp_path / "second"), only=",".join(critic), steps=3)
    interactive.main(second)
    before, after = load_file(start), load_file(tmp_path / "second" / "weights.safetensors")
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed and all(name.startswith(critic) for name in changed)


def test_weights_of_another_network_are_refused(args: Args, tmp_path: Path) -> None:
    save_file({"image_encoder.other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CardError, match="another model"):
        interactive.start_from(VesaliusS({"encoder": ENCODER, "size": 64}), tmp_path / "other.safetensors")


def test_the_number_of_steps_is_found_and_kept(args: Args, tmp_path: Path) -> None:
    interactive.main(dataclasses.replace(args, out=str(tmp_path), steps=0, minutes=0.01))
    kept = json.loads((tmp_path / "args.json").read_text())
    assert kept["steps"] == len((tmp_path / "log.jsonl").read_text().splitlines())


def test_only_the_train_split_is_seen_and_the_demo_is_left_out(args: Args) -> None:
    shelf = interactive.read_shelf(args)
    assert [len(of_set) for of_set in shelf.labelled] == [3]
    assert len(shelf.unlabelled) == 2 and len(shelf.painted) > 3


def test_a_modality_can_be_left_out(args: Args) -> None:
    assert interactive.read_shelf(dataclasses.replace(args, without="MR,US")).labelled == []
    facts = Path(args.data) / "discs" / "dataset.json"
    kept = facts.read_text()
    facts.write_text(kept.replace('"US"', '"MR, US"'))
    assert interactive.read_shelf(dataclasses.replace(args, without="US")).labelled == []
    facts.write_text(kept)


@pytest.mark.parametrize(("painted", "unlabelled"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
def test_every_picture_drawn_has_three_visible_targets(args: Args, painted: float, unlabelled: float) -> None:
    args = dataclasses.replace(args, painted=painted, unlabelled=unlabelled, batch=6)
    batch = interactive.draw_batch(interactive.read_shelf(args), np.random.default_rng(0), args, torch.device("cpu"))
    assert batch.pixels.shape == (6, 3, 64, 64) and batch.targets.shape == (3, 6, 1, 64, 64)
    assert (batch.targets > 0.25).flatten(2).sum(2).min() >= 6
    assert (batch.targets * (1 - batch.inside)).max() == 0
    assert batch.pixels.flatten(1).std(1).min() > 0.01


def test_the_loss_falls_on_one_batch(args: Args) -> None:
    torch.manual_seed(0)
    args = dataclasses.replace(args, encoder_rate=1e-3, decoder_rate=1e-3, painted=0, unlabelled=0)
    model = VesaliusS({"encoder": ENCODER, "size": 64}).eval()
    optimiser = interactive.build_optimiser(model, set(), args)
    for group in optimiser.param_groups:
        group["lr"] = group["peak"]
    shelf = interactive.read_shelf(args)
    losses = [interactive.train_step(model, optimiser, shelf, 7, args) for _ in range(14)]
    assert losses[-1]["click"] < 0.9 * losses[0]["click"]
    assert losses[-1]["box"] < 0.9 * losses[0]["box"]


def test_every_first_prompt_points_at_its_region() -> None:
    targets = np.zeros((2, 64, 64), np.float32)
    targets[0, 10:30, 20:50] = targets[1, 40:60, 5:25] = 1
    seen = set()
    for prompt in interactive.PROMPTS:
        for seed in range(16):
            said = interactive.first_prompt(prompt, targets, np.random.default_rng(seed))
            seen.add((prompt, bool(said.points[0]), said.boxes is not None, said.mask is not None))
            for region, points, signs in zip(targets > 0, said.points, said.signs, strict=True):
                assert all(region[int(y), int(x)] == sign for (x, y), sign in zip(points, signs, strict=True))
            if said.boxes is not None:
                assert (said.boxes[:, :2] < said.boxes[:, 2:]).all()
            if said.mask is not None:
                assert said.mask.shape == (2, 1, 32, 32)
                assert said.mask[0, 0, 10, 18] > 0 > said.mask[0, 0, 28, 4]
            if said.drawn is not None:
                assert said.drawn[0, 0, 5:15, 10:25].sum() == said.drawn[0, 0].sum() > 0
                assert not said.drawn[0, 1, 5:15, 10:25].any()
    assert seen == {
        ("click", True, False, False),
        ("box", False, True, False),
        ("scribble", True, False, False),
        ("hint", True, False, True),
        ("hint", False, True, True),
        ("hint", False, False, True),
        ("lasso", False, True, True),
    }


def test_a_correction_goes_where_the_answer_is_wrong() -> None:
    region, answer = np.zeros((2, 1, 32, 32), bool)
    region[0, 8:20, 8:20], answer[0, 8:20, 14:30] = True, True
    for seed in range(8):
        rng = np.random.default_rng(seed)
        said = interactive.Said([[]], [[]])
        interactive.correct(said, region, answer, strokes=False, rng=rng)
        ((x, y),), (sign,) = said.points[0:1][0], said.signs[0]
        assert sign == 0 and 40 <= x < 60 and 16 <= y < 40
        interactive.correct(said, region, answer, strokes=True, rng=rng)
        assert said.drawn is not None and not said.drawn[0, 0].any() and said.drawn[0, 1, 8:20, 20:30].any()
