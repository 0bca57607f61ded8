"""What the command line says, as values: numbers, positions, and the files that may be written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vesalius.errors import FormatError, PromptError

NAMELESS = "1"  # the target of a prompt that names none
LOSSY = (".jpg", ".jpeg")  # they blur labels
Licence = Annotated[
    str, typer.Option("--accept-licence", metavar="NAME", help="Accept the licence of the weights, once.")
]

if TYPE_CHECKING:
    from vesalius.grid import Grid
    from vesalius.prompts import Box, Prompt


@dataclass(frozen=True)
class Said:
    """The prompts of one call: positions and examples of one `target`, and a `file` that may speak of several.

    What the file says without naming a target is about this one too. `only` names structures, which are targets of
    their own, and `region` is a box to look in. `everything` takes the place of prompts; for small things, the picture
    is cut into tiles as many times as `tiles` says.
    """

    target: str = NAMELESS
    points: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    boxes: tuple[str, ...] = ()
    mm: bool = False
    file: Path | None = None
    examples: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    region: str = ""
    everything: bool = False
    tiles: int = 0

    def about(self, grid: Grid) -> dict[str, list[Prompt]]:
        """All prompts by target, the file's first; none where nothing is said."""
        found: dict[str, list[Prompt]] = {}
        if self.file:
            from vesalius.io.prompt_files import read_prompts

            for target, prompt in read_prompts(self.file, grid):
                found.setdefault(self.target if target == NAMELESS else target, []).append(prompt)
        if own := self._own(grid):
            found.setdefault(self.target, []).extend(own)
        return found

    def where(self, grid: Grid) -> Box | None:
        """The region to look in; None for everywhere."""
        return self._box(self.region, "--region", grid) if self.region else None

    def _own(self, grid: Grid) -> list[Prompt]:
        from vesalius.prompts import Named, Point

        prompts: list[Prompt] = []
        for option, texts, positive in (("--point", self.points, True), ("--negative", self.negatives, False)):
            for text in texts:
                at = self._position(text, option, grid)
                prompts.append(Point(at, positive) if self.mm else Point.from_index(grid, at, positive))
        prompts += [self._box(text, "--box", grid) for text in self.boxes]
        return [*prompts, *map(read_example, self.examples), *map(Named, self.only)]

    def _box(self, text: str, option: str, grid: Grid) -> Box:
        from vesalius.prompts import Box

        corners = text.split(":")
        if len(corners) != 2:
            raise PromptError(f"{option} {text} is not two corners; write them with a colon, such as 10,20,3:40,60,9.")
        first, second = (self._position(corner, option, grid) for corner in corners)
        return Box(first, second) if self.mm else Box.from_index(grid, first, second)

    def _position(self, text: str, option: str, grid: Grid) -> tuple[float, float, float]:
        """Three numbers; a 2D image also takes two in pixels, column and row."""
        if self.mm and not grid.calibrated:
            raise PromptError("--mm needs an image with a physical unit; give positions in pixels, as column,row.")
        values = parse_numbers(text)
        thin = grid.thin_axis()
        if len(values) == 2 and thin is not None and not self.mm:
            values.insert(thin, 0.0)
        if len(values) != 3:
            form = "x,y,z in mm" if self.mm else "i,j,k" if thin is None else "column,row"
            raise PromptError(f"{option} {text} is not a position in this image; write {form}.")
        x, y, z = values
        return x, y, z


def read_example(text: str) -> Prompt:
    """The image and the mask that IMAGE=MASK names."""
    from vesalius.io import read
    from vesalius.prompts import Example

    image, _, mask = text.partition("=")
    if not image or not mask or "=" in mask:
        raise PromptError(f"--example {text} is not an image and its mask; write them as IMAGE=MASK.")
    return Example(read(image), read(mask))


def parse_numbers(text: str) -> list[float]:
    """Numbers with commas between them; empty where the text is anything else."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return []


def parse_window(text: str) -> tuple[float, float] | None:
    """LOW,HIGH; None for an empty text."""
    if not text:
        return None
    values = parse_numbers(text)
    if len(values) != 2:
        raise FormatError(f"--window {text} is not LOW,HIGH; write two numbers, such as -160,240.")
    return values[0], values[1]


def parse_shard(text: str) -> tuple[int, int]:
    """The number and the count of a shard such as 3/16, the first being 1."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal()):
        raise FormatError(f"--shard {text} is not a shard; write the third of sixteen as 3/16.")
    return int(number), int(count)


def default_mask(image: Path) -> Path:
    """Where a mask goes if nobody says: beside the image in its format; .seg.nrrd where that is for reading only."""
    from vesalius.batch import stem
    from vesalius.io import WRITABLE, suffix_of

    if image.is_dir():
        image = image.resolve()  # it may be called "."
    elif suffix_of(image) in LOSSY:
        return image.with_name(f"{stem(image)}_mask.png")
    elif suffix_of(image) in WRITABLE:
        return image.with_name(f"{stem(image)}_mask{image.name.removeprefix(stem(image))}")
    return image.with_name(f"{stem(image)}.seg.nrrd")


def check_output(file: Path, image: Path) -> None:
    """Refuses, before any work is done, the input image itself and a folder that is not there or is read-only."""
    if file.exists() and file.samefile(image):
        raise FormatError(f"{file} is the input image; choose another name for the output.")
    if file.is_dir():
        raise FormatError(f"{file} is a folder; give the name of a file.")
    if not file.parent.is_dir():
        raise FormatError(f"There is no folder {file.parent}; make it first.")
    if not os.access(file.parent, os.W_OK):
        raise FormatError(f"The folder {file.parent} is read-only; choose another place for {file.name}.")
