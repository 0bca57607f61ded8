"""Input volumes that are described by a recipe instead of being stored: coarse blocks plus fine noise."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np


def cook(recipe: Mapping[str, Any]) -> np.ndarray:
    """The volume of a contract's recipe; raises ValueError if its checksum is another."""
    volume = make_volume(recipe["tag"], tuple(recipe["shape"]), recipe["block"])
    if zlib.crc32(np.ascontiguousarray(volume).tobytes()) != recipe["crc32"]:
        raise ValueError(f"the volume {recipe['tag']!r} is not the one that was recorded")
    return volume


def make_volume(tag: str, shape: tuple[int, ...], block: int) -> np.ndarray:
    """Float32 noise of `shape`, constant in blocks along the last three axes but for a quarter of fine noise."""
    fine = draw(f"{tag}/fine", shape)
    if block == 1:
        return fine
    lead, space = shape[:-3], shape[-3:]
    coarse = draw(f"{tag}/coarse", (*lead, *(-(-size // block) for size in space)))
    for axis in (-3, -2, -1):
        coarse = coarse.repeat(block, axis=axis)
    coarse = coarse[..., : space[0], : space[1], : space[2]]
    return coarse + np.float32(0.25) * fine


def draw(tag: str, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal float32 from a stream that the tag starts."""
    return np.random.RandomState(zlib.crc32(tag.encode())).standard_normal(shape).astype(np.float32)
