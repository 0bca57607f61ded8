"""The Segment Anything family that remembers: SAM 2.1 and MedSAM2.

The hashes of SAM 2.1 are those that several independent projects measured on the official downloads.
"""

from __future__ import annotations

from vesalius.card import APACHE, Card, Licence, Weights
from vesalius.zoo.sam import SAM_PROMPTS

SAM2_PREPROCESSING = (
    "RGB in [0, 1] stretched to a square of 1024 (bilinear, anti-aliased), normalised with ImageNet's mean and standard"
    " deviation."
)
SAM2_PAPER = "Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024, arXiv:2408.00714"
SAM2_DATA = {
    "SA-1B": "SA-1B Dataset Research License",
    "SA-V": "CC-BY-4.0",
    "videos of Meta that were not published": "unpublished",
}
UNUSED = ("no_mem_pos_enc",)  # SAM 2.1 adds no_mem_embed to the image instead of attending to it
TINY = {"encoder": "hiera_nano", "size": 64, "memory_layers": 1}


def sam2_card(letters: str, size_word: str, sha256: str, size_bytes: int) -> Card:
    """SAM 2.1 with the encoder Hiera of a size, "base plus" and so on."""
    file = f"sam2.1_hiera_{size_word.replace(' ', '_')}.pt"
    return Card(
        name=f"sam2.1-hiera-{letters}",
        entry="vesalius.models.sam2:Sam2",
        summary=f"SAM 2.1, {size_word}: follows a target through slices by memory; trained on photographs and videos.",
        options={"encoder": f"hiera_{letters}", "size": 1024, "preprocess": "sam2", "memory_layers": 4},
        accepts=SAM_PROMPTS,
        dimensions=2,
        orientation="LPS",
        preprocessing=SAM2_PREPROCESSING,
        weights=Weights(
            urls=(
                f"https://dl.fbaipublicfiles.com/segment_anything_2/092824/{file}",
                f"hf:facebook/sam2.1-hiera-{size_word.replace(' ', '-')}/{file}@main",
            ),
            file=file,
            sha256=sha256,
            bytes=size_bytes,
        ),
        licence=APACHE,
        paper=SAM2_PAPER,
        modalities=("photograph", "video"),
        unused=UNUSED,
        tiny=TINY,
        trained_on=SAM2_DATA,
    )


SAM2_HIERA_T = sam2_card("t", "tiny", "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69", 156_008_466)
SAM2_HIERA_S = sam2_card("s", "small", "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38", 184_416_285)
SAM2_HIERA_B_PLUS = sam2_card(
    "b+", "base plus", "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5", 323_606_802
)
SAM2_HIERA_L = sam2_card("l", "large", "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318", 898_083_611)

MEDSAM2 = Card(
    name="medsam2",
    entry="vesalius.models.sam2:Sam2",
    summary="MedSAM2: SAM 2.1 tiny at 512 pixels, fine-tuned to follow structures through medical volumes and videos.",
    options={"encoder": "hiera_t", "size": 512, "preprocess": "medsam2", "memory_layers": 4},
    accepts=SAM_PROMPTS,
    dimensions=2,
    orientation="LPS",
    preprocessing="Stretched to a square of 512 (bicubic, 8 bits), normalised with ImageNet's mean and deviation.",
    weights=Weights(urls=("hf:wanglab/MedSAM2/MedSAM2_latest.pt@main",), file="MedSAM2_latest.pt"),
    licence=Licence(
        code="Apache-2.0",
        weights="CC-BY-SA-4.0",
        commercial=False,
        note="The model card allows the weights for research and education only.",
    ),
    paper="Ma et al., MedSAM2: Segment Anything in 3D Medical Images and Videos, 2025, arXiv:2504.03600",
    modalities=("CT", "MR", "PET", "US", "endoscopy"),
    unused=UNUSED,
    tiny=TINY,
    trained_on={"455 000 3D image-mask pairs and 76 000 video frames, listed in the paper": "various"},
)

CARDS = (SAM2_HIERA_T, SAM2_HIERA_S, SAM2_HIERA_B_PLUS, SAM2_HIERA_L, MEDSAM2)
