"""Pairing files of one name, and dividing cases among machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from vesalius.batch import pair_files, run_cases, stem, take_shard
from vesalius.errors import FormatError


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ct.nii.gz", "ct"),
        ("ct.NII.GZ", "ct"),
        ("ct.1.nii", "ct.1"),
        ("ct.mrk.json", "ct"),
        ("ct.seg.nrrd", "ct"),
        ("ct.png", "ct"),
        ("ct", "ct"),
    ],
)
def test_stem_is_without_the_whole_suffix(name: str, expected: str) -> None:
    assert stem(Path(name)) == expected


def test_every_kind_of_prompt_file_finds_its_image(tmp_path: Path) -> None:
    images = touch(tmp_path / "images", "a.nii.gz", "b.png", "c.npz", "d.mhd", "d.raw", "e.nrrd", ".DS_Store")
    (images / "1.2.840").mkdir()
    prompts = touch(
        tmp_path / "prompts", "a.json", "b.mrk.json", "c.npz", "d.csv", "1.2.840.json", "f.json", "notes.txt"
    )
    cases, alone = pair_files(images, prompts, tmp_path / "out")
    assert [case.name for case in cases] == ["1.2.840", "a", "b", "c", "d"]
    assert cases[1].mask == tmp_path / "out" / "a.seg.nrrd"
    assert alone == ["e.nrrd", "f.json"]


def test_prompts_may_lie_beside_the_images(tmp_path: Path) -> None:
    both = touch(tmp_path / "both", "a.nii.gz", "a.json", "b.nii.gz")
    cases, alone = pair_files(both, both, tmp_path / "out")
    assert [(case.image.name, case.prompts.name) for case in cases] == [("a.nii.gz", "a.json")]
    assert alone == ["b.nii.gz"]


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    images, prompts = touch(tmp_path / "images", "a.nii.gz", "a.nrrd"), touch(tmp_path / "prompts", "a.json")
    with pytest.raises(FormatError, match=r"a\.nii\.gz"):
        pair_files(images, prompts, tmp_path / "out")


def test_shards_cover_all_cases_once(tmp_path: Path) -> None:
    names = [f"{n:02}" for n in range(37)]
    images = touch(tmp_path / "images", *(f"{name}.png" for name in names))
    prompts = touch(tmp_path / "prompts", *(f"{name}.json" for name in names))
    cases, _ = pair_files(images, prompts, tmp_path / "out")
    shards = [[case.name for case in take_shard(cases, number, 16)] for number in range(1, 17)]
    assert sorted(name for shard in shards for name in shard) == names
    assert shards[2] == ["02", "18", "34"]
    with pytest.raises(FormatError, match="1/16 to 16/16"):
        take_shard(cases, 0, 16)


def test_cases_after_a_bad_one_are_segmented(tmp_path: Path) -> None:
    images, prompts = touch(tmp_path / "images", "a.png", "b.png"), touch(tmp_path / "prompts", "a.csv", "b.csv")
    cases, _ = pair_files(images, prompts, tmp_path)
    seen, lines = [], []

    def segment(case: object) -> None:
        seen.append(case)
        if len(seen) == 1:
            raise FormatError("This is bad.")

    assert run_cases(cases, segment, tmp_path / "log", lines.append) == {"a": "This is bad."}
    assert lines == ["1/2 a: This is bad.", "2/2 b: done"]
    assert not (tmp_path / "log").exists()
