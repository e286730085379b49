"""`delete` and `prune`: delete races of a cluster, and results on this machine or elsewhere."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from velodrome.cli import completion
from velodrome.cli.cluster.commands import Context, Kubeconfig, Namespace
from velodrome.cli.console import answer, ask, say, write_json
from velodrome.cli.options import InstalledIn, Json, OnCluster, RedisUrl
from velodrome.text import command, line

if TYPE_CHECKING:
    from velodrome.board.retention import Retention
    from velodrome.cli.cluster.kubectl import Kubectl
    from velodrome.cli.deletion_here import Place
    from velodrome.results.records import JobInfo
    from velodrome.store.deletion import Deleter, DeletionTarget

DELETE_EXAMPLES = """\
  velodrome delete job night-3            # the results of a job, by name (the newest) or uid
  velodrome delete entry digits cnn       # an entry of a board, out of all its jobs
  velodrome delete board digits --export digits.jsonl
  velodrome delete board digits --cluster # where the cluster keeps its results
  velodrome delete cifar10                # a race of the cluster, with its pods; its results stay
"""
PRUNE_EXAMPLES = """\
  velodrome prune --keep-jobs 20 --dry-run
  velodrome prune --older-than 90d --board digits --export old.jsonl
"""

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
Export = Annotated[
    Path | None, typer.Option("--export", metavar="FILE", help="First write what goes to this file, for import.")
]

_AGE = re.compile(r"(\d{1,6})([dhw])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}


def delete(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="WHAT...",
            help="job JOB, entry BOARD ENTRY, board BOARD, or a race's NAME.",
            autocompletion=completion.deleted,
        ),
    ],
    *,
    yes: Yes = False,
    export: Export = None,
    with_baselines: Annotated[
        bool, typer.Option("--with-baselines", help="Also what is pinned as a baseline, and the pin.")
    ] = False,
    json: Json = False,
    cluster: OnCluster = False,
    redis: RedisUrl = None,
    namespace: Namespace = None,
    installed_in: InstalledIn = "velodrome",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Delete results: of a job, of an entry on its board, or a whole board; or delete a race of the cluster.

    The command first shows what it will delete, and the memory that this frees. Then each entry ranks by its newest
    job that is left. A job whose race still runs is refused. With a NAME alone, the command deletes the BenchmarkJob
    of that name and its pods, and accepted results stay on the leaderboard.
    """
    from velodrome.cli.cluster.kubectl import Kubectl

    if len(what) == 1:
        if export is not None or with_baselines:
            raise typer.BadParameter(
                f"a race's results stay, so nothing is exported: write job {what[0]} or board {what[0]} to delete "
                "results",
                param_hint="WHAT",
            )
        _delete_race(Kubectl(namespace, context, kubeconfig), what[0], yes=yes, json=json)
        return
    from velodrome.cli.deletion import delete_results
    from velodrome.cli.deletion_here import place

    with place(redis, Kubectl(namespace, context, kubeconfig) if cluster else None, installed_in) as found:
        target = _target(found.deleter, what)
        delete_results(found, target, yes=yes, export=export, with_baselines=with_baselines, json=json)


def _target(deleter: Deleter, what: list[str]) -> DeletionTarget:
    """What is to be deleted; a usage error if it does not exist."""
    from velodrome.board.choosing import listing
    from velodrome.cli.lookup import chosen_board, found_job
    from velodrome.store.deletion import DeletionTarget

    match what:
        case ["job", name]:
            job = found_job(deleter, name, "WHAT")
            return DeletionTarget(job.board, uid=job.uid)
        case ["entry", board, entry]:
            target = DeletionTarget(chosen_board(deleter, board), entry=entry)
            if not deleter.targets(target):
                names = listing(entry, [state.entry for _, state in deleter.board_entries(board)]) or "none"
                said = f"board {line(board)} has no entry {line(entry)}; it has: {names}"
                raise typer.BadParameter(said, param_hint="WHAT")
            return target
        case ["board", board]:
            return DeletionTarget(chosen_board(deleter, board))
    raise typer.BadParameter(
        f"{' '.join(what)}: write job JOB, entry BOARD ENTRY, board BOARD, or the NAME of a race of the cluster",
        param_hint="WHAT",
    )


