"""STU-Net: residual blocks on both ways, and upsampling without weights followed by a 1 x 1 x 1 convolution.

STU-Net, Huang et al. 2023. The tensor names are those of its checkpoints.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.layers.unet import SLOPE, InstanceNorm, Size, UnetSizes, join


class Residual(nn.Module):
    """Two convolutions beside a shortcut; `project` gives the shortcut its own 1 x 1 x 1 convolution."""

    def __init__(self, channels: int, width: int, kernel: Size, stride: Size, project: bool) -> None:
        super().__init__()
        k, m, n = (size // 2 for size in kernel)
        self.conv1 = nn.Conv3d(channels, width, kernel, stride, padding=(k, m, n))
        self.norm1 = InstanceNorm(width)
        self.conv2 = nn.Conv3d(width, width, kernel, padding=(k, m, n))
        self.norm2 = InstanceNorm(width)
        if project:
            self.conv3 = nn.Conv3d(channels, width, 1, stride)

    def forward(self, image: Tensor, skip: Tensor | None = None) -> Tensor:
        """The block of an image, or of an image joined by a skip along the channels, which are never concatenated."""
        shortcut = join(self.conv3, image, skip) if hasattr(self, "conv3") else image
        image = F.leaky_relu_(self.norm1(join(self.conv1, image, skip)), SLOPE)
        return F.leaky_relu_(self.norm2(self.conv2(image)) + shortcut, SLOPE)


class Upsample(nn.Module):
    """Nearest neighbour to the finer stage, then a projection to its width."""

    def __init__(self, channels: int, width: int, stride: Size) -> None:
        super().__init__()
        self.stride = tuple(float(step) for step in stride)
        self.conv = nn.Conv3d(channels, width, 1)

    def forward(self, image: Tensor) -> Tensor:
        # Projected first: the same numbers, from an eighth of the voxels.
        return F.interpolate(self.conv(image), scale_factor=self.stride, mode="nearest")


class StuNet(nn.Module):
    """STU-Net; sizes of the input must be multiples of the product of all strides."""

    def __init__(self, sizes: UnetSizes) -> None:
        super().__init__()
        down, up, ups, heads = [], [], [], []
        channels = sizes.channels
        for width, kernel, stride, depth in zip(sizes.widths, sizes.kernels, sizes.strides, sizes.depth, strict=True):
            down.append(stack(channels, width, kernel, stride, depth))
            channels = width
        for n in reversed(range(len(sizes.widths) - 1)):
            width = sizes.widths[n]
            ups.append(Upsample(sizes.widths[n + 1], width, sizes.strides[n + 1]))
            up.append(stack(2 * width, width, sizes.kernels[n], (1, 1, 1), sizes.decoder_depth[n]))
            heads.append(nn.Conv3d(width, sizes.classes, 1))
        self.conv_blocks_context, self.upsample_layers = nn.ModuleList(down), nn.ModuleList(ups)
        self.conv_blocks_localization, self.seg_outputs = nn.ModuleList(up), nn.ModuleList(heads)

    @property
    def heads(self) -> nn.ModuleList:
        """The 1 x 1 x 1 convolutions from features to logits, coarse to fine."""
        return self.seg_outputs

    def features(self, image: Tensor) -> list[Tensor]:
        """What the heads read, coarse to fine: `(B, width, ...)` of an image `(B, C, i, j, k)`."""
        skips = []
        for blocks in self.conv_blocks_context:
            image = blocks(image)
            skips.append(image)
        image = skips.pop()
        features = []
        for up, blocks in zip(self.upsample_layers, self.conv_blocks_localization, strict=True):
            first, *others = list(blocks.children())
            image = first(up(image), skips.pop())
            for block in others:
                image = block(image)
            features.append(image)
        return features

    def forward(self, image: Tensor) -> Tensor:
        """Logits `(B, classes, i, j, k)`."""
        return self.heads[-1](self.features(image)[-1])


def stack(channels: int, width: int, kernel: Size, stride: Size, depth: int) -> nn.Sequential:
    """Residual blocks one after the other; the first has the stride and projects."""
    first = Residual(channels, width, kernel, stride, project=True)
    return nn.Sequential(first, *(Residual(width, width, kernel, (1, 1, 1), project=False) for _ in range(depth - 1)))
