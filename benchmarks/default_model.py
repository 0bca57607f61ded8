"""Mean Dice of the embedded default on the `val` split, beside its starting weights at 1024 px, in one run.

    python benchmarks/default_model.py --data ../shared/data [--datasets a,b] [--limit 20] [--out scores.csv]

A target is one object of an instance set, or the largest 8-connected part of a label in a semantic set: of each
picture the three largest that are not tiny (`vesalius.learn.targets.smallest`). Of a volume: each label's slice of
largest area in each of the three planes. The first click is the deepest pixel of the target; each further click is
the deepest pixel of the largest error component, positive where the target is missed, with the low-resolution logits
of the answer before. After one click the best of three candidates by predicted quality counts. Dice is taken at the
picture's own resolution."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from vesalius.data.case import Case, Dataset
from vesalius.data.collection import open_collection
from vesalius.data.slices import SOFT_TISSUE_WINDOW, cut, read_picture, read_volume, window
from vesalius.learn.simulate import POSITIVE, centre, correction
from vesalius.learn.targets import connected_parts, smallest
from vesalius.models.sam import Frame, Sam, frame_sam, restore_sam, tokenize

PROMPTS = ("1 click", "3 clicks", "box")
TARGETS = 3
PACKAGED = Path(__file__).parent.parent / "src/vesalius/weights/vesalius-s.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=PACKAGED, help="ours, at 256 px")
    parser.add_argument("--size", type=int, default=256, help="longest side that ours looks at")
    parser.add_argument("--start", type=Path, help="theirs, at 1024 px; by default beside the data")
    parser.add_argument("--start-size", type=int, default=1024)
    parser.add_argument("--datasets", default="", help="names, separated by commas; all by default")
    parser.add_argument("--limit", type=int, default=0, help="cases of each set; 0: all")
    parser.add_argument("--out", type=Path, default=Path("default_model.csv"))
    args = parser.parse_args()
    start = args.start or args.data.parent / "weights/mobile_sam_tinyvit_fp16.safetensors"
    models = {"ours": load(args.weights, args.size), "theirs": load(start, args.start_size)}
    rows = []
    for dataset in open_collection(args.data):
        if args.datasets and dataset.name not in args.datasets.split(","):
            continue
        cases = dataset.split("val")
        for case in cases[: args.limit or len(cases)]:
            for number, (rgb, targets) in enumerate(pictures(case, dataset)):
                for name, model in models.items():
                    for target, scores in enumerate(score_picture(model, rgb, targets)):
                        for prompt, dice in zip(PROMPTS, scores, strict=True):
                            rows.append((dataset.name, case.id, number, target, prompt, name, round(dice, 4)))
        if cases:
            print_means(dataset.name, [row for row in rows if row[0] == dataset.name])
    with args.out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("dataset", "case", "picture", "target", "prompt", "model", "dice"))
        writer.writerows(rows)
    print_table(rows)


def load(weights: Path, size: int) -> Sam:
    """A TinyViT SAM that looks at `size` pixels."""
    model = Sam({"encoder": "tiny_vit", "size": size, "preprocess": "sam"})
    model.load_state_dict(
        model.convert(
            {
                name: tensor.float() if tensor.is_floating_point() else tensor
                for name, tensor in load_file(weights).items()
            }
        )
    )
    return model.eval()


def pictures(case: Case, dataset: Dataset) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """RGB pictures (H, W, 3) of a case and the targets (H, W) bool in each."""
    if dataset.dimension == 2:
        pixels, labels = read_picture(case)
        yield to_rgb(pixels), largest_targets(labels, dataset)
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
                yield to_rgb(cut(voxels, plane, position)), largest_targets(here, dataset)


def to_rgb(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


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


@torch.inference_mode()
def score_picture(model: Sam, rgb: np.ndarray, targets: list[np.ndarray]) -> list[tuple[float, float, float]]:
    """Dice of each target after one click, after three, and with a tight box; the picture is encoded once."""
    frame = frame_sam(rgb, model.size)
    embedding = model.encode(frame.pixels) if targets else torch.empty(0)
    scores = []
    for target in targets:
        points, signs = [centre(target)], [POSITIVE]
        mask, logits = ask(model, embedding, frame, points, signs, None)
        after_one = dice(mask, target)
        for _ in range(2):
            at, sign = correction(target, mask) or (centre(target), POSITIVE)
            points.append(at)
            signs.append(sign)
            mask, logits = ask(model, embedding, frame, points, signs, logits)
        scores.append((after_one, dice(mask, target), dice(ask_box(model, embedding, frame, target), target)))
    return scores


def ask(
    model: Sam,
    embedding: Tensor,
    frame: Frame,
    points: list[tuple[int, int]],
    signs: list[int],
    earlier: Tensor | None,
) -> tuple[np.ndarray, Tensor]:
    """The mask (H, W) for some clicks, and its low-resolution logits; the first click chooses among three."""
    places, kinds = tokenize(to_network(points, frame), torch.tensor([signs]), None)
    logits, quality = model.decode(embedding, places, kinds, earlier, multimask=earlier is None)
    best = logits[:, quality[0].argmax()][:, None]
    return restore_sam(best, frame)[0, 0].numpy() > 0, best


def ask_box(model: Sam, embedding: Tensor, frame: Frame, target: np.ndarray) -> np.ndarray:
    """The mask (H, W) for the tight box of a target."""
    ys, xs = np.nonzero(target)
    box = to_network([(xs.min(), ys.min()), (xs.max(), ys.max())], frame).flatten(1)
    places, kinds = tokenize(torch.empty(1, 0, 2), torch.empty(1, 0, dtype=torch.long), box)
    logits, _ = model.decode(embedding, places, kinds, None, multimask=False)
    return restore_sam(logits, frame)[0, 0].numpy() > 0


def to_network(points: list[tuple[int, int]], frame: Frame) -> Tensor:
    """Pixel centres of the picture as pixel centres of the network's input, (1, N, 2)."""
    scale = torch.tensor(frame.scale)
    return ((torch.tensor(np.array(points), dtype=torch.float32) + 0.5) * scale - 0.5)[None]


