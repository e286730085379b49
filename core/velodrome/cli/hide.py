"""`hide`, `unhide` and `marks`: runs that count as missing, and who said what about a board's results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from velodrome.board.choosing import typed
from velodrome.cli import completion
from velodrome.cli.cluster.commands import Context, Kubeconfig
from velodrome.cli.console import answer, say, write_json
from velodrome.cli.options import InstalledIn, Json, OnCluster, RedisUrl
from velodrome.text import line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from velodrome.results.marks import Deed, Hiding
    from velodrome.results.records import JobInfo
    from velodrome.store import Store

HIDE_EXAMPLES = """\
  velodrome hide digits/cnn/0 --reason "the wrong data were mounted"
  velodrome hide night-3/cnn/2 --reason "its GPU was throttled" --cluster
"""
UNHIDE_EXAMPLES = """\
  velodrome unhide digits/cnn/0
"""
MARKS_EXAMPLES = """\
  velodrome marks
  velodrome marks digits --json
"""

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="JOB/ENTRY/REPEAT or JOB/INDEX; JOB is a name (the newest) or a uid.",
        autocompletion=completion.runs,
    ),
]


def hide(
    run: RunArgument,
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why: it stands wherever the entry has no rank.")],
    json: Json = False,
    redis: RedisUrl = None,
    cluster: OnCluster = False,
    installed_in: InstalledIn = "velodrome",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Let a run count as missing: its values rank nowhere, and its entry is unranked with the reason.

    Nothing is deleted: `velodrome unhide` shows the run again.
    """
    from velodrome.board.marking import hide as hide_run
    from velodrome.cli.connection import chosen_store

    with chosen_store(redis, installed_in, context, kubeconfig, cluster=cluster, writes=True) as store:
        job, index = _run(store, run)
        try:
            mark = hide_run(store, job, index, typed(reason), user(), now())
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--reason") from error
    told = f"{job.board}: the run of seed {mark.seed} of {mark.entry} in job {job.name} ({job.uid}) is hidden"
    answer(told, _document(job, index, mark, hidden=True), json=json)


def unhide(
    run: RunArgument,
    *,
    json: Json = False,
    redis: RedisUrl = None,
    cluster: OnCluster = False,
    installed_in: InstalledIn = "velodrome",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show a hidden run again: its values count."""
    from velodrome.board.marking import show_again
    from velodrome.cli.connection import chosen_store

    with chosen_store(redis, installed_in, context, kubeconfig, cluster=cluster, writes=True) as store:
        job, index = _run(store, run)
        mark = show_again(store, job, index, user(), now())
    told = f"{job.board}: the run of seed {mark.seed} of {mark.entry} in job {job.name} ({job.uid}) counts again"
    answer(told, _document(job, index, mark, hidden=False), json=json)


def marks(
    board: Annotated[
        str | None,
        typer.Argument(
            metavar="[BOARD]", help="Only this board; all where it is left out.", autocompletion=completion.boards
        ),
    ] = None,
    json: Json = False,
    redis: RedisUrl = None,
    cluster: OnCluster = False,
    installed_in: InstalledIn = "velodrome",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show who pinned, accepted or hid what, and when: the newest first."""
    from velodrome.cli.connection import chosen_store
    from velodrome.cli.lookup import chosen_board

    with chosen_store(redis, installed_in, context, kubeconfig, cluster=cluster) as store:
        boards = [chosen_board(store, board)] if board is not None else [one.name for one in store.boards()]
        found = sorted((deed for name in boards for deed in store.log(name)), key=lambda deed: deed.at, reverse=True)
    if json:
        write_json({"deeds": [deed.model_dump(mode="json") for deed in found]})
    elif not found:
        say("Nobody has pinned, accepted or hidden anything.")
    for words in () if json else _lines(found):
        say(words)


def _document(job: JobInfo, index: int, mark: Hiding, *, hidden: bool) -> dict[str, object]:
    return {
        "board": job.board,
        "entry": mark.entry,
        "job": job.name,
        "job_uid": job.uid,
        "index": index,
        "seed": mark.seed,
        "hidden": hidden,
        "reason": mark.note,
    }


def user() -> str:
    """Who runs this command, as this machine calls them; empty if it does not say."""
    import getpass

    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return ""


def _lines(deeds: list[Deed]) -> Iterator[str]:
    from velodrome.board.marking import deed_words
    from velodrome.units import clock_time

    for deed in deeds:
        yield line(f"{clock_time(deed.at, '%Y-%m-%d %H:%M')}  {deed.board}  {deed_words(deed)}")


def _run(store: Store, run: str) -> tuple[JobInfo, int]:
    from velodrome.cli.lookup import found_job, found_trial

    name, *parts = run.split("/")
    job = found_job(store, name, "RUN")
    return job, found_trial(job, parts)


def now() -> datetime:
    """The time of what this command says of results."""
    from datetime import UTC, datetime

    return datetime.now(UTC)
