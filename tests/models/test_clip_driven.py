"""CLIP-Driven: what a name makes, windows that do not depend on each other, released files, and rules about organs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import vesalius as vs
from phantoms import ball, grids
from vesalius.checkpoint import read_checkpoint
from vesalius.hub import build, fit_weights, random_model
from vesalius.models.clip_driven import HIDDEN, ClipDriven, extent, keep_largest, keep_within, part_sides
from vesalius.zoo.clip_driven import CARDS, INSIDE, RULES, STRUCTURES, SWIN_UNETR, UNET

GRID = grids()["isotropic"]
TORSO = ["liver", "liver_tumor", "right_lung", "left_lung"]
TORSO_RULES = [["part_sides", TORSO[2:], []], ["keep_largest", ["liver"], []], ["keep_within", TORSO[1:2], TORSO[:1]]]
BOTH = pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)


@cache
def tiny(card_name: str) -> ClipDriven:
    made: ClipDriven = random_model(vs.find_card(card_name))
    return made


def torso(**changed: Any) -> ClipDriven:
    """A small U-Net that knows four structures."""
    own = {"outputs": TORSO, "rules": [], "patch": [32, 32, 16], "spacing_mm": 1.0}
    card = replace(UNET, options={**UNET.options, **UNET.tiny, **own, **changed}, labels=tuple(TORSO))
    torch.manual_seed(0)
    made: ClipDriven = build(ClipDriven, card).eval()
    return made


def showing(network: ClipDriven, *levels: float) -> ClipDriven:
    """A network whose structures are what is brighter than a level of its own, by logits."""
    offsets = torch.tensor(levels)[:, None, None, None]
    network.logits = lambda windows, rows: 10 * (windows - offsets)[:, rows]  # type: ignore[method-assign]
    return network


def slope() -> vs.Volume:
    """A CT that becomes denser along its first axis, from -175 to 250 HU."""
    values = np.linspace(-175, 250, GRID.shape[0], dtype=np.float32)
    return vs.Volume(np.broadcast_to(values[:, None, None], GRID.shape)[None].copy(), GRID, vs.Source(modality="CT"))


def mask_of(shape: tuple[int, int, int], *boxes: tuple[slice, slice, slice]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for box in boxes:
        mask[box] = True
    return mask


@BOTH
def test_no_window_depends_on_those_that_come_with_it(card: vs.Card) -> None:
    network = tiny(card.name)
    windows = torch.rand(2, 1, *network.patch)
    with torch.inference_mode():
        alone = [network.encode(window[None]) for window in windows]
        together = network.encode(windows)
        official = network.see(windows)
    for n in range(2):
        assert all(torch.equal(whole[n], one[0]) for whole, one in zip(together, alone[n], strict=True))
    mixed = float((official[0][0] - together[0][0]).abs().max())
    assert mixed > 0.01 if card is UNET else mixed < 1e-5


def test_each_name_makes_three_layers_of_its_own() -> None:
    network = torso()
    fine, window = torch.randn(1, HIDDEN, 3, 4, 5), torch.randn(1, network.text_to_vision.out_features)
    logits = network.head(fine, window, [0, 1, 2, 3])[0]
    for n, features in enumerate(network.organ_embedding):
        text = F.relu(network.text_to_vision(features))
        made = network.controller(torch.cat([window[0], text]).view(1, -1, 1, 1, 1)).flatten()
        first, second, third, b1, b2, b3 = made.split([64, 64, 8, 8, 8, 1])
        hidden = F.relu(F.conv3d(fine, first.view(8, 8, 1, 1, 1), b1))
        hidden = F.relu(F.conv3d(hidden, second.view(8, 8, 1, 1, 1), b2))
        torch.testing.assert_close(logits[n], F.conv3d(hidden, third.view(1, 8, 1, 1, 1), b3)[0, 0])
    torch.testing.assert_close(network.head(fine, window, [2]), logits[None, 2:3])


@BOTH
def test_a_released_file_loads_as_it_is(card: vs.Card, tmp_path: Path) -> None:
    network, other = random_model(card), random_model(card, seed=1)
    state = dict(network.state_dict())
    official = {f"module.{name}": tensor for name, tensor in state.items()}
    if card is SWIN_UNETR:  # its file does not say which tensors are the backbone's
        official = {name.replace("module.backbone.", "module."): tensor for name, tensor in official.items()}
        official["module.swinViT.layers1.0.blocks.0.attn.relative_position_index"] = torch.zeros(343, 343).long()
    else:
        official |= {f"module.backbone.down_tr64.ops.0.bn1.running_{name}": torch.ones(8) for name in ("mean", "var")}
        official["module.backbone.down_tr64.ops.0.bn1.num_batches_tracked"] = torch.tensor(3)
    file = tmp_path / "released.pth"
    torch.save({"net": official, "optimizer": {"state": {}}, "epoch": 2100}, file)
    fit_weights(other, read_checkpoint(file), file)
    assert all(torch.equal(tensor, state[name]) for name, tensor in other.state_dict().items())
    assert torch.equal(other.organ_embedding, network.organ_embedding)
    del official["module.organ_embedding"]
    torch.save({"net": official}, file)
    with pytest.raises(vs.CardError, match=r"1 missing \(organ_embedding\)"):
        fit_weights(other, read_checkpoint(file), file)


def test_the_bank_has_the_rows_of_the_paper_and_the_rules_know_them() -> None:
    assert len(STRUCTURES) == 32 and STRUCTURES[5] == "liver" and STRUCTURES[31] == "kidney_cyst"
    named = {name for _, changed, given in RULES for name in [*changed, *given]}
    assert named <= set(STRUCTURES) and {name for name in STRUCTURES if "tumor" in name or "cyst" in name} == set(
        INSIDE
    )


def test_the_network_sees_a_ct_window_at_its_spacing() -> None:
    values = np.full((1, 30, 20, 12), -1000, np.int16)
    values[0, 3:9, 2:14, 2:8] = 37  # half-way up the window
    image = vs.Volume(values, vs.make_grid((30, 20, 12), np.diag([-0.75, 1.5, 3, 1])))
    frame = torso(spacing_mm=1.5).frame(image)
    pixels = vs.Volume(frame.pixels.numpy(), frame.grid.resize(frame.shape)).orient("RAS").voxels[0]
    assert pixels.shape == (15, 20, 24)
    assert pixels.min() == 0 and pixels.max() == pytest.approx(0.5, abs=0.002)
    bright = np.argwhere(pixels > 0.45)
    assert bright.min(axis=0).tolist() == [11, 2, 5] and bright.max(axis=0).tolist() == [12, 13, 14]


def test_each_structure_has_a_threshold_of_its_own() -> None:
    even = showing(torso(), 0.4, 0.4, 0.4, 0.4)
    found = vs.Session(even, slope()).add()
    strict = showing(torso(thresholds={"liver_tumor": 0.9}), 0.4, 0.4, 0.4, 0.4)
    higher = vs.Session(strict, slope()).add()
    assert np.array_equal(higher.mask("liver"), found.mask("liver"))
    assert 0 < higher.mask("liver_tumor").sum() < found.mask("liver_tumor").sum()
    edge = slope().voxels[0][higher.mask("liver_tumor")].min()
    assert (edge + 175) / 425 == pytest.approx(0.4 + np.log(9) / 10, abs=0.05)


def test_a_tumour_and_its_organ_are_both_kept() -> None:
    found = vs.Session(showing(torso(), 0.3, 0.7, 2, 2), slope()).add()
    liver, tumour = found.mask("liver"), found.mask("liver_tumor")
    assert tumour.any() and (liver & tumour).sum() == tumour.sum() and len(found.layers) == 2
    assert not found.mask("left_lung").any() and "left_lung" in found.annotated


def test_a_structure_alone_is_what_it_is_among_all() -> None:
    network = torso(rules=TORSO_RULES)
    image = ball(GRID)
    whole = vs.Session(network, image).add()
    rows = []
    logits = network.logits
    network.logits = lambda windows, some: (rows.append(some), logits(windows, some))[1]  # type: ignore[method-assign,func-returns-value]
    for name, needed in (("liver_tumor", [0, 1]), ("liver", [0]), ("left_lung", [2, 3])):
        only = vs.Session(network, image).add(vs.Named(name))
        assert only.labels.names == (name,) and np.array_equal(only.mask(name), whole.mask(name))
        assert rows.pop() == needed
    assert not (whole.mask("right_lung") & whole.mask("left_lung")).any()


def test_a_region_bounds_the_answer() -> None:
    network = showing(torso(), 0.3, 0.3, 0.3, 0.3)
    region = vs.Box.from_index(GRID, (10, 4, 2), (24, 12, 4))
    found = vs.Session(network, slope(), region=region).add(vs.Named("liver"))
    inside = mask_of(GRID.shape, (slice(10, 25), slice(4, 13), slice(2, 5)))
    whole = vs.Session(network, slope()).add(vs.Named("liver"))
    assert np.array_equal(found.mask("liver"), whole.mask("liver") & inside) and found.mask("liver").any()


def test_an_image_of_two_channels_is_refused() -> None:
    with pytest.raises(vs.PromptError, match=r"looks at one channel and the image has 2"):
        vs.Session(torso(), vs.Volume(np.zeros((2, *GRID.shape), np.uint8), GRID)).add()


def test_keep_largest_leaves_one_component() -> None:
    big, small = (slice(0, 3), slice(0, 3), slice(0, 2)), (slice(6, 8), slice(6, 8), slice(0, 2))
    corner = (slice(3, 4), slice(3, 4), slice(2, 3))  # touches the big one at one corner
    shape = (9, 9, 4)
    grid = vs.make_grid(shape, np.eye(4))
    kept, empty = keep_largest([mask_of(shape, big, small, corner), mask_of(shape)], [], grid)
    assert np.array_equal(kept, mask_of(shape, big, corner)) and not empty.any()


@pytest.mark.parametrize("codes", ["RAS", "LPS", "ASR"])
def test_shared_voxels_of_a_pair_go_to_the_nearer_side(codes: str) -> None:
    shape, rows = (12, 5, 4), slice(None)
    right, left = mask_of(shape, (slice(0, 8), rows, rows)), mask_of(shape, (slice(5, 12), rows, rows))
    grid = vs.make_grid(shape, np.eye(4))
    turned = [vs.Volume(mask[None], grid).orient(codes).voxels[0] for mask in (right, left)]
    parted = part_sides(turned, [], grid.orient(codes))
    back = [vs.Volume(mask[None], grid.orient(codes)).orient("RAS").voxels[0] for mask in parted]
    assert np.array_equal(back[0], mask_of(shape, (slice(0, 6), rows, rows)))
    assert np.array_equal(back[1], mask_of(shape, (slice(6, 12), rows, rows)))


def test_a_pair_without_shared_voxels_stays_as_it_is() -> None:
    one, other = mask_of((6, 2, 2), (slice(0, 5), slice(None), slice(None))), mask_of((6, 2, 2))
    assert part_sides([one, other], [], vs.make_grid((6, 2, 2), np.eye(4))) == [one, other]


def test_a_tumour_is_kept_within_its_organs_and_three_millimetres_around() -> None:
    shape = (20, 10, 6)
    grid = vs.make_grid(shape, np.diag([1.0, 1.5, 5, 1]))
    organs = [mask_of(shape, (slice(0, 4), slice(4, 6), slice(2, 4))), mask_of(shape)]
    (kept,) = keep_within([np.ones(shape, bool)], organs, grid)
    assert np.array_equal(kept, mask_of(shape, (slice(0, 7), slice(2, 8), slice(1, 5))))
    assert not keep_within([mask_of(shape, (slice(9, 20), slice(None), slice(None)))], organs, grid)[0].any()


def test_an_extent_stays_inside_the_image_and_may_be_empty() -> None:
    mask = mask_of((8, 8, 8), (slice(0, 2), slice(3, 5), slice(7, 8)))
    assert mask[extent(mask, (2, 2, 2))].shape == (4, 6, 3)
    assert mask[extent(np.zeros_like(mask), (2, 2, 2))].size == 0
