"""One table that compares models on the `val` split of data sets: after clicks and from a box, with intervals.

    python benchmarks/table.py --data ../shared/data [--models vesalius-s,mobile-sam] [--weights NAME=FILE]
        [--limit 20] [--volumes 5] [--out build/table]

By default the models are `vesalius-s`, `mobile-sam` (its weights from beside the data where they are there), and all
others that take clicks and whose weights are on this machine. What is said to them is the protocols `clicks` and `box`
of `vesalius evaluate`, so every model hears the same of every case; how a case is scored, what an interval is and how
differences are tested is the same as there, too. A number is the mean over cases, of each case over its structures.

Every finished case is kept in the folder `--out`, so a run that was stopped goes on, and another model costs only
itself; `OUT/MODEL/scores.csv` is what `vesalius compare` takes. The tables are Markdown on stdout.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path

from vesalius import __version__
from vesalius.download import locate_weights
from vesalius.evaluate.cases import Task, list_tasks, open_data
from vesalius.evaluate.exam import Exam
from vesalius.evaluate.protocols import Protocol, find_protocol
from vesalius.evaluate.run import Work, collect, evaluate
from vesalius.evaluate.statistics import Interval, compare, holm, patient, summarise
from vesalius.evaluate.summary import average, join_structures
from vesalius.evaluate.table import Record, write_csv
from vesalius.hub import find_model, load
from vesalius.session import Model
from vesalius.zoo import CARDS, DEFAULT

METRIC = "dice"
PROTOCOLS = ("clicks", "box")
SETTINGS = ("1 click", "3 clicks", "5 clicks", "box")  # of those protocols, the ones that are shown
PEER = "mobile-sam"
PEER_WEIGHTS = "weights/mobile_sam_tinyvit_fp16.safetensors"  # in the folder that holds the data's
LEAST_P = 0.001  # smaller ones are not told apart
Tables = Mapping[str, list[Record]]  # by the model's name


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--models", default="", help="names, separated by commas; the first is compared with the others"
    )
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE", help="of one model; repeatable")
    parser.add_argument("--limit", type=int, default=20, help="cases of each set of pictures; 0: all")
    parser.add_argument("--volumes", type=int, default=5, help="cases of each set of volumes; 0: all")
    parser.add_argument("--out", type=Path, default=Path("build/table"))
    args = parser.parse_args()
    weights = {name: Path(file) for name, _, file in (pair.partition("=") for pair in args.weights)}
    if (args.data.parent / PEER_WEIGHTS).is_file():
        weights.setdefault(PEER, args.data.parent / PEER_WEIGHTS)
    models = args.models.split(",") if args.models else list_models()
    tasks = choose_tasks(args.data, args.limit, args.volumes)
    tables, failed = {}, []
    for name in models:
        tables[name], bad = score_model((name, weights.get(name)), tasks, args.out / Path(name).name)
        failed += bad
    print_report(tables)
    print_origins(models, {task.dataset.name for task in tasks})
    if failed:
        sys.exit("\n".join(["failed, so in no number:", *failed]))


def list_models() -> list[str]:
    """The default, its peer, and every other model that takes clicks and whose weights are on this machine."""
    others = [card.name for card in CARDS if "point" in card.accepts and locate_weights(card)]
    return list(dict.fromkeys([DEFAULT, PEER, *others]))


def choose_tasks(folder: Path, limit: int, volumes: int) -> list[Task]:
    """The cases of the split `val`: of each set at most `limit` pictures or `volumes` volumes, spread evenly.

    Neighbouring cases are often of one patient, so the first ones would be of few.
    """
    chosen = []
    for dataset in open_data(folder):
        if dataset.split("val"):
            tasks = list_tasks([dataset], "val")
            count = min(len(tasks), (volumes if dataset.dimension == 3 else limit) or len(tasks))
            chosen += [tasks[n * len(tasks) // count] for n in range(count)]
    return chosen


def score_model(model: tuple[str, Path | None], tasks: list[Task], out: Path) -> tuple[list[Record], list[str]]:
    """The records of a model (name, weights) under every protocol that it can follow, and what failed."""
    card, weights = find_model(model[0])[1], model[1]
    loaded = cache(partial(load, *model))  # not at all where every case is done
    version = (weights.name, weights.stat().st_mtime_ns) if weights else card.weights.sha256
    records, failed = [], []
    for protocol in map(find_protocol, PROTOCOLS):
        if card.accepts & set(protocol.needs):
            works = [Work(task.name, task.files, partial(score, loaded, protocol, task)) for task in tasks]
            asked = repr((model[0], version, protocol.name, METRIC, __version__))
            heading = f"{model[0]}, {protocol.name}"
            outcome = evaluate(works, out / protocol.name, asked, partial(tell, heading))
            records += collect(works, out / protocol.name, asked)[0]
            failed += [f"{heading}, {case}: {sentence}" for case, sentence in outcome.failed.items()]
    write_csv(records, out / "scores.csv")
    return records, failed


def score(loaded: Callable[[], Model], protocol: Protocol, task: Task) -> list[Record]:
    return Exam(loaded(), protocol, (METRIC,)).score(task)


def tell(heading: str, line: str) -> None:
    print(f"{heading}: {line}", file=sys.stderr, flush=True)


def print_report(tables: Tables) -> None:
    """What was asked, the means, the differences to the first model, and the means by modality."""
    rows = [row for table in tables.values() for row in table if row.metric == METRIC]
    cases, patients, structures = sizes(rows)
    print(f"{cases} cases of {patients} patients with {structures} structures; of each set: {list_sets(rows)}.")
    print("\nMean Dice [95 % interval]\n")
    means = {name: [row for row in average_cases(table) if row.setting in SETTINGS] for name, table in tables.items()}
    print_table(["model", *SETTINGS], [[name, *cells(table)] for name, table in means.items()])
    first, *others = means
    if others:
        print(f"\nDifference to {first} on the same cases [95 % interval], p corrected for all tests of this table\n")
        print_table(["model", "cases", *SETTINGS], difference_lines(means))
    modalities = list(dict.fromkeys(row.modality for row in rows))
    if len(modalities) > 1:
        print("\nMean Dice by modality [95 % interval]\n")
        lines = []
        for modality in modalities:
            for name, table in means.items():
                shown = ", ".join(map(str, sizes(row for row in rows if row.modality == modality)))
                lines.append([modality, shown, name, *cells(row for row in table if row.modality == modality)])
        print_table(["modality", "cases, patients, structures", "model", *SETTINGS], lines)


def average_cases(records: Iterable[Record]) -> list[Record]:
    """One record for each case and setting: the mean over its structures."""
    return average(row for row in join_structures(records) if row.metric == METRIC)


def difference_lines(means: Tables) -> list[list[str]]:
    """For each model but the first its differences to it: Wilcoxon's test over patients, corrected by Holm's method."""
    first, *others = means
    found = {(name, each.setting): each for name in others for each in compare(means[first], means[name])}
    corrected = dict(zip(found, holm([each.p for each in found.values()]), strict=True))
    lines = []
    for name in others:
        mine = {setting: each for (model, setting), each in found.items() if model == name}
        pairs = max((each.interval.values for each in mine.values()), default=0)
        words = {
            setting: f"{in_words(each.interval, '+.3f')}, {p_in_words(corrected[name, setting])}"
            for setting, each in mine.items()
        }
        lines.append([name, str(pairs), *(words.get(setting, "-") for setting in SETTINGS)])
    return lines


def cells(rows: Iterable[Record]) -> list[str]:
    """The mean of each setting with its interval; "-" where a model does not take the prompt."""
    found = {each.keys[0]: each.interval for each in summarise(rows, ("setting", "metric"))}
    return [in_words(found[setting]) if setting in found else "-" for setting in SETTINGS]


def in_words(interval: Interval, form: str = ".3f") -> str:
    """A mean and its interval, which one patient alone does not have."""
    within = f" [{interval.low:{form}}, {interval.high:{form}}]" if interval.groups > 1 else ""
    return f"{interval.mean:{form}}{within}"


def p_in_words(p: float) -> str:
    return f"p < {LEAST_P}" if p < LEAST_P else f"p = {p:.3f}"


def sizes(rows: Iterable[Record]) -> tuple[int, int, int]:
    """How many cases, patients and structures."""
    rows = list(rows)
    structures = {(row.dataset, row.case, row.structure) for row in rows}
    return len({(row.dataset, row.case) for row in rows}), len({patient(row) for row in rows}), len(structures)


def list_sets(rows: list[Record]) -> str:
    cases = dict.fromkeys((row.dataset, row.case) for row in rows)
    return ", ".join(f"{name} {number}" for name, number in Counter(dataset for dataset, _ in cases).items())


def print_table(head: list[str], lines: list[list[str]]) -> None:
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for line in lines:
        print(f"| {' | '.join(line)} |")


def print_origins(models: list[str], datasets: set[str]) -> None:
    """On how many of the data sets each model was trained, as far as its card says."""
    print()
    for name in models:
        seen = datasets & set(find_model(name)[1].trained_on)
        print(f"{name} was trained on other cases of {len(seen)} of the {len(datasets)} sets, as far as its card says.")


if __name__ == "__main__":
    main()
