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

SAM2_HIERA_T = Card(
    name="sam2.1-hiera-t",
    entry="vesalius.models.sam2:Sam2",
    summary="SAM 2.1, tiny: follows a target through slices by memory; trained on photographs and videos.",
    options={"encoder": "hiera_t", "size": 1024, "preprocess": "sam2", "memory_layers": 4},
    accepts=SAM_PROMPTS,
    dimensions=2,
    orientation="LPS",
    preprocessing=SAM2_PREPROCESSING,
    weights=Weights(
        urls=(
            "https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_tiny.pt",
            "hf:facebook/sam2.1-hiera-tiny/sam2.1_hiera_tiny.pt@main",
        ),
        file="sam2.1_hiera_tiny.pt",
        sha256="7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        bytes=156_008_466,
    ),
    licence=APACHE,
    paper=SAM2_PAPER,
    modalities=("photograph", "video"),
    unused=UNUSED,
    tiny=TINY,
    trained_on=SAM2_DATA,
)

SAM2_HIERA_S = Card(
    name="sam2.1-hiera-s",
    entry="vesalius.models.sam2:Sam2",
    summary="SAM 2.1, small: follows a target through slices by memory; trained on photographs and videos.",
    options={"encoder": "hiera_s", "size": 1024, "preprocess": "sam2", "memory_layers": 4},
    accepts=SAM_PROMPTS,
    dimensions=2,
    orientation="LPS",
    preprocessing=SAM2_PREPROCESSING,
    weights=Weights(
        urls=(
            "https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_small.pt",
            "hf:facebook/sam2.1-hiera-small/sam2.1_hiera_small.pt@main",
        ),
        file="sam2.1_hiera_small.pt",
        sha256="6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        bytes=184_416_285,
    ),
    licence=APACHE,
    paper=SAM2_PAPER,
    modalities=("photograph", "video"),
    unused=UNUSED,
    tiny=TINY,
    trained_on=SAM2_DATA,
)

SAM2_HIERA_B_PLUS = Card(
    name="sam2.1-hiera-b+",
    entry="vesalius.models.sam2:Sam2",
    summary="SAM 2.1, base plus: follows a target through slices by memory; trained on photographs and videos.",
    options={"encoder": "hiera_b+", "size": 1024, "preprocess": "sam2", "memory_layers": 4},
    accepts=SAM_PROMPTS,
    dimensions=2,
    orientation="LPS",
    preprocessing=SAM2_PREPROCESSING,
    weights=Weights(
        urls=(
            "https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_base_plus.pt",
            "hf:facebook/sam2.1-hiera-base-plus/sam2.1_hiera_base_plus.pt@main",
        ),
        file="sam2.1_hiera_base_plus.pt",
        sha256="a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        bytes=323_606_802,
    ),
    licence=APACHE,
    paper=SAM2_PAPER,
    modalities=("photograph", "video"),
    unused=UNUSED,
    tiny=TINY,
    trained_on=SAM2_DATA,
)

SAM2_HIERA_L = Card(
    name="sam2.1-hiera-l",
    entry="vesalius.models.sam2:Sam2",
    summary="SAM 2.1, large: follows a target through slices by memory; trained on photographs and videos.",
    options={"encoder": "hiera_l", "size": 1024, "preprocess": "sam2", "memory_layers": 4},
    accepts=SAM_PROMPTS,
    dimensions=2,
    orientation="LPS",
    preprocessing=SAM2_PREPROCESSING,
    weights=Weights(
        urls=(
            "https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_large.pt",
            "hf:facebook/sam2.1-hiera-large/sam2.1_hiera_large.pt@main",
        ),
        file="sam2.1_hiera_large.pt",
        sha256="2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        bytes=898_083_611,
    ),
    licence=APACHE,
    paper=SAM2_PAPER,
    modalities=("photograph", "video"),
    unused=UNUSED,
    tiny=TINY,
    trained_on=SAM2_DATA,
)

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
