"""The benchmark of metrics: that its case has every structure on both sides, and that ours scores all of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "metrics.py"
    spec = importlib.util.spec_from_file_location("metrics", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("shape", [(512, 512, 300), (90, 64, 40)])
def test_the_lattice_holds_all_structures(benchmark: ModuleType, shape: tuple[int, int, int]) -> None:
    cells = benchmark.lattice(shape, 100)
    assert np.prod(cells) >= 100
    assert (np.array(shape) // cells >= 6).all()


def test_every_structure_is_nearly_right_and_scored(benchmark: ModuleType) -> None:
    prediction, reference = benchmark.make_case((80, 64, 40), 8)
    assert set(np.unique(prediction)) == set(np.unique(reference)) == set(range(9))
    numbers = benchmark.make_ours(8, 1)(prediction, reference)
    dice, nsd, hd95 = np.array(numbers).T
    assert len(numbers) == 8 and (dice > 0).all() and (dice < 1).all()
    assert (nsd > 0.5).all() and (hd95 > 0).all() and (hd95 < 5).all()
