"""The cases of a batch on the machines of a Ray cluster: a worker that is lost costs its case a second time.

All machines have the same folders under the same names, and the same vesalius. Nothing but cases and sentences travels:
images are read, and results are written, where a case is worked on.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.batch import Work, run_cases
from vesalius.errors import FormatError, VesaliusError

TRIES = 3  # a case may end so many workers, and is then named as the one who does it
PATIENCE_S = 10.0  # for the first answer of a cluster; Ray itself would wait for minutes
LOCAL_BYTES = 2**27  # of shared memory, of which next to nothing is used


@dataclass(frozen=True)
class Cluster:
    """Where a cluster answers ("auto": the one that runs on this machine, "local": one that is started for the call).

    A case takes so many `cpus` of a machine, or all where it has fewer, and so many `gpus`.
    """

    address: str
    cpus: int = 4
    gpus: int = 0

    def run_cases(
        self,
        cases: list[Work],
        work: Callable[[Work], None],
        log: Path,
        tell: Callable[[str], None],
        prepare: Callable[[], object] | None = None,
    ) -> dict[str, str]:
        """As `batch.run_cases`, by all workers at once; `work` and `prepare` can be pickled.

        `prepare` is called by one worker before the first case. The folder of `log` must be there, on every machine.
        Raises FormatError where no cluster answers, or its machines are not fit.
        """
        if not cases:
            return {}
        with _connect(self.address) as ray:
            cpus = self._fit(ray.nodes())
            place = _Place(Path.cwd(), log)
            variables = {name: value for name, value in os.environ.items() if name.startswith("VESALIUS_")}
            task = ray.remote(
                num_cpus=cpus,
                num_gpus=self.gpus,
                max_retries=0,  # tries are counted here, those after a loss of memory too
                runtime_env={"env_vars": variables | {"OMP_NUM_THREADS": str(cpus)}},
            )
            _prepare(ray, task(_begin), place, prepare)
            share = ray.put(work)  # once for all cases

            def start(case: Work) -> Any:
                return task(_work_on).remote(place, share, case)

            def room() -> int:
                return 2 * max(1, int(ray.cluster_resources().get("CPU", 0)) // cpus)  # the next ones wait at the door

            return _work_off(ray, cases, start, room, tell)

    def _fit(self, nodes: list[dict[str, Any]]) -> int:
        """The cores that a case can have on every machine that is fit for it."""
        sizes = [node["Resources"] for node in nodes if node["Alive"]]
        if self.gpus and not any(size.get("GPU", 0) >= self.gpus for size in sizes):
            raise FormatError("No machine of the Ray cluster has a GPU; add one, or use --device cpu.")
        cores = [int(size.get("CPU", 0)) for size in sizes if size.get("GPU", 0) >= self.gpus]
        return min([self.cpus, *filter(None, cores)])


@dataclass(frozen=True)
class _Place:
    """Where every worker stands, so that relative paths mean the same, and where bugs are logged."""

    folder: Path
    log: Path

    def enter(self) -> None:
        """Goes there; raises FormatError on a machine that does not have the folders."""
        try:
            os.chdir(self.folder)
        except OSError:
            raise FormatError(f"{platform.node()} has no {self.folder}; use folders that all machines share.") from None
        if not self.log.parent.is_dir():
            raise FormatError(f"{platform.node()} has no {self.log.parent}; use folders that all machines share.")


def _begin(place: _Place, prepare: Callable[[], object] | None) -> VesaliusError | None:
    """On a worker: what is wrong with every case."""
    try:
        place.enter()
        if prepare:
            prepare()
    except VesaliusError as error:
        return error
    return None


def _work_on(place: _Place, work: Callable[[Work], None], case: Work) -> str:
    """On a worker: why the case failed; empty where it did not."""
    try:
        place.enter()
    except VesaliusError as error:
        return str(error)
    return run_cases([case], work, place.log, lambda line: None).get(case.name, "")


def _work_off(
    ray: Any, cases: list[Work], start: Callable[[Work], Any], room: Callable[[], int], tell: Callable[[str], None]
) -> dict[str, str]:
    """Keeps as many cases going as there is room for, and starts those anew whose worker was lost."""
    waiting, tries = deque(cases), Counter[str]()
    running: dict[Any, Work] = {}
    failed: dict[str, str] = {}
    while waiting or running:
        while waiting and len(running) < room():
            case = waiting.popleft()
            running[start(case)] = case
        (ended, *_), _ = ray.wait(list(running))
        case = running.pop(ended)
        try:
            sentence = ray.get(ended)
        except ray.exceptions.RayError as error:  # of the worker; what work raises is a sentence
            tries[case.name] += 1
            if tries[case.name] < TRIES:
                waiting.append(case)
                continue
            sentence = (
                f"It ended its worker {TRIES} times ({type(error).__name__}); look at it alone, with more memory."
            )
        if sentence:
            failed[case.name] = sentence
        ended_cases = len(cases) - len(waiting) - len(running)
        tell(f"{ended_cases}/{len(cases)} {case.name}: {sentence or 'done'}")
    return failed


def _prepare(ray: Any, begin: Any, place: _Place, prepare: Callable[[], object] | None) -> None:
    try:
        error = ray.get(begin.remote(place, prepare))
    except ray.exceptions.RayError as lost:
        word = str(lost).strip().splitlines()[-1]
        raise FormatError(
            f"A worker of the Ray cluster could not begin ({word}); give all the same vesalius."
        ) from None
    if error:
        raise error


@contextmanager
def _connect(address: str) -> Iterator[Any]:
    """Ray, connected without a dashboard, without statistics for its makers, and with few words."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what later versions do, and this one warns of
    try:
        import ray
    except ImportError:
        raise FormatError("A Ray cluster needs ray: pip install 'vesalius[ray]'.") from None
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": LOCAL_BYTES} if address == "local" else {}
    try:
        _knock(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, RuntimeError, ValueError) as error:
        word = " ".join(str(error).split()).rstrip(".")
        raise FormatError(
            f"No Ray cluster answers at {address} ({word}); start one with `ray start --head`, or use --ray local."
        ) from None
    try:
        with redirect_stdout(sys.stderr):  # Ray tells there of lost workers, and --json has stdout for itself
            yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at HOST:PORT."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), PATIENCE_S).close()
