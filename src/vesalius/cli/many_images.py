"""From a folder of images and a folder of prompts to a folder of masks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import typer

from vesalius.batch import Case, is_done, pair_files, request_id
from vesalius.cli.arguments import Said
from vesalius.cli.machines import Machines
from vesalius.cli.one_image import Asked, Outputs, load_once, segment_file
from vesalius.cli.progress import show_cases
from vesalius.errors import FormatError


@dataclass(frozen=True)
class Folders:
    """Where the images and their prompts are, and where masks (of one format) and, if asked for, overlays go."""

    images: Path
    prompts: Path
    masks: Path
    overlays: Path | None
    suffix: str

    def check(self) -> None:
        """Refuses images that are not in a folder, and masks among them, where they could be taken for some."""
        if not self.images.is_dir():
            raise FormatError(f"{self.images} is not a folder; with a folder of prompts give a folder of images.")
        if self.masks.resolve() == self.images.resolve():
            raise FormatError("Masks need a folder of their own; give -o another folder than the images'.")

    def make(self) -> None:
        """Makes the folders of the results."""
        for folder in (self.masks, self.overlays):
            try:
                if folder:
                    folder.mkdir(exist_ok=True)
            except OSError as error:
                raise FormatError(f"The folder {folder} cannot be made: {error.strerror}; choose another.") from None


@dataclass(frozen=True)
class Batch:
    """What is the same for every image of a folder, wherever it is segmented."""

    folders: Folders
    target: str
    asked: Asked

    @property
    def words(self) -> str:
        """What a mask depends on beside the image and its prompts."""
        asked = self.asked
        return repr((self.target, asked.model, asked.weights, asked.window, asked.plane, asked.series, asked.resample))

    def prepare(self) -> None:
        """Loads the model: what is wrong with it is wrong with every case."""
        load_once(self.asked)

    def segment(self, case: Case, tell: Callable[[str], None] = lambda step: None) -> None:
        """Writes mask, overlay and, last, the report of a case, which says that it is done."""
        from vesalius.report import write_report

        overlay = self.folders.overlays / f"{case.name}.png" if self.folders.overlays else None
        said, outputs = Said(self.target, file=case.prompts), Outputs(case.mask, case.report, overlay)
        report = segment_file(case.image, said, self.asked, outputs, partial(load_once, self.asked), tell)
        write_report(report | {"request": request_id(case, self.words)}, case.report)


def segment_folder(batch: Batch, machines: Machines, as_json: bool) -> None:
    """Segments every image that has prompts and is not done; exits with 1 if some failed."""
    from vesalius.hub import find_model

    folders = batch.folders
    folders.check()
    cases, alone = pair_files(folders.images, folders.prompts, folders.masks, folders.suffix)
    if not cases:
        raise FormatError("No image and no prompt file share a name; call the prompts of ct.nii.gz ct.json.")
    mine = machines.own(cases)
    find_model(batch.asked.model)  # a wrong name is said before anything is made
    folders.make()
    if machines.slurm:
        machines.write_script(folders.masks, len(cases))
        return
    todo = [case for case in mine if not is_done(case, batch.words)]
    with show_cases(len(todo)) as (tell, end):
        segment = batch.segment if machines.ray else partial(batch.segment, tell=tell)  # a terminal stays where it is
        failed = machines.run(todo, segment, folders.masks / "vesalius.log", end, batch.prepare)
    left = {case.name for case in todo}
    skipped = [case.name for case in mine if case.name not in left]
    done = [case.name for case in todo if case.name not in failed]
    if as_json:
        print(json.dumps({"done": done, "skipped": skipped, "failed": failed, "alone": alone}, indent=1))
    else:
        print(f"{len(done)} done, {len(skipped)} were done before, {len(failed)} failed; masks are in {folders.masks}")
        for name, sentence in failed.items():
            print(f"failed: {name}: {sentence}")
        if alone:
            print(f"without a partner: {', '.join(alone)}")
    if failed:
        raise typer.Exit(1)
