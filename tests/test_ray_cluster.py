"""Batches on a Ray cluster of two machines with one worker each: workers and a machine are lost, cases are not."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vesalius.__main__ import main
from vesalius.errors import FormatError, PromptError
from vesalius.grid import make_grid
from vesalius.io import read_segmentation, write
from vesalius.ray_cluster import TRIES, Cluster
from vesalius.volume import Volume

pytest.importorskip("ray")

GRID = make_grid((12, 10, 6), np.diag([-1.0, -1.0, 2.0, 1]))
LABELS = np.zeros((1, *GRID.shape), np.uint8)
LABELS[0, 2:8, 2:9, 2:5] = 1
MODEL = '''
import os
import time
from pathlib import Path

import ray

from vesalius.answer import Answer
from vesalius.card import APACHE, Card, Weights
from vesalius.volume import Volume


class Slow:
    """What is bright. A case, told by its brightest voxel, leaves a line each time, and may have to wait."""

    card = Card("slow", "", "", {}, frozenset({"point", "box"}), 3, "RAS", "", Weights((), ""), APACHE, "")

    def __init__(self, options):
        pass

    def run(self, scene):
        worked = Path("worked", str(scene.image.voxels.max()))
        node = ray.get_runtime_context().get_node_id()
        with worked.open("a") as lines:
            lines.write(f"{os.getpid()} {node}\\n")
        until = time.monotonic() + 120
        while os.environ["VESALIUS_TEST_WAIT"] in (worked.name, "all") and not Path("go").exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        yield Answer(Volume(scene.image.voxels > 100, scene.image.grid), (scene.target,), 0.9)
'''


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """Two machines, which are processes of this one."""
    from ray import cluster_utils

    small = {"num_cpus": 1, "object_store_memory": 2**27}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        soon = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}  # that a machine is lost
        head = small | {"include_dashboard": False, "_system_config": soon}
        two = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        two.second = two.add_node(**small, num_gpus=1)  # Ray believes it
        two.wait_for_nodes()
        yield two
        two.shutdown()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of five cases whose brightest voxels are 201 to 205, prompts for them, and a model that is killed."""
    monkeypatch.chdir(tmp_path)
    for part in ("data/images", "data/labels", "prompts", "worked"):
        Path(part).mkdir(parents=True)
    for number in range(201, 206):
        write(Volume(np.where(LABELS, number, 40).astype(np.uint8), GRID), f"data/images/c{number}.nii.gz")
        write(Volume(LABELS, GRID), f"data/labels/c{number}.nii.gz")
        point = {"kind": "point", "target": "cube", "positive": True, "at": [4, 4, 3]}
        Path(f"prompts/c{number}.json").write_text(json.dumps({"version": 1, "space": "index", "prompts": [point]}))
    facts = {"name": "cubes", "modality": "MR", "dimension": 3, "labels": {"background": 0, "cube": 1}}
    facts |= {"annotated": ["cube"], "label_kind": "semantic", "licence": "CC0-1.0", "source": "made"}
    facts |= {"split": {f"c{number}": "val" for number in range(201, 206)}}
    Path("data/dataset.json").write_text(json.dumps(facts))
    Path("own.py").write_text(MODEL)
    return tmp_path


def worked() -> dict[str, list[list[str]]]:
    """For each case the processes and the machines that worked on it."""
    texts = {file.name: file.read_text() for file in Path("worked").iterdir()}
    return {name: [line.split() for line in text.splitlines()] for name, text in texts.items() if text}


def when(seen: Callable[[], Any], act: Callable[[Any], None]) -> threading.Thread:
    """Acts in the background on what is seen at last."""

    def watch() -> None:
        until = time.monotonic() + 110
        while not (found := seen()) and time.monotonic() < until:
            time.sleep(0.05)
        act(found)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def kill(process: str) -> None:
    """Ends a worker, if it is still there, and lets the others go on."""
    with suppress(ProcessLookupError):
        os.kill(int(process), signal.SIGKILL)
    Path("go").touch()


def test_all_machines_work_at_the_same_time(machines: Any, tmp_path: Path) -> None:
    def work(case: Any) -> None:
        import ray  # by each worker, and not sent to it

        (tmp_path / ray.get_runtime_context().get_node_id()).touch()
        until = time.monotonic() + 110
        while len(list(tmp_path.iterdir())) < 2:
            if time.monotonic() > until:
                raise FormatError("The other machine never came.")
            time.sleep(0.05)

    assert not Cluster(machines.address).run_cases(cases("abc"), work, tmp_path / "log", lambda line: None)


