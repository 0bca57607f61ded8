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

TRIES = 3  # a case may end so many workers, and is then named as the one that does it
LOOK_S = 10.0  # after which it is looked whether machines have joined
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

        `prepare` is called once by each worker, and first of all by one alone. The folder of `log` must be there, on
        every machine. Raises FormatError where no cluster answers, or its machines are not fit.
        """
        if not cases:
            return {}
        with _connect(self.address) as ray:
            cpus = self._fit(ray.nodes())
            variables = {name: value for name, value in os.environ.items() if name.startswith("VESALIUS_")}
            kind = ray.remote(
                num_cpus=cpus,
                num_gpus=self.gpus,
                runtime_env={"env_vars": variables | {"OMP_NUM_THREADS": str(cpus)}},
            )(_Worker)
            share = ray.put((work, prepare))  # once for all workers

            def hire() -> Any:
                return kind.remote(Path.cwd(), log, share)

            def count_places() -> int:
                return sum(self._places(size, cpus) for size in _sizes(ray.nodes()))

            return _Crew(ray, hire, count_places, tell).work_off(cases)

    def _fit(self, nodes: list[dict[str, Any]]) -> int:
        """The cores that a case can have on every machine that is fit for it."""
        sizes = _sizes(nodes)
        if self.gpus and not any(size.get("GPU", 0) >= self.gpus for size in sizes):
            raise FormatError(
                f"No machine of the Ray cluster has GPUs enough ({self.gpus}); add one, or use --device cpu."
            )
        cores = [int(size.get("CPU", 0)) for size in sizes if size.get("GPU", 0) >= self.gpus]
        return min([self.cpus, *filter(None, cores)])

    def _places(self, size: dict[str, float], cpus: int) -> int:
        """How many workers fit on a machine."""
        places = size.get("CPU", 0) // cpus
        return int(min(places, size.get("GPU", 0) // self.gpus) if self.gpus else places)


class _Worker:
    """A process on a machine of the cluster, which prepares itself once and then works on case after case.

    Ray's tasks would do for cores alone, but only such an actor keeps its GPU, and the model on it.
    """

    def __init__(
        self, folder: Path, log: Path, share: tuple[Callable[[Any], None], Callable[[], object] | None]
    ) -> None:
        self.folder, self.log = folder, log
        self.work, self.prepare = share

    def begin(self) -> VesaliusError | None:
        """Goes where the caller stands, so that relative paths mean the same; returns what is wrong with every case."""
        try:
            for folder in (self.folder, self.folder / self.log.parent):
                if not folder.is_dir():
                    return FormatError(f"{platform.node()} has no {folder}; use folders that all machines share.")
            os.chdir(self.folder)
            if self.prepare:
                self.prepare()
        except VesaliusError as error:
            return error
        return None

    def work_on(self, case: Any) -> str:
        """Why the case failed; empty where it did not."""
        return run_cases([case], self.work, self.log, lambda line: None).get(case.name, "")


class _Crew:
    """The workers that there are: each has one case at a time, and who is lost is replaced."""

    def __init__(
        self, ray: Any, hire: Callable[[], Any], count_places: Callable[[], int], tell: Callable[[str], None]
    ) -> None:
        self.ray, self.hire, self.count_places, self.tell = ray, hire, count_places, tell
        self.running: dict[Any, tuple[Any, Any]] = {}  # by what is waited for: a worker and its case, None as it begins
        self.begun = False
        self.lost_beginners = 0

    def work_off(self, cases: list[Work]) -> dict[str, str]:
        """The sentences of those cases that failed, by name, when all have ended."""
        waiting, tries, failed, ended = deque(cases), Counter[str](), dict[str, str](), 0
        while ended < len(cases):
            self._fill(len(waiting))
            for call in self.ray.wait(list(self.running), timeout=LOOK_S)[0]:
                worker, case = self.running.pop(call)
                said, lost = self._hear(call)
                if case is None:
                    self._meet(said, lost)
                elif lost and tries[case.name] + 1 < TRIES:
                    tries[case.name] += 1
                    waiting.append(case)
                else:
                    ended += 1
                    if lost:
                        said = f"Its worker died {TRIES} times ({lost}), for want of memory perhaps; try it alone."
                    if said:
                        failed[case.name] = said
                    self.tell(f"{ended}/{len(cases)} {case.name}: {said or 'done'}")
                if waiting and not lost:
                    case = waiting.popleft()
                    self.running[worker.work_on.remote(case)] = worker, case
        return failed

    def _fill(self, waiting: int) -> None:
        """Hires workers for the places that are free: one at first, since what is wrong with it is wrong with all."""
        places = max(1, self.count_places()) if self.begun else 1
        beginning = sum(case is None for _, case in self.running.values())
        for _ in range(min(places - len(self.running), waiting - beginning)):
            worker = self.hire()
            self.running[worker.begin.remote()] = worker, None

    def _hear(self, call: Any) -> tuple[Any, str]:
        """What a worker says; or, where it was lost, what became of it."""
        try:
            return self.ray.get(call), ""
        except self.ray.exceptions.RayTaskError as error:  # it raised something that is no sentence
            return None, type(error.cause).__name__
        except self.ray.exceptions.RayError as error:
            return None, type(error).__name__

    def _meet(self, wrong: VesaliusError | None, lost: str) -> None:
        """Takes in a worker that begins, or gives up."""
        if wrong:
            raise wrong
        self.lost_beginners = self.lost_beginners + 1 if lost else 0
        self.begun = self.begun or not lost
        if self.lost_beginners == TRIES:
            raise FormatError(f"No worker of the Ray cluster can begin ({lost}); give all machines the same vesalius.")


def _sizes(nodes: list[dict[str, Any]]) -> list[dict[str, float]]:
    """The resources of the machines that are there."""
    return [node["Resources"] for node in nodes if node["Alive"]]


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
