"""Mean Dice of whole structures that a 2D model finds by walking through the slices, after one, two and three clicks.

    python benchmarks/propagation.py --data ../shared/data [--model vesalius-s] [--weights FILE] [--limit 10]

Three sets: the hippocampus of `msd_hippocampus` (val; whole, and its two parts), both lungs and the thoracic spine of
the demo's chest CT, and generated volumes (blobs, bent tubes, forks, one of two touching ellipsoids; noise, low
contrast, other structures around, slices up to four times as thick as the pixels). The first click is the deepest pixel
of the slice of largest area in the default plane; each further click is the deepest point in mm of the largest error
component in 3D, positive where the target is missed, negative where the mask spills. All go through `Session.add`.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

import vesalius as vs
from vesalius.data.case import Case
from vesalius.data.collection import read_dataset
from vesalius.evaluate.clicks import correction, first_click
from vesalius.session import Model, Session

CLICKS = 3
CHEST = ("right lung", "left lung", "thoracic vertebral column")
SHAPE_MM = 80.0  # side of a generated volume
CONTRASTS = (25, 40, 60)  # grey levels between a generated target and what is around it
NOISE = 10.0  # standard deviation, grey levels
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Target:
    """One structure (i, j, k) in one image."""

    dataset: str
    structure: str
    case: str
    image: vs.Volume
    mask: Mask


@dataclass(frozen=True)
class Score:
    """Dice after each click; seconds and slices looked at of all clicks together."""

    dataset: str
    structure: str
    case: str
    dice: tuple[float, ...]
    seconds: float
    slices: int


def main() -> None:
    """Prints one row for each structure, one for each set, and the mean over the sets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="vesalius-s")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--limit", type=int, default=10, help="volumes of the hippocampus, and of each generated shape")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("propagation.csv"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = vs.load(args.model, args.weights)
    scores = []
    for target in targets(args.data, args.limit):
        scores.append(score_target(model, target))
        print(scores[-1], flush=True)
    with args.out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("dataset", "structure", "case", "1 click", "2 clicks", "3 clicks", "seconds", "slices"))
        writer.writerows((s.dataset, s.structure, s.case, *s.dice, s.seconds, s.slices) for s in scores)
    print_table(scores)


def targets(data: Path, limit: int) -> Iterator[Target]:
    """Every structure of the three sets."""
    for case in read_dataset(data / "msd_hippocampus/dataset.json").split("val")[:limit]:
        yield from hippocampus(case)
    yield from chest()
    for shape in SHAPES:
        for seed in range(limit):
            yield generate(shape, seed)


def hippocampus(case: Case) -> Iterator[Target]:
    """The hippocampus, and its anterior and posterior part."""
    image, labels = vs.read(case.image), vs.read(case.segmentation).voxels[0]
    for structure, mask in (("whole", labels > 0), ("anterior", labels == 1), ("posterior", labels == 2)):
        yield Target("hippocampus", structure, case.id, image, mask)


def chest() -> Iterator[Target]:
    """The lungs and the thoracic spine of the chest CT that comes with the package slicerio."""
    import slicerio

    folder = Path(slicerio.__file__).parent / "data"
    image, labels = vs.read(folder / "CTChest4.nrrd"), vs.read_segmentation(folder / "Segmentation.seg.nrrd")
    for structure in CHEST:
        yield Target("chest CT", structure, "CTChest4", image, labels.mask(structure))


def generate(shape: str, seed: int) -> Target:
    """A volume with a target of a kind of `SHAPES`, other structures around it, a bias field, blur and noise."""
    rng = np.random.default_rng([seed, *map(ord, shape)])
    spacing = np.array([1.0, 1.0, rng.choice([1, 2, 4])])
    size = (SHAPE_MM / spacing).astype(int)
    grid = vs.make_grid(tuple(map(int, size)), np.diag([*spacing, 1.0]))
    at = np.stack(np.meshgrid(*(np.arange(n) * step for n, step in zip(size, spacing, strict=True)), indexing="ij"), -1)

    level, contrast = rng.uniform(80, 170), rng.choice([-1, 1]) * rng.choice(CONTRASTS)
    greys = np.full(grid.shape, level)
    for _ in range(6):
        greys[ellipsoid(at, rng.uniform(0, SHAPE_MM, 3), rng.uniform(6, 16, 3))] = level + rng.uniform(-60, 60)
    mask, neighbour = SHAPES[shape](at, rng)
    greys[neighbour] = level + contrast * rng.choice([-0.5, 0.5, 1.5])
    greys[mask] = level + contrast
    bias = ndimage.zoom(rng.normal(0, 8, (3, 3, 3)), size / 3, order=1)
    greys = ndimage.gaussian_filter(greys + bias, rng.uniform(0.3, 1.0) / spacing) + rng.normal(0, NOISE, grid.shape)
    image = vs.Volume(np.clip(np.rint(greys), 0, 255).astype(np.uint8)[None], grid)
    return Target("generated", shape, f"{shape} {seed}", image, mask)