def dice(mask: np.ndarray, target: np.ndarray) -> float:
    return float(2 * (mask & target).sum() / (mask.sum() + target.sum()))


def print_means(name: str, rows: list[tuple]) -> None:
    """One line of the table: targets, and for each prompt ours, theirs and the difference."""
    cells = []
    for prompt in PROMPTS:
        ours, theirs = mean(rows, prompt, "ours"), mean(rows, prompt, "theirs")
        cells += [f"{ours:.3f}", f"{theirs:.3f}", f"{ours - theirs:+.3f}"]
    count = sum(row[4:6] == (PROMPTS[0], "ours") for row in rows)
    print(f"| {name} | {count} | " + " | ".join(cells) + " |", flush=True)


def mean(rows: list[tuple], prompt: str, model: str) -> float:
    """The mean over data sets of the mean over targets."""
    by_set: dict[str, list[float]] = {}
    for row in rows:
        if row[4:6] == (prompt, model):
            by_set.setdefault(row[0], []).append(row[6])
    return float(np.mean([np.mean(of_set) for of_set in by_set.values()])) if by_set else float("nan")


def print_table(rows: list[tuple]) -> None:
    """Every set and the mean over sets, as Markdown."""
    print("\n| data set | targets | " + " | ".join(f"{p} ours | theirs | diff" for p in PROMPTS) + " |")
    print("|---|---|" + "---|" * 9)
    for name in dict.fromkeys(row[0] for row in rows):
        print_means(name, [row for row in rows if row[0] == name])
    print_means("mean over sets", rows)


if __name__ == "__main__":
    main()
