"""nnU-Net: what it computes is what its network says of the resampled image, window by window, and only where asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import vesalius as vs
from phantoms import ball, grids
from vesalius.hub import build, fit_weights
from vesalius.look_windows import Shape
from vesalius.models.nnunet import NnUnet, NnUnetParts, coarse_axis, nonzero, resize
from vesalius.zoo.nnunet import NNUNET, described

SIZES = {
    "channels": 1,
    "classes": 4,
    "widths": [4, 6],
    "kernels": [[3, 3, 3]] * 2,
    "strides": [[1, 1, 1], [2, 2, 2]],
    "depth": [1, 1],
    "decoder_depth": [1],
}
OPTIONS = {
    "network": "unet",
    "sizes": SIZES,
    "axes": "SPL",
    "patch": [8, 8, 8],
    "spacing_mm": [None, None, None],
    "normalisation": [{"scheme": "zscore"}],
    "outputs": ["", "a", "b", "c"],
}
CT = {"scheme": "ct", "mean": 0.0, "sd": 100.0, "low": -1000.0, "high": 400.0}
GRID = grids()["isotropic"]


def model(seed: int = 0, **changed: Any) -> NnUnet:
    torch.manual_seed(seed)
    made: NnUnet = build(NnUnet, described(NNUNET, OPTIONS | changed)).eval()
    return made


def segment(network: Any, image: vs.Volume, *names: str, region: vs.Box | None = None) -> vs.Segmentation:
    return vs.Session(network, image, region=region).add(*(vs.Named(name) for name in names))


def masks(found: vs.Segmentation) -> np.ndarray:
    return np.stack([found.mask(name) for name in found.labels.names])


def plain(network: NnUnet, image: vs.Volume) -> np.ndarray:
    """The codes of an image that fits into one window, in its own storage order."""
    values = image.orient(network.axes).voxels.astype(np.float32)
    pixels = torch.from_numpy((values - values.mean()) / values.std())
    gaps = [size - n for size, n in zip(network.patch, pixels.shape[1:], strict=True)]
    padded = F.pad(pixels, [side for gap in reversed(gaps) for side in (gap // 2, gap - gap // 2)])
    with torch.inference_mode():
        logits = network.logits(padded[None])[0]
    i, j, k = (slice(gap // 2, gap // 2 + n) for gap, n in zip(gaps, pixels.shape[1:], strict=True))
    codes = logits[:, i, j, k].argmax(0)
    return vs.Volume(codes[None].numpy(), image.grid.orient(network.axes)).to(image.grid, order=0).voxels[0]


@pytest.mark.parametrize("changed", [{}, {"folds": 2}, {"network": "stunet"}, {"mirror": [0, 2]}, {"axes": "RAS"}])
def test_an_image_in_one_window_is_what_the_network_says(changed: dict[str, Any]) -> None:
    network = model(patch=[32, 32, 32], **changed)
    if changed.get("mirror"):
        plain_logits = network.logits
        flips: list[list[int]] = [[], [2], [4], [2, 4]]
        network.logits = lambda windows: sum(plain_logits(windows.flip(dims)).flip(dims) for dims in flips)  # type: ignore[method-assign,assignment,return-value]
        expected = plain(network, ball(GRID))
        network.logits = plain_logits  # type: ignore[method-assign]
    else:
        expected = plain(network, ball(GRID))
    found = segment(network, ball(GRID))
    for code, name in enumerate("abc", start=1):
        assert (found.mask(name) != (expected == code)).mean() < 2e-3


@pytest.mark.parametrize("span", [((0, 0, 3), (26, 22, 1)), ((13, 0, 0), (1, 22, 7)), ((13, 9, 2), (5, 3, 2))])
def test_what_is_smaller_than_a_window_is_filled_up(span: tuple[Shape, Shape]) -> None:
    network, image = model(), ball(GRID).crop(*span)
    network.patch = (32, 32, 32)
    found, expected = segment(network, image), plain(network, image)
    codes = sum(code * found.mask(name) for code, name in enumerate("abc", start=1))
    assert len(np.unique(expected)) > 1 and (codes != expected).mean() < 2e-3


def test_blending_before_the_heads_changes_nothing() -> None:
    """With more classes than features the heads come last: here they are made to come first."""
    sizes, outputs = SIZES | {"classes": 9}, ["", *"abcdefgh"]
    late = model(sizes=sizes, outputs=outputs, folds=2, spacing_mm=[2.0, 1.3, 1.3])
    early = model(sizes=sizes, outputs=outputs, folds=2, spacing_mm=[2.0, 1.3, 1.3])
    early.late = False
    assert late.late
    assert (masks(segment(late, ball(GRID))) != masks(segment(early, ball(GRID)))).mean() < 1e-3


def test_regions_may_overlap() -> None:
    network = model(exclusive=False, outputs=["whole", "core", "rim", "other"])
    found = segment(network, ball(GRID))
    assert found.labels.names == ("whole", "core", "rim", "other") and len(found.layers) > 1
    only = segment(network, ball(GRID), "core")
    assert np.array_equal(only.mask("core"), found.mask("core")) and only.labels.names == ("core",)


def test_a_two_dimensional_network_looks_slice_by_slice() -> None:
    flat = {"kernels": [[1, 3, 3]] * 2, "strides": [[1, 1, 1], [1, 2, 2]]}
    network = model(sizes=SIZES | flat, patch=[1, 16, 16])
    state = {name: t[:, :, 0] if t.ndim == 5 else t for name, t in network.folds()[0].state_dict().items()}
    again = model(seed=1, sizes=SIZES | flat, patch=[1, 16, 16])
    fit_weights(again, state, NotImplemented)
    image = ball(GRID)
    image.voxels[..., 3] = 7  # another slice
    whole, before = segment(again, image), segment(network, ball(GRID))
    assert np.array_equal(masks(segment(network, image)), masks(whole))
    assert masks(before).any()


def counting(network: NnUnet) -> list[int]:
    """How many windows go through a network from now on, one number for each call."""
    counts: list[int] = []
    encode = network.encode

    def counted(windows: torch.Tensor) -> torch.Tensor:
        counts.append(len(windows))
        return encode(windows)

    network.encode = counted  # type: ignore[method-assign]
    return counts


def body() -> vs.Volume:
    """A CT of a small body in a corner of much air, with air inside the body."""
    voxels = np.full((1, 60, 60, 24), -1000, np.int16)
    voxels[0, 4:20, 4:20, 4:20] = 40
    voxels[0, 9:14, 9:14] = np.where(voxels[0, 9:14, 9:14] == 40, -900, -1000)
    noise = np.random.default_rng(0).normal(0, 10, voxels.shape).astype(np.int16)
    return vs.Volume(voxels + noise, vs.make_grid((60, 60, 24), np.diag([-1.0, -1, 1, 1])), vs.Source(modality="CT"))


def test_empty_space_is_left_out_and_the_body_is_not_changed() -> None:
    network, everywhere = model(normalisation=[CT]), model(normalisation=[CT])
    everywhere.body = lambda image: torch.ones(image.grid.shape, dtype=torch.bool)  # type: ignore[method-assign]
    some, all_ = counting(network), counting(everywhere)
    found, whole = segment(network, body()), segment(everywhere, body())
    assert sum(some) < 0.4 * sum(all_)
    assert np.array_equal(masks(found)[:, 4:20, 4:20, 4:20], masks(whole)[:, 4:20, 4:20, 4:20])
    assert masks(whole)[:, 50:, 50:].any() and not masks(found)[:, 50:, 50:].any()


def test_a_region_costs_only_its_windows_and_bounds_the_answer() -> None:
    network, grid = model(), body().grid
    whole = segment(network, body())
    counts = counting(network)
    found = segment(network, body(), region=vs.Box.from_index(grid, (3, 5, 4), (12, 9, 8)))
    inside = np.zeros(grid.shape, bool)
    inside[3:13, 5:10, 4:9] = True
    assert sum(counts) < 60
    assert np.array_equal(masks(found), masks(whole) & inside) and masks(found).any()


def test_one_structure_costs_a_first_look_and_its_own_windows() -> None:
    network = model()  # bright voxels are "a": the body
    one = [lambda windows: 0 * windows, lambda windows: windows, *[lambda windows: windows - 9] * 2]
    network.logits = lambda windows: torch.cat([each(windows) for each in one], dim=1)  # type: ignore[method-assign]
    counts = counting(network)
    whole = segment(network, body())
    everything = sum(counts)
    counts.clear()
    only = segment(network, body(), "a")
    assert np.array_equal(only.mask("a"), whole.mask("a")) and only.mask("a").sum() > 3000
    assert sum(counts) < 0.6 * everything


def test_the_stage_before_is_part_of_the_input() -> None:
    before = OPTIONS | {"spacing_mm": [2.0, 2.0, 2.0]}
    network = model(previous=before, sizes=SIZES | {"channels": 4})
    seen = []
    encode = network.encode
    network.encode = lambda windows: (seen.append(windows), encode(windows))[1]  # type: ignore[method-assign,func-returns-value]
    assert masks(segment(network, ball(GRID))).any()
    marks = torch.cat([windows[:, 1:] for windows in seen])
    assert marks.unique().tolist() == [0, 1] and marks.sum(1).max() == 1


def test_the_stage_before_answers_on_the_images_own_voxels() -> None:
    """Of two voxels between two of the image's, each nearer to one of them, both have its label."""
    before, image = model(patch=[32, 32, 32]), ball(GRID)
    own = segment(before, image)
    whole = image.orient(before.axes)
    shape = (2 * whole.grid.shape[0], *whole.grid.shape[1:])
    pixels = vs.Volume(np.zeros((1, *shape), np.float32), whole.grid.resize(shape))
    marks = before.answered(image, pixels, None).voxels[1:]
    for name, mark in zip("abc", marks, strict=True):
        mask = vs.Volume(own.mask(name)[None], image.grid).orient(before.axes).voxels[0]
        assert np.array_equal(mark, np.repeat(mask, 2, axis=0))
    assert sum(mark.any() for mark in marks) > 1


