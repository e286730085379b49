"""`regressions`, `baseline` and `ack`: what became worse, compared with what, and which changes are accepted."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from velodrome.board.choosing import typed
from velodrome.cli import completion
from velodrome.cli.cluster.commands import Context, Kubeconfig
from velodrome.cli.console import answer, say, write_json
from velodrome.cli.exit_codes import FAILED
from velodrome.cli.hide import now, user
from velodrome.cli.lookup import chosen_board, chosen_objectives, found_job, objective_of, require_entry
from velodrome.cli.options import InstalledIn, Json, OnCluster, RedisUrl
from velodrome.text import counted, line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from velodrome.trends.regressions import Comparison

REGRESSIONS_EXAMPLES = """\
  velodrome regressions
  velodrome regressions digits --json
"""
SET_EXAMPLES = """\
  velodrome baseline set digits cnn
  velodrome baseline set digits cnn --objective speed --note "release 1.4"
"""
SHOW_EXAMPLES = """\
  velodrome baseline show
  velodrome baseline show --board digits --json
"""
CLEAR_EXAMPLES = """\
  velodrome baseline clear digits cnn
"""
ACK_EXAMPLES = """\
  velodrome ack digits cnn --objective speed --note "traded for accuracy"
  velodrome ack digits cnn --objective speed --undo
  velodrome ack night-3 cnn --cluster     # where the cluster keeps its results
"""

JobArgument = Annotated[
    str,
    typer.Argument(metavar="JOB", help="A job, by name (the newest) or uid.", autocompletion=completion.jobs),
]
EntryArgument = Annotated[
    str,
    typer.Argument(metavar="ENTRY", help="One of the job's entries.", autocompletion=completion.entries),
]
Note = Annotated[str, typer.Option(metavar="TEXT", help="Why, for those who look at it later.")]

baseline = typer.Typer(
    help="Say which results later ones are compared with.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=f"\b\nExamples:\n{SET_EXAMPLES}{SHOW_EXAMPLES}{CLEAR_EXAMPLES}",
)


def regressions(
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="[JOB]",
            help="A job, by name or uid; the newest where it is left out.",
            autocompletion=completion.jobs,
        ),
    ] = None,
    json: Json = False,
    redis: RedisUrl = None,
    cluster: OnCluster = False,
    installed_in: InstalledIn = "velodrome",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show what a job made worse or better, compared with the jobs before it.

    The exit code is 1 if an entry regressed and nobody accepted that. The job's spec.regression sets the rules.
    """
    from velodrome.cli.connection import chosen_store
    from velodrome.trends.regressions import judge

    with chosen_store(redis, installed_in, context, kubeconfig, cluster=cluster) as store:
        judged = found_job(store, job)
        found = judge(store, judged.uid)
    if json:
        from dataclasses import asdict

        write_json({"job": judged.name, "job_uid": judged.uid, "comparisons": [asdict(one) for one in found]})
    elif found:
        _print(found)
    else:
        say("This job has no values of its objectives yet.")
    if any(one.verdict == "Regressed" and not one.acknowledged for one in found):
        raise typer.Exit(FAILED)


@baseline.command("set", short_help="Pin a job's values of an entry.", epilog=f"\b\nExamples:\n{SET_EXAMPLES}")
def set_(
    job: JobArgument,
    entry: EntryArgument,
    *,
    objective: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only for this objective; for all where it is left out.",
            autocompletion=completion.objectives,
        ),
    ] = None,
    note: Note = "",
    json: Json = False,
    redis: RedisUrl = None,
    cluster: OnCluster = False,
    installed_in: InstalledIn = "velodrome",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Compare this entry's later values with those of JOB, instead of the level of the newest good jobs.

    If a job's spec.regression.baseline names another job, that one is its baseline.
    """
    from velodrome.board.marking import pin
    from velodrome.cli.connection import chosen_store

    with chosen_store(redis, installed_in, context, kubeconfig, cluster=cluster, writes=True) as store:
        chosen = found_job(store, job)
        key = "" if objective is None else str(objective_of(chosen, objective).key)
        require_entry(chosen, entry)
        with _usable_note():
            pin(store, chosen, entry, key, typed(note), user(), now())
    answer(
        f"{chosen.board}: {entry} is compared with job {chosen.name} ({chosen.uid}) from now on",
        {"board": chosen.board, "entry": entry, "metric_key": key or None, "job": chosen.name, "job_uid": chosen.uid},
        json=json,
    )


@baseline.command("show", short_help="List what is pinned.", epilog=f"\b\nExamples:\n{SHOW_EXAMPLES}")
def show(
    board: Annotated[
        str | None, typer.Option(metavar="BOARD", help="Only this board.", autocompletion=completion.boards)
    ] = None,
    json: Json = False,
    redis: RedisUrl = None,
    cluster: OnCluster = False,
    installed_in: InstalledIn = "velodrome",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """List pinned baselines."""
    from velodrome.cli.connection import chosen_store

    with chosen_store(redis, installed_in, context, kubeconfig, cluster=cluster) as store:
        boards = [chosen_board(store, board)] if board is not None else sorted(one.name for one in store.boards())
        found = [mark for name in boards for mark in store.baselines(name)]
    if json:
        write_json({"baselines": [mark.model_dump(mode="json") for mark in found]})
    elif not found:
        say("Nothing is pinned: values are compared with the level of the newest good jobs.")
    else:
        from velodrome.cli.console import output, table
        from velodrome.metrics.catalogue import label_of
        from velodrome.units import clock_time

        shown = table("board", "entry", "metric", "job", "since", "note")
        for mark in found:
            since = clock_time(mark.at, "%Y-%m-%d %H:%M")
            shown.add_row(mark.board, mark.entry, label_of(mark.metric_key) or "all", mark.job_uid, since, mark.note)
        output().print(shown)


@baseline.command("clear", short_help="Forget a pin.", epilog=f"\b\nExamples:\n{CLEAR_EXAMPLES}")
def clear(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="The board.", autocompletion=completion.boards)],
    entry: EntryArgument,
    *,
    objective: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only this objective's pin; all of the entry's otherwise.",
            autocompletion=completion.objectives,
        ),
    ] = None,
    json: Json = False,
    redis: RedisUrl = None,
    cluster: OnCluster = False,
    installed_in: InstalledIn = "velodrome",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Remove a pin: compare again with the level of the newest good jobs."""
    from velodrome.cli.connection import chosen_store

    with chosen_store(redis, installed_in, context, kubeconfig, cluster=cluster, writes=True) as store:
        board = chosen_board(store, board)
        named = [] if objective is None else chosen_objectives(store, board, objective)
        keys = {str(one.key) for one in named}
        pinned = [
            mark for mark in store.baselines(board) if mark.entry == entry and (not keys or mark.metric_key in keys)
        ]
        if not pinned:
            raise typer.BadParameter(
                f"nothing is pinned for {entry} on {board}: see `velodrome baseline show`", param_hint="ENTRY"
            )
        for mark in pinned:
            store.unmark(mark.model_copy(update={"by": user(), "at": now()}))
    answer(
        f"{board}: forgot {counted(len(pinned), 'pin')} of {entry}",
        {"board": board, "entry": entry, "forgotten": [mark.model_dump(mode="json") for mark in pinned]},
        json=json,
    )


