"""Prompts as SAM encodes them: points and box corners as tokens, a mask as a map to add to the image.

Segment Anything, Kirillov et al. 2023, appendix A.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.layers.norm import LayerNorm2d
from vesalius.layers.positional import FourierPositions

WIDTH = 256
PADDING, NEGATIVE, POSITIVE, CORNER, OPPOSITE = -1, 0, 1, 2, 3


class PromptEncoder(nn.Module):
    """Points and box corners become tokens, a mask becomes a map to add to the image."""

    def __init__(self) -> None:
        super().__init__()
        self.pe_layer = FourierPositions(WIDTH // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, WIDTH) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, WIDTH)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, 2, 2),
            LayerNorm2d(4),
            nn.GELU(),
            nn.Conv2d(4, 16, 2, 2),
            LayerNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, WIDTH, 1),
        )
        self.no_mask_embed = nn.Embedding(1, WIDTH)

    def tokens(self, places: Tensor, signs: Tensor) -> Tensor:
        """Encode `(B, N, 2)` xy in [0, 1] and their `(B, N)` signs as `(B, N, 256)`."""
        kinds = torch.cat(
            [self.not_a_point_embed.weight, *(kind.get_parameter("weight") for kind in self.point_embeddings)]
        )
        return self.pe_layer(places) * (signs >= 0)[..., None] + kinds[signs + 1]

    def mask(self, logits: Tensor | None) -> Tensor:
        """Encode `(B, 1, 4h, 4w)` mask logits as `(B, 256, h, w)`; without a mask, `(1, 256, 1, 1)`."""
        if logits is None:
            return self.no_mask_embed.weight[:, :, None, None]
        return self.mask_downscaling(logits)


class Mlp(nn.Module):
    """Three linear layers on a token."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, size) for size in (WIDTH, WIDTH, outputs))

    def forward(self, token: Tensor) -> Tensor:
        first, second, third = self.layers
        return third(F.relu(second(F.relu(first(token)))))


def tokenize(points: Tensor, signs: Tensor, boxes: Tensor | None) -> tuple[Tensor, Tensor]:
    """Points `(B, N, 2)`, their signs and at most one box each `(B, 4)` xyxy in the order that `decode` takes.

    The points come first, then the two corners of the box; points without a box get SAM's padding point.
    """
    batch = len(points)
    if boxes is not None:
        corners = torch.tensor([CORNER, OPPOSITE], device=signs.device).expand(batch, 2)
        return torch.cat([points, boxes.view(batch, 2, 2)], dim=1), torch.cat([signs, corners], dim=1)
    if points.shape[1] == 0:
        return points, signs
    return F.pad(points, (0, 0, 0, 1)), F.pad(signs, (0, 1), value=PADDING)
