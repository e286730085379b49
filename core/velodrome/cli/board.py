"""`results` and `jobs`: which entry is best, and which jobs were raced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from velodrome.board.choosing import NOTHING
from velodrome.cli import completion
from velodrome.cli.console import say, write_json, write_rows
from velodrome.cli.lookup import chosen_board, chosen_objectives
from velodrome.cli.options import BoardArgument, Json, ObjectiveOption, RedisUrl
from velodrome.text import command, line

if TYPE_CHECKING:
    from velodrome.board.reading import ObjectiveReading
    from velodrome.results.records import JobInfo
    from velodrome.store import Counts, Store

RESULTS_EXAMPLES = """\
  velodrome results
  velodrome results digits --objective speed
  velodrome results digits --filter "optimizer = AdamW, params < 1e6" --sort params
  velodrome results digits --csv > digits.csv
  velodrome results digits --csv --per-seed > values.csv
"""
JOBS_EXAMPLES = """\
  velodrome jobs
  velodrome jobs --board digits --json
"""

_WIDTH_WITH_UIDS = 110  # a uid has 36 characters: in a narrower terminal it would break the other columns


def results(
    board: BoardArgument = None,
    *,
    objective: ObjectiveOption = None,
    cohort: Annotated[
        str | None, typer.Option(metavar="ID", help="Values of these conditions instead of the newest ones.")
    ] = None,
    filtered: Annotated[
        str, typer.Option("--filter", metavar="TEXT", help="Only entries such as: optimizer = AdamW, params < 1e6")
    ] = "",
    sorted_by: Annotated[
        str, typer.Option("--sort", metavar="COLUMNS", help="Sort by columns such as: -n, optimizer; - is falling.")
    ] = "",
    cohorts: Annotated[bool, typer.Option("--cohorts", help="List the conditions that there are values for.")] = False,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Write CSV to standard output.")] = False,
    per_seed: Annotated[
        bool, typer.Option("--per-seed", help="With --csv: a row for each value instead of each mean.")
    ] = False,
    redis: RedisUrl = None,
) -> None:
    """Show who is best at each objective of a board, by how much, and which entries can't be told apart.

    A rank is what it may be: 1-3 is 1 + the number of entries that are significantly better, to the number of
    entries less those that are significantly worse. Values are means over trials with their 95 % interval. They are
    ranked together only if data, preprocessing and budget agree; speed and efficiency also need the same hardware
    and software. An entry is ranked once all of its trials, two at least, succeeded.

    --filter compares columns by = != < <= > >= and ~ (contains): rank, mean, n, status, job, an objective, params, or
    a parameter such as optimizer, learningRate or model. All conditions must hold. Ranks stay those of all entries.
    """
    from velodrome.cli.connection import results_store

    if json and csv:
        raise typer.BadParameter("choose one of --json and --csv")
    if per_seed and (cohorts or not csv):
        raise typer.BadParameter("it is for --csv alone; --json has the values by seed anyway", param_hint="--per-seed")
    if cohorts and cohort is not None:
        raise typer.BadParameter("choose one of --cohorts, which lists them, and --cohort, which shows one")
    with results_store(redis) as store:
        chosen = chosen_board(store, board)
        if cohorts:
            _print_cohorts(store, chosen, objective, form="json" if json else "csv" if csv else "table")
            return
        readings = _readings(store, chosen, objective, cohort, verdicts=json)
        if filtered or sorted_by:
            readings = _narrowed(store, chosen, readings, filtered, sorted_by)
    if csv:
        from velodrome.board import rows

        if per_seed:
            write_rows([rows.ValueRow._fields, *rows.value_rows(chosen, readings)])
        else:
            write_rows([rows.RankingRow._fields, *rows.ranking_rows(chosen, readings)])
    elif json:
        from velodrome.board.document import board_document

        write_json(board_document(chosen, readings).model_dump(mode="json"))
    else:
        print_board(chosen, readings)


def jobs(
    board: Annotated[
        str | None,
        typer.Option(metavar="BOARD", help="Only the jobs of this board.", autocompletion=completion.boards),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Most jobs to list.")] = 50,
    json: Json = False,
    redis: RedisUrl = None,
) -> None:
    """List the jobs that have been raced, newest first."""
    from velodrome.cli.connection import results_store

    with results_store(redis) as store:
        chosen = None if board is None else chosen_board(store, board)
        found = [(job, store.counts(job.uid)) for job in store.jobs(chosen, limit=limit)]
    if json:
        write_json({"jobs": [_job_document(job, counts) for job, counts in found]})
    elif not found:
        say(NOTHING)
    else:
        _print_jobs(found)


def _readings(
    store: Store, board: str, objective: str | None, cohort: str | None, *, verdicts: bool
) -> tuple[ObjectiveReading, ...]:
    """The board's objectives, or those that have that cohort; a usage error if there is no such objective."""
    from velodrome.board.viewing import read_objectives

    found = read_objectives(store, board, chosen_objectives(store, board, objective), cohort, verdicts=verdicts)
    if cohort is None:
        return found
    found = tuple(one for one in found if one.cohort and one.cohort.cohort_id == cohort)
    if not found:
        look = command("velodrome", "results", board, "--cohorts")
        said = f"{board} has no values in cohort {cohort!r}; {look} lists what there is"
        raise typer.BadParameter(line(said), param_hint="--cohort")
    return found


