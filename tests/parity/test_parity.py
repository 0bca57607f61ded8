"""The released checkpoints mean the same here as in their official code, and a difference would be seen."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import run
import torch
from fill import fill
from inputs import make_volume
from players import CARDS, MADE
from recording import Recording

import vesalius as vs
from vesalius.hub import fit_weights, random_model
from vesalius.zoo import find_card

CONTRACT = {"scale": {"image_encoder.pos_embed": 3.0}, "tolerance": {"float32_cpu": 1e-4}, "golden_arrays": {}}


@pytest.mark.parametrize("name", [*CARDS, *MADE])
def test_official_outputs_are_reproduced(name: str, shared: Path) -> None:
    folder = shared / "parity" / name
    if not folder.is_dir():
        pytest.skip(f"there are no recordings of {name}")
    assert run.main([str(folder)]) == 0


@pytest.mark.parametrize("name", ["sam_vit_b", "medsam_vit_b", "mobilesam_vit_t", "litemedsam"])
def test_a_session_gives_the_official_masks(name: str, shared: Path) -> None:
    """What users call, from prompts on the picture's grid to the mask on it, and not only the network."""
    recording = Recording(shared / "parity" / name, "a")
    model = random_model(find_card(CARDS[name]), tiny=False)
    weights = {key: torch.from_numpy(array) for key, array in recording.weights().items()}
    fit_weights(model, weights, Path("keys.txt"))
    inputs = recording.inputs()
    picture = np.atleast_3d(inputs["image"])
    grid = vs.make_grid((picture.shape[1], picture.shape[0], 1), np.diag([-1, -1, 1, 1]), calibrated=False)
    session = vs.Session(model, vs.Volume(picture.transpose(2, 1, 0)[..., None], grid))
    golden = np.load(shared / "parity" / name / "golden_a.npz")
    played = 0
    for tag in sorted({key.partition(".")[0] for key in inputs if "." in key}):
        if f"{tag}.mask_input" in inputs or f"{tag}.boxes" in inputs:
            continue  # the decoder's own logits and batches have no counterpart among the prompts
        points, signs = inputs.get(f"{tag}.point_coords", ()), inputs.get(f"{tag}.point_labels", ())
        said = [vs.Point.from_index(grid, (*at, 0), bool(sign)) for at, sign in zip(points, signs, strict=True)]
        if f"{tag}.box" in inputs:
            x0, y0, x1, y1 = inputs[f"{tag}.box"]
            said.append(vs.Box.from_index(grid, (x0, y0, 0), (x1, y1, 0)))
        session.add(*said, target=tag)
        shape = tuple(golden[f"out.{tag}.mask.shape"])
        official = np.unpackbits(golden[f"out.{tag}.mask"])[: np.prod(shape)].reshape(-1, *shape[-2:]).astype(bool)
        ours = [session.choose(n, tag).mask(tag)[..., 0].T for n in range(len(session.steps[-1].candidates))]
        assert len(ours) == len(official)
        for mask in official:
            assert min((mask != own).mean() for own in ours) <= 5e-4
        played += 1
    assert played >= 2


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of a tiny SAM."""
    folder = tmp_path_factory.mktemp("recorded")
    model = random_model(find_card("sam-vit-b"))
    rows = [(name, tuple(tensor.shape), "float32") for name, tensor in model.state_dict().items()]
    (folder / "keys.txt").write_text("".join(f"{name}\t{shape}\t{dtype}\n" for name, shape, dtype in rows))
    (folder / "contract.json").write_text(json.dumps(CONTRACT))
    weights = fill(rows)
    weights["image_encoder.pos_embed"] *= np.float32(3)
    fit_weights(model, {name: torch.from_numpy(array) for name, array in weights.items()}, folder)
    inputs = {
        "image": np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8),
        "c0.point_coords": np.array([[20.0, 11.0]]),
        "c0.point_labels": np.array([1]),
        "c0.multimask": np.array([1]),
        "batch.boxes": np.array([[3.0, 4.0, 30.0, 20.0], [10.0, 10.0, 50.0, 35.0], [0.0, 0.0, 20.0, 20.0]]),
    }
    outputs = run.PLAYERS["vesalius.models.sam:Sam"](model, inputs)
    mask = outputs["batch.mask"] > 0
    golden = {
        "out.image_embedding_s2": outputs["image_embedding"][::2],
        "out.c0.logits_s3": outputs["c0.logits"][:, ::3, ::3],
        "out.c0.iou": outputs["c0.iou"],
        "out.batch.mask": np.packbits(mask),
        "out.batch.mask.shape": np.array(mask.shape),
    }
    np.savez(folder / "golden_x.npz", **golden, **{f"in.{name}": array for name, array in inputs.items()})
    return folder


@pytest.fixture
def tiny(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the recording, which a tiny SAM plays."""
    monkeypatch.setattr(run, "random_model", lambda card, tiny: random_model(card))
    return Path(shutil.copytree(recorded, tmp_path / "tiny"))


