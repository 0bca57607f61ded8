"""Models as ONNX files, which run without torch and vesalius; they are kept only if they agree with torch.

The same way gives `load(precision="onnx")` its image encoder. Needs the extra `vesalius[export]`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from vesalius.download import cache_folder, hash_file
from vesalius.errors import CardError, FormatError
from vesalius.layers.imagenet import MEAN, STD
from vesalius.models.vesalius_s import VesaliusS

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-3  # of the greatest |torch - ONNX|, as a part of the greatest |torch|
FEATURES = ("fine", "middle", "coarse", "embedding")
ANSWERS = ("masks", "dice")


class Encoder(nn.Module):
    """What encoder.onnx computes."""

    def __init__(self, model: VesaliusS) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return self.model.encode(pixels)


class Decoder(nn.Module):
    """What decoder.onnx computes: `decode` where `has_mask` and zeros stand for what is not there."""

    def __init__(self, model: VesaliusS) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        fine: Tensor,
        middle: Tensor,
        coarse: Tensor,
        embedding: Tensor,
        points: Tensor,
        labels: Tensor,
        mask: Tensor,
        has_mask: Tensor,
        strokes: Tensor,
    ) -> tuple[Tensor, Tensor]:
        features = (fine, middle, coarse, embedding)
        masks, dice = self.model.decode(features, points, labels, mask, strokes, has_mask > 0)
        return masks, dice.clamp(0, 1)


def obstacle(model_class: type) -> str:
    """Why models of a class cannot be exported, as a sentence; empty where they can."""
    if not issubclass(model_class, VesaliusS):
        return f"{model_class.__name__} models cannot be exported to ONNX so far; take vesalius-s."
    missing = [name for name in PACKAGES if find_spec(name) is None]
    return f"ONNX needs {' and '.join(missing)}: pip install 'vesalius[export]'." if missing else ""


def export_model(model: VesaliusS, folder: Path, int8: bool = False) -> dict[str, Any]:
    """Write encoder.onnx, decoder.onnx and model.json, which says how to use them and is also returned.

    `int8` adds encoder_int8.onnx, whose matrix products have 8-bit weights. Nothing is written where an ONNX file
    differs from torch by more than `TOLERANCE`. Raises CardError and FormatError.
    """
    if reason := obstacle(type(model)):
        raise CardError(reason)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder) as new:
            encoder, decoder = Path(new) / "encoder.onnx", Path(new) / "decoder.onnx"
            write_encoder(model, encoder)
            write_decoder(model, decoder)
            record = describe(model)
            record["agreement"] = {"measure": "greatest |torch - ONNX| / greatest |torch|", "tolerance": TOLERANCE}
            record["agreement"] |= {"encoder": check_encoder(model, encoder), "decoder": check_decoder(model, decoder)}
            if int8:
                quantize(encoder, Path(new) / "encoder_int8.onnx")
                record["int8"] = compare_masks(encoder, Path(new) / "encoder_int8.onnx", decoder)
            record["files"] = {
                file.name: {"bytes": file.stat().st_size, "sha256": hash_file(file)}
                for file in sorted(Path(new).iterdir())
            }
            (Path(new) / "model.json").write_text(json.dumps(record, indent=1))
            for file in Path(new).iterdir():
                file.replace(folder / file.name)
    except OSError as error:
        raise FormatError(f"Cannot write to {folder} ({error.strerror}); choose another folder.") from None
    return record


def write_encoder(model: VesaliusS, file: Path) -> None:
    """Pictures `(B, 3, S, S)` to the features of `encode`."""
    pixels = torch.zeros(2, 3, model.size, model.size)
    trace(Encoder(model), {"pixels": pixels}, {"pixels": {0: Dim("pictures")}}, FEATURES, file)


def write_decoder(model: VesaliusS, file: Path) -> None:
    """The features of one picture and any number of prompt sets, each of as many prompts as the others, to masks."""
    with torch.no_grad():
        features = model.encode(torch.zeros(1, 3, model.size, model.size))
    prompts = make_prompts(model.size, sets=3, points=5)
    sets, points = Dim("prompt_sets"), Dim("prompts")
    dynamic: dict[str, Any] = {name: {0: sets} for name in prompts} | dict.fromkeys(FEATURES)
    dynamic |= {name: {0: sets, 1: points} for name in ("points", "labels")}
    arguments = dict(zip(FEATURES, features, strict=True)) | prompts
    trace(Decoder(model), arguments, {name: dynamic[name] for name in arguments}, ANSWERS, file)


def trace(
    module: nn.Module, arguments: Mapping[str, Tensor], dynamic: dict[str, Any], outputs: Sequence[str], file: Path
) -> None:
    """Write what a module computes from named arguments as an ONNX file that says nothing of this machine."""
    import onnx_ir
    from onnxscript import optimizer

    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:  # they speak of what is not in the model, such as torchvision
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                module.eval(),
                kwargs=dict(arguments),
                input_names=list(arguments),
                output_names=list(outputs),
                dynamic_shapes=dynamic,
                dynamo=True,
                optimize=False,  # that is the next step's work
                verbose=False,
            )
        model = program.model
        # Weights that are computed from weights, such as those with a batch norm folded in, become constants.
        optimizer.optimize_ir(model, input_size_limit=1 << 30, output_size_limit=1 << 30)
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0]
        raise CardError(
            f"torch {torch.__version__} cannot export this model ({reason}); try another version."
        ) from None
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    model.metadata_props.clear()
    for node in model.graph.all_nodes():  # stack traces
        node.metadata_props.clear()
        node.doc_string = None
    onnx_ir.save(model, file)


def describe(model: VesaliusS) -> dict[str, Any]:
    """What a program that uses the files has to know."""
    card: Any = model.card
    half = model.size // 2
    return {
        "model": card.name,
        "summary": card.summary,
        "licence": card.to_json()["licence"],
        "paper": card.paper,
        "made_with": {name: version(name) for name in ("vesalius", "torch", "onnxscript")},
        "preprocessing": card.preprocessing,
        "size": model.size,
        "mean": MEAN.tolist(),
        "std": STD.tolist(),
        "encoder": {
            "pixels": f"(pictures, 3, {model.size}, {model.size}) float32, preprocessed",
            "outputs": f"{', '.join(FEATURES)}: inputs of the decoder, one picture at a time",
        },
        "decoder": {
            "points": "(prompt_sets, prompts, 2) float32: x, y in pixels of the input, integer = pixel centre;"
            " prompts may be 0",
            "labels": "(prompt_sets, prompts) int64: 1 a click on the target, 0 a click off it, 2 and 3 the upper left"
            " and lower right corner of a box, -1 padding: one after clicks without a box",
            "mask": f"(prompt_sets, 1, {half}, {half}) float32: the logits of the mask before, or anything",
            "has_mask": "(prompt_sets,) float32: 1 where there is a mask before, otherwise 0",
            "strokes": f"(prompt_sets, 2, {half}, {half}) float32: strokes on and off the target, drawn 2 cells wide"
            " with 1 on 0",
            "masks": f"(prompt_sets, 4, {half}, {half}) float32 logits, above 0 inside: the first is the answer, but"
            " for a single click without a mask before, whose candidates are the others",
            "dice": "(prompt_sets, 4) float32: the predicted Dice of each",
        },
    }


def make_pictures(size: int) -> Tensor:
    """Four discs around the centre, of other sizes and contrasts on a textured ground, normalised `(4, 3, S, S)`."""
    noise = np.random.default_rng(0).standard_normal((4, size, size))
    distance = np.hypot(*(np.indices((size, size)) - size / 2))
    discs = [distance < part * size for part in (0.08, 0.15, 0.25, 0.4)]
    grey = np.stack(discs) * np.array([110, -70, 60, 90])[:, None, None] + 110 + 12 * noise
    rgb = (grey.clip(0, 255)[:, None] - MEAN[:, None, None]) / STD[:, None, None]
    return torch.from_numpy(rgb.astype(np.float32))


def make_prompts(size: int, sets: int, points: int, masked: bool = True) -> dict[str, Tensor]:
    """Random prompts of every kind, as the decoder takes them."""
    generator = torch.Generator().manual_seed(points)
    half = size // 2
    return {
        "points": size * torch.rand(sets, points, 2, generator=generator),
        "labels": torch.randint(-1, 4, (sets, points), generator=generator),
        "mask": 4 * torch.randn(sets, 1, half, half, generator=generator),
        "has_mask": masked * (torch.arange(sets) % 2 == 0).float(),
        "strokes": masked * (torch.rand(sets, 2, half, half, generator=generator) > 0.95).float(),
    }


def check_encoder(model: VesaliusS, file: Path) -> float:
    """How far an encoder is from torch; raises CardError where that is more than `TOLERANCE`."""
    pictures = make_pictures(model.size)
    run = OnnxEncoder(model, file)
    with torch.inference_mode():
        return max(
            compare(file.name, [*zip(model.encode(part), run(part), strict=True)])
            for part in (pictures[:1], pictures[1:])
        )


def check_decoder(model: VesaliusS, file: Path) -> float:
    """How far a decoder is from torch on prompts of every kind and number; raises CardError as `check_encoder`."""
    session = open_session(file)
    decoder = Decoder(model)
    worst = 0.0
    with torch.inference_mode():
        features = dict(zip(FEATURES, model.encode(make_pictures(model.size)[:1]), strict=True))
        for sets, points, masked in ((1, 2, False), (1, 2, True), (1, 0, True), (3, 1, True), (2, 9, True)):
            arguments = features | make_prompts(model.size, sets, points, masked)
            answers = session.run(None, {name: part.numpy() for name, part in arguments.items()})
            pairs = zip(decoder(**arguments), map(torch.from_numpy, answers), strict=True)
            worst = max(worst, compare(file.name, [*pairs]))
    return worst


def compare(name: str, pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """The greatest difference of two tensors as a part of the greatest value of the first; CardError if too great."""
    worst = 0.0
    for expected, found in pairs:
        difference, scale = float((expected - found).abs().max()), float(expected.abs().max())
        if not difference <= TOLERANCE * scale:  # also where it is not a number
            raise CardError(
                f"{name} differs from torch by {difference:.2g} where values reach {scale:.2g}: nothing was written;"
                " try other versions of torch, onnxscript and onnxruntime."
            )
        worst = max(worst, difference / scale if scale else 0.0)
    return worst


def quantize(encoder: Path, int8: Path) -> None:
    """Copy an encoder with 8-bit weights in its matrix products; its convolutions stay, since they lose too much."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends a step that the tracing has done
    quantize_dynamic(encoder, int8, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
    root.setLevel(level)


def compare_masks(encoder: Path, int8: Path, decoder: Path) -> dict[str, Any]:
    """The Dice between the masks after one click on four pictures, with an encoder and with its 8-bit copy."""
    masks = [list(segment_centres(file, decoder)) for file in (encoder, int8)]
    dice = [
        2 * float((full & small).sum()) / max(int(full.sum() + small.sum()), 1) if full.any() or small.any() else 1.0
        for full, small in zip(*masks, strict=True)
    ]
    return {"dice_to_fp32": [round(value, 4) for value in dice], "pictures": "four generated ones, one click each"}


def segment_centres(encoder: Path, decoder: Path) -> Iterator[np.ndarray]:
    """The mask that each of the generated pictures has after a click in its middle."""
    encode, decode = open_session(encoder), open_session(decoder)
    size = encode.get_inputs()[0].shape[-1]
    prompts = {name: part.numpy() for name, part in make_prompts(size, sets=1, points=2, masked=False).items()}
    prompts |= {"points": np.full((1, 2, 2), size / 2, np.float32), "labels": np.array([[1, -1]])}
    for picture in make_pictures(size).numpy():
        features = dict(zip(FEATURES, encode.run(None, {"pixels": picture[None]}), strict=True))
        masks, _ = decode.run(None, features | prompts)
        yield masks[0, 0] > 0


class OnnxEncoder:
    """The `encode` of a model under ONNX Runtime, on a CPU; CardError once the model's weights were changed."""

    def __init__(self, model: nn.Module, file: Path, threads: int = 0) -> None:
        self.weights = [tensor for tensor in model.parameters() if not tensor.is_inference()]
        self.versions = [tensor._version for tensor in self.weights]
        self.session = open_session(file, threads)

    def __call__(self, pixels: Tensor) -> tuple[Tensor, ...]:
        if self.versions != [tensor._version for tensor in self.weights]:
            raise CardError("The weights changed after ONNX Runtime was given them; call hub.set_precision again.")
        return tuple(map(torch.from_numpy, self.session.run(None, {"pixels": pixels.numpy()})))


def open_session(file: Path, threads: int = 0) -> Any:
    """An ONNX file ready to run, on as many threads as torch has unless said otherwise."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would take the cores from torch
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def cached_encoder(model: VesaliusS, threads: int = 0) -> OnnxEncoder:
    """The ONNX encoder of a model, made (some 10 s) and checked where the cache has none for these weights."""
    if reason := obstacle(type(model)):
        raise CardError(reason)
    if next(model.parameters()).device.type != "cpu":
        raise CardError("The precision onnx is for the device cpu; take bf16 or fp32.")
    digest = hashlib.sha256(f"vesalius {version('vesalius')} torch {torch.__version__}".encode())
    for tensor in model.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    card: Any = model.card
    file = cache_folder() / "onnx" / f"{card.name}-{digest.hexdigest()[:16]}.onnx"
    if file.is_file():
        return OnnxEncoder(model, file, threads)
    new = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_encoder(model, new)
        check_encoder(model, new)
        new.replace(file)
    except OSError as error:
        raise CardError(f"Cannot write to {file.parent} ({error.strerror}); set VESALIUS_CACHE elsewhere.") from None
    finally:
        new.unlink(missing_ok=True)
    return OnnxEncoder(model, file, threads)
