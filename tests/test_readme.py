"""What the documents show is what the code has: the table of models, the example of a prompt file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema

import vesalius as vs
from vesalius.io.prompt_files import prompt_schema

README = (Path(__file__).parents[1] / "README.md").read_text()


def row(card: vs.Card) -> str:
    size = f"{card.weights.bytes / 1e6:.0f}" if card.weights.bytes else "?"
    prompts, commercial = ", ".join(sorted(card.accepts)), "yes" if card.licence.commercial else "no"
    return f"| `{card.name}` | {prompts} | {size} | {card.licence.weights} | {commercial} |"


def test_the_table_of_models_is_that_of_the_cards() -> None:
    head = "| model | prompts | MB | licence of the weights | commercial use |\n|---|---|---|---|---|\n"
    table = head + "".join(row(card) + "\n" for card in vs.CARDS)
    assert table + "\n" in README, f"put this into README.md:\n\n{table}"


def test_the_prompts_of_the_docs_fit_the_schema() -> None:
    page = (Path(__file__).parents[1] / "docs/prompts.md").read_text()
    examples = re.findall(r"```json\n(.*?)```", page, re.S)
    assert examples
    for example in examples:
        jsonschema.validate(json.loads(example), prompt_schema())
