import numpy as np

import vesalius as vs
from vesalius.evaluate.score import Policy, score_case

image = vs.read("ct.nii.gz")
for name, grey in (("truth", 130), ("mask", 190)):
    layers = (image.voxels > grey).astype(np.uint8)
    found = vs.Segmentation(layers, image.grid, vs.LabelSpace.of(["ball"]), {"ball": (0, 1)}, frozenset({"ball"}))
    vs.write(found, f"{name}.nii.gz")

prediction, reference = vs.read_segmentation("mask.nii.gz"), vs.read_segmentation("truth.nii.gz")
rows = score_case(prediction, reference, ("dice", "nsd@2", "hd95"), Policy(both_empty="perfect"), case="ct")
for row in rows:
    print(row.structure, row.metric, row.value, row.unit, row.status)  # ball dice 0.9... 1 scored