def blob(at: NDArray, rng: np.random.Generator) -> tuple[Mask, Mask]:
    """A ball with a bumpy surface, alone."""
    bumps = ndimage.zoom(rng.normal(0, 0.5, (4, 4, 4)), np.array(at.shape[:3]) / 4, order=3)
    away = np.linalg.norm(at - rng.uniform(0.4, 0.6, 3) * SHAPE_MM, axis=-1)
    parts, _ = ndimage.label(away < rng.uniform(12, 24) * (1 + bumps))
    mask = parts == np.bincount(parts[parts > 0]).argmax()
    return mask, np.zeros_like(mask)


def tube(at: NDArray, rng: np.random.Generator) -> tuple[Mask, Mask]:
    """A tube that bends on its way from below to above, alone."""
    return bend(at, rng.uniform(0.3, 0.7, (4, 2)), rng.uniform(4, 9)), np.zeros(at.shape[:3], bool)


def fork(at: NDArray, rng: np.random.Generator) -> tuple[Mask, Mask]:
    """Two tubes that become one half way up, alone."""
    trunk, radius, angle = rng.uniform(0.4, 0.6, 2), rng.uniform(4, 8), rng.uniform(0, 2 * np.pi)
    apart = rng.uniform(0.1, 0.25) * np.array([np.cos(angle), np.sin(angle)])
    mask = np.zeros(at.shape[:3], bool)
    for leg in (-apart, apart):
        mask |= bend(at, trunk + np.outer([1.5, 0.8, 0, 0], leg), radius)
    return mask, np.zeros_like(mask)


def bend(at: NDArray, corners: NDArray, radius: float) -> Mask:
    """What is nearer than `radius` to a smooth curve through `corners` (N, 2), evenly spaced from below to above."""
    heights = np.linspace(0.1, 0.9, 60)
    curve = SHAPE_MM * np.column_stack([ndimage.zoom(corners, (len(heights) / len(corners), 1), order=3), heights])
    return np.min([np.linalg.norm(at - point, axis=-1) for point in curve], axis=0) < radius


def pair(at: NDArray, rng: np.random.Generator) -> tuple[Mask, Mask]:
    """An ellipsoid, and another one of other grey that touches it."""
    middle, radii = rng.uniform(0.4, 0.6, 3) * SHAPE_MM, rng.uniform(9, 18, 3)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    mask = ellipsoid(at, middle, radii)
    return mask, ellipsoid(at, middle + direction * 1.7 * radii.mean(), rng.uniform(9, 18, 3)) & ~mask


SHAPES = {"blob": blob, "tube": tube, "fork": fork, "touching": pair}


def ellipsoid(at: NDArray, middle: NDArray, radii: NDArray) -> Mask:
    return (((at - middle) / radii) ** 2).sum(-1) <= 1


def score_target(model: Model, target: Target) -> Score:
    """Clicks on a target as a person would who sees the reference."""
    told: list[str] = []
    session = Session(model, target.image, progress=told.append)
    grid = target.image.grid
    point = vs.Point.from_index(grid, first_click(target.mask, grid, session.plane))
    dice, began, seconds = [], 0.0, 0.0
    for _ in range(CLICKS):
        began = time.perf_counter()
        found = session.add(point).mask("1")
        seconds += time.perf_counter() - began
        dice.append(2 * float((found & target.mask).sum()) / float(found.sum() + target.mask.sum()))
        point = correction(found, target.mask, grid) or point
    return Score(target.dataset, target.structure, target.case, tuple(dice), seconds, len(set(told)))


def print_table(scores: list[Score]) -> None:
    """Structures, sets (mean over their structures) and the mean over the sets, as Markdown."""
    print("\n| | targets | 1 click | 2 clicks | 3 clicks | seconds | slices |\n|---|---|---|---|---|---|---|")
    sets = []
    for dataset in dict.fromkeys(score.dataset for score in scores):
        rows = []
        for structure in dict.fromkeys(score.structure for score in scores if score.dataset == dataset):
            of_one = [score for score in scores if (score.dataset, score.structure) == (dataset, structure)]
            rows.append(np.mean([(*score.dice, score.seconds, score.slices) for score in of_one], axis=0))
            print_row(f"{dataset}, {structure}", len(of_one), rows[-1])
        sets.append(np.mean(rows, axis=0))
        print_row(f"**{dataset}**", sum(score.dataset == dataset for score in scores), sets[-1])
    print_row("**mean over sets**", len(scores), np.mean(sets, axis=0))


def print_row(name: str, count: int, values: NDArray) -> None:
    one, two, three, seconds, slices = values
    print(f"| {name} | {count} | {one:.3f} | {two:.3f} | {three:.3f} | {seconds:.1f} | {slices:.0f} |")


if __name__ == "__main__":
    main()
