"""Model folders and archives as other projects release them, and the cards that they stand for."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from torch import Tensor

from vesalius.card import Card
from vesalius.checkpoint import read_checkpoint, read_pickle
from vesalius.download import hash_file
from vesalius.errors import CardError, VesaliusWarning
from vesalius.zoo import nninteractive, nnunet

CHECKPOINT = "checkpoint_final.pth"


def is_release(folder: Path) -> bool:
    """Whether a folder is one that others than vesalius made."""
    return (folder / "plans.json").is_file()


def read_release(folder: Path) -> tuple[Card, Path]:
    """The card and the weights of a folder of nnInteractive or of results of nnU-Net; raises CardError."""
    checkpoints = sorted(folder.glob(f"fold_*/{CHECKPOINT}"))
    if not checkpoints:
        raise CardError(f"{folder} has no fold_*/{CHECKPOINT}; name a folder with plans.json and trained folds.")
    for fold in sorted(set(folder.glob("fold_*")) - {file.parent for file in checkpoints}):
        told = f"{fold} holds no {CHECKPOINT} and is left out; finish its training, or remove it."
        warnings.warn(VesaliusWarning(told), stacklevel=2)
    settings = next((folder / name for name in nninteractive.SETTINGS if (folder / name).is_file()), None)
    try:
        if settings:
            card, weights = read_nninteractive(folder, settings, checkpoints)
        else:
            card, weights = read_nnunet(folder, checkpoints), folder
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CardError(f"{folder} is no release that we know ({error!r}); install a newer vesalius.") from None
    if len(checkpoints) > 1:  # no hash stands for several folds
        return card, weights
    stored = replace(card.weights, sha256=hash_file(checkpoints[0]), bytes=checkpoints[0].stat().st_size)
    return replace(card, weights=stored), weights


def read_nninteractive(folder: Path, settings: Path, checkpoints: list[Path]) -> tuple[Card, Path]:
    """The card and the checkpoint of a folder as nnInteractive releases it."""
    if len(checkpoints) != 1:
        raise CardError(f"{folder} must hold one file fold_*/{CHECKPOINT}, not {len(checkpoints)}; fetch it again.")
    licence = folder / "LICENSE"
    plans = read_json(folder / "plans.json")
    card = nninteractive.released_card(
        folder.name,
        configuration(plans, read_told(checkpoints[0])["init_args"]["configuration"]),
        read_json(settings),
        licence.read_text(encoding="utf-8").strip().partition("\n")[0] if licence.is_file() else "",
    )
    return card, checkpoints[0]


def read_nnunet(folder: Path, checkpoints: list[Path]) -> Card:
    """The card of a folder of results of nnU-Net; of a cascade with that of the stage before, in the folder beside."""
    plans, dataset = read_json(folder / "plans.json"), read_json(folder / "dataset.json")
    told = read_told(checkpoints[0]) | {"folds": len(checkpoints)}
    own = configuration(plans, told["init_args"]["configuration"])
    card = nnunet.result_card(plans, own, dataset, told)
    if not own.get("previous_stage"):
        return card
    before = stage_before(folder)
    previous, _ = read_release(before)
    told_sizes: Any = card.options["sizes"]
    sizes = told_sizes | {"channels": told_sizes["channels"] + len(previous.labels)}
    return replace(card, options={**card.options, "sizes": sizes, "previous": previous.options})


def stage_before(folder: Path) -> Path:
    """The folder of the stage before that of a cascade; raises CardError where it is missing."""
    trainer, plans_name, name = folder.resolve().name.split("__")
    stage = configuration(read_json(folder / "plans.json"), name).get("previous_stage")
    before = folder.resolve().with_name(f"{trainer}__{plans_name}__{stage}")
    if not before.is_dir():
        raise CardError(f"{folder} goes on from {before.name}, which is not beside it; put it there.")
    return before


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file or, of a folder of results of nnU-Net, those of all folds, numbered."""
    if not file.is_dir():
        return read_checkpoint(file)
    members = sorted(file.glob(f"fold_*/{CHECKPOINT}")) or sorted(file.glob("fold_*/*.model"))
    state = {
        f"networks.{n}.{name}": tensor
        for n, member in enumerate(members)
        for name, tensor in read_checkpoint(member).items()
    }
    if (file / "plans.json").is_file() and "cascade" in file.name:
        state |= {f"previous.{name}": tensor for name, tensor in read_weights(stage_before(file)).items()}
    return state


def open_archive(card: Card, archive: Path) -> tuple[Card, Path]:
    """A card as the plans in its zip archive tell it, and the weights, which are unpacked beside the archive.

    Without plans, as nnU-Net v1 released its models, the card's "member" names the checkpoints. Raises CardError.
    """
    folder = archive.with_suffix("")
    try:
        if not folder.is_dir():
            part = folder.with_name(f"{folder.name}.part")
            with ZipFile(archive) as packed:
                packed.extractall(part)
            part.replace(folder)
    except (OSError, BadZipFile) as error:
        raise CardError(f"{archive} cannot be unpacked ({error}); fetch it again.") from None
    found = next((plans.parent for plans in sorted(folder.rglob("plans.json"))), None)
    if found:
        released, weights = read_release(found)
        options = {**released.options, "axes": card.options["axes"]}  # which a reader's name does not tell
        return replace(card, options=options, labels=released.labels), weights
    member = card.options.get("member")
    checkpoints = sorted(folder.rglob(str(member))) if member else []
    if not checkpoints:
        raise CardError(f"{archive} holds neither plans.json nor the checkpoints of {card.name}; fetch it again.")
    return replace(card, options={**card.options, "folds": len(checkpoints)}), checkpoints[0].parent.parent


def read_json(file: Path) -> Any:
    """What a JSON file holds; raises CardError."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CardError(f"{file} is missing; copy the whole folder of results again.") from None
    except (OSError, ValueError) as error:
        raise CardError(f"{file} cannot be read ({error}); fetch it again.") from None


def read_told(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint of nnU-Net says beside its tensors."""
    try:
        record: Any = read_pickle(checkpoint)
    except Exception as error:  # a broken pickle can raise anything
        raise CardError(f"{checkpoint} is broken or is not a checkpoint ({error}); fetch it again.") from None
    return {name: record.get(name) for name in ("init_args", "trainer_name", "inference_allowed_mirroring_axes")}


def configuration(plans: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A configuration of nnU-Net's plans together with those that it inherits from."""
    own = plans["configurations"][name]
    return (configuration(plans, own["inherits_from"]) if "inherits_from" in own else {}) | own
