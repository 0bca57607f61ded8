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
from safetensors.torch import save_file
from torch import Tensor, nn

from vesalius.checkpoint import read_checkpoint
from vesalius.data.collection import hash_manifest, open_collection
from vesalius.data.slices import iterate_slices, window
from vesalius.errors import CardError
from vesalius.layers.imagenet import MEAN, STD
from vesalius.layers.prompt_tokens import tokenize
from vesalius.learn import simulate
from vesalius.learn.augment import WIDE_WINDOW, move, random_window, recolour
from vesalius.learn.dice import dice_score, mask_loss
from vesalius.learn.stable_regions import draw_stable_regions
from vesalius.learn.superpixels import draw_superpixels
from vesalius.learn.synthesize import draw_shapes, paint, read_label_maps
from vesalius.learn.targets import Task, list_regions, list_targets
from vesalius.models.sam import UNUSED as CLASSIFIER
from vesalius.models.vesalius_s import Features, VesaliusS
from vesalius.scene import POINTS_OF_A_SCRIBBLE

LEFT_OUT = ("slicerio_chest_ct",)
LABEL_MAPS = "synthseg_labelmaps"
CHOICE = 0.05  # predicted Dice by which one candidate must be ahead of another to be chosen nearly always
SHAPES = 0.4  # of the painted pictures, the part whose labels are drawn at random
PROMPTS = ("click", "box", "scribble", "hint", "lasso")
SUPERPIXELS = 0.25  # of the pictures without their labels, the part cut into superpixels; others into even regions
UNUSED = (*CLASSIFIER, "mask_decoder.judge.")  # of MobileSAM; of version 1
NEW = ("skips.", "drawing.", "mask_decoder.")  # where vesalius-s has tensors that MobileSAM lacks


@dataclass(frozen=True)
class Args:
    """Everything that the result depends on; saved as `args.json` in the folder of the run.

    With `steps` 0, their number is chosen at the start so that the run takes `minutes`. `painted` and `unlabelled` are
    the shares of synthetic pictures and of `regions` pictures cut into even regions or superpixels. `without` leaves
    modalities out ("fluorescence,histology"); `only` names the tensors that learn, by their first letters ("skips.").
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
    fresh_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 50
    painted: float = 0.06
    unlabelled: float = 0.08
    regions: int = 400
    without: str = ""
    only: str = ""
    bf16: bool = True
    save_every: int = 50


@dataclass(frozen=True)
class Batch:
    """Normalised pixels (B, 3, S, S), three soft targets each (3, B, 1, S, S), 1 inside the picture (B, 1, S, S)."""

    pixels: Tensor
    targets: Tensor
    inside: Tensor


@dataclass(frozen=True)
class Shelf:
    """What pictures are drawn from: the labelled ones of each set, label maps to paint, and pictures in superpixels."""

    labelled: list[list[Task]]
    painted: list[Task]
    unlabelled: list[Task]


def main(args: Args) -> None:
    """Train, and write `weights.safetensors` (fp16) and `log.jsonl` (one line a step) to `args.out`."""
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shelf = read_shelf(args)
    torch.manual_seed(args.seed)
    model = VesaliusS({"encoder": args.encoder, "size": args.size})
    fresh = start_from(model, Path(args.start))
    model.to(device).eval()  # the batch norms are folded: their statistics stay as they are
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(tuple(args.only.split(","))))
    if (out / "args.json").exists():
        args = Args(**json.loads((out / "args.json").read_text(encoding="utf-8")))
    elif args.steps == 0:
        args = dataclasses.replace(args, steps=affordable_steps(model, fresh, shelf, args))
    (out / "args.json").write_text(json.dumps(dataclasses.asdict(args), indent=1))
    (out / "manifest.sha256").write_text(hash_manifest(Path(args.data)))

    optimiser = build_optimiser(model, fresh, args)
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
        losses = train_step(model, optimiser, shelf, step, args)
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


def start_from(model: VesaliusS, weights: Path) -> set[str]:
    """Load the weights of MobileSAM or of an earlier run; returns the names of the tensors that the file lacks."""
    start = {name: tensor for name, tensor in read_checkpoint(weights).items() if not name.startswith(UNUSED)}
    missing, unexpected = model.load_state_dict(start, strict=False)
    if unexpected or not all(name.startswith(NEW) for name in missing):
        raise CardError(f"{weights} is of another model ({unexpected + missing}); start from MobileSAM or vesalius-s.")
    return set(missing)


def read_shelf(args: Args) -> Shelf:
    """Everything to draw from: labelled pictures, label maps of heads to paint, pictures without their labels."""
    labelled = []
    unwanted = set(args.without.split(","))
    for dataset in open_collection(Path(args.data)):
        if dataset.name not in LEFT_OUT and unwanted.isdisjoint(dataset.modality.split(", ")):
            pictures = iterate_slices(dataset, "train", per_plane=2)
            listed = [list_targets(picture, dataset) for picture in pictures]
            labelled.append([task for task in listed if task.targets])
            print(f"{dataset.name}: {len(labelled[-1])} pictures", flush=True)
    labelled = [of_set for of_set in labelled if of_set]
    rng = np.random.default_rng(args.seed)
    unlabelled = []
    for number in range(args.regions if labelled else 0):
        of_set = labelled[number % len(labelled)]
        pixels = of_set[rng.integers(len(of_set))].pixels
        pixels = pixels if pixels.dtype == np.uint8 else window(pixels, *WIDE_WINDOW)
        divide = draw_superpixels if rng.random() < SUPERPIXELS else draw_stable_regions
        unlabelled.append(list_regions(divide(pixels, rng), pixels))
    unlabelled = [task for task in unlabelled if task.targets]
    painted = [list_regions(labels) for labels in read_label_maps(Path(args.data) / LABEL_MAPS)]
    print(f"{len(painted)} label maps, {len(unlabelled)} pictures cut into regions", flush=True)
    return Shelf(labelled, painted, unlabelled)


def affordable_steps(model: VesaliusS, fresh: set[str], shelf: Shelf, args: Args) -> int:
    """How many steps fit in `args.minutes`, by timing a few on a copy that is thrown away."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimiser = build_optimiser(model, fresh, args)
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    durations = []
    for step in range(10):
        started = time.monotonic()
        train_step(model, optimiser, shelf, step, args)
        durations.append(time.monotonic() - started)
    model.load_state_dict(state)
    return max(1, int(args.minutes * 60 / float(np.mean(durations[2:]))))


