"""The embedded default on the `val` split, beside MobileSAM at 1024 px, in one run: what a user's `Session` answers.

    python benchmarks/default_model.py --data ../shared/data [--weights FILE] [--datasets a,b] [--limit 20]
        [--only ours] [--out scores.csv]

A target is one object of an instance set, or the largest 8-connected part of a label in a semantic set: of each
picture the three largest that are not tiny (`vesalius.learn.targets.smallest`). Of a volume: each label's slice of
largest area in each of the three planes. Scores are taken at the picture's own resolution; a mean is over data sets,
of each the mean over its targets, without the sets of thin targets, which have tables of their own.

Prompts, the same for both models: clicks, of which the first is the deepest pixel of the target and each further one
the deepest pixel of the largest error component, positive where the target is missed; the tight box; a loose box,
each side of which is moved in or out by its own random part of up to 10 % of the box's size; a scribble along the
middle of the target. After one click the best of three candidates by predicted Dice counts.

clDice: Shit et al. 2021, clDice (CVPR), with the skeletons of scikit-image."""

from __future__ import annotations

import argparse
import csv
import time
import zlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import fmean

import numpy as np

import vesalius as vs
from vesalius.data.case import Case, Dataset
from vesalius.data.collection import open_collection
from vesalius.data.slices import SOFT_TISSUE_WINDOW, cut, read_picture, read_volume, window
from vesalius.download import hash_file
from vesalius.learn.simulate import POSITIVE, centre, correction, depth
from vesalius.learn.targets import connected_parts, smallest

CLICKS = {1: "1 click", 3: "3 clicks", 5: "5 clicks"}
PROMPTS = (*CLICKS.values(), "box", "loose box", "scribble")
TARGETS = 3
LOOSENESS = 0.1
THIN = ("fives_vessels", "muscle_us_fascicle", "rop_ridge")
PEER_WEIGHTS = "weights/mobile_sam_tinyvit_fp16.safetensors"  # in the folder that holds the data's
OUTSIDE = 1e6  # cost of a pixel outside the target, for the path of a scribble
Scores = tuple[float, float, float, float]  # the last four fields of a row


@dataclass(frozen=True)
class Row:
    """One answer: `oracle` is the best Dice among its candidates, `predicted` what the model says of its own."""

    dataset: str
    case: str
    picture: int
    target: int
    prompt: str
    model: str
    dice: float
    cldice: float
    predicted: float
    oracle: float

    @property
    def error(self) -> float:
        """By how much the predicted Dice is wrong."""
        return abs(self.predicted - self.dice)

    @property
    def loss(self) -> float:
        """What the choice among the candidates costs."""
        return self.oracle - self.dice


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="ours; by default those of the package")
    parser.add_argument("--peer-weights", type=Path, help="theirs; by default beside the data")
    parser.add_argument("--only", choices=("ours", "theirs"), help="one of the two models")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--datasets", default="", help="names, separated by commas; all by default")
    parser.add_argument("--limit", type=int, default=0, help="cases of each set; 0: all")
    parser.add_argument("--out", type=Path, default=Path("default_model.csv"))
    args = parser.parse_args()
    files = {
        "ours": ("vesalius-s", args.weights),
        "theirs": ("mobile-sam", args.peer_weights or args.data.parent / PEER_WEIGHTS),
    }
    models = {}
    for side, (name, weights) in files.items():
        if args.only in (None, side):
            model = models[side] = vs.load(name, weights, args.device)
            sha256 = hash_file(weights) if weights else model.card.weights.sha256
            print(f"{side}: {name}, weights {sha256[:12]}, {model.precision} ({model.precision_reason})", flush=True)
    rows: list[Row] = []
    with args.out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(Row))
        for dataset in open_collection(args.data):
            cases = dataset.split("val")
            if not cases or (args.datasets and dataset.name not in args.datasets.split(",")):
                continue
            began = time.perf_counter()
            found = [row for case in cases[: args.limit or None] for row in score_case(case, dataset, models)]
            rows += found
            writer.writerows(astuple(row) for row in found)
            file.flush()
            print(f"{dataset.name}: {len(found)} answers in {time.perf_counter() - began:.0f} s", flush=True)
    report(rows)


def score_case(case: Case, dataset: Dataset, models: dict[str, vs.Model]) -> Iterator[Row]:
    """Every answer of every model for every target of a case."""
    for number, (image, targets) in enumerate(pictures(case, dataset)):
        for name, model in models.items():
            session = vs.Session(model, image)
            for at, target in enumerate(targets):
                seed = zlib.crc32(f"{dataset.name}/{case.id}/{number}/{at}".encode())
                for prompt, scores in score_target(session, target, np.random.default_rng(seed)):
                    yield Row(dataset.name, case.id, number, at, prompt, name, *scores)


