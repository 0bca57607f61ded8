"""What `vesalius evaluate` does: scores the cases of two folders or of a model, writes and prints what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vesalius import __version__
from vesalius.cli.machines import Machines
from vesalius.cli.progress import show_cases
from vesalius.cli.tables import print_table
from vesalius.errors import VesaliusError
from vesalius.evaluate.cases import Task, list_offers, list_tasks, open_data, read_trial
from vesalius.evaluate.metrics import read_metric
from vesalius.evaluate.page import Evaluation, write_page
from vesalius.evaluate.pairs import Pair, Rules, pair_labels, read_background, read_names, read_pair, score_pair
from vesalius.evaluate.pictures import draw_errors, mark_errors
from vesalius.evaluate.protocols import find_protocol
from vesalius.evaluate.run import Outcome, Work, collect, evaluate, make_output
from vesalius.evaluate.score import Policy
from vesalius.evaluate.statistics import Interval, summarise
from vesalius.evaluate.summary import (
    count_missing,
    join_structures,
    metrics_of,
    pick_cases,
    pool_draws,
    rank_cases,
    split_units,
    summarise_all,
    whole_cases,
)
from vesalius.evaluate.table import Record, write_csv
from vesalius.files import write_text

if TYPE_CHECKING:
    from vesalius.evaluate.exam import Exam
    from vesalius.segmentation import Segmentation
    from vesalius.volume import Volume

Look = Callable[[str], tuple["Volume", "Segmentation", "Segmentation"]]  # a case's image, prediction and reference


@dataclass(frozen=True)
class Asked:
    """Where results go, by what is measured, and on which machines: the same for folders and for models."""

    output: Path
    metrics: tuple[str, ...]
    policy: Policy
    machines: Machines
    as_json: bool

    def facts(self) -> dict[str, str]:
        """What a reader of the report must know."""
        policy = self.policy
        own = ", ".join(f"{name} {mm:g}" for name, mm in policy.tolerances_mm.items())
        return {
            "metrics": ", ".join(self.metrics) + "; distances in mm (pixels where the image has no unit)",
            "missing on one side": f"counts as {policy.one_empty}"
            + (": overlap 0, distance the image's diagonal" if policy.one_empty == "worst" else ""),
            "rightly absent": f"counts as {policy.both_empty}",
            "not named by the reference": f"counts as {policy.not_annotated}",
            "vesalius": __version__,
        } | ({"tolerances of nsd": own} if own else {})


@dataclass(frozen=True)
class Sitting:
    """A model, (name, weights, device, precision), under a protocol on (folder, layout), in words that can travel.

    The last masks of each case go to a file in `masks`.
    """

    model: tuple[str, Path | None, str, str]
    protocol: str
    metrics: tuple[str, ...]
    policy: Policy
    data: tuple[Path, str]
    masks: Path

    def prepare(self) -> None:
        """Loads the model: what is wrong with it is wrong with every case."""
        _open_exam(self)

    def score(self, task: Task) -> list[Record]:
        """The records of a case, by the exam that this process keeps."""
        return _open_exam(self).score(task, self.mask(task))

    def mask(self, task: Task) -> Path:
        """Where the masks of a case go."""
        return self.masks / f"{task.name}.seg.nrrd"


@lru_cache(maxsize=1)
def _open_exam(sitting: Sitting) -> Exam:
    """The model, and the examples where the protocol gives some."""
    from vesalius.evaluate.exam import Exam
    from vesalius.hub import load

    protocol = find_protocol(sitting.protocol)
    offers = list_offers(open_data(*sitting.data)) if "example" in protocol.needs else ()
    return Exam(load(*sitting.model), protocol, sitting.metrics, sitting.policy, offers)


def score_folders(
    predictions: Path, references: Path, images: Path | None, asked: Asked, labels: Path | None, resample: bool
) -> None:
    """Scores the masks of one folder against those of another; `labels` is a file that names their values."""
    _check(asked)
    pairs, alone = pair_labels(predictions, references, images)
    rules = Rules(asked.metrics, asked.policy, read_names(labels) if labels else {}, resample)
    works = [Work(pair.name, (pair.prediction, pair.reference), partial(score_pair, pair, rules)) for pair in pairs]
    by_name = {pair.name: pair for pair in pairs}

    def look(case: str) -> tuple[Volume, Segmentation, Segmentation]:
        pair: Pair = by_name[case]
        prediction, reference = read_pair(pair, rules.names, resample)
        return read_background(pair, reference), prediction, reference

    facts = {"masks": predictions.name, "references": references.name, "cases": str(len(pairs))} | asked.facts()
    if resample:
        facts["other grids"] = "the nearest label of the mask at each voxel of its reference"
    title = f"{predictions.name} against {references.name}"
    _finish(works, repr((rules, __version__)), asked, _Report(title, facts, look, alone))


def score_model(
    data: tuple[Path, str],
    asked: Asked,
    model: tuple[str, Path | None, str, str],
    protocol: str,
    split: str,
    limit: int,
) -> None:
    """Scores the answers of a model, (name, weights, device, precision), on the cases of (folder, layout)."""
    from vesalius.hub import find_model

    _check(asked)
    chosen = find_protocol(protocol)
    card = find_model(model[0])[1]
    chosen.check(card)
    sitting = Sitting(model, protocol, asked.metrics, asked.policy, data, asked.output / "masks")
    tasks = list_tasks(open_data(*data), split, limit)
    works = [Work(task.name, task.files, partial(sitting.score, task)) for task in tasks]
    by_name = {task.name: task for task in tasks}

    def look(case: str) -> tuple[Volume, Segmentation, Segmentation]:
        from vesalius.io import read_segmentation

        trial = read_trial(by_name[case])
        return trial.image, read_segmentation(sitting.mask(by_name[case])), trial.reference

    seen = [name for name in card.trained_on if name in {task.dataset.name for task in tasks}]
    licences = {task.dataset.name: task.dataset.licence for task in tasks}
    facts = {
        "model": f"{card.name}, {card.licence.weights}" + (f", weights {model[1].name}" if model[1] else ""),
        "protocol": f"{chosen.name}: {chosen.summary}",
        "data": ", ".join(f"{name} ({licence})" for name, licence in licences.items()),
        "trained on other cases of": ", ".join(seen) or "none of them, as far as its card says",
        "cases": f"{len(tasks)} of the split {split}",
    }
    weights = (model[1].name, model[1].stat().st_mtime_ns) if model[1] else card.weights.sha256
    words = repr((model[0], weights, model[2:], protocol, asked.metrics, asked.policy, __version__))
    _finish(
        works, words, asked, _Report(f"{card.name}: {chosen.summary}", facts | asked.facts(), look), sitting.prepare
    )


@dataclass(frozen=True)
class _Report:
    """What is said in the report beside numbers, and how a case is looked at again for its picture."""

    title: str
    facts: dict[str, str]
    look: Look
    alone: Sequence[str] = ()


def _finish(
    works: list[Work], words: str, asked: Asked, report: _Report, prepare: Callable[[], object] | None = None
) -> None:
    """Scores what is left of our shard, and writes and prints what all shards have done; exits with 1 after trouble."""
    mine = asked.machines.own(works)
    if asked.machines.slurm:
        make_output(asked.output)
        asked.machines.write_script(asked.output, len(works))
        return
    with show_cases(len(mine)) as (_, end):
        outcome = evaluate(mine, asked.output, words, end, asked.machines.run, prepare)
    records, left = collect(works, asked.output, words)
    write_csv(records, asked.output / "scores.csv")
    summary = summarise_all(records) | {
        "facts": report.facts,
        "failed": outcome.failed,
        "left": left,
        "alone": list(report.alone),
    }
    write_text(asked.output / "summary.json", json.dumps(summary, indent=1) + "\n")
    pictures = _draw(report, split_units(records))
    evaluation = Evaluation(report.title, report.facts, records, outcome.failed, left, report.alone, pictures)
    write_page(evaluation, asked.output / "report.html")
    if asked.as_json:
        print(json.dumps(summary, indent=1))
    else:
        _print(evaluation, outcome, asked.output)
    if outcome.failed or report.alone:
        raise typer.Exit(1)


def _draw(report: _Report, records: list[Record]) -> list[tuple[str, bytes]]:
    """Pictures of the worst, the median and the best case; without one where its image cannot be read."""
    pictures = []
    for word, row in pick_cases(rank_cases(records, next(iter(metrics_of(records)), ""))):
        setting = f", {row.setting}" if row.setting else ""
        caption = f"{word}: {row.case}{setting}, mean {row.metric} {row.value:.3f}"
        try:
            image, prediction, reference = report.look(row.case)
        except VesaliusError as error:
            pictures.append((f"{caption}; no picture: {error}", b""))
            continue
        kept = [each for each in records if each.case == row.case and each.status != "not annotated: undefined"]
        names = list(dict.fromkeys(each.structure for each in kept))
        errors = mark_errors(prediction.to(reference.grid), reference, names)
        pictures.append((caption, draw_errors(image, errors)))
    return pictures


def _print(evaluation: Evaluation, outcome: Outcome, output: Path) -> None:
    """The means over all structures and of whole cases, what was missing, and what is not in the numbers."""
    pooled = split_units(pool_draws(evaluation.records))
    for rows in (join_structures(pooled), whole_cases(pooled)):
        metrics = list(dict.fromkeys(row.metric for row in rows))
        found = {each.keys: each.interval for each in summarise(rows, ("setting", "metric"))}
        settings = list(dict.fromkeys(row.setting for row in rows))
        cells = [[each, *(_words(found.get((each, metric))) for metric in metrics)] for each in settings]
        if cells:
            print_table(["", *metrics], cells)
    for name, counts in count_missing(evaluation.records, next(iter(metrics_of(evaluation.records)), "")).items():
        print(f"{name}: {', '.join(f'{count} times {status}' for status, count in sorted(counts.items()))}")
    print(f"{len(outcome.done)} done, {len(outcome.skipped)} were done before, {len(outcome.failed)} failed")
    for name, sentence in outcome.failed.items():
        print(f"failed: {name}: {sentence}")
    if evaluation.alone:
        print(f"without a partner: {', '.join(evaluation.alone)}")
    others = len(evaluation.left) - len(outcome.failed)
    if others:
        print(f"{others} cases are left to other shards")
    print(output / "report.html")


def _words(interval: Interval | None) -> str:
    """A mean with its interval, and over how many values; "-" where there is none."""
    if interval is None or not interval.values:
        return "-"
    within = f" [{interval.low:.3g}, {interval.high:.3g}]" if interval.groups > 1 else ""
    left = f", {interval.left_out} left out" if interval.left_out else ""
    return f"{interval.mean:.4g}{within} (n {interval.values}{left})"


def _check(asked: Asked) -> None:
    """Refuses metrics that there are not, before any work is done."""
    for name in asked.metrics:
        read_metric(name)
