"""Slicer's segmentations: its own files read right, ours read right by others, and nothing lost on a round trip."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vesalius import io
from vesalius.errors import FormatError
from vesalius.grid import make_grid
from vesalius.labels import LabelSpace, Structure
from vesalius.segmentation import Segmentation

LUNG = "DICOM master list~SCT^123037004^Anatomical Structure~SCT^39607008^Lung~SCT^7771000^Left~~^^~^^"
GRID = make_grid((5, 4, 3), [[0.8, 0.1, 0, -20], [0, 0.9, 0.3, 30], [0, 0, 2, 7], [0, 0, 0, 1]])
HEADER = """NRRD0004
type: unsigned char
dimension: 4
space: left-posterior-superior
sizes: 2 3 2 1
space directions: none (1,0,0) (0,1,0) (0,0,2)
kinds: list domain domain domain
encoding: raw
space origin: (10,20,30)
Segment0_Color:=1 0.5 0
Segment0_Extent:=0 1 0 1 0 0
Segment0_ID:=Segment_1
Segment0_LabelValue:=4
Segment0_Layer:=1
Segment0_Name:=lung
Segment0_Tags:=Segmentation.Status:inprogress|TerminologyEntry:the code|Mine:a\\\\b|
Segment1_Color:=0 0 0.1
Segment1_ID:=Segment_2
Segment1_LabelValue:=9
Segment1_Layer:=0
Segment1_Name:=lung
Segmentation_ContainedRepresentationNames:=Binary labelmap|Closed surface|
Segmentation_MasterRepresentation:=Binary labelmap
Segmentation_ReferenceImageExtentOffset:=3 4 5

