"""BenchmarkJobs from the files that commands are given."""

from __future__ import annotations

import sys
from pathlib import Path

from velodrome.plan import Plan, plan
from velodrome.spec import BenchmarkJob, parse_jobs, read_jobs


def jobs_in(path: Path) -> tuple[BenchmarkJob, ...]:
    """The jobs of a file, or of standard input for `-`.

    Raises:
        SpecError: the file can't be read, or anything in it is wrong.
    """
    if str(path) == "-":
        return parse_jobs(sys.stdin.read(), "standard input")
    return read_jobs(path)


def plans_in(path: Path) -> tuple[Plan, ...]:
    """Their plans.

    Raises:
        SpecError: as above, or an entry can't be resolved.
    """
    return tuple(plan(job) for job in jobs_in(path))
