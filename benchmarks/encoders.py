"""How long SAM and SAM 2.1 take: ours against Hugging Face's, in one run, with the same weights.

    pip install transformers
    python benchmarks/encoders.py [--models sam-vit-b,sam2.1-hiera-t] [--threads 2] [--rounds 7] [--device cpu]

From the network's input to the decoder's masks: the first prompt with the image encoder, the next one without. Weights
are random and the same for both, and the masks must agree. Turn by turn, medians; ours also with the encoder in bf16,
as `vesalius` runs it where that is faster. Then 64 boxes on one embedding, in one batch and one by one.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
import transformers
from torch import Tensor

import vesalius as vs
from vesalius.hub import random_model
from vesalius.layers.mask_decoder import sets_at_once
from vesalius.look_memory import Past
from vesalius.models import sam, sam2

CLICK = (torch.tensor([[[400.0, 500.0]]]), torch.tensor([[1]]))
BOXES = 64
RENAMED = {  # of tensors, from the official names to those of transformers
    r"(image_encoder|vision_encoder)\.": "vision_encoder.",
    r"sam_(prompt_encoder|mask_decoder)": r"\1",
    r"\.trunk\.": ".backbone.",
    r"patch_embed\.proj\.": "patch_embed.projection.",
    r"norm_final_attn": "layer_norm_final_attn",
    r"\.norm(\d)\.": r".layer_norm\1.",
    r"prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix": "shared_image_embedding.positional_embedding",
    r"point_embeddings\.": "point_embed.",
    r"mask_downscaling\.([036])\.": lambda found: f"mask_embed.conv{int(found[1]) // 3 + 1}.",
    r"mask_downscaling\.([14])\.": lambda found: f"mask_embed.layer_norm{int(found[1]) // 3 + 1}.",
    r"output_upscaling\.([03])\.": lambda found: f"upscale_conv{int(found[1]) // 3 + 1}.",
    r"output_upscaling\.1\.": "upscale_layer_norm.",
    r"(mlps\.\d|head)\.layers\.0\.": r"\1.proj_in.",
    r"(mlps\.\d|head)\.layers\.1\.": r"\1.layers.0.",
    r"(mlps\.\d|head)\.layers\.2\.": r"\1.proj_out.",
    r"no_mem_embed": "no_memory_embedding",
}
RENAMED_SAM = {
    r"encoder\.blocks\.": "encoder.layers.",
    r"neck\.([02])\.": lambda found: f"neck.conv{int(found[1]) // 2 + 1}.",
    r"neck\.([13])\.": lambda found: f"neck.layer_norm{int(found[1]) // 2 + 1}.",
}
RENAMED_SAM2 = {
    r"neck\.convs\.(\d)\.conv\.": r"neck.convs.\1.",
    r"mlp\.(lin1|layers\.0)\.": "mlp.proj_in.",
    r"mlp\.(lin2|layers\.1)\.": "mlp.proj_out.",
    r"transformer(.*)\.out_proj\.": r"transformer\1.o_proj.",
}


class Ours:
    """A model of vesalius, whose encoder runs in fp32 or bf16."""

    def __init__(self, model: Any, precision: str) -> None:
        self.model, self.precision = model, precision

    def encode(self, pixels: Tensor) -> Any:
        """What is kept of a picture."""
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.model.encode(pixels)

    def click(self, seen: Any) -> Tensor:
        """The three masks of one click."""
        points, signs = (part.to(seen[0].device) for part in CLICK)
        return self.decode(seen, *self.tokens(points, signs, None), True)

    def boxes_at_once(self, seen: Any, boxes: Tensor) -> list[Tensor]:
        """One mask for each box (B, 4), as many boxes together as a session decodes."""
        points = boxes.new_zeros(len(boxes), 0, 2)
        places, signs = self.tokens(points, points[..., 0].long(), boxes)
        count = sets_at_once(boxes.device)
        few = zip(places.split(count), signs.split(count), strict=True)
        return [self.decode(seen, *tokens, False) for tokens in few]

    def boxes_one_by_one(self, seen: Any, boxes: Tensor) -> list[Tensor]:
        """The same, each alone."""
        return [self.boxes_at_once(seen, box[None])[0] for box in boxes]

    def tokens(self, points: Tensor, signs: Tensor, boxes: Tensor | None) -> tuple[Tensor, Tensor]:
        """Prompts as the decoder takes them."""
        return (sam.tokenize if isinstance(self.model, sam.Sam) else sam2.tokenize)(points, signs, boxes)

    def decode(self, seen: Any, points: Tensor, signs: Tensor, multimask: bool) -> Tensor:
        """Mask logits (B, M, 256, 256)."""
        if isinstance(self.model, sam.Sam):
            return self.model.decode(seen.float(), points, signs, None, multimask)[0]
        features = tuple(part.float() for part in seen)
        image = self.model.recall(features[0], Past(1))
        return self.model.decode(image, features, points, signs, None, multimask)[0]


class Theirs:
    """SamModel or Sam2Model of transformers, in fp32 and its default attention."""

    precision = "fp32"

    def __init__(self, card: str, state: dict[str, Tensor], device: torch.device) -> None:
        first = card == "sam-vit-b"
        config, model = (
            (transformers.SamConfig, transformers.SamModel)
            if first
            else (transformers.Sam2Config, transformers.Sam2Model)
        )
        self.model = model(config()).to(device).eval()
        renamed = rename(state, RENAMED | (RENAMED_SAM if first else RENAMED_SAM2))
        matrix = "shared_image_embedding.positional_embedding"
        renamed["prompt_encoder.shared_embedding.positional_embedding"] = renamed[matrix]
        if not first:
            kinds = [renamed[f"prompt_encoder.point_embed.{kind}.weight"] for kind in range(4)]
            renamed["prompt_encoder.point_embed.weight"] = torch.cat(kinds)
        self.model.load_state_dict({name: renamed[name] for name in self.model.state_dict()})

    def encode(self, pixels: Tensor) -> Any:
        """What is kept of a picture."""
        return self.model.get_image_embeddings(pixels)

    def click(self, seen: Any) -> Tensor:
        """The three masks of one click."""
        points, signs = (part.to(self.model.device) for part in CLICK)
        return self.model(image_embeddings=seen, input_points=points[None], input_labels=signs[None]).pred_masks[0]


def main() -> None:
    """Prints medians in milliseconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="sam-vit-b,sam2.1-hiera-t")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    chip = torch.cuda.get_device_name() if args.device.startswith("cuda") else f"{args.threads} threads"
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {chip}")
    for card in args.models.split(","):
        with torch.inference_mode():
            compare(card, args.rounds, torch.device(args.device))