def test_parts_run_only_where_they_know_what_is_asked_for() -> None:
    one, other = OPTIONS, OPTIONS | {"outputs": ["", "d", "e", "f"]}
    card = replace(described(NNUNET, OPTIONS), options={"parts": [one, other]}, labels=tuple("abcdef"))
    torch.manual_seed(0)
    parts = build(NnUnetParts, card).eval()
    first, second = (counting(part) for part in parts.models())
    found = segment(parts, ball(GRID), "e")
    assert found.labels.names == ("e",) and not first and second
    whole = segment(parts, ball(GRID))
    assert np.array_equal(whole.mask("e"), found.mask("e")) and first and len(whole.layers) > 1


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        (CT, [-10.0, -1.0, 4.0]),
        ({"scheme": "none"}, [-2000.0, -100.0, 900.0]),
        ({"scheme": "unit"}, [0.0, 1900 / 2900, 1.0]),
    ],
)
def test_each_channel_is_normalised_by_its_scheme(scheme: dict[str, Any], expected: list[float]) -> None:
    values = np.array([-2000, -100, 900], np.int16).reshape(1, 3, 1, 1)
    image = vs.Volume(values, vs.make_grid((3, 1, 1), np.eye(4)))
    np.testing.assert_allclose(model(normalisation=[scheme]).normalise(image).voxels.ravel(), expected, rtol=1e-6)