def _narrowed(
    store: Store, board: str, readings: tuple[ObjectiveReading, ...], filtered: str, sorted_by: str
) -> tuple[ObjectiveReading, ...]:
    """The same objectives, with the entries that were asked for; a usage error if the text can't be read."""
    from velodrome.board.narrowing import BadFilter, conditions, narrow, narrowed, order_of
    from velodrome.board.sheet import sheets_of

    found = []
    for sheet in sheets_of(store, board, readings):
        for option, text, read in (("--filter", filtered, conditions), ("--sort", sorted_by, order_of)):
            try:
                read(sheet, text)
            except BadFilter as error:
                raise typer.BadParameter(str(error), param_hint=option) from error
        found.append(narrowed(sheet, narrow(sheet, filtered, sorted_by)))
    return tuple(found)


def print_board(board: str, readings: tuple[ObjectiveReading, ...]) -> None:
    """The rankings of a board, for people."""
    from velodrome.cli.console import output
    from velodrome.cli.ranking_output import print_rankings

    console = output()
    console.print(f"board {line(board)}", style="bold", markup=False)
    print_rankings(console, readings)


def _print_cohorts(store: Store, board: str, objective: str | None, *, form: Literal["table", "json", "csv"]) -> None:
    from velodrome.board.cohorts import cohort_labels
    from velodrome.cli.console import output, table

    found = {one: store.cohorts(board, str(one.key)) for one in chosen_objectives(store, board, objective)}
    if form == "json":
        write_json(
            {
                "board": board,
                "cohorts": {
                    one.name: [{"id": c.cohort_id, "conditions": c.conditions, "entries": c.entries} for c in cohorts]
                    for one, cohorts in found.items()
                },
            }
        )
        return
    columns = ("objective", "cohort", "entries", "trials", "conditions")
    labels = {one.name: cohort_labels(cohorts) for one, cohorts in found.items()}
    rows = [
        (one.name, cohort.cohort_id, cohort.entries, cohort.samples, labels[one.name][cohort.cohort_id])
        for one, cohorts in found.items()
        for cohort in cohorts
    ]
    if form == "csv":
        write_rows([("board", *columns), *((board, *row) for row in rows)])
        return
    shown = table(*columns, numbers=frozenset({"entries", "trials"}))
    for row in rows:
        shown.add_row(*map(str, row))
    output().print(shown)


def _print_jobs(found: list[tuple[JobInfo, Counts]]) -> None:
    from datetime import UTC, datetime

    from velodrome.cli.console import output, table
    from velodrome.units import clock_time, from_the_future

    now = datetime.now(UTC)
    console = output()
    columns = ("job", "board", "started", "trials", "succeeded", "failed", "uid")
    fits = console.width >= _WIDTH_WITH_UIDS
    shown = table(*(columns if fits else columns[:-1]))
    for job, counts in found:
        started = f"{clock_time(job.created_at, '%Y-%m-%d %H:%M')}{from_the_future(job.created_at, now)}"
        numbers = (str(job.asked), str(counts.succeeded), str(counts.failed))
        shown.add_row(job.name, job.board, started, *numbers, *((job.uid,) if fits else ()))
    console.print(shown)
    if not fits:
        say("A wider terminal and --json show uids too.")


def _job_document(job: JobInfo, counts: Counts) -> dict[str, Any]:
    return {
        "uid": job.uid,
        "name": job.name,
        "board": job.board,
        "created_at": job.created_at.isoformat(),
        "trials": job.asked,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
    }
