"""Hiera, a vision transformer in four scales, and the small feature pyramid that SAM 2 puts on it.

Hiera, Ryali et al. 2023; windowed position tables: Bolya et al. 2023; SAM 2: Segment Anything in Images and Videos,
Ravi et al. 2024. The tensor names are those of the SAM 2 checkpoints.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.layers.windows import join_windows, split_windows

PYRAMID = 256  # channels of every map of the pyramid


class Hiera(nn.Module):
    """Maps of the four scales, `(B, C, H / 4, W / 4)` to `(B, 8 C, H / 32, W / 32)`, of pixels `(B, 3, H, W)`.

    `depths` and `windows` have one number for each scale; the blocks numbered in `everywhere` attend to the whole
    image. `table` is the side of the coarse position table.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        depths: Sequence[int],
        everywhere: Sequence[int],
        table: int,
        windows: Sequence[int] = (8, 4, 14, 7),
    ) -> None:
        super().__init__()
        self.ends = [end - 1 for end in accumulate(depths)]
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, 7, 4, padding=3)})
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, width, table, table))
        self.pos_embed_window = nn.Parameter(0.02 * torch.randn(1, width, windows[0], windows[0]))
        self.blocks = nn.ModuleList()
        scale = 0
        for i in range(sum(depths)):
            window = 0 if i in everywhere else windows[scale]  # the first block of a scale keeps the window before
            entered = i - 1 in self.ends
            scale += entered
            before, after = width << (scale - entered), width << scale
            self.blocks.append(Block(before, after, heads << scale, window))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        tokens = self.patch_embed["proj"](pixels).permute(0, 2, 3, 1)
        tokens = tokens + self.positions(tokens.shape[1], tokens.shape[2])
        maps = []
        for i, block in enumerate(self.blocks):
            tokens = block(tokens)
            if i in self.ends:
                maps.append(tokens.permute(0, 3, 1, 2))
        return maps

    def positions(self, height: int, width: int) -> Tensor:
        """The coarse table spread over the map, and the table of one window repeated in every window."""
        window = self.pos_embed_window.shape[-1]
        coarse = F.interpolate(self.pos_embed, (height, width), mode="bicubic")
        repeated = self.pos_embed_window.tile(-(-height // window), -(-width // window))[..., :height, :width]
        return (coarse + repeated).permute(0, 2, 3, 1)


class Block(nn.Module):
    """Attention then MLP on a token map `(B, H, W, C)`; where the width grows, the queries halve the map."""

    def __init__(self, before: int, after: int, heads: int, window: int) -> None:
        super().__init__()
        self.window, self.shrinks = window, after != before
        self.norm1 = nn.LayerNorm(before, eps=1e-6)
        self.attn = Attention(before, after, heads)
        self.norm2 = nn.LayerNorm(after, eps=1e-6)
        self.mlp = Mlp(after)
        if self.shrinks:
            self.proj = nn.Linear(before, after)

    def forward(self, tokens: Tensor) -> Tensor:
        attended = self.norm1(tokens)
        if self.shrinks:
            tokens = halve(self.proj(attended))
        height, width = tokens.shape[1:3]
        if self.window:
            attended = join_windows(self.attn(split_windows(attended, self.window)), height, width)
        else:
            attended = self.attn(attended)
        tokens = tokens + attended
        return tokens + self.mlp(self.norm2(tokens))


class Mlp(nn.Module):
    """Two linear layers on a token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, 4 * width), nn.Linear(4 * width, width)])

    def forward(self, tokens: Tensor) -> Tensor:
        first, second = self.layers
        return second(F.gelu(first(tokens)))


class Attention(nn.Module):
    """Self-attention on `(B, H, W, C)`; from a narrower map to a wider one, with every second row and column."""

    def __init__(self, before: int, after: int, heads: int) -> None:
        super().__init__()
        self.heads, self.shrinks = heads, after != before
        self.qkv = nn.Linear(before, 3 * after)
        self.proj = nn.Linear(after, after)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.qkv(tokens).chunk(3, dim=-1)
        if self.shrinks:
            query = halve(query)
        height, width = query.shape[1:3]
        q, k, v = (part.flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.proj(attended.unflatten(1, (height, width)))


class HieraPyramid(nn.Module):
    """Image encoder `(B, 3, H, W)` to maps `(B, 256, ...)` at 4, 8 and 16 pixels."""

    def __init__(self, trunk: Hiera, width: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.neck = Neck(width)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.neck(self.trunk(pixels))


class Neck(nn.Module):
    """Four scales as maps of the same width; only the last of the three that remain sees the coarsest one too."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Sequential(OrderedDict(conv=nn.Conv2d(width << scale, PYRAMID, 1))) for scale in (3, 2, 1, 0)
        )

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        coarsest, coarse, middle, fine = (conv(part) for conv, part in zip(self.convs, maps[::-1], strict=True))
        return fine, middle, coarse + F.interpolate(coarsest, scale_factor=2, mode="nearest")


def halve(tokens: Tensor) -> Tensor:
    """The largest value of every 2 x 2 tokens of a map `(B, H, W, C)`."""
    return F.max_pool2d(tokens.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