def test_masked_scores_are_of_what_is_not_empty() -> None:
    values = np.zeros((1, 9, 9, 9), np.float32)
    values[0, 2:7, 2:7, 2:7] = np.random.default_rng(0).normal(50, 5, (5, 5, 5))
    image = vs.Volume(values, vs.make_grid((9, 9, 9), np.eye(4)))
    normal = model(normalisation=[{"scheme": "zscore", "masked": True}]).normalise(image).voxels
    inside = normal[values != 0]
    assert abs(inside.mean()) < 1e-5 and abs(inside.std() - 1) < 1e-4 and not normal[values == 0].any()
    assert nonzero(values) == ((2, 2, 2), (5, 5, 5))


def test_what_is_empty_in_one_channel_only_is_not_empty() -> None:
    values = np.random.default_rng(0).normal(50, 5, (2, 6, 6, 6)).astype(np.float32)
    values[:, 0], values[1, 3:] = 0, 0  # nowhere anything; nothing in the second channel
    image = vs.Volume(values, vs.make_grid((6, 6, 6), np.eye(4)))
    normal = model(normalisation=[{"scheme": "zscore", "masked": True}] * 2).normalise(image).voxels
    seen = values[1, 1:]
    np.testing.assert_allclose(normal[1, 1:], (seen - seen.mean()) / seen.std(), rtol=1e-5)
    assert not normal[:, 0].any()


