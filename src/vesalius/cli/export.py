"""`vesalius export`: a model as files that run without torch and vesalius."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[str, typer.Argument(help="A name of `vesalius models`, or a folder made by save.")],
    onnx: Annotated[Path, typer.Option(metavar="DIR", help="Where encoder.onnx, decoder.onnx and model.json go.")],
    int8: Annotated[bool, typer.Option("--int8", help="Also an encoder with 8-bit weights.")] = False,
    weights: Annotated[Path | None, typer.Option(help="A checkpoint file instead of the model's own.")] = None,
) -> None:
    """Write a model as ONNX files, checked against torch; needs vesalius[export]."""
    from typing import Any

    from vesalius.errors import CardError
    from vesalius.export import export_model, obstacle
    from vesalius.hub import find_model, load

    if reason := obstacle(find_model(model)[0]):  # before its weights are fetched
        raise CardError(reason)
    loaded: Any = load(model, weights, precision="fp32")
    record = export_model(loaded, onnx, int8)
    for name, file in record["files"].items():
        print(f"{onnx / name}  {file['bytes'] / 1e6:.1f} MB")
    agreement = record["agreement"]
    print(f"Largest difference from torch: encoder {agreement['encoder']:.1e}, decoder {agreement['decoder']:.1e}.")
    if int8:
        print(f"Dice of the masks with int8 to those without: {', '.join(map(str, record['int8']['dice_to_fp32']))}.")