def build_optimiser(model: VesaliusS, fresh: set[str], args: Args) -> torch.optim.AdamW:
    """AdamW with rates for the encoder, the rest, and what starts from nothing; vectors do not decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        known = args.encoder_rate if name.startswith("image_encoder.") else args.decoder_rate
        peak = args.fresh_rate if name in fresh else known
        decay = args.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((peak, decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": members, "peak": peak, "weight_decay": decay} for (peak, decay), members in groups.items()],
        lr=0.0,
        betas=(0.9, 0.98),
    )


def rate(step: int, args: Args) -> float:
    """The learning rate's share of its peak: linear warmup, then half a cosine down to 1 %."""
    if step < args.warmup:
        return (step + 1) / args.warmup
    progress = (step - args.warmup) / max(args.steps - args.warmup, 1)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


def train_step(model: VesaliusS, optimiser: torch.optim.AdamW, shelf: Shelf, step: int, args: Args) -> dict[str, float]:
    """One batch, encoded once and prompted in three ways; returns the mean loss of each way.

    All randomness comes from the seed and the step, so that a resumed run draws what the whole run would have drawn.
    """
    rng = np.random.default_rng((args.seed, step))
    batch = draw_batch(shelf, rng, args, next(model.parameters()).device)
    with torch.autocast(batch.pixels.device.type, torch.bfloat16, enabled=args.bf16):
        features = model.encode(batch.pixels)
    features = tuple(part.float() for part in features)
    third = str(rng.choice(PROMPTS[2:]))
    losses = {
        prompt: play(model, features, batch, number, prompt, rng) for number, prompt in enumerate((*PROMPTS[:2], third))
    }
    optimiser.zero_grad()
    torch.stack([loss for loss, _ in losses.values()]).sum().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    off = float(np.mean([error for _, error in losses.values()]))
    return {**{prompt: round(loss.item(), 4) for prompt, (loss, _) in losses.items()}, "off": round(off, 4)}


def draw_batch(shelf: Shelf, rng: np.random.Generator, args: Args, device: torch.device) -> Batch:
    """Pictures with three targets each; a set is drawn in proportion to the fourth root of its number of pictures."""
    shares = np.array([len(of_set) for of_set in shelf.labelled]) ** 0.25
    pixels = torch.zeros(args.batch, 3, args.size, args.size)
    targets = torch.zeros(3, args.batch, 1, args.size, args.size)
    inside = torch.zeros(args.batch, 1, args.size, args.size)
    mean, std = torch.from_numpy(MEAN)[:, None, None], torch.from_numpy(STD)[:, None, None]
    for row in range(args.batch):
        kind = rng.random()
        if kind < args.painted:
            tasks, paints = shelf.painted, True
        elif kind < args.painted + args.unlabelled:
            tasks, paints = shelf.unlabelled, False
        else:
            tasks, paints = shelf.labelled[rng.choice(len(shares), p=shares / shares.sum())], False
        picture, masks = draw_view(tasks, paints, args.size, rng)
        height, width = picture.shape[1:]
        pixels[row, :, :height, :width] = (recolour(picture, rng) - mean) / std
        targets[:, row, 0, :height, :width] = masks
        inside[row, :, :height, :width] = 1
    return Batch(pixels.to(device), targets.to(device), inside.to(device))


