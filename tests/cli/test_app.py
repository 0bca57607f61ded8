"""The whole command: its version, its help, and the demo."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import vesalius
from vesalius.__main__ import main


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{vesalius.__version__}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    help_ = capsys.readouterr().out
    commands = ("segment", "evaluate", "compare", "models", "fetch", "cache", "info", "convert", "demo")
    assert all(command in help_ for command in commands)
    assert "not a medical device" in help_.replace("\n ", "")


def test_demo_says_how_well_it_went(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run_demo(folder: Path) -> list[dict[str, object]]:
        assert folder == Path("there")
        return [
            {"target": "lung", "prompts": 2, "seconds": 1.25, "dice": 0.9},
            {"target": "cell", "prompts": 1, "seconds": 0.5},
        ]

    monkeypatch.setitem(sys.modules, "vesalius.demo", SimpleNamespace(run_demo=run_demo))
    assert main(["demo", "there"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "lung: 2 prompts, 1.2 s, Dice 0.900 against the reference"
    assert second == "cell: 1 prompts, 0.5 s"
