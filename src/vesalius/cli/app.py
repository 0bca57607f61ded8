"""The commands and where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vesalius.cli.cache import cache_app, fetch
from vesalius.cli.data import data_app
from vesalius.cli.evaluate import compare, evaluate
from vesalius.cli.export import export
from vesalius.cli.images import convert, info
from vesalius.cli.models import models_app
from vesalius.cli.segment import segment

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(segment)
app.command()(evaluate)
app.command()(compare)
app.command()(info)
app.command()(convert)
app.add_typer(models_app)
app.command()(fetch)
app.add_typer(cache_app)
app.command()(export)
app.add_typer(data_app)


@app.command()
def demo(folder: Annotated[Path, typer.Argument(help="Where the results go.")] = Path("demo")) -> None:
    """Segment a chest CT and a 2D picture, and print how well it went."""
    from vesalius.demo import run_demo

    for record in run_demo(folder):
        dice = f", Dice {record['dice']:.3f} against the reference" if "dice" in record else ""
        print(f"{record['target']}: {record['prompts']} prompts, {record['seconds']:.1f} s{dice}")


@app.callback(invoke_without_command=True)
def vesalius(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Universal models of medical image segmentation. Research software, not a medical device."""
    if version:
        from vesalius import __version__

        print(__version__)
