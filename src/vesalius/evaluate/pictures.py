"""Pictures of right and wrong: where a prediction and its reference agree, and where they do not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from vesalius.evaluate.trial import mask_of
from vesalius.intensity import choose_window
from vesalius.labels import LabelSpace, Structure
from vesalius.overlay import draw_overlay
from vesalius.segmentation import Segmentation
from vesalius.volume import Volume

AGREED, MISSED, SPURIOUS, EXCHANGED = (
    Structure("agreed", colour=(0.3, 0.8, 0.4)),
    Structure("missed", colour=(1.0, 0.7, 0.0)),
    Structure("spurious", colour=(0.95, 0.25, 0.5)),
    Structure("wrong structure", colour=(0.65, 0.5, 1.0)),
)


def mark_errors(prediction: Segmentation, reference: Segmentation, names: Iterable[str]) -> Segmentation:
    """Which voxels of the structures `names` agree, were missed, are spurious, or are given to another structure."""
    shape = reference.grid.shape
    agreed, missed, spurious = (np.zeros(shape, bool) for _ in range(3))
    for name in names:
        ours, theirs = mask_of(prediction, name), mask_of(reference, name)
        agreed |= ours & theirs
        missed |= theirs & ~ours
        spurious |= ours & ~theirs
    layer = np.zeros(shape, np.uint8)
    kinds = [(AGREED, agreed), (MISSED, missed), (SPURIOUS, spurious)]
    if (missed & spurious).any():
        kinds.append((EXCHANGED, missed & spurious))
    for value, (_, mask) in enumerate(kinds, start=1):
        layer[mask] = value
    places = {structure.name: (0, value) for value, (structure, _) in enumerate(kinds, start=1)}
    labels = LabelSpace(tuple(structure for structure, _ in kinds))
    return Segmentation(layer[None], reference.grid, labels, places, frozenset(places))


def draw_errors(image: Volume, errors: Segmentation) -> bytes:
    """A PNG of the errors over the image, hung as a radiologist hangs it."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "picture.png")
        draw_overlay(image, choose_window(image), errors, path)
        return path.read_bytes()
