"""Prompt files of every format, on oblique, flat and unit-less images; schema and reader agree on what is valid."""

from __future__ import annotations

import base64
import json
import os
import pickle
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.errors import FormatError, PromptError
from vesalius.grid import Grid, make_grid
from vesalius.io import write
from vesalius.io.prompt_files import prompt_schema, read_prompts, write_prompts
from vesalius.prompts import Box, Example, Lasso, MaskHint, Named, Point, Prompt, Scribble, Text
from vesalius.volume import Volume

OBLIQUE = make_grid((20, 30, 10), [[0, -0.8, 1.2, 5], [0.5, 0, 0, -9], [0, 0.6, 1.6, 40], [0, 0, 0, 1]])
PICTURE = make_grid((20, 30, 1), np.diag((-1, -1, 1, 1)), calibrated=False)


def saved(tmp_path: Path, prompts: list, space: str = "RAS") -> Path:
    path = tmp_path / "case.json"
    path.write_text(json.dumps({"version": 1, "space": space, "prompts": prompts}))
    return path


def mask(grid: Grid) -> Volume:
    voxels = np.zeros((1, *grid.shape), bool)
    voxels[0, 3:7, 4:9] = True
    return Volume(voxels, grid)


def test_every_kind_is_read_in_mm(tmp_path: Path) -> None:
    write(mask(OBLIQUE), tmp_path / "mask.nii.gz")
    prompts = [
        {"kind": "point", "target": "liver", "positive": False, "at": [1, 2, 3]},
        {"kind": "box", "corner": [0, 0, 0], "opposite": [1, 2, 3]},
        {"kind": "scribble", "points": [[1, 2, 3], [4, 5, 6]], "positive": False},
        {"kind": "lasso", "outline": [[1, 2, 3], [4, 5, 3], [4, 9, 3]]},
        {"kind": "mask", "file": "mask.nii.gz"},
        {"kind": "text", "words": "a cyst"},
        {"kind": "named", "structure": "spleen"},
    ]
    targets, read = zip(*read_prompts(saved(tmp_path, prompts), OBLIQUE), strict=True)
    assert targets == ("liver", "1", "1", "1", "1", "1", "1")
    assert read[0] == Point((1, 2, 3), positive=False)
    assert read[1] == Box((0, 0, 0), (1, 2, 3))
    assert read[2] == Scribble(((1, 2, 3), (4, 5, 6)), positive=False)
    assert read[3] == Lasso(((1, 2, 3), (4, 5, 3), (4, 9, 3)))
    assert isinstance(read[4], MaskHint) and read[4].mask.grid.same_as(OBLIQUE)
    np.testing.assert_array_equal(read[4].mask.voxels > 0.5, mask(OBLIQUE).voxels)
    assert read[5:] == (Text("a cyst"), Named("spleen"))


def test_indices_are_voxel_centres_along_the_grid(tmp_path: Path) -> None:
    prompts = [
        {"kind": "point", "at": [1.5, 2, 3]},
        {"kind": "box", "corner": [1, 2, 3], "opposite": [4, 6, 5]},
        {"kind": "scribble", "points": [[1, 2, 3]]},
    ]
    (_, point), (_, box), (_, line) = read_prompts(saved(tmp_path, prompts, "index"), OBLIQUE)
    assert isinstance(point, Point) and isinstance(box, Box) and isinstance(line, Scribble)
    np.testing.assert_allclose(point.at, OBLIQUE.world((1.5, 2, 3)))
    np.testing.assert_allclose(line.points, OBLIQUE.world([(1, 2, 3)]))
    index = OBLIQUE.index(box.corners())
    np.testing.assert_allclose((index.min(axis=0), index.max(axis=0)), ((1, 2, 3), (4, 6, 5)), atol=1e-9)


def test_a_picture_takes_column_and_row(tmp_path: Path) -> None:
    path = saved(
        tmp_path, [{"kind": "point", "at": [4, 7]}, {"kind": "box", "corner": [1, 2], "opposite": [3, 4]}], "index"
    )
    (_, point), (_, box) = read_prompts(path, PICTURE)
    assert point == Point.from_index(PICTURE, (4, 7, 0))
    assert box == Box.from_index(PICTURE, (1, 2, 0), (3, 4, 0))
    sagittal = make_grid((1, 20, 30), np.eye(4))
    assert read_prompts(saved(tmp_path, [{"kind": "point", "at": [4, 7]}], "index"), sagittal)[0][1] == Point((0, 4, 7))
    with pytest.raises(PromptError, match="give x, y, z"):
        read_prompts(path, OBLIQUE)


