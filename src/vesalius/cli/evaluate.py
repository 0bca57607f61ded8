"""`vesalius evaluate` and `vesalius compare`: how good masks or models are, and whether one is better than another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vesalius.cli.arguments import Licence
from vesalius.cli.machines import Cpus, Jobs, Machines, Ray, Shard, Slurm
from vesalius.download import accept_licence
from vesalius.errors import FormatError, PromptError


def evaluate(
    context: typer.Context,
    data: Annotated[Path, typer.Argument(metavar="PRED|DATA", help="A folder of masks; with -m a folder of data.")],
    reference: Annotated[
        Path | None, typer.Argument(metavar="[REF]", help="The folder of reference masks of the same names.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the results go.")] = Path("evaluation"),
    metrics: Annotated[str, typer.Option(help="Names with commas: dice, iou, nsd@2, hd95, assd ...")] = "",
    tolerances: Annotated[
        Path | None,
        typer.Option(help="JSON of structures' own tolerances in mm, for nsd without a number: {'liver': 5}."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="The folder of images, for the pictures of the report.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="JSON that names label values: nnU-Net's or MSD's dataset.json, {'liver': 1}.")
    ] = None,
    resample: Annotated[
        Literal["no", "nearest"], typer.Option(help="What to do with a mask on another grid than its reference.")
    ] = "no",
    one_empty: Annotated[
        Literal["worst", "infinite", "undefined"], typer.Option(help="What a missed or spurious structure counts as.")
    ] = "worst",
    both_empty: Annotated[
        Literal["undefined", "perfect"], typer.Option(help="What a structure counts as that is rightly absent.")
    ] = "undefined",
    not_annotated: Annotated[
        Literal["", "undefined", "empty"],
        typer.Option(
            metavar="<undefined|empty>",
            help="What the reference does not name: nobody looked (data), or it is not there (masks).",
        ),
    ] = "",
    model: Annotated[str, typer.Option("-m", "--model", help="A model, to be asked about DATA.")] = "",
    protocol: Annotated[str, typer.Option(help="How it is asked: clicks, box, cvpr2025 ...; list names all.")] = "",
    split: Annotated[str, typer.Option(help="Which cases of DATA: val, train ...; all for every one.")] = "val",
    layout: Annotated[str, typer.Option(help="The layout of DATA; recognised if not given.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many cases of each data set; 0 for all.")] = 0,
    weights: Annotated[Path | None, typer.Option(help="A checkpoint file instead of the model's own.")] = None,
    licence: Licence = "",
    device: Annotated[str, typer.Option(help="cpu, cuda ...")] = "cpu",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or onnx.")] = "auto",
    shard: Shard = "",
    slurm: Slurm = None,
    jobs: Jobs = 8,
    ray: Ray = "",
    cpus: Cpus = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Score masks against references, or a model on labelled images.

    Writes scores.csv, summary.json and report.html; what is done already is skipped. Exit codes: 0 done, 1 some cases
    failed or found no partner, 2 bad input.
    """
    from vesalius.cli.scored import Asked, score_folders, score_model
    from vesalius.evaluate.score import METRICS, Policy, read_tolerances

    if protocol == "list":
        from vesalius.evaluate.protocols import PROTOCOLS

        print("\n".join(f"{each.name:12} {each.summary}" for each in PROTOCOLS.values()))
        return
    usual = tuple("nsd" if name.startswith("nsd@") else name for name in METRICS) if tolerances else METRICS
    names = tuple(name.strip() for name in metrics.split(",")) if metrics else usual
    if ("nsd" in names) != (tolerances is not None):
        raise FormatError(
            "The metric nsd and --tolerances FILE.json go together; give both, or nsd@2 for all structures."
        )
    own = read_tolerances(tolerances) if tolerances else {}
    policy = Policy(one_empty, both_empty, not_annotated or ("undefined" if model else "empty"), own)
    gpus = int(bool(model) and device != "cpu")
    machines = Machines(tuple(context.obj), shard, slurm, jobs, ray, cpus, gpus)
    asked = Asked(output, names, policy, machines, as_json)
    if model:
        if reference or images or labels or resample != "no":
            raise PromptError("With -m give one folder of data, and no --images, --labels or --resample.")
        if not protocol:
            raise PromptError("Say with --protocol how the model is asked; --protocol list names all.")
        if licence:
            accept_licence(licence)
        score_model((data, layout), asked, (model, weights, device, precision), protocol, split, limit)
        return
    if reference is None:
        raise FormatError("Give the folder of reference masks too, or a model with -m.")
    if protocol:
        raise PromptError("A --protocol is for a model; give one with -m.")
    score_folders(data, reference, images, asked, labels, resample == "nearest")


def compare(
    tables: Annotated[list[Path], typer.Argument(metavar="A.csv B.csv ...", help="Tables of `vesalius evaluate`.")],
    metrics: Annotated[str, typer.Option(help="Names with commas; all that the tables share if not given.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether B is better than A on the same cases: difference, interval, and p corrected for all tests.

    With three tables or more, each is compared with the first, and all are ranked.
    """
    from vesalius.cli.compared import print_comparison

    if len(tables) < 2:
        raise FormatError("Give two tables or more, such as A.csv B.csv.")
    print_comparison(tables, tuple(filter(None, metrics.split(","))), as_json)
