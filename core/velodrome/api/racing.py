"""Runs a race on this machine, as `velodrome run` does."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from velodrome import keys
from velodrome.api.places import Where, folder_of, place_at
from velodrome.errors import Problem, SpecError
from velodrome.kernel.limits import cpu_limit, cpus_for_each
from velodrome.machine.processes.stop import Stop, stopped_by_signals
from velodrome.machine.race.connection import Connection
from velodrome.machine.race.events import Event, Watch
from velodrome.machine.race.executor import Finish, RaceSettings
from velodrome.machine.race.race import race
from velodrome.plan import plan
from velodrome.spec import BenchmarkJob
from velodrome.store import open_store


def run(  # noqa: PLR0913 - each is an option of `velodrome run`
    job: BenchmarkJob,
    *,
    where: Where = None,
    data: str | os.PathLike[str] | None = None,
    parallel: int = 1,
    cpus: int | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    rehearse: bool = True,
    watch: Watch | None = None,
) -> Finish:
    """Races a job on this machine, and returns how it ended. Trials that have a result don't run again.

    `where` says where results go, as for `open_results`. The other options are those of `velodrome run`. `watch` gets
    each event of `velodrome.machine.race.events` as it happens, in the calling thread.

    Ctrl-C, or a notebook's interrupt, ends the race and raises KeyboardInterrupt. What is finished is kept, and the
    same call carries on.

    Raises:
        SpecError: it is no BenchmarkJob, or the rehearsal found something wrong: no trial ran.
        LocalError: this machine lacks something, or another process races this job.
        StoreUnavailable, StoreRefused: Redis stays unavailable, or is full.
    """
    _check(job, parallel=parallel, cpus=cpus)
    made = plan(job)
    heard = watch or _silence
    with place_at(where, writes=True) as place, _stopped() as stop:
        with open_store(place.url) as store:
            store.ping()
        settings = race_settings(
            parallel, cpus, folder_of(data, place.home), retry_failed=retry_failed, rehearse=rehearse
        )
        connection = Connection(place.redis, heard, stop)
        try:
            finish = race(made, place.home, connection, settings, heard, stop, fresh=fresh)
        finally:
            connection.close()
    if finish.halt == "interrupted":
        raise KeyboardInterrupt
    return finish


def race_settings(parallel: int, cpus: int | None, data: Path, *, retry_failed: bool, rehearse: bool) -> RaceSettings:
    """The settings of a race on this machine. `cpus` are those of all trials together, by default all there are."""
    return RaceSettings(
        parallel=parallel,
        cpus=cpus_for_each(cpus or cpu_limit(), parallel),
        data=data,
        retry_failed=retry_failed,
        starter=(sys.executable, "-m", "velodrome_runner", "serve"),
        pushgateway=os.environ.get(keys.ENV_PUSHGATEWAY) or None,
        rehearse=rehearse,
    )


def _check(job: object, **least_one: int | None) -> None:
    if not isinstance(job, BenchmarkJob):
        hint = "(job,) = velodrome.read_jobs(PATH) reads one"
        raise SpecError((Problem("job", f"is a {type(job).__name__}, and no BenchmarkJob", hint),), "velodrome.run")
    small = [field for field, value in least_one.items() if value is not None and value < 1]
    if small:
        raise SpecError(tuple(Problem(field, "is less than 1") for field in small), "velodrome.run")


@contextmanager
def _stopped() -> Iterator[Stop]:
    """Stops at signals. Other threads than the main one can't handle any: there a race runs to its end."""
    if threading.current_thread() is not threading.main_thread():
        yield Stop()
        return
    with stopped_by_signals() as stop:
        yield stop


def _silence(event: Event) -> None:
    """Shows nothing."""
