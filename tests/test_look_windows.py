"""Windows: slabs are the plain weighted mean, read on any voxels, and windows outside a mask are left out."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius import look_windows
from vesalius.look_windows import Shape, bell, blend, blend_in_half, covered, mirrored, read_slabs, resampled, starts

KERNEL = torch.randn(3, 2, 3, 3, 3, generator=torch.Generator().manual_seed(0))
CASES = [((17, 30, 21), (8, 16, 10)), ((5, 20, 9), (8, 16, 10)), ((4, 17, 20), (1, 16, 10))]  # images and windows
every_case = pytest.mark.parametrize(("shape", "patch"), CASES)


def encode(windows: Tensor) -> Tensor:
    """Features that depend on where a window ends, since its rim is padded."""
    return F.conv3d(windows, KERNEL, padding=1).permute(0, 2, 3, 4, 1)


def image(shape: Shape) -> Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))


def plain(pixels: Tensor, patch: Shape) -> Tensor:
    """The weighted mean of all windows, in one piece and in 64 bit."""
    gaps = [max(0, size - n) for size, n in zip(patch, pixels.shape[1:], strict=True)]
    padded = F.pad(pixels, [side for gap in reversed(gaps) for side in (gap // 2, gap - gap // 2)])
    weight = torch.tensor(np.einsum("i,j,k", *(bell(size) for size in patch)))[..., None]
    total, norm = torch.zeros(*padded.shape[1:], 3).double(), torch.zeros(*padded.shape[1:], 1).double()
    for at in product(*(starts(n, size, 0.5) for n, size in zip(padded.shape[1:], patch, strict=True))):
        where = tuple(slice(begin, begin + size) for begin, size in zip(at, patch, strict=True))
        total[where] += encode(padded[(slice(None), *where)][None])[0] * weight
        norm[where] += weight
    inside = tuple(slice(gap // 2, gap // 2 + n) for gap, n in zip(gaps, pixels.shape[1:], strict=True))
    return (total / norm)[inside].float()


def whole(pixels: Tensor, patch: Shape, mask: Tensor | None = None) -> Tensor:
    """All slabs together; what is missing is NaN."""
    found = torch.full((*pixels.shape[1:], 3), torch.nan)
    for slab in blend(pixels, encode, patch, 0.5, mask):
        found[slab.first : slab.first + len(slab.planes)] = slab.planes
    return found


@pytest.mark.parametrize(
    ("size", "patch", "step", "expected"),
    [
        (37, 24, 0.5, [0, 6, 13]),
        (50, 32, 0.7, [0, 18]),
        (13, 24, 0.5, [0]),
        (24, 24, 0.5, [0]),
        (4, 1, 0.5, [0, 1, 2, 3]),
    ],
)
def test_windows_are_spread_evenly_to_both_ends(size: int, patch: int, step: float, expected: list[int]) -> None:
    assert starts(size, patch, step) == expected


@every_case
def test_slabs_are_the_weighted_mean_of_all_windows(shape: Shape, patch: Shape) -> None:
    pixels = image(shape)
    torch.testing.assert_close(whole(pixels, patch), plain(pixels, patch), atol=1e-4, rtol=1e-4)


def test_large_slabs_are_summed_in_16_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_windows, "SLAB_BYTES", 1)
    pixels = image(CASES[0][0])
    slab = next(iter(blend(pixels, encode, CASES[0][1], 0.5)))
    assert slab.planes.dtype == torch.float16
    torch.testing.assert_close(whole(pixels, CASES[0][1]), plain(pixels, CASES[0][1]), atol=0.03, rtol=3e-3)


def test_away_from_the_edges_nnunets_own_sums_agree() -> None:
    shape, patch = CASES[0]
    exact, half = plain(image(shape), patch), blend_in_half(image(shape), encode, patch, 0.5)
    torch.testing.assert_close(half[3:-3, 5:-5, 3:-3].float(), exact[3:-3, 5:-5, 3:-3], atol=0.05, rtol=0)


@every_case
def test_windows_without_a_wanted_voxel_are_left_out(shape: Shape, patch: Shape) -> None:
    pixels, mask = image(shape), torch.zeros(shape, dtype=torch.bool)
    mask[:2, :3, :4] = True
    mask[-1, -1, -1] = shape != CASES[1][0]  # there, two windows hold the whole image
    seen: list[int] = []

    def counted(windows: Tensor) -> Tensor:
        seen.append(len(windows))
        return encode(windows)

    assert list(blend(pixels, counted, patch, 0.5, mask))
    everything = len(list(product(*(starts(max(n, p), p, 0.5) for n, p in zip(shape, patch, strict=True)))))
    assert 0 < sum(seen) < everything
    known = covered(mask, patch, 0.5)
    assert known[mask].all() and not known.all()
    torch.testing.assert_close(whole(pixels, patch, mask)[known], plain(pixels, patch)[known], atol=1e-4, rtol=1e-4)


@every_case
@pytest.mark.parametrize("zoom", [0.6, 1.0, 1.7])
def test_slabs_are_read_on_other_voxels_as_if_resampled_whole(
    shape: Shape, patch: Shape, zoom: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_windows, "BLOCK_VALUES", 3000)
    pixels = image(shape)
    output = tuple(max(1, round(zoom * n)) for n in shape)
    found = np.full((3, *output), np.nan, np.float32)
    for first, block in read_slabs(blend(pixels, encode, patch, 0.5), shape, output, lambda voxels: voxels):
        assert np.isnan(found[:, first : first + block.shape[1]]).all()  # no plane twice
        found[:, first : first + block.shape[1]] = block
    expected = F.interpolate(plain(pixels, patch).permute(3, 0, 1, 2)[None], output, mode="trilinear")[0]
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("nearest", [0, 1, 2])
def test_along_one_axis_the_nearest_plane_may_count(nearest: int) -> None:
    shape, patch = CASES[0]
    output = tuple(round(1.7 * n) for n in shape)
    slabs = blend(image(shape), encode, patch, 0.5)
    found = np.concatenate(
        [block for _, block in read_slabs(slabs, shape, output, lambda voxels: voxels, nearest)], axis=1
    )
    part = [n if axis == nearest else size for axis, (n, size) in enumerate(zip(shape, output, strict=True))]
    expected = F.interpolate(plain(image(shape), patch).permute(3, 0, 1, 2)[None], part, mode="trilinear")[0]
    rows = resampled(shape[nearest], output[nearest], True).long()
    np.testing.assert_allclose(found, expected.index_select(1 + nearest, rows), atol=1e-3)


def test_mirroring_averages_over_every_flip() -> None:
    ramp = torch.arange(4.0)[None, None, :, None, None] * torch.ones(1, 1, 4, 3, 2)
    network = mirrored(lambda windows: windows * ramp, [0, 2])
    once = network(torch.ones(1, 1, 4, 3, 2))
    torch.testing.assert_close(once, torch.full_like(once, 1.5))
