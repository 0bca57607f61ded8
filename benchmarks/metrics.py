"""Dice, NSD and HD95 of many structures in one case: ours against `surface-distance` and MONAI, in one run.

    pip install --no-deps monai surface-distance absl-py
    python benchmarks/metrics.py [--shape 512,512,300] [--structures 100] [--threads 2] [--runs ours,monai]

Organs are blobs with radii of 3 to 45 voxels, each predicted a little moved and with another edge. Each contender runs
in a process of its own, from two label maps in memory to the numbers, and prints seconds and peak memory above what it
held with both label maps. The peers are asked for one structure after the other: MONAI's usual input, all structures as
channels, would need 100 times the image. The numbers must be the same: Dice, and NSD with MONAI's `use_subvoxels`, for
all; HD95 for `surface-distance`, since MONAI's is another (docs/metrics.md).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

SPACING = (0.8, 0.8, 1.0)
TOLERANCE_MM = 2.0
METRICS = ("dice", "nsd@2", "hd95")
Numbers = list[tuple[float, ...]]  # Dice, NSD, HD95 of each structure


def main() -> None:
    """Runs each contender and compares their numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", default="512,512,300")
    parser.add_argument("--structures", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", default="ours,one thread,surface-distance,monai")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        measure(args.run, args.folder, args.structures, args.threads)
        return
    with tempfile.TemporaryDirectory() as place:
        shape = tuple(int(n) for n in args.shape.split(","))
        for name, labels in zip(("prediction", "reference"), make_case(shape, args.structures), strict=True):
            np.save(Path(place, f"{name}.npy"), labels)
        print(f"{args.shape} voxels of {SPACING} mm, {args.structures} structures, {args.threads} threads")
        found = {}
        for run in args.runs.split(","):
            command = [sys.executable, __file__, "--run", run, "--folder", place]
            command += ["--structures", str(args.structures), "--threads", str(args.threads)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"{run}: failed\n{done.stderr[-800:]}")
                continue
            found[run] = json.loads(done.stdout.splitlines()[-1])
            print(f"{run:18} {found[run]['seconds']:8.1f} s   {found[run]['peak_mb']:8.0f} MB", flush=True)
        compare(found)


def compare(found: dict[str, dict]) -> None:
    """Prints how many times faster and smaller ours is, and how far the numbers are apart."""
    ours = found.pop("ours", None)
    for run, theirs in found.items() if ours else ():
        apart = np.abs(np.subtract(ours["numbers"], theirs["numbers"])).max(axis=0)
        same = ", ".join(f"{metric} {most:.1e}" for metric, most in zip(METRICS, apart, strict=True))
        slower, larger = (theirs[what] / ours[what] for what in ("seconds", "peak_mb"))
        print(f"{run}: {slower:.1f} times our time, {larger:.1f} times our memory; most that numbers differ: {same}")


def measure(run: str, folder: Path, structures: int, threads: int) -> None:
    """Prints seconds, peak memory in MB and numbers of one contender as JSON."""
    warnings.simplefilter("ignore")
    make, threads = CONTENDERS[run], 1 if run == "one thread" else threads
    score = make(structures, threads)
    prediction, reference = (np.load(folder / f"{name}.npy") for name in ("prediction", "reference"))
    held, began = peak_memory_mb(), time.perf_counter()
    numbers = score(prediction, reference)
    seconds, peak = time.perf_counter() - began, peak_memory_mb()
    print(json.dumps({"seconds": seconds, "peak_mb": peak - held, "numbers": numbers}))


Contender = Callable[[np.ndarray, np.ndarray], Numbers]


def make_ours(structures: int, threads: int) -> Contender:
    """Vesalius, all structures at once."""
    import vesalius as vs
    from vesalius.evaluate.score import score_case

    def score(prediction: np.ndarray, reference: np.ndarray) -> Numbers:
        grid = vs.make_grid(reference.shape, np.diag([*SPACING, 1]))
        labels = vs.LabelSpace.of(str(n) for n in range(1, structures + 1))
        places = {name: (0, int(name)) for name in labels.names}
        ours, theirs = (
            vs.Segmentation(layer[None], grid, labels, places, frozenset(places)) for layer in (prediction, reference)
        )
        values = [row.value for row in score_case(ours, theirs, METRICS, threads=threads)]
        return list(zip(values[0::3], values[1::3], values[2::3], strict=True))

    return score


def make_surface_distance(structures: int, threads: int) -> Contender:
    """DeepMind's package, one structure after the other in one thread, which is all that it offers."""
    import surface_distance as peer

    def score(prediction: np.ndarray, reference: np.ndarray) -> Numbers:
        numbers = []
        for value in range(1, structures + 1):
            ours, theirs = prediction == value, reference == value
            distances = peer.compute_surface_distances(theirs, ours, SPACING)
            nsd = peer.compute_surface_dice_at_tolerance(distances, TOLERANCE_MM)
            hd95 = peer.compute_robust_hausdorff(distances, 95)
            numbers.append((float(peer.compute_dice_coefficient(theirs, ours)), float(nsd), float(hd95)))
        return numbers

    return score


def make_monai(structures: int, threads: int) -> Contender:
    """MONAI, one structure after the other."""
    import torch
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

    torch.set_num_threads(threads)
    options = {"include_background": True, "spacing": SPACING}

    def score(prediction: np.ndarray, reference: np.ndarray) -> Numbers:
        numbers = []
        for value in range(1, structures + 1):
            ours, theirs = (torch.from_numpy(labels == value)[None, None] for labels in (prediction, reference))
            nsd = compute_surface_dice(ours, theirs, [TOLERANCE_MM], use_subvoxels=True, **options)
            hd95 = compute_hausdorff_distance(ours, theirs, percentile=95, **options)
            numbers.append((float(compute_dice(ours, theirs)), float(nsd), float(hd95)))
        return numbers

    return score


CONTENDERS = {
    "ours": make_ours,
    "one thread": make_ours,
    "surface-distance": make_surface_distance,
    "monai": make_monai,
}


def make_case(shape: tuple[int, ...], structures: int) -> tuple[np.ndarray, np.ndarray]:
    """The label maps (i, j, k) of a prediction and its reference: one blob in each cell of a lattice."""
    rng = np.random.default_rng(0)
    prediction, reference = np.zeros((2, *shape), np.uint8)
    cells = lattice(shape, structures)
    size = np.array(shape) // cells
    for value, cell in enumerate(list(np.ndindex(*cells))[:structures], start=1):
        corner = np.array(cell) * size
        box = tuple(slice(start, start + n) for start, n in zip(corner, size, strict=True))
        radii = np.maximum(size * np.exp(rng.uniform(np.log(0.05), np.log(0.45))) * rng.uniform(0.7, 1, 3), 3)
        middle, moved = (size - 1) / 2, rng.normal(0, 0.7, 3)
        reference[box][blob(size, middle, radii, rng)] = value
        prediction[box][blob(size, middle + moved, radii, rng)] = value
    return prediction, reference


def lattice(shape: tuple[int, ...], structures: int) -> tuple[int, ...]:
    """How many cells along each axis hold so many structures in nearly cubic cells."""
    edge = (np.prod(shape) / structures) ** (1 / 3)
    while np.prod(cells := np.maximum(1, np.array(shape) // int(edge))) < structures:
        edge -= 1
    return tuple(int(n) for n in cells)


def blob(size: np.ndarray, middle: np.ndarray, radii: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An ellipsoid whose surface waves by about a voxel."""
    i, j, k = ((np.arange(n) - m) / r for n, m, r in zip(size, middle, radii, strict=True))
    outwards = np.sqrt(i[:, None, None] ** 2 + j[:, None] ** 2 + k**2) - 1
    waves = ndimage.gaussian_filter(rng.normal(size=size).astype(np.float32), 3)
    return outwards * radii.mean() + waves / waves.std() < 0


def peak_memory_mb() -> float:
    """The most memory that this process has held so far; getrusage would count its parent's too."""
    said = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(said[1]) / 2**10 if said else 0.0


if __name__ == "__main__":
    np.Inf, np.NaN = np.inf, np.nan  # type: ignore[attr-defined]  # as surface-distance 0.1 writes them
    main()
