"""SAM's mask decoder: tokens that look at the image together with the prompts become masks and their quality.

Segment Anything, Kirillov et al. 2023, appendix A.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.layers.norm import LayerNorm2d
from vesalius.layers.prompt_tokens import WIDTH, Mlp
from vesalius.layers.two_way import TwoWayTransformer


class MaskDecoder(nn.Module):
    """Four mask tokens and one quality token look at the image together with the prompt tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(WIDTH, 2048)
        self.iou_token = nn.Embedding(1, WIDTH)
        self.mask_tokens = nn.Embedding(4, WIDTH)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(WIDTH, WIDTH // 4, 2, 2),
            LayerNorm2d(WIDTH // 4),
            nn.GELU(),
            nn.ConvTranspose2d(WIDTH // 4, WIDTH // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Mlp(WIDTH // 8) for _ in range(4))
        self.iou_prediction_head = Mlp(4)

    def forward(self, image: Tensor, positions: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Four masks `(B, 4, 4h, 4w)` and their predicted IoU `(B, 4)` from `(1 | B, 256, h, w)`."""
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(prompts), -1, -1), prompts], dim=1)
        tokens, keys = self.transformer(image, positions, tokens)
        kernels = torch.stack([mlp(tokens[:, i + 1]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1)
        layers: Any = self.output_upscaling
        first, norm, act, second, _ = layers
        halves = act(nn.LayerNorm.forward(norm, split_cells(keys, first)))
        quarters = act(split_cells(halves, second))
        masks = join_cells(quarters.flatten(1, 3) @ kernels.mT, *image.shape[2:])
        return masks, self.iou_prediction_head(tokens[:, 0])


def split_cells(cells: Tensor, double: nn.ConvTranspose2d) -> Tensor:
    """Each cell `(..., C)` as the four that a transposed convolution of stride 2 makes of it, `(..., 4, C')`.

    They stay beside each other: what follows looks at single cells, so only the masks are put in place (`join_cells`).
    """
    kernel = double.weight.permute(2, 3, 1, 0).flatten(0, 2)
    return (cells @ kernel.T).unflatten(-1, (4, -1)) + double.bias


def join_cells(cells: Tensor, height: int, width: int) -> Tensor:
    """Masks `(B, M, 4h, 4w)` of the cells `(B, h * w * 4 * 4, M)` of a map `(h, w)` that were split twice."""
    placed = cells.view(len(cells), height, width, 2, 2, 2, 2, -1).permute(0, 7, 1, 3, 5, 2, 4, 6)
    return placed.flatten(5, 7).flatten(2, 4)


def gather_cells(image: Tensor, times: int) -> Tensor:
    """A map `(B, C, 2h, 2w)` as the cells `(B, h * w, 4, C)` of a map that was split once, or of more `times`."""
    for _ in range(times):
        image = F.pixel_unshuffle(image, 2)
    return image.unflatten(1, (-1, *[4] * times)).flatten(2 + times).permute(0, *range(2 + times, 0, -1))


def sets_at_once(device: torch.device) -> int:
    """How many prompt sets are best decoded at once: more than four do not fit into a processor's caches."""
    return 4 if device.type == "cpu" else 64