def pictures(case: Case, dataset: Dataset) -> Iterator[tuple[vs.Volume, list[np.ndarray]]]:
    """The pictures of a case, as images one voxel thick, and the targets (H, W) bool in each."""
    if dataset.dimension == 2:
        pixels, labels = read_picture(case)
        yield to_image(pixels), largest_targets(labels, dataset)
        return
    voxels, labels = read_volume(case, dataset.modality)
    if dataset.modality == "CT":
        voxels = window(voxels, *SOFT_TISSUE_WINDOW)
    for value in dataset.labels.values():
        for plane in range(3):
            others = tuple(axis for axis in range(3) if axis != plane)
            areas = (labels == value).sum(axis=others)
            if areas.max() > 0:
                position = int(areas.argmax())
                here = np.where(cut(labels, plane, position) == value, value, 0)
                yield to_image(cut(voxels, plane, position)), largest_targets(here, dataset)


def to_image(pixels: np.ndarray) -> vs.Volume:
    """Pixels (H, W) or (H, W, 3) as `vs.read` gives a picture file."""
    voxels = pixels.reshape(*pixels.shape[:2], -1).transpose(2, 1, 0)[..., None]
    return vs.Volume(voxels, vs.make_grid(voxels.shape[1:], np.diag([-1, -1, 1, 1]), calibrated=False))


def largest_targets(labels: np.ndarray, dataset: Dataset) -> list[np.ndarray]:
    """The objects, or the largest part of each label, that are not tiny: the three largest."""
    if dataset.label_kind == "instance":
        parts, owners = labels, list(range(int(labels.max()) + 1))
    else:
        parts, owners = connected_parts(labels)
    areas = np.bincount(parts.ravel(), minlength=len(owners))
    largest: dict[int, int] = {}
    for part in range(1, len(owners)):
        if areas[part] > areas[largest.get(owners[part], 0)] or owners[part] not in largest:
            largest[owners[part]] = part
    chosen = sorted(largest.values(), key=lambda part: -areas[part])
    return [parts == part for part in chosen[:TARGETS] if areas[part] >= smallest(labels.shape)]


def score_target(session: vs.Session, target: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, Scores]]:
    """Each prompt with the scores of its answer; the session encodes the picture once."""
    grid = session.image.grid
    session.steps.clear()
    at, sign = centre(target), POSITIVE
    for count in range(1, max(CLICKS) + 1):
        session.add(vs.Point.from_index(grid, (*at, 0), sign == POSITIVE))
        if count in CLICKS:
            yield CLICKS[count], score_answer(session, target)
        at, sign = correction(target, mask_of(session.result())) or (centre(target), POSITIVE)
    x0, y0, x1, y1 = tight_box(target)
    a0, b0, a1, b1 = loose_box(target, rng)
    line = [vs.Point.from_index(grid, (x, y, 0)).at for x, y in centre_line(target)]
    for name, prompt in (
        ("box", vs.Box.from_index(grid, (x0, y0, 0), (x1, y1, 0))),
        ("loose box", vs.Box.from_index(grid, (a0, b0, 0), (a1, b1, 0))),
        ("scribble", vs.Scribble(tuple(line))),
    ):
        session.steps.clear()
        session.add(prompt)
        yield name, score_answer(session, target)


def score_answer(session: vs.Session, target: np.ndarray) -> Scores:
    """Dice and clDice of the session's last answer, its predicted Dice, and the best Dice among its candidates."""
    each = [dice(mask_of(session.choose(n)), target) for n in range(len(session.steps[-1].candidates))]
    mask, predicted = mask_of(session.choose(0)), session.score()
    return each[0], cldice(mask, target), float("nan") if predicted is None else predicted, max(each)


def mask_of(found: vs.Segmentation) -> np.ndarray:
    """The mask (H, W) of the one target."""
    return found.mask("1")[..., 0].T


def tight_box(target: np.ndarray) -> np.ndarray:
    """The first and last pixel of a target: x, y, x, y."""
    rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
    return np.array([columns[0], rows[0], columns[-1], rows[-1]])


