"""What a person typed as a board, an objective, a job or a trial. What does not exist is a usage error."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from velodrome.board import choosing
from velodrome.board.choosing import listing, shown
from velodrome.errors import NotThere
from velodrome.text import line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from velodrome.results.objectives import BoardObjective
    from velodrome.results.records import JobInfo
    from velodrome.store import Reader


def chosen_board(reader: Reader, wanted: str | None) -> str:
    """The board of that name, or the newest one; a usage error if there is no such board."""
    with _usage("BOARD"):
        return choosing.chosen_board(reader, wanted)


def chosen_objectives(reader: Reader, board: str, wanted: str | None) -> list[BoardObjective]:
    """The board's objectives, or those that are named; a usage error if there is no such objective."""
    with _usage("--objective"):
        return choosing.chosen_objectives(reader, board, wanted)


def objective_of(job: JobInfo, wanted: str) -> BoardObjective:
    """The job's objective that is named; a usage error if there is no such objective, or if there are several."""
    with _usage("--objective"):
        return choosing.objective_of(job, wanted)


def found_job(reader: Reader, name: str | None, hint: str = "JOB") -> JobInfo:
    """The job of that uid, or the newest job of that name, or of all; a usage error if there is no such job."""
    with _usage(hint):
        return choosing.chosen_job(reader, name)


def require_entry(job: JobInfo, entry: str) -> None:
    """Returns if the job has the entry; a usage error otherwise."""
    with _usage("ENTRY"):
        choosing.require_entry(entry, job.entries, job.name)


@contextmanager
def _usage(hint: str) -> Iterator[None]:
    try:
        yield
    except NotThere as error:
        raise typer.BadParameter(str(error), param_hint=hint) from error


def found_trial(job: JobInfo, parts: list[str], hint: str = "RUN") -> int:
    """The index of a trial, given as ENTRY/REPEAT or INDEX; a usage error if the job has no such trial."""
    match parts:
        case [index] if index.isdecimal() and int(index) < job.trials:
            return int(index)
        case [entry, repeat] if entry in job.entries and repeat.isdecimal() and int(repeat) < job.planned(entry):
            return int(repeat) * len(job.entries) + job.entries.index(entry)
    named = line(job.name)
    what = f"{shown('/'.join(parts))} is no trial of {named}" if parts else f"{named} is a job, and no trial is named"
    entries = listing(parts[0] if parts else "", job.entries)
    most = max(map(job.planned, job.entries))
    raise typer.BadParameter(
        f"{what}: write {named}/ENTRY/REPEAT with an entry of {entries} and a repeat of 0 to {most - 1}, "
        f"or {named}/INDEX with an index of 0 to {job.trials - 1}",
        param_hint=hint,
    )
