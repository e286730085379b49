"""Runs one BenchmarkJob on this machine, from the object to the end of the race."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping

from velodrome.machine.files import write_private
from velodrome.machine.home import Home
from velodrome.machine.processes.lock import lock_job
from velodrome.machine.processes.stop import Stop
from velodrome.machine.race.connection import Connection
from velodrome.machine.race.decisions import ignored_here
from velodrome.machine.race.events import Note, Watch
from velodrome.machine.race.executor import Executor, Finish, RaceSettings
from velodrome.machine.race.past import changed_code, taken_over
from velodrome.own_code import plan_code
from velodrome.plan import Plan, local_uid
from velodrome.pressure import busy_now
from velodrome.results.records import utc
from velodrome.results.registration import job_info, stored_document
from velodrome.store import Store


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

    Raises:
        LocalError: another process runs this race, or this machine can't run it.
        StoreUnavailable, StoreRefused: Redis stays unavailable, or is full.
    """
    code = plan_code(plan)
    uid = connection.ask(lambda store: choose_uid(store, plan, code, fresh=fresh))
    lock = lock_job(home, uid, plan.job.metadata.name)
    try:
        write_private(home.job(uid) / "spec.json", json.dumps(stored_document(plan.job)).encode())
        said = connection.ask(lambda store: changed_code(store, plan, uid, code))
        connection.ask(lambda store: store.register(job_info(plan, uid, utc(clock()))))
        if not fresh and uid == local_uid(plan, 0, code):
            said += connection.ask(lambda store: taken_over(store, plan, uid, code, utc(clock())))
        for text in said:
            watch(Note(text))
        for text in notes(plan, settings, connection, uid):
            watch(Note(text))
        return Executor(plan, uid, home, connection, settings, watch, stop, clock).run()
    finally:
        lock.release()


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
    before = connection.ask(lambda store: _earlier_resources(store, uid))
    now = (float(settings.cpus), settings.parallel)
    if before is not None and before != now:
        said.append(
            f"finished trials ran {_words(before)}, the rest will run {_words(now)}: their speeds are not ranked "
            "together. To compare speeds, run it as before, or all of it again with --fresh"
        )
    busy = busy_now()
    if busy:
        said.append(
            f"this machine is busy: {busy}. Trials that are measured meanwhile are marked: "
            "stop what runs here, or race on a machine of its own, if speeds count"
        )
    return said


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
