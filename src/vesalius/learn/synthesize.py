"""Training pictures that nobody took: label maps of heads and of drawn shapes, painted in arbitrary contrast.
A network that has to find every border whatever the greys does not need to know the modality."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from vesalius.data.slices import cut
from vesalius.errors import FormatError
from vesalius.learn import shapes

TRUNKS = 0.5  # of the drawn label maps without a ground, the part with a section of a body


def read_label_maps(folder: Path, per_plane: int = 12) -> list[np.ndarray]:
    """Slices (H, W) uint8 of the volumes of the train split of a set that has labels only.

    Of each volume and plane: `per_plane` slices, evenly spaced over those that hold a label, superior (or anterior) up.
    """
    import nibabel

    description = Path(folder) / "dataset.json"
    if not description.is_file():
        raise FormatError(f"No {description}: name the folder of a set of label maps.")
    split = json.loads(description.read_text(encoding="utf-8"))["split"]
    maps = []
    for case in sorted(case for case in split if split[case] == "train"):
        image = nibabel.load(description.parent / "labels" / f"{case}.nii.gz")
        labels = np.asarray(nibabel.as_closest_canonical(image).dataobj).astype(np.uint8)
        for plane in range(3):
            others = tuple(axis for axis in range(3) if axis != plane)
            labelled = np.flatnonzero((labels > 0).any(axis=others))
            positions = ((np.arange(per_plane) + 0.5) * len(labelled) / per_plane).astype(int)
            maps += [cut(labels, plane, position) for position in labelled[positions]]
    return maps


def draw_shapes(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A label map (H, W) int32 of random shapes, each with its own value; 0 is the background.

    Under them lies nothing, islands of thresholded noise, or a mosaic of noise fields as in SynthMorph (Hoffmann et
    al. 2022).
    """
    ground = rng.choice(3, p=(0.5, 0.2, 0.3))
    labels = np.zeros(shape, np.int32) if ground == 0 else _islands(shape, rng) if ground == 1 else _mosaic(shape, rng)
    canvas = Image.fromarray(labels)
    pen = ImageDraw.Draw(canvas)
    value = int(labels.max())
    if ground == 0 and rng.random() < TRUNKS:
        shapes.draw_trunk(pen, value, rng)
        return np.array(canvas, np.int32)
    for _ in range(rng.integers(0 if ground == 2 else 2, 5)):
        kinds = (shapes.draw_organ, shapes.draw_ring, shapes.draw_vessel, shapes.draw_cells)
        value = kinds[rng.choice(4, p=(0.4, 0.2, 0.2, 0.2))](pen, value, rng)
    return np.array(canvas, np.int32)


