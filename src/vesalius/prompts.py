"""What a user can say to a model: frozen records in RAS+ mm, and their JSON.

A new kind of prompt is one dataclass and one row of `KINDS`; models name the kinds they accept on their card.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import GeometryError, PromptError
from vesalius.grid import Grid, make_grid
from vesalius.volume import Source, Volume

World = tuple[float, float, float]  # a position in RAS+ mm
WORLD_AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Point:
    """A click at a position in mm, on the target (positive) or on what is not the target."""

    at: World
    positive: bool = True

    @classmethod
    def from_index(cls, grid: Grid, index: ArrayLike, positive: bool = True) -> Point:
        """A click at a voxel index of `grid`; integer = voxel centre."""
        return cls(_world(grid.world(index)), positive)


@dataclass(frozen=True)
class Box:
    """A box between two opposite corners in mm, with edges along `axes` (three directions; world axes by default).

    Voxels whose centre lies on or between the corners are inside; a box may be flat.
    """

    corner: World
    opposite: World
    positive: bool = True
    axes: tuple[World, World, World] = WORLD_AXES

    @classmethod
    def from_index(cls, grid: Grid, corner: ArrayLike, opposite: ArrayLike, positive: bool = True) -> Box:
        """A box along the grid's own axes between two voxel centres, both included."""
        columns = grid.matrix[:3, :3] / np.asarray(grid.spacing_mm)
        x, y, z = (_world(column) for column in columns.T)
        return cls(_world(grid.world(corner)), _world(grid.world(opposite)), positive, (x, y, z))

    def corners(self) -> NDArray[np.float64]:
        """All eight corners (8, 3) in mm."""
        axes = np.asarray(self.axes).T
        edges = axes * np.linalg.solve(axes, np.subtract(self.opposite, self.corner))
        return np.array([edges @ np.array(picks) for picks in product((0, 1), repeat=3)]) + self.corner


@dataclass(frozen=True)
class Scribble:
    """A drawn line through `points` in mm, in drawing order."""

    points: tuple[World, ...]
    positive: bool = True


@dataclass(frozen=True)
class Lasso:
    """A closed outline in mm, drawn in one plane; the last point joins the first."""

    outline: tuple[World, ...]
    positive: bool = True


@dataclass(frozen=True, eq=False)
class MaskHint:
    """A mask to start from: `mask` (1, i, j, k), voxels above 0.5 inside, on the image's own grid."""

    mask: Volume
    positive: bool = True


@dataclass(frozen=True)
class Text:
    """Free words that describe the target."""

    words: str


@dataclass(frozen=True)
class Named:
    """One of the structures that the model's card names."""

    structure: str


@dataclass(frozen=True, eq=False)
class Example:
    """Another image with its mask (1, i, j, k) on the same grid, above 0.5 inside, as a demonstration of the task."""

    image: Volume
    mask: Volume


Prompt = Point | Box | Scribble | Lasso | MaskHint | Text | Named | Example
KINDS: dict[str, type] = {
    "point": Point,
    "box": Box,
    "scribble": Scribble,
    "lasso": Lasso,
    "mask": MaskHint,
    "text": Text,
    "named": Named,
    "example": Example,
}


def kind_of(prompt: Prompt) -> str:
    """The name of a prompt's kind, as cards and JSON write it."""
    return next(name for name, kind in KINDS.items() if isinstance(prompt, kind))


def positions(prompt: Prompt) -> NDArray[np.float64]:
    """The positions (N, 3) in mm that a spatial prompt speaks of; none for masks, words and examples."""
    match prompt:
        case Point(at=at):
            return np.array([at])
        case Box():
            return prompt.corners()
        case Scribble(points=points) | Lasso(outline=points):
            return np.array(points)
    return np.empty((0, 3))


