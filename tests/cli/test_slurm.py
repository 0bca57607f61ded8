"""`--slurm`: a script whose jobs do every case once, also when one of them is killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from vesalius.__main__ import main
from vesalius.cli.slurm import write_array
from vesalius.io import read_segmentation

DEADLY = '''

class Deadly(Bright):
    """Ends its process at the second of all images, once."""

    def run(self, scene):
        import os, pathlib, signal

        with open("worked", "a") as lines:
            lines.write("x")
        if pathlib.Path("worked").read_text() == "xx":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(scene)
'''


def run(script: Path, number: int, elsewhere: Path) -> subprocess.CompletedProcess[str]:
    """One job of the array, as SLURM runs it: not in the folder where it was written."""
    environment = os.environ | {"SLURM_ARRAY_TASK_ID": str(number)}
    return subprocess.run(["bash", script], cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)


def test_jobs_do_every_case_once_and_a_killed_one_goes_on_where_it_was(
    folders: SimpleNamespace,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with Path("own.py").open("a") as lines:
        lines.write(DEADLY)
    call = ["segment", "images", "--prompts", "prompts", "-o", "masks", "-m", "own.py:Deadly"]
    assert main([*call, "--slurm", "job.sh", "--jobs", "2", "--cpus=1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "sbatch job.sh"
    assert folders.masks.is_dir() and not list(folders.masks.iterdir())  # where SLURM's logs go
    script = tmp_path / "job.sh"
    assert run(script, 1, tmp_path / "elsewhere").returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert {path.name for path in folders.masks.glob("*.nrrd")} == {"a.seg.nrrd"}
    again, other = (run(script, number, tmp_path / "elsewhere") for number in (1, 2))
    assert again.stdout.startswith("1 done, 1 were done before, 0 failed")
    assert other.stdout.startswith("1 done, 0 were done before, 0 failed")
    assert Path("worked").read_text() == "xxxx"  # the killed case is the only one that was worked on twice
    for name in "abc":
        assert read_segmentation(folders.masks / f"{name}.seg.nrrd").mask("ball").sum() == 420


def test_an_evaluation_is_shared_as_well(folders: SimpleNamespace, model: str, tmp_path: Path) -> None:
    where = [str(folders.images), "--prompts", str(folders.prompts), "-o", str(folders.masks)]
    assert main(["segment", *where, "-m", model]) == 0
    script, out = tmp_path / "job.sh", tmp_path / "out"
    call = ["evaluate", str(folders.masks), str(folders.masks), "--metrics", "dice", "-o", str(out)]
    assert main([*call, "--slurm", str(script)]) == 0
    assert not (out / "scores.csv").exists()
    assert "#SBATCH --array=1-3\n" in script.read_text()  # no more jobs than cases
    done = run(script, 2, tmp_path)
    assert "1 done, 0 were done before" in done.stdout and "2 cases are left to other shards" in done.stdout


def test_a_script_quotes_names_and_asks_for_what_a_job_needs(tmp_path: Path) -> None:
    line = ["segment", "--slurm=job.sh", "my images", "--jobs", "9", "--device", "cuda", "--", "-o"]
    write_array(tmp_path / "job.sh", line, tmp_path / "50% done", jobs=7, cpus=2, gpus=1)
    text = (tmp_path / "job.sh").read_text()
    assert f"{sys.executable} -m vesalius segment --shard " in text
    assert text.endswith(""" --shard "$SLURM_ARRAY_TASK_ID/7" 'my images' --device cuda -- -o\n""")
    assert "#SBATCH --gres=gpu:1\n" in text and "#SBATCH --cpus-per-task=2\n" in text
    assert f"#SBATCH --output='{tmp_path}/50%% done/slurm-%a.log'\n" in text


def test_one_image_needs_no_jobs(image: Path, model: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["segment", str(image), "-m", model, "--slurm", str(tmp_path / "job.sh")]) == 2
    assert "for a folder of images" in capsys.readouterr().err
    assert not (tmp_path / "job.sh").exists()
