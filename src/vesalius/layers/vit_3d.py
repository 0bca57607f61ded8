"""SAM's plain vision transformer in three dimensions, for cubes that are no larger than one attention window.

SAM-Med3D, Wang et al. 2023; relative positions: MViTv2, Li et al. 2021.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.layers.norm import LayerNorm3d
from vesalius.layers.vit import relative_table

PATCH = 16
WINDOW = 14
GLOBAL_EVERY = 3


class Vit3d(nn.Module):
    """Image encoder `(B, 1, S, S, S) -> (B, channels, S / 16, S / 16, S / 16)`.

    `grid` is S / 16, at most 14. Every third block attends to the cube alone; to the others it is a window that is
    filled up to 14 patches with zeros.
    """

    def __init__(self, grid: int, width: int, depth: int, heads: int, channels: int) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(1, width, PATCH, PATCH)})
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, grid, grid, grid, width))
        self.blocks = nn.ModuleList(
            Block3d(width, heads, grid if (i + 1) % GLOBAL_EVERY == 0 else WINDOW) for i in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv3d(width, channels, 1, bias=False),
            LayerNorm3d(channels),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            LayerNorm3d(channels),
        )

    def forward(self, cube: Tensor) -> Tensor:
        tokens = self.patch_embed["proj"](cube).movedim(1, -1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return self.neck(tokens.movedim(-1, 1))


class Block3d(nn.Module):
    """Attention then MLP on a token map `(B, g, g, g, C)`."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention3d(width, heads, window)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"lin1": nn.Linear(width, 4 * width), "lin2": nn.Linear(4 * width, width)})

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp["lin2"](F.gelu(self.mlp["lin1"](self.norm2(tokens))))


class Attention3d(nn.Module):
    """Self-attention on `(B, g, g, g, C)` in a window of g or more, with position terms as SAM-Med3D learned them.

    MViTv2 adds one term for each axis, from a query and its distance to a key. In the official code two of the three
    broadcast along other axes than meant, and the released weights know no other: the term of the first axis counts
    keys along the third; the other two take the query not at its own place on the third axis, but where the key is on
    the first, or on the second.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_d = nn.Parameter(torch.zeros(2 * window - 1, width // heads))
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * window - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * window - 1, width // heads))

    def forward(self, tokens: Tensor) -> Tensor:
        batch, grid = tokens.shape[:2]
        parts = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).unbind(4)
        # The window is filled up with zeros, which become the layer's bias. Their own queries are never asked: a fifth
        # of the work is left.
        query, (filled, key, value) = parts[0], map(self.fill, parts, self.qkv.bias.view(3, self.heads, -1))
        terms = self.position_terms(query, filled[:, :grid, :grid]).reshape(batch, self.heads, grid**3, -1)
        query, key, value = (part.flatten(1, 3).transpose(1, 2) for part in (query, key, value))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=terms)
        return self.proj(attended.transpose(1, 2).reshape(tokens.shape))

    def fill(self, part: Tensor, bias: Tensor) -> Tensor:
        """Queries, keys or values `(B, g, g, g, heads, c)` with `bias` in the rest of the window."""
        beyond = self.window - part.shape[1]
        return F.pad(part - bias, (0, 0, 0, 0, 0, beyond, 0, beyond, 0, beyond)) + bias

    def position_terms(self, query: Tensor, filled: Tensor) -> Tensor:
        """What is added to the scores `(B, heads, g, g, g, window, window, window)`.

        `filled` are the queries `(B, g, g, window, heads, c)` with the third axis filled up.
        """
        grid = query.shape[1]
        first, second, third = (
            relative_table(table, self.window) for table in (self.rel_pos_d, self.rel_pos_h, self.rel_pos_w)
        )
        down = torch.einsum("bdhwnc,dkc->bndhwk", query, first[:grid])
        across = torch.einsum("bdhwnc,hkc->bndhwk", filled, second[:grid])
        along = torch.einsum("bdhwnc,wkc->bndhwk", filled, third)
        return down[..., None, None, :] + across[..., None, :, None, :] + along[..., None, None, :, :]
