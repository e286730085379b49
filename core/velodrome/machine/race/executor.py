"""Runs a job's trials on this machine: plan, run, collect, until every trial is finished or the race is stopped.

A race until decided looks at its values when the trials that it asked for are finished, and may ask for more.

It is level-triggered: the store says which trials are finished. The executor asks it at the start, after every outage
of Redis and at the end. So a killed executor or a lost reply costs time, and never a result.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from velodrome import keys
from velodrome.board.rounds import read_rounds
from velodrome.errors import LocalError
from velodrome.kernel.limits import host
from velodrome.machine.home import Home
from velodrome.machine.processes.lock import Track
from velodrome.machine.processes.starter import Event, Exited, Gone, Started, Starter, StartRefused
from velodrome.machine.processes.stop import Stop
from velodrome.machine.race import decisions, events
from velodrome.machine.race.attempts import Attempt, Attempts
from velodrome.machine.race.checkpoints import steps_saved
from velodrome.machine.race.connection import Connection, StopRequested
from velodrome.machine.race.delivery import Delivery
from velodrome.machine.race.ledger import Ledger
from velodrome.machine.race.live_metrics import LiveMetrics
from velodrome.machine.race.rehearsal import WARMING_UP
from velodrome.machine.race.running import GRACE_SECONDS, RunningTrial
from velodrome.monitoring.pushgateway import TrialKey
from velodrome.plan import Plan
from velodrome.results.records import Progress, Rounds, TrialResult
from velodrome.results.registration import first_round
from velodrome.results.rounds import asked

TICK_SECONDS = 0.2
# A runner that can't reach Redis for this long puts its result into the spool. Then the executor delivers it.
REPORT_SECONDS = 15
# A trial is recorded as failed if something else ended its processes more often than this.
MOST_WITHDRAWALS = 3

Halt = Literal["interrupted", "maxFailed", "noWinner"]


@dataclass(frozen=True, slots=True)
class RaceSettings:
    """How to run: `parallel` trials at once, each with `cpus` threads. Data sets are below `data`. `starter` is the
    command of the runner's warm starter, `pushgateway` is the URL to which live metrics are pushed. `rehearse` says
    whether entries are rehearsed before the first trial.
    """

    parallel: int
    cpus: int
    data: Path
    retry_failed: bool
    starter: Sequence[str]
    pushgateway: str | None = None
    rehearse: bool = False


@dataclass(frozen=True, slots=True)
class Lane:
    """What one race has of this machine: its folder, its place among other races, and its starter.

    A `borrowed` starter goes on when the lane is left: its owner ends it.
    """

    folder: Path
    track: Track
    starter: Starter
    borrowed: bool = False

    @classmethod
    def of(cls, plan: Plan, uid: str, home: Home, settings: RaceSettings) -> Lane:
        """The lane of a race, whose folder is made if it is missing. The starter starts when it is asked for."""
        folder = home.make(home.job(uid))
        starter = Starter(settings.starter, _environ(settings), folder / "starter.log")
        return cls(folder, Track(home, f"{plan.job.metadata.name} (process {os.getpid()})"), starter)

    def leave(self, grace_seconds: float = 0.0) -> None:
        """Gives up the track, and ends the starter with everything that it started."""
        self.track.leave()
        if not self.borrowed:
            self.starter.close(grace_seconds)


@dataclass(frozen=True, slots=True)
class Finish:
    """How a race ended. `missing` counts the trials without a result, `halt` says why they are missing.

    `rounds` says what a race until decided asked for, and why it asked for no more. `searched` is set if it ended
    in its search: then the numbers are those of the search trials.
    """

    uid: str
    succeeded: int
    failed: int
    missing: int
    halt: Halt | None
    rounds: Rounds | None = None
    searched: bool = False


class Executor:
    """One race of one job. The caller holds the job's lock, has registered it, and has written its spec.

    The executor leaves the lane when it has run.
    """

    _kept_in = keys.KEPT_TRIALS

    def __init__(
        self,
        plan: Plan,
        uid: str,
        lane: Lane,
        connection: Connection,
        settings: RaceSettings,
        watch: events.Watch,
        stop: Stop,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._plan = plan
        self._uid = uid
        self._lane = lane
        self._connection = connection
        self._settings = settings
        self._watch = watch
        self._stop = stop
        self._clock = clock
        self._attempts = Attempts(lane.folder / "attempts", host(), settings.parallel)
        self._delivery = Delivery(plan, uid, connection, self._attempts, watch, clock)
        self._rounds = first_round(plan)
        self._ledger = Ledger(plan, retry_failed=settings.retry_failed)
        self._track = lane.track
        self._running: dict[str, RunningTrial] = {}
        self._starter = lane.starter
        job = plan.job
        self._live_metrics = LiveMetrics(settings.pushgateway, job.namespace, job.metadata.name, self._shown)
        self._halt: Halt | None = None
        self._outages = 0
        self._waiting = False

    def run(self, take_over: Callable[[], Sequence[str]] = tuple) -> Finish:
        """Runs the trials that are not finished yet. Before each further round of a race until decided, calls
        `take_over`, which takes over results of earlier races and returns what to say about that.

        Raises:
            StoreUnavailable, StoreRefused: Redis stays unavailable, or is full. Results wait in the spool.
            LocalError: the runner can't be started on this machine.
        """
        try:
            self._recover()
            self._live_metrics.look()
            while self._running or (self._halt is None and (self._ledger.pending or self._goes_on(take_over))):
                self._heed_stop()
                self._start_trials()
                for event in self._starter.events(TICK_SECONDS):
                    self._handle(event)
                self._collect()
                for running in self._running.values():
                    running.end_if_overdue()
            self._refresh()
        except StopRequested:
            self._halt = "interrupted"
        finally:
            self._lane.leave(0.0 if self._stop.urgent else GRACE_SECONDS)
            self._running.clear()
            self._live_metrics.close()
        if self._live_metrics.problem is not None:
            self._watch(events.Note(f"{self._live_metrics.problem}; live metrics of this race may be left there"))
        counts = Counter(self._ledger.outcomes.values())
        missing = len(self._ledger.asked) - self._ledger.finished()
        return Finish(self._uid, counts["Succeeded"], counts["Failed"], missing, self._halt, self._rounds)

    def _recover(self) -> None:
        """Takes what earlier executors left in the inbox and in the spool."""
        self._delivery.deliver(self._attempts.spooled())
        self._delivery.collect()
        self._look()
        self._refresh()
        settings = self._settings
        self._watch(events.Opened(self._uid, self._plan, self._ahead(), settings.parallel, settings.cpus, self._rounds))
        self._judge_failures()

    def _ahead(self) -> tuple[int, ...]:
        """The trials that are still to run, as far as they are known."""
        return tuple(self._ledger.pending)

    def _look(self) -> None:
        """Asks the results which trials a race until decided asks for, and stores that."""
        found = self._connection.ask(lambda store: read_rounds(store, self._plan, self._uid))
        if found is not None:
            self._connection.ask(lambda store: store.keep_rounds(self._uid, found))
            self._rounds = found
            self._ledger.asked = asked(self._plan, found)

    def _goes_on(self, take_over: Callable[[], Sequence[str]]) -> bool:
        """Looks whether a race until decided asks for more, once all that it asked for is finished."""
        before, done = self._rounds, set(self._ledger.asked)
        if before is None:
            return False
        self._look()
        if done < set(self._ledger.asked):
            for text in take_over():
                self._watch(events.Note(text))
        self._refresh()
        found = self._rounds
        if found is not None and found != before:
            stopped = tuple(entry for entry in found.stopped if entry not in before.stopped)
            pending = tuple(self._ledger.pending)
            self._watch(events.RoundBegun(found, pending, stopped, len(self._ledger.asked)))
        return bool(self._ledger.pending) or found != before

    def _refresh(self) -> None:
        """Asks the store which trials are finished."""
        self._outages = self._connection.outages
        running = {running.trial.index for running in self._running.values()}
        self._ledger.update(self._delivery.summaries(), running)
        self._attempts.discard_all(self._ledger.succeeded() - running)

    def _heed_stop(self) -> None:
        if self._stop.requested and self._halt is None:
            self._watch(events.Waiting("stopping; Ctrl-C again kills what runs"))
            self._halt_race("interrupted")
        if self._stop.urgent:
            self._starter.kill()

    def _judge_failures(self) -> None:
        if self._halt is None and self._ledger.failed_too_often():
            self._halt_race("maxFailed")

    def _halt_race(self, why: Halt) -> None:
        self._halt = why
        for running in self._running.values():
            running.end("halt")

    # Starting

    def _start_trials(self) -> None:
        if self._halt or not self._ledger.pending or len(self._running) >= self._settings.parallel:
            return
        if self._running and self._track.wanted():
            return  # another race waits: this race lets its trials end, then leaves the track
        if not self._track.try_enter():
            self._say_waiting(self._track.why_waiting())
            return
        if not self._starter.ready():
            self._say_waiting(WARMING_UP)
            return
        self._say_resumed()
        while self._ledger.pending and len(self._running) < self._settings.parallel:
            self._launch(self._ledger.take())

    def _launch(self, index: int) -> None:
        attempt = self._attempts.begin(index, self._clock())
        self._running[attempt.name] = RunningTrial(self._plan.trial(index), attempt, self._checkpoint(index))
        self._starter.launch(attempt.name, self._trial_environ(attempt), attempt.log)

    def _trial_environ(self, attempt: Attempt) -> Mapping[str, str]:
        return {
            keys.ENV_SPEC: str(self._lane.folder / "spec.json"),
            keys.ENV_INDEX: str(attempt.index),
            keys.ENV_JOB_UID: self._uid,
            keys.ENV_ATTEMPT: attempt.name,
            keys.ENV_REDIS_URL: self._connection.url,
            keys.ENV_DATA: str(self._settings.data),
            keys.ENV_SCRATCH: str(attempt.folder),
            keys.ENV_ARTIFACTS: str(self._lane.folder / keys.ARTIFACTS),
            keys.ENV_CPUS: str(self._settings.cpus),
            keys.ENV_CONCURRENT: str(self._settings.parallel),
            keys.ENV_DEADLINE: str(REPORT_SECONDS),
        }

    def _checkpoint(self, index: int) -> int:
        """The step of the last checkpoint of a trial; 0 without one."""
        return steps_saved(self._lane.folder / keys.ARTIFACTS / self._kept_in / str(index))

    # While trials run

    def _handle(self, event: Event) -> None:
        match event:
            case Started(id=name, pid=pid) if name in self._running:
                running = self._running[name]
                running.started(pid, self._plan.job.spec.execution.trial_deadline_seconds)
                self._watch(events.TrialStarted(running.trial, str(running.attempt.log), pid))
                if self._halt:
                    running.end("halt")
            case Exited(id=name) if name in self._running:
                self._settle(self._running[name], event)
            case StartRefused(message=message):
                raise LocalError(f"a trial's process can't be started: {message}")
            case Gone(returncode=returncode):
                self._watch(events.Note(f"the runner's starter ended ({returncode})"))
                for running in tuple(self._running.values()):
                    self._settle(running, None)
            case _:
                pass

    def _collect(self) -> None:
        verdicts, progress = self._delivery.collect()
        for record, verdict in verdicts:
            if verdict in ("accepted", "duplicate"):
                self._ledger.finish(record.result.index, record.result.outcome)
        for report in progress:
            if report.attempt in self._running:
                self._progressed(self._running[report.attempt], report)
        if self._connection.outages != self._outages:
            self._refresh()

    def _progressed(self, running: RunningTrial, report: Progress) -> None:
        self._watch(events.TrialProgressed(running.trial, report))

    # Ending

    def _settle(self, running: RunningTrial, exited: Exited | None) -> None:
        """Decides about a trial whose process ended (`exited` is None if the starter ended before it)."""
        self._attempts.ended(running.attempt, self._clock(), running.seconds)
        self._delivery.deliver(self._attempts.spooled_by(running.attempt))
        self._collect()
        if not self._delivery.has_heard(running.attempt):
            failure = self._failure(running, exited)
            if failure is None:
                self._withdraw(running)
                return
            self._delivery.record(running.trial, running.attempt, failure)
            self._collect()
        self._conclude(running)

    def _failure(self, running: RunningTrial, exited: Exited | None) -> decisions.ProcessFailure | None:
        """What to record of a trial without a result. None if it has to run again, in this race or a later run."""
        if running.ending == "deadline":
            return decisions.too_long(self._plan.job.spec.execution.trial_deadline_seconds)
        if running.ending == "halt" or exited is None:
            return None
        if running.attempt.name in self._delivery.refused:
            return self._delivery.refused[running.attempt.name]
        if decisions.can_go_on(exited, running.checkpoint, self._checkpoint(running.trial.index)):
            return None
        withdrawals = self._ledger.withdrawals(running.trial.index)
        if decisions.is_interruption(exited) and withdrawals < MOST_WITHDRAWALS:
            return None
        return decisions.failure_of(exited)

    def _withdraw(self, running: RunningTrial) -> None:
        self._forget(running)
        self._ledger.put_back(running.trial.index)
        self._attempts.discard(running.attempt)
        self._give_way()
        self._watch(events.TrialWithdrawn(running.trial))

    def _conclude(self, running: RunningTrial) -> None:
        result = self._delivery.of(running.attempt).result
        self._forget(running)
        self._starter.finished_a_trial()
        if result.outcome == "Succeeded":
            self._attempts.discard(running.attempt)
        self._give_way()
        self._watch(self._finished(running, result))
        self._judge_failures()

    def _finished(self, running: RunningTrial, result: TrialResult) -> events.TrialFinished:
        done, total = self._ledger.finished(), len(self._ledger.asked)
        return events.TrialFinished(running.trial, result, str(running.attempt.log), done, total)

    def _forget(self, running: RunningTrial) -> None:
        del self._running[running.attempt.name]
        self._live_metrics.look()

    def _shown(self) -> frozenset[TrialKey]:
        """The trials whose live metrics belong in the Pushgateway. Another thread calls this."""
        job = self._plan.job
        trials = [running.trial for running in list(self._running.values())]
        return frozenset((job.namespace, job.metadata.name, trial.entry, str(trial.repeat)) for trial in trials)

    def _give_way(self) -> None:
        if not self._running and (not self._ledger.pending or self._track.wanted()):
            self._track.leave()

    def _say_waiting(self, why: str) -> None:
        if not self._waiting:
            self._waiting = True
            self._watch(events.Waiting(why))

    def _say_resumed(self) -> None:
        if self._waiting:
            self._waiting = False
            self._watch(events.Resumed())


def _environ(settings: RaceSettings) -> dict[str, str]:
    """The environment of the race's starter: that of this process, without the variables that belong to one trial."""
    of_a_trial = (
        keys.ENV_SPEC, keys.ENV_INDEX, keys.ENV_JOB_UID, keys.ENV_ATTEMPT, keys.ENV_REDIS_URL, keys.ENV_REHEARSAL
    )  # fmt: skip
    environ = {name: value for name, value in os.environ.items() if name not in (*of_a_trial, keys.ENV_PUSHGATEWAY)}
    pushing = {keys.ENV_PUSHGATEWAY: settings.pushgateway} if settings.pushgateway else {}
    return {**environ, **pushing, keys.ENV_CPUS: str(settings.cpus)}
