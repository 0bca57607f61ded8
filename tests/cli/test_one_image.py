"""`vesalius segment` on one image: where the mask lands, what it is called, and what is said about it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phantoms import ball
from vesalius import hub
from vesalius.__main__ import main
from vesalius.grid import Grid
from vesalius.io import read, read_segmentation, write
from vesalius.volume import Volume
from vesalius.zoo import find_card


def test_mask_is_the_ball_on_the_image_grid(image: Path, model: str, middle: str, grid: Grid) -> None:
    assert main(["segment", str(image), "-m", model, "--point", middle, "--target", "ball"]) == 0
    mask = read_segmentation(image.with_name("ct_mask.nii.gz"))
    truth = ball(grid).voxels[0] > 150
    assert mask.grid.same_as(read(image).grid)
    assert (mask.mask("ball") != truth).mean() < 0.01


def test_positions_in_mm_may_be_negative(image: Path, model: str, middle: str, grid: Grid, tmp_path: Path) -> None:
    at = ",".join(f"{mm:g}" for mm in grid.world([n // 2 for n in grid.shape]))
    assert at.startswith("-")
    main(["segment", str(image), "-m", model, "--point", middle, "-o", str(tmp_path / "index.nrrd")])
    assert main(["segment", str(image), "-m", model, "--mm", "--point", at, "-o", str(tmp_path / "mm.nrrd")]) == 0
    of_index, of_mm = (read_segmentation(tmp_path / name).layers for name in ("index.nrrd", "mm.nrrd"))
    assert of_index.any() and np.array_equal(of_index, of_mm)


def test_box_has_its_corners_inside(image: Path, model: str, grid: Grid, tmp_path: Path) -> None:
    report = tmp_path / "run.json"
    code = main(["segment", str(image), "-m", model, "--box", "9,8.5,2:16,13,4", "--report", str(report)])
    (box,) = json.loads(report.read_text())["history"][0]["prompts"]
    assert code == 0
    assert np.allclose(grid.index([box["corner"], box["opposite"]]), [[9, 8.5, 2], [16, 13, 4]])


def test_picture_takes_column_and_row(picture: Path, model: str) -> None:
    assert main(["segment", str(picture), "-m", model, "--point", "22,12"]) == 0
    mask = np.array(Image.open(picture.with_name("photo_mask.png")))
    assert mask.shape == (30, 40)
    assert (np.argwhere(mask).min(axis=0) == (5, 20)).all() and (np.argwhere(mask).max(axis=0) == (14, 29)).all()


def test_jpeg_gets_a_mask_that_is_not_blurred(picture: Path, model: str) -> None:
    jpeg = picture.with_suffix(".jpg")
    Image.open(picture).save(jpeg)
    assert main(["segment", str(jpeg), "-m", model, "--point", "22,12"]) == 0
    assert set(np.unique(Image.open(picture.with_name("photo_mask.png")))) == {0, 1}


def test_all_prompts_of_a_target_are_said_at_once(image: Path, model: str, middle: str, tmp_path: Path) -> None:
    i, j, k = map(float, middle.split(","))
    at = [{"kind": "point", "target": "ball", "positive": True, "at": [i + step, j, k]} for step in (0, 1)]
    background = {"kind": "point", "target": "background", "positive": True, "at": [0, 0, 0]}
    said, report = tmp_path / "said.json", tmp_path / "run.json"
    said.write_text(json.dumps({"version": 1, "space": "index", "prompts": [*at, background]}))
    call = ["segment", str(image), "-m", model, "--prompts", str(said), "--report", str(report)]
    assert main([*call, "--negative", "1,1,1", "--target", "ball"]) == 0
    history = json.loads(report.read_text())["history"]
    assert [(step["target"], len(step["prompts"])) for step in history] == [("ball", 3), ("background", 1)]
    assert set(read_segmentation(image.with_name("ct_mask.nii.gz")).labels.names) == {"ball", "background"}


def test_report_overlay_and_json(
    image: Path, model: str, middle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, overlay = tmp_path / "run.json", tmp_path / "look.png"
    call = ["segment", str(image), "-m", model, "--point", middle, "--window", "-50,300", "--json"]
    assert main([*call, "--report", str(report), "--overlay", str(overlay)]) == 0
    printed = json.loads(capsys.readouterr().out)
    written = json.loads(report.read_text())
    assert printed.pop("mask") == str(image.with_name("ct_mask.nii.gz"))
    assert printed == written
    assert written["window"] == {"low": -50, "high": 300, "rule": "given by the user"}
    assert set(written["seconds"]) == {"read", "load", "add 1", "write"}
    assert Image.open(overlay).width > 512


def test_folder_is_never_named_in_the_report(image: Path, model: str, middle: str, tmp_path: Path) -> None:
    report = tmp_path / "run.json"
    main(["segment", str(image), "-m", model, "--point", middle, "--report", str(report)])
    assert tmp_path.name not in report.read_text()
    assert json.loads(report.read_text())["image"]["name"] == "ct.nii.gz"


def test_dicom_gives_seg_nrrd_and_no_word_of_the_patient(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, report, overlay = tmp_path / "scan", tmp_path / "run.json", tmp_path / "look.png"
    dicom_series(folder)
    call = ["segment", str(folder), "-m", model, "--point", "10,12,3", "--json"]
    assert main([*call, "--report", str(report), "--overlay", str(overlay)]) == 0
    assert read_segmentation(tmp_path / "scan.seg.nrrd").mask("1")[10, 12, 3]
    assert main(["info", str(folder)]) == 0
    printed = capsys.readouterr()
    told = report.read_text() + printed.out + printed.err + overlay.read_bytes().decode("latin1")
    assert not any(secret in told for secret in ("SECRET", "4711", "1.2.826"))


def dicom_series(folder: Path) -> None:
    """Six slices of a CT of somebody, 24 columns by 20 rows, with a dense block."""
    import SimpleITK as sitk

    folder.mkdir()
    for n in range(6):
        pixels = np.full((1, 20, 24), -1000, np.int16)
        pixels[0, 8:16, 6:14] = 60
        image = sitk.GetImageFromArray(pixels)
        image.SetSpacing((0.7, 0.7, 3.0))
        tags = {"0008|0060": "CT", "0010|0010": "SECRET^PERSON", "0010|0020": "4711", "0008|103e": "SECRET"}
        tags |= {"0020|000d": "1.2.826.1", "0020|000e": "1.2.826.2", "0008|0018": f"1.2.826.3.{n}"}
        tags |= {"0020|0032": f"0\\0\\{3 * n}", "0020|0037": "1\\0\\0\\0\\1\\0", "0020|0013": str(n)}
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"{n}.dcm"))
        writer.Execute(image)


def test_words_for_people(image: Path, model: str, middle: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["segment", str(image), "-m", model, "--point", middle, "--target", "ball"])
    first, second = capsys.readouterr().out.splitlines()
    assert first == "ball: 0.806 ml, 420 voxels, predicted Dice 0.90"
    assert second == str(image.with_name("ct_mask.nii.gz"))


def test_network_of_the_zoo_in_a_folder(picture: Path, tmp_path: Path) -> None:
    hub.save(hub.random_model(find_card("vesalius-s")), tmp_path / "saved")
    report = tmp_path / "run.json"
    call = ["segment", str(picture), "-m", str(tmp_path / "saved"), "--precision", "fp32", "--point", "22,12"]
    assert main([*call, "--report", str(report)]) == 0
    model = json.loads(report.read_text())["model"]
    assert (model["device"], model["precision"]) == ("cpu", "fp32")
    assert model["weights"]["pinned"] and len(model["weights"]["sha256"]) == 64
    assert picture.with_name("photo_mask.png").exists()


SMALL = """
from dataclasses import replace

