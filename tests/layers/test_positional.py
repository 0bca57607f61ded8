"""Positions of points and of the dense map agree, in any precision."""

import torch

from vesalius.layers.positional import FourierPositions


def test_the_dense_map_is_the_code_of_its_cell_centres() -> None:
    positions = FourierPositions(8)
    dense = positions.dense(height=2, width=4)
    assert dense.shape == (1, 16, 2, 4)
    centre = torch.tensor([2.5 / 4, 1.5 / 2])
    torch.testing.assert_close(dense[0, :, 1, 2], positions(centre))


def test_autocast_does_not_round_the_phases() -> None:
    positions = FourierPositions(64)
    places = torch.rand(50, 2)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = positions(places)
    torch.testing.assert_close(rounded, positions(places))
