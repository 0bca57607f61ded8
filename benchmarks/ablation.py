"""What each part of `vesalius-s` gives: its scores on the `val` split with one part switched off at a time.

    python benchmarks/ablation.py --data ../shared/data [--limit 3] [--weights FILE]

The parts are switched off in the trained network, which was not trained without them: so this says what the network
uses them for, and less what another training would have lost. Targets, prompts and means are those of
`benchmarks/default_model.py`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from default_model import PROMPTS, THIN, Row, mean, score_case

import vesalius as vs
from vesalius.data.collection import open_collection
from vesalius.models import vesalius_s


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="by default those of the package")
    parser.add_argument("--limit", type=int, default=3, help="cases of each set")
    args = parser.parse_args()
    print(
        "| without | " + " | ".join(PROMPTS) + " | fives_vessels, box | error of the predicted Dice | lost by choice |"
    )
    print("|---|" + "---|" * (len(PROMPTS) + 3))
    for part, switch_off in PARTS.items():
        model = vs.load("vesalius-s", args.weights)
        whole = vesalius_s.WHOLE
        switch_off(model)
        rows = [
            row
            for dataset in open_collection(args.data)
            for case in dataset.split("val")[: args.limit]
            for row in score_case(case, dataset, {"ours": model})
        ]
        vesalius_s.WHOLE = whole
        print(f"| {part} | " + " | ".join(cells(rows)) + " |", flush=True)


def cells(rows: list[Row]) -> list[str]:
    """Mean Dice for each prompt, a thin set, calibration and choice."""
    thick = [row for row in rows if row.dataset not in THIN]
    values = [mean(thick, prompt, "ours", "dice") for prompt in PROMPTS]
    values.append(mean([row for row in rows if row.dataset == "fives_vessels"], "box", "ours", "dice"))
    values.append(fmean(mean(thick, prompt, "ours", "error") for prompt in PROMPTS))
    values.append(mean(thick, PROMPTS[0], "ours", "loss"))
    return [f"{value:.3f}" for value in values]


def look_from_far_only(model: Any) -> None:
    vesalius_s.WHOLE = 0.0


def forget_details(model: Any) -> None:
    for layer in (*(mlp.layers[2] for mlp in model.mask_decoder.fine_mlps), *model.skips.children()):
        clear(layer)


def forget_drawings(model: Any) -> None:
    drawing = model.drawing
    draw = drawing.forward
    drawing.forward = lambda maps: tuple(torch.zeros_like(part) for part in draw(maps))


def silence_critic(model: Any) -> None:
    clear(model.mask_decoder.critic[2])


@torch.no_grad()
def clear(layer: torch.nn.Module) -> None:
    for parameter in layer.parameters():
        parameter.zero_()


PARTS: dict[str, Callable[[Any], None]] = {
    "nothing": lambda model: None,
    "looking from near": look_from_far_only,
    "the finer half of the decoder": forget_details,
    "prompts drawn as maps": forget_drawings,
    "the critic": silence_critic,
}

if __name__ == "__main__":
    main()
