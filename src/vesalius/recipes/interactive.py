"""Fine-tunes a small promptable model on labelled pictures with simulated users: this is how `vesalius-s` is made.

    python -m vesalius.recipes.interactive --data DATA --start WEIGHTS.safetensors --out RUN --minutes 55

A run that was stopped goes on, with the same command, from its last checkpoint to the same weights."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from vesalius.data.collection import hash_manifest, open_collection
from vesalius.data.slices import iterate_slices
from vesalius.learn import simulate
from vesalius.learn.augment import move, random_window, recolour
from vesalius.learn.dice import dice_score, mask_loss
from vesalius.learn.targets import Task, list_targets
from vesalius.models.sam import MEAN, STD, Sam, tokenize

LEFT_OUT = ("slicerio_chest_ct",)


@dataclass(frozen=True)
class Args:
    """Everything that the result depends on; saved as `args.json` in the folder of the run.

    With `steps` 0, their number is chosen at the start so that the run takes `minutes`.
    """

    data: str
    start: str
    out: str
    minutes: float = 55
    steps: int = 0
    seed: int = 0
    encoder: str = "tiny_vit"
    size: int = 256
    batch: int = 8
    encoder_rate: float = 2e-4
    decoder_rate: float = 4e-4
    weight_decay: float = 0.01
    warmup: int = 50
    corrections: int = 3
    bf16: bool = True
    save_every: int = 50


@dataclass(frozen=True)
class Batch:
    """Normalised pixels (B, 3, S, S), two soft targets each (2, B, 1, S, S), 1 inside the picture (B, 1, S, S)."""

    pixels: Tensor
    targets: Tensor
    inside: Tensor


def main(args: Args) -> None:
    """Train, and write `weights.safetensors` (fp16) and `log.jsonl` (one line a step) to `args.out`."""
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tasks = read_tasks(args)
    model = Sam({"encoder": args.encoder, "size": args.size, "preprocess": "sam"})
    start = {name: tensor.float() for name, tensor in load_file(args.start).items()}
    model.load_state_dict(model.convert(start))
    model.to(device).eval()  # the batch norms are folded: their statistics stay as they are
    if (out / "args.json").exists():
        args = Args(**json.loads((out / "args.json").read_text(encoding="utf-8")))
    elif args.steps == 0:
        args = dataclasses.replace(args, steps=affordable_steps(model, tasks, args))
    (out / "args.json").write_text(json.dumps(dataclasses.asdict(args), indent=1))
    (out / "manifest.sha256").write_text(hash_manifest(Path(args.data)))

    optimiser = build_optimiser(model, args)
    done = 0
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        done = saved["step"]
        log_lines = (out / "log.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (out / "log.jsonl").write_text("".join(log_lines[:done]))
    for step in range(done, args.steps):
        started = time.monotonic()
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * rate(step, args)
        losses = train_step(model, optimiser, tasks, step, args)
        record = {"step": step, **losses, "seconds": round(time.monotonic() - started, 2)}
        with (out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")
        if step % 10 == 0:
            print(" ".join(f"{name} {value:.4g}" for name, value in record.items()), flush=True)
        if (step + 1) % args.save_every == 0 or step + 1 == args.steps:
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)
    halves = {name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()}
    save_file(halves, out / "weights.safetensors")


def read_tasks(args: Args) -> list[list[Task]]:
    """The pictures of the `train` split that hold a target, one list for each data set."""
    tasks = []
    for dataset in open_collection(Path(args.data)):
        if dataset.name not in LEFT_OUT:
            pictures = iterate_slices(dataset, "train", per_plane=2)
            listed = [list_targets(picture, dataset) for picture in pictures]
            tasks.append([task for task in listed if task.targets])
            print(f"{dataset.name}: {len(tasks[-1])} pictures", flush=True)
    return [of_set for of_set in tasks if of_set]


def affordable_steps(model: Sam, tasks: list[list[Task]], args: Args) -> int:
    """How many steps fit in `args.minutes`, by timing a few on a copy that is thrown away."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimiser = build_optimiser(model, args)
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    durations = []
    for step in range(10):
        started = time.monotonic()
        train_step(model, optimiser, tasks, step, args)
        durations.append(time.monotonic() - started)
    model.load_state_dict(state)
    return int(args.minutes * 60 / float(np.mean(durations[2:])))


