"""Augmentation of pictures across field of view, resolution, contrast and modality, with torch and numpy only.
Geometry moves picture and masks together; colour changes the picture alone."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from vesalius.data.slices import SOFT_TISSUE_WINDOW, window

LUNG_WINDOW = (-1350.0, 150.0)
BONE_WINDOW = (-450.0, 1050.0)
WIDE_WINDOW = (-1000.0, 1000.0)


def random_window(hounsfield: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A CT slice through a soft-tissue window half of the time, else lung, bone or wide; each moved a little."""
    windows = (SOFT_TISSUE_WINDOW, LUNG_WINDOW, BONE_WINDOW, WIDE_WINDOW)
    low, high = windows[rng.choice(4, p=(0.5, 0.17, 0.17, 0.16))]
    shift = rng.uniform(-0.1, 0.1, size=2) * (high - low)
    return window(hounsfield, low + shift[0], high + shift[1])


def move(
    picture: torch.Tensor, masks: torch.Tensor, size: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Picture (C, H, W) and masks (T, H, W) in [0, 1] turned, flipped, zoomed and cropped to a longest side of `size`.

    Half of the time the whole picture is kept, as at inference; else the view is centred near a pixel of the first
    mask. Small targets are looked at more closely. Masks come back soft: a thin line covers a part of a pixel.
    """
    stack = torch.cat([picture, masks])
    stack = torch.rot90(stack, int(rng.integers(4)) if rng.random() < 0.5 else 0, (1, 2))
    if rng.random() < 0.5:
        stack = stack.flip(2)
    height, width = stack.shape[1:]
    scale = size / max(height, width)
    out_height, out_width = max(1, round(height * scale)), max(1, round(width * scale))
    first = stack[len(picture)] > 0.5
    ys, xs = torch.nonzero(first, as_tuple=True)
    x, y, angle, stretch = (width - 1) / 2, (height - 1) / 2, 0.0, 1.0
    if rng.random() < 0.5:
        extent = max(int(ys.max() - ys.min()), int(xs.max() - xs.min())) + 1
        closer = float(np.clip(24 / (extent * scale), 1, 4)) if rng.random() < 0.5 else 1.0
        zoom = closer * math.exp(rng.uniform(math.log(0.75), math.log(2.2)))
        scale *= max(0.75, min(zoom, 1.2 * size / (extent * scale)))
        at = int(rng.integers(len(ys)))
        x = float(xs[at]) + rng.normal() * 0.15 * out_width / scale
        y = float(ys[at]) + rng.normal() * 0.15 * out_height / scale
        angle = math.radians(rng.uniform(-30, 30))
        stretch = math.exp(rng.uniform(-0.2, 0.2))
    if scale < 1:
        shape = (max(1, round(height * scale)), max(1, round(width * scale)))
        stack = F.interpolate(stack[None], shape, mode="bilinear", antialias=True, align_corners=False)[0]
        x, y = (x + 0.5) * shape[1] / width - 0.5, (y + 0.5) * shape[0] / height - 0.5
        height, width, scale = *shape, 1.0
    across = (torch.arange(out_width) - (out_width - 1) / 2) * stretch / scale
    down = (torch.arange(out_height) - (out_height - 1) / 2)[:, None] / stretch / scale
    source_x = x + math.cos(angle) * across - math.sin(angle) * down
    source_y = y + math.sin(angle) * across + math.cos(angle) * down
    grid = torch.stack([(2 * source_x + 1) / width - 1, (2 * source_y + 1) / height - 1], dim=-1)
    moved = F.grid_sample(stack[None], grid[None].float(), mode="bilinear", align_corners=False)[0]
    return moved[: len(picture)], moved[len(picture) :]


def recolour(picture: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A picture (3, H, W), 0-255, under another contrast, lighting, sharpness and noise; some inverted or grey."""
    picture = picture / 255
    grey = bool((picture[0] == picture[1]).all() and (picture[0] == picture[2]).all())
    if not grey and rng.random() < 0.5:
        picture = picture * torch.from_numpy(rng.uniform(0.8, 1.2, size=(3, 1, 1)).astype(np.float32))
    if not grey and rng.random() < 0.15:
        picture = picture.mean(0, keepdim=True).expand(3, -1, -1)
    if rng.random() < 0.2:
        picture = _redraw_contrast(picture, rng)
    if grey and rng.random() < 0.2:  # another display window: what is dark or bright may lose its detail
        low, high = rng.uniform(0, 0.4), rng.uniform(0.6, 1)
        picture = ((picture - low) / (high - low)).clamp(0, 1)
    if rng.random() < 0.15:
        picture = 1 - picture
    if rng.random() < 0.5:
        picture = picture.clamp(0, 1) ** math.exp(rng.uniform(-0.6, 0.6))
    if rng.random() < 0.5:
        mean = picture.mean()
        picture = (picture - mean) * math.exp(rng.uniform(-0.4, 0.4)) + mean + rng.uniform(-0.15, 0.15)
    if rng.random() < 0.15:
        lighting = torch.from_numpy(rng.uniform(0.6, 1.4, size=(1, 1, 4, 4)).astype(np.float32))
        picture = picture * F.interpolate(lighting, picture.shape[1:], mode="bicubic", align_corners=False)[0]
    if rng.random() < 0.2:
        coarse = [max(8, int(side / rng.uniform(1.2, 3))) for side in picture.shape[1:]]
        small = F.interpolate(picture[None], coarse, mode="bilinear", antialias=True, align_corners=False)
        picture = F.interpolate(small, picture.shape[1:], mode="bilinear", align_corners=False)[0]
    if rng.random() < 0.3:
        noise = torch.from_numpy(rng.normal(size=(1, *picture.shape[1:])).astype(np.float32)) * rng.uniform(0, 0.08)
        picture = picture + noise * (picture if rng.random() < 0.3 else 1)
    return picture.clamp(0, 1) * 255


def _redraw_contrast(picture: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Grey levels sent through a random curve: tissues change their order, as between two modalities."""
    levels = np.linspace(0, 1, 6)
    curve = np.clip(levels + rng.normal(size=6) * 0.25, 0, 1)
    redrawn = np.interp(picture.clamp(0, 1).numpy(), levels, curve)
    return torch.from_numpy(redrawn.astype(np.float32))
