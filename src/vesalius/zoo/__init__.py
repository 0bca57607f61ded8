"""The table of checkpoints: one file of cards for each family, in the order in which they are listed."""

from __future__ import annotations

from difflib import get_close_matches

from vesalius.card import Card
from vesalius.errors import CardError
from vesalius.zoo import (
    clip_driven,
    nninteractive,
    nnunet,
    sam,
    sam2,
    sam_med2d,
    sam_med3d,
    scribbleprompt,
    universeg,
    vesalius_s,
)

DEFAULT = "vesalius-s"
CARDS: tuple[Card, ...] = (
    *vesalius_s.CARDS,
    *sam.CARDS,
    *sam2.CARDS,
    *sam_med2d.CARDS,
    *sam_med3d.CARDS,
    *nninteractive.CARDS,
    *nnunet.CARDS,
    *clip_driven.CARDS,
    *scribbleprompt.CARDS,
    *universeg.CARDS,
)


def find_card(name: str) -> Card:
    """The card called `name`; raises CardError with the nearest names."""
    names = [card.name for card in CARDS]
    if name in names:
        return CARDS[names.index(name)]
    near = get_close_matches(name.lower(), names)
    meant = f" did you mean {' or '.join(near)}?" if near else ""
    raise CardError(f"No model is called {name!r};{meant} see `vesalius models`.")