def draw_view(tasks: list[Task], paints: bool, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A moved picture (3, h, w) and three of its targets (3, h, w); for one out of view, the first again."""
    while True:
        task = tasks[rng.integers(len(tasks))]
        pixels = task.pixels
        if paints:
            if rng.random() < SHAPES:
                task = list_regions(draw_shapes((192, 192), rng))
            pixels = paint(task.parts, rng)
        elif pixels.dtype == np.int16:
            pixels = random_window(pixels, rng)
        if not task.targets:
            continue
        picture = torch.from_numpy(pixels.astype(np.float32))
        picture = picture.expand(3, -1, -1) if picture.ndim == 2 else picture.permute(2, 0, 1)
        drawn = rng.choice(len(task.targets), size=3, p=task.weights)
        masks = np.stack([task.mask(task.targets[number]) for number in drawn])
        picture, moved = move(picture, torch.from_numpy(masks).float(), size, rng)
        if visible(moved[0]):
            return picture, torch.stack([mask if visible(mask) else moved[0] for mask in moved])


def visible(mask: Tensor) -> bool:
    """Whether enough of a soft target is in the view to be pointed at."""
    return int((mask > 0.25).sum()) >= 6


def play(
    model: VesaliusS, features: Features, batch: Batch, number: int, prompt: str, rng: np.random.Generator
) -> tuple[Tensor, float]:
    """The mean loss of a first prompt and of the last of some corrections, and how far the predicted Dice was off.

    Each correction is a click (after a scribble sometimes a stroke) into the largest error of the answer before. Only
    the last answer is learnt from, after a click the first one too; those between are played without gradients. One
    click may mean several things, so the best of three candidates counts; other answers are single. The predicted
    quality of every mask is trained to be its Dice, and to choose among candidates with little regret.
    """
    target = F.avg_pool2d(batch.targets[number], 2)  # masks have half the resolution of the input
    inside = F.avg_pool2d(batch.inside, 2)
    # A thin line covers less than half of every pixel; then its strongest pixels are the region.
    truth = target > target.flatten(1).max(1).values.mul(0.5).clamp(max=0.5)[:, None, None, None]
    said = first_prompt(prompt, batch.targets[number][:, 0].cpu().numpy(), rng)
    shares = np.array((3, 2, 2, 2, 1, 1, 1, 1)) if prompt == "click" else np.array((5, 2, 1, 1))
    corrections = int(rng.choice(len(shares), p=shares / shares.sum()))
    learnt = (0, corrections) if prompt == "click" else (corrections,)
    losses, errors = [], []
    for turn in range(corrections + 1):
        with torch.set_grad_enabled(turn in learnt):
            logits, quality = model.decode(features, *said.tensors(target.device))
        chosen = slice(1, 4) if prompt == "click" and turn == 0 else slice(0, 1)
        logits, quality = logits[:, chosen], quality[:, chosen]
        if turn in learnt:
            loss = mask_loss(logits, target, inside)
            reached = dice_score((logits > 0) & (inside > 0), truth)
            best = loss.min(1).values + 0.05 * loss.mean(1)
            # The mean, not the median, of what may come of a click: only so is the highest the best choice.
            regret = (F.softmax(quality / CHOICE, dim=1) * (reached.amax(1, keepdim=True) - reached)).sum(1)
            losses.append(best.mean() + F.mse_loss(quality, reached) + 0.5 * regret.mean())
            errors.append((quality.detach() - reached).abs().mean().item())
        if turn < corrections:
            rows, best_of = torch.arange(len(logits)), quality.detach().argmax(1)
            said.mask = logits.detach()[rows, best_of][:, None]
            answers = ((said.mask > 0) & (inside > 0))[:, 0].cpu().numpy()
            correct(said, truth[:, 0].cpu().numpy(), answers, prompt == "scribble" and rng.random() < 0.5, rng)
    return torch.stack(losses).mean(), float(np.mean(errors))


@dataclass
class Said:
    """What was said so far about each picture of a batch: clicks (x, y) with signs, a box, a mask, drawn strokes."""

    points: list[list[tuple[float, float]]]
    signs: list[list[int]]
    boxes: Tensor | None = None  # (B, 4)
    mask: Tensor | None = None  # (B, 1, S / 2, S / 2), logits
    drawn: Tensor | None = None  # (B, 2, S / 2, S / 2)

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Places (B, N, 2), their kinds (B, N), the mask and the strokes, as `VesaliusS.decode` takes them."""
        xy = torch.tensor(self.points, dtype=torch.float32).reshape(len(self.points), -1, 2)
        signs = torch.tensor(self.signs, dtype=torch.long).reshape(len(self.signs), -1)
        places, kinds = tokenize(xy, signs, self.boxes)
        mask, drawn = (part if part is None else part.to(device) for part in (self.mask, self.drawn))
        return places.to(device), kinds.to(device), mask, drawn


def first_prompt(prompt: str, targets: np.ndarray, rng: np.random.Generator) -> Said:
    """The first prompt for each soft target (B, S, S).

    A `hint` is the mask of a neighbouring slice, as propagation through a volume gives it: with its box, with a click,
    or alone. A `lasso` is a rough outline, with its box.
    """
    levels = np.clip(targets.max(axis=(1, 2), keepdims=True) / 2, None, 0.5)
    regions = targets > levels
    said = Said([[] for _ in regions], [[] for _ in regions])
    style = rng.random()
    boxed = regions
    if prompt in ("hint", "lasso"):
        sketch = simulate.mask_hint if prompt == "hint" else simulate.lasso
        boxed = np.stack([sketch(region, rng) for region in regions])
        strength = torch.from_numpy(rng.uniform(4, 16, size=(len(regions), 1, 1, 1)).astype(np.float32))
        said.mask = (2 * F.avg_pool2d(torch.from_numpy(boxed)[:, None].float(), 2) - 1) * strength
    if prompt == "click" or (prompt == "hint" and style < 0.2):
        for row, region in enumerate(regions):
            said.points[row].append(simulate.click(region, rng))
            said.signs[row].append(simulate.POSITIVE)
    elif prompt == "scribble":
        draw(said, list(regions), [simulate.POSITIVE] * len(regions), rng)
        if style < 0.3:
            rings = [simulate.ring(region, rng) for region in regions]
            signs = [simulate.NEGATIVE if ring.any() else simulate.POSITIVE for ring in rings]
            draw(
                said, [ring if ring.any() else region for ring, region in zip(rings, regions, strict=True)], signs, rng
            )
    elif prompt in ("box", "lasso") or style < 0.85:
        looseness = rng.choice((0.02, 0.1, 0.2), size=len(regions), p=(0.4, 0.4, 0.2))
        if prompt != "box":
            looseness[:] = 0
        corners = [simulate.box(region, loose, rng) for region, loose in zip(boxed, looseness, strict=True)]
        said.boxes = torch.tensor(corners, dtype=torch.float32).flatten(1)
    return said


def correct(said: Said, regions: np.ndarray, answers: np.ndarray, strokes: bool, rng: np.random.Generator) -> None:
    """Say where each answer (B, S / 2, S / 2) is most wrong: a click, mostly at the deepest pixel, or a stroke."""
    pairs = zip(regions, answers, strict=True)
    errors = [simulate.largest_error(*pair) or (pair[0], simulate.POSITIVE) for pair in pairs]
    if strokes:
        enlarged = [error.repeat(2, axis=0).repeat(2, axis=1) for error, _ in errors]
        draw(said, enlarged, [sign for _, sign in errors], rng)
        return
    for row, (error, sign) in enumerate(errors):
        x, y = simulate.centre(error) if rng.random() < 0.7 else simulate.click(error, rng)
        said.points[row].append((2 * x + 0.5, 2 * y + 0.5))
        said.signs[row].append(sign)


def draw(said: Said, regions: list[np.ndarray], signs: list[int], rng: np.random.Generator) -> None:
    """Add a stroke inside each region: as a map, and as some points along it, as `vesalius.scene` gives them."""
    size = regions[0].shape[0] // 2
    drawn = torch.zeros(len(regions), 2, size, size) if said.drawn is None else said.drawn.clone()
    for row, (region, sign) in enumerate(zip(regions, signs, strict=True)):
        stroke = simulate.stroke(region, rng)
        stroke = stroke if stroke.any() else region
        line = F.max_pool2d(torch.from_numpy(stroke)[None].float(), 2)[0]
        channel = 0 if sign == simulate.POSITIVE else 1
        drawn[row, channel] = torch.maximum(drawn[row, channel], line)
        ys, xs = np.nonzero(stroke)
        for at in rng.integers(len(ys), size=POINTS_OF_A_SCRIBBLE):
            said.points[row].append((float(xs[at]), float(ys[at])))
            said.signs[row].append(sign)
    said.drawn = drawn


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