"""
VOXELS = np.array([[0, 4], [9, 4], [9, 0], [0, 0], [0, 0], [9, 4]], np.uint8)  # (y, x) by layer


def saved(path: Path, header: str = HEADER, voxels: np.ndarray = VOXELS) -> Path:
    path.write_bytes(header.encode() + voxels.tobytes())
    return path


def two_layers() -> Segmentation:
    layers = np.zeros((2, *GRID.shape), np.uint8)
    layers[0, :2], layers[0, 3:], layers[1, 1:4] = 1, 2, 1
    labels = LabelSpace((Structure("left lung", code=LUNG, colour=(0.25, 0.5, 1)), Structure("Öhr"), Structure("a|b")))
    places = {"left lung": (0, 1), "Öhr": (0, 2), "a|b": (1, 1)}
    return Segmentation(layers, GRID, labels, places, frozenset(places))


def test_names_values_layers_colours_and_codes_are_read(tmp_path: Path) -> None:
    found = io.read_segmentation(saved(tmp_path / "mask.seg.nrrd"))
    assert found.labels.names == ("lung", "lung (2)")
    assert found.places == {"lung": (1, 4), "lung (2)": (0, 9)}
    assert found.labels.structures[0] == Structure("lung", code="the code", colour=(1, 0.5, 0))
    assert found.annotated == {"lung", "lung (2)"}
    np.testing.assert_array_equal(found.mask("lung")[..., 0].T, [[True, True, False], [False, False, True]])
    np.testing.assert_array_equal(found.mask("lung (2)")[..., 0].T, [[False, True, True], [False, False, True]])
    np.testing.assert_allclose(found.grid.world((2, 1, 0)), (-12, -21, 30))


def test_what_slicer_wrote_comes_back(tmp_path: Path) -> None:
    found = io.read_segmentation(saved(tmp_path / "mask.seg.nrrd"))
    io.write(found, tmp_path / "again.seg.nrrd")
    again = io.read_segmentation(tmp_path / "again.seg.nrrd")
    assert (again.labels, again.places) == (found.labels, found.places)
    np.testing.assert_array_equal(again.layers, found.layers)
    text = (tmp_path / "again.seg.nrrd").read_bytes().split(b"\n\n")[0].decode()
    assert "Segmentation_ContainedRepresentationNames:=Binary labelmap|Closed surface|" in text
    assert "Segmentation_ReferenceImageExtentOffset:=3 4 5" in text
    assert "Segment0_Tags:=Segmentation.Status:inprogress|TerminologyEntry:the code|Mine:a\\\\b|" in text
    assert "Segment0_ID:=Segment_1" in text
    assert "Segment1_Name:=lung\n" in text
    assert "Segment0_Extent:=0 2 0 1 0 0" in text  # Slicer cuts away what lies outside


def test_layers_of_ours_are_kept(tmp_path: Path) -> None:
    found = two_layers()
    io.write(found, tmp_path / "mask.seg.nrrd")
    back = io.read_segmentation(tmp_path / "mask.seg.nrrd")
    assert back.labels.names == found.labels.names
    assert back.labels.structures[0] == found.labels.structures[0]
    assert len({structure.colour for structure in back.labels.structures}) == 3
    assert back.places == found.places
    assert back.grid.same_as(GRID, 1e-6)
    np.testing.assert_array_equal(back.layers, found.layers)


def test_one_layer_is_three_dimensional_and_16_bit_labels_stay(tmp_path: Path) -> None:
    layers = np.full((1, *GRID.shape), 700, np.uint16)
    io.write(Segmentation(layers, GRID, LabelSpace.of(["a"]), {"a": (0, 700)}), tmp_path / "mask.seg.nrrd")
    assert b"dimension: 3" in (tmp_path / "mask.seg.nrrd").read_bytes()
    back = io.read_segmentation(tmp_path / "mask.seg.nrrd")
    assert back.layers.dtype == np.uint16 and back.mask("a").all()


def test_segments_without_layers_are_one_each(tmp_path: Path) -> None:
    """As Slicer wrote them before it had layers."""
    lines = [line for line in HEADER.rstrip().splitlines() if "Layer" not in line and "LabelValue" not in line]
    found = io.read_segmentation(
        saved(tmp_path / "mask.seg.nrrd", "\n".join(lines) + "\n\n", (VOXELS > 0) * np.uint8(1))
    )
    assert found.places == {"lung": (0, 1), "lung (2)": (1, 1)}


def test_a_plain_label_image_has_numbers_for_names(tmp_path: Path) -> None:
    lines = [line for line in HEADER.rstrip().splitlines() if not line.startswith("Segment")]
    header = "\n".join(lines).replace("sizes: 2", "sizes: 1") + "\n\n"
    assert io.read_segmentation(saved(tmp_path / "mask.nrrd", header, VOXELS[:, 0].copy())).labels.names == ("9",)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("MasterRepresentation:=Binary", "MasterRepresentation:=Fractional", "fractional"),
        ("Segment0_Layer:=1", "Segment0_Layer:=2", "lacks layer 2"),
        ("Segment0_Layer:=1", "Segment0_Layer:=-1", "lacks layer -1"),
        ("Segment0_LabelValue:=4", "Segment0_LabelValue:=four", "'lung' badly"),
        ("Segment0_Color:=1 0.5 0", "Segment0_Color:=1 red 0", "'lung' badly"),
        ("sizes: 2 3 2 1", "sizes: 2 3 2 9", "cut short"),
    ],
)
def test_what_cannot_be_read_says_so(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(FormatError, match=rf"mask\.seg\.nrrd.*{says}"):
        io.read_segmentation(saved(tmp_path / "mask.seg.nrrd", HEADER.replace(old, new)))


def test_pynrrd_and_slicerio_read_what_we_write(tmp_path: Path) -> None:
    slicerio = pytest.importorskip("slicerio")
    path = tmp_path / "mask.seg.nrrd"
    found = two_layers()
    io.write(found, path)
    theirs = slicerio.read_segmentation(str(path))
    assert [segment["name"] for segment in theirs["segments"]] == ["left lung", "hr", "a|b"]  # pynrrd is ASCII only
    assert [(s["layer"], s["labelValue"]) for s in theirs["segments"]] == list(found.places.values())
    np.testing.assert_array_equal(theirs["voxels"], found.layers)
    np.testing.assert_allclose(theirs["ijkToLPS"], np.diag([-1, -1, 1, 1]) @ GRID.matrix, atol=1e-9)


@pytest.mark.parametrize("name", ["Segmentation.seg.nrrd", "SegmentationOverlapping.seg.nrrd"])
def test_files_of_slicer_are_read_as_slicerio_does(tmp_path: Path, name: str) -> None:
    slicerio = pytest.importorskip("slicerio")
    path = Path(slicerio.__file__).parent / "data" / name
    theirs, found = slicerio.read_segmentation(str(path)), io.read_segmentation(path)
    voxels = theirs["voxels"] if theirs["voxels"].ndim == 4 else theirs["voxels"][None]
    assert found.labels.names == tuple(segment["name"] for segment in theirs["segments"])
    for segment, structure in zip(theirs["segments"], found.labels.structures, strict=True):
        layer = voxels[segment["layer"]]
        np.testing.assert_array_equal(found.mask(structure.name), layer == segment["labelValue"])
        assert structure.colour == tuple(segment["color"])
        assert slicerio.segmentation.terminology_entry_from_string(structure.code) == segment["terminology"]
    np.testing.assert_allclose(found.grid.matrix, np.diag([-1, -1, 1, 1]) @ theirs["ijkToLPS"])
    io.write(found, tmp_path / name)
    again = slicerio.read_segmentation(str(tmp_path / name))
    np.testing.assert_array_equal(again.pop("voxels"), theirs.pop("voxels"))
    np.testing.assert_array_equal(again.pop("ijkToLPS"), theirs.pop("ijkToLPS"))
    for segment in (*again["segments"], *theirs["segments"]):
        segment.pop("extent")  # ours is the whole image's
    assert json.dumps(again, sort_keys=True) == json.dumps(theirs, sort_keys=True)
