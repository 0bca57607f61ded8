"""How good a segmentation is: numbers that can be believed, because it is written down how each is made.

    from vesalius.evaluate.score import Policy, score_case
    rows = score_case(vs.read_segmentation("mask.nii.gz"), vs.read_segmentation("truth.nii.gz"))

| file | what |
|---|---|
| `score` | all metrics of all structures of a case, and what is said where one is missing |
| `metrics` | the metrics by their names |
| `overlap`, `surfaces` (with `surfels`), `instances` | two masks on one grid: voxels, surfaces, objects |
| `calibration`, `raters`, `equity` | probabilities; several raters; groups of patients |
| `protocols/` (with `trial`, `clicks`, `corruptions`) | what is said to a model about a case, and its answers |
| `cases`, `exam`; `pairs` | a model on data sets; masks against references |
| `run`, `table`, `statistics`, `summary` | the work, case by case; its records; how sure they are; what they say |
| `page` (with `plots`, `pictures`), `files` | the report |

`docs/metrics.md` has the definitions, `docs/evaluate.md` the protocols.
"""
