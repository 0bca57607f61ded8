"""`vesalius export`: what is passed on and printed, and what is refused before anything is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vesalius import export, hub
from vesalius.__main__ import main
from vesalius.models.vesalius_s import VesaliusS

RECORD = {
    "files": {"decoder.onnx": {"bytes": 20_000_000}},
    "agreement": {"encoder": 3e-6, "decoder": 1.4e-6},
    "int8": {"dice_to_fp32": [0.9848]},
}


def test_the_files_and_how_well_they_agree_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(export, "PACKAGES", ())
    monkeypatch.setattr(export, "export_model", lambda *arguments: (asked.append(arguments), RECORD)[1])
    monkeypatch.setattr(hub, "find_model", lambda name: (VesaliusS, None, None))
    monkeypatch.setattr(hub, "load", lambda *arguments, precision: (*arguments, precision))
    assert main(["export", "vesalius-s", "--onnx", str(tmp_path), "--int8"]) == 0
    assert asked == [(("vesalius-s", None, "fp32"), tmp_path, True)]
    printed = capsys.readouterr().out
    assert "decoder.onnx  20.0 MB" in printed and "encoder 3.0e-06, decoder 1.4e-06" in printed and "0.9848" in printed


def test_a_model_without_an_onnx_form_is_refused_before_it_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "sam-vit-h", "--onnx", str(tmp_path / "onnx")]) == 2
    assert "Sam models cannot be exported" in capsys.readouterr().err
    assert not (tmp_path / "onnx").exists()


def test_a_missing_extra_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "PACKAGES", ("no_such_package",))
    monkeypatch.setattr(hub, "find_model", lambda name: (VesaliusS, None, None))
    assert main(["export", "vesalius-s", "--onnx", str(tmp_path)]) == 2
    assert "pip install 'vesalius[export]'" in capsys.readouterr().err
