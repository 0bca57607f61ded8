import vesalius as vs
from vesalius.evaluate.protocols import clicks
from vesalius.evaluate.score import score_case
from vesalius.evaluate.trial import Trial

image = vs.read("ct.nii.gz")
bright = (image.voxels > 125).astype("uint8")
truth = vs.Segmentation(bright, image.grid, vs.LabelSpace.of(["ball"]), {"ball": (0, 1)}, frozenset({"ball"}))

for answer in clicks.run(vs.load("vesalius-s"), Trial("ct", image, truth)):
    for row in score_case(answer.prediction, answer.reference, ("dice", "nsd@2")):
        print(answer.setting, row.structure, row.metric, round(row.value, 3), row.status)