def test_millimetres_on_an_image_without_unit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"case.json, prompt 1: .*no physical unit; give voxel indices"):
        read_prompts(saved(tmp_path, [{"kind": "point", "at": [1, 2, 3]}]), PICTURE)
    assert read_prompts(saved(tmp_path, [{"kind": "text", "words": "cell"}]), PICTURE) == [("1", Text("cell"))]


coordinate = st.floats(-500, 500)
position = st.tuples(coordinate, coordinate, coordinate)
spatial = st.one_of(
    st.builds(Point, position, st.booleans()),
    st.builds(Box, position, position, st.booleans()),
    st.builds(lambda a, b: Box.from_index(OBLIQUE, a, b), position, position),
    st.builds(Scribble, st.lists(position, min_size=1, max_size=4).map(tuple), st.booleans()),
    st.builds(Lasso, st.lists(position, min_size=3, max_size=5).map(tuple), st.booleans()),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(["1", "liver"]), spatial), max_size=4))
def test_what_is_written_in_mm_is_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, prompts: list[tuple[str, Prompt]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.json"
    write_prompts(prompts, path, OBLIQUE)
    assert read_prompts(path, OBLIQUE) == prompts


def test_prompts_for_a_picture_are_written_in_indices(tmp_path: Path) -> None:
    prompts = [
        ("cell", Point.from_index(PICTURE, (4.5, 7, 0), positive=False)),
        ("cell", Box.from_index(PICTURE, (1, 2, 0), (3, 4, 0))),
        ("cell", Lasso(((-1, -2, 0), (-3, -4, 0), (-1, -9, 0)))),
        ("cell", Text("a cell")),
    ]
    path = tmp_path / "cell.json"
    write_prompts(prompts, path, PICTURE)
    assert json.loads(path.read_text())["space"] == "index"
    assert read_prompts(path, PICTURE) == prompts
    turned = Box((0, 0, 0), (3, 4, 0), axes=((0.8, 0.6, 0), (-0.6, 0.8, 0), (0, 0, 1)))
    with pytest.raises(PromptError, match="turned box"):
        write_prompts([("cell", turned)], path, PICTURE)


def test_masks_and_examples_are_written_into_the_file(tmp_path: Path) -> None:
    image = Volume(np.arange(6000, dtype=np.int16).reshape(1, *OBLIQUE.shape), OBLIQUE)
    path = tmp_path / "case.json"
    write_prompts([("a", MaskHint(mask(OBLIQUE), positive=False)), ("b", Example(image, mask(OBLIQUE)))], path, OBLIQUE)
    (_, hint), (target, example) = read_prompts(path, OBLIQUE)
    assert isinstance(hint, MaskHint) and isinstance(example, Example) and target == "b"
    assert not hint.positive and hint.mask.grid == OBLIQUE and hint.mask.voxels.dtype == bool
    np.testing.assert_array_equal(hint.mask.voxels, mask(OBLIQUE).voxels)
    np.testing.assert_array_equal(example.image.voxels, image.voxels)


def test_a_file_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="Cannot write"):
        write_prompts([], tmp_path / "no folder" / "case.json", OBLIQUE)


