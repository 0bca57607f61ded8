"""`vesalius segment` on a folder: what is paired, skipped, isolated and left to others."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from vesalius.__main__ import main
from vesalius.io import read_segmentation


def call(folders: SimpleNamespace, model: str, *more: str) -> int:
    where = [str(folders.images), "--prompts", str(folders.prompts), "-o", str(folders.masks)]
    return main(["segment", *where, "-m", model, *more])


def printed(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_every_image_gets_its_mask(folders: SimpleNamespace, model: str) -> None:
    assert call(folders, model) == 0
    for name in "abc":
        assert read_segmentation(folders.masks / f"{name}.seg.nrrd").mask("ball").sum() == 420
        assert json.loads((folders.masks / f"{name}.report.json").read_text())["image"]["name"] == f"{name}.nii.gz"


def test_what_is_done_is_skipped(folders: SimpleNamespace, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    call(folders, model)
    (folders.masks / "b.seg.nrrd").unlink()  # as after a kill between two cases
    (folders.prompts / "c.json").write_text((folders.prompts / "c.json").read_text().replace("ball", "other"))
    capsys.readouterr()
    assert call(folders, model, "--json") == 0
    record = printed(capsys)
    assert (record["done"], record["skipped"]) == (["b", "c"], ["a"])
    assert call(folders, model, "--window", "0,100", "--json") == 0
    assert printed(capsys)["skipped"] == []


def test_bad_cases_are_isolated(folders: SimpleNamespace, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = (folders.images / "a.nii.gz").read_bytes()
    (folders.images / "a.nii.gz").write_bytes(content[:-100])
    assert call(folders, model, "--json") == 1
    record = printed(capsys)
    assert record["done"] == ["b", "c"]
    assert "cut short" in record["failed"]["a"]
    assert not list(folders.masks.glob("a*"))
    (folders.images / "a.nii.gz").write_bytes(content)
    assert call(folders, model, "--json") == 0
    assert printed(capsys)["done"] == ["a"]


def test_bugs_are_logged_without_the_patient(
    folders: SimpleNamespace, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(folders, model.replace("Bright", "Broken")) == 1
    log = (folders.masks / "vesalius.log").read_text()
    words = capsys.readouterr()
    assert "KeyError" in words.out and "in run" in log
    assert "SMITH" not in log + words.out + words.err


def test_unmatched_files_are_named(folders: SimpleNamespace, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folders.prompts / "a.json").rename(folders.prompts / "z.json")
    assert call(folders, model, "--json") == 0
    assert printed(capsys)["alone"] == ["a.nii.gz", "z.json"]


def test_shards_are_everything_once(folders: SimpleNamespace, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = []
    for shard in ("1/2", "2/2"):
        assert call(folders, model, "--shard", shard, "--json") == 0
        done.append(printed(capsys)["done"])
    assert done == [["a", "c"], ["b"]]


def test_other_format_and_overlays(folders: SimpleNamespace, model: str, tmp_path: Path) -> None:
    assert call(folders, model, "--format", ".nii.gz", "--overlay", str(tmp_path / "looks")) == 0
    assert {path.name for path in (tmp_path / "looks").iterdir()} == {"a.png", "b.png", "c.png"}
    assert read_segmentation(folders.masks / "a.nii.gz").mask("ball").any()


def test_stopped_batch_goes_on(
    folders: SimpleNamespace, model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vesalius.io import read

    def read_until_b(path: Path, series: str, resample: bool) -> object:
        if path.name.startswith("b"):
            raise KeyboardInterrupt
        return read(path, series, resample)

    with monkeypatch.context() as patch:
        patch.setattr("vesalius.io.read", read_until_b)
        assert call(folders, model) == 130
    assert sorted(path.name for path in folders.masks.iterdir()) == ["a.report.json", "a.seg.nrrd"]
    capsys.readouterr()
    assert call(folders, model, "--json") == 0
    assert printed(capsys)["done"] == ["b", "c"]


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--shard", "3"], "3/16"),
        (["--shard", "3/2"], "shard"),
        (["--shard", "1/2", "--ray", "local"], "give one of them"),
        (["--slurm", "job.sh", "--ray", "local"], "give one of them"),
        (["--point", "1,1,1"], "prompt"),
        (["--mm"], "prompt"),
    ],
)
def test_options_that_do_not_fit(
    folders: SimpleNamespace, model: str, capsys: pytest.CaptureFixture[str], more: list[str], word: str
) -> None:
    assert call(folders, model, *more) == 2
    assert word in capsys.readouterr().err
    assert not folders.masks.exists()


def test_masks_never_go_among_the_images(
    folders: SimpleNamespace, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folders.masks = folders.images
    assert call(folders, model, "--format", ".nii.gz") == 2
    assert "folder of their own" in capsys.readouterr().err


def test_prompts_without_a_target_get_the_given_one(folders: SimpleNamespace, model: str) -> None:
    for file in folders.prompts.iterdir():
        file.write_text(file.read_text().replace('"target": "ball", ', ""))
    assert call(folders, model, "--target", "liver") == 0
    assert read_segmentation(folders.masks / "a.seg.nrrd").labels.names == ("liver",)


def test_output_that_cannot_be_made(
    folders: SimpleNamespace, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders.masks = tmp_path / "none" / "masks"
    assert call(folders, model) == 2
    assert "choose another" in capsys.readouterr().err


def test_unknown_model_is_said_once(folders: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(folders, "medsan") == 2
    assert capsys.readouterr().err.count("'medsan'") == 1
    assert not folders.masks.exists()
