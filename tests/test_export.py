"""Models as ONNX files: they say what torch says, run without it, name no place of this machine, are all or none."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vesalius as vs
from vesalius.hub import fastest_precision, random_model, set_precision
from vesalius.models.vesalius_s import VesaliusS
from vesalius.report import make_report

onnxruntime = pytest.importorskip("onnxruntime", reason="needs vesalius[export]")
pytest.importorskip("onnxscript", reason="needs vesalius[export]")

from vesalius import export  # noqa: E402

ROOT = Path(__file__).parents[1]
TINY = {"encoder": "tiny_vit_nano", "size": 64}


def make_model(seed: int) -> VesaliusS:
    """A small random model in which nothing is zero."""
    card = replace(vs.find_card("vesalius-s"), entry="vesalius.models.vesalius_s:VesaliusS", options=TINY, tiny={})
    model: VesaliusS = random_model(card, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return model


@pytest.fixture(scope="module")
def model() -> VesaliusS:
    return make_model(0)


@pytest.fixture(scope="module")
def folder(model: VesaliusS, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `export_model` writes, made once: it takes seconds."""
    folder = tmp_path_factory.mktemp("onnx")
    export.export_model(model, folder, int8=True)
    return folder


@pytest.fixture
def quick(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every encoder and decoder is from now on a copy of those of `folder`, and the cache is empty."""
    monkeypatch.setattr(export, "write_encoder", lambda model, file: shutil.copy(folder / "encoder.onnx", file))
    monkeypatch.setattr(export, "write_decoder", lambda model, file: shutil.copy(folder / "decoder.onnx", file))
    monkeypatch.setenv("VESALIUS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def image(tmp_path: Path) -> vs.Volume:
    """A grey picture, 40 columns by 30 rows, with a bright square."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(30, 60, (30, 40), dtype=np.uint8)
    pixels[5:15, 20:30] += 160
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return vs.read(tmp_path / "photo.png")


@torch.inference_mode()
@pytest.mark.parametrize("sets", [1, 2, 5])
@pytest.mark.parametrize("prompts", [0, 1, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_any_number_of_prompts_gives_what_torch_gives(
    model: VesaliusS, folder: Path, sets: int, prompts: int, masked: bool
) -> None:
    pixels = torch.randn(1, 3, 64, 64)
    features = model.encode(pixels)
    points, labels = 64 * torch.rand(sets, prompts, 2), torch.randint(-1, 4, (sets, prompts))
    mask = 5 * torch.randn(sets, 1, 32, 32) if masked else None
    strokes = (torch.rand(sets, 2, 32, 32) > 0.9).float() if masked else None
    masks, dice = model.decode(features, points, labels, mask, strokes)
    found = export.open_session(folder / "encoder.onnx").run(None, {"pixels": pixels.numpy()})
    said = {
        "points": points.numpy(),
        "labels": labels.numpy(),
        "mask": torch.randn(sets, 1, 32, 32).numpy() if mask is None else mask.numpy(),  # not looked at without a flag
        "has_mask": np.full(sets, masked, np.float32),
        "strokes": np.zeros((sets, 2, 32, 32), np.float32) if strokes is None else strokes.numpy(),
    }
    answers = export.open_session(folder / "decoder.onnx").run(
        ["masks", "dice"], dict(zip(export.FEATURES, found, strict=True)) | said
    )
    assert np.abs(answers[0] - masks.numpy()).max() < 1e-3 * masks.abs().max()
    np.testing.assert_allclose(answers[1], dice.clamp(0, 1).numpy(), atol=1e-3)


def test_the_record_says_what_the_files_are(model: VesaliusS, folder: Path) -> None:
    record = json.loads((folder / "model.json").read_text())
    assert record["licence"]["weights"] == model.card.licence.weights
    assert record["agreement"]["encoder"] < 1e-3 and record["agreement"]["decoder"] < 1e-3
    assert set(record["files"]) == {"encoder.onnx", "encoder_int8.onnx", "decoder.onnx"}
    for name, file in record["files"].items():
        assert (folder / name).stat().st_size == file["bytes"]
    inputs = {entry.name for entry in export.open_session(folder / "decoder.onnx").get_inputs()}
    assert inputs - set(export.FEATURES) == set(record["decoder"]) - set(export.ANSWERS)
    assert len(record["int8"]["dice_to_fp32"]) == 4 and min(record["int8"]["dice_to_fp32"]) > 0.8


def test_no_place_of_this_machine_is_in_the_files(folder: Path) -> None:
    places = (Path(export.__file__).parent, Path(torch.__file__).parent, Path.home(), folder.parent)
    for file in folder.glob("*"):
        content = file.read_bytes()
        assert not [place for place in places if str(place).encode() in content], file.name
        assert b".py" not in content, file.name


def test_the_example_needs_neither_torch_nor_vesalius(
    model: VesaliusS, folder: Path, image: vs.Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "onnx")
    run = (
        "import runpy, sys, numpy; sys.modules.update(torch=None, vesalius=None);"
        " numpy.save('masks.npy', runpy.run_path(sys.argv[1])['masks'])"
    )
    subprocess.run([sys.executable, "-c", run, str(ROOT / "docs_src/without_torch.py")], cwd=tmp_path, check=True)
    decoded: list[Any] = []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda *said: (decoded.append(decode(*said)), decoded[-1])[1])
    own = vs.Session(model, image).add(vs.Point.from_index(image.grid, (25, 9, 0))).mask("1")
    masks = decoded[0][0].numpy()
    np.testing.assert_allclose(np.load(tmp_path / "masks.npy"), masks, rtol=0, atol=1e-3 * np.abs(masks).max())
    assert ((vs.read(tmp_path / "mask.png").voxels[0] > 0) == own).mean() > 0.99


@pytest.mark.usefixtures("quick")
def test_files_that_differ_from_torch_are_not_kept(tmp_path: Path) -> None:
    with pytest.raises(vs.CardError, match=r"encoder.onnx differs from torch .* nothing was written"):
        export.export_model(make_model(1), tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_what_cannot_be_exported_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sam: Any = random_model(vs.find_card("mobile-sam"))
    with pytest.raises(vs.CardError, match="Sam models cannot be exported"):
        export.export_model(sam, tmp_path)
    with pytest.raises(vs.CardError, match="Sam models cannot be exported"):
        set_precision(sam, "cpu", "onnx")
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(vs.CardError, match=r"onnxruntime: pip install 'vesalius\[export\]'"):
        export.export_model(make_model(0), tmp_path)


@pytest.mark.usefixtures("quick")
def test_a_session_runs_on_onnx(image: vs.Volume, tmp_path: Path) -> None:
    click = vs.Point.from_index(image.grid, (25, 9, 0))
    model = make_model(0)
    plain = vs.Session(model, image).add(click).mask("1")
    set_precision(model, "cpu", "onnx")
    session = vs.Session(model, image)
    np.testing.assert_array_equal(session.add(click).mask("1"), plain)
    assert make_report(session, "photo.png")["model"]["precision"] == "onnx"  # type: ignore[index]
    (file,) = (tmp_path / "cache/onnx").iterdir()
    before = file.stat().st_mtime_ns
    set_precision(model, "cpu", "onnx")
    assert file.stat().st_mtime_ns == before


@pytest.mark.usefixtures("quick")
def test_weights_that_change_are_noticed(image: vs.Volume) -> None:
    model = make_model(0)
    set_precision(model, "cpu", "onnx")
    with torch.no_grad():
        next(model.parameters()).add_(1)
    with pytest.raises(vs.CardError, match="weights changed"):
        vs.Session(model, image).add(vs.Point.from_index(image.grid, (25, 9, 0)))
    with pytest.raises(vs.CardError, match="differs from torch"):  # another key in the cache, and so a new export
        set_precision(model, "cpu", "onnx")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("seconds", "chosen"), [((0.05, 0.04, 0.02), "onnx"), ((0.05, 0.02, 0.03), "bf16"), ((0.03, 0.04, 0.028), "fp32")]
)
def test_onnx_is_chosen_where_it_is_fastest(
    monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, ...], chosen: str
) -> None:
    measured = dict(zip(("fp32", "bf16", "onnx"), seconds, strict=True))
    monkeypatch.setattr("vesalius.hub.measure_precisions", lambda model, onnx: measured)
    model = make_model(0)
    precision, reason = fastest_precision(model, "cpu")
    assert precision == chosen and f"{1000 * seconds[2]:.0f} ms in onnx" in reason
    set_precision(model, "cpu", "auto")
    assert model.precision == chosen


@pytest.mark.usefixtures("quick")
def test_all_three_are_measured() -> None:
    from vesalius.hub import measure_precisions

    seconds = measure_precisions(make_model(0), onnx=True)
    assert list(seconds) == ["fp32", "bf16", "onnx"] and min(seconds.values()) > 0
