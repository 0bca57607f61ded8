"""The two-way transformer of SAM's mask decoder: prompt tokens attend to the image and the image attends to them.

Segment Anything, Kirillov et al. 2023, appendix A.
"""

import torch.nn.functional as F
from torch import Tensor, nn

HEADS = 8


class TwoWayTransformer(nn.Module):
    """Two blocks and a last look of the tokens at the image.

    Takes the image `(1 | B, C, H, W)` with its positions `(1, C, H, W)` and tokens `(B, N, C)`; returns
    tokens `(B, N, C)` and image `(B, H * W, C)`. An image of batch 1 is shared by all B token sets.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([TwoWayBlock(width, hidden, first=i == 0) for i in range(2)])
        self.final_attn_token_to_image = Attention(width, width // 2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, image: Tensor, positions: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        keys = image.flatten(2).transpose(1, 2).contiguous()
        key_positions = positions.flatten(2).transpose(1, 2).contiguous()
        queries = tokens
        for layer in self.layers:
            queries, keys = layer(queries, keys, tokens, key_positions)
        queries = queries + self.final_attn_token_to_image.look(queries + tokens, keys + key_positions, keys)
        return self.norm_final_attn(queries), keys


class TwoWayBlock(nn.Module):
    """Tokens to tokens, tokens to image, MLP, image to tokens; the `first` block starts without positions."""

    def __init__(self, width: int, hidden: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"lin1": nn.Linear(width, hidden), "lin2": nn.Linear(hidden, width)})
        self.norm3 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, width // 2)
        self.norm4 = nn.LayerNorm(width)

    def forward(
        self, queries: Tensor, keys: Tensor, query_positions: Tensor, key_positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        if self.first:
            queries = self.self_attn(queries, queries, queries)
        else:
            placed = queries + query_positions
            queries = queries + self.self_attn(placed, placed, queries)
        queries = self.norm1(queries)
        placed_keys = keys + key_positions
        queries = queries + self.cross_attn_token_to_image.look(queries + query_positions, placed_keys, keys)
        queries = self.norm2(queries)
        queries = self.norm3(queries + self.mlp["lin2"](F.relu(self.mlp["lin1"](queries))))
        keys = keys + self.cross_attn_image_to_token.spread(placed_keys, queries + query_positions, queries)
        return queries, self.norm4(keys)


class Attention(nn.Module):
    """Multi-head attention whose heads share `inner` channels; a batch of 1 is shared by the others.

    There are few tokens and many cells of the image. So between these two the projections are moved to the side of the
    tokens, `q . (W k) = (q W) . k`: half the arithmetic, and no copies of the image for each head.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.scale = (inner // HEADS) ** -0.5
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Among tokens `(B, N, C)`."""
        q, k, v = (split_heads(each) for each in (self.q_proj(query), self.k_proj(key), self.v_proj(value)))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def look(self, tokens: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What tokens `(B, N, C)` see of an image `(1 | B, M, C)`. The bias of keys moves all of a token's alike."""
        asked = split_heads(self.q_proj(tokens)) @ self.k_proj.weight.unflatten(0, (HEADS, -1))
        asked = asked.reshape(key.shape[0], 1, -1, key.shape[2])  # `len` would fix the size in an export
        seen = F.scaled_dot_product_attention(asked, key[:, None], value[:, None], scale=self.scale)
        seen = seen.view(tokens.shape[0], HEADS, -1, value.shape[2]) @ self.v_proj.weight.unflatten(0, (HEADS, -1)).mT
        return self.out_proj(seen.transpose(1, 2).flatten(2) + self.v_proj.bias)

    def spread(self, image: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What an image `(1 | B, M, C)` is told by tokens `(B, N, C)`, `(B, M, C)`."""
        keys = self.scale * split_heads(self.k_proj(key))
        asked = (keys @ self.q_proj.weight.unflatten(0, (HEADS, -1))).flatten(1, 2)
        offset = keys @ self.q_proj.bias.view(HEADS, -1, 1)
        share = ((asked @ image.mT).unflatten(1, (HEADS, -1)) + offset).softmax(dim=2)
        given = split_heads(self.v_proj(value)) @ self.out_proj.weight.T.unflatten(0, (HEADS, -1))
        return share.flatten(1, 2).mT @ given.flatten(1, 2) + self.out_proj.bias


def split_heads(tokens: Tensor) -> Tensor:
    """`(B, N, C)` as `(B, heads, N, C / heads)`."""
    return tokens.unflatten(-1, (HEADS, -1)).transpose(1, 2)
