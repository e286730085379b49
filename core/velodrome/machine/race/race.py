"""Runs one BenchmarkJob on this machine, from the object to the end of the race."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from velodrome.board.rounds import read_rounds
from velodrome.board.warm_start import register_search
from velodrome.kernel.pressure import busy_now
from velodrome.keys import search_uid
from velodrome.machine.files import write_private
from velodrome.machine.home import Home
from velodrome.machine.processes.lock import lock_job
from velodrome.machine.processes.stop import Stop
from velodrome.machine.race.connection import Connection, StopRequested
from velodrome.machine.race.decisions import ignored_here, to_run
from velodrome.machine.race.events import Note, Watch
from velodrome.machine.race.executor import Executor, Finish, Lane, RaceSettings
from velodrome.machine.race.past import carried_search, changed_code, taken_over, to_take_over
from velodrome.machine.race.rehearsal import Stage, before_race
from velodrome.machine.race.searching import search_race
from velodrome.own_code import plan_code
from velodrome.plan import Plan, local_uid
from velodrome.results.records import JobInfo, utc
from velodrome.results.registration import first_round, job_info, stored_document
from velodrome.results.rounds import asked
from velodrome.search.trials import confirming
from velodrome.store import Store, TrialSummary


def race(
    plan: Plan,
    home: Home,
    connection: Connection,
    settings: RaceSettings,
    watch: Watch,
    stop: Stop,
    *,
    fresh: bool = False,
    clock: Callable[[], float] = time.time,
) -> Finish:
    """Runs the trials of a plan that are not finished. `fresh` runs all of them again, as a new race.

    If the settings ask for it, each entry with such a trial is rehearsed first. Nothing is stored before that.

    Raises:
        SpecError: the rehearsal found problems.
        LocalError: another process runs this race, or this machine can't run it.
        StoreUnavailable, StoreRefused: Redis stays unavailable, or is full.
    """
    code = plan_code(plan)
    uid = connection.ask(lambda store: choose_uid(store, plan, code, fresh=fresh))
    lock = lock_job(home, uid, plan.job.metadata.name)
    lane, registered = Lane.of(plan, uid, home, settings), False
    standing: Mapping[int, TrialSummary] = {}
    try:
        standing = connection.ask(lambda store: store.trials(uid))
        registered = connection.ask(lambda store: store.job(uid)) is not None
        gives = not fresh and uid == local_uid(plan, 0, code)
        if settings.rehearse:
            wanted = asked(plan, connection.ask(lambda store: read_rounds(store, plan, uid)))
            left = set(to_run(wanted, standing, retry_failed=settings.retry_failed))
            if gives:
                left -= connection.ask(lambda store: to_take_over(store, plan, uid, code, utc(clock())))
            positions = {index % len(plan.configs) for index in left}
            stage = Stage(lane.starter, lane.folder / "rehearsal", settings.data, settings.cpus, partial(_heed, stop))
            before_race(plan, positions, home, lane.track, stage, watch)
        registered = True
        write_private(home.job(uid) / "spec.json", json.dumps(stored_document(plan.job)).encode())
        said = connection.ask(lambda store: changed_code(store, plan, uid, code))
        connection.ask(lambda store: store.register(job_info(plan, uid, utc(clock()))))
        base = plan

        def take_over() -> list[str]:
            return connection.ask(lambda store: taken_over(store, plan, base, uid, code, utc(clock()))) if gives else []

        if plan.job.spec.search is not None:
            at = utc(clock())
            carried = connection.ask(lambda store: carried_search(store, plan, uid, code, at)) if gives else ""
            warm = connection.ask(lambda store: register_search(store, plan, job_info(plan, uid, at)))
            own = replace(lane, folder=home.make(home.job(search_uid(uid))), borrowed=True)
            before = [text for text in (warm, carried) if text]
            found = search_race(plan, uid, own, connection, settings, watch, before, stop, clock)
            if isinstance(found, Finish):
                return found
            plan = confirming(plan, found)
        for text in (*said, *take_over()):
            watch(Note(text))
        for text in notes(plan, settings, connection, uid):
            watch(Note(text))
        return Executor(plan, uid, lane, connection, settings, watch, stop, clock).run(take_over)
    except StopRequested:
        done = Counter(summary.outcome for summary in standing.values())
        missing = len(asked(plan, first_round(plan))) - done.total()
        return Finish(uid, done["Succeeded"], done["Failed"], max(0, missing), "interrupted")
    finally:
        lane.leave()
        if not registered:
            (lane.folder / "starter.log").unlink(missing_ok=True)
        lock.release()


def _heed(stop: Stop) -> None:
    if stop.requested:
        raise StopRequested


def choose_uid(store: Store, plan: Plan, code: Mapping[str, str], *, fresh: bool) -> str:
    """The uid of the newest generation of this race that has begun, or of the next one. New own code is a new race."""
    generation = 0
    while store.job(local_uid(plan, generation, code)) is not None:
        generation += 1
    return local_uid(plan, generation if fresh else max(0, generation - 1), code)


def notes(plan: Plan, settings: RaceSettings, connection: Connection, uid: str) -> list[str]:
    """What the person should know before the race starts."""
    said = []
    ignored = ignored_here(plan)
    if ignored:
        said.append(f"on one machine these say nothing and are ignored: {', '.join(ignored)}")
    board = plan.job.board
    said += joined(plan.job.metadata.name, board, connection.ask(lambda store: store.jobs(board)))
    before = connection.ask(lambda store: _earlier_resources(store, uid))
    now = (float(settings.cpus), settings.parallel)
    if before is not None and before != now:
        said.append(
            f"finished trials ran {_words(before)}, the rest will run {_words(now)}: their speeds are not ranked "
            "together. To compare speeds, run it as before, or all of it again with --fresh"
        )
    return said + busy_notes()


def joined(name: str, board: str, jobs: Iterable[JobInfo]) -> list[str]:
    """That a board has jobs of other names, with which this job is ranked together. `jobs` are newest first. Pure."""
    others = list(dict.fromkeys(job.name for job in jobs if job.name != name))
    if not others:
        return []
    named = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    return [f"it joins board {board}, used by {named}; another spec.board in the file keeps it apart"]


def busy_notes(root: Path = Path("/"), sleep: Callable[[float], None] = time.sleep) -> list[str]:
    """What other programs do to this machine right now, if that disturbs trials. `root` holds `proc` and `sys`."""
    busy = busy_now(root, sleep)
    if not busy:
        return []
    meanwhile = "Trials that are measured meanwhile are marked"
    fix = "stop what runs here, or race on a machine of its own, if speeds count"
    return [f"this machine is busy: {busy}. {meanwhile}: {fix}"]


def _earlier_resources(store: Store, uid: str) -> tuple[float, int] | None:
    for index, summary in store.trials(uid).items():
        record = store.trial(uid, index) if summary.outcome == "Succeeded" else None
        if record is not None and record.result.environment is not None:
            resources = record.result.environment.resources
            return resources.cpus, resources.concurrent_trials
    return None


def _words(resources: tuple[float, int]) -> str:
    cpus, parallel = resources
    threads = f"with {cpus:g} CPU{'' if cpus == 1 else 's'} each"
    return f"{threads}, {'one' if parallel == 1 else parallel} at a time"
