"""Model folders as other projects release them, and the cards that they stand for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vesalius.card import Card
from vesalius.checkpoint import read_pickle
from vesalius.download import hash_file
from vesalius.errors import CardError
from vesalius.zoo import nninteractive

CHECKPOINT = "checkpoint_final.pth"


def is_release(folder: Path) -> bool:
    """Whether a folder is one that others than vesalius made."""
    return (folder / "plans.json").is_file()


def read_release(folder: Path) -> tuple[Card, Path]:
    """The card and the checkpoint of a folder as nnInteractive releases it; raises CardError."""
    settings = next((folder / name for name in nninteractive.SETTINGS if (folder / name).is_file()), None)
    if settings is None:
        raise CardError(f"{folder} has none of {', '.join(nninteractive.SETTINGS)}; name a released model's folder.")
    checkpoints = sorted(folder.glob(f"fold_*/{CHECKPOINT}"))
    if len(checkpoints) != 1:
        raise CardError(f"{folder} must hold one file fold_*/{CHECKPOINT}, not {len(checkpoints)}; fetch it again.")
    licence = folder / "LICENSE"
    try:
        plans = read_json(folder / "plans.json")
        card = nninteractive.released_card(
            folder.name,
            configuration(plans, read_configuration(checkpoints[0])),
            read_json(settings),
            licence.read_text(encoding="utf-8").strip().partition("\n")[0] if licence.is_file() else "",
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CardError(f"{folder} is no release of nnInteractive that we know ({error!r}); fetch it again.") from None
    stored = replace(card.weights, sha256=hash_file(checkpoints[0]), bytes=checkpoints[0].stat().st_size)
    return replace(card, weights=stored), checkpoints[0]


def read_json(file: Path) -> Any:
    """What a JSON file holds; raises CardError."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CardError(f"{file} cannot be read ({error}); fetch it again.") from None


def read_configuration(checkpoint: Path) -> str:
    """The configuration of its plans that a checkpoint of nnU-Net was trained with."""
    try:
        record: Any = read_pickle(checkpoint)
    except Exception as error:  # a broken pickle can raise anything
        raise CardError(f"{checkpoint} is broken or is not a checkpoint ({error}); fetch it again.") from None
    return str(record["init_args"]["configuration"])


def configuration(plans: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A configuration of nnU-Net's plans together with those that it inherits from."""
    own = plans["configurations"][name]
    return (configuration(plans, own["inherits_from"]) if "inherits_from" in own else {}) | own
