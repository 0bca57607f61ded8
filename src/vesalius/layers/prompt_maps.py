"""Prompts drawn as maps beside the image, as in RITM (Sofiiuk et al. 2022) and ScribblePrompt (Wong et al. 2024)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.layers.prompt_tokens import CORNER, NEGATIVE, OPPOSITE, POSITIVE

CLICK_PX = 2.5  # standard deviation of a click drawn as a map, in pixels of the input


def draw_prompts(
    points: Tensor, signs: Tensor, mask: Tensor | None, drawn: Tensor | None, shape: tuple[int, int]
) -> Tensor:
    """Maps `(B, 4, h, w)` at half the input's resolution: the mask before, what is in, what is out, the box."""
    down = 2.0 * torch.arange(shape[0], device=points.device)[:, None] + 0.5
    across = 2.0 * torch.arange(shape[1], device=points.device) + 0.5
    x, y = points[..., 0, None, None], points[..., 1, None, None]
    spots = torch.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * CLICK_PX**2))
    spots = torch.cat([spots.new_zeros(points.shape[0], 1, *shape), spots], dim=1)  # for when there is no point
    signs = F.pad(signs, (1, 0), value=-1)[..., None, None]
    inner, outer = ((spots * (signs == sign)).amax(1) for sign in (POSITIVE, NEGATIVE))
    points = F.pad(points, (0, 0, 1, 0))[..., None, None]
    low, high = ((points * (signs == sign)[:, :, None]).sum(1) for sign in (CORNER, OPPOSITE))
    boxed = (signs == CORNER).any(1)
    box = (across >= low[:, 0] - 1) & (across <= high[:, 0] + 1) & (down >= low[:, 1] - 1) & (down <= high[:, 1] + 1)
    before = torch.zeros_like(inner) if mask is None else (mask[:, 0] / 4).tanh()
    if drawn is not None:
        inner, outer = torch.maximum(inner, drawn[:, 0]), torch.maximum(outer, drawn[:, 1])
    return torch.stack([before, inner, outer, (box & boxed).float()], dim=1)
