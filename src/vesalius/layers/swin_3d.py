"""Swin UNETR: a shifted-window transformer in three dimensions on the way down, residual convolutions on the way up.

Swin UNETR, Hatamizadeh et al. 2022; Swin Transformer, Liu et al. 2021. The tensor names are those of MONAI, and so is
what the checkpoints learned with and the papers do not say: how patches are merged, and how the table of positions is
read in a small window.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOW = 7  # patches along each side of an attention window
SLOPE = 0.01  # of every leaky ReLU
FAR = -100.0  # added to the score between patches that only the shift brought together
MERGED = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1))  # two come twice

Size = tuple[int, int, int]


class SwinUnetr(nn.Module):
    """The deepest features (B, 16 * width, i / 32, ...) and the finest (B, width, i, j, k) of an image (B, C, i, j, k).

    `heads` are the attention heads of each of the four stages, whose widths must be multiples of them.
    """

    def __init__(self, channels: int, width: int, heads: tuple[int, ...]) -> None:
        super().__init__()
        self.swinViT = Swin3d(channels, width, heads)
        self.encoder1 = nn.ModuleDict({"layer": ResidualBlock(channels, width)})
        self.encoder2 = nn.ModuleDict({"layer": ResidualBlock(width, width)})
        self.encoder3 = nn.ModuleDict({"layer": ResidualBlock(2 * width, 2 * width)})
        self.encoder4 = nn.ModuleDict({"layer": ResidualBlock(4 * width, 4 * width)})
        self.encoder10 = nn.ModuleDict({"layer": ResidualBlock(16 * width, 16 * width)})
        self.decoder5 = UpBlock(16 * width, 8 * width)
        self.decoder4 = UpBlock(8 * width, 4 * width)
        self.decoder3 = UpBlock(4 * width, 2 * width)
        self.decoder2 = UpBlock(2 * width, width)
        self.decoder1 = UpBlock(width, width)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.swinViT(image)
        deepest = self.encoder10["layer"](seen[4])
        up = self.decoder5(deepest, seen[3])
        up = self.decoder4(up, self.encoder4["layer"](seen[2]))
        up = self.decoder3(up, self.encoder3["layer"](seen[1]))
        up = self.decoder2(up, self.encoder2["layer"](seen[0]))
        return deepest, self.decoder1(up, self.encoder1["layer"](image))


class Swin3d(nn.Module):
    """The transformer: five normalised feature maps, from half of the image's resolution to a thirty-second part."""

    def __init__(self, channels: int, width: int, heads: tuple[int, ...]) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(channels, width, 2, 2)})
        for n, count in enumerate(heads):
            self.add_module(f"layers{n + 1}", nn.ModuleList([Stage(width << n, count)]))

    def forward(self, image: Tensor) -> list[Tensor]:
        tokens = self.patch_embed["proj"](image).movedim(1, -1)
        seen = [tokens]
        for name, layers in self.named_children():
            if name.startswith("layers"):
                tokens = layers[0](tokens)  # type: ignore[index]
                seen.append(tokens)
        return [F.layer_norm(tokens, tokens.shape[-1:]).movedim(-1, 1) for tokens in seen]


