"""A model that is asked about the cases of data sets under a protocol: its answers, and their records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vesalius.evaluate.cases import Task, read_trial
from vesalius.evaluate.protocols import Protocol
from vesalius.evaluate.score import DEFAULT_POLICY, METRICS, Policy, score_case
from vesalius.evaluate.table import WHOLE_CASE, Record
from vesalius.evaluate.trial import Found, Offer
from vesalius.io import write
from vesalius.session import Model

UNITS = {"seconds": "s", "RunningTime": "s", "false positive ml": "ml"}


@dataclass(frozen=True)
class Exam:
    """A model under a protocol, and by what its answers are measured; the same for every case of a run."""

    model: Model
    protocol: Protocol
    metrics: tuple[str, ...] = METRICS
    policy: Policy = DEFAULT_POLICY
    offers: tuple[Offer, ...] = ()

    def score(self, task: Task, mask: Path | None = None) -> list[Record]:
        """The records of a case under every setting; the last setting's masks are written to `mask`."""
        trial = read_trial(task, self.offers)
        records: list[Record] = []
        rounds: list[Found] = []
        for found in self.protocol.run(self.model, trial):
            records += self._records(task, found)
            rounds.append(found)
        if self.protocol.summarise and rounds:
            records += whole_case(task, "", self.protocol.summarise(rounds))
        if mask and rounds:
            mask.parent.mkdir(parents=True, exist_ok=True)
            write(rounds[-1].prediction, mask)
        return records

    def _records(self, task: Task, found: Found) -> Iterable[Record]:
        rows = score_case(found.prediction, found.reference, self.metrics, self.policy, task.name)
        asked = {name.lower() for name in found.asked}
        for row in rows:
            if row.structure.lower() in asked:
                key = (*_place(task), found.setting)
                yield Record(*key, row.structure, row.metric, row.value, row.unit, row.status)
        yield from whole_case(task, found.setting, {"seconds": found.seconds})


def whole_case(task: Task, setting: str, scores: dict[str, float]) -> Sequence[Record]:
    """Numbers that are about all structures of a case together."""
    return [
        Record(*_place(task), setting, WHOLE_CASE, metric, value, UNITS.get(metric, "1"), "scored")
        for metric, value in scores.items()
    ]


def _place(task: Task) -> tuple[str, str, str, str]:
    return task.dataset.name, task.modality, task.case.group, task.name
