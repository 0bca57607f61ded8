"""How numbers become grey levels: one window for a whole image, chosen by a stated rule or by the user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import FormatError
from vesalius.volume import Volume

SOFT_TISSUE_HU = (-160.0, 240.0)
PERCENTILES = (0.5, 99.5)
GIVEN = "given by the user"


@dataclass(frozen=True)
class Window:
    """The values that become black (0) and white (255), and the `rule` that chose them, for the report."""

    low: float
    high: float
    rule: str

    def grey(self, values: NDArray) -> NDArray[np.uint8]:
        """Values as grey levels 0..255; values beyond the window are clipped."""
        if values.dtype == np.uint8 and (self.low, self.high) == (0, 255):
            return values
        scaled = (values.astype(np.float32) - np.float32(self.low)) * np.float32(255 / (self.high - self.low))
        return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def choose_window(image: Volume, given: tuple[float, float] | None = None) -> Window:
    """The window of an image: the given one; 8 bit as stored; CT -160..240 HU; else the 0.5 to 99.5 percentile.

    CT is what its file says is CT, and any grey image of whole numbers that reach down to -900 (air). The percentiles
    are of the voxels above the minimum, so that an empty background does not count. Raises FormatError for voxels
    that are not finite and for a given window that is empty.
    """
    low, high = _extremes(image.voxels)
    if given:
        if not given[0] < given[1]:
            raise FormatError(f"The window {given[0]:g},{given[1]:g} is empty; give LOW,HIGH with LOW below HIGH.")
        return Window(float(given[0]), float(given[1]), GIVEN)
    if image.voxels.dtype == np.uint8:
        return Window(0, 255, "8 bit, as stored")
    whole = np.issubdtype(image.voxels.dtype, np.integer)
    if image.source.modality == "CT" or (whole and len(image.voxels) == 1 and low <= -900):
        return Window(*SOFT_TISSUE_HU, "CT soft tissue")
    if high <= low:
        return Window(low, low + 1, "a constant image")
    edges, counts = _histogram(image.voxels, low, high)
    shares = np.cumsum(counts) / max(1, counts.sum())
    first, last = (float(edges[np.searchsorted(shares, p / 100) + side]) for side, p in enumerate(PERCENTILES))
    return Window(first, last, "0.5 to 99.5 percentile of the voxels above the minimum")


def _extremes(voxels: NDArray) -> tuple[float, float]:
    low, high = float(voxels.min()), float(voxels.max())
    if not np.isfinite([low, high]).all():
        raise FormatError(
            "The image has voxels that are not numbers (NaN or infinite); "
            "replace them first, for example with `vesalius convert IN OUT --fill 0`."
        )
    return low, high


def _histogram(voxels: NDArray, low: float, high: float, bins: int = 65536) -> tuple[NDArray, NDArray]:
    """Edges and counts of the values above the minimum, slab by slab; counting does not depend on storage order."""
    counts = np.zeros(bins, dtype=np.int64)
    edges = np.linspace(low, high, bins + 1)
    for channel in voxels:
        for slab in np.array_split(channel, max(1, channel.size // 2**22), axis=int(np.argmax(channel.shape))):
            counts += np.histogram(slab[slab > low], bins=bins, range=(low, high))[0]
    return edges, counts
