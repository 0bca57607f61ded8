"""`vesalius models`, `vesalius fetch` and `vesalius cache`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from vesalius import zoo
from vesalius.__main__ import main
from vesalius.card import Weights
from vesalius.zoo import CARDS, find_card


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that is empty."""
    monkeypatch.setenv("VESALIUS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_every_model_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == [card.name for card in CARDS]
    assert main(["models", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert all(record["licence"]["weights"] and record["accepts"] for record in records)


def test_a_card_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "medsam"]) == 0
    assert find_card("medsam").weights.sha256 in capsys.readouterr().out
    assert main(["models", "show", "medsam", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "medsam"


def test_weights_are_fetched_listed_and_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.pth").write_bytes(b"tensors")
    weights = Weights((str((tmp_path / "tiny.pth").as_uri()),), "tiny.pth")
    monkeypatch.setattr(zoo, "CARDS", (replace(find_card("medsam"), name="tiny", weights=weights),))
    monkeypatch.delenv("VESALIUS_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert main(["fetch", "tiny"]) == 0
    assert Path(capsys.readouterr().out.strip()).read_bytes() == b"tensors"
    assert main(["cache", "list", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["name"], entry["bytes"], entry["pinned"]) == ("tiny", 7, False)
    assert main(["cache"]) == 0
    assert "unpinned" in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert not Path(entry["file"]).exists()


def test_clearing_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "clear", "medsam"]) == 2
    assert "medsam" in capsys.readouterr().err


def test_a_restricted_licence_is_asked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.pth").write_bytes(b"tensors")
    weights = Weights((str((tmp_path / "tiny.pth").as_uri()),), "tiny.pth")
    restricted = replace(find_card("medsam").licence, weights="CC-BY-NC-4.0", commercial=False)
    card = replace(find_card("medsam"), name="tiny", weights=weights, licence=restricted)
    monkeypatch.setattr(zoo, "CARDS", (card,))
    for name in ("VESALIUS_OFFLINE", "HF_HUB_OFFLINE", "VESALIUS_ACCEPT_LICENCE"):
        monkeypatch.delenv(name, raising=False)
    assert main(["fetch", "tiny"]) == 2
    assert "--accept-licence CC-BY-NC-4.0" in capsys.readouterr().err
    assert main(["fetch", "tiny", "--accept-licence", "CC-BY-NC-4.0"]) == 0
    assert main(["cache", "clear"]) == 0
    assert main(["fetch", "tiny"]) == 0
