"""`vesalius segment`: the options of one image and of a folder of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vesalius.cli.arguments import NAMELESS, Licence, Said, default_mask, parse_window
from vesalius.cli.machines import Cpus, Jobs, Machines, Ray, Shard, Slurm
from vesalius.cli.many_images import Batch, Folders, segment_folder
from vesalius.cli.one_image import Asked, Outputs, segment_image
from vesalius.download import accept_licence
from vesalius.errors import PromptError
from vesalius.zoo import DEFAULT


def segment(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(help="An image, a DICOM folder or zip, or a folder of images.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The mask; beside the image if not given. A folder's: a folder."),
    ] = None,
    model: Annotated[
        str, typer.Option("-m", "--model", help="A name of `vesalius models`, a folder, or FILE.py:CLASS.")
    ] = DEFAULT,
    point: Annotated[list[str] | None, typer.Option(metavar="I,J,K", help="A position on the target.")] = None,
    negative: Annotated[list[str] | None, typer.Option(metavar="I,J,K", help="A position off the target.")] = None,
    box: Annotated[list[str] | None, typer.Option(metavar="I,J,K:I,J,K", help="Two corners, both inside.")] = None,
    example: Annotated[
        list[str] | None, typer.Option(metavar="IMAGE=MASK", help="Another image and the mask of what is meant.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A structure that the model names, instead of all.")
    ] = None,
    region: Annotated[
        str, typer.Option(metavar="I,J,K:I,J,K", help="All that is looked at, by a model that needs no prompt.")
    ] = "",
    everything: Annotated[
        bool, typer.Option("--everything", help="Every thing in a picture, without prompts; of a volume --region.")
    ] = False,
    tiles: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, max=4, help="With --everything: cut the picture N times, to find small things."
        ),
    ] = 0,
    mm: Annotated[bool, typer.Option("--mm", help="Positions are RAS+ mm, not voxel indices.")] = False,
    prompts: Annotated[Path | None, typer.Option(help="Prompts from JSON, .mrk.json, CSV or npz; or a folder.")] = None,
    target: Annotated[str, typer.Option(help="What prompts without a target of their own point at.")] = NAMELESS,
    plane: Annotated[str, typer.Option(help="axial, coronal or sagittal: how a 2D model cuts a volume.")] = "",
    window: Annotated[str, typer.Option(metavar="LOW,HIGH", help="Values that become black and white.")] = "",
    weights: Annotated[Path | None, typer.Option(help="A checkpoint file instead of the model's own.")] = None,
    licence: Licence = "",
    device: Annotated[str, typer.Option(help="cpu, cuda ...")] = "cpu",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or onnx.")] = "auto",
    embeddings: Annotated[
        Path | None, typer.Option(help="A folder that keeps what the model makes of a picture for the next run.")
    ] = None,
    series: Annotated[str, typer.Option(help="Which of several DICOM series: its number or UID.")] = "",
    resample: Annotated[bool, typer.Option("--resample", help="Even out uneven DICOM slices.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write a record of the run (JSON).")] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Draw a picture of the result (PNG); a folder's: a folder.")
    ] = None,
    shard: Shard = "",
    slurm: Slurm = None,
    jobs: Jobs = 8,
    ray: Ray = "",
    cpus: Cpus = 4,
    suffix: Annotated[str, typer.Option("--format", help="Of a folder: the suffix of its masks (.seg.nrrd).")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Segment what the prompts point at, or all that the model names; the mask lies on the image's own grid.

    Voxel indices start at 0, the file's fastest axis first; a 2D image takes column,row. With a folder of images and
    `--prompts FOLDER`, files of one name belong together; what is done already is skipped. Exit codes: 0 done, 1 some
    cases of a folder failed, 2 bad input.
    """
    if licence:
        accept_licence(licence)
    asked = Asked(model, weights, device, precision, parse_window(window), plane, series, resample, embeddings)
    points, negatives, boxes, examples, names = (tuple(each or ()) for each in (point, negative, box, example, only))
    said = Said(target, points, negatives, boxes, mm, prompts, examples, names, region, everything, tiles)
    if prompts and prompts.is_dir():
        if output is None or report or said != Said(target, file=prompts):
            raise PromptError("A folder needs -o FOLDER and takes no --report and no prompts but those of its files.")
        batch = Batch(Folders(image, prompts, output, overlay, suffix or ".seg.nrrd"), target, asked)
        machines = Machines(tuple(context.obj), shard, slurm, jobs, ray, cpus, int(device != "cpu"))
        segment_folder(batch, machines, as_json)
        return
    if shard or slurm or ray or suffix:
        raise PromptError("--shard, --slurm, --ray and --format are for a folder of images; give --prompts FOLDER.")
    segment_image(image, said, asked, Outputs(output or default_mask(image), report, overlay), as_json)
