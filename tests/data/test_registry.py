"""The table of layouts, and that the documents repeat it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import layout_trees as trees
from vesalius.data.layout import guess_modality, natural
from vesalius.data.registry import LAYOUTS, find_layout, open_dataset
from vesalius.errors import FormatError

PAGE = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8")


def test_names_are_distinct_and_rows_are_complete() -> None:
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS)
    for layout in LAYOUTS:
        assert all((layout.title, layout.modality, layout.annotated, layout.groups, layout.licence, layout.signature))
        assert len(set(layout.labels.values())) == len(layout.labels) and 0 not in layout.labels.values()


def test_the_page_repeats_the_table() -> None:
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| `[\w-]+` \| ", line)]
    for layout, row in zip(LAYOUTS, rows, strict=True):
        name, title, *facts, signature = row
        assert name == f"`{layout.name}`" and layout.title in title and layout.homepage in title
        assert facts == [layout.modality, layout.annotated, layout.groups, layout.licence]
        assert all(f"`{pattern}`" in signature for pattern in layout.signature)


def test_a_wrong_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(FormatError, match="name the layout"):
        open_dataset(tmp_path)
    assert find_layout("BTCV").name == "btcv"


def test_a_layout_that_the_folder_has_not_says_so(tmp_path: Path) -> None:
    trees.msd(tmp_path)
    with pytest.raises(FormatError, match="not laid out as nnU-Net raw data"):
        open_dataset(tmp_path, "nnunet")


def test_modality_is_told_by_the_channels() -> None:
    assert [guess_modality(names) for names in (["CT"], ["FLAIR", "T1w"], ["MRI"], ["RGB"])] == [
        "CT",
        "MR",
        "MR",
        "RGB",
    ]


def test_numbers_in_names_count() -> None:
    names = [Path(name) for name in ("image_10", "image_2", "image_1")]
    assert [path.name for path in sorted(names, key=natural)] == ["image_1", "image_2", "image_10"]
