"""The demonstration: the main job from installed package to files, with the embedded weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import vesalius as vs
from vesalius.demo import run_demo


def test_the_demo_segments_real_images_and_writes_everything(tmp_path: Path) -> None:
    records = {record["target"]: record for record in run_demo(tmp_path)}
    assert set(records) == {"right lung", "left lung", "thoracic spine", "cell"}
    assert min(records[name]["dice"] for name in ("right lung", "left lung")) > 0.85
    assert records["thoracic spine"]["dice"] > 0.6
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {f"{stem}{suffix}" for stem in ("chest", "cell") for suffix in (".seg.nrrd", ".png", ".json")}
    chest = vs.read_segmentation(tmp_path / "chest.seg.nrrd")
    assert chest.labels.names == ("right lung", "left lung", "thoracic spine")
    assert json.loads((tmp_path / "chest.json").read_text())["model"]["name"] == "vesalius-s"


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vesalius.demo.find_spec", lambda name: None)
    with pytest.raises(vs.FormatError, match=r"slicerio.*vesalius\[demo\]"):
        run_demo(tmp_path)
