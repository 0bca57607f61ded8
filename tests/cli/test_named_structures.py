"""Models that name their structures: all of them without a prompt, some with --only, a part with --region."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vesalius as vs
from phantoms import ball, grids
from test_releases import fill, results
from vesalius.__main__ import main


@pytest.fixture
def call(tmp_path: Path) -> list[str]:
    """The command for an image and a folder of results of nnU-Net."""
    folder = results(tmp_path, "3d_fullres")
    fill(folder)
    vs.write(ball(grids()["isotropic"]), tmp_path / "ct.nii.gz")
    return ["segment", str(tmp_path / "ct.nii.gz"), "-m", str(folder), "-o", str(tmp_path / "mask.seg.nrrd")]


def masks(tmp_path: Path) -> dict[str, np.ndarray]:
    found = vs.read_segmentation(tmp_path / "mask.seg.nrrd")
    return {name: found.mask(name) for name in found.labels.names}


def test_without_a_prompt_everything_is_segmented(
    call: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overlay, report = tmp_path / "overlay.png", tmp_path / "run.json"
    assert main([*call, "--overlay", str(overlay), "--report", str(report)]) == 0
    said = capsys.readouterr().out
    assert "liver: " in said and "spleen: " in said
    assert set(masks(tmp_path)) == {"liver", "spleen"} and overlay.exists()


def test_only_some_structures_in_a_region(call: list[str], tmp_path: Path) -> None:
    assert main(call) == 0
    whole = masks(tmp_path)
    assert main([*call, "--only", "liver", "--region", "3,4,1:20,15,5"]) == 0
    found = masks(tmp_path)
    inside = np.zeros((26, 22, 7), bool)
    inside[3:21, 4:16, 1:6] = True
    assert set(found) == {"liver"} and np.array_equal(found["liver"], whole["liver"] & inside)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (["--only", "SPLEEM"], "did you mean spleen?"),
        (["--only", "xylophone"], "There is no structure 'xylophone'; choose among liver, spleen."),
        (["--point", "3,3,3"], "takes named; you gave a point"),
        (["--region", "3,3,3"], "--region 3,3,3 is not two corners"),
        (["--region", "90,3,3:99,4,4"], "outside the image"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    call: list[str], said: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*call, *said]) == 2
    assert sentence in capsys.readouterr().err


def test_a_warning_is_one_sentence_too(
    call: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ct = ball(grids()["isotropic"])
    mr = vs.Volume(ct.voxels, ct.grid, vs.Source(modality="MR"))
    monkeypatch.setattr("vesalius.io.read", lambda *_: mr)
    assert main(call) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "vesalius: Dataset009_Spleen was trained on CT alone, and the image says that it is MR."
    assert not any("Warning" in line for line in said)


def test_a_model_that_is_pointed_takes_no_region(call: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    call[call.index("-m") + 1] = "vesalius-s"
    assert main([*call, "--point", "3,3,3", "--region", "1,1,1:9,9,5"]) == 2
    assert "takes no region" in capsys.readouterr().err
    assert main(call) == 2
    assert "Nothing says what to segment" in capsys.readouterr().err
