"""Everything that a user can get wrong ends in one sentence, exit code 2, and nothing written."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from vesalius import hub
from vesalius.__main__ import main
from vesalius.grid import make_grid
from vesalius.io import write
from vesalius.volume import Volume
from vesalius.zoo import find_card

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Refused:
    """Runs a command that must fail as the module says, and gives its sentence."""

    def run(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert main([str(argument) for argument in arguments]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("vesalius: ") and printed.err.endswith(".\n") and printed.err.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before
        return printed.err

    return run


def test_missing_image(refused: Refused, tmp_path: Path, model: str) -> None:
    assert "no file" in refused("segment", tmp_path / "none.nii.gz", "-m", model, "--point", "1,1,1")


def test_unknown_format(refused: Refused, tmp_path: Path, model: str) -> None:
    (tmp_path / "image.xyz").write_text("hello")
    assert "format" in refused("segment", tmp_path / "image.xyz", "-m", model, "--point", "1,1,1")


def test_truncated_gzip(refused: Refused, image: Path, model: str, middle: str) -> None:
    image.write_bytes(image.read_bytes()[:-200])
    assert "cut short" in refused("segment", image, "-m", model, "--point", middle)


def test_voxels_that_are_not_numbers(refused: Refused, tmp_path: Path, model: str) -> None:
    voxels = np.zeros((1, 8, 8, 8), np.float32)
    voxels[0, 3, 3, 3] = np.nan
    write(Volume(voxels, make_grid((8, 8, 8), np.eye(4))), tmp_path / "nan.nii.gz")
    assert "--fill" in refused("segment", tmp_path / "nan.nii.gz", "-m", model, "--point", "1,1,1")


def test_time_series(refused: Refused, tmp_path: Path, model: str) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 8, 5), np.int16), np.eye(4)), tmp_path / "bold.nii.gz")
    assert "series" in refused("segment", tmp_path / "bold.nii.gz", "-m", model, "--point", "1,1,1")


def test_singular_affine(refused: Refused, tmp_path: Path, model: str, image: Path) -> None:
    raw = bytearray(gzip.decompress(image.read_bytes()))
    raw[280:328] = bytes(48)  # the rows of the sform
    (tmp_path / "flat.nii").write_bytes(raw)
    assert "affine" in refused("segment", tmp_path / "flat.nii", "-m", model, "--point", "1,1,1")


def test_empty_dicom_folder(refused: Refused, tmp_path: Path, model: str) -> None:
    (tmp_path / "scan").mkdir()
    assert "DICOM" in refused("segment", tmp_path / "scan", "-m", model, "--point", "1,1,1")


@pytest.mark.parametrize("point", ["1;2;3", "1,2", "1,2,x", "", "1,2,3,4"])
def test_point_that_is_not_one(refused: Refused, image: Path, model: str, point: str) -> None:
    assert "i,j,k" in refused("segment", image, "-m", model, "--point", point)


@pytest.mark.parametrize("box", ["1,2,3", "1,2,3:4,5", "1,2,3:4,5,6:7,8,9"])
def test_box_that_is_not_one(refused: Refused, image: Path, model: str, box: str) -> None:
    assert "--box" in refused("segment", image, "-m", model, "--box", box)


@pytest.mark.parametrize("example", ["ct.nii.gz", "=mask.nii.gz", "a=b=c"])
def test_an_example_that_is_not_a_pair(refused: Refused, image: Path, model: str, example: str) -> None:
    assert "IMAGE=MASK" in refused("segment", image, "-m", model, "--example", example)


def test_an_example_that_is_not_there_or_not_taken(refused: Refused, image: Path, model: str) -> None:
    assert "no file" in refused("segment", image, "-m", model, "--example", f"{image}={image.with_name('none.png')}")
    assert "you gave an example" in refused("segment", image, "-m", model, "--example", f"{image}={image}")


def test_point_off_the_image(refused: Refused, image: Path, model: str) -> None:
    assert "outside" in refused("segment", image, "-m", model, "--point", "26,11,3")


def test_point_at_no_number(refused: Refused, image: Path, model: str) -> None:
    assert "not a number" in refused("segment", image, "-m", model, "--point", "nan,11,3")


def test_nothing_said(refused: Refused, image: Path, model: str) -> None:
    assert "--point" in refused("segment", image, "-m", model)


def test_millimetres_of_a_picture(refused: Refused, picture: Path, model: str) -> None:
    assert "column,row" in refused("segment", picture, "-m", model, "--mm", "--point", "1,1,1")


def test_prompt_that_the_model_does_not_take(refused: Refused, image: Path, model: str, tmp_path: Path) -> None:
    said = tmp_path / "said.json"
    said.write_text(
        json.dumps({"version": 1, "space": "RAS", "prompts": [{"kind": "text", "target": "1", "words": "liver"}]})
    )
    assert "box, point" in refused("segment", image, "-m", model, "--prompts", said)


def test_mask_of_another_shape(refused: Refused, image: Path, tmp_path: Path) -> None:
    mask = Volume(np.ones((1, 5, 5, 5), np.uint8), make_grid((5, 5, 5), np.eye(4)))
    write(mask, tmp_path / "mask.nrrd")
    said = {"version": 1, "space": "RAS", "prompts": [{"kind": "mask", "target": "1", "file": "mask.nrrd"}]}
    (tmp_path / "said.json").write_text(json.dumps(said))
    hub.save(hub.random_model(find_card("vesalius-s")), tmp_path / "saved")
    sentence = refused("segment", image, "-m", tmp_path / "saved", "--prompts", tmp_path / "said.json")
    assert "(5, 5, 5)" in sentence and "(26, 22, 7)" in sentence


def test_options_of_folders(refused: Refused, image: Path, model: str, middle: str) -> None:
    assert "folder" in refused("segment", image, "-m", model, "--point", middle, "--shard", "1/2")


def test_prompt_file_that_is_missing(refused: Refused, image: Path, model: str, tmp_path: Path) -> None:
    refused("segment", image, "-m", model, "--prompts", tmp_path / "none.json")


@pytest.mark.parametrize("window", ["5", "a,b", "300,-100"])
def test_window_that_is_not_one(refused: Refused, image: Path, model: str, middle: str, window: str) -> None:
    assert "LOW" in refused("segment", image, "-m", model, "--point", middle, "--window", window)


def test_plane_that_is_not_one(refused: Refused, image: Path, model: str, middle: str) -> None:
    assert "coronal" in refused("segment", image, "-m", model, "--point", middle, "--plane", "upper")


def test_unknown_model(refused: Refused, image: Path, middle: str) -> None:
    assert "medsam" in refused("segment", image, "-m", "medsan", "--point", middle)
    assert "medsam" in refused("models", "show", "medsan")
    assert "medsam" in refused("fetch", "medsan")


def test_wrong_checkpoint(refused: Refused, image: Path, middle: str, tmp_path: Path) -> None:
    import torch

    torch.save({"classifier.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    weights = ("--weights", tmp_path / "resnet.pth")
    sentence = refused("segment", image, "-m", "vesalius-s", *weights, "--point", middle)
    assert "classifier.weight" in sentence and "missing" in sentence


def test_model_file_without_the_class(refused: Refused, image: Path, middle: str, model: str) -> None:
    assert "Dark" in refused("segment", image, "-m", model.replace("Bright", "Dark"), "--point", middle)


@pytest.mark.parametrize("option", ["-o", "--report", "--overlay"])
def test_input_is_never_overwritten(refused: Refused, picture: Path, model: str, option: str) -> None:
    content = picture.read_bytes()
    assert "input" in refused("segment", picture, "-m", model, "--point", "22,12", option, picture)
    assert picture.read_bytes() == content


@pytest.mark.parametrize(
    "output", [("-o", "none/mask.nrrd"), ("--report", "none/run.json"), ("--overlay", "none/look.png")]
)
def test_output_folder_that_is_missing(
    refused: Refused, image: Path, model: str, middle: str, tmp_path: Path, output: tuple[str, str]
) -> None:
    assert "no folder" in refused("segment", image, "-m", model, "--point", middle, output[0], tmp_path / output[1])


def test_read_only_output_folder(
    refused: Refused, image: Path, model: str, middle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # whoever runs the tests may write anywhere
    assert "read-only" in refused("segment", image, "-m", model, "--point", middle)


@pytest.mark.parametrize(
    "output", [("-o", "mask.xyz"), ("-o", "mask.dcm"), ("-o", "mask.jpg"), ("--overlay", "look.jpg")]
)
def test_suffix_that_cannot_be_written(
    refused: Refused, image: Path, model: str, middle: str, tmp_path: Path, output: tuple[str, str]
) -> None:
    refused("segment", image, "-m", model, "--point", middle, output[0], tmp_path / output[1])


def test_disk_that_is_full(
    refused: Refused, image: Path, model: str, middle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert "space" in refused("segment", image, "-m", model, "--point", middle, "-o", tmp_path / "mask.nrrd")


def test_bug_keeps_its_traceback(image: Path, model: str, middle: str) -> None:
    with pytest.raises(KeyError):
        main(["segment", str(image), "-m", model.replace("Bright", "Broken"), "--point", middle])


def test_wrong_option_has_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "--no-such-option"]) == 2
    assert "No such option" in capsys.readouterr().err


def test_stopped_by_the_user(
    image: Path, model: str, middle: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vesalius.io.read", stop)
    assert main(["segment", str(image), "-m", model, "--point", middle]) == 130
    assert capsys.readouterr().err.startswith("vesalius: Stopped")