VOXELS = {"affine": np.eye(4).tolist(), "shape": [1, 2, 2, 2], "dtype": "bool"}
VOXELS["zlib"] = base64.b64encode(zlib.compress(b"\xff")).decode()
VALID = [
    ("RAS", {"kind": "point", "at": [1, 2.5, -3]}),
    ("RAS", {"kind": "point", "at": [1, 2, 3], "target": "liver", "positive": False}),
    ("index", {"kind": "point", "at": [1, 2]}),
    ("RAS", {"kind": "box", "corner": [0, 0, 0], "opposite": [1, 1, 1], "positive": False}),
    ("RAS", {"kind": "box", "corner": [0, 0, 0], "opposite": [1, 1, 1], "axes": [[0, 1, 0], [1, 0, 0], [0, 0, 1]]}),
    ("index", {"kind": "box", "corner": [0, 0, 0], "opposite": [1, 1, 0]}),
    ("RAS", {"kind": "scribble", "points": [[0, 0, 0]], "positive": False}),
    ("index", {"kind": "lasso", "outline": [[0, 0], [5, 0], [0, 5]], "positive": True}),
    ("index", {"kind": "mask", "mask": VOXELS, "positive": False}),
    ("RAS", {"kind": "mask", "file": "mask.nii.gz", "target": "b"}),
    ("RAS", {"kind": "text", "words": "a cyst", "target": "cyst"}),
    ("index", {"kind": "named", "structure": "liver"}),
    ("index", {"kind": "example", "image": VOXELS, "mask": "mask.nii.gz"}),
]
INVALID = [
    ("RAS", {"kind": "pont", "at": [1, 2, 3]}, "unknown kind 'pont'; did you mean point"),
    ("RAS", {"at": [1, 2, 3]}, "unknown kind None"),
    ("RAS", "point", "not an object"),
    ("RAS", {"kind": "point"}, "point needs at"),
    ("RAS", {"kind": "box", "corner": [1, 2, 3]}, "box needs opposite"),
    ("RAS", {"kind": "point", "at": [1, 2, 3], "postive": False}, "no field 'postive'; did you mean positive"),
    ("RAS", {"kind": "text", "words": "x", "positive": True}, "no field 'positive'"),
    ("RAS", {"kind": "point", "at": [1, 2]}, "give x, y, z"),
    ("index", {"kind": "point", "at": [1]}, "give x, y, z"),
    ("RAS", {"kind": "point", "at": [1, 2, 3, 4]}, "give x, y, z"),
    ("RAS", {"kind": "point", "at": [1, 2, "3"]}, "not a list of numbers"),
    ("RAS", {"kind": "point", "at": [1, 2, True]}, "not a list of numbers"),
    ("RAS", {"kind": "point", "at": {"x": 1}}, "not a list of numbers"),
    ("RAS", {"kind": "point", "at": [1, 2, 3], "positive": "no"}, "write true or false"),
    ("RAS", {"kind": "point", "at": [1, 2, 3], "target": 1}, "target is 1; write a text"),
    ("RAS", {"kind": "point", "at": [1, 2, 3], "target": ""}, "target is ''; write a text"),
    ("RAS", {"kind": "scribble", "points": []}, "at least 1 position"),
    ("RAS", {"kind": "lasso", "outline": [[0, 0, 0], [1, 1, 1]]}, "at least 3 positions"),
    ("RAS", {"kind": "scribble", "points": [[0, 0]]}, "give x, y, z"),
    ("index", {"kind": "box", "corner": [0, 0, 0], "opposite": [1, 1, 1], "axes": np.eye(3).tolist()}, "space RAS"),
    ("RAS", {"kind": "box", "corner": [0, 0, 0], "opposite": [1, 1, 1], "axes": [[1, 0, 0]]}, "three directions"),
    ("RAS", {"kind": "mask"}, "either `file` or `mask`"),
    ("RAS", {"kind": "mask", "file": "mask.nii.gz", "mask": VOXELS}, "either `file` or `mask`"),
    ("RAS", {"kind": "mask", "mask": {"shape": [1, 2, 2, 2]}}, "cannot be unpacked"),
    ("RAS", {"kind": "mask", "mask": 5}, "neither a file nor voxels"),
    ("RAS", {"kind": "named", "structure": ["liver"]}, "write a text"),
    ("RAS", {"kind": "example", "image": "mask.nii.gz"}, "example needs mask"),
]


@pytest.mark.parametrize(("space", "prompt"), VALID)
def test_schema_and_reader_accept(tmp_path: Path, space: str, prompt: dict) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    flat = make_grid((20, 30, 1), np.eye(4))
    write(mask(flat), tmp_path / "mask.nii.gz")
    path = saved(tmp_path, [prompt], space)
    jsonschema.validate(json.loads(path.read_text()), prompt_schema())
    assert len(read_prompts(path, flat)) == 1


