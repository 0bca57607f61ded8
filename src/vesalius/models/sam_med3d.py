"""SAM-Med3D: Segment Anything in three dimensions, trained on medical volumes, from clicks.

SAM-Med3D: Towards General-purpose Segmentation Models for Volumetric Medical Images, Wang et al. 2023,
arXiv:2310.15161. Code and weights: Apache-2.0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vesalius.answer import Answer
from vesalius.errors import PromptError
from vesalius.grid import Grid
from vesalius.layers.norm import LayerNorm3d
from vesalius.layers.two_way import TwoWayTransformer
from vesalius.layers.vit_3d import PATCH, Vit3d
from vesalius.look_cubes import through_cubes
from vesalius.scene import Cues, Scene, View
from vesalius.volume import Volume

SPACING_MM = 1.5
LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue, where a picture has colours


class SamMed3d(nn.Module):
    """The released network; `options` are the `size` of its cubes in voxels, and `width`, `depth`, `heads`, `channels`.

    Its predicted quality was never trained, so masks have no score.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.size = int(options["size"])
        self.precision = "fp32"
        self.image_encoder = Vit3d(
            self.size // PATCH, options["width"], options["depth"], options["heads"], options["channels"]
        )
        self.prompt_encoder = PromptEncoder3d(options["channels"])
        self.mask_decoder = MaskDecoder3d(options["channels"])

    def run(self, scene: Scene) -> Iterator[Answer]:
        """The answer for one target: the cubes around the clicks, and those that the mask reaches from them."""
        return through_cubes(scene, self.size, SPACING_MM, lambda frame, cues: self.segment(scene, frame, cues))

    @torch.inference_mode()
    def segment(self, scene: Scene, frame: Grid, cues: Cues) -> NDArray[np.float32]:
        """Mask logits of one cube, a value for each 4 x 4 x 4 voxels."""
        embedding = scene.memo(frame, lambda: self.look(scene.image, frame))
        return self.answer(embedding.float(), cues)[0, 0].cpu().numpy()

    def look(self, image: Volume, frame: Grid) -> Tensor:
        """The embedding of a cube, in the fastest precision."""
        # The image's own numbers and not its grey levels: the network saw all of their range, with 0 outside.
        cube = self.normalise(image.to(frame).voxels)
        with torch.autocast(cube.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.encode(cube)

    def forward(self, view: View) -> Tensor:
        """Mask logits (1, i, j, k) on the view's grid of at most `size` voxels along each axis, differentiable."""
        i, j, k = view.grid.shape
        cube = np.pad(view.pixels, ((0, 0), (0, self.size - i), (0, self.size - j), (0, self.size - k)))
        low = self.answer(self.encode(self.normalise(cube)), view.cues)
        return enlarge(low)[0, :, :i, :j, :k]

    def normalise(self, voxels: NDArray) -> Tensor:
        """Voxels (C, i, j, k) as the network's input `(1, 1, i, j, k)`: mean 0, deviation 1 of those above 0."""
        if len(voxels) not in (1, 3):
            raise PromptError(f"This model looks at grey or RGB images; yours has {len(voxels)} channels: choose one.")
        grey = voxels[0] if len(voxels) == 1 else np.tensordot(LUMA, voxels, 1)
        cube = torch.tensor(grey, dtype=torch.float32, device=self.prompt_encoder.no_mask_embed.weight.device)
        counted = cube[cube > 0] if (cube > 0).any() else cube
        return ((cube - counted.mean()) / counted.std(correction=0).clamp(min=1e-6))[None, None]

    def answer(self, embedding: Tensor, cues: Cues) -> Tensor:
        """The mask logits `(1, 1, 4g, 4g, 4g)` for all clicks in a cube and the logits of the last look at it."""
        device = embedding.device
        points = torch.tensor(cues.points[None], dtype=torch.float32, device=device)
        signs = torch.tensor(cues.positive[None], dtype=torch.int64, device=device)
        cells = 4 * embedding.shape[-1]
        # The first look starts from a mask of zeros, as in training, and not from the embedding for "no mask".
        mask = torch.zeros(cells, cells, cells) if cues.feedback is None else torch.tensor(cues.feedback)
        return self.decode(embedding, points, signs, mask[None, None].to(device))[0]

    def encode(self, cube: Tensor) -> Tensor:
        """The embedding `(B, channels, g, g, g)` of a normalised cube `(B, 1, 16g, 16g, 16g)`."""
        return self.image_encoder(cube)

    def decode(
        self, embedding: Tensor, points: Tensor, signs: Tensor, mask: Tensor | None, multimask: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Mask logits `(B, M, 4g, 4g, 4g)` and their predicted IoU `(B, M)`: three candidates, or the single one.

        `points` are `(B, N, 3)` voxel indices of the cube (integer = voxel centre), `signs` `(B, N)` 1 or 0, and `mask`
        holds earlier logits `(B, 1, 4g, 4g, 4g)`.
        """
        grid = embedding.shape[-1]
        prompts = self.prompt_encoder.tokens((points + 0.5) / (PATCH * grid), signs)
        image = embedding + self.prompt_encoder.mask(mask)
        masks, iou = self.mask_decoder(image, self.prompt_encoder.pe_layer.dense(grid), prompts)
        chosen = slice(1, 4) if multimask else slice(0, 1)
        return masks[:, chosen], iou[:, chosen]

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of an official file under our names, which are the official ones."""
        return {name.removeprefix("module."): tensor for name, tensor in state.items()}


class Positions3d(nn.Module):
    """Positions as random Fourier features, three for each frequency: sine, cosine, and the sine again."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(3, features))

    def forward(self, places: Tensor) -> Tensor:
        """Encode `(..., 3)` positions in [0, 1] (the whole cube) as `(..., 3 * features)`."""
        phase = 2 * math.pi * (2 * places - 1) @ self.positional_encoding_gaussian_matrix
        return torch.cat([phase.sin(), phase.cos(), phase.sin()], dim=-1)

    def dense(self, grid: int) -> Tensor:
        """Encode the patches of a cube as `(1, 3 * features, grid, grid, grid)`."""
        centres = (torch.arange(grid, device=self.positional_encoding_gaussian_matrix.device) + 0.5) / grid
        # The first two axes change places, unlike those of clicks: the released weights were trained so.
        j, i, k = torch.meshgrid(centres, centres, centres, indexing="ij")
        return self(torch.stack([i, j, k], dim=-1)).movedim(-1, 0)[None]


class PromptEncoder3d(nn.Module):
    """Clicks become tokens, earlier logits become a map to add to the image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pe_layer = Positions3d(width // 3)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(2))  # negative, positive
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv3d(1, 4, 2, 2),
            LayerNorm3d(4),
            nn.GELU(),
            nn.Conv3d(4, 16, 2, 2),
            LayerNorm3d(16),
            nn.GELU(),
            nn.Conv3d(16, width, 1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def tokens(self, places: Tensor, signs: Tensor) -> Tensor:
        """Encode `(B, N, 3)` positions in [0, 1] and their `(B, N)` signs as `(B, N + 1, width)`."""
        kinds = torch.cat([kind.get_parameter("weight") for kind in self.point_embeddings])
        padding = self.not_a_point_embed.weight.expand(len(places), 1, -1)  # SAM expects it after points without a box
        return torch.cat([self.pe_layer(places) + kinds[signs], padding], dim=1)

    def mask(self, logits: Tensor | None) -> Tensor:
        """Encode `(B, 1, 4g, 4g, 4g)` mask logits as `(B, width, g, g, g)`; without a mask, `(1, width, 1, 1, 1)`."""
        if logits is None:
            return self.no_mask_embed.weight[:, :, None, None, None]
        return self.mask_downscaling(logits)


class MaskDecoder3d(nn.Module):
    """Four mask tokens and one quality token look at the cube together with the prompt tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(width, 2048)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(4, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(width, width // 4, 2, 2),
            LayerNorm3d(width // 4),
            nn.GELU(),
            nn.ConvTranspose3d(width // 4, width // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Mlp(width, width, width // 8) for _ in range(4))
        self.iou_prediction_head = Mlp(width, 256, 4)

    def forward(self, image: Tensor, positions: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Four masks `(B, 4, 4g, 4g, 4g)` and their predicted IoU `(B, 4)` from `(1 | B, width, g, g, g)`."""
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(prompts), -1, -1), prompts], dim=1)
        tokens, keys = self.transformer(image, positions, tokens)
        image = self.output_upscaling(keys.transpose(1, 2).unflatten(2, image.shape[2:]))
        kernels = [mlp(tokens[:, i + 1]) for i, mlp in enumerate(self.output_hypernetworks_mlps)]
        masks = torch.einsum("bmc,bcxyz->bmxyz", torch.stack(kernels, dim=1), image)
        return masks, self.iou_prediction_head(tokens[:, 0])


class Mlp(nn.Module):
    """Three linear layers on a token."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(inputs, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)])

    def forward(self, token: Tensor) -> Tensor:
        first, second, third = self.layers
        return third(F.relu(second(F.relu(first(token)))))


def enlarge(logits: Tensor) -> Tensor:
    """Mask logits `(B, M, x, y, z)` with a value for every voxel of the cube."""
    return F.interpolate(logits, scale_factor=4, mode="trilinear", align_corners=False)
