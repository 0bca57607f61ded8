"""The Segment Anything family that looks at single images: SAM, MedSAM, MobileSAM, LiteMedSAM.

The hashes of other people's files are those that several independent projects measured on the official downloads.
"""

from __future__ import annotations

from dataclasses import replace

from vesalius.card import APACHE, Card, Weights

SAM_PROMPTS = frozenset({"point", "box", "scribble", "lasso", "mask"})
BOX_PROMPTS = frozenset({"box", "lasso", "mask"})  # a lasso and a mask become the box around them
CLASSIFIER = ("image_encoder.norm_head.*", "image_encoder.head.*")  # what TinyViT was pretrained with on ImageNet
SAM_PREPROCESSING = (
    "RGB of 0-255 with its longest side resized to {size} (bilinear), normalised with SAM's mean and standard"
    " deviation, then padded with zeros at the bottom and right to a square."
)
SAM_PAPER = "Kirillov et al., Segment Anything, ICCV 2023, arXiv:2304.02643"
MEDSAM_PAPER = "Ma et al., Segment anything in medical images, Nature Communications 15:654, 2024"
MEDICAL_PICTURES = (
    "CT",
    "MR",
    "X-ray",
    "US",
    "mammography",
    "OCT",
    "endoscopy",
    "dermoscopy",
    "fundus",
    "histology",
)
SA_1B = {"SA-1B": "SA-1B Dataset Research License"}
MEDSAM_DATA = {"1.57 million image-mask pairs of public data sets, listed in the paper": "various"}


def sam_card(letter: str, size_word: str, code: str, sha256: str, size_bytes: int) -> Card:
    """The original SAM with the encoder ViT-`letter`; `code` is the end of its file's name."""
    file = f"sam_vit_{letter}_{code}.pth"
    return Card(
        name=f"sam-vit-{letter}",
        entry="vesalius.models.sam:Sam",
        summary=f"Segment Anything, {size_word}: trained on photographs.",
        options={"encoder": f"vit_{letter}", "size": 1024, "preprocess": "sam"},
        accepts=SAM_PROMPTS,
        dimensions=2,
        orientation="LPS",
        preprocessing=SAM_PREPROCESSING.format(size=1024),
        weights=Weights(
            urls=(
                f"https://dl.fbaipublicfiles.com/segment_anything/{file}",
                f"hf:ybelkada/segment-anything/checkpoints/{file}@main",
            ),
            file=file,
            sha256=sha256,
            bytes=size_bytes,
        ),
        licence=APACHE,
        paper=SAM_PAPER,
        modalities=("photograph",),
        tiny={"encoder": "vit_nano", "size": 64},
        trained_on=SA_1B,
    )


SAM_VIT_B = sam_card(
    "b", "base", "01ec64", "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912", 375_042_383
)
SAM_VIT_L = sam_card(
    "l", "large", "0b3195", "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622", 1_249_524_607
)
SAM_VIT_H = sam_card(
    "h", "huge", "4b8939", "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e", 2_564_550_879
)

MEDSAM = Card(
    name="medsam",
    entry="vesalius.models.sam:Sam",
    summary="MedSAM: SAM ViT-B fine-tuned on medical images, from one box.",
    options={"encoder": "vit_b", "size": 1024, "preprocess": "medsam"},
    accepts=BOX_PROMPTS,
    dimensions=2,
    orientation="LPS",
    preprocessing="Stretched to a square of 1024 (cubic, anti-aliased, cut to uint8), then its own range to [0, 1].",
    weights=Weights(
        urls=(
            "https://zenodo.org/records/10689643/files/medsam_vit_b.pth",
            # The authors' own place; large files there come without resume, and not always.
            "https://drive.usercontent.google.com/download?id=1UAmWL88roYR7wKlnApw5Bcuzf2iQgk6_&export=download&confirm=t",
        ),
        file="medsam_vit_b.pth",
        sha256="34b34b78c1d18cb8c6bf84cf9c00e135d6d6c965699f3c0e31ef1bc9dcb5be74",
        bytes=375_049_145,
    ),
    licence=replace(APACHE, note="The copy on Zenodo states CC-BY-4.0."),
    paper=MEDSAM_PAPER,
    modalities=MEDICAL_PICTURES,
    tiny={"encoder": "vit_nano", "size": 64},
    trained_on=MEDSAM_DATA,
)

MOBILE_SAM = Card(
    name="mobile-sam",
    entry="vesalius.models.sam:Sam",
    summary="MobileSAM: SAM with a small image encoder distilled from ViT-H.",
    options={"encoder": "tiny_vit", "size": 1024, "preprocess": "sam"},
    accepts=SAM_PROMPTS,
    dimensions=2,
    orientation="LPS",
    preprocessing=SAM_PREPROCESSING.format(size=1024),
    weights=Weights(
        urls=(
            "https://raw.githubusercontent.com/ChaoningZhang/MobileSAM/34bbbfdface3c18e5221aa7de6032d7220c6c6a1/weights/mobile_sam.pt",
            "hf:dhkim2810/MobileSAM/mobile_sam.pt@main",
        ),
        file="mobile_sam.pt",
        sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        bytes=40_728_226,
    ),
    licence=APACHE,
    paper="Zhang et al., Faster Segment Anything, 2023, arXiv:2306.14289",
    modalities=("photograph",),
    unused=CLASSIFIER,
    tiny={"encoder": "tiny_vit_nano", "size": 64},
    trained_on={"SA-1B (1 %)": SA_1B["SA-1B"]},
)

LITE_MEDSAM = Card(
    name="lite-medsam",
    entry="vesalius.models.sam:Sam",
    summary="LiteMedSAM: a small MedSAM that looks at 256 pixels, from one box.",
    options={"encoder": "tiny_vit_lite", "size": 256, "preprocess": "litemedsam"},
    accepts=BOX_PROMPTS,
    dimensions=2,
    orientation="LPS",
    preprocessing="Longest side to 256 (area averages), its own range to [0, 1], then zeros at the bottom and right.",
    weights=Weights(
        urls=(
            "https://drive.usercontent.google.com/download?id=18Zed-TUTsmr2zc5CHUWd5Tu13nb6vq6z&export=download&confirm=t",
            "hf:GleghornLab/medsam-vit-b/lite_medsam.pth@main",
        ),
        file="lite_medsam.pth",
        sha256="79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
    ),
    licence=APACHE,
    paper=MEDSAM_PAPER,
    modalities=MEDICAL_PICTURES,
    tiny={"encoder": "tiny_vit_lite_nano", "size": 64},
    trained_on=MEDSAM_DATA,
)

CARDS = (SAM_VIT_B, SAM_VIT_L, SAM_VIT_H, MEDSAM, MOBILE_SAM, LITE_MEDSAM)
