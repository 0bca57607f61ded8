"""Weights that depend only on the name and the shape of a tensor, so that two implementations can be compared."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable

import numpy as np


def fill(rows: Iterable[tuple[str, tuple[int, ...], str]]) -> dict[str, np.ndarray]:
    """Float32 values for the floating tensors among `(name, shape, dtype)`; others keep what the constructor gives."""
    return {name: fill_one(name, shape) for name, shape, dtype in rows if "float" in dtype}


def fill_one(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value of one tensor, drawn from a stream that its name starts."""
    draw = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    normal = np.asarray(draw, np.float32)
    if name.endswith("running_var"):
        return np.float32(1) + np.float32(0.1) * np.abs(normal)
    if name.endswith("running_mean"):
        return np.float32(0.1) * normal
    if len(shape) >= 2:
        return normal * np.float32(math.sqrt(1 / max(math.prod(shape[1:]), 1)))
    if name.endswith(("weight", "gamma")):
        return np.float32(1) + np.float32(0.1) * normal
    return np.float32(0.05) * normal