def loose_box(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The tight box with each side moved, in or out, by up to `LOOSENESS` of the box's size, within the picture."""
    box = tight_box(target)
    size = box[2:] - box[:2] + 1
    moved = box + rng.uniform(-LOOSENESS, LOOSENESS, 4) * np.tile(size, 2)
    return np.clip(moved, 0, np.tile(np.array(target.shape[::-1]) - 1, 2))


def centre_line(target: np.ndarray) -> list[tuple[int, int]]:
    """A stroke (x, y) through the deepest pixels of a target, from the first to the last tenth of its long axis."""
    from skimage.graph import route_through_array

    ys, xs = np.nonzero(target)
    depths = depth(target)
    offsets = np.stack([xs - xs.mean(), ys - ys.mean()])
    along = np.linalg.eigh(offsets @ offsets.T)[1][:, -1] @ offsets
    first, last = np.quantile(along, (0.1, 0.9))
    ends = []
    for members in (np.flatnonzero(along <= first), np.flatnonzero(along >= last)):
        deepest = members[np.argmax(depths[ys[members], xs[members]])]
        ends.append((ys[deepest], xs[deepest]))
    path, _ = route_through_array(np.where(target, 1 / np.maximum(depths, 1) ** 2, OUTSIDE), *ends)
    return [(int(x), int(y)) for y, x in path]


def dice(mask: np.ndarray, target: np.ndarray) -> float:
    return float(2 * (mask & target).sum() / (mask.sum() + target.sum()))


def cldice(mask: np.ndarray, target: np.ndarray) -> float:
    """The harmonic mean of the parts of each mask's skeleton that lie in the other mask; 0 for an empty one."""
    from skimage.morphology import skeletonize

    line, wanted = skeletonize(mask), skeletonize(target)
    precision, recall = target[line].sum() / max(line.sum(), 1), mask[wanted].sum() / max(wanted.sum(), 1)
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def report(rows: list[Row]) -> None:
    """Tables in Markdown, theirs in brackets: Dice and the means, then the sets of thin targets."""
    models = list(dict.fromkeys(row.model for row in rows))
    thin = [row for row in rows if row.dataset in THIN]
    others = [row for row in rows if row.dataset not in THIN]
    if others:
        print_table("Dice", others, "dice")
        print_line("mean over sets", cells(others, "dice"))
        if len(models) == 2:
            print_line("ours - theirs", [f"{difference(others, prompt):+.3f}" for prompt in PROMPTS])
            print_line("sets where ours is better", [count_better(others, prompt) for prompt in PROMPTS])
        print_line("error of the predicted Dice", cells(others, "error"))
    for model in models if others else []:
        error = fmean(mean(others, prompt, model, "error") for prompt in PROMPTS)
        loss = mean(others, "1 click", model, "loss")
        looser = mean(others, "box", model, "dice") - mean(others, "loose box", model, "dice")
        print(
            f"\n{model}: the predicted Dice is wrong by {error:.3f} over all prompts; the candidate chosen after one "
            f"click loses {loss:.3f} to the best one; a loose box loses {looser:.3f} to the tight one."
        )
    if thin:
        print_table("Thin targets, Dice", thin, "dice")
        print_table("Thin targets, clDice", thin, "cldice")


def print_table(title: str, rows: list[Row], value: str) -> None:
    print(f"\n{title}\n\n| data set | targets | " + " | ".join(PROMPTS) + " |")
    print("|---|---|" + "---|" * len(PROMPTS))
    for name in dict.fromkeys(row.dataset for row in rows):
        of_set = [row for row in rows if row.dataset == name]
        targets = {(row.case, row.picture, row.target) for row in of_set}
        print_line(name, cells(of_set, value), str(len(targets)))


def print_line(name: str, texts: list[str], targets: str = "") -> None:
    print(f"| {name} | {targets} | " + " | ".join(texts) + " |")


def cells(rows: list[Row], value: str) -> list[str]:
    """For each prompt the mean of ours, and theirs in brackets; of one model alone without."""
    models = sorted({row.model for row in rows})
    means = [[f"{mean(rows, prompt, model, value):.3f}" for model in models] for prompt in PROMPTS]
    return [f"{first} ({rest[0]})" if rest else first for first, *rest in means]


def mean(rows: list[Row], prompt: str, model: str, value: str) -> float:
    """The mean over data sets of the mean over targets."""
    return fmean(means_by_set(rows, prompt, model, value).values())


def means_by_set(rows: list[Row], prompt: str, model: str, value: str) -> dict[str, float]:
    by_set: dict[str, list[float]] = {}
    for row in rows:
        if (row.prompt, row.model) == (prompt, model):
            by_set.setdefault(row.dataset, []).append(getattr(row, value))
    return {name: fmean(values) for name, values in by_set.items()}


def difference(rows: list[Row], prompt: str) -> float:
    return mean(rows, prompt, "ours", "dice") - mean(rows, prompt, "theirs", "dice")


def count_better(rows: list[Row], prompt: str) -> str:
    ours, theirs = (means_by_set(rows, prompt, model, "dice") for model in ("ours", "theirs"))
    return f"{sum(ours[name] > theirs[name] for name in ours)} of {len(ours)}"


if __name__ == "__main__":
    main()
