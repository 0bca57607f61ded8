"""`vesalius fetch` and `vesalius cache`: bringing checkpoints here, and taking them away."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from vesalius.cli.arguments import Licence

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

cache_app = typer.Typer(name="cache", rich_markup_mode=None)


def fetch(
    name: Annotated[str, typer.Argument(help="A model of `vesalius models`.")],
    licence: Licence = "",
) -> None:
    """Download the weights of a model, verified, into the cache."""
    from vesalius.cli.progress import show_bytes
    from vesalius.download import accept_licence, fetch_weights
    from vesalius.zoo import find_card

    if licence:
        accept_licence(licence)
    for part in find_card(name).parts or (name,):
        card = find_card(part)
        with show_bytes(card.weights.file) as progress:
            file = fetch_weights(card, progress)
        print(file)


@cache_app.callback(invoke_without_command=True)
def cache(context: typer.Context, as_json: Json = False) -> None:
    """List the downloaded weights, or clear them."""
    if not context.invoked_subcommand:
        list_(as_json)


@cache_app.command("list")
def list_(as_json: Json = False) -> None:
    """List the downloaded weights; a hash that no card pins was recorded at the first download."""
    from vesalius.download import cache_folder, list_cache

    entries = list_cache()
    if as_json:
        print(json.dumps([vars(entry) | {"file": str(entry.file)} for entry in entries], indent=1))
        return
    for entry in entries:
        state = ("pinned" if entry.pinned else "unpinned") if entry.complete else "unfinished"
        print(f"{entry.name:14} {entry.bytes / 1e6:8.1f} MB  {state:10}  {entry.file}")
    if not entries:
        print(f"Nothing is cached in {cache_folder()}.")


@cache_app.command()
def clear(names: Annotated[list[str] | None, typer.Argument(help="Models; all if none is named.")] = None) -> None:
    """Delete downloaded weights."""
    from vesalius.download import clear_cache, list_cache

    freed = clear_cache(names or sorted({entry.name for entry in list_cache()}))
    print(f"{freed / 1e6:.1f} MB freed.")
