"""The default model, whose weights lie in the package."""

from __future__ import annotations

from vesalius.card import Card, Licence, Weights
from vesalius.zoo.sam import SAM_PREPROCESSING, SAM_PROMPTS

VESALIUS_S = Card(
    name="vesalius-s",
    entry="vesalius.models.vesalius_s:VesaliusS",
    summary="Ours, inside the package: any structure in any image from clicks, boxes, scribbles, lassos or masks.",
    options={"encoder": "tiny_vit", "size": 256},
    accepts=SAM_PROMPTS,
    dimensions=2,
    orientation="LPS",
    preprocessing="The picture, or the part around a small target: " + SAM_PREPROCESSING.format(size=256),
    weights=Weights(
        urls=("package:weights/vesalius-s.safetensors",),
        file="vesalius-s.safetensors",
        sha256="067dd2beb37084385334583befa1bcb9266818d0ad03e8f414af77d5c40ea4df",
        bytes=21_519_202,
    ),
    licence=Licence(
        code="Apache-2.0",
        weights="Apache-2.0",
        commercial=True,
        note="Fine-tuned from MobileSAM (Apache-2.0); three of the data sets that it was trained on (msd_hippocampus,"
        " msd_lung_tumor_slices, msd_spleen_slices) are CC-BY-SA-4.0.",
    ),
    paper="Zhang et al., Faster Segment Anything, 2023, arXiv:2306.14289",
    modalities=("CT", "MR", "PET", "US", "endoscopy", "fundus", "histology", "fluorescence", "brightfield"),
    tiny={"encoder": "tiny_vit_nano", "size": 64},
    trained_on={
        "breast_lesions_usg": "CC-BY-4.0",
        "brisc_brain_tumor": "CC-BY-4.0",
        "bus_bra": "CC-BY-4.0",
        "busi_breast_us": "CC-BY-4.0",
        "cit168_hippocampus": "MIT (package); CIT168 template CC-BY-4.0",
        "dsb2018_nuclei": "CC0-1.0",
        "edd2020_endoscopy": "CC-BY-4.0",
        "endotect_polyp": "CC-BY-4.0",
        "fives_vessels": "CC-BY-4.0",
        "hc18_fetal_head": "CC-BY-4.0",
        "imagechd_ct": "Apache-2.0",
        "kidney_t2_mr": "CC-BY-4.0",
        "mni152_tissue": "BSD-3-Clause (package); MNI ICBM152 permissive licence",
        "ms_flair_lesions": "CC-BY-4.0",
        "msd_hippocampus": "CC-BY-SA-4.0",
        "msd_lung_tumor_slices": "CC-BY-SA-4.0",
        "msd_spleen_slices": "CC-BY-SA-4.0",
        "muscle_us_aponeurosis": "Apache-2.0",
        "muscle_us_fascicle": "Apache-2.0",
        "neuroblastoma_nuclei": "CC0-1.0",
        "pddca_mandible": "LicenseRef-public-domain",
        "rings_prostate_glands": "CC-BY-4.0",
        "rop_ridge": "CC-BY-4.0",
        "soft_tissue_sarcoma": "CC-BY-3.0",
        "stardist_nuclei2d": "BSD-3-Clause",
        "sunnybrook_cmr": "CC0-1.0",
        "totalsegmentator_ct": "Apache-2.0",
        "totalsegmentator_mr": "Apache-2.0",
    },
)

CARDS = (VESALIUS_S,)
