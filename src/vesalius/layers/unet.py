"""The U-Nets of nnU-Net, plain and with a residual encoder; a 2D one is a 3D one whose kernels are one voxel thick.

nnU-Net, Isensee et al. 2021; nnU-Net Revisited, Isensee et al. 2024. The tensor names are those of nnU-Net v2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.01  # of every leaky ReLU
FEW = 8  # channels below which a CPU convolves slowly, and faster with channels of zeros added
LAST = torch.channels_last_3d
LARGE = 2**24  # values of a tensor beyond which it is not concatenated, and its norm is the faster one
Size = tuple[int, int, int]


@dataclass(frozen=True)
class UnetSizes:
    """What distinguishes one U-Net from another: for each stage, from fine to coarse, its width, kernel and stride.

    `depth` counts the convolutions (of a `residual` encoder: the blocks) of each stage, `decoder_depth` those of each
    stage of the decoder, fine to coarse, one fewer.
    """

    channels: int
    classes: int
    widths: tuple[int, ...]
    kernels: tuple[Size, ...]
    strides: tuple[Size, ...]
    depth: tuple[int, ...]
    decoder_depth: tuple[int, ...]
    residual: bool = False


class InstanceNorm(nn.GroupNorm):
    """Instance norm; of channels last, without gradients, it works in place and three times as fast as torch's own."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def forward(self, image: Tensor) -> Tensor:
        small = image.numel() < LARGE and image.dtype == torch.float32
        if torch.is_grad_enabled() or (image.is_contiguous() and not small):
            return super().forward(image)  # twice as fast as torch's own, and in 32 bit whatever the precision
        if image.is_contiguous():  # torch's own, to the last bit, which may tip a voxel and so the next round
            return torch.instance_norm(image, self.weight, self.bias, None, None, True, 0.0, self.eps, True)
        # Plane by plane, and these in 64 bit: sums over a whole window lose three digits in 32 bit.
        planes = image.permute(0, 2, 3, 4, 1).flatten(2, 3)
        mean = planes.mean(2).double().mean(1)
        square = (torch.linalg.vector_norm(planes, dim=2).double() ** 2).mean(1) / planes.shape[2]
        scale = self.weight * torch.rsqrt((square - mean**2).clamp(min=0) + self.eps).float()
        shift = self.bias - mean.float() * scale
        return torch.addcmul(shift[..., None, None, None], image, scale[..., None, None, None], out=image)


