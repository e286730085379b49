"""`run`: a race on this machine."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from velodrome.cli.console import complain, write_json_line
from velodrome.cli.exit_codes import FAILED, OK
from velodrome.cli.options import Address, DataFolder, JobFile, Open, Port, RedisUrl
from velodrome.cli.outlet import going_on
from velodrome.text import command, counted, line

EXAMPLES = """\
  velodrome run deploy/examples/digits.yaml
  velodrome run job.yaml --serve                 watch it in a browser
  velodrome run job.yaml --serve --open --port 9000
  velodrome run job.yaml --parallel 2 --quiet
  velodrome run job.yaml --retry-failed          after mending what made trials fail
"""

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from velodrome.machine.home import Home
    from velodrome.machine.leaderboard import Leaderboard
    from velodrome.machine.processes.stop import Stop
    from velodrome.machine.race.events import Watch
    from velodrome.machine.race.executor import Finish, RaceSettings
    from velodrome.machine.redis.server import OwnRedis
    from velodrome.plan import Plan


def run(
    file: JobFile,
    *,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the leaderboard meanwhile, and after that until Ctrl-C.")
    ] = False,
    port: Port = None,
    address: Address = "127.0.0.1",
    open_: Open = False,
    parallel: Annotated[
        int, typer.Option(metavar="N", min=1, max=1024, help="Trials at once; they share the CPUs, and records say so.")
    ] = 1,
    cpus: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=4096, help="CPUs to use in all [default: all that it may use]."),
    ] = None,
    data: DataFolder = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Run every trial again, beside the results there are.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run the trials again that have failed.")
    ] = False,
    no_rehearsal: Annotated[bool, typer.Option("--no-rehearsal", help="Start the first trial at once.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and the rankings.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Write every event as a line of JSON, then the rankings.")
    ] = False,
    redis: RedisUrl = None,
) -> None:
    """Race the BenchmarkJobs of a file on this machine and show who is best.

    Before its first trial, a race is rehearsed: its data are read, each model is built and makes one step, each program
    is found. If something is wrong with an entry, no trial runs, and all that is wrong is shown.

    Each trial runs in its own process. If you run the command again, it continues: finished trials don't run
    twice, and Ctrl-C loses only the trials that run at that moment. Races take turns, so that they don't disturb
    each other's timing. With --parallel, trials of one race share the machine, and their speeds are ranked only
    with speeds that were measured in the same way.
    """
    from velodrome.api.places import folder_of
    from velodrome.api.racing import race_settings
    from velodrome.cli.connection import redis_for
    from velodrome.cli.files import plans_in
    from velodrome.cli.serve import open_browser
    from velodrome.machine.home import open_home
    from velodrome.machine.processes.stop import stopped_by_signals

    if not serve and (port is not None or open_ or address != "127.0.0.1"):
        raise typer.BadParameter("--port, --address and --open are for --serve: add it", param_hint="--serve")
    if quiet and json:
        raise typer.BadParameter("choose one of --quiet and --json")
    plans = plans_in(file)
    home = open_home()
    settings = race_settings(
        parallel, cpus, folder_of(data, home), retry_failed=retry_failed, rehearse=not no_rehearsal
    )
    with (
        going_on(),
        stopped_by_signals() as stop,
        redis_for(redis) as source,
        _served(home, source, port, address, wanted=serve) as board,
    ):
        if board is not None and open_:
            open_browser(board.url)
        code = OK
        for plan in plans:
            if stop.requested:
                break
            _tell_sight(plan, source, wanted=not (quiet or json))
            finish = _race(plan, home, source, settings, stop, fresh=fresh, watcher=_watcher(quiet=quiet, json=json))
            _tell_end(plan, finish, file, json=json)
            if finish.halt != "interrupted":
                _show_rankings(plan, source, json=json)
            if finish.halt is None and not (quiet or json):
                _tell_regressions(plan, source, finish.uid, file)
            code = max(code, FAILED if finish.halt in ("maxFailed", "noWinner") else OK)
        if board is not None and not stop.requested:
            from velodrome.cli.serve import serve_until_stopped

            complain(f"\nThe leaderboard is at {board.url} (Ctrl-C ends it)")
            serve_until_stopped(board, source, stop)
            raise typer.Exit(code)
        if stop.number is not None:
            raise typer.Exit(128 + stop.number)
        raise typer.Exit(code)


@contextmanager
def _served(
    home: Home, source: OwnRedis | str, port: int | None, address: str, *, wanted: bool
) -> Iterator[Leaderboard | None]:
    """The leaderboard. It starts before the first trial, so that its start does not disturb a trial."""
    if not wanted:
        yield None
        return
    from velodrome.machine.leaderboard import Leaderboard

    with Leaderboard(home, source if isinstance(source, str) else source.url, port, address) as board:
        board.await_up()
        complain(f"The leaderboard is at {board.url}")
        yield board


def _race(
    plan: Plan,
    home: Home,
    source: OwnRedis | str,
    settings: RaceSettings,
    stop: Stop,
    *,
    fresh: bool,
    watcher: AbstractContextManager[Watch],
) -> Finish:
    from velodrome.machine.race.connection import Connection
    from velodrome.machine.race.race import race

    with watcher as watch:
        connection = Connection(source, watch, stop)
        try:
            return race(plan, home, connection, settings, watch, stop, fresh=fresh)
        finally:
            connection.close()


def _watcher(*, quiet: bool, json: bool) -> AbstractContextManager[Watch]:
    """Shows progress on standard error, and leaves standard output to the rankings. JSON goes to standard output."""
    from contextlib import nullcontext

    from velodrome.cli import progress

    if json:
        return nullcontext(progress.JsonLines(write_json_line))
    if quiet:
        return nullcontext(progress.silence)
    if sys.stderr.isatty():
        return progress.Live(sys.stderr)
    return nullcontext(progress.Lines(complain))


def _write_event(event: str, document: Mapping[str, object]) -> None:
    from datetime import UTC, datetime

    write_json_line({"at": datetime.now(UTC).isoformat(), "event": event, **document})


def _end_document(plan: Plan, finish: Finish) -> dict[str, object]:
    return {
        "job": plan.job.metadata.name,
        "uid": finish.uid,
        "halt": finish.halt,
        "succeeded": finish.succeeded,
        "failed": finish.failed,
        "missing": finish.missing,
    }


def _tell_end(plan: Plan, finish: Finish, file: Path, *, json: bool) -> None:
    from velodrome.results.rounds import ending

    if json:
        _write_event("ended", _end_document(plan, finish))
    name, total = plan.job.metadata.name, finish.succeeded + finish.failed + finish.missing
    failed = f", {finish.failed} failed" if finish.failed else ""
    counts = f"{finish.succeeded} of {counted(total, 'search trial' if finish.searched else 'trial')} succeeded{failed}"
    was, is_ = ("was", "is") if finish.missing == 1 else ("were", "are")
    again = command("velodrome", "run", file)
    match finish.halt:
        case "maxFailed":
            allowed = plan.job.spec.trials.max_failed
            complain(
                f"{name} was stopped: {counted(finish.failed, 'trial')} failed and trials.maxFailed is {allowed}; "
                f"{counts}, {finish.missing} {was} not run.\n"
                f"  {command('velodrome', 'show', f'{finish.uid}/INDEX')} shows why; "
                f"once that is mended: {again} --retry-failed"
            )
        case "noWinner":
            complain(
                f"{name} was stopped: its search found no setting for an entry, and nothing was ranked; {counts}.\n"
                f"  Mend what makes the trials fail, or search elsewhere: then {again} --fresh"
            )
        case "interrupted":
            complain(f"{name} was interrupted; {counts}, {finish.missing} {is_} left.\n  Carry on: {again}")
        case None if finish.rounds is not None:
            complain(f"{name}: {ending(finish.rounds, finish.succeeded + finish.failed)}.\n{counts}.")
        case None:
            complain(f"{name}: {counts}.")


def _tell_sight(plan: Plan, source: OwnRedis | str, *, wanted: bool) -> None:
    """Says in one line what the race can see. Where the board's history can't be read, the race says why itself."""
    if not wanted:
        return
    from contextlib import suppress

    from velodrome.board.foresight import foresee, one_line
    from velodrome.cli.sight import noises_of
    from velodrome.errors import ActionNeeded, TryAgain
    from velodrome.store import open_store

    with (
        suppress(ActionNeeded, TryAgain),
        open_store(source if isinstance(source, str) else source.url) as store,
    ):
        words = one_line(foresee(plan, noises_of(store, plan)))
        if words is not None:
            complain(f"{plan.job.metadata.name}: {words}")


def _show_rankings(plan: Plan, source: OwnRedis | str, *, json: bool) -> None:
    """Shows the board as it is now, and the commands that show more. It keeps the reading for the pages."""
    from velodrome.board.kept import keep, kept_objectives
    from velodrome.board.viewing import objectives_of, read_objectives
    from velodrome.cli.board import print_board
    from velodrome.store import open_store

    board = plan.job.board
    with open_store(source if isinstance(source, str) else source.url) as store:
        if kept_objectives(store, board) is None:
            keep(store, board)
        readings = read_objectives(store, board, objectives_of(store, board), verdicts=json)
    if json:
        from velodrome.board.document import board_document

        _write_event("rankings", board_document(board, readings).model_dump(mode="json"))
        return
    print_board(board, readings)
    complain(
        f"\nAgain: {command('velodrome', 'results', board)}   "
        f"One trial: {command('velodrome', 'show', f'{plan.job.metadata.name}/ENTRY/REPEAT')}   "
        "In a browser: velodrome leaderboard"
    )


def _tell_regressions(plan: Plan, source: OwnRedis | str, uid: str, file: Path) -> None:
    """Reports what the race made worse, and how to confirm it if the job asks for that."""
    from velodrome.store import open_store
    from velodrome.trends.regressions import judge

    with open_store(source if isinstance(source, str) else source.url) as store:
        found = [one for one in judge(store, uid) if not one.acknowledged]
    awaiting = [one for one in found if one.awaits_confirmation]
    for one in (*(one for one in found if one.verdict == "Regressed"), *awaiting):
        complain(f"\n{one.sentence}")
    if awaiting:
        complain(
            "One more run with seeds of its own confirms this or does not: set spec.trials.baseSeed to "
            f"{plan.job.spec.trials.fresh_seed} in {line(file)}, then: {command('velodrome', 'run', file)}"
        )
