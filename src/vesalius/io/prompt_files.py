"""Files of prompts: our JSON here; CSV tables, Slicer markups and challenge .npz in files of their own.

Every format is first turned into the records of our JSON, whose schema is `prompts.schema.json` beside this file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.errors import FormatError, PromptError
from vesalius.grid import Grid
from vesalius.io import read
from vesalius.io.challenge_prompts import challenge_to_records
from vesalius.io.csv_prompts import csv_to_records
from vesalius.io.slicer_markups import markups_to_records
from vesalius.prompts import (
    KINDS,
    Box,
    Example,
    Lasso,
    MaskHint,
    Named,
    Point,
    Prompt,
    Scribble,
    Text,
    World,
    from_json,
    to_json,
)
from vesalius.volume import Volume

# the fields of each kind: required, optional
FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "point": ({"at"}, {"positive"}),
    "box": ({"corner", "opposite"}, {"positive", "axes"}),
    "scribble": ({"points"}, {"positive"}),
    "lasso": ({"outline"}, {"positive"}),
    "mask": (set(), {"positive", "file", "mask"}),
    "text": ({"words"}, set()),
    "named": ({"structure"}, set()),
    "example": ({"image", "mask"}, set()),
}

_Entry = tuple[str, str, dict]  # where it stands in the file, the space of its numbers, its JSON record


def read_prompts(path: Path, grid: Grid) -> list[tuple[str, Prompt]]:
    """The prompts of a .json, .mrk.json, .csv or .npz for an image on `grid`, each with the name of its target.

    Raises FormatError for a file that is none of these, and PromptError that names the entry for a prompt that is
    incomplete, or in mm while the image has no physical unit. Whether prompts lie inside is not checked here.
    """
    try:
        entries = _entries(path)
    except OSError as error:
        raise FormatError(f"{path.name} cannot be read ({error.strerror}); check its permissions.") from None
    prompts = []
    for where, space, record in entries:
        try:
            _check_fields(record)
            prompts.append((record.get("target", "1"), _prompt(record, space, grid, path.parent)))
        except PromptError as error:
            raise PromptError(f"{path.name}, {where}: {error}") from None
    return prompts


def write_prompts(prompts: Iterable[tuple[str, Prompt]], path: Path, grid: Grid) -> None:
    """Prompts as our JSON, in RAS mm, or in voxel indices where the image on `grid` has no physical unit."""
    records = []
    for target, prompt in prompts:
        record = {"target": target, **to_json(prompt)}
        records.append(record if grid.calibrated else _in_indices(record, prompt, grid))
    content = {"version": 1, "space": "RAS" if grid.calibrated else "index", "prompts": records}
    try:
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    except OSError as error:
        raise FormatError(f"Cannot write {path}: {error.strerror}; choose another place.") from None


def prompt_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of our prompt files."""
    return json.loads(files("vesalius.io").joinpath("prompts.schema.json").read_text(encoding="utf-8"))


def _entries(path: Path) -> list[_Entry]:
    if not path.is_file():
        raise FormatError(f"There is no prompt file {path}; check the name.")
    match path.suffix.lower():
        case ".npz":
            return [(where, "index", record) for where, record in challenge_to_records(path)]
        case ".csv":
            return csv_to_records(path)
        case ".json":
            return _json_entries(path)
    raise FormatError(f"{path.name} is no prompt file; give a .json, .mrk.json, .csv or .npz.")


def _json_entries(path: Path) -> list[_Entry]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise FormatError(f"{path.name} is not JSON ({error}); correct it there.") from None
    if isinstance(content, dict) and "markups" in content:
        try:
            records = markups_to_records(content, path.name.removesuffix(".json").removesuffix(".mrk"))
        except PromptError as error:
            raise PromptError(f"{path.name}, {error}") from None
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path.name} is not a markups file as Slicer writes it ({error!r}).") from None
        return [(where, "RAS", record) for where, record in records]
    if not isinstance(content, dict) or not isinstance(content.get("prompts"), list):
        raise FormatError(
            f'{path.name} has no list of prompts; write {{"version": 1, "space": ..., "prompts": [...]}}.'
        )
    if content.get("version") != 1:
        raise FormatError(f"{path.name} has version {content.get('version')!r}; this vesalius reads version 1.")
    if unknown := content.keys() - {"$schema", "version", "space", "prompts"}:
        raise FormatError(f"{path.name} has an unknown field {min(unknown)!r}; remove it.")
    space = content.get("space")
    if space not in ("RAS", "index"):
        raise PromptError(f'{path.name} has space {space!r}; write "RAS" (mm) or "index" (voxels).')
    return [(f"prompt {n}", space, record) for n, record in enumerate(content["prompts"], start=1)]


