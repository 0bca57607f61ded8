"""The benchmark of the walk: that the generated volumes can be segmented, and how they are scored."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import vesalius as vs
from vesalius.look import Cut, propagate
from vesalius.scene import Scene, View


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "propagation.py"
    spec = importlib.util.spec_from_file_location("propagation", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("shape", ["blob", "tube", "fork", "touching"])
def test_a_generated_target_is_one_piece_that_differs_from_its_surroundings(benchmark: ModuleType, shape: str) -> None:
    target, again = benchmark.generate(shape, 3), benchmark.generate(shape, 3)
    assert np.array_equal(target.image.voxels, again.image.voxels) and target.image.grid.spacing_mm[:2] == (1, 1)
    assert benchmark.ndimage.label(target.mask)[1] == 1
    grey = target.image.voxels[0].astype(float)
    rim = benchmark.ndimage.binary_dilation(target.mask, iterations=2) & ~target.mask
    assert abs(grey[target.mask].mean() - grey[rim].mean()) > 8


class Bright:
    """Segments what is bright and connected to its positive cues."""

    card = vs.find_card("mobile-sam")

    def run(self, scene: Scene) -> object:
        return propagate(scene, self.segment)

    def segment(self, view: View) -> list[Cut]:
        from scipy import ndimage

        labels, _ = ndimage.label(view.pixels[0, ..., 0] > 100)
        seen = np.zeros(labels.shape, bool)
        if view.cues.mask is not None:
            seen |= np.isin(labels, labels[view.cues.mask[..., 0]])
        for i, j, _ in view.cues.points[view.cues.positive].round().astype(int):
            seen |= labels == labels[i, j]
        return [Cut(np.where(seen & (labels > 0), 1, -1).astype(np.float32), 0.9)]


def test_further_clicks_add_what_the_first_one_missed(benchmark: ModuleType) -> None:
    mask = np.zeros((24, 24, 20), bool)
    mask[4:12, 4:12, 2:9] = mask[8:16, 8:16, 11:18] = True
    grid = vs.make_grid(mask.shape, np.diag([1.0, 1, 1, 1]))
    image = vs.Volume(np.where(mask, 200, 20).astype(np.uint8)[None], grid)
    score = benchmark.score_target(Bright(), benchmark.Target("made", "two cubes", "1", image, mask))
    one, two, three = score.dice
    assert one == pytest.approx(2 / 3) and two > 0.85 and three >= two
    assert 9 <= score.slices <= 20


def test_the_table_means_over_structures_and_then_over_sets(
    benchmark: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def score(dataset: str, structure: str, dice: float) -> object:
        return benchmark.Score(dataset, structure, "1", (dice, dice, dice), 1.0, 5)

    benchmark.print_table([score("a", "x", 0.2), score("a", "x", 0.4), score("a", "y", 0.9), score("b", "z", 0.2)])
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if "**a**" in line).startswith("| **a** | 3 | 0.600 |")
    assert lines[-1].startswith("| **mean over sets** | 4 | 0.400 |")
