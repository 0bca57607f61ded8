"""CT-ORG: `volume-N.nii.gz` and `labels-N.nii.gz` (TCIA), in one folder or in `volumes/` and `labels/`.

The provider's readme makes scans 0 to 20 the test split. 131 of the 140 scans are those of LiTS: never train on one and
test on the other.
"""

from __future__ import annotations

from pathlib import Path

from vesalius.data.case import Case, Dataset
from vesalius.data.layout import Layout, number, search, stem

LAST_TEST = 20


def open_ct_org(folder: Path) -> Dataset:
    """`volume-N.nii.gz` with `labels-N.nii.gz`, wherever in the folder each is."""
    labels = {stem(path).split("-")[1]: path for path in search(folder, "labels-*.nii.gz")}
    cases = []
    for image in search(folder, "volume-*.nii.gz"):
        n = stem(image).split("-")[1]
        label = labels.get(n, image.with_name(f"labels-{n}.nii.gz"))
        split = "test" if int(n) <= LAST_TEST else "train"
        cases.append(Case(stem(image), image, label, tuple(LAYOUT.labels), split, stem(image)))
    return LAYOUT.dataset(cases)


LAYOUT = Layout(
    name="ct-org",
    title="CT-ORG",
    modality="CT",
    annotated="liver, bladder, lungs, kidneys, bones, and brain if in view; lungs and bones by rules in training scans",
    groups="scan",
    licence="CC BY 3.0",
    homepage="https://www.cancerimagingarchive.net/collection/ct-org/",
    signature=("volume-*.nii.gz", "labels-*.nii.gz"),
    open=open_ct_org,
    labels=number("liver", "bladder", "lungs", "kidneys", "bones", "brain"),
)