def _check_fields(record: object) -> None:
    """Refuses an unknown kind, and fields that are missing, unknown or of another type, but for positions."""
    if not isinstance(record, dict):
        raise PromptError('it is not an object; write {"kind": ..., ...}.')
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in FIELDS:
        near = get_close_matches(str(kind), KINDS, n=2) or list(KINDS)
        raise PromptError(f"unknown kind {kind!r}; did you mean {' or '.join(near)}?")
    required, optional = FIELDS[kind]
    if missing := required - record.keys():
        raise PromptError(f"{kind} needs {', '.join(sorted(missing))}.")
    known = {"kind", "target"} | required | optional
    if unknown := record.keys() - known:
        name = min(unknown)
        near = get_close_matches(name, known, n=1) or sorted(known)
        raise PromptError(f"{kind} has no field {name!r}; did you mean {', '.join(near)}?")
    if kind == "mask" and ("file" in record) == ("mask" in record):
        raise PromptError("a mask needs either `file` or `mask`.")
    if not isinstance(record.get("positive", True), bool):
        raise PromptError(f"positive is {record['positive']!r}; write true or false.")
    for name in ("target", "words", "structure", "file"):
        if name in record and not (isinstance(record[name], str) and record[name]):
            raise PromptError(f"{name} is {record[name]!r}; write a text.")


def _prompt(record: dict, space: str, grid: Grid, folder: Path) -> Prompt:
    positive = record.get("positive", True)
    match record["kind"]:
        case "point":
            return Point(_position(record["at"], space, grid), positive)
        case "box":
            return _box(record, space, grid)
        case "scribble":
            return Scribble(_positions(record["points"], 1, space, grid), positive)
        case "lasso":
            return Lasso(_positions(record["outline"], 3, space, grid), positive)
        case "mask":
            return MaskHint(_volume(record.get("file", record.get("mask")), folder), positive)
        case "example":
            return Example(_volume(record["image"], folder), _volume(record["mask"], folder))
        case "text":
            return Text(record["words"])
    return Named(record["structure"])


def _position(value: object, space: str, grid: Grid) -> World:
    """A position of the file in RAS mm."""
    if space not in ("RAS", "index"):
        raise PromptError(f"its space is {space!r}; write RAS (mm) or index (voxels).")
    if space == "RAS" and not grid.calibrated:
        raise PromptError(
            "it is given in mm, but the image has no physical unit; give voxel indices and say so with space index."
        )
    numbers = _numbers(value)
    if space == "RAS" and len(numbers) == 3:
        return numbers[0], numbers[1], numbers[2]
    thin = grid.thin_axis()
    if space == "index" and len(numbers) == 2 and thin is not None:
        numbers.insert(thin, 0.0)
    if space == "index" and len(numbers) == 3:
        x, y, z = grid.world(numbers).tolist()
        return x, y, z
    raise PromptError(f"{value!r} is not a position of this image; give x, y, z.")


def _positions(value: object, least: int, space: str, grid: Grid) -> tuple[World, ...]:
    if not isinstance(value, list) or len(value) < least:
        raise PromptError(f"{value!r} is not a list of at least {least} position{'s' * (least > 1)}.")
    return tuple(_position(item, space, grid) for item in value)


def _numbers(value: object) -> list[float]:
    if not isinstance(value, list) or not all(type(number) in (int, float) for number in value):
        raise PromptError(f"{value!r} is not a list of numbers.")
    if not all(map(math.isfinite, value)):
        raise PromptError(f"{value!r} has a number that is not finite.")
    return [float(number) for number in value]


def _box(record: dict, space: str, grid: Grid) -> Box:
    corner, opposite = (_position(record[name], space, grid) for name in ("corner", "opposite"))
    positive = record.get("positive", True)
    if space == "index":
        if "axes" in record:
            raise PromptError("axes belong to space RAS; in space index the edges run along the grid.")
        return Box.from_index(grid, grid.index(corner), grid.index(opposite), positive)
    if "axes" not in record:
        return Box(corner, opposite, positive)
    rows = record["axes"] if isinstance(record["axes"], list) else []
    axes = np.array([_numbers(row) for row in rows if isinstance(row, list) and len(row) == 3])
    if axes.shape != (3, 3) or abs(np.linalg.det(axes)) < 1e-6:
        raise PromptError(f"axes are {record['axes']!r}; give three directions of three numbers that are not parallel.")
    x, y, z = (tuple(row) for row in axes.tolist())
    return Box(corner, opposite, positive, (x, y, z))


def _volume(value: object, folder: Path) -> Volume:
    """A volume from another file, or from within this one."""
    if isinstance(value, str):
        return read(folder / value)
    packed = from_json({"kind": "mask", "mask": value})
    if not isinstance(packed, MaskHint) or not isinstance(packed.mask, Volume):
        raise PromptError(f"{value!r} is neither a file nor voxels.")
    return packed.mask


def _in_indices(record: dict, prompt: Prompt, grid: Grid) -> dict:
    """A record of `to_json` with its positions as voxel indices."""
    record = dict(record)
    for name in ("at", "corner", "opposite", "points", "outline"):
        if name in record:
            record[name] = np.round(grid.index(record[name]), 6).tolist()
    if isinstance(prompt, Box):
        corners, ends = grid.index(prompt.corners()), grid.index([prompt.corner, prompt.opposite])
        if not np.allclose((corners.min(axis=0), corners.max(axis=0)), (ends.min(axis=0), ends.max(axis=0)), atol=1e-3):
            raise PromptError("A turned box cannot be written for an image without a physical unit.")
        del record["axes"]
    return record
