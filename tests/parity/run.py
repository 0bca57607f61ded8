"""Run a model on a recording of its official implementation: `python tests/parity/run.py FOLDER [--case a]`.

Every tensor of the official state dict is filled by a rule, loaded as a released file is, and every recorded output
is compared; one line for each, exit code 1 if one is wrong or missing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from players import CARDS, MADE, PLAYERS
from recording import Check, Recording, read_names

from vesalius.errors import VesaliusError
from vesalius.hub import fit_weights, random_model
from vesalius.zoo import find_card


def main(arguments: list[str] | None = None) -> int:
    """Check the cases of a folder; 0 when everything agrees."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--case", help="one recording, golden_CASE.npz; default: all of the folder")
    parser.add_argument("--model", help="a card, or the folder whose model plays; default: the folder's name")
    chosen = parser.parse_args(arguments)
    name = chosen.model or chosen.folder.resolve().name
    cases = [chosen.case] if chosen.case else find_cases(chosen.folder)
    try:
        checks = [check for case in cases for check in run(chosen.folder, case, name)]
        checks = checks if cases else check_names(chosen.folder, name)
    except (VesaliusError, OSError) as error:
        print(f"{error} FAIL")
        return 1
    print(*checks, sep="\n")
    return 0 if checks and all(check.ok for check in checks) else 1


def find_cases(folder: Path) -> list[str]:
    """The cases that a folder holds."""
    return sorted(file.stem.removeprefix("golden_") for file in folder.glob("golden_*.npz"))


def run(folder: Path, case: str, name: str) -> list[Check]:
    """Play one case with the model called `name` and compare what was recorded."""
    recording = Recording(folder, case)
    made = MADE[name](recording.contract) if name in MADE else find_card(CARDS.get(name, name))
    model = made if isinstance(made, torch.nn.Module) else random_model(made, tiny=False)
    weights = {key: torch.from_numpy(array) for key, array in recording.weights().items()}
    fit_weights(model, weights, folder / "keys.txt")
    return recording.check(PLAYERS[model.card.entry](model, recording.inputs()))


def check_names(folder: Path, name: str) -> list[Check]:
    """For a folder without recordings: the model has exactly the tensors of the official one (no memory is used)."""
    card = find_card(CARDS.get(name, name))
    with torch.device("meta"):
        model = random_model(card, tiny=False)
        official = {key: torch.empty(shape) for key, shape, dtype in read_names(folder) if "float" in dtype}
        fit_weights(model, official, folder / "keys.txt")
    return [Check("keys.txt", 0, 0)]


if __name__ == "__main__":
    sys.exit(main())