def compare(card: str, rounds: int, device: torch.device) -> None:
    """One model: clicks against the peer's, then boxes."""
    model = random_model(vs.find_card(card), tiny=False).to(device)
    theirs = Theirs(card, model.state_dict(), device)
    contenders: dict[str, Any] = {"theirs": theirs, "ours": Ours(model, "fp32"), "ours bf16": Ours(model, "bf16")}
    pixels = torch.randn(1, 3, 1024, 1024, device=device)
    kept = {name: one.encode(pixels) for name, one in contenders.items()}
    masks = {name: one.click(kept[name]) for name, one in contenders.items()}
    for name in list(contenders)[1:]:
        apart = (masks[name] - masks["theirs"]).abs().max() / masks["theirs"].abs().max()
        print(f"{card}, {name}: logits differ by {apart:.1e} of the largest")

    def first_prompt(name: str) -> None:
        contenders[name].click(contenders[name].encode(pixels))

    def next_prompt(name: str) -> None:
        contenders[name].click(kept[name])

    for what, work in {"first prompt": first_prompt, "next prompt": next_prompt}.items():
        taken = interleave({name: partial(work, name) for name in contenders}, rounds)
        said = ", ".join(f"{name} {ms:.1f} ms" for name, ms in taken.items())
        ratios = ", ".join(f"{name} {taken['theirs'] / taken[name]:.2f}" for name in list(contenders)[1:])
        print(f"{card}, {what}: {said}; times faster than theirs: {ratios}")
    corners = 900 * torch.rand(BOXES, 2, device=device)
    boxes = torch.cat([corners, corners + 20 + 100 * torch.rand_like(corners)], dim=1)
    for name in list(contenders)[1:]:
        one, seen = contenders[name], kept[name]
        works = {
            "at once": partial(one.boxes_at_once, seen, boxes),
            "one by one": partial(one.boxes_one_by_one, seen, boxes),
        }
        taken = interleave(works, max(1, rounds // 3))
        said = ", ".join(f"{way} {ms:.0f} ms" for way, ms in taken.items())
        print(f"{card}, {name}, {BOXES} boxes: {said}; ratio {taken['one by one'] / taken['at once']:.1f}")


def interleave(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The median milliseconds of each work, taken turn by turn after one turn to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            wait_for_the_gpu()
            began = time.perf_counter()
            work()
            wait_for_the_gpu()
            if turn:
                taken[name].append(1000 * (time.perf_counter() - began))
    return {name: median(each) for name, each in taken.items()}


def wait_for_the_gpu() -> None:
    """Until it has done all that it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def rename(state: dict[str, Tensor], renamed: dict[str, Any]) -> dict[str, Tensor]:
    """Tensors under other names: each pattern is replaced in turn."""
    found = {}
    for name, tensor in state.items():
        for pattern, new in renamed.items():
            name = re.sub(pattern, new, name)
        found[name] = tensor
    return found


if __name__ == "__main__":
    main()