def ack(
    job: JobArgument,
    entry: EntryArgument,
    *,
    objective: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only this objective; all of them where it is left out.",
            autocompletion=completion.objectives,
        ),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="No longer accept it.")] = False,
    note: Note = "",
    json: Json = False,
    redis: RedisUrl = None,
    cluster: OnCluster = False,
    installed_in: InstalledIn = "velodrome",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Accept a change: JOB's values of ENTRY raise no alarm, and later values are compared with them."""
    from velodrome.board.marking import acceptances
    from velodrome.cli.connection import chosen_store
    from velodrome.results.objectives import board_objectives

    with chosen_store(redis, installed_in, context, kubeconfig, cluster=cluster, writes=True) as store:
        chosen = found_job(store, job)
        require_entry(chosen, entry)
        all_keys = [str(one.key) for one in board_objectives([chosen])]
        keys = all_keys if objective is None else [str(objective_of(chosen, objective).key)]
        with _usable_note():
            marks = acceptances(chosen, entry, keys, typed(note), user(), now())
        if undo:
            keys = [mark.metric_key for mark in marks if store.unmark(mark)]
            if not keys:
                what = f"no {'change' if objective is None else objective} of {entry} in job {chosen.name} is accepted"
                raise typer.BadParameter(line(f"{what}, so nothing is undone"), param_hint="--undo")
        else:
            for mark in marks:
                store.mark(mark)
    done = "no longer accepted" if undo else "accepted; it is the baseline of what comes after"
    answer(
        f"{chosen.board}: {entry}'s {', '.join(keys)} in job {chosen.name} ({chosen.uid}): {done}",
        {
            "board": chosen.board,
            "entry": entry,
            "metric_keys": keys,
            "job": chosen.name,
            "job_uid": chosen.uid,
            "accepted": not undo,
        },
        json=json,
    )


@contextmanager
def _usable_note() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--note") from error


def _print(found: tuple[Comparison, ...]) -> None:
    from velodrome.cli.console import output

    styles = {"Regressed": "bold red", "Improved": "green", "Unchanged": "dim", "Unknown": "dim"}
    console = output()
    for words in dict.fromkeys(one.together for one in found if one.together):
        console.print(line(words), style="bold", markup=False, soft_wrap=True)
    together = alike(found)
    alone = [one for one in found if all(one not in group for group in together.values())]
    for one in sorted(alone, key=lambda one: list(styles).index(one.verdict)):
        accepted = " (accepted)" if one.acknowledged else ""
        console.print(f"{one.verdict}{accepted}", style=styles[one.verdict], end="  ", markup=False)
        console.print(line(one.sentence), markup=False, soft_wrap=True)
    for words, group in together.items():
        of: dict[str, list[str]] = {}
        for one in group:
            of.setdefault(one.objective, []).append(one.entry)
        named = "; ".join(f"{objective} of {', '.join(entries)}" for objective, entries in of.items())
        console.print("Unknown", style=styles["Unknown"], end="  ", markup=False)
        console.print(line(f"{named}: {words}"), markup=False, soft_wrap=True)


def alike(found: Iterable[Comparison]) -> dict[str, list[Comparison]]:
    """The comparisons that are unknown for a reason in the same words, by these words: two or more each. Pure.

    A sentence is `ENTRY, OBJECTIVE: WORDS`.
    """
    groups: dict[str, list[Comparison]] = {}
    for one in found:
        if one.verdict == "Unknown" and not one.acknowledged:
            groups.setdefault(one.sentence.removeprefix(f"{one.entry}, {one.objective}: "), []).append(one)
    return {words: group for words, group in groups.items() if len(group) > 1}