def test_a_killed_worker_costs_its_case_a_second_time_and_nothing_else(
    machines: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VESALIUS_TEST_WAIT", "202")
    killer = when(lambda: worked().get("202"), lambda lines: kill(lines[0][0]))
    call = ["segment", "data/images", "--prompts", "prompts", "-o", "masks", "-m", "own.py:Slow"]
    assert main([*call, "--ray", machines.address, "--json"]) == 0
    killer.join()
    names = [f"c{number}" for number in range(201, 206)]
    assert json.loads(capsys.readouterr().out) == {"done": names, "skipped": [], "failed": {}, "alone": []}
    times = {name: len(lines) for name, lines in worked().items()}
    assert times == {"201": 1, "202": 2, "203": 1, "204": 1, "205": 1}
    for name in names:
        assert np.array_equal(read_segmentation(f"masks/{name}.seg.nrrd").mask("cube"), LABELS[0] > 0)
    assert main([*call, "--json"]) == 0  # here, where nothing is left to do
    assert json.loads(capsys.readouterr().out)["skipped"] == names


def test_a_case_that_ends_every_worker_is_named_and_the_rest_is_done(machines: Any, tmp_path: Path) -> None:
    def work(case: Any) -> None:
        with (tmp_path / case.name).open("a") as lines:
            lines.write("tried\n")
        if case.name == "b":
            os.kill(os.getpid(), signal.SIGKILL)

    heard: list[str] = []
    failed = Cluster(machines.address).run_cases(cases("abcd"), work, tmp_path / "log", heard.append)
    assert list(failed) == ["b"] and f"{TRIES} times" in failed["b"]
    assert len((tmp_path / "b").read_text().split()) == TRIES
    assert all((tmp_path / name).read_text() == "tried\n" for name in "acd")
    assert [line.split()[0] for line in heard] == ["1/4", "2/4", "3/4", "4/4"]


def test_errors_and_bugs_are_as_on_one_machine(machines: Any, tmp_path: Path) -> None:
    def work(case: Any) -> None:
        if case.name == "a":
            raise FormatError("It is damaged; copy it again.")
        if case.name == "b":
            raise KeyError("HTIMS"[::-1])
        (tmp_path / case.name).write_text(os.environ["OMP_NUM_THREADS"])

    failed = Cluster(machines.address, cpus=64).run_cases(cases("abc"), work, tmp_path / "log", lambda line: None)
    assert failed["a"] == "It is damaged; copy it again." and "KeyError, which is a bug" in failed["b"]
    log = (tmp_path / "log").read_text()
    assert "in work" in log and "SMITH" not in log
    assert (tmp_path / "c").read_text() == "1"  # cores, which is all that these machines have


def test_what_is_wrong_with_every_case_is_said_once(machines: Any, tmp_path: Path) -> None:
    def prepare() -> None:
        raise PromptError("There is no such model.")

    def work(case: Any) -> None:
        (tmp_path / case.name).touch()

    with pytest.raises(PromptError, match="no such model"):
        Cluster(machines.address).run_cases(cases("a"), work, tmp_path / "log", lambda line: None, prepare)
    with pytest.raises(FormatError, match="that all machines share"):
        Cluster(machines.address).run_cases(cases("a"), work, tmp_path / "none" / "log", lambda line: None)
    with pytest.raises(FormatError, match="GPUs enough"):
        Cluster(machines.address, gpus=2).run_cases(cases("a"), work, tmp_path / "log", lambda line: None)
    with pytest.raises(FormatError, match=r"can begin \(KeyError\)"):
        Cluster(machines.address).run_cases(cases("a"), work, tmp_path / "log", lambda line: None, {}.popitem)
    assert not list(tmp_path.iterdir())


def test_a_worker_keeps_its_gpu_and_what_it_has_loaded(machines: Any, tmp_path: Path) -> None:
    def work(case: Any) -> None:
        import ray

        found = (os.getpid(), ray.get_runtime_context().get_node_id(), os.environ["CUDA_VISIBLE_DEVICES"])
        (tmp_path / case.name).write_text(repr(found))

    cluster = Cluster(machines.address, gpus=1)
    assert not cluster.run_cases(cases("abc"), work, tmp_path / "log", lambda line: None)
    (worker,) = {file.read_text() for file in tmp_path.iterdir()}
    assert machines.second.node_id in worker and worker.endswith("'0')")


def test_a_lost_machine_costs_only_what_it_was_at(
    machines: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = machines.second.node_id
    monkeypatch.setenv("VESALIUS_TEST_WAIT", "all")

    def seen() -> list[str]:
        return [name for name, lines in worked().items() if lines[0][1] == lost]

    def lose(names: list[str]) -> None:
        machines.remove_node(machines.second, allow_graceful=False)
        kill(worked()[names[0]][0][0])

    killer = when(seen, lose)
    call = ["evaluate", "data", "-m", "own.py:Slow", "--protocol", "box", "--metrics", "dice", "--ray"]
    assert main([*call, machines.address]) == 0
    killer.join()
    assert "5 done, 0 were done before, 0 failed" in capsys.readouterr().out
    (twice,) = seen()
    assert {name for name, lines in worked().items() if len(lines) != 1} == {twice} and len(worked()[twice]) == 2
    with Path("evaluation/scores.csv").open(newline="") as file:
        values = {row["case"]: row["value"] for row in csv.DictReader(file) if row["metric"] == "dice"}
    assert values == {f"cubes/c{number}": "1.0" for number in range(201, 206)}


def test_a_cluster_that_does_not_answer_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for address in (f"127.0.0.1:{port}", "nonsense"):
        with pytest.raises(FormatError, match=f"No Ray cluster answers at {address}"):
            Cluster(address).run_cases(cases("a"), print, tmp_path / "log", print)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FormatError, match=r"pip install 'vesalius\[ray\]'"):
        Cluster("local").run_cases(cases("a"), print, tmp_path / "log", print)


def cases(names: str) -> list[Any]:
    return [SimpleNamespace(name=name) for name in names]
