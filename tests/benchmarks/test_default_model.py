"""The protocol of the benchmark of the embedded default: what the targets are, and how clicks follow each other."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from vesalius.data.case import Dataset


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "default_model.py"
    spec = importlib.util.spec_from_file_location("default_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dataset(kind: str) -> Dataset:
    return Dataset("made here", "US", 2, {"cyst": 1, "nodule": 2}, kind, "CC0-1.0", "made here", ())  # type: ignore[arg-type]


def labels() -> np.ndarray:
    picture = np.zeros((80, 80), np.int32)
    picture[5:15, 5:15] = picture[30:50, 30:50] = 1
    picture[60:66, 60:66] = 2
    picture[70, 5:8] = 3
    return picture


def test_semantic_targets_are_the_largest_part_of_each_label(benchmark: ModuleType) -> None:
    targets = benchmark.largest_targets(labels(), dataset("semantic"))
    assert [int(target.sum()) for target in targets] == [400, 36]  # 3 pixels of label 3 are too few


def test_instance_targets_are_whole_objects(benchmark: ModuleType) -> None:
    targets = benchmark.largest_targets(labels(), dataset("instance"))
    assert [int(target.sum()) for target in targets] == [500, 36]


class Recorder:
    """Answers nothing, and remembers what it was asked, in pixels of a picture that is enlarged twice."""

    size = 160

    def __init__(self) -> None:
        self.asked: list[tuple[list[list[float]], list[int], bool, bool]] = []

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.zeros(1, 256, 10, 10)

    def decode(
        self,
        embedding: torch.Tensor,
        points: torch.Tensor,
        signs: torch.Tensor,
        mask: torch.Tensor | None,
        multimask: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.asked.append((points[0].tolist(), signs[0].tolist(), mask is not None, multimask))
        count = 3 if multimask else 1
        return torch.full((1, count, 40, 40), -1.0), torch.zeros(1, count)


def test_clicks_follow_the_error_with_the_logits_before_and_a_box_starts_anew(benchmark: ModuleType) -> None:
    target = np.zeros((80, 80), bool)
    target[30:51, 30:51] = True
    model = Recorder()
    scores = benchmark.score_picture(model, np.zeros((80, 80, 3), np.uint8), [target])
    assert scores == [(0.0, 0.0, 0.0)]
    centre = [40 * 2 + 0.5, 40 * 2 + 0.5]
    assert [(signs, fed, many) for _, signs, fed, many in model.asked] == [
        ([1, -1], False, True),
        ([1, 1, -1], True, False),
        ([1, 1, 1, -1], True, False),
        ([2, 3], False, False),
    ]
    assert all(points[0] == centre for points, *_ in model.asked[:3])
    assert model.asked[3][0] == [[60.5, 60.5], [100.5, 100.5]]