class ConvBlock(nn.Module):
    """Convolution, instance norm, and (unless `linear`) leaky ReLU."""

    def __init__(
        self, channels: int, width: int, kernel: Size, stride: Size = (1, 1, 1), bias: bool = True, linear: bool = False
    ) -> None:
        super().__init__()
        self.linear = linear
        k, m, n = (size // 2 for size in kernel)
        self.conv = nn.Conv3d(channels, width, kernel, stride, padding=(k, m, n), bias=bias)
        self.norm = InstanceNorm(width)

    def forward(self, image: Tensor, skip: Tensor | None = None) -> Tensor:
        normed = self.norm(join(self.conv, image, skip))
        return normed if self.linear else F.leaky_relu_(normed, SLOPE)


def join(conv: nn.Conv3d, image: Tensor, skip: Tensor | None) -> Tensor:
    """A convolution of one tensor, or of two as if they were concatenated along their channels."""
    if skip is None and conv.in_channels < FEW:
        more = (0, 0, 0, 0, 0, 0, 0, FEW - conv.in_channels)
        image, weight = (F.pad(each, more).contiguous(memory_format=LAST) for each in (image, conv.weight))
        return F.conv3d(image, weight, conv.bias, conv.stride, conv.padding)
    if skip is None:
        return conv(image)
    if image.numel() < LARGE:
        return conv(torch.cat([image, skip], dim=1))
    # At the finest stage the concatenation would be the largest tensor of the whole network.
    channels = image.shape[1]
    joined = F.conv3d(image, conv.weight[:, :channels], conv.bias, padding=conv.padding)
    return joined.add_(F.conv3d(skip, conv.weight[:, channels:], padding=conv.padding))


class ConvStack(nn.Module):
    """Convolution blocks one after the other; the first one has the stride, or joins the upsampled and the skip."""

    def __init__(self, channels: int, width: int, kernel: Size, depth: int, stride: Size = (1, 1, 1)) -> None:
        super().__init__()
        first = ConvBlock(channels, width, kernel, stride)
        self.convs = nn.Sequential(first, *(ConvBlock(width, width, kernel) for _ in range(depth - 1)))

    def forward(self, image: Tensor, skip: Tensor | None = None) -> Tensor:
        first, *others = self.convs
        image = first(image, skip)
        for block in others:
            image = block(image)
        return image


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, which averages to the stride and projects to the width."""

    def __init__(self, channels: int, width: int, kernel: Size, stride: Size) -> None:
        super().__init__()
        self.conv1 = ConvBlock(channels, width, kernel, stride)
        self.conv2 = ConvBlock(width, width, kernel, linear=True)
        skip: list[nn.Module] = [nn.AvgPool3d(stride, stride)] if max(stride) > 1 else []
        if channels != width:
            skip.append(ConvBlock(channels, width, (1, 1, 1), bias=False, linear=True))
        self.skip = nn.Sequential(*skip)

    def forward(self, image: Tensor) -> Tensor:
        return F.leaky_relu_(self.conv2(self.conv1(image)) + self.skip(image), SLOPE)


class ResidualStack(nn.Module):
    """Residual blocks one after the other, the first one with the stride."""

    def __init__(self, channels: int, width: int, kernel: Size, depth: int, stride: Size) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            ResidualBlock(channels, width, kernel, stride),
            *(ResidualBlock(width, width, kernel, (1, 1, 1)) for _ in range(depth - 1)),
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.blocks(image)


class Encoder(nn.Module):
    """The way down; gives what each stage sees, fine to coarse."""

    def __init__(self, sizes: UnetSizes) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        channels = sizes.channels
        if sizes.residual:
            self.stem = ConvStack(channels, sizes.widths[0], sizes.kernels[0], 1)
            channels = sizes.widths[0]
        for width, kernel, stride, depth in zip(sizes.widths, sizes.kernels, sizes.strides, sizes.depth, strict=True):
            if sizes.residual:
                stages.append(ResidualStack(channels, width, kernel, depth, stride))
            else:
                stages.append(nn.Sequential(ConvStack(channels, width, kernel, depth, stride)))
            channels = width
        self.stages = nn.Sequential(*stages)

    def forward(self, image: Tensor) -> list[Tensor]:
        image = self.stem(image) if hasattr(self, "stem") else image
        skips = []
        for stage in self.stages:
            image = stage(image)
            skips.append(image)
        return skips


class Decoder(nn.Module):
    """The way up; gives the features of each stage, coarse to fine, and holds a head for each."""

    def __init__(self, sizes: UnetSizes) -> None:
        super().__init__()
        ups, stages, heads = [], [], []
        for n in reversed(range(len(sizes.widths) - 1)):
            width, stride = sizes.widths[n], sizes.strides[n + 1]
            ups.append(nn.ConvTranspose3d(sizes.widths[n + 1], width, stride, stride))
            stages.append(ConvStack(2 * width, width, sizes.kernels[n], sizes.decoder_depth[n]))
            heads.append(nn.Conv3d(width, sizes.classes, 1))
        self.transpconvs, self.stages, self.seg_layers = (nn.ModuleList(each) for each in (ups, stages, heads))

    def forward(self, skips: list[Tensor]) -> list[Tensor]:
        image = skips.pop()
        features = []
        for up, stage in zip(self.transpconvs, self.stages, strict=True):
            image = stage(up(image), skips.pop())
            features.append(image)
        return features


class Unet(nn.Module):
    """A U-Net of nnU-Net; sizes of the input must be multiples of the product of all strides."""

    def __init__(self, sizes: UnetSizes) -> None:
        super().__init__()
        self.encoder = Encoder(sizes)
        self.decoder = Decoder(sizes)

    @property
    def heads(self) -> nn.ModuleList:
        """The 1 x 1 x 1 convolutions from features to logits, coarse to fine."""
        return self.decoder.seg_layers

    def features(self, image: Tensor) -> list[Tensor]:
        """What the heads read, coarse to fine: `(B, width, ...)` of an image `(B, C, i, j, k)`."""
        return self.decoder(self.encoder(image))

    def forward(self, image: Tensor) -> Tensor:
        """Logits `(B, classes, i, j, k)`."""
        return self.heads[-1](self.features(image)[-1])
