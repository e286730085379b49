"""Deletes results in four steps: show what will be deleted, ask, export it, and only then delete it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from velodrome.cli.console import answer, ask, say
from velodrome.text import command, counted, line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from velodrome.cli.deletion_here import Place
    from velodrome.store.deletion import Deleter, DeletionTarget, Footprint


def delete_results(
    place: Place, target: DeletionTarget, *, yes: bool, export: Path | None, with_baselines: bool, json: bool
) -> None:
    """Deletes a job, an entry or a board, unless one of its races still runs. Tells what went, or a document of it.

    Raises:
        BadParameter: its race still runs, it is pinned, or there is no terminal to ask on; nothing was deleted.
        Abort: the person said no.
        LocalError: the export can't be written; nothing was deleted.
    """
    jobs = place.deleter.targets(target)
    for uid, why in place.going(jobs).items():
        name = next(job.name for job in jobs if job.uid == uid)
        raise typer.BadParameter(f"job {name} goes on: {why}", param_hint="WHAT")
    from velodrome.metrics.catalogue import label_of

    found = place.deleter.footprint(target)
    if not json:
        say(line(f"{words_of(place.deleter, target)}: {_measured(found)}."))
    if found.baselines and not with_baselines:
        pins = ", ".join(f"{mark.entry} {label_of(mark.metric_key) or '(all metrics)'}" for mark in found.baselines[:5])
        raise typer.BadParameter(
            f"it is pinned as the baseline of {pins}: pin another job (velodrome baseline set), or delete the pin with "
            "it (--with-baselines)",
            param_hint="WHAT",
        )
    confirmed(yes, "Delete it?", json=json)
    if export is not None:
        from velodrome.store import export_lines

        saved(export, export_lines(place.deleter, target.board, target.uid, target.entry), json=json)
    place.deleter.delete(target, with_baselines=with_baselines)
    place.forget(() if target.entry is not None else jobs)
    answer("Deleted.", _document(target, found, export), json=json)


def words_of(deleter: Deleter, target: DeletionTarget) -> str:
    """What is to be deleted, in words."""
    if target.uid is not None:
        job = deleter.job(target.uid)
        return f"job {job.name if job else target.uid} ({target.uid}) of board {target.board}"
    return f"board {target.board}" if target.entry is None else f"entry {target.entry} of board {target.board}"


def _document(target: DeletionTarget, found: Footprint, export: Path | None) -> dict[str, object]:
    return {
        "deleted": "job" if target.uid is not None else "board" if target.entry is None else "entry",
        "board": target.board,
        "job_uid": target.uid,
        "entry": target.entry,
        "jobs": found.jobs,
        "results": found.trials,
        "marks": [mark.model_dump(mode="json") for mark in found.marks],
        "bytes": found.bytes,
        "export": None if export is None else str(export),
    }


def _measured(found: Footprint) -> str:
    from velodrome.units import quantity

    pins = f", {len(found.baselines)} of them pinned baselines" if found.baselines else ""
    marks = f"{counted(len(found.marks), 'mark')}{pins}"
    counts = f"{counted(found.jobs, 'job')}, {counted(found.trials, 'result')}, {marks}"
    return f"{counts}; about {quantity('bytes', found.bytes)} of memory"


def confirmed(yes: bool, question: str, *, json: bool = False) -> None:
    """Returns if the person says yes or gave --yes; a usage error if there is no terminal to ask on, or if a program
    reads the answer.
    """
    if yes:
        return
    if json:
        raise typer.BadParameter("with --json nobody is asked: say --yes if you mean it", param_hint="--yes")
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask at: say --yes if you mean it", param_hint="--yes")
    ask(question)


def saved(file: Path, lines: Iterator[str], *, json: bool) -> None:
    """Writes an export. It is safe on the disk when this returns.

    Raises:
        LocalError: the export can't be written.
    """
    from velodrome.cli.transfer import write_file

    count = write_file(file, lines)
    if not json:
        say(line(f"{file}: {counted(count, 'line')}; {command('velodrome', 'import', file)} brings them back."))


def all_lines(deleter: Deleter, uids: Sequence[str]) -> Iterator[str]:
    """The export of several jobs."""
    from velodrome.store import export_lines

    for uid in uids:
        yield from export_lines(deleter, uid=uid)