def paint(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture (H, W) uint8 of a label map (H, W), in the manner of SynthSeg (Billot et al. 2023).

    Labels are dealt to a few tissues, each with its mean grey and texture; so some borders are faint or cannot be seen.
    """
    from scipy import ndimage

    greys, spreads = _deal_greys(int(labels.max()) + 1, rng)
    picture = greys[labels]
    if rng.random() < 0.2:
        picture = _trace_borders(picture, labels, rng)
    if rng.random() < 0.7:
        picture = ndimage.gaussian_filter(picture, rng.uniform(0.3, 1.5), truncate=3)
    picture = picture + spreads[labels] * _texture(labels.shape, rng)
    if rng.random() < 0.25:
        picture = picture.clip(0.02) * _speckle(labels.shape, rng)
    if rng.random() < 0.6:
        size = max(labels.shape) * rng.uniform(0.3, 1)
        picture = picture * np.exp(rng.uniform(0.1, 0.35) * smooth_noise(labels.shape, (size, size), 0, rng))
    if rng.random() < 0.3:
        picture = _lose_resolution(picture, rng)
    if rng.random() < 0.7:
        picture = picture + rng.uniform(0, 0.06) * rng.standard_normal(labels.shape, dtype=np.float32)
    low, high = np.quantile(picture[::3, ::3], (0.005, 0.995))
    picture = ((picture - low) / max(high - low, 0.1)).clip(0, 1) ** math.exp(rng.uniform(-0.5, 0.5))
    return np.rint(picture * 255).astype(np.uint8)


def smooth_noise(
    shape: tuple[int, ...], lengths: tuple[float, float], angle: float, rng: np.random.Generator
) -> np.ndarray:
    """Noise (H, W) float32 of mean 0 and deviation 1, about, with a grain of `lengths` pixels along and across `angle`.

    A small grid of white noise is turned and enlarged, which costs the same for every grain.
    """
    height, width = shape
    across = torch.arange(width) - width / 2
    down = torch.arange(height)[:, None] - height / 2
    xs = (math.cos(angle) * across + math.sin(angle) * down) / lengths[0]
    ys = (math.cos(angle) * down - math.sin(angle) * across) / lengths[1]
    cells = [2 * math.ceil(math.hypot(height, width) / 2 / length + 1) for length in lengths]
    grid = torch.stack([2 * xs / cells[0], 2 * ys / cells[1]], dim=-1)
    white = torch.from_numpy(rng.standard_normal((1, 1, cells[1], cells[0]), dtype=np.float32))
    noise = F.grid_sample(white, grid[None], mode="bicubic", padding_mode="reflection", align_corners=False)
    return 1.2 * noise[0, 0].numpy()  # interpolation takes a fifth of the deviation


def _islands(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    from scipy import ndimage

    size = max(shape) * rng.uniform(0.06, 0.3)
    numbered, _ = ndimage.label(smooth_noise(shape, (size, size), 0, rng) > rng.uniform(0, 1.2))
    return numbered.astype(np.int32)


def _mosaic(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    size = max(shape) * rng.uniform(0.1, 0.4)
    fields = [smooth_noise(shape, (size, size), 0, rng) for _ in range(rng.integers(3, 8))]
    return np.stack(fields).argmax(0).astype(np.int32)


def _deal_greys(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mean grey and strength of texture of each of `count` labels; label 0 is a tissue of its own, often dark."""
    tissues = int(rng.integers(3, 10))
    tissue = np.concatenate([[0], rng.integers(1, tissues, size=count - 1)])
    means = (rng.permutation(tissues) + rng.uniform(0, 1, size=tissues)) / tissues  # else two are often alike
    strengths = rng.uniform(0, 0.12, size=tissues)
    if rng.random() < 0.5:
        means[0], strengths[0] = rng.uniform(0, 0.1), rng.uniform(0, 0.03)
        if rng.random() < 0.6:  # cavities are as empty as what is around the body
            tissue[rng.random(count) < 0.4] = 0
    own = rng.normal(size=count) * rng.uniform(0, 0.1) * (tissue > 0)  # no two cells of a kind are quite alike
    return (means[tissue] + own).astype(np.float32), strengths[tissue].astype(np.float32)


def _trace_borders(picture: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Membranes, capsules and walls that reflect: a bright or dark line where the label changes."""
    border = np.zeros(labels.shape, bool)
    border[1:] |= labels[1:] != labels[:-1]
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    return picture + border * rng.uniform(0.15, 0.6) * rng.choice((-1, 1))


def _texture(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Coarse plus fine grain; some of it drawn out into fibres."""
    angle, coarse, fine = rng.uniform(0, math.pi), math.exp(rng.uniform(1, 3.5)), math.exp(rng.uniform(0, 1.5))
    drawn_out = rng.uniform(3, 10) if rng.random() < 0.3 else 1.0
    large = smooth_noise(shape, (coarse, coarse), angle, rng)
    return 0.6 * large + 0.8 * smooth_noise(shape, (fine * drawn_out, fine), angle, rng)


def _speckle(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """The interference of ultrasound: the root of a Rayleigh amplitude, as after log compression, grain across."""
    lengths = (rng.uniform(1.5, 6), rng.uniform(1, 2.5))
    real, imaginary = (smooth_noise(shape, lengths, 0, rng) for _ in range(2))
    return np.hypot(real, imaginary) ** rng.uniform(0.3, 0.8)


def _lose_resolution(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fewer pixels along one or both axes, and back: thick slices and small detectors."""
    coarse = [max(8, int(side / factor)) for side, factor in zip(picture.shape, rng.uniform(1, 3, size=2), strict=True)]
    whole = torch.from_numpy(picture.astype(np.float32))[None, None]
    small = F.interpolate(whole, coarse, mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(small, picture.shape, mode="bilinear", align_corners=False)[0, 0].numpy()
