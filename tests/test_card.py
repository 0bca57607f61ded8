"""Cards: what JSON must bring back."""

from __future__ import annotations

import json

import pytest

import vesalius as vs


@pytest.mark.parametrize("card", vs.CARDS, ids=lambda card: card.name)
def test_a_card_comes_back_from_json(card: vs.Card) -> None:
    assert vs.Card.from_json(json.loads(json.dumps(card.to_json()))) == card


def test_a_record_with_a_foreign_field_is_no_card() -> None:
    with pytest.raises(TypeError):
        vs.Card.from_json({**vs.CARDS[0].to_json(), "colour": "red"})