def build_optimiser(model: Sam, args: Args) -> torch.optim.AdamW:
    """AdamW with one rate for the encoder and one for the rest; vectors (norms, biases) do not decay."""
    groups = []
    for of_encoder, peak in ((True, args.encoder_rate), (False, args.decoder_rate)):
        for decays in (True, False):
            members = [
                parameter
                for name, parameter in model.named_parameters()
                if name.startswith("image_encoder.") == of_encoder and (parameter.ndim > 1) == decays
            ]
            decay = args.weight_decay if decays else 0.0
            groups.append({"params": members, "peak": peak, "weight_decay": decay})
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98))


def rate(step: int, args: Args) -> float:
    """The learning rate's share of its peak: linear warmup, then half a cosine down to 1 %."""
    if step < args.warmup:
        return (step + 1) / args.warmup
    progress = (step - args.warmup) / max(args.steps - args.warmup, 1)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


def train_step(
    model: Sam, optimiser: torch.optim.AdamW, tasks: list[list[Task]], step: int, args: Args
) -> dict[str, float]:
    """One batch, encoded once and prompted in three ways; returns the mean loss of each way.

    All randomness comes from the seed and the step, so that a resumed run draws what the whole run would have drawn.
    """
    rng = np.random.default_rng((args.seed, step))
    batch = draw_batch(tasks, rng, args, next(model.parameters()).device)
    with torch.autocast(batch.pixels.device.type, torch.bfloat16, enabled=args.bf16):
        embedding = model.encode(batch.pixels)
    embedding = embedding.float()
    losses = {
        "click": play(model, embedding, batch, "click", rng, args),
        "box": play(model, embedding, batch, "box", rng, args),
    }
    third = str(rng.choice(["scribble", "hint"]))
    losses[third] = play(model, embedding, batch, third, rng, args)
    optimiser.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return {name: round(loss.item(), 4) for name, loss in losses.items()}


def draw_batch(tasks: list[list[Task]], rng: np.random.Generator, args: Args, device: torch.device) -> Batch:
    """Pictures drawn from the sets in proportion to the fourth root of their number of pictures."""
    shares = np.array([len(of_set) for of_set in tasks]) ** 0.25
    pixels = torch.zeros(args.batch, 3, args.size, args.size)
    targets = torch.zeros(2, args.batch, 1, args.size, args.size)
    inside = torch.zeros(args.batch, 1, args.size, args.size)
    mean, std = torch.from_numpy(MEAN)[:, None, None], torch.from_numpy(STD)[:, None, None]
    for row in range(args.batch):
        of_set = tasks[rng.choice(len(tasks), p=shares / shares.sum())]
        picture, masks = draw_view(of_set, args.size, rng)
        height, width = picture.shape[1:]
        pixels[row, :, :height, :width] = (recolour(picture, rng) - mean) / std
        targets[:, row, 0, :height, :width] = masks
        inside[row, :, :height, :width] = 1
    return Batch(pixels.to(device), targets.to(device), inside.to(device))


