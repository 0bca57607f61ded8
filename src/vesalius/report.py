"""The record of a run: what was asked of which model, on what machine, how long it took and what came of it.

It goes where masks go, so it names files without their folders and holds nothing of the patient.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np

from vesalius.download import hash_file, locate_weights
from vesalius.files import write_text
from vesalius.grid import Grid
from vesalius.segmentation import Segmentation
from vesalius.session import Model, Session


@contextmanager
def timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Notes in `seconds` how long the work inside took, such as "read", "load", "add liver" or "write"."""
    start = perf_counter()
    yield
    seconds[step] = round(perf_counter() - start, 3)


def make_report(
    session: Session,
    image: str,
    seconds: Mapping[str, float] | None = None,
    outputs: Iterable[Path] = (),
    weights: Path | None = None,
    found: Segmentation | None = None,
) -> dict[str, object]:
    """The record of a session as JSON: positions in RAS+ mm, volumes in ml where the image has a physical unit.

    `image` is the name of its file, without folders; `seconds` is what `timed` noted; of `outputs` the names are kept.
    `weights` is the checkpoint file where it is not the model's own, `found` the result where no prompt asked for it.
    """
    return {
        "vesalius": version("vesalius"),
        "software": {"python": platform.python_version()} | {name: version(name) for name in ("torch", "numpy")},
        "machine": {"system": platform.platform(terse=True), "cpu": _cpu(), "cores": os.cpu_count()},
        "model": _model(session.model, weights),
        "image": {"name": image, "format": session.image.source.format} | _grid(session.image.grid),
        "window": asdict(session.window),
        "plane": session.plane,
        "history": _history(session),
        "targets": _targets(session, found),
        "seconds": dict(seconds or {}),
        "outputs": [output.name for output in outputs],
    }


def write_report(report: Mapping[str, object], path: Path) -> None:
    """Writes the record, whole or not at all; raises FormatError where the file cannot be written."""
    write_text(path, json.dumps(report, indent=1) + "\n")


def _model(model: Model, weights: Path | None) -> dict[str, object]:
    """What is known of the model; one of the user's own need not know its precision, nor have weights."""
    card = model.card
    file = weights or locate_weights(card) if card.weights.file else weights
    sha256 = card.weights.sha256 if not weights and card.weights.sha256 else _hash(file) if file else ""
    tensors = list(model.parameters()) if hasattr(model, "parameters") else []
    return {
        "name": card.name,
        "weights": {
            "file": file.name if file else card.weights.file,
            "sha256": sha256,
            "pinned": bool(sha256) and sha256 == card.weights.sha256,
            "licence": card.licence.weights,
            "commercial": card.licence.commercial,
        },
        "device": str(tensors[0].device) if tensors else "cpu",
        "precision": getattr(model, "precision", ""),
        "precision_reason": getattr(model, "precision_reason", ""),
    }


@cache
def _hash(file: Path) -> str:
    return hash_file(file)


def _history(session: Session) -> list[dict[str, object]]:
    """What was said, in mm; of masks and examples only where they are, since voxels are large and private."""
    history = session.history()
    for step in history:
        for prompt in step["prompts"]:  # type: ignore[attr-defined]
            for value in prompt.values():
                if isinstance(value, dict):
                    value.pop("zlib", None)
    return history


def _grid(grid: Grid) -> dict[str, object]:
    return {
        "shape": grid.shape,
        "spacing_mm": grid.spacing_mm if grid.calibrated else None,
        "codes": grid.codes,
        "affine": grid.affine,
        "calibrated": grid.calibrated,
    }


def _targets(session: Session, found: Segmentation | None) -> dict[str, dict[str, object]]:
    result, grid = found or session.result(), session.image.grid
    targets: dict[str, dict[str, object]] = {}
    for name in result.labels.names:
        voxels = int(np.count_nonzero(result.mask(name)))
        volume_ml = (
            round(voxels * abs(float(np.linalg.det(grid.matrix[:3, :3]))) / 1000, 3) if grid.calibrated else None
        )
        dice = None if found else session.score(name)
        targets[name] = {"voxels": voxels, "volume_ml": volume_ml, "predicted_dice": dice}
    return targets


def _cpu() -> str:
    """The processor's name, which Python itself does not know on Linux."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
