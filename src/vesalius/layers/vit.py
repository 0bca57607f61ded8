"""The plain vision transformer of SAM: windowed attention with a few global blocks and decomposed relative positions.

Segment Anything, Kirillov et al. 2023; ViTDet, Li et al. 2022; relative positions: MViTv2, Li et al. 2021.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.layers.norm import LayerNorm2d
from vesalius.layers.windows import join_windows, split_windows

PATCH = 16
WINDOW = 14


class Vit(nn.Module):
    """Image encoder `(B, 3, H, W) -> (B, 256, H / 16, W / 16)`.

    `grid` is the number of patches along a side for which the position tables are made: other input
    sizes interpolate them. Every `global_every`-th block attends to the whole image.
    """

    stride = PATCH

    def __init__(self, grid: int, width: int, depth: int, heads: int, global_every: int) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, PATCH)})
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, grid, grid, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, grid, 0 if (i + 1) % global_every == 0 else WINDOW) for i in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(width, 256, 1, bias=False),
            LayerNorm2d(256),
            nn.Conv2d(256, 256, 3, padding=1, bias=False),
            LayerNorm2d(256),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.patch_embed["proj"](pixels).permute(0, 2, 3, 1)
        tokens = tokens + resize_positions(self.pos_embed, tokens.shape[1:3])
        for block in self.blocks:
            tokens = block(tokens)
        return self.neck(tokens.permute(0, 3, 1, 2))


class Block(nn.Module):
    """Attention then MLP on a token map `(B, H, W, C)`; `window` 0 means global attention.

    A model may put an `adapter` beside the MLP.
    """

    def __init__(self, width: int, heads: int, grid: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, window or grid)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"lin1": nn.Linear(width, 4 * width), "lin2": nn.Linear(4 * width, width)})
        self.adapter: nn.Module | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        height, width = tokens.shape[1:3]
        attended = self.norm1(tokens)
        if self.window:
            attended = join_windows(self.attn(split_windows(attended, self.window)), height, width)
        else:
            attended = self.attn(attended)
        tokens = tokens + attended
        attended = self.norm2(tokens)
        tokens = tokens + self.mlp["lin2"](F.gelu(self.mlp["lin1"](attended)))
        return tokens if self.adapter is None else tokens + self.adapter(attended)


class Attention(nn.Module):
    """Self-attention on `(B, H, W, C)` with one learned relative position term for rows and one for columns."""

    def __init__(self, width: int, heads: int, grid: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid - 1, width // heads))

    def forward(self, tokens: Tensor) -> Tensor:
        batch, height, width, channels = tokens.shape
        qkv = self.qkv(tokens).view(batch, height * width, 3, self.heads, channels // self.heads)
        rows, columns = relative_table(self.rel_pos_h, height), relative_table(self.rel_pos_w, width)
        attended = []
        # One head at a time: the position terms of all heads of ViT-B at 1024 px would take 0.8 GB.
        for query, key, value in qkv.permute(3, 2, 0, 1, 4):
            place = query.view(batch, height, width, -1)
            down = torch.einsum("bhwc,hkc->bhwk", place, rows)
            across = torch.einsum("bhwc,wkc->bhwk", place, columns)
            bias = (down[..., :, None] + across[..., None, :]).reshape(batch, 1, height * width, height * width)
            attended.append(
                F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], attn_mask=bias)
            )
        return self.proj(torch.cat(attended, dim=-1).view(batch, height, width, channels))


def relative_table(table: Tensor, size: int) -> Tensor:
    """Spread a learned table `(2 * grid - 1, C)` to `(size, size, C)`, one row for each query, key pair."""
    table = resize_relative(table, 2 * size - 1)
    place = torch.arange(size, device=table.device)
    return table[place[:, None] - place[None, :] + size - 1]


def resize_positions(table: Tensor, size: tuple[int, ...]) -> Tensor:
    """Interpolate absolute positions `(1, H, W, C)` to another token map, bilinear."""
    if table.shape[1:3] == size:
        return table
    resized = F.interpolate(table.permute(0, 3, 1, 2), size, mode="bilinear", align_corners=False)
    return resized.permute(0, 2, 3, 1)


def resize_relative(table: Tensor, length: int) -> Tensor:
    """Interpolate relative positions `(L, C)` to another length, linear."""
    if len(table) == length:
        return table
    return F.interpolate(table.T[None], length, mode="linear", align_corners=False)[0].T
