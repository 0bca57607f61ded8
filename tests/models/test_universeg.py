"""UniverSeg: what a set of examples may be, and that neither its order nor repetition changes a bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import vesalius as vs
from phantoms import ORDERS, ball, grids
from vesalius.hub import random_model
from vesalius.models.universeg import CrossBlock, UniverSeg
from vesalius.scene import Cues, View

PICTURE = vs.make_grid((40, 30, 1), np.diag([-1.0, -1, 1, 1]), calibrated=False)


@pytest.fixture(scope="module")
def model() -> UniverSeg:
    return random_model(vs.find_card("universeg"))


def example(grid: vs.Grid = PICTURE, seed: int = 0) -> vs.Example:
    """Noise with a bright rectangle, which is the mask."""
    random = np.random.default_rng(seed)
    voxels = random.integers(0, 120, (1, *grid.shape), np.uint8)
    i, j = random.integers(2, 8, 2)
    voxels[:, i : i + 12, j : j + 9] += 130
    return vs.Example(vs.Volume(voxels, grid), vs.Volume(voxels > 120, grid))


def segment(model: UniverSeg, *examples: vs.Example, image: vs.Volume | None = None) -> np.ndarray:
    session = vs.Session(model, image or example(seed=99).image, plane="axial")
    return session.add(*examples).mask("1")


def test_a_block_equals_one_convolution_of_each_pair() -> None:
    block, target, support = CrossBlock(3, 5, 4), torch.randn(1, 3, 8, 8), torch.randn(6, 5, 8, 8)
    pairs = block.cross(torch.cat([target.expand(6, -1, -1, -1), support], dim=1))
    seen, met = block(target, support)
    torch.testing.assert_close(seen, F.leaky_relu(block.target(pairs.mean(dim=0, keepdim=True))))
    torch.testing.assert_close(met, F.leaky_relu(block.support(pairs)))


def test_order_and_repetition_of_the_examples_change_nothing(model: UniverSeg) -> None:
    """With more examples than one bag holds, so that the bags are the same ones too."""
    examples = [example(seed=seed) for seed in range(model.bag + 2)]
    expected = segment(model, *examples)
    assert expected.any() and not expected.all()
    assert np.array_equal(segment(model, *reversed(examples)), expected)
    assert np.array_equal(segment(model, *examples, examples[1], *examples[:1] * 3), expected)
    assert not np.array_equal(segment(model, *examples[:1]), expected)


def test_more_examples_than_a_bag_give_the_mean_of_the_bags(model: UniverSeg) -> None:
    picture = torch.rand(model.bag + 1, 2, model.size, model.size)
    view = View(example().image.voxels, PICTURE)
    whole = model.segment(view, picture)
    parts = [model.segment(view, picture[n::2]) for n in range(2)]
    np.testing.assert_allclose(whole.logits, np.mean([part.logits for part in parts], axis=0), atol=1e-6)


def test_examples_said_later_join_the_earlier_ones(model: UniverSeg) -> None:
    first, second = example(seed=1), example(seed=2)
    session = vs.Session(model, example(seed=99).image)
    session.add(first)
    assert np.array_equal(session.add(second).mask("1"), segment(model, first, second))


def test_examples_may_have_any_size_and_any_storage_order(model: UniverSeg) -> None:
    other = example(vs.make_grid((17, 63, 1), np.diag([-0.3, -0.7, 1, 1])))
    volume = ball(grids()["oblique"])
    mask = vs.Volume(volume.voxels > 150, volume.grid)
    expected = segment(model, other, vs.Example(volume, mask))
    for order in ORDERS[::7]:
        turned = vs.Example(volume.orient(order), mask.orient(order))
        assert np.array_equal(segment(model, turned, other), expected), order


def test_a_volume_is_segmented_slice_by_slice(model: UniverSeg) -> None:
    volume = ball(grids()["anisotropic"])
    found = segment(model, example(), image=volume)
    for k in (0, 3):
        assert np.array_equal(
            found[..., k], segment(model, example(), image=volume.crop((0, 0, k), (26, 22, 1)))[..., 0]
        )


def test_a_window_of_the_user_is_for_the_examples_too(model: UniverSeg) -> None:
    shown, image = example(), example(seed=99).image
    windowed = vs.Session(model, image, window=(20, 90)).add(shown).mask("1")
    clipped = [
        vs.Volume(np.rint((np.clip(volume.voxels, 20.0, 90.0) - 20) * 255 / 70).astype(np.uint8), PICTURE)
        for volume in (shown.image, image)
    ]
    assert np.array_equal(windowed, segment(model, vs.Example(clipped[0], shown.mask), image=clipped[1]))


def test_a_history_of_ct_examples_replays(model: UniverSeg) -> None:
    grid = grids()["anisotropic"]
    ct = vs.Volume(ball(grid).voxels.astype(np.float32) - 100, grid, vs.Source(modality="CT"))
    session = vs.Session(model, ct)
    expected = session.add(vs.Example(ct, vs.Volume(ct.voxels > 50, grid)))
    told = json.loads(json.dumps(session.history()))
    assert np.array_equal(vs.Session(model, ct).replay(told).layers, expected.layers)


@pytest.fixture(scope="module")
def tiled(model: UniverSeg) -> UniverSeg:
    found: UniverSeg = random_model(vs.find_card("universeg-tiled"))
    assert found.tiled and not model.tiled
    return found


LARGE = vs.make_grid((75, 50, 1), np.diag([-1.0, -1, 1, 1]), calibrated=False)


def test_a_tiled_picture_is_seen_with_its_own_pixels(tiled: UniverSeg) -> None:
    """Where one piece alone reaches, the answer is that of this piece."""
    shown, image = example(LARGE, seed=1), example(LARGE, seed=2).image
    view = View(image.voxels, LARGE)
    support = tiled.support([View(shown.image.voxels, LARGE, Cues(mask=shown.mask.voxels[0]))], tiled=True)
    assert len(support) == 6 and support.shape[2:] == (32, 32)  # 3 x 2 pieces side by side
    alone = tiled.decode(tiled.grey(view)[..., :32, :32], support[0::2]).sigmoid()
    alone = (alone + tiled.decode(tiled.grey(view)[..., :32, :32], support[1::2]).sigmoid()) / 2
    corner = tiled.segment(view, support).logits[:9, :9] + 0.5  # the next pieces begin at 11 and at 9
    np.testing.assert_allclose(corner, alone[0, 0, :9, :9].detach().T, atol=1e-5)


def test_a_picture_of_one_piece_is_the_same_tiled_and_stretched(tiled: UniverSeg, model: UniverSeg) -> None:
    core = vs.make_grid((32, 32, 1), np.diag([-1.0, -1, 1, 1]), calibrated=False)
    shown, image = example(core, seed=1), example(core, seed=2).image
    assert np.array_equal(segment(tiled, shown, image=image), segment(model, shown, image=image))


def test_order_and_repetition_change_nothing_where_examples_are_tiled(tiled: UniverSeg) -> None:
    image = example(LARGE, seed=9).image
    examples = [example(LARGE, seed=1), example(seed=2), example(vs.make_grid((17, 63, 1), np.eye(4)), seed=3)]
    expected = segment(tiled, *examples, image=image)
    assert expected.any() and not expected.all()
    assert np.array_equal(segment(tiled, *reversed(examples), examples[0], image=image), expected)


def test_an_example_without_the_target_is_allowed_beside_another(model: UniverSeg) -> None:
    empty = vs.Example(example(seed=3).image, vs.Volume(np.zeros((1, *PICTURE.shape), bool), PICTURE))
    segment(model, empty, example())
    session = vs.Session(model, example(seed=99).image)
    with pytest.raises(vs.PromptError, match="No example shows the target"):
        session.add(empty)
    assert session.history() == []


def test_odd_examples_are_one_sentence(model: UniverSeg) -> None:
    good = example()
    session = vs.Session(model, example(seed=99).image)
    with pytest.raises(vs.PromptError, match="There is no prompt; give universeg at least one example"):
        session.add()
    with pytest.raises(vs.PromptError, match="does not lie on the grid of its image"):
        session.add(vs.Example(good.image, good.mask.crop((0, 0, 0), (30, 30, 1))))
    four = vs.Volume(np.repeat(good.image.voxels, 4, axis=0), PICTURE)
    with pytest.raises(vs.PromptError, match="4 channels: choose one"):
        session.add(vs.Example(four, good.mask))
    broken = vs.Volume(np.full((1, *PICTURE.shape), np.nan, np.float32), PICTURE)
    with pytest.raises(vs.FormatError, match="not numbers"):
        session.add(vs.Example(broken, good.mask))


def test_a_flat_picture_is_no_division_by_zero(model: UniverSeg) -> None:
    flat = vs.Volume(np.full((1, *PICTURE.shape), 7, np.uint8), PICTURE)
    support = model.support([View(flat.voxels, PICTURE, Cues(mask=np.ones(PICTURE.shape, bool)))])
    assert support.isfinite().all()


def test_the_official_names_are_read(model: UniverSeg) -> None:
    state = {
        name.replace(".cross.", ".cross.cross_conv.")
        .replace(".target.", ".target.vmapped.conv.")
        .replace(".support.", ".support.vmapped.conv.")
        .replace("out_conv.", "out_conv.conv."): tensor
        for name, tensor in model.state_dict().items()
    }
    assert "enc_blocks.0.cross.cross_conv.weight" in state and "out_conv.conv.bias" in state
    assert model.convert(state).keys() == model.state_dict().keys()