@pytest.mark.parametrize(("space", "prompt", "message"), INVALID)
def test_schema_and_reader_refuse(tmp_path: Path, space: str, prompt: object, message: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    write(mask(OBLIQUE), tmp_path / "mask.nii.gz")
    path = saved(tmp_path, [{"kind": "text", "words": "fine"}, prompt], space)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(path.read_text()), prompt_schema())
    with pytest.raises(PromptError, match=f"case.json, prompt 2: .*({message})"):
        read_prompts(path, OBLIQUE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "has version 2; this vesalius reads version 1"),
        ({"space": "LPS"}, "space 'LPS'; write \"RAS\""),
        ({"space": None}, "space None"),
        ({"prompts": {}}, "no list of prompts"),
        ({"promts": []}, "unknown field 'promts'"),
    ],
)
def test_schema_and_reader_refuse_the_frame(tmp_path: Path, changes: dict, message: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    path = tmp_path / "case.json"
    path.write_text(json.dumps({"version": 1, "space": "RAS", "prompts": []} | changes))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(path.read_text()), prompt_schema())
    with pytest.raises((FormatError, PromptError), match=message):
        read_prompts(path, OBLIQUE)


def test_the_schema_is_itself_valid_and_fits_what_is_written(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(prompt_schema())
    prompts: list[tuple[str, Prompt]] = [
        ("a", Box.from_index(OBLIQUE, (1, 2, 3), (4, 5, 6))),
        ("a", MaskHint(mask(OBLIQUE))),
        ("b", Named("liver")),
    ]
    for grid in (OBLIQUE, PICTURE):
        flat = [("a", Point((0, 0, 0))), ("a", Box((0, 0, 0), (1, 1, 0)))]
        write_prompts(prompts if grid.calibrated else flat, tmp_path / "case.json", grid)
        jsonschema.validate(json.loads((tmp_path / "case.json").read_text()), prompt_schema())


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, number: str) -> None:
    path = saved(tmp_path, [{"kind": "point", "at": [1, 2, 99999]}])
    path.write_text(path.read_text().replace("99999", number))
    with pytest.raises(PromptError, match=r"prompt 1: .*not finite"):
        read_prompts(path, OBLIQUE)


def test_files_of_no_format_are_refused(tmp_path: Path) -> None:
    for name, content, message in (
        ("case.json", "{not json", "is not JSON"),
        ("case.json", "[]", "no list of prompts"),
        ("case.txt", "", "no prompt file"),
        ("case.npz", "text", "no prompts as the challenges write them"),
        ("case.json", '{"markups": [{"type": "ROI"}]}', "not a markups file"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(FormatError, match=message):
            read_prompts(tmp_path / name, OBLIQUE)
    with pytest.raises(FormatError, match="There is no prompt file"):
        read_prompts(tmp_path / "missing.json", OBLIQUE)


def table(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "case.csv"
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    return path


def test_a_table_gives_the_same_prompts(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "kind,target,positive,x,y,z,x2,y2,z2,id,words,structure",
        "point,liver,true,1,2,3",
        "point,liver,no,4,5,6",
        "box,,,0,0,0,1,2,3",
        "scribble,liver,,1,1,1,,,,a",
        "scribble,liver,,9,9,9,,,,b",
        "scribble,liver,,2,2,2,,,,a",
        "lasso,,0,0,0,0",
        "lasso,,0,1,0,0",
        "lasso,,0,1,1,0",
        "text,cyst,,,,,,,,,a dark cyst",
        "named,,,,,,,,,,,spleen",
    )
    assert read_prompts(path, OBLIQUE) == [
        ("liver", Point((1, 2, 3))),
        ("liver", Point((4, 5, 6), positive=False)),
        ("1", Box((0, 0, 0), (1, 2, 3))),
        ("liver", Scribble(((1, 1, 1), (2, 2, 2)))),
        ("liver", Scribble(((9, 9, 9),))),
        ("1", Lasso(((0, 0, 0), (1, 0, 0), (1, 1, 0)), positive=False)),
        ("cyst", Text("a dark cyst")),
        ("1", Named("spleen")),
    ]


def test_a_table_may_speak_in_indices(tmp_path: Path) -> None:
    path = table(tmp_path, "kind,space,x,y,z", "point,index,4,7,")
    assert read_prompts(path, PICTURE) == [("1", Point.from_index(PICTURE, (4, 7, 0)))]
    path = table(tmp_path, "kind,space,x,y,z", "point,index,4,7,2")
    np.testing.assert_allclose(read_prompts(path, OBLIQUE)[0][1].at, OBLIQUE.world((4, 7, 2)))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["kind,x,y,depth", "point,1,2,3"], "wrong or missing column 'depth'"),
        (["x,y,z", "1,2,3"], "wrong or missing column 'kind'"),
        (["kind,x,y,z", "point,1,2,3", "point,1,2,three"], "line 3: .*'three'"),
        (["kind,x,y,z", "point,1,,3"], "line 2: y is empty"),
        (["kind,x,y,z", "point,1,2,3,4"], "line 2: it has more cells"),
        (["kind,positive,x,y,z", "point,maybe,1,2,3"], "line 2: positive is 'maybe'"),
        (["kind,x,y,z", "dot,1,2,3"], "line 2: unknown kind 'dot'"),
        (["kind,x,y,z", "point,1,2,nan"], "line 2: .*not finite"),
        (["kind,space,x,y,z", "point,LPS,1,2,3"], "line 2: its space is 'LPS'"),
        (["kind,x,y,z", "mask,,,"], "line 2: a mask needs"),
    ],
)
def test_a_wrong_table_names_the_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises((FormatError, PromptError), match=f"case.csv.*{message}"):
        read_prompts(table(tmp_path, *lines), OBLIQUE)