def draw_view(tasks: list[Task], size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A moved picture (3, h, w) and two of its targets (2, h, w); for a second out of view, the first again."""
    while True:
        task = tasks[rng.integers(len(tasks))]
        pixels = random_window(task.pixels, rng) if task.pixels.dtype == np.int16 else task.pixels
        picture = torch.from_numpy(pixels.astype(np.float32))
        picture = picture.expand(3, -1, -1) if picture.ndim == 2 else picture.permute(2, 0, 1)
        drawn = rng.choice(len(task.targets), size=2, p=task.weights)
        masks = np.stack([task.mask(task.targets[number]) for number in drawn])
        picture, moved = move(picture, torch.from_numpy(masks).float(), size, rng)
        if not visible(moved[0]):
            continue
        return picture, moved if visible(moved[1]) else moved[:1].expand(2, -1, -1)


def visible(mask: Tensor) -> bool:
    """Whether enough of a soft target is in the view to be pointed at."""
    return int((mask > 0.25).sum()) >= 6


def play(model: Sam, embedding: Tensor, batch: Batch, prompt: str, rng: np.random.Generator, args: Args) -> Tensor:
    """The mean loss of a first prompt and some corrections, each a click into the largest error of the answer before.

    One click may mean several things, so the best of three candidates counts; later answers are single. The
    predicted quality of every mask is trained to be its Dice.
    """
    target = batch.targets[0 if prompt == "click" else 1]
    # A thin line covers less than half of every pixel; then its strongest pixels are the region.
    level = target.flatten(1).max(1).values.mul(0.5).clamp(max=0.5)[:, None, None, None]
    truth = target > level
    regions = truth[:, 0].cpu().numpy()
    points, signs, boxes, mask = first_prompt(prompt, regions, args, rng)
    boxes = None if boxes is None else boxes.to(target.device)
    mask = None if mask is None else mask.to(target.device)
    rounds = 1 + int(rng.integers(args.corrections + 1) if prompt == "click" else rng.integers(2))
    losses = []
    for number in range(rounds):
        multimask = prompt == "click" and number == 0
        xy = torch.tensor(points, dtype=torch.float32).reshape(len(regions), -1, 2)
        kinds = torch.tensor(signs, dtype=torch.long).reshape(len(regions), -1)
        places, kinds = tokenize(xy.to(target.device), kinds.to(target.device), boxes)
        low, quality = model.decode(embedding, places, kinds, mask, multimask)
        logits = F.interpolate(low, target.shape[2:], mode="bilinear", align_corners=False)
        loss = mask_loss(logits, target, batch.inside)
        reached = dice_score((logits > 0) & (batch.inside > 0), truth)
        best = loss.min(1).values + 0.05 * loss.mean(1)
        losses.append(best.mean() + F.mse_loss(quality, reached))
        chosen = quality.detach().argmax(1)
        rows = torch.arange(len(chosen))
        mask = low.detach()[rows, chosen][:, None]
        answers = ((logits.detach()[rows, chosen] > 0) & (batch.inside[:, 0] > 0)).cpu().numpy()
        for row, (region, answer) in enumerate(zip(regions, answers, strict=True)):
            at, sign = simulate.correction(region, answer) or (simulate.centre(region), simulate.POSITIVE)
            points[row].append(at)
            signs[row].append(sign)
    return torch.stack(losses).mean()


def first_prompt(
    prompt: str, regions: np.ndarray, args: Args, rng: np.random.Generator
) -> tuple[list[list[tuple[int, int]]], list[list[int]], Tensor | None, Tensor | None]:
    """Points, signs, boxes and mask logits of a first prompt for each region (B, S, S).

    A `hint` is the mask of a neighbouring slice, as propagation through a volume gives it: with its box, with a click,
    or alone.
    """
    points: list[list[tuple[int, int]]] = [[] for _ in regions]
    boxes, mask = None, None
    style = rng.random()
    boxed = regions
    if prompt == "hint":
        boxed = np.stack([simulate.mask_hint(region, rng) for region in regions])
        strength = torch.from_numpy(rng.uniform(4, 16, size=(len(regions), 1, 1, 1)).astype(np.float32))
        covered = F.interpolate(torch.from_numpy(boxed)[:, None].float(), (args.size // 4,) * 2, mode="area")
        mask = (2 * covered - 1) * strength
    if prompt == "click" or (prompt == "hint" and style < 0.2):
        points = [[simulate.click(region, rng)] for region in regions]
    elif prompt == "scribble":
        count = int(rng.integers(2, 7))
        points = [_exactly(simulate.scribble(region, count, rng), count) for region in regions]
    elif prompt == "box" or style < 0.85:
        looseness = rng.choice((0.02, 0.1, 0.2), size=len(regions), p=(0.4, 0.4, 0.2))
        corners = [simulate.box(region, loose, rng) for region, loose in zip(boxed, looseness, strict=True)]
        boxes = torch.tensor(corners, dtype=torch.float32).flatten(1)
    signs = [[simulate.POSITIVE] * len(of_row) for of_row in points]
    return points, signs, boxes, mask


def _exactly(points: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """A stroke of `count` points, its last one repeated where it is shorter: rows of a batch need the same length."""
    return points + points[-1:] * (count - len(points))


def parse_args() -> Args:
    """Args from the command line: one option for each field."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for field in dataclasses.fields(Args):
        required = field.default is dataclasses.MISSING
        kind = {"str": str, "int": int, "float": float}.get(str(field.type), lambda text: text == "True")
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            required=required,
            default=None if required else field.default,
        )
    return Args(**vars(parser.parse_args()))


if __name__ == "__main__":
    main(parse_args())
