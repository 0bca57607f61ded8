"""The frame of windows: bodies, regions, and the parts of blocks that are asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

import vesalius as vs
from vesalius.look_frame import Frame, blocks_within, body_mask, box_mask, found_mask, slab_order, voxels_of

GRID = vs.make_grid((40, 30, 20), np.diag([-1.0, -1, 2, 1]))


def frame() -> Frame:
    """Half as many voxels as the image, along axes in another order."""
    pixels = torch.arange(20.0 * 15 * 10).view(1, 20, 15, 10)
    return Frame(pixels, GRID, (2, 0, 1), (4, 4, 4), torch.ones(20, 15, 10, dtype=torch.bool))


def test_slabs_lie_across_the_axis_with_most_windows() -> None:
    assert slab_order((50, 90, 60), (10, 30, 10)) == (2, 0, 1)
    assert slab_order((8, 8, 8), (8, 8, 8)) == (0, 1, 2)


def test_the_network_sees_windows_in_its_own_axes() -> None:
    seen = []

    def encode(windows: torch.Tensor) -> torch.Tensor:
        seen.append(windows.shape[2:])
        return windows

    upright = replace(frame(), patch=(20, 15, 10))
    ((first, block),) = upright.read(upright.shape, upright.body, 0.5, encode, lambda voxels: voxels)
    assert seen == [(15, 10, 20)] and first == 0
    assert np.array_equal(block, upright.pixels)


def test_a_first_look_pays_where_windows_overlap() -> None:
    assert frame().first_look_pays(0.5)
    assert not replace(frame(), patch=(20, 15, 10)).first_look_pays(0.5)


def test_blocks_are_cut_to_what_is_asked_for() -> None:
    whole = np.arange(6 * 5 * 4).reshape(1, 6, 5, 4)
    blocks = [(0, whole[:, :2]), (2, whole[:, 2:5]), (5, whole[:, 5:])]
    parts = list(blocks_within(blocks, np.array([1, 2, 0]), np.array([4, 5, 3])))
    assert [first for first, _ in parts] == [1, 2]
    assert np.array_equal(np.concatenate([part for _, part in parts], axis=1), whole[:, 1:4, 2:5, :3])


def test_a_region_is_its_voxels_and_the_networks_that_touch_them() -> None:
    region = vs.Box.from_index(GRID, (5, 0, 7), (8, 29, 7))
    low, high = voxels_of(region, GRID)
    assert low.tolist() == [5, 0, 7] and high.tolist() == [9, 30, 8]
    assert [side.tolist() for side in voxels_of(None, GRID)] == [[0, 0, 0], [40, 30, 20]]
    touched = torch.zeros(20, 15, 10, dtype=torch.bool)
    touched[2:5, :, 3:4] = True
    assert torch.equal(box_mask(frame(), low, high), touched)


def test_a_body_is_filled_in_axial_slices_and_has_a_margin() -> None:
    dense = np.zeros((40, 30, 20), bool)
    dense[20:40, 4:24] = True
    dense[28:32, 12:16] = False  # enclosed in each axial slice, and open at both ends
    body = body_mask(dense, GRID)
    assert body[20:, 4:24].all() and body[12:].all() and not body[:12].any()
    turned = body_mask(np.moveaxis(dense, 2, 0), GRID.orient("SLP"))
    assert torch.equal(turned, body.movedim(2, 0))


def test_what_a_first_look_found_has_some_space_around() -> None:
    block = np.zeros((2, 3, 15, 10), bool)
    block[1, 1, 0, 9] = True
    found = found_mask(frame(), [(10, block)])
    assert found[:, :12].all() and not found[:, 12:].any()
