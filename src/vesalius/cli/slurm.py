"""A script for SLURM: an array of jobs, each of which works on one shard of a folder.

A job that is killed or sent to another node does again only the case that it was at: what is done is skipped.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from vesalius.files import write_text

OURS = ("--slurm", "--jobs", "--cpus")  # what only the writing of the script needs


def write_array(file: Path, line: Sequence[str], output: Path, jobs: int, cpus: int, gpus: int) -> None:
    """Writes a script whose jobs repeat the command `line`, each with a shard of its own; their logs go into `output`.

    Raises FormatError where the file cannot be written.
    """
    name, *options = _without(line, OURS)
    log = f"{str(output.resolve()).replace('%', '%%')}/slurm-%a.log"  # %a is the job's number
    lines = [
        "#!/bin/bash",
        "#SBATCH --job-name=vesalius",
        f"#SBATCH --array=1-{jobs}",
        f"#SBATCH --cpus-per-task={cpus}",
        *([f"#SBATCH --gres=gpu:{gpus}"] if gpus else []),
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={shlex.quote(log)}",
        f"cd {shlex.quote(str(Path.cwd()))} || exit",
        f"export OMP_NUM_THREADS={cpus}",
        f"exec {shlex.quote(sys.executable)} -m vesalius {name} "
        f'--shard "$SLURM_ARRAY_TASK_ID/{jobs}" {shlex.join(options)}',
    ]
    write_text(file, "\n".join(lines) + "\n")


def _without(line: Sequence[str], options: Sequence[str]) -> list[str]:
    """A command line without some options, each of which has a value."""
    kept, words = [], iter(line)
    for word in words:
        if word in options:
            next(words, "")
        elif word.partition("=")[0] not in options:
            kept.append(word)
    return kept
