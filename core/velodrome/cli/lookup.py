"""Finds the job or trial that a person typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from velodrome.text import line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from velodrome.results.records import JobInfo
    from velodrome.store import Reader

_PAGE = 200
_MOST_NAMES = 10
_MOST_COMPARED = 200  # characters of what was typed; no name is that long


def found_job(store: Reader, name: str, hint: str = "JOB") -> JobInfo:
    """The job of that uid, or the newest job of that name; a usage error if there is no such job."""
    name = typed(name)
    job = store.job(name)
    known: dict[str, None] = {}
    for one in store.each_job(at_once=_PAGE) if job is None else ():
        known[one.name] = None
        if one.name == name:
            return one
    if job is None:
        names = f"there are: {listing(name, list(known))}" if known else "nothing has been raced here yet"
        raise typer.BadParameter(f"there is no job {shown(name)}: {names}", param_hint=hint)
    return job


def listing(wanted: str, known: Sequence[str]) -> str:
    """Names to choose from, in one line: all of them in their order, or the ten nearest to `wanted` and `990 more`."""
    if len(known) <= _MOST_NAMES:
        return line(", ".join(known))
    from difflib import get_close_matches

    nearest = get_close_matches(wanted[:_MOST_COMPARED], known, _MOST_NAMES, cutoff=0)
    return f"{line(', '.join(nearest))} and {len(known) - len(nearest):,} more"


def typed(name: str) -> str:
    r"""What a person typed, as text. Bytes that are not characters in the locale's encoding are read as UTF-8.

    Bytes that are not UTF-8 either become escapes, as in `\xff`, which no name has.
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def shown(name: str) -> str:
    """A name inside a sentence. An empty name is shown as ''."""
    return line(name) or "''"


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
