"""Markups of 3D Slicer (.mrk.json) as prompts: points, regions of interest, curves and closed curves.

Slicer has no word for target or for "not here", so both are read from names. A point's target is its description, else
its label without Slicer's number ("liver-2" is "liver"), else the name of its list; Slicer's own names ("F", "R_1") say
nothing and give target "1". A point or shape is negative where one of these names contains "negative" or ends in "-".
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import PromptError

OWN_NAME = re.compile(r"(F|R|L|OC|CC|Markups\w*)(_\d+)?")


def markups_to_records(content: dict, file_name: str) -> list[tuple[str, dict]]:
    """Where each prompt stands in the file, and its JSON record in RAS+ mm; points without a position are left out.

    A curve is taken through its control points, without the smoothing that Slicer draws. Raises PromptError for
    another kind of markup or unit, KeyError, TypeError or ValueError where this is no file of Slicer.
    """
    records = []
    for n, markup in enumerate(content["markups"], start=1):
        name = markup.get("name") or file_name
        units = markup.get("coordinateUnits", "mm")
        if "mm" not in (units, units[0]):
            raise PromptError(f"markup {n}: its unit is {units}; save it in mm.")
        to_ras = np.diag((1.0, 1.0, 1.0) if markup.get("coordinateSystem") == "RAS" else (-1.0, -1.0, 1.0))
        points = [p for p in markup.get("controlPoints", []) if p.get("positionStatus", "defined") == "defined"]
        places = [(to_ras @ np.array(point["position"], dtype=float)).tolist() for point in points]
        if markup["type"] == "Fiducial":
            for m, (point, at) in enumerate(zip(points, places, strict=True), start=1):
                said = _meaning(point.get("description", ""), point.get("label", ""), name)
                records.append((f"markup {n}, point {m}", {"kind": "point", **said, "at": at}))
            continue
        shape: dict[str, object]
        match markup["type"]:
            case "ROI":
                shape = {"kind": "box", **_box(markup, to_ras)}
            case "ClosedCurve":
                shape = {"kind": "lasso", "outline": places}
            case "Curve" | "Line":
                shape = {"kind": "scribble", "points": places}
            case other:
                raise PromptError(f"markup {n}: {other} is no prompt; use points, a ROI, a line or a (closed) curve.")
        records.append((f"markup {n}", {**shape, **_meaning(name)}))
    return records


def _box(markup: dict, to_ras: NDArray[np.float64]) -> dict[str, object]:
    """A region of interest, whose orientation has the directions of its three edges as columns."""
    axes = to_ras @ np.array(markup.get("orientation", np.eye(3)), dtype=float).reshape(3, 3)
    centre = to_ras @ np.array(markup["center"], dtype=float)
    half = axes @ (np.array(markup["size"], dtype=float) / 2)
    return {"corner": (centre - half).tolist(), "opposite": (centre + half).tolist(), "axes": axes.T.tolist()}


def _meaning(*names: str) -> dict[str, object]:
    """Target and sign from names, the most telling first."""
    target, positive = "", True
    for name in names:
        word = re.sub(r"-\d+$", "", name.strip())
        positive = positive and not ("negative" in word.lower() or word.endswith("-"))
        word = re.sub("negative|positive", "", word, flags=re.IGNORECASE).strip(" _+-")
        if not OWN_NAME.fullmatch(word):
            target = target or word
    return {"target": target or "1", "positive": positive}
