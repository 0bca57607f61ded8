"""Normalisation of channels-first images. The tensor names are those of the SAM checkpoints."""

from torch import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of `(B, C, H, W)`, with the epsilon 1e-6 of SAM."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LayerNorm3d(nn.LayerNorm):
    """Layer norm over the channels of `(B, C, X, Y, Z)`, with the epsilon 1e-6 of SAM."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image.movedim(1, -1)).movedim(-1, 1)
