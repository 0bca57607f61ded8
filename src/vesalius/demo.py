"""The main job on real images: both lungs and the thoracic spine of a chest CT, and a cell, from a few clicks.

The CT with its reference labels comes from the package slicerio (MIT), the microscope picture from scikit-image (CC0).
The clicks are a person's, made once by looking at the pictures; the reference serves only to print the Dice.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from vesalius.errors import FormatError
from vesalius.hub import load
from vesalius.io import read, read_segmentation, write
from vesalius.overlay import draw_overlay
from vesalius.prompts import Box, Point, Prompt
from vesalius.report import make_report, timed, write_report
from vesalius.session import Model, Session

Index = tuple[int, int, int]


@dataclass(frozen=True)
class Task:
    """One target of the demonstration, what is said of it in voxel indices, and its name in the reference."""

    target: str
    points: tuple[Index, ...] = ()
    boxes: tuple[tuple[Index, Index], ...] = ()
    reference: str = ""


CT_TASKS = (
    Task("right lung", points=((90, 60, 20), (75, 84, 20)), reference="right lung"),
    Task("left lung", points=((40, 60, 20), (45, 85, 20)), reference="left lung"),
    Task(
        "thoracic spine",  # a box with depth, which ends the walk above and below, and the first and last vertebra
        boxes=(((52, 28, 12), (72, 52, 27)), ((54, 29, 12), (71, 51, 12)), ((53, 34, 27), (71, 55, 27))),
        reference="thoracic vertebral column",
    ),
)
CELL_TASKS = (Task("cell", points=((427, 375, 0),)),)


def run_demo(folder: Path) -> list[dict[str, object]]:
    """Segments both images into `folder`: masks, overlays, reports; returns one record for each target.

    Raises FormatError where the packages that carry the images are not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = load()
    carried = _package("slicerio") / "data"
    records = _segment(model, carried / "CTChest4.nrrd", CT_TASKS, folder / "chest.seg.nrrd")
    truth = read_segmentation(carried / "Segmentation.seg.nrrd")
    found = read_segmentation(folder / "chest.seg.nrrd")
    for task, record in zip(CT_TASKS, records, strict=True):
        ours, theirs = found.mask(task.target), truth.mask(task.reference)
        record["dice"] = 2 * np.count_nonzero(ours & theirs) / (np.count_nonzero(ours) + np.count_nonzero(theirs))
    return records + _segment(model, _package("skimage") / "data" / "cell.png", CELL_TASKS, folder / "cell.seg.nrrd")


def _segment(model: Model, image: Path, tasks: tuple[Task, ...], output: Path) -> list[dict[str, object]]:
    """Says everything of one image, and writes its mask, overlay and report."""
    session = Session(model, read(image))
    said: list[tuple[str, Prompt]] = []
    seconds: dict[str, float] = {}
    for task in tasks:
        grid = session.image.grid
        prompts: list[Prompt] = [Point.from_index(grid, index) for index in task.points]
        prompts += [Box.from_index(grid, *corners) for corners in task.boxes]
        with timed(seconds, f"add {task.target}"):
            session.add(*prompts, target=task.target)
        said += [(task.target, prompt) for prompt in prompts]
    stem = output.name.removesuffix(".seg.nrrd")
    overlay, report = output.with_name(f"{stem}.png"), output.with_name(f"{stem}.json")
    write(session.result(), output)
    draw_overlay(session.image, session.window, session.result(), overlay, said)
    write_report(make_report(session, image.name, seconds, (output, overlay)), report)
    return [
        {
            "target": task.target,
            "prompts": len(task.points) + len(task.boxes),
            "seconds": seconds[f"add {task.target}"],
            "predicted_dice": session.score(task.target),
        }
        for task in tasks
    ]


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise FormatError(f"The demo's image comes with the package {name}; install it: pip install 'vesalius[demo]'.")
    return Path(spec.origin).parent
