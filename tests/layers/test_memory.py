"""What SAM 2 remembers, and how it looks at it."""

from __future__ import annotations

import torch

from vesalius.layers.memory import (
    MemoryAttention,
    MemoryEncoder,
    rotary_turns,
    rotate,
    sine_distances,
    sine_positions,
)


def test_a_memory_has_the_size_of_the_embedding_and_depends_on_the_mask() -> None:
    torch.manual_seed(0)
    encoder = MemoryEncoder(32, 16)
    embedding, mask = torch.randn(1, 32, 4, 6), torch.full((1, 1, 64, 96), -10.0)
    memory = encoder(embedding, mask)
    assert memory.shape == (1, 16, 4, 6)
    mask[..., :32, :48] = 10
    other = encoder(embedding, mask)
    assert not torch.allclose(memory[..., :2, :2], other[..., :2, :2], atol=1e-3)


def test_a_rotated_product_depends_on_the_distance_alone() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 16)
    turns = rotary_turns(16, 5, 7).unflatten(0, (5, 7))

    def product(a: tuple[int, int], b: tuple[int, int]) -> torch.Tensor:
        return rotate(query, turns[a]) @ rotate(key, turns[b])

    torch.testing.assert_close(product((0, 1), (2, 4)), product((2, 2), (4, 5)))
    assert not torch.isclose(product((0, 1), (2, 4)), product((0, 1), (2, 5)))
    assert not torch.isclose(product((0, 1), (2, 4)), product((0, 1), (3, 4)))


def test_maps_are_looked_at_by_place_and_pointers_are_not() -> None:
    torch.manual_seed(0)
    attention = MemoryAttention(32, 8, depth=1)
    embedding, maps, pointers = torch.randn(1, 32, 3, 4), torch.randn(1, 24, 8), torch.randn(1, 2, 8)
    nowhere = torch.zeros(1, 26, 8)

    def look(*memory: torch.Tensor) -> torch.Tensor:
        return attention(embedding, torch.cat(memory, dim=1), nowhere, pointers=2)

    reference = look(maps, pointers)
    assert reference.shape == embedding.shape
    torch.testing.assert_close(look(maps[:, torch.arange(24).roll(12)], pointers), reference)  # the maps change places
    torch.testing.assert_close(look(maps, pointers.flip(1)), reference)
    assert not torch.allclose(look(maps[:, torch.arange(24).roll(1)], pointers), reference, atol=1e-4)


def test_sine_positions_tell_rows_from_columns() -> None:
    places = sine_positions(8, 3, 5)[0]
    assert places.shape == (8, 3, 5)
    assert torch.equal(places[:4, :, 0], places[:4, :, 4])
    assert torch.equal(places[4:, 0], places[4:, 2])
    assert sine_distances(torch.tensor([0.0, 0.5]), 8)[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