import torch

from vesalius.card import APACHE, Weights
from vesalius.models.universeg import UniverSeg
from vesalius.zoo import find_card


class Small(UniverSeg):
    card = find_card("universeg")
    card = replace(card, options={**card.options, **card.tiny}, weights=Weights((), ""), licence=APACHE)

    def __init__(self, options):
        torch.manual_seed(0)
        super().__init__(options)
"""


def test_examples_are_given_as_files_or_in_a_prompt_file(
    picture: Path, image: Path, grid: Grid, tmp_path: Path
) -> None:
    (tmp_path / "small.py").write_text(SMALL)
    Image.fromarray((np.array(Image.open(picture)) > 100).astype(np.uint8) * 255).save(tmp_path / "photo_truth.png")
    write(Volume((ball(grid).voxels > 150).astype(np.uint8), grid), tmp_path / "truth.nii.gz")
    pairs = [(picture, tmp_path / "photo_truth.png"), (image, tmp_path / "truth.nii.gz")]
    call = ["segment", str(image), "-m", f"{tmp_path / 'small.py'}:Small", "--target", "ball"]
    examples = [word for one, mask in pairs for word in ("--example", f"{one}={mask}")]
    report, overlay = tmp_path / "run.json", tmp_path / "look.png"
    outputs = ["-o", str(tmp_path / "a.nrrd"), "--report", str(report), "--overlay", str(overlay)]
    assert main([*call, *examples, *outputs]) == 0
    told = json.loads(report.read_text())["history"][0]["prompts"]
    assert [prompt["kind"] for prompt in told] == ["example", "example"] and "zlib" not in str(told)
    assert overlay.exists()
    said = tmp_path / "said.json"
    prompts = [{"kind": "example", "image": one.name, "mask": mask.name} for one, mask in pairs]
    said.write_text(json.dumps({"version": 1, "space": "RAS", "prompts": prompts}))
    assert main([*call, "--prompts", str(said), "-o", str(tmp_path / "b.nrrd")]) == 0
    masks = [read_segmentation(tmp_path / name).mask("ball") for name in ("a.nrrd", "b.nrrd")]
    assert masks[0].any() and np.array_equal(masks[0], masks[1])


def test_embeddings_are_kept_for_the_next_run(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.save(hub.random_model(find_card("mobile-sam")), tmp_path / "small")
    capsys.readouterr()
    call = ["segment", str(picture), "-m", str(tmp_path / "small"), "--point", "22,12", "--precision", "fp32"]
    call += ["--embeddings", str(tmp_path / "kept")]
    assert main(call) == 0
    mask = picture.with_name("photo_mask.png")
    first = mask.read_bytes()
    monkeypatch.setattr("vesalius.models.sam.Sam.encode", None)
    assert main(call) == 0
    assert mask.read_bytes() == first and len(list((tmp_path / "kept").iterdir())) == 1


def test_everything_needs_no_prompt(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    hub.save(hub.random_model(find_card("mobile-sam")), tmp_path / "small")
    call = ["segment", str(picture), "-m", str(tmp_path / "small"), "--precision", "fp32", "--everything"]
    report = tmp_path / "run.json"
    assert main([*call, "--report", str(report)]) == 0
    found = json.loads(report.read_text())["targets"]
    assert set(np.unique(Image.open(picture.with_name("photo_mask.png")))) == {0, *map(int, found)}
    capsys.readouterr()
    assert main([*call, "--point", "22,12"]) == 2
    assert "--everything takes no prompts" in capsys.readouterr().err


def test_everything_in_a_volume_needs_a_slice(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    hub.save(hub.random_model(find_card("mobile-sam")), tmp_path / "small")
    call = ["segment", str(image), "-m", str(tmp_path / "small"), "--precision", "fp32", "--everything"]
    assert main(call) == 2
    assert "one voxel thick" in capsys.readouterr().err
    assert main([*call, "--region", "0,0,2:25,21,2"]) == 0