def markups(tmp_path: Path, *entries: dict, name: str = "F.mrk.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps({"@schema": "markups-schema-v1.0.3.json#", "markups": list(entries)}))
    return path


def fiducials(*points: dict, **others: object) -> dict:
    return {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": list(points)} | others


def test_slicer_points_turn_from_lps_and_name_their_target(tmp_path: Path) -> None:
    at = {"position": [1.0, 2.0, 3.0]}
    path = markups(
        tmp_path,
        fiducials(at | {"label": "F-1"}, at | {"label": "F-2", "positionStatus": "undefined"}, coordinateUnits="mm"),
        fiducials(at | {"label": "liver-1"}, at | {"label": "liver-2", "description": "left lobe"}),
        fiducials(at | {"label": "negative liver-1"}, at | {"label": "spleen--3"}),
        fiducials(at | {"label": ""}, name="liver_negative", coordinateSystem="RAS"),
    )
    assert read_prompts(path, OBLIQUE) == [
        ("1", Point((-1, -2, 3))),
        ("liver", Point((-1, -2, 3))),
        ("left lobe", Point((-1, -2, 3))),
        ("liver", Point((-1, -2, 3), positive=False)),
        ("spleen", Point((-1, -2, 3), positive=False)),
        ("liver", Point((1, 2, 3), positive=False)),
    ]
    unnamed = markups(tmp_path, fiducials(at), name="lesion_2.mrk.json")
    assert read_prompts(unnamed, OBLIQUE)[0][0] == "lesion_2"


def test_slicer_curves_are_scribbles_and_lassos(tmp_path: Path) -> None:
    points = [{"label": f"x-{n}", "position": [n, 2 * n, n * n]} for n in range(3)]
    places = ((0, 0, 0), (-1, -2, 1), (-2, -4, 4))
    shapes = [{"type": kind, "name": "vessel-", "controlPoints": points} for kind in ("Curve", "Line", "ClosedCurve")]
    assert read_prompts(markups(tmp_path, *shapes), OBLIQUE) == [
        ("vessel", Scribble(places, positive=False)),
        ("vessel", Scribble(places, positive=False)),
        ("vessel", Lasso(places, positive=False)),
    ]


def test_a_slicer_region_keeps_its_orientation(tmp_path: Path) -> None:
    axes = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])  # columns, in LPS
    centre, size = np.array([10.0, 20, 30]), np.array([4.0, 6, 8])
    region = {"type": "ROI", "center": centre.tolist(), "size": size.tolist(), "orientation": axes.ravel().tolist()}
    target, box = read_prompts(markups(tmp_path, region, name="kidney.mrk.json"), OBLIQUE)[0]
    assert target == "kidney" and isinstance(box, Box)
    halves = np.array([(i, j, k) for i in (-2, 2) for j in (-3, 3) for k in (-4, 4)])
    expected = (centre + halves @ axes.T) * (-1, -1, 1)
    np.testing.assert_allclose(box.corners(), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"type": "Angle", "controlPoints": []}, "markup 1: Angle is no prompt"),
        (fiducials(coordinateUnits="um"), "markup 1: its unit is um"),
        ({"type": "Curve", "controlPoints": []}, "markup 1: .*at least 1 position"),
    ],
)
def test_slicer_markups_that_are_no_prompts_are_named(tmp_path: Path, entry: dict, message: str) -> None:
    with pytest.raises(PromptError, match=f"F.mrk.json, {message}"):
        read_prompts(markups(tmp_path, entry), OBLIQUE)


