"""Cutting a token map into square attention windows and joining them again. Swin Transformer, Liu et al. 2021."""

import torch.nn.functional as F
from torch import Tensor


def split_windows(tokens: Tensor, window: int) -> Tensor:
    """Cut `(B, H, W, C)` into `(B * windows, window, window, C)`; zeros fill up the last row and column."""
    batch, height, width, channels = tokens.shape
    tokens = F.pad(tokens, (0, 0, 0, -width % window, 0, -height % window))
    tokens = tokens.reshape(batch, -(-height // window), window, -(-width // window), window, channels)
    return tokens.transpose(2, 3).reshape(-1, window, window, channels)


def join_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """Undo `split_windows` and cut off what it filled up: `(B, height, width, C)`."""
    window, channels = windows.shape[2:]
    down, across = -(-height // window), -(-width // window)
    tokens = windows.view(-1, down, across, window, window, channels).transpose(2, 3)
    return tokens.reshape(-1, down * window, across * window, channels)[:, :height, :width]
