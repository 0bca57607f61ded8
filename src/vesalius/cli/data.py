"""`vesalius data`: layouts of labelled images that can be read, what is wrong with a set, and conversions."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LayoutName = Annotated[
    str, typer.Option("--layout", metavar="NAME", help="A name of `vesalius data layouts`; recognised if not given.")
]

data_app = typer.Typer(name="data", rich_markup_mode=None, no_args_is_help=True)


@data_app.callback()
def data() -> None:
    """Check and convert sets of labelled images."""


@data_app.command()
def layouts(as_json: Json = False) -> None:
    """List the layouts that are recognised, with what is annotated in them and their licences."""
    from vesalius.data.registry import LAYOUTS

    facts = ("name", "title", "modality", "annotated", "groups", "licence", "homepage", "signature")
    if as_json:
        rows = [{fact: getattr(layout, fact) for fact in facts} | {"labels": layout.labels} for layout in LAYOUTS]
        print(json.dumps(rows, indent=1))
        return
    for layout in LAYOUTS:
        print(f"{layout.name:20} {layout.modality:8} {layout.licence:45} {layout.annotated}")


@data_app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Where the download unpacks to.")],
    layout: LayoutName = "",
    as_json: Json = False,
) -> None:
    """Read every case and name what is wrong: files, geometry, labels, duplicates, splits. Exit code 1 if any is."""
    from vesalius.cli.progress import show_cases
    from vesalius.data.checks import check_dataset
    from vesalius.data.registry import open_dataset

    dataset = open_dataset(folder, layout or None)
    with show_cases(len(dataset.cases)) as (_, end):
        problems = check_dataset(dataset, end)
    if as_json:
        record = {"layout": dataset.layout, "cases": len(dataset.cases), "unlabelled": dataset.unlabelled}
        print(json.dumps(record | {"problems": [vars(problem) for problem in problems]}, indent=1))
    else:
        splits = ", ".join(f"{n} {name}" for name, n in Counter(case.split for case in dataset.cases).items())
        print(f"{dataset.name} ({dataset.layout}): {len(dataset.cases)} cases ({splits}), {len(problems)} problems")
        if dataset.unlabelled:
            print(f"without labels and left out: {len(dataset.unlabelled)} images")
        for problem in problems:
            print(f"{problem.kind}: {problem.case}: {problem.sentence}")
    if problems:
        raise typer.Exit(1)


@data_app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Where the download unpacks to.")],
    target: Annotated[Path, typer.Argument(help="The folder to write.")],
    to: Annotated[str, typer.Option("--to", metavar="LAYOUT", help="msd, nnunet, bids or npz.")],
    layout: LayoutName = "",
    as_json: Json = False,
) -> None:
    """Write a set in another layout; cases that are there are kept, bad ones named at the end. Exit code 1 if any."""
    from vesalius.cli.progress import show_cases
    from vesalius.data.conversion import convert_dataset
    from vesalius.data.registry import open_dataset

    dataset = open_dataset(source, layout or None)
    with show_cases(len(dataset.cases)) as (_, end):
        result = convert_dataset(dataset, target, to, end)
    if as_json:
        print(json.dumps(vars(result) | {"unlabelled": dataset.unlabelled}, indent=1))
    else:
        done, skipped, failed = map(len, (result.done, result.skipped, result.failed))
        print(f"{done} done, {skipped} were done before, {failed} failed; the set is in {target}")
        if dataset.unlabelled:
            print(f"without labels and left out: {len(dataset.unlabelled)} images")
        for name, sentence in result.failed.items():
            print(f"failed: {name}: {sentence}")
    if result.failed:
        raise typer.Exit(1)