def test_boxes_of_the_2024_challenge(tmp_path: Path) -> None:
    path = tmp_path / "3DBox_CT_0001.npz"
    np.savez_compressed(
        path, imgs=np.zeros((10, 30, 20), np.uint8), boxes=np.array([[1, 2, 3, 4, 5, 6], [0, 0, 0, 9, 9, 9]])
    )
    assert read_prompts(path, OBLIQUE) == [
        (
            "1",
            Box.from_index(OBLIQUE, OBLIQUE.index(OBLIQUE.world((1, 2, 3))), OBLIQUE.index(OBLIQUE.world((4, 5, 6)))),
        ),
        (
            "2",
            Box.from_index(OBLIQUE, OBLIQUE.index(OBLIQUE.world((0, 0, 0))), OBLIQUE.index(OBLIQUE.world((9, 9, 9)))),
        ),
    ]
    np.savez_compressed(path, boxes=np.array([[1, 2, 5, 6]]))
    assert read_prompts(path, PICTURE) == [("1", Box.from_index(PICTURE, (1, 2, 0), (5, 6, 0)))]


def test_prompts_of_the_2025_challenge_come_target_by_target_in_the_order_they_were_made(tmp_path: Path) -> None:
    grid = make_grid((20, 30, 10), np.eye(4))
    ends = {"z_min": 1, "z_max": 5, "z_mid": 3, "z_mid_x_min": 7, "z_mid_y_min": 8, "z_mid_x_max": 9, "z_mid_y_max": 11}
    box = {name: np.int64(value) for name, value in ends.items()}
    clicks = [{"fg": [[3, 2, 1], [np.int64(6), 5, 4]], "bg": [[9, 8, 7]]}, {"fg": [[0, 0, 1]], "bg": []}]
    order = [["fg", "bg", "fg"], ["fg", None, None]]
    texts = {"2": "the spleen", "instance_label": 0}
    path = tmp_path / "case.npz"
    np.savez_compressed(path, boxes=[box], clicks=clicks, clicks_order=order, text_prompts=texts)
    assert read_prompts(path, grid) == [
        ("1", Box((7, 8, 1), (9, 11, 5))),
        ("1", Point((1, 2, 3))),
        ("1", Point((7, 8, 9), positive=False)),
        ("1", Point((4, 5, 6))),
        ("2", Point((1, 0, 0))),
        ("2", Text("the spleen")),
    ]


def test_an_npz_cannot_run_code(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "attacked"),)

    path = tmp_path / "case.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("boxes.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (1,)})
        file.write(pickle.dumps(Attack()))
    with pytest.raises(FormatError, match="no plain data"):
        read_prompts(path, OBLIQUE)
    assert not (tmp_path / "attacked").exists()


def test_an_npz_without_prompts_or_with_half_of_them_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "case.npz"
    np.savez(path, imgs=np.zeros((2, 3, 4)))
    with pytest.raises(FormatError, match="needs one of the arrays boxes, clicks"):
        read_prompts(path, OBLIQUE)
    np.savez(path, clicks=[{"fg": [], "bg": []}], clicks_order=[["fg"]])
    with pytest.raises(FormatError, match="as the challenges write them"):
        read_prompts(path, OBLIQUE)