def test_slices_far_apart_in_the_image_and_in_the_network_are_resampled_each_in_its_turn() -> None:
    """Nothing is interpolated along the image's coarse axis on the way in, and along the network's on the way out."""
    grid = vs.make_grid((12, 20, 20), np.diag([-4.0, -1, 1, 1]))  # stored as left, posterior, superior
    frame = model(spacing_mm=[4.0, 1.0, 1.0]).frame(
        vs.Volume(np.random.default_rng(0).normal(size=(1, 12, 20, 20)), grid)
    )
    pixels = frame.pixels[0].permute(*np.argsort(frame.order))  # superior, posterior, left
    assert pixels.shape == (5, 20, 48) and frame.flat == frame.order.index(0)
    assert torch.equal(pixels, pixels[..., ::4].repeat_interleave(4, dim=2))


def test_only_one_much_coarser_axis_is_resampled_to_the_nearest_voxel() -> None:
    assert coarse_axis((5.0, 1.0, 1.0), (1.0, 1.0, 1.0)) == 0
    assert coarse_axis((1.0, 1.0, 1.0), (1.0, 1.0, 4.0)) == 2
    assert coarse_axis((2.0, 1.0, 1.0), (1.0, 1.0, 1.0)) is None
    assert coarse_axis((5.0, 5.0, 1.0), (9.0, 1.0, 1.0)) is None


def test_splines_stay_in_the_range_and_slices_far_apart_do_not_mix() -> None:
    step = np.zeros((1, 12, 12, 3), np.float32)
    step[0, 6:] = 1
    step[0, :, :, 1] *= 5
    volume = vs.Volume(step, vs.make_grid((12, 12, 3), np.diag([1.0, 1, 5, 1])))
    free = volume.to(volume.grid.resize((30, 30, 3)), order=3).voxels
    assert free.max() > 5.2 and free.min() < -0.2
    found = resize(volume, (30, 30, 6), 2, order=3).voxels
    assert found.min() == 0 and found.max() == 5 and found.shape == (1, 30, 30, 6)
    assert found[..., [0, 1, 4, 5]].max() == 1  # each slice keeps to its own range, and is repeated as it is
    assert np.array_equal(found[..., 2], found[..., 3])


def test_another_number_of_channels_is_refused() -> None:
    image = ball(GRID)
    with pytest.raises(vs.PromptError, match=r"looks at 2 channel\(s\) and the image has 1; give one with 2"):
        segment(model(normalisation=[CT, CT], sizes=SIZES | {"channels": 2}), image)


def test_a_model_of_ct_warns_of_other_modalities_by_name(recwarn: pytest.WarningsRecorder) -> None:
    ct = body()
    mr = vs.Volume(ct.voxels, ct.grid, vs.Source(modality="MR"))
    with pytest.warns(vs.VesaliusWarning, match="nnunet was trained on CT alone, and the image says that it is MR"):
        vs.Session(model(normalisation=[CT]), mr)
    vs.Session(model(normalisation=[CT]), ct)
    vs.Session(model(normalisation=[CT]), ball(GRID))  # whose file does not say what it is
    vs.Session(model(), mr)
    assert not len(recwarn)


def test_names_of_nnunet_1_are_those_of_2() -> None:
    network = model(sizes=SIZES | {"depth": [2, 2], "decoder_depth": [2]})
    names = [name.removeprefix("networks.0.") for name in network.state_dict()]
    old = {
        "conv_blocks_context.0.blocks.1.conv.weight": "encoder.stages.0.0.convs.1.conv.weight",
        "conv_blocks_context.1.0.blocks.0.instnorm.bias": "encoder.stages.1.0.convs.0.norm.bias",
        "conv_blocks_context.1.1.blocks.0.conv.weight": "encoder.stages.1.0.convs.1.conv.weight",
        "conv_blocks_localization.0.1.blocks.0.conv.bias": "decoder.stages.0.convs.1.conv.bias",
        "tu.0.weight": "decoder.transpconvs.0.weight",
        "seg_outputs.0.weight": "decoder.seg_layers.0.weight",
    }
    assert {name: network.new_name(name) for name in old} == old
    assert set(old.values()) <= set(names)
