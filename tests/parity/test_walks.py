"""A session follows a target through a volume as the official predictor does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from recording import Recording

import vesalius as vs
from vesalius.hub import fit_weights, random_model
from vesalius.zoo.sam2 import MEDSAM2


def test_a_session_gives_the_official_mask_of_a_volume(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the largest component is dropped by the official script, and by us what touches nothing: not here."""
    monkeypatch.setattr("vesalius.look_memory._touching", lambda mask, before: mask)
    folder = shared / "parity" / "medsam2_hiera_t512_volume"
    if not folder.is_dir():
        pytest.skip("there are no recordings of MedSAM2")
    recording = Recording(folder, "a")
    model = random_model(MEDSAM2, tiny=False)
    fit_weights(model, {key: torch.from_numpy(array) for key, array in recording.weights().items()}, Path("keys.txt"))
    inputs = recording.inputs()
    voxels = inputs["volume"].transpose(2, 1, 0)
    grid = vs.make_grid(voxels.shape, np.diag([-1.0, -1, 5, 1]))
    x0, y0, x1, y1 = inputs["c0.box"]
    k = int(inputs["c0.frame"].item())
    session = vs.Session(model, vs.Volume(voxels[None], grid), window=(0, 255), plane="axial")
    found = session.add(vs.Box.from_index(grid, (x0, y0, k), (x1, y1, k))).mask("1")
    shape = tuple(recording.arrays["out.c0.union.shape"])
    official = np.unpackbits(recording.arrays["out.c0.union"])[: np.prod(shape)].reshape(shape).astype(bool)
    assert (found.transpose(2, 1, 0) != official).mean() <= 5e-4


def test_only_what_was_carried_from_slice_to_slice_has_the_wider_tolerance(tmp_path: Path) -> None:
    tolerance = {"float32_cpu": 1e-4, "propagated_frames": 5e-3}
    (tmp_path / "contract.json").write_text(json.dumps({"tolerance": tolerance}))
    names = ("c0.key_logits", "c0.forward.logits", "c0.reverse.logits")
    np.savez(tmp_path / "golden_x.npz", **{f"out.{name}": np.ones(4, np.float32) for name in names})
    checks = Recording(tmp_path, "x").check({name: np.full(4, 1.001, np.float32) for name in names})
    assert [check.ok for check in checks] == [False, True, True]
