"""`vesalius models`: the table of checkpoints, and the card of each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from vesalius.cli.words import words

if TYPE_CHECKING:
    from pathlib import Path

    from vesalius.card import Card

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
COLUMNS = ("name", "prompts", "licence", "MB", "", "what it is")

models_app = typer.Typer(name="models", rich_markup_mode=None)


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: Json = False) -> None:
    """List the models, or show one."""
    if context.invoked_subcommand:
        return
    from vesalius.download import locate_weights
    from vesalius.zoo import CARDS

    files = {card.name: locate_weights(card) for card in CARDS}
    if as_json:
        print(json.dumps([card.to_json() | {"here": files[card.name] is not None} for card in CARDS], indent=1))
        return
    rows = [COLUMNS, *(_row(card, files[card.name]) for card in CARDS)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@models_app.command()
def show(name: str, as_json: Json = False) -> None:
    """Show all that is known of one model."""
    from vesalius.zoo import find_card

    record = find_card(name).to_json()
    if as_json:
        print(json.dumps(record, indent=1))
        return
    for key, value in record.items():
        if key != "tiny" and (value or value is False):
            print(f"{key.replace('_', ' '):14} {words(value)}")


def _row(card: Card, file: Path | None) -> tuple[str, ...]:
    size = file.stat().st_size if file else card.weights.bytes
    megabytes, place = f"{size / 1e6:.0f}" if size else "?", "here" if file else "to fetch"
    return card.name, " ".join(sorted(card.accepts)), card.licence.weights, megabytes, place, card.summary