def check_prompt(prompt: Prompt, image: Grid, accepts: frozenset[str], model: str) -> None:
    """Refuses what the model does not accept and what does not touch the image, with a PromptError."""
    kind = kind_of(prompt)
    if kind not in accepts:
        article = "an" if kind == "example" else "a"
        raise PromptError(f"{model} takes {', '.join(sorted(accepts))}; you gave {article} {kind}.")
    if isinstance(prompt, MaskHint) and not prompt.mask.grid.same_as(image):
        raise PromptError(
            f"The mask prompt's grid {prompt.mask.grid.shape} is not the image's {image.shape}; "
            "resample the mask to the image first."
        )
    if isinstance(prompt, Example):
        _check_example(prompt)
    where = positions(prompt)
    if not np.isfinite(where).all():
        raise PromptError(f"The {kind} has a coordinate that is not a number; give finite coordinates.")
    if isinstance(prompt, Box):  # a box may hang over the edge, but some of it must be inside
        index = image.index(where)
        low, high = index.min(axis=0), index.max(axis=0)
        inside = (high >= -0.5).all() and (low <= np.asarray(image.shape) - 0.5).all()
    else:
        inside = bool(image.contains(where).all())
    if not inside:
        last = " x ".join(f"0..{n - 1}" for n in image.shape)
        index = np.round(image.index(where).mean(axis=0), 1).tolist()
        raise PromptError(
            f"The {kind} lies outside the image: voxel index {index}, while the image has {last}; move it inside."
        )


def _check_example(example: Example) -> None:
    mask, grid = example.mask, example.image.grid
    if not mask.grid.same_as(grid):
        raise PromptError(
            f"The example's mask {mask.grid.shape} does not lie on the grid of its image {grid.shape}; "
            "resample the mask to its image first."
        )
    if len(mask.voxels) != 1:
        raise PromptError(f"The example's mask has {len(mask.voxels)} channels; give one, above 0.5 inside.")


def to_json(prompt: Prompt) -> dict[str, object]:
    """A prompt as a JSON record in RAS+ mm; `from_json` gives it back exactly."""
    record: dict[str, object] = {"kind": kind_of(prompt)}
    for name, value in vars(prompt).items():
        record[name] = _packed(value) if isinstance(value, Volume) else value
    return record


def from_json(record: dict) -> Prompt:
    """The prompt of a record made by `to_json`; raises PromptError for an unknown kind or field."""
    fields = {name: _tuples(value) for name, value in record.items() if name not in ("kind", "target")}
    kind = KINDS.get(str(record.get("kind")))
    if kind is None:
        raise PromptError(f"Unknown prompt kind {record.get('kind')!r}; use one of {', '.join(KINDS)}.")
    try:
        return kind(**{n: _unpacked(v) if isinstance(v, dict) else v for n, v in fields.items()})
    except TypeError as error:
        raise PromptError(f"The {record['kind']} prompt does not fit its schema: {error}.") from None


def _packed(volume: Volume) -> dict[str, object]:
    boolean = volume.voxels.dtype.kind == "b"
    data = np.packbits(volume.voxels) if boolean else np.ascontiguousarray(volume.voxels)
    return {
        "affine": volume.grid.affine,
        "calibrated": volume.grid.calibrated,
        "modality": volume.source.modality,  # it decides how the numbers become grey levels
        "shape": volume.voxels.shape,
        "dtype": str(volume.voxels.dtype),
        "zlib": base64.b64encode(zlib.compress(data.tobytes())).decode(),
    }


def _unpacked(record: dict) -> Volume:
    try:
        shape, raw = tuple(record["shape"]), zlib.decompress(base64.b64decode(record["zlib"]))
        if record["dtype"] == "bool":
            voxels = np.unpackbits(np.frombuffer(raw, np.uint8), count=int(np.prod(shape))).astype(bool)
        else:
            voxels = np.frombuffer(raw, record["dtype"]).copy()
        grid = make_grid(shape[1:], record["affine"], record.get("calibrated", True))
        return Volume(voxels.reshape(shape), grid, Source(modality=record.get("modality", "")))
    except (GeometryError, KeyError, TypeError, ValueError, zlib.error) as error:
        raise PromptError(f"its voxels cannot be unpacked ({error}).") from None


def _tuples(value: object) -> object:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _world(values: NDArray) -> World:
    x, y, z = values.tolist()
    return x, y, z
