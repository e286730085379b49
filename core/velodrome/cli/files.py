"""Reads BenchmarkJobs from the files of a command."""

from __future__ import annotations

from pathlib import Path

from velodrome.cli.console import standard_input
from velodrome.plan import Plan, plan
from velodrome.spec import BenchmarkJob, decode_jobs, read_jobs


def jobs_in(path: Path) -> tuple[BenchmarkJob, ...]:
    """The jobs of a file, or of standard input for `-`.

    Raises:
        SpecError: the file can't be read, or anything in it is wrong.
    """
    if str(path) == "-":
        return decode_jobs(standard_input().read(), "standard input")
    return read_jobs(path)


def plans_in(path: Path) -> tuple[Plan, ...]:
    """The plans of the jobs of a file.

    Raises:
        SpecError: as `jobs_in` raises it, or an entry can't be resolved.
    """
    return tuple(plan(job) for job in jobs_in(path))
