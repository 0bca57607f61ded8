"""How much worse images cost: the same prompts on an image as it is, and on what `corruptions` make of it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from vesalius.evaluate.corruptions import CORRUPTIONS, CROPS, crop
from vesalius.evaluate.protocols import clicks, named
from vesalius.evaluate.trial import Found, Trial
from vesalius.session import Model


def run(model: Model, trial: Trial) -> Iterator[Found]:
    """A tight box (else the first click, else the structures' names) on every version of the image.

    Settings: "none", "crop 1" to "crop 3", then "noise 1" to "resolution 3"; severities are those of `CORRUPTIONS`.
    """
    yield replace(_ask(model, trial), setting="none")
    for severity, part in enumerate(CROPS, start=1):
        image, reference = crop(trial.image, trial.reference, part)
        yield replace(_ask(model, replace(trial, image=image, reference=reference)), setting=f"crop {severity}")
    for name, (corrupt, severities) in CORRUPTIONS.items():
        for severity, amount in enumerate(severities, start=1):
            rng = np.random.default_rng(zlib.crc32(f"{trial.case}/{name}".encode()))
            worse = replace(trial, image=corrupt(trial.image, amount, rng))
            yield replace(_ask(model, worse), setting=f"{name} {severity}")


def _ask(model: Model, trial: Trial) -> Found:
    accepts = model.card.accepts
    run = clicks.run_box if "box" in accepts else clicks.run if "point" in accepts else named.run
    return next(iter(run(model, trial)))
