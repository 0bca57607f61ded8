"""How long a click takes: the default model against MobileSAM at 1024 px, in one run.

    python benchmarks/latency.py [--weights mobile_sam.pt] [--threads 2] [--rounds 9] [--device cpu]

Both segment the same generated picture through the same `Session`, each in its best precision on this machine, turn by
turn; medians are printed. The first click includes the image encoder, the next one only prompts and mask decoder. Time
does not depend on the values of the weights, so without MobileSAM's file it runs with random ones.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

import vesalius as vs
from vesalius.hub import random_model, set_precision

CENTRE = (210, 240)


def main() -> None:
    """Prints the medians in milliseconds and how many times faster the default is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="MobileSAM's released file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    if args.weights:
        peer = vs.load("mobile-sam", args.weights, args.device)
    else:
        peer = random_model(vs.find_card("mobile-sam"), tiny=False).to(args.device)
        set_precision(peer, args.device, "auto")
    models = {"vesalius-s": vs.load("vesalius-s", device=args.device), "mobile-sam": peer}
    chip = torch.cuda.get_device_name() if args.device.startswith("cuda") else f"{args.threads} threads"
    print(f"torch {torch.__version__}, {chip}, 512 x 512 picture, median of {args.rounds} turns")
    for size, radius in {"large": 120, "small": 14}.items():
        first: dict[str, list[float]] = {name: [] for name in models}
        following: dict[str, list[float]] = {name: [] for name in models}
        for turn in range(args.rounds + 1):
            for name, model in models.items():
                session = vs.Session(model, picture(turn, radius))
                grid = session.image.grid
                for n, across in enumerate((0.0, 0.7, -0.7)):
                    began = time.perf_counter()
                    session.add(vs.Point.from_index(grid, (CENTRE[0] + across * radius, CENTRE[1], 0)))
                    if turn:  # the first turn warms up
                        (following if n else first)[name].append(1000 * (time.perf_counter() - began))
        for name, model in models.items():
            print(f"{size} target, {name:12} {model.precision}: first click {median(first[name]):7.1f} ms, ", end="")
            print(f"next click {median(following[name]):6.1f} ms")
        print(f"ratio of the first click: {median(first['mobile-sam']) / median(first['vesalius-s']):.1f}")
        print(f"ratio of the next click:  {median(following['mobile-sam']) / median(following['vesalius-s']):.1f}")


def picture(seed: int, radius: float) -> vs.Volume:
    """A bright disc on a noisy ground."""
    random = np.random.default_rng(seed)
    i, j = np.mgrid[:512, :512]
    disc = (i - CENTRE[0]) ** 2 + (j - CENTRE[1]) ** 2 < radius**2
    pixels = np.clip(70 + 90 * disc + 12 * random.normal(size=(512, 512)), 0, 255).astype(np.uint8)
    return vs.Volume(pixels[None, :, :, None], vs.make_grid((512, 512, 1), np.diag([-1, -1, 1, 1]), calibrated=False))


if __name__ == "__main__":
    main()
