"""SAM-Med3D: what goes into the network, and how clicks follow each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import vesalius as vs
from vesalius.hub import fastest_precision, random_model
from vesalius.models.sam_med3d import Positions3d, SamMed3d
from vesalius.scene import Cues, View

GRID = vs.make_grid((30, 30, 30), np.diag([1.5, 1.5, 1.5, 1]))


@pytest.fixture(scope="module")
def model() -> SamMed3d:
    return random_model(vs.find_card("sam-med3d"))


def test_the_dense_map_swaps_the_first_two_axes_of_clicks() -> None:
    positions = Positions3d(8)
    dense = positions.dense(4)[0]
    i, j, k = 3, 1, 2
    click = torch.tensor([j, i, k]) / 4 + 1 / 8
    torch.testing.assert_close(dense[:, i, j, k], positions(click))
    assert not torch.allclose(dense[:, i, j, k], dense[:, j, i, k])


def test_only_voxels_above_zero_are_counted(model: SamMed3d) -> None:
    voxels = np.array([-1000, 0, 100, 200], np.int16).reshape(1, 1, 1, 4)
    assert model.normalise(voxels).flatten().tolist() == [-23, -3, -1, 1]
    assert model.normalise(np.full((1, 2, 2, 2), -5.0)).abs().max() == 0
    assert torch.equal(model.normalise(np.repeat(voxels, 3, axis=0)), model.normalise(voxels))
    with pytest.raises(vs.PromptError, match="grey or RGB"):
        model.normalise(np.repeat(voxels, 4, axis=0))


def test_the_network_sees_the_numbers_of_the_image_and_zeros_around_it(
    model: SamMed3d, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    normalise = model.normalise
    monkeypatch.setattr(model, "normalise", lambda voxels: (seen.append(voxels), normalise(voxels))[1])
    image = vs.Volume(np.random.default_rng(0).normal(-500, 900, (1, 30, 30, 30)).astype(np.float32), GRID)
    vs.Session(model, image, window=(0, 10)).add(vs.Point.from_index(GRID, (15, 15, 3)))
    cube = seen[0]
    assert cube.shape == (1, 32, 32, 32)
    assert np.array_equal(cube[0, 1:31, 1:31, 13:], image.voxels[0, :, :, :19])  # the click has become (16, 16, 16)
    assert (cube[0, 0] == 0).all() and (cube[..., :13] == 0).all()


def test_the_first_look_starts_from_a_mask_of_zeros_and_the_next_from_the_last_logits(model: SamMed3d) -> None:
    embedding = torch.randn(1, 48, 2, 2, 2)
    click = Cues(np.array([[16.0, 16, 16]]), np.array([True]))
    points, signs = torch.full((1, 1, 3), 16.0), torch.ones(1, 1, dtype=torch.long)
    with torch.no_grad():
        first = model.answer(embedding, click)
        assert torch.equal(first, model.decode(embedding, points, signs, torch.zeros(1, 1, 8, 8, 8))[0])
        assert not torch.allclose(first, model.decode(embedding, points, signs, None)[0])
        again = model.answer(embedding, Cues(click.points, click.positive, feedback=first[0, 0].numpy()))
        assert torch.equal(again, model.decode(embedding, points, signs, first)[0])


def test_the_loss_reaches_everything_that_was_trained(model: SamMed3d) -> None:
    learner = random_model(model.card)
    cues = Cues(np.array([[16.0, 16, 16], [1, 2, 3]]), np.array([True, False]))
    logits = learner(
        View(
            np.random.default_rng(0).integers(0, 255, (1, 30, 20, 32), np.uint8),
            GRID.crop((0, 0, 0), (30, 20, 32)),
            cues,
        )
    )
    assert logits.shape == (1, 30, 20, 32)
    logits.square().sum().backward()
    idle = {name for name, parameter in learner.named_parameters() if parameter.grad is None}
    others = {name for name in idle if "hypernetworks_mlps" in name and "mlps.0." not in name}
    quality = {name for name in idle if "iou_prediction_head" in name}
    alike = {name for name in idle if name.endswith("token_to_image.k_proj.bias")}  # moves all logits of a token alike
    assert idle - others - quality - alike == {"prompt_encoder.no_mask_embed.weight"}


def test_its_precision_is_not_measured_on_pictures(model: SamMed3d) -> None:
    assert fastest_precision(model, "cpu")[0] == "fp32"


def test_training_files_of_several_gpus_have_a_prefix(model: SamMed3d) -> None:
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    assert model.convert(state).keys() == model.state_dict().keys()
