"""The table of checkpoints: names, suggestions, and what must be stated of each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import vesalius as vs
from vesalius.prompts import KINDS
from vesalius.zoo import DEFAULT


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(vs.CardError, match=r"did you mean mobile-sam.*see `vesalius models`"):
        vs.find_card("mobilesam")


def test_a_far_name_suggests_nothing() -> None:
    with pytest.raises(vs.CardError) as caught:
        vs.find_card("qqqq")
    assert "did you mean" not in str(caught.value)


def test_names_are_unique_and_the_default_is_among_them() -> None:
    names = [card.name for card in vs.CARDS]
    assert len(set(names)) == len(names)
    assert vs.find_card(DEFAULT).weights.urls[0].startswith("package:")


@pytest.mark.parametrize("card", vs.CARDS, ids=lambda card: card.name)
def test_every_card_states_what_a_user_must_know(card: vs.Card) -> None:
    assert card.accepts <= set(KINDS)
    assert card.licence.code and card.licence.weights and card.paper and card.trained_on
    assert card.preprocessing.endswith(".") and card.summary.endswith(".")
    assert (card.weights.file and card.weights.urls) or all(vs.find_card(part).weights.urls for part in card.parts)
    assert all(url.startswith(("https://", "hf:", "package:")) for url in card.weights.urls)
    assert len(card.weights.sha256) in (0, 64)


def test_the_default_names_the_licence_of_every_data_set_it_learned_from(shared: Path) -> None:
    stated = vs.find_card(DEFAULT).trained_on
    for name, licence in stated.items():
        assert licence == json.loads((shared / "data" / name / "dataset.json").read_text())["licence"]
    assert not {"slicerio_chest_ct", "synthseg_labelmaps"} & set(stated)
    note = vs.find_card(DEFAULT).licence.note
    assert all(name in note for name, licence in stated.items() if licence == "CC-BY-SA-4.0")


def test_cards_and_downloads_import_the_standard_library_only() -> None:
    code = """
import sys
before = set(sys.modules)
import vesalius.card, vesalius.download, vesalius.errors, vesalius.zoo
roots = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(roots - set(sys.stdlib_module_names) - {"vesalius"}))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