def _delete_race(kubectl: Kubectl, name: str, *, yes: bool, json: bool) -> None:
    from velodrome.cli.cluster import report
    from velodrome.cli.cluster.kubectl import BENCHMARKJOBS
    from velodrome.errors import ClusterError

    try:
        job = kubectl.json("get", BENCHMARKJOBS, name)
    except ClusterError as error:
        here = f"for results of this machine: {command('velodrome', 'delete', 'job', name)}, or `delete board`"
        raise ClusterError(error.said, "; ".join(filter(None, (error.fix, here)))) from error
    done = job.get("status", {}).get("trials", {}).get("done", "0")
    if not yes and json:
        raise typer.BadParameter("with --json nobody is asked: say --yes if you mean it", param_hint="--yes")
    if not yes:
        ask(f"Delete {name} ({report.state(job)}, {line(done)} trials done)? Its results stay")
    kubectl.text("delete", BENCHMARKJOBS, name, "--wait=true")
    answer(f"{name} is deleted; its results stay.", {"deleted": "race", "name": name}, json=json)


def prune(
    *,
    keep_jobs: Annotated[
        int | None, typer.Option("--keep-jobs", metavar="N", min=1, help="Keep a board's newest N jobs.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="Delete what is older, as 90d, 12w or 36h.")
    ] = None,
    board: Annotated[
        str | None, typer.Option(metavar="BOARD", help="Only this board.", autocompletion=completion.boards)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted, and delete nothing.")] = False,
    yes: Yes = False,
    export: Export = None,
    json: Json = False,
    cluster: OnCluster = False,
    redis: RedisUrl = None,
    installed_in: InstalledIn = "velodrome",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Delete old jobs: those beyond a board's newest N, and those older than an age.

    With any limits, these stay: a board's newest job, pinned baselines, each entry's newest job and its newest job
    with values, and jobs whose race still runs.
    """
    from velodrome.board.retention import Retention as Limits
    from velodrome.cli.cluster.kubectl import Kubectl
    from velodrome.cli.deletion_here import place

    if keep_jobs is None and older_than is None:
        raise typer.BadParameter("say what is to stay", param_hint="--keep-jobs or --older-than")
    rules = Limits(keep_jobs, None if older_than is None else _age(older_than))
    with place(redis, Kubectl(None, context, kubeconfig) if cluster else None, installed_in) as found:
        going = _overdue(found, rules, board)
        listed = _listed(found.deleter, going)
        if not json:
            _tell(listed)
        if going and not dry_run:
            _prune(found, going, yes=yes, export=export, json=json)
        if json:
            document = {
                "jobs": [_document(*one) for one in listed],
                "deleted": bool(going) and not dry_run,
                "export": str(export) if export is not None and going and not dry_run else None,
            }
            write_json(document)


def _age(text: str) -> timedelta:
    found = _AGE.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text} is no age: write 90d, 12w or 36h", param_hint="--older-than")
    return timedelta(hours=int(found[1]) * _HOURS[found[2]])


def _overdue(found: Place, rules: Retention, board: str | None) -> list[JobInfo]:
    from velodrome.board.retention import overdue_of
    from velodrome.cli.lookup import chosen_board

    deleter, now = found.deleter, datetime.now(UTC)
    boards = [chosen_board(deleter, board)] if board is not None else sorted(one.name for one in deleter.boards())
    jobs = [job for name in boards for job in overdue_of(deleter, name, rules, (), now)]
    going = found.going(jobs)
    return [job for job in jobs if job.uid not in going]


def _listed(deleter: Deleter, jobs: list[JobInfo]) -> list[tuple[JobInfo, int]]:
    """Each job with the number of its results."""
    return list(zip(jobs, deleter.result_counts([job.uid for job in jobs]), strict=True))


def _document(job: JobInfo, results: int) -> dict[str, object]:
    return {
        "name": job.name,
        "uid": job.uid,
        "board": job.board,
        "created_at": job.created_at.isoformat(),
        "results": results,
    }


def _tell(jobs: list[tuple[JobInfo, int]]) -> None:
    from velodrome.cli.console import output, table
    from velodrome.units import clock_time

    if not jobs:
        say("Nothing is past these limits.")
        return
    shown = table("goes", "board", "started", "results", "uid", numbers=frozenset({"results"}))
    for job, count in jobs:
        started = clock_time(job.created_at, "%Y-%m-%d %H:%M")
        shown.add_row(job.name, job.board, started, str(count), job.uid)
    output().print(shown)


def _prune(found: Place, jobs: list[JobInfo], *, yes: bool, export: Path | None, json: bool) -> None:
    from velodrome.cli.deletion import all_lines, confirmed, saved
    from velodrome.store.deletion import DeletionTarget

    confirmed(yes, f"Delete {len(jobs)} jobs?" if len(jobs) > 1 else "Delete it?", json=json)
    if export is not None:
        saved(export, all_lines(found.deleter, [job.uid for job in jobs]), json=json)
    for job in jobs:
        found.deleter.delete(DeletionTarget(job.board, uid=job.uid))
    found.forget(jobs)
    if not json:
        say(f"{len(jobs)} deleted.")
