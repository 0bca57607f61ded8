"""Positions as random Fourier features: one fixed Gaussian matrix serves points and the dense map of the image.

Fourier Features Let Networks Learn High Frequency Functions, Tancik et al. 2020, as used by SAM.
"""

import math

import torch
from torch import Tensor, nn


class FourierPositions(nn.Module):
    """`2 * features` sines and cosines of a position; the matrix belongs to the checkpoint."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, features))

    def forward(self, places: Tensor) -> Tensor:
        """Encode `(..., 2)` xy in [0, 1] (the whole image) as `(..., 2 * features)`."""
        across, down = (2 * places.float() - 1).split(1, dim=-1)
        # Not a matrix product: autocast would round the phases to bfloat16.
        matrix = self.positional_encoding_gaussian_matrix
        phase = 2 * math.pi * (across * matrix[0] + down * matrix[1])
        return torch.cat([phase.sin(), phase.cos()], dim=-1)

    def dense(self, height: int, width: int) -> Tensor:
        """Encode the centres of a map of `height` x `width` cells as `(1, 2 * features, height, width)`."""
        device = self.positional_encoding_gaussian_matrix.device
        down = (torch.arange(height, device=device) + 0.5) / height
        across = (torch.arange(width, device=device) + 0.5) / width
        places = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
        return self(places).permute(2, 0, 1)[None]
