"""From one image file to its mask, its record and its picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.cli.arguments import LOSSY, Said, check_output
from vesalius.cli.progress import show_steps
from vesalius.errors import FormatError, PromptError

if TYPE_CHECKING:
    from vesalius.session import Model


@dataclass(frozen=True)
class Asked:
    """The model, and how images are read and shown to it: the same for every image of a call."""

    model: str
    weights: Path | None
    device: str
    precision: str
    window: tuple[float, float] | None
    plane: str
    series: str
    resample: bool
    embeddings: Path | None = None  # a folder

    def load(self) -> Model:
        """The model, ready to run."""
        from vesalius.hub import load

        return load(self.model, self.weights, self.device, self.precision)

    def check_silence(self) -> None:
        """Refuses that nothing is said to a model that does not know by itself what to segment."""
        from vesalius.hub import find_model

        if "named" not in find_model(self.model)[1].accepts:
            raise PromptError("Nothing says what to segment; give --point, --box, --example or --prompts.")


@lru_cache(maxsize=1)
def load_once(asked: Asked) -> Model:
    """The model that is asked for, which a process keeps from image to image."""
    return asked.load()


@dataclass(frozen=True)
class Outputs:
    """Where the results of one image go."""

    mask: Path
    report: Path | None
    overlay: Path | None

    def named(self) -> list[Path]:
        """Those that are asked for."""
        return [file for file in (self.mask, self.report, self.overlay) if file]

    def check(self, image: Path) -> None:
        """Refuses what could not be written, before any work is done."""
        from vesalius.io import WRITABLE, suffix_of

        fit = [suffix for suffix in WRITABLE if suffix not in LOSSY]
        if suffix_of(self.mask) not in fit:
            raise FormatError(f"A mask cannot be written as {self.mask.name}; use one of {', '.join(fit)}.")
        if self.overlay and suffix_of(self.overlay) != ".png":
            raise FormatError(f"An overlay is a PNG; call it {self.overlay.stem}.png instead of {self.overlay.name}.")
        for file in self.named():
            check_output(file, image)


def segment_image(image: Path, said: Said, asked: Asked, outputs: Outputs, as_json: bool) -> None:
    """Segments one image and prints what was found, or the whole record as JSON."""
    from vesalius.report import write_report

    with show_steps() as tell:
        report = segment_file(image, said, asked, outputs, asked.load, tell)
    if outputs.report:
        write_report(report, outputs.report)
    if as_json:
        print(json.dumps(report | {"mask": str(outputs.mask)}, indent=1))
        return
    for name, found in report["targets"].items():
        volume = f"{found['volume_ml']:g} ml, " if found["volume_ml"] is not None else ""
        dice = f", predicted Dice {found['predicted_dice']:.2f}" if found["predicted_dice"] is not None else ""
        print(f"{name}: {volume}{found['voxels']} voxels{dice}")
    weights = report["model"]["weights"]
    if not weights["commercial"]:
        print(f"made with weights under {weights['licence']}: not for commercial use")
    for file in outputs.named():
        print(file)


def segment_file(
    image: Path, said: Said, asked: Asked, outputs: Outputs, load: Callable[[], Model], tell: Callable[[str], None]
) -> dict[str, Any]:
    """Writes the mask and the overlay of one image and returns the record of the run, which is yet to be written.

    The model is loaded only when the image, the prompts and the places of the results have been found good.
    """
    from vesalius.io import read, write
    from vesalius.look_everything import Sought, segment_everything
    from vesalius.overlay import draw_overlay
    from vesalius.report import make_report, timed
    from vesalius.session import Session

    seconds: dict[str, float] = {}
    tell(f"reading {image.name}")
    with timed(seconds, "read"):
        volume = read(image, asked.series, asked.resample)
    prompts, region = said.about(volume.grid), said.where(volume.grid)
    if said.everything and prompts:
        raise PromptError("--everything takes no prompts; leave them out, or point at one thing without --everything.")
    if not prompts and not said.everything:
        asked.check_silence()
        prompts = {"everything": []}
    outputs.check(image)
    tell(f"loading {asked.model}")
    with timed(seconds, "load"):
        model = load()
    session = Session(model, volume, asked.window, asked.plane, tell, None if said.everything else region)
    if asked.embeddings:
        from vesalius.embeddings import keep_embeddings

        keep_embeddings(session, asked.embeddings)
    for target, about_it in prompts.items():
        with timed(seconds, f"add {target}"):
            session.add(*about_it, target=target)
    result = session.result()
    if said.everything:
        with timed(seconds, "look for everything"):
            result = segment_everything(session, Sought(tiles=said.tiles), region)
    tell(f"writing {outputs.mask.name}")
    with timed(seconds, "write"):
        write(result, outputs.mask)
    if outputs.overlay:
        shown = [(target, prompt) for target, about_it in prompts.items() for prompt in about_it]
        draw_overlay(volume, session.window, result, outputs.overlay, shown)
    name = "" if image.is_dir() else image.name  # a DICOM folder is often named after the patient
    return make_report(session, name, seconds, outputs.named(), asked.weights, result if said.everything else None)
