"""SAM's mask decoder: tokens that look at the image together with the prompts become masks and their quality.

Segment Anything, Kirillov et al. 2023, appendix A.
"""

import torch
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
        image = self.output_upscaling(keys.transpose(1, 2).unflatten(2, image.shape[2:]))
        kernels = [mlp(tokens[:, i + 1]) for i, mlp in enumerate(self.output_hypernetworks_mlps)]
        masks = torch.einsum("bmc,bchw->bmhw", torch.stack(kernels, dim=1), image)
        return masks, self.iou_prediction_head(tokens[:, 0])
