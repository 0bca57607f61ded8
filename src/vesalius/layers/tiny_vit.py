"""TinyViT, the image encoder of MobileSAM and LiteMedSAM: convolutions first, then small-window attention.

TinyViT, Wu et al. 2022; MobileSAM, Zhang et al. 2023. The last stage keeps its resolution, as in MobileSAM.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.layers.norm import LayerNorm2d
from vesalius.layers.windows import join_windows, split_windows

WINDOWS = (7, 7, 14, 7)
# By the name of an encoder, for each of the four stages; the small one is for tests.
WIDTHS = {"tiny_vit": (64, 128, 160, 320), "tiny_vit_nano": (8, 16, 20, 24)}
DEPTHS = {"tiny_vit": (2, 2, 6, 2), "tiny_vit_nano": (1, 1, 1, 1)}
HEADS = {"tiny_vit": (2, 4, 5, 10), "tiny_vit_nano": (1, 2, 2, 2)}


class TinyVit(nn.Module):
    """Image encoder `(B, 3, H, W) -> (B, 256, H / stride, W / stride)` for any size divisible by `stride`.

    Stride 16 is MobileSAM; stride 4 is LiteMedSAM, whose first two convolutions are 1x1 and keep the size.
    """

    def __init__(self, widths: tuple[int, ...], depths: tuple[int, ...], heads: tuple[int, ...], stride: int) -> None:
        super().__init__()
        self.stride = stride
        kernel, step = (3, 2) if stride == 16 else (1, 1)
        stem = [
            ConvNorm(3, widths[0] // 2, kernel, step),
            nn.GELU(),
            ConvNorm(widths[0] // 2, widths[0], kernel, step),
        ]
        self.patch_embed = nn.ModuleDict({"seq": nn.Sequential(*stem)})
        self.layers = nn.ModuleList([Stage(i, widths, depths[i], heads[i]) for i in range(4)])
        self.neck = nn.Sequential(
            nn.Conv2d(widths[-1], 256, 1, bias=False),
            LayerNorm2d(256),
            nn.Conv2d(256, 256, 3, padding=1, bias=False),
            LayerNorm2d(256),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        return self.pyramid(pixels)[-1]

    def pyramid(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The finer features on the way, and the embedding: at stride 16, those of 2 (half of the first width), 4 and
        8 pixels (the first two widths), then 16."""
        # Tokens are then views of the image, and CPU convolutions are faster.
        first, act, second = self.patch_embed.get_submodule("seq").children()
        fine = act(first(pixels.contiguous(memory_format=torch.channels_last)))
        image, inner = second(fine), []
        for stage in self.layers:
            image, before = stage(image)
            inner.append(before)
        return fine, inner[0], inner[1], self.neck(image)


class Stage(nn.Module):
    """The blocks of one width, then the passage to the next: half the size, but for the last one."""

    def __init__(self, index: int, widths: tuple[int, ...], depth: int, heads: int) -> None:
        super().__init__()
        width = widths[index]
        if index == 0:
            self.blocks = nn.Sequential(*(MBConv(width) for _ in range(depth)))
        else:
            self.blocks = nn.Sequential(*(Block(width, heads, WINDOWS[index]) for _ in range(depth)))
        self.downsample = Merge(width, widths[index + 1], (2, 2, 1)[index]) if index < 3 else None

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The image for the next stage, and the one before the passage."""
        image = self.blocks(image)
        return (image if self.downsample is None else self.downsample(image)), image


class ConvNorm(nn.Module):
    """Convolution and batch norm; with fixed statistics (`bn.eval()`) they run as one convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, image: Tensor) -> Tensor:
        if self.bn.training:
            return self.bn(self.c(image))
        # Folded at each call: it touches only the small weights, cannot go stale, and keeps the gradient.
        scale = self.bn.weight * torch.rsqrt(self.bn.get_buffer("running_var") + self.bn.eps)
        shift = self.bn.bias - self.bn.get_buffer("running_mean") * scale
        kernel = self.c.weight * scale[:, None, None, None]
        return F.conv2d(image, kernel, shift, self.c.stride, self.c.padding, groups=self.c.groups)


class MBConv(nn.Module):
    """Inverted bottleneck with a residual: widen four times, 3x3 in each channel, narrow."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, 4 * width)
        self.conv2 = ConvNorm(4 * width, 4 * width, 3, groups=4 * width)
        self.conv3 = ConvNorm(4 * width, width)

    def forward(self, image: Tensor) -> Tensor:
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(image))))
        return F.gelu(image + self.conv3(hidden))


class Merge(nn.Module):
    """Passage to the next stage: another width, and `stride` times smaller."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, outputs)
        self.conv2 = ConvNorm(outputs, outputs, 3, stride, groups=outputs)
        self.conv3 = ConvNorm(outputs, outputs)

    def forward(self, image: Tensor) -> Tensor:
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(image)))))


class Block(nn.Module):
    """Window attention, 3x3 convolution in each channel, MLP, on `(B, C, H, W)`."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads, window)
        self.local_conv = ConvNorm(width, width, 3, groups=width)
        self.mlp = Mlp(width)

    def forward(self, image: Tensor) -> Tensor:
        tokens = image.permute(0, 2, 3, 1)
        tokens = tokens + self.attn(tokens)
        tokens = self.local_conv(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return (tokens + self.mlp(tokens)).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Self-attention inside windows of `(B, H, W, C)` with a learned bias for each row and column distance."""

    pairs: Tensor  # (window ** 4,) column of the bias table for each query, key pair

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        place = torch.arange(window)
        apart = (place[:, None] - place[None, :]).abs()
        pairs = window * apart[:, None, :, None] + apart[None, :, None, :]
        self.register_buffer("pairs", pairs.flatten(), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        height, width, channels = tokens.shape[1:]
        area = self.window * self.window
        qkv = self.qkv(self.norm(split_windows(tokens, self.window)))
        query, key, value = qkv.view(-1, area, self.heads, 3 * channels // self.heads).transpose(1, 2).chunk(3, -1)
        bias = self.attention_biases.index_select(1, self.pairs).view(1, self.heads, area, area)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        windows = attended.transpose(1, 2).reshape(-1, self.window, self.window, channels)
        return join_windows(self.proj(windows), height, width)


class Mlp(nn.Module):
    """Layer norm and two linear layers, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(tokens))))
