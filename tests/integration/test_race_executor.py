"""Races with real processes and a real Redis; the runner is a stand-in that goes wrong on demand."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from velodrome.errors import LocalError, StoreUnavailable
from velodrome.machine.home import Home
from velodrome.machine.processes.lock import lock_job
from velodrome.machine.processes.stop import Stop
from velodrome.machine.race import events, executor, running
from velodrome.machine.race.connection import Connection
from velodrome.machine.race.executor import Finish, RaceSettings
from velodrome.machine.race.race import choose_uid, race
from velodrome.machine.redis.server import OwnRedis
from velodrome.plan import Plan, local_uid, plan
from velodrome.results.records import TrialRecord, utc
from velodrome.results.registration import job_info, stored_document
from velodrome.spec import validate
from velodrome.store import Store, TrialSummary, open_store
from velodrome.store.edge import connect

STANDIN = Path(__file__).parent / "standins" / "runner.py"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, so that Redis can have a Unix socket in it."""
    made = Path(tempfile.mkdtemp(prefix="vl-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def track(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Track]:
    home = Home(folder / "home")
    monkeypatch.setenv("STANDIN_SCRIPT", str(folder / "script.json"))
    monkeypatch.setattr(running, "GRACE_SECONDS", 0.5)
    with OwnRedis(home) as redis:
        yield Track(folder, home, redis)


@dataclass
class Track:
    """Everything that a race needs; `seen` holds the events of the last one."""

    folder: Path
    home: Home
    redis: OwnRedis
    seen: list[events.Event] = field(default_factory=list)

    def race(self, made: Plan, watch: events.Watch | None = None, stop: Stop | None = None, **options: Any) -> Finish:
        self.seen = []
        stop = stop or Stop()

        def look(event: events.Event) -> None:
            self.seen.append(event)
            if watch is not None:
                watch(event)

        connection = Connection(options.pop("redis", self.redis), look, stop, pause=0.05, **options.pop("waits", {}))
        fresh = options.pop("fresh", False)
        script = {str(index): words for index, words in options.pop("script", {}).items()}
        (self.folder / "script.json").write_text(json.dumps(script))
        settings = RaceSettings(
            **{
                "parallel": 1,
                "cpus": 1,
                "data": self.folder,
                "retry_failed": False,
                "starter": (sys.executable, str(STANDIN)),
                **options,
            }
        )
        try:
            return race(made, self.home, connection, settings, look, stop, fresh=fresh)
        finally:
            connection.close()

    def events_of(self, kind: type[events.Event]) -> list[Any]:
        return [event for event in self.seen if isinstance(event, kind)]

    def started(self) -> list[int]:
        return [event.trial.index for event in self.events_of(events.TrialStarted)]

    def finished(self) -> list[int]:
        return [event.trial.index for event in self.events_of(events.TrialFinished)]

    def store(self) -> Store:
        return open_store(self.redis.url)

    def client(self) -> Redis:
        return Redis.from_url(self.redis.url)

    def trials(self, uid: str) -> dict[int, TrialSummary]:
        with self.store() as store:
            return store.trials(uid)

    def record(self, uid: str, index: int) -> TrialRecord:
        with self.store() as store:
            found = store.trial(uid, index)
        assert found is not None
        return found


def job(name: str = "tiny", repeats: int = 2, **spec: Any) -> Plan:
    """Two entries, so 2 × repeats trials."""
    model = {"name": "velodrome/mlp"}
    document = {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": name},
        "spec": {
            "dataset": {"name": "digits"},
            "entries": [{"name": "a", "model": model}, {"name": "b", "model": model}],
            "trials": {"repeats": repeats, "maxFailed": 10},
            **spec,
        },
    }
    return plan(validate(document))


def test_a_trial_whose_result_can_not_be_fails_and_says_which_field(track: Track) -> None:
    finish = track.race(job(), script={1: ["impossible"]})
    assert finish == Finish(local_uid(job()), succeeded=3, failed=1, missing=0, halt=None)
    assert track.started() == [0, 1, 2, 3]
    result = track.record(finish.uid, 1).result
    assert (result.outcome, result.reason, dict(result.metrics)) == ("Failed", "ImpossibleValue", {})
    assert "metrics.accuracy: 1.7 is not between 0 and 1" in str(result.message)
    assert any("ImpossibleValue: metrics.accuracy" in note.text for note in track.events_of(events.Note))
    with track.store() as store:
        assert store.counts(finish.uid).rejected == {"ImpossibleValue": 1}
        (rejection,) = store.rejections(finish.uid)
        assert (rejection.index, rejection.attempt) == (1, result.attempt)


def test_a_result_of_a_clock_that_stepped_counts_at_the_executors_time(track: Track) -> None:
    began = time.time()
    finish = track.race(job(), script={1: ["stepped"]})
    assert finish.succeeded == 4
    record = track.record(finish.uid, 1)
    assert record.observed.claimed is not None
    assert record.observed.claimed.finished_at.year == 9999
    assert began - 1 <= record.result.started_at.timestamp() <= record.result.finished_at.timestamp() <= time.time() + 1


def test_every_trial_is_run_once_in_the_order_of_the_plan(track: Track) -> None:
    finish = track.race(job())
    assert finish == Finish(local_uid(job()), succeeded=4, failed=0, missing=0, halt=None)
    assert track.started() == [0, 1, 2, 3]
    record = track.record(finish.uid, 3)
    assert record.result.entry == "b"
    assert record.result.seed == 1
    assert record.observed.executor == "local"
    with track.store() as store:
        assert store.counts(finish.uid).succeeded == 4
        assert len(store.curves(finish.uid, 0)) == 2


def test_running_it_again_runs_nothing(track: Track) -> None:
    track.race(job())
    finish = track.race(job())
    assert track.started() == []
    assert (finish.succeeded, finish.halt) == (4, None)


def test_fresh_runs_everything_again_beside_the_first_results(track: Track) -> None:
    first = track.race(job())
    second = track.race(job(), fresh=True)
    assert first.uid != second.uid
    assert len(track.trials(first.uid)) == len(track.trials(second.uid)) == 4
    third = track.race(job())  # carries on with the newest
    assert third.uid == second.uid
    assert track.started() == []


def test_parallel_trials_share_the_machine_and_say_so(track: Track) -> None:
    finish = track.race(job(), parallel=3)
    assert finish.succeeded == 4
    environment = track.record(finish.uid, 0).result.environment
    assert environment is not None
    assert environment.resources.concurrent_trials == 3
    assert track.record(finish.uid, 0).observed.concurrent_trials == 3


@pytest.mark.parametrize(
    ("word", "reason", "says"),
    [
        ("kill", "RunnerKilled", "SIGKILL"),
        ("segv", "RunnerCrashed", "SIGSEGV"),
        ("code:3", "RunnerCrashed", "code 3"),
        ("code:0", "MetricsUnavailable", "left no result"),
        ("fail", "LossNotFinite", "epoch 1"),
    ],
)
def test_a_trial_that_goes_wrong_is_recorded_and_the_rest_goes_on(
    track: Track, word: str, reason: str, says: str
) -> None:
    finish = track.race(job(), script={1: [word]})
    assert (finish.succeeded, finish.failed, finish.missing, finish.halt) == (3, 1, 0, None)
    result = track.record(finish.uid, 1).result
    assert (result.outcome, result.reason) == ("Failed", reason)
    assert says in (result.message or "")
    assert result.log_tail
    if word != "fail":
        assert "trial 1, try 0" in result.log_tail


def test_a_failed_trial_is_not_tried_again_unless_asked(track: Track) -> None:
    script = {1: ["kill", "succeed"]}
    finish = track.race(job(), script=script)
    assert track.race(job(), script=script) == finish
    assert track.started() == []
    again = track.race(job(), script=script, retry_failed=True)
    assert track.started() == [1]
    assert (again.succeeded, again.failed) == (4, 0)
    assert track.record(finish.uid, 1).observed.retries == 1


def test_a_retry_that_fails_again_is_tried_once(track: Track) -> None:
    track.race(job(), script={1: ["kill"]})
    finish = track.race(job(), script={1: ["kill"]}, retry_failed=True)
    assert track.started() == [1]
    assert finish.failed == 1


def test_more_failures_than_the_job_can_bear_stop_it(track: Track) -> None:
    made = job(trials={"repeats": 3, "maxFailed": 1})
    finish = track.race(made, script={0: ["kill"], 1: ["kill"]})
    assert finish.halt == "maxFailed"
    assert (finish.succeeded, finish.failed, finish.missing) == (0, 2, 4)
    assert track.started() == [0, 1]
    again = track.race(made)
    assert again.halt == "maxFailed"
    assert track.started() == []
    mended = track.race(made, retry_failed=True)
    assert (mended.succeeded, mended.halt) == (6, None)


def test_stopping_for_failures_ends_what_runs_beside(track: Track) -> None:
    made = job(trials={"repeats": 1, "maxFailed": 0})
    finish = track.race(made, script={0: ["hang"], 1: ["kill"]}, parallel=2)
    assert (finish.halt, finish.failed, finish.missing) == ("maxFailed", 1, 1)


def test_the_same_result_twice_counts_once(track: Track) -> None:
    finish = track.race(job(), script={2: ["twice"]})
    with track.store() as store:
        counts = store.counts(finish.uid)
        assert (counts.succeeded, counts.conflicts) == (4, 0)


def test_a_second_result_that_differs_is_kept_beside_and_not_ranked(track: Track) -> None:
    finish = track.race(job(), script={2: ["differently"]})
    with track.store() as store:
        assert store.counts(finish.uid).conflicts == 1
        assert track.record(finish.uid, 2).result.metrics["accuracy"] == pytest.approx(0.901)


def test_a_result_that_the_runner_could_not_deliver_is_delivered_from_its_spool(track: Track) -> None:
    finish = track.race(job(), script={1: ["spool"]})
    assert (finish.succeeded, finish.failed) == (4, 0)
    assert not list(track.home.folder.rglob("result-*.json"))


def test_a_torn_spool_file_is_kept_for_a_person_and_the_trial_fails(track: Track) -> None:
    finish = track.race(job(), script={1: ["torn"]})
    assert finish.failed == 1
    assert track.record(finish.uid, 1).result.reason == "MetricsUnavailable"
    assert len(list(track.home.folder.rglob("result-*.json.corrupt"))) == 1
    assert any("corrupt" in event.text for event in track.events_of(events.Note))


def test_a_trial_that_runs_too_long_is_ended(track: Track) -> None:
    made = job(execution={"trialDeadlineSeconds": 1})
    finish = track.race(made, script={1: ["deaf"]})
    assert (finish.succeeded, finish.failed) == (3, 1)
    assert track.record(finish.uid, 1).result.reason == "TrialDeadlineExceeded"


def test_a_trial_that_others_ended_runs_again(track: Track) -> None:
    finish = track.race(job(), script={1: ["terminated", "terminated", "succeed"]})
    assert finish.succeeded == 4
    assert track.started() == [0, 1, 1, 1, 2, 3]


def test_a_trial_that_others_always_end_fails_at_last(track: Track) -> None:
    finish = track.race(job(), script={1: ["terminated"]})
    assert finish.failed == 1
    assert Counter(track.started())[1] == executor.MOST_WITHDRAWALS + 1


def test_a_starter_that_dies_is_started_again_and_its_trial_too(track: Track) -> None:
    finish = track.race(job(), script={1: ["orphan", "succeed"]})
    assert finish.succeeded == 4
    assert track.started() == [0, 1, 1, 2, 3]
    orphan = track.events_of(events.TrialStarted)[1]
    assert not runs(orphan.pid)  # it would measure beside the one that took its place


def test_a_starter_that_dies_again_and_again_is_given_up(track: Track) -> None:
    with pytest.raises(LocalError, match="the runner can't start"):
        track.race(job(), script={1: ["orphan"]})
    assert Counter(track.started())[1] == 3
    assert 0 in track.trials(local_uid(job()))


def test_a_starter_that_can_not_start_says_what_to_install(track: Track) -> None:
    with pytest.raises(LocalError, match=r"velodrome\[runner\]"):
        track.race(job(), script={"starter": "broken"})


def test_stopping_ends_the_running_trial_and_the_next_race_carries_on(track: Track) -> None:
    stop = Stop()

    def interrupt(event: events.Event) -> None:
        if isinstance(event, events.TrialProgressed) and event.trial.index == 1:
            stop.request(signal.SIGINT)

    finish = track.race(job(), interrupt, stop, script={1: ["hang"]})
    assert (finish.succeeded, finish.failed, finish.missing, finish.halt) == (1, 0, 3, "interrupted")
    assert not runs(track.events_of(events.TrialStarted)[-1].pid)
    resumed = track.race(job())
    assert track.started() == [1, 2, 3]
    assert resumed.succeeded == 4


def runs(pid: int) -> bool:
    """Whether the process is there and no mere entry that nobody has reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until_gone(pid: int) -> None:
    """Waits for a process that was killed to be gone, which the kernel does in its own time."""
    deadline = time.monotonic() + 10
    while runs(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.02)


def test_hurrying_kills_a_trial_that_does_not_listen(track: Track) -> None:
    stop = Stop()

    def hurry(event: events.Event) -> None:
        if isinstance(event, events.TrialProgressed):
            stop.request()
            stop.request()

    finish = track.race(job(), hurry, stop, script={0: ["deaf"]})
    assert (finish.halt, finish.missing) == ("interrupted", 4)
    until_gone(track.events_of(events.TrialStarted)[-1].pid)


def kill_redis(track: Track) -> None:
    pid = track.redis.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_redis_killed_in_mid_race_loses_and_doubles_nothing(track: Track) -> None:
    def kill(event: events.Event) -> None:
        if isinstance(event, events.TrialFinished) and event.trial.index in (0, 2):
            kill_redis(track)

    finish = track.race(job(repeats=3), kill)
    assert (finish.succeeded, finish.failed, finish.missing) == (6, 0, 0)
    assert track.started() == [0, 1, 2, 3, 4, 5]
    assert track.events_of(events.Waiting)
    with track.store() as store:
        counts = store.counts(finish.uid)
    assert (counts.succeeded, counts.conflicts, dict(counts.rejected)) == (6, 0, {})


def test_redis_killed_while_a_trial_runs_is_started_again_for_it(track: Track) -> None:
    def kill(event: events.Event) -> None:
        if isinstance(event, events.TrialStarted) and event.trial.index == 1:
            kill_redis(track)

    finish = track.race(job(), kill, script={1: ["spool"]})
    assert (finish.succeeded, finish.missing) == (4, 0)


def test_results_that_vanished_from_redis_are_measured_again(track: Track) -> None:
    """A power cut can take what a Redis of somebody else's had accepted: what the store has not is not finished."""

    def wipe(event: events.Event) -> None:
        if isinstance(event, events.TrialFinished) and track.finished() == [0, 1]:
            with track.client() as client:
                client.hdel(f"velodrome:job:{local_uid(job())}:trials", "0", "1")
            kill_redis(track)

    finish = track.race(job(), wipe)
    assert sorted(track.started()) == [0, 0, 1, 1, 2, 3]
    assert finish.succeeded == 4


def test_a_redis_that_can_not_write_any_more_ends_the_race_and_the_next_one_carries_on(track: Track) -> None:
    """A limit on the size of its files stands in for the end of the disk: either ends the server at the next write."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(event: events.Event) -> None:
        if isinstance(event, events.TrialFinished) and event.trial.index == 0:
            with track.client() as client:
                client.set("padding", "x" * 200_000)  # so that the log stays far below the limit
            size = max(path.stat().st_size for path in track.home.redis.rglob("*.aof"))
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 200, limits[1]))
            kill_redis(track)

    try:
        with pytest.raises(LocalError, match=r"ends as often as it is started.*redis\.log"):
            track.race(job(), fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    track.redis.ensure()
    assert track.race(job()).succeeded == 4
    assert 0 not in track.started()


def test_a_full_disk_is_named_when_redis_ends_for_it(track: Track, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage(track.folder)._replace(free=0)

    def fill(event: events.Event) -> None:
        if isinstance(event, events.TrialFinished):
            monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
            kill_redis(track)

    with pytest.raises(LocalError, match=rf"{track.home.redis}: its disk has 0 MiB left"):
        track.race(job(), fill)
    monkeypatch.undo()


class Forgetful(Store):
    """Accepts once without getting the answer through, as when Redis is killed between the two."""

    lost = 0

    def accept_items(self, *arguments: Any, **named: Any) -> Any:
        verdicts = super().accept_items(*arguments, **named)
        if verdicts and not Forgetful.lost:
            Forgetful.lost += 1
            raise StoreUnavailable("the answer was lost")
        return verdicts


def test_a_result_whose_acceptance_was_never_reported_counts_all_the_same(track: Track) -> None:
    Forgetful.lost = 0
    finish = track.race(job(), waits={"opener": lambda url: Forgetful(connect(url))})
    assert Forgetful.lost == 1
    assert (finish.succeeded, finish.failed) == (4, 0)
    assert track.started() == track.finished() == [0, 1, 2, 3]
    assert {event.result.outcome for event in track.events_of(events.TrialFinished)} == {"Succeeded"}
    with track.store() as store:
        assert store.counts(finish.uid).conflicts == 0


def test_a_redis_that_stays_away_ends_the_race(track: Track, folder: Path) -> None:
    with pytest.raises(StoreUnavailable, match="gave up"):
        track.race(job(), redis=f"unix://{folder}/nobody.sock", waits={"patience": 0.2})
    assert track.events_of(events.Waiting)


def await_file(folder: Path, pattern: str) -> None:
    while not list(folder.glob(pattern)):
        time.sleep(0.01)


def test_what_an_executor_that_was_killed_left_behind_is_collected(track: Track) -> None:
    """Its reports wait in the inbox and in the spool; neither trial is run again."""
    made = job()
    uid = local_uid(made)

    def vanish(event: events.Event) -> None:
        if isinstance(event, events.TrialStarted) and event.trial.index == 2:
            await_file(track.home.job(uid) / "attempts", "2-*/result-*.json")
            raise KeyboardInterrupt  # this executor collects nothing from here on

    with pytest.raises(KeyboardInterrupt):
        track.race(made, vanish, script={2: ["spool"]})
    finish = track.race(made)
    assert track.started() == [3]
    assert finish.succeeded == 4


def test_the_same_job_is_not_raced_twice_at_once(track: Track) -> None:
    made = job()
    lock = lock_job(track.home, local_uid(made), "tiny")
    try:
        with pytest.raises(LocalError, match=f"process {os.getpid()}"):
            track.race(made)
    finally:
        lock.release()
    assert track.race(made).succeeded == 4


def test_a_race_waits_for_the_track_and_then_runs(track: Track) -> None:
    from velodrome.machine.processes.lock import Track as Turn

    other = Turn(track.home, "another race")
    assert other.try_enter()

    def leave(event: events.Event) -> None:
        if isinstance(event, events.Waiting) and "another race" in event.why:
            other.leave()

    finish = track.race(job(), leave)
    assert finish.succeeded == 4
    assert any("another race" in event.why for event in track.events_of(events.Waiting))


def test_what_is_ignored_here_and_what_is_not_comparable_is_said(track: Track) -> None:
    made = job(execution={"parallelism": 4})
    track.race(made, script={0: ["succeed"]})
    assert any("spec.execution.parallelism" in event.text for event in track.events_of(events.Note))
    track.race(made, parallel=2)
    assert any("--fresh" in event.text for event in track.events_of(events.Note))


def test_the_spec_that_runners_read_is_the_job_itself() -> None:
    made = job(
        training={"earlyStopping": {"patience": 2}},
        entries=[
            {"name": "a", "model": {"name": "velodrome/mlp"}, "training": {"earlyStopping": None}},
            {"name": "b", "model": {"name": "velodrome/mlp", "args": {"hidden": 8}}},
        ],
    )
    again = plan(validate(json.loads(json.dumps(stored_document(made.job)))))
    assert again.configs == made.configs
    assert local_uid(again) == local_uid(made)
    assert again.configs["a"].training.early_stopping is None


def test_generations_are_counted_from_what_is_registered(track: Track) -> None:
    made = job()
    with track.store() as store:
        assert choose_uid(store, made, {}, fresh=False) == choose_uid(store, made, {}, fresh=True) == local_uid(made, 0)
        store.register(job_info(made, local_uid(made, 0), utc(0.0)))
        assert choose_uid(store, made, {}, fresh=False) == local_uid(made, 0)
        assert choose_uid(store, made, {}, fresh=True) == local_uid(made, 1)