def play(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, str]]:
    """The exit code, and what was said of each array."""
    code = run.main([str(folder), "--model", "sam_vit_b"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    return code, {line[0]: line[-1] for line in lines}


def alter(folder: Path, name: str, array: np.ndarray) -> None:
    """Record another array."""
    with np.load(folder / "golden_x.npz") as stored:
        np.savez(folder / "golden_x.npz", **{**stored, name: array})


def test_every_recorded_output_is_compared(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = play(tiny, capsys)
    assert code == 0
    arrays = ["out.image_embedding_s2", "out.c0.logits_s3", "out.c0.iou", "out.batch.mask"]
    assert said == dict.fromkeys(arrays, "ok")


def test_another_weight_fails(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contract = CONTRACT | {"scale": {"image_encoder.pos_embed": 3.001}}
    (tiny / "contract.json").write_text(json.dumps(contract))
    code, said = play(tiny, capsys)
    assert code == 1
    assert said["out.image_embedding_s2"] == "FAIL"


@pytest.mark.parametrize("value", [0.01, np.nan])
def test_another_output_fails(tiny: Path, capsys: pytest.CaptureFixture[str], value: float) -> None:
    with np.load(tiny / "golden_x.npz") as stored:
        iou = stored["out.c0.iou"]
    alter(tiny, "out.c0.iou", iou + np.array([0, value, 0], np.float32))
    code, said = play(tiny, capsys)
    assert code == 1
    assert [array for array, verdict in said.items() if verdict == "FAIL"] == ["out.c0.iou"]


def test_one_pixel_of_a_mask_far_from_the_threshold_fails(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(tiny / "golden_x.npz") as stored:
        mask = stored["out.batch.mask"]
    alter(tiny, "out.batch.mask", mask ^ np.eye(1, len(mask), dtype=np.uint8)[0])
    code, said = play(tiny, capsys)
    assert code == 1
    assert said["out.batch.mask"] == "FAIL"


def test_an_output_that_nobody_produces_fails(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alter(tiny, "out.c0.uncertainty", np.zeros(3, np.float32))
    code, said = play(tiny, capsys)
    assert code == 1
    assert said["out.c0.uncertainty"] == "FAIL"


def test_tensors_of_another_network_fail(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (tiny / "keys.txt").read_text().splitlines(keepends=True)
    (tiny / "keys.txt").write_text("".join(rows[:-1]) + "image_encoder.extra\t(2,)\tfloat32\n")
    assert run.main([str(tiny), "--model", "sam-vit-b"]) == 1
    said = capsys.readouterr().out
    assert "image_encoder.extra" in said
    assert rows[-1].split("\t")[0] in said


def test_the_command_exits_with_the_verdict(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", str(tiny), "--model", "nobody"])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(run.__file__, run_name="__main__")
    assert exit_.value.code == 1


@pytest.fixture
def volume_folder(tmp_path: Path) -> Path:
    """A recording in the 3D format: recipes, strides, statistics, aliases, integer tensors."""
    (tmp_path / "keys.txt").write_text("a.conv.weight\t[2, 3]\tfloat32\nb.weight\t[2, 3]\tfloat32\nn\t[]\tint64\n")
    (tmp_path / "aliases.txt").write_text("b.weight\ta.conv.weight\n")
    recipe = {"recipe": "inputs.volume", "tag": "t", "shape": [1, 9, 8, 7], "block": 4, "crc32": 372135816}
    contract = {
        "tolerance": {"atol": 1e-3, "rtol": 1e-3},
        "case_x": {
            "inputs": {"image": recipe, "points": {"stored": "in_points"}},
            "outputs": {"logits": {"stride": [1, 4, 2, 2]}, "argmax": {"stride": None}},
        },
    }
    (tmp_path / "contract.json").write_text(json.dumps(contract))
    image = make_volume("t", (1, 9, 8, 7), 4)
    statistics = [image.mean(), image.std(), image.min(), image.max(), np.sqrt((image**2).mean())]
    np.savez(
        tmp_path / "golden_x.npz",
        in_points=np.ones((1, 2)),
        out_logits=image[:, ::4, ::2, ::2],
        stat_logits=np.array(statistics, np.float64),
        out_argmax=(image > 0).astype(np.uint8),
    )
    return tmp_path


def test_volume_recordings_are_read(volume_folder: Path) -> None:
    recording = Recording(volume_folder, "x")
    weights = recording.weights()
    assert set(weights) == {"a.conv.weight", "b.weight"}
    assert np.array_equal(weights["b.weight"], weights["a.conv.weight"])
    inputs = recording.inputs()
    assert inputs["points"].shape == (1, 2)
    image = inputs["image"]
    outputs = {"logits": image, "argmax": (image > 0).astype(np.uint8)}
    assert [check.ok for check in recording.check(outputs)] == [True, True, True]
    off = recording.check(outputs | {"logits": image + 0.01})
    assert [check.ok for check in off] == [False, False, True]
    assert not any(check.ok for check in recording.check({}))


def test_one_voxel_that_tips_others_is_no_difference(volume_folder: Path) -> None:
    """A session's masks agree if their Dice is 0.99: each round starts from the mask before."""
    mask = np.arange(4000) < 2000
    alike, unlike = (np.where(np.arange(4000) < wrong, ~mask, mask) for wrong in (30, 60))
    np.savez(volume_folder / "golden_x.npz", out_target_2=np.packbits(mask))
    recording = Recording(volume_folder, "x")
    assert [recording.check({"target_2": np.packbits(each)})[0].ok for each in (alike, unlike)] == [True, False]


def test_a_recipe_with_another_checksum_is_refused(volume_folder: Path) -> None:
    text = (volume_folder / "contract.json").read_text()
    (volume_folder / "contract.json").write_text(text.replace("372135816", "1"))
    with pytest.raises(ValueError, match="not the one that was recorded"):
        Recording(volume_folder, "x").inputs()


def test_filling_follows_the_published_rule(shared: Path) -> None:
    rule = runpy.run_path(str(shared / "parity" / "fill.py"))["fill"]
    rows = [
        ("a.weight", (4, 3, 2), "torch.float32"),
        ("a.weight", (5,), "float32"),
        ("a.bias", (5,), "float32"),
        ("bn.running_var", (5,), "float32"),
        ("bn.running_mean", (5,), "float32"),
        ("temperature", (), "float32"),
        ("bn.num_batches_tracked", (), "int64"),
    ]
    for row in rows:
        ours, official = fill([row]), rule([row])
        assert ours.keys() == official.keys()
        assert all(np.array_equal(ours[name], official[name]) for name in ours)
