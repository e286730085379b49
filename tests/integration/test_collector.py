"""Collectors at a real inbox: every report counts once, whoever reads it and whatever dies in between."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from velodrome import keys
from velodrome.collector import Collector
from velodrome.errors import StoreUnavailable
from velodrome.results.records import Observed, ProgressReport, ResultReport
from velodrome.store import Counts, Store, open_store

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

NOW = 1_800_000_000.0


def observe(_index: int, attempt: str) -> Observed | None:
    return Observed(executor="local", run_seconds=1.5) if attempt.startswith("a") else None


def collector(store: Store, race: Race, count: int = 500) -> Collector:
    return Collector(store, race.plan, race.uid, observe, lambda: NOW, count)


def report(store: Store, race: Race, index: int, attempt: str = "a1", failed: str | None = None) -> int:
    return store.append(race.uid, ResultReport(result=race.result(index, attempt=attempt, failed=failed)))


def test_an_empty_inbox_gives_nothing(store: Store, race: Race) -> None:
    collected = collector(store, race).collect_once()

    assert (collected.verdicts, collected.progress, collected.rejected, collected.last) == ((), (), (), True)
    assert store.position(race.uid) == 0


def test_reports_are_judged_accepted_and_removed(store: Store, race: Race, redis_server: RedisServer) -> None:
    report(store, race, 0)
    store.append(race.uid, ProgressReport(progress=race.progress(1)))
    report(store, race, 2, attempt="forged")
    redis_server.client().rpush(keys.inbox(race.uid), "something else")
    report(store, race, 0)

    collected = collector(store, race).collect_once()

    assert [verdict for _, verdict in collected.verdicts] == ["accepted", "duplicate"]
    assert collected.verdicts[0][0].accepted_at.timestamp() == NOW
    assert collected.verdicts[0][0].observed.run_seconds == 1.5
    assert [progress.index for progress in collected.progress] == [1]
    assert [rejection.reason for rejection in collected.rejected] == ["UnknownAttempt", "InvalidReport"]
    assert collected.last
    assert store.counts(race.uid) == Counts(1, 0, 0, {"InvalidReport": 1, "UnknownAttempt": 1})
    assert store.rejections(race.uid) == list(reversed(collected.rejected))
    assert store.position(race.uid) == 5
    assert collector(store, race).collect_once().verdicts == ()


def test_a_long_inbox_is_taken_in_rounds(store: Store, race: Race) -> None:
    for index in range(6):
        report(store, race, index)
    collecting = collector(store, race, count=4)

    first, second = collecting.collect_once(), collecting.collect_once()

    assert ([len(each.verdicts) for each in (first, second)], first.last, second.last) == ([4, 2], False, True)


def test_what_a_report_quotes_is_cut(store: Store, race: Race) -> None:
    report(store, race, 0, attempt="x" * 100_000)

    [rejection] = collector(store, race).collect_once().rejected

    assert len(rejection.message) == 1000


def test_a_report_that_could_not_be_written_again_is_rejected(
    store: Store, race: Race, redis_server: RedisServer
) -> None:
    """A half of a surrogate pair is text to some JSON parsers and can't be encoded."""
    document = json.loads(ResultReport(result=race.result(0)).model_dump_json())
    document["result"]["message"] = "\ud800"
    redis_server.client().rpush(keys.inbox(race.uid), json.dumps(document))
    report(store, race, 1)

    collected = collector(store, race).collect_once()

    assert [rejection.reason for rejection in collected.rejected] == ["InvalidReport"]
    assert [verdict for _, verdict in collected.verdicts] == ["accepted"]


def test_a_collector_that_dies_before_accepting_is_followed_by_one_that_does_the_same(
    start_redis: Callable[..., RedisServer], make_race: type[Race]
) -> None:
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    race = make_race()

    class Dying(Store):
        """Redis is killed between its reading and its accepting."""

        def accept_items(self, *given: object, **named: object) -> list[object]:  # type: ignore[override]
            server.kill()
            return super().accept_items(*given, **named)  # type: ignore[arg-type,return-value]

    with open_store(server.url) as store, Dying(server.client()) as dying:
        store.register(race.info)
        for index in range(6):
            report(store, race, index)
        with pytest.raises(StoreUnavailable):
            collector(dying, race).collect_once()
        server.start()
        assert store.trials(race.uid) == {}

        collected = collector(store, race).collect_once()

        assert [verdict for _, verdict in collected.verdicts] == ["accepted"] * 6
        assert store.counts(race.uid).succeeded == 6


def test_a_collector_whose_answer_was_lost_finds_nothing_left(store: Store, race: Race) -> None:
    report(store, race, 0)
    read = store.read_inbox(race.uid)
    collector(store, race).collect_once()

    assert store.accept(race.uid, read[-1][0], [race.record(0)]) == ["duplicate"]
    assert collector(store, race).collect_once().verdicts == ()


COLLECT = """
import json, sys
from velodrome.collector import Collector
from velodrome.plan import plan
from velodrome.results.records import Observed
from velodrome.spec import BenchmarkJob
from velodrome.store import open_store

store = open_store(sys.argv[1])
job = store.job(sys.argv[2])
seen = Observed(executor="local")
collector = Collector(
    store, plan(BenchmarkJob.model_validate(job.document)), job.uid,
    lambda index, attempt: seen if attempt.startswith("a") else None, lambda: 1.8e9, 3,
)
print("ready", flush=True)
sys.stdin.readline()
verdicts = []
while not (collected := collector.collect_once()).last or collected.verdicts or collected.rejected:
    verdicts += [verdict for _, verdict in collected.verdicts]
print(json.dumps(verdicts))
"""


def test_two_collectors_at_one_inbox_count_everything_once(
    store: Store, redis_server: RedisServer, make_race: type[Race]
) -> None:
    race = make_race(repeats=200)
    store.register(race.info)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", COLLECT, redis_server.url, race.uid],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for index in range(600):
        if index % 3 == 0:
            report(store, race, index, failed="OutOfMemory")
            store.append(race.uid, ProgressReport(progress=race.progress(index, attempt="a2")))
        if index % 5 == 0:
            report(store, race, index, attempt="forged")
        report(store, race, index, attempt="a2")
        if index % 7 == 0:
            report(store, race, index, attempt="a3")
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    reported = [json.loads(worker.communicate(timeout=60)[0]) for worker in workers]

    verdicts = Counter(verdict for each in reported for verdict in each)
    assert min(len(each) for each in reported) > 0  # else they did not compete
    assert verdicts["accepted"] == 600 + 200
    assert verdicts["conflict"] == 86
    assert store.counts(race.uid) == Counts(600, 0, 86, {"UnknownAttempt": 120})
    assert store.progress(race.uid) == {}
    assert [summary.retries for summary in store.trials(race.uid).values()] == [1, 0, 0] * 200
    for key in ("accuracy", "parameters"):
        [cohort] = store.cohorts(race.board, key)
        rows = store.ranking_rows(race.board, key, cohort.cohort_id)
        assert cohort.samples == sum(len(row.samples) for row in rows) == 600
