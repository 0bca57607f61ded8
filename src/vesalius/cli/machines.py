"""On which machines the cases of a folder are worked: this one, the nodes of SLURM or those of a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from vesalius.batch import Runner, Work, run_cases, take_shard
from vesalius.cli.arguments import parse_shard
from vesalius.errors import PromptError

Shard = Annotated[str, typer.Option(metavar="N/M", help="Of a folder: every M-th case, from the N-th, as in 3/16.")]
Slurm = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Of a folder: only write a script for sbatch, whose jobs share the cases."),
]
Jobs = Annotated[int, typer.Option(min=1, help="With --slurm: how many jobs.")]
Ray = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Of a folder: by a Ray cluster: HOST:PORT, auto, or local to start one.")
]
Cpus = Annotated[int, typer.Option(min=1, help="With --slurm or --ray: cores for each case.")]


@dataclass(frozen=True)
class Machines:
    """Who works on which cases, and what one of them may use; `line` is the command line that asks for it.

    `gpus` is 1 where the model runs on one.
    """

    line: tuple[str, ...] = ()
    shard: str = ""
    slurm: Path | None = None
    jobs: int = 8
    ray: str = ""
    cpus: int = 4
    gpus: int = 0

    def __post_init__(self) -> None:
        if sum(map(bool, (self.shard, self.slurm, self.ray))) > 1:
            raise PromptError("--shard, --slurm and --ray each say who works on which case; give one of them.")

    def own(self, cases: list[Work]) -> list[Work]:
        """The cases of our shard, or all of them."""
        return take_shard(cases, *parse_shard(self.shard or "1/1"))

    @property
    def run(self) -> Runner:
        """`batch.run_cases` here, or on the cluster, where `work` and `prepare` must be picklable."""
        if not self.ray:
            return run_cases
        from vesalius.ray_cluster import Cluster

        return Cluster(self.ray, self.cpus, self.gpus).run_cases

    def write_script(self, output: Path, cases: int) -> None:
        """Writes the script whose jobs share so many cases, and prints what to do with it."""
        from vesalius.cli.slurm import write_array

        assert self.slurm
        jobs = min(self.jobs, cases)
        write_array(self.slurm, self.line, output, jobs, self.cpus, self.gpus)
        print(f"{jobs} jobs for {cases} cases; submit them, with what your cluster wants to know:")
        print(f"sbatch {self.slurm}")
