"""Looking at an image with other, labelled images as examples: these become pictures, and every slice is segmented.

Examples say what to look for and not where, so there is no slice to begin from and none to stop at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from vesalius.answer import Answer
from vesalius.grid import PLANES
from vesalius.intensity import GIVEN, choose_window
from vesalius.look import Cut, Stack
from vesalius.prompts import Example
from vesalius.scene import Cues, Scene, View, default_plane
from vesalius.volume import Volume

SLICES_OF_A_VOLUME = 16  # as examples: at most so many, spread over those that its mask fills


def example_views(scene: Scene) -> tuple[View, ...]:
    """The examples among a scene's prompts as pictures, oriented as on screen, each with its mask among its cues.

    Volumes are cut in the scene's plane. Each image has a window of its own, unless the user gave one.
    """
    given = (scene.window.low, scene.window.high) if scene.window.rule == GIVEN else None
    views = []
    for example in scene.prompts:
        if isinstance(example, Example):
            flat = example.image.grid.thin_axis() is not None
            codes = PLANES[default_plane(example.image.grid) if flat else scene.plane]
            window = choose_window(example.image, given)
            image, inside = example.image.orient(codes), example.mask.orient(codes).voxels[0] > 0.5
            filled = np.array([0]) if flat else np.flatnonzero(inside.any(axis=(0, 1)))
            count = min(len(filled), SLICES_OF_A_VOLUME)
            for k in filled[np.linspace(0, len(filled) - 1, count).round().astype(int)].tolist():
                picture = image.crop((0, 0, k), (*inside.shape[:2], 1))
                cues = Cues(mask=inside[:, :, k : k + 1])
                views.append(View(window.grey(picture.voxels), picture.grid, cues))
    return tuple(views)


def every_slice(scene: Scene, segment: Callable[[View], Cut]) -> Iterator[Answer]:
    """A 2D model's answer for all slices of the scene's plane."""
    stack = Stack(scene)
    for k in range(stack.depth):
        scene.progress(f"{scene.plane} slice {k}")
        view = stack.view(k, Cues())
        cut = segment(view)
        yield Answer(Volume(cut.logits[None, :, :, None], view.grid), (scene.target,), score=cut.score)
