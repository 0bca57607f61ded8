"""What each precision of `vesalius-s` costs and changes: torch in fp32 and bf16, ONNX Runtime in fp32 and int8.

    pip install '.[export]'
    python benchmarks/precision.py --data ../shared/data [--threads 2] [--rounds 15]

Times are medians in turn, for one picture at the network's own size, and for one click. The Dice is between a mask and
the one of torch in fp32, after one click on one image of each `val` set.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median

import torch
from default_model import dice, mask_of, pictures

import vesalius as vs
from vesalius.data.collection import open_collection
from vesalius.export import FEATURES, OnnxEncoder, export_model, make_pictures, make_prompts, open_session
from vesalius.learn.simulate import centre


def main() -> None:
    """Prints a line for each way to run the encoder and the decoder, and one for the masks of each encoder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = vs.load("vesalius-s", precision="fp32")
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        export_model(model, Path(folder), int8=True)
        onnx, int8 = (OnnxEncoder(model, Path(folder) / name) for name in ("encoder.onnx", "encoder_int8.onnx"))
        decoder = open_session(Path(folder) / "decoder.onnx")
        ways = time_ways(model, {"fp32": onnx, "int8": int8}, decoder, args.rounds)
        for name, milliseconds in ways.items():
            print(f"{name:32} {milliseconds:7.1f} ms")
        compare_masks(model, {"bf16": onnx, "onnx": onnx, "int8": int8}, args.data)


def time_ways(model: vs.Model, onnx: dict[str, OnnxEncoder], decoder: object, rounds: int) -> dict[str, float]:
    """The median milliseconds of each way, one after the other in every round; the first round warms up."""
    pixels = make_pictures(model.size)[:1]
    prompts = make_prompts(model.size, sets=1, points=2, masked=False)
    features = model.encode(pixels)
    named = dict(zip(FEATURES, features, strict=True)) | prompts
    arrays = {name: tensor.numpy() for name, tensor in named.items()}

    def encode_in_bf16() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            model.encode(pixels)

    ways: dict[str, Callable[[], object]] = {
        "encoder, torch fp32": lambda: model.encode(pixels),
        "encoder, torch bf16": encode_in_bf16,
        "encoder, ONNX Runtime fp32": lambda: onnx["fp32"](pixels),
        "encoder, ONNX Runtime int8": lambda: onnx["int8"](pixels),
        "decoder, torch fp32": lambda: model.decode(features, prompts["points"], prompts["labels"], None, None),
        "decoder, ONNX Runtime fp32": lambda: decoder.run(None, arrays),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if turn:
                taken[name].append(1000 * (time.perf_counter() - began))
    return {name: median(values) for name, values in taken.items()}


def compare_masks(model: vs.Model, encoders: dict[str, OnnxEncoder], data: Path) -> None:
    """Prints the mean and the lowest Dice to torch in fp32 of the masks with each other encoder."""
    agreement: dict[str, list[float]] = {name: [] for name in encoders}
    for dataset in open_collection(data):
        for case in dataset.split("val")[:1]:
            image, targets = next(pictures(case, dataset))
            if not targets:
                continue
            model.precision = "fp32"
            at = centre(targets[0])
            expected = click(model, image, at)
            for name, encoder in encoders.items():
                model.precision, model.onnx_encoder = "bf16" if name == "bf16" else "onnx", encoder
                found = click(model, image, at)
                agreement[name].append(dice(found, expected) if found.any() or expected.any() else 1.0)
    for name, values in agreement.items():
        print(f"masks, {name:5} Dice to torch fp32 {fmean(values):.4f}, lowest {min(values):.4f} of {len(values)} sets")


def click(model: vs.Model, image: vs.Volume, at: tuple[int, int]) -> object:
    """The mask (H, W) after one click (x, y)."""
    session = vs.Session(model, image)
    session.add(vs.Point.from_index(image.grid, (*at, 0)))
    return mask_of(session.result())


if __name__ == "__main__":
    main()