class Stage(nn.Module):
    """Two blocks, of which the second shifts its windows by half, and a merging of patches: (B, i, j, k, C)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([SwinBlock(width, heads, shifted) for shifted in (False, True)])
        self.downsample = PatchMerging(width)

    def forward(self, tokens: Tensor) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens)
        return self.downsample(tokens)


class PatchMerging(nn.Module):
    """Eight patches out of each cube of two become one of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(8 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(8 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        odd = [side for size in reversed(tokens.shape[1:4]) for side in (0, size % 2)]
        tokens = F.pad(tokens, (0, 0, *odd))
        parts = [tokens[:, i::2, j::2, k::2] for i, j, k in MERGED]
        return self.reduction(self.norm(torch.cat(parts, dim=-1)))


class SwinBlock(nn.Module):
    """Attention within windows, then an MLP, each beside a shortcut; tokens (B, i, j, k, C)."""

    def __init__(self, width: int, heads: int, shifted: bool) -> None:
        super().__init__()
        self.shifted = shifted
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"linear1": nn.Linear(width, 4 * width), "linear2": nn.Linear(4 * width, width)})

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attend(self.norm1(tokens))
        return tokens + self.mlp["linear2"](F.gelu(self.mlp["linear1"](self.norm2(tokens))))

    def attend(self, tokens: Tensor) -> Tensor:
        """Attention in windows over tokens that are filled up to whole windows with zeros, and shifted."""
        sizes = tuple(tokens.shape[1:4])
        window = tuple(min(size, WINDOW) for size in sizes)
        shift = tuple(WINDOW // 2 if self.shifted and size > WINDOW else 0 for size in sizes)
        gaps = [side for size, w in zip(reversed(sizes), reversed(window), strict=True) for side in (0, -size % w)]
        filled = F.pad(tokens, (0, 0, *gaps)).roll([-n for n in shift], (1, 2, 3))
        whole = tuple(filled.shape[1:4])
        mask = shift_mask(whole, window, shift).to(tokens) if any(shift) else None
        seen = self.attn(split_cubes(filled, window), mask)
        seen = join_cubes(seen, whole, window).roll(shift, (1, 2, 3))
        return seen[:, : sizes[0], : sizes[1], : sizes[2]]


class WindowAttention(nn.Module):
    """Self-attention on windows (B * windows, n, C) with a learned term for each head and relative position."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(0.02 * torch.randn((2 * WINDOW - 1) ** 3, heads))

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """`mask` (windows, n, n) is added to the scores of each window."""
        count = tokens.shape[1]
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        # A smaller window reads the first rows of a whole one's, whatever positions these stand for.
        places = relative_places()[:count, :count].to(tokens.device)
        terms = self.relative_position_bias_table[places].permute(2, 0, 1)
        if mask is not None:
            terms = (terms + mask[:, None]).repeat(len(tokens) // len(mask), 1, 1, 1)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=terms.to(query))
        return self.proj(seen.transpose(1, 2).flatten(2))


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, which projects to the width where that changes: (B, C, i, j, k)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.ModuleDict({"conv": nn.Conv3d(channels, width, 3, padding=1, bias=False)})
        self.conv2 = nn.ModuleDict({"conv": nn.Conv3d(width, width, 3, padding=1, bias=False)})
        if channels != width:
            self.conv3 = nn.ModuleDict({"conv": nn.Conv3d(channels, width, 1, bias=False)})

    def forward(self, image: Tensor) -> Tensor:
        inner = F.leaky_relu(instance_norm(self.conv1["conv"](image)), SLOPE)
        outer = instance_norm(self.conv3["conv"](image)) if hasattr(self, "conv3") else image
        return F.leaky_relu(instance_norm(self.conv2["conv"](inner)) + outer, SLOPE)


class UpBlock(nn.Module):
    """Upsampled by two, then a residual block together with what the encoder saw at that resolution."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.transp_conv = nn.ModuleDict({"conv": nn.ConvTranspose3d(channels, width, 2, 2, bias=False)})
        self.conv_block = ResidualBlock(2 * width, width)

    def forward(self, image: Tensor, skip: Tensor) -> Tensor:
        return self.conv_block(torch.cat([self.transp_conv["conv"](image), skip], dim=1))


def instance_norm(image: Tensor) -> Tensor:
    """Instance norm without weights; unlike torch's function of that name it takes a map of one voxel, and gives 0."""
    return torch.instance_norm(image, None, None, None, None, True, 0.0, 1e-5, False)


def split_cubes(tokens: Tensor, window: tuple[int, ...]) -> Tensor:
    """(B, i, j, k, C), whose sides are whole windows, as (B * windows, n, C)."""
    i, j, k = window
    split = tokens.unflatten(3, (-1, k)).unflatten(2, (-1, j)).unflatten(1, (-1, i))
    return split.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, i * j * k, tokens.shape[-1])


def join_cubes(windows: Tensor, sizes: tuple[int, ...], window: tuple[int, ...]) -> Tensor:
    """Undo `split_cubes`: (B, *sizes, C)."""
    counts = [size // w for size, w in zip(sizes, window, strict=True)]
    split = windows.reshape(-1, *counts, *window, windows.shape[-1]).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return split.reshape(-1, *sizes, windows.shape[-1])


@cache
@torch.inference_mode(mode=False)  # so that a network that ran may learn later
def relative_places() -> Tensor:
    """For each pair of patches in a whole window (343, 343) the row of the table that belongs to their distance."""
    at = torch.tensor(list(product(range(WINDOW), repeat=3)))
    apart = at[:, None] - at[None] + WINDOW - 1
    return (apart * torch.tensor([(2 * WINDOW - 1) ** 2, 2 * WINDOW - 1, 1])).sum(-1)


@cache
@torch.inference_mode(mode=False)  # so that a network that ran may learn later
def shift_mask(sizes: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...]) -> Tensor:
    """What is added to the scores of each window (windows, n, n): `FAR` where only the shift joined them."""
    region = torch.zeros(1, *sizes, 1)
    for axis, (size, w, n) in enumerate(zip(sizes, window, shift, strict=True)):
        at = torch.arange(size)
        zone = (at >= size - w).int() + (at >= size - n).int() if n else torch.zeros(size)
        region += zone.view(*(-1 if other == axis else 1 for other in range(3)), 1) * 3**axis
    apart = split_cubes(region, window)
    return torch.where(apart == apart.transpose(1, 2), 0.0, FAR)
