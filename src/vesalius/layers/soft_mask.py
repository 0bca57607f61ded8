"""What networks of small grey pictures have in common: the picture on the way in, the mask on the way out.

Pictures are tensors (1, 1, H, W) in [0, 1]; the networks predict no quality of their masks, which is estimated here.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vesalius.errors import PromptError

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue, as Pillow and OpenCV convert


def grey_picture(pixels: NDArray[np.uint8]) -> Tensor:
    """The pixels (C, i, j, 1) of a view, grey or RGB, as a grey picture; raises PromptError for other channels."""
    if len(pixels) not in (1, 3):
        raise PromptError(f"This model looks at grey or RGB images; yours has {len(pixels)} channels: choose one.")
    grey = pixels[0, ..., 0] if len(pixels) == 1 else np.tensordot(LUMA, pixels[..., 0], 1)
    return torch.from_numpy(grey.T.astype(np.float32) / 255)[None, None]


def expected_dice(probability: Tensor) -> float:
    """The Dice that a mask cut at 0.5 has on average, if each pixel is inside with its `probability`.

    One pixel is added to both sides, so that an empty mask of which the network is sure counts as right.
    """
    mask = probability > 0.5
    overlap, areas = probability[mask].sum(), probability.sum() + mask.sum()
    return float((2 * overlap + 1) / (areas + 1))


def restore(values: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Values (1, 1, h, w) of a network on the pixels (i, j) of a view of `shape`."""
    width, height, _ = shape
    return F.interpolate(values, (height, width), mode="bilinear")[0, 0].T.cpu()
