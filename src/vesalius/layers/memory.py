"""What SAM 2 remembers of an image and its mask, and how another image is looked at with such memories.

SAM 2: Segment Anything in Images and Videos, Ravi et al. 2024; rotary positions in two axes: Heo et al. 2024. The
tensor names are those of the SAM 2 checkpoints.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.layers.norm import LayerNorm2d

BASE = 10000.0  # the longest wavelength of all sine positions


class MemoryEncoder(nn.Module):
    """A memory `(B, 64, h, w)` of an embedding `(B, 256, h, w)` and a mask `(B, 1, 16 h, 16 w)` in -10..10."""

    def __init__(self, width: int, remembered: int) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for channels in (1, 4, 16, 64):
            steps += [nn.Conv2d(channels, 4 * channels, 3, 2, padding=1), LayerNorm2d(4 * channels), nn.GELU()]
        self.mask_downsampler = nn.ModuleDict({"encoder": nn.Sequential(*steps, nn.Conv2d(256, width, 1))})
        self.pix_feat_proj = nn.Conv2d(width, width, 1)
        self.fuser = nn.ModuleDict({"layers": nn.Sequential(*(ConvBlock(width) for _ in range(2)))})
        self.out_proj = nn.Conv2d(width, remembered, 1)

    def forward(self, embedding: Tensor, mask: Tensor) -> Tensor:
        joined = self.pix_feat_proj(embedding) + self.mask_downsampler["encoder"](mask)
        return self.out_proj(self.fuser["layers"](joined))


class ConvBlock(nn.Module):
    """A ConvNeXt block (Liu et al. 2022) on `(B, C, H, W)`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = LayerNorm2d(width)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.pwconv2 = nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.norm(self.dwconv(image)).permute(0, 2, 3, 1)
        tokens = self.gamma * self.pwconv2(F.gelu(self.pwconv1(tokens)))
        return image + tokens.permute(0, 3, 1, 2)


class MemoryAttention(nn.Module):
    """An embedding `(B, 256, h, w)` that has looked at memories.

    `memory` and `positions` `(B, N, 64)` are the tokens of any number of maps of h x w, then `pointers` tokens that
    have no place in the image.
    """

    def __init__(self, width: int, remembered: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MemoryLayer(width, remembered) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, embedding: Tensor, memory: Tensor, positions: Tensor, pointers: int) -> Tensor:
        channels, height, width = embedding.shape[1:]
        turns = rotary_turns(channels, height, width).to(embedding.device)
        tokens = embedding + 0.1 * sine_positions(channels, height, width).to(embedding.device)
        tokens = tokens.flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens = layer(tokens, memory, memory + positions, turns, pointers)
        return self.norm(tokens).transpose(1, 2).unflatten(2, (height, width))


class MemoryLayer(nn.Module):
    """The image attends to itself, then to the memories, then an MLP."""

    def __init__(self, width: int, remembered: int) -> None:
        super().__init__()
        self.self_attn = RotaryAttention(width, width)
        self.cross_attn_image = RotaryAttention(width, remembered)
        self.linear1 = nn.Linear(width, 2048)
        self.linear2 = nn.Linear(2048, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, memory: Tensor, placed: Tensor, turns: Tensor, pointers: int) -> Tensor:
        normed = self.norm1(tokens)
        tokens = tokens + self.self_attn(normed, normed, normed, turns, 0)
        tokens = tokens + self.cross_attn_image(self.norm2(tokens), placed, memory, turns, pointers)
        return tokens + self.linear2(F.relu(self.linear1(self.norm3(tokens))))


class RotaryAttention(nn.Module):
    """Attention with one head, whose queries and keys are turned by their place; the last `unplaced` keys are not."""

    def __init__(self, width: int, remembered: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(remembered, width)
        self.v_proj = nn.Linear(remembered, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, turns: Tensor, unplaced: int) -> Tensor:
        q, k, v = self.q_proj(query), self.k_proj(key), self.v_proj(value)
        maps, rest = k.split([k.shape[1] - unplaced, unplaced], dim=1)
        k = torch.cat([rotate(maps.unflatten(1, (-1, len(turns))), turns).flatten(1, 2), rest], dim=1)
        return self.out_proj(F.scaled_dot_product_attention(rotate(q, turns)[:, None], k[:, None], v[:, None])[:, 0])


def rotate(tokens: Tensor, turns: Tensor) -> Tensor:
    """Turn each pair of channels of `(..., N, C)` by the angles of `turns`, complex `(N, C / 2)`."""
    pairs = torch.view_as_complex(tokens.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turns).flatten(-2).to(tokens.dtype)


def rotary_turns(channels: int, height: int, width: int) -> Tensor:
    """Rotary positions, complex `(height * width, channels / 2)`: first those of the column, then those of the row."""
    speeds = BASE ** (-torch.arange(0, channels, 4) / channels)
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angles = torch.cat([column.reshape(-1, 1) * speeds, row.reshape(-1, 1) * speeds], dim=1)
    return torch.polar(torch.ones_like(angles), angles)


def sine_positions(channels: int, height: int, width: int) -> Tensor:
    """Sine positions `(1, channels, height, width)`: first those of the row, then those of the column (DETR, 2020)."""
    half = channels // 2
    waves = BASE ** (2 * (torch.arange(half) // 2) / half)

    def along(size: int) -> Tensor:
        phase = 2 * torch.pi * (torch.arange(size)[:, None] + 1) / (size + 1e-6) / waves
        return torch.stack([phase[:, 0::2].sin(), phase[:, 1::2].cos()], dim=2).flatten(1)

    rows = along(height)[:, None].expand(-1, width, -1)
    columns = along(width)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=2).permute(2, 0, 1)[None]


def sine_distances(distances: Tensor, channels: int) -> Tensor:
    """Sine positions `(N, channels)` of distances `(N,)` along the walk."""
    half = channels // 2
    phase = distances[:, None] / BASE ** (2 * (torch.arange(half, device=distances.device) // 2) / half)
    return torch.cat([phase.sin(), phase.cos()], dim=1)
