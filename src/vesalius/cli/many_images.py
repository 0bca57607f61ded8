"""From a folder of images and a folder of prompts to a folder of masks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import typer

from vesalius.batch import Case, is_done, pair_files, request_id, run_cases, take_shard
from vesalius.cli.arguments import Said
from vesalius.cli.one_image import Asked, Outputs, segment_file
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


def segment_folder(folders: Folders, target: str, asked: Asked, shard: tuple[int, int], as_json: bool) -> None:
    """Segments every image that has prompts and is not done; exits with 1 if some failed."""
    from vesalius.report import write_report

    folders.check()
    cases, alone = pair_files(folders.images, folders.prompts, folders.masks, folders.suffix)
    if not cases:
        raise FormatError("No image and no prompt file share a name; call the prompts of ct.nii.gz ct.json.")
    mine = take_shard(cases, *shard)
    words = repr((target, asked.model, asked.weights, asked.window, asked.plane, asked.series, asked.resample))
    todo = [case for case in mine if not is_done(case, words)]
    load = cache(asked.load)
    if todo:
        load()  # what is wrong with the model is wrong with every case
    folders.make()
    with show_cases(len(todo)) as (tell, end):

        def segment(case: Case) -> None:
            overlay = folders.overlays / f"{case.name}.png" if folders.overlays else None
            said, outputs = Said(target, file=case.prompts), Outputs(case.mask, case.report, overlay)
            report = segment_file(case.image, said, asked, outputs, load, tell)
            write_report(report | {"request": request_id(case, words)}, case.report)

        failed = run_cases(todo, segment, folders.masks / "vesalius.log", end)
    skipped = [case.name for case in mine if case not in todo]
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
