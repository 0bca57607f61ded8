"""A folder of images and labels in pairs, made here, opened and read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import vesalius as vs
from vesalius.data.reading import read_image, read_labels
from vesalius.data.registry import open_dataset

image = vs.read("ct.nii.gz")
for folder in ("balls/images", "balls/labels"):
    Path(folder).mkdir(parents=True, exist_ok=True)
vs.write(image, "balls/images/first.nii.gz")
vs.write(vs.Volume((image.voxels > 150).astype(np.uint8), image.grid), "balls/labels/first.nii.gz")
Path("balls/labels.json").write_text(json.dumps({"background": 0, "ball": 1}))

dataset = open_dataset("balls")
for case in dataset.split("train"):
    image, labels = read_image(dataset, case), read_labels(dataset, case)
    print(case.id, case.group, case.annotated, image, labels.mask("ball").sum(), "voxels")
