"""Measures the time from a report to its acceptance, with and without a race in trouble beside it. Prints figures.

    python benchmarks/bench_collection.py [--seconds 15] [--races 50] [--server PATH] [--only flooded]

A real Redis on a Unix socket, and the operator's rounds (`velodrome_operator.collection`) in this process. A separate
process sends results to 50 inboxes, one to each about twice a second. The time runs from just before its RPUSH to the
answer of the script that accepts. Each case is compared with an undisturbed run just before and one just after it: the
goal is at most 1.2 times as long.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import redis

from velodrome import keys
from velodrome.plan import Plan, plan
from velodrome.results.records import (
    EpochPoint,
    JobInfo,
    ResultReport,
    TrialResult,
    utc,
)
from velodrome.spec import BenchmarkJob
from velodrome.store import Store
from velodrome.store.edge import connect
from velodrome_operator.access import Access
from velodrome_operator.children import Names, groups
from velodrome_operator.cluster import Cluster
from velodrome_operator.collection import Collection
from velodrome_operator.races import Races

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.fixtures import DATASET, ENVIRONMENT, redis_server
from tests.owned import owned_job, owned_pod

# A forked process imports nothing again: the modules of the operator take seconds.
PROCESSES = multiprocessing.get_context("fork")
GOAL = 1.2
TRIALS = 500
TROUBLED = "troubled"
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
METRICS = dict.fromkeys(("accuracy", "top5_accuracy", "precision", "recall", "f1", "loss"), 0.5) | {"parameters": 1e6}


class Pods(Cluster):
    """An API server that is as slow as one in trouble, and never reports anything new."""

    def __init__(self) -> None:
        pass

    async def jobs(self, *_: Any) -> AsyncIterator[dict[str, Any]]:
        for raw in list[dict[str, Any]]():
            yield raw

    async def pods(self, *_: Any) -> AsyncIterator[dict[str, Any]]:
        await asyncio.sleep(9)
        for raw in list[dict[str, Any]]():
            yield raw

    async def started_pods(self, *_: Any) -> AsyncIterator[dict[str, Any]]:
        await asyncio.sleep(9)
        for raw in list[dict[str, Any]]():
            yield raw


def planned() -> Plan:
    """One entry, many trials."""
    document = {
        "apiVersion": keys.API_VERSION,
        "kind": keys.KIND,
        "metadata": {"name": "race"},
        "spec": {
            "dataset": {"name": "digits"},
            "entries": [{"name": "mlp", "model": {"name": "velodrome/mlp"}}],
            "budget": {"maxEpochs": 1000},
            "trials": {"repeats": TRIALS},
        },
    }
    return plan(BenchmarkJob.model_validate(document))


def result(of: Plan, uid: str, index: int, epochs: int = 15, attempt: str | None = None) -> str:
    """A report of a trial, from the pod that the operator knows."""
    trial, now = of.trial(index), utc(time.time())
    curves = tuple(
        EpochPoint(epoch=epoch, seconds=1.0, train_loss=1 / 3, learning_rate=0.1, samples_per_second=1e4 / 3,
                   validation={"accuracy": 1 / 3, "validation_loss": 2 / 3})
        for epoch in range(1, epochs + 1)
    )  # fmt: skip
    found = TrialResult(
        job_uid=uid, index=index, entry=trial.entry, repeat=trial.repeat, seed=trial.seed, trial_id=trial.id,
        attempt=attempt or f"{uid}-{index}", outcome="Succeeded", metrics=METRICS, curves=curves, dataset=DATASET,
        environment=ENVIRONMENT, started_at=now, finished_at=now,
    )  # fmt: skip
    return ResultReport(result=found).model_dump_json()


class Timed(Store):
    """Notes when each result was accepted."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self.accepted: dict[tuple[str, int], float] = {}

    def accept_items(self, uid: str, position: int, items: Sequence[Any], *rest: Any, imported: bool = False) -> Any:
        verdicts = super().accept_items(uid, position, items, *rest, imported=imported)
        now = time.monotonic()
        for item in items:
            self.accepted.setdefault((uid, item.record.result.index), now)
        return verdicts


def send(url: str, uids: Sequence[str], seconds: float, pipe: Any) -> None:
    """The honest runners, in a separate process, from the moment that `pipe` says so. Reports when each was sent."""
    pipe.recv()
    of, client, luck = planned(), redis.Redis.from_url(url), random.Random(1)  # noqa: S311 - it opens nothing
    sent: dict[tuple[str, int], float] = {}
    begun, indices = time.monotonic(), dict.fromkeys(uids, 0)
    due = [(begun + luck.random() / 2, uid) for uid in uids]
    while due:
        at, uid = due.pop(0)
        report = result(of, uid, indices[uid])
        time.sleep(max(0.0, at - time.monotonic()))
        sent[uid, indices[uid]] = time.monotonic()
        client.rpush(keys.inbox(uid), report)
        indices[uid] += 1
        if at + 0.5 < begun + seconds and indices[uid] < TRIALS:
            due.append((at + luck.uniform(0.3, 0.7), uid))
            due.sort()
    pipe.send(sent)


def flood(url: str, seconds: float) -> None:
    """An entry that sends as much as Redis takes, without end."""
    client, end, junk = redis.Redis.from_url(url), time.monotonic() + seconds, ["junk" * 50] * 100
    while time.monotonic() < end:
        client.rpush(keys.inbox(TROUBLED), *junk)
        time.sleep(0.01)


def nothing(_: redis.Redis, __: str, ___: float) -> None:
    """Undisturbed."""


def poisoned(client: redis.Redis, _: str, __: float) -> None:
    """A value of another type is in the place of the inbox."""
    client.set(keys.inbox(TROUBLED), "no list")


def flooded(_: redis.Redis, url: str, seconds: float) -> None:
    """Reports arrive faster than they are judged."""
    PROCESSES.Process(target=flood, args=(url, seconds), daemon=True).start()


def large(client: redis.Redis, _: str, __: float) -> None:
    """Honest reports, each of a thousand epochs, wait all at once."""
    of = planned()
    for index in range(TRIALS):
        client.rpush(keys.inbox(TROUBLED), result(of, TROUBLED, index, epochs=1000))


def silent(client: redis.Redis, _: str, __: float) -> None:
    """Reports of pods that nobody knows, while the API server takes its time."""
    client.rpush(keys.inbox(TROUBLED), *[result(planned(), TROUBLED, 0, attempt=f"unknown-{n}") for n in range(500)])


CASES: dict[str, Callable[[redis.Redis, str, float], None]] = {
    "poisoned": poisoned, "flooded": flooded, "500 large reports": large, "slow API server": silent,
}  # fmt: skip


def watched(store: Store, of: Plan, uids: Sequence[str]) -> Races:
    """The races, with a pod for each trial."""
    races = Races()
    document = json.loads(of.job.model_dump_json(by_alias=True, exclude_none=True))
    for uid in uids:
        store.register(
            JobInfo(uid=uid, name=uid, namespace="default", board="digits", created_at=utc(time.time()),
                    trials=len(of), repeats=TRIALS, entries=("mlp",), document=document)
        )  # fmt: skip
        metadata = {"name": uid, "uid": uid, "namespace": "default", "resourceVersion": "1",
                    "creationTimestamp": "2026-01-01T00:00:00Z"}  # fmt: skip
        races.saw_parent({**document, "metadata": metadata})
        race = races.get(uid)
        if race is None:
            raise AssertionError(uid)
        race.lay_out(of, 1)
        job = owned_job(uid, Names.of(of.job, uid).job(groups(of.job)[0]))
        races.saw_job(job)
        for index in range(TRIALS):
            raw = owned_pod(uid, job["metadata"]["name"], index, f"{uid}-{index}", status={"phase": "Running"})
            races.saw_pod(raw)
        if len(race.workload.pods) != TRIALS:
            raise AssertionError(f"{uid} has {len(race.workload.pods)} pods")
    return races


def run(binary: str, count: int, seconds: float, spoil: Callable[[redis.Redis, str, float], None]) -> list[float]:
    """Seconds from report to acceptance, of every result of the honest races."""
    uids = [f"race-{number}" for number in range(count)]
    with (
        redis_server(binary, "--appendonly", "yes", "--appendfsync", "always") as url,
        contextlib.closing(redis.Redis.from_url(url)) as client,
        Timed(connect(url)) as store,
    ):
        races = watched(store, planned(), [*uids, TROUBLED])
        access = Access(connect(url), "secret", "redis:6379")
        collection = Collection(races, store, Pods(), lambda _: None, access.probe, seal=access.remove)
        spoil(client, url, seconds)
        here, there = PROCESSES.Pipe()
        sender = PROCESSES.Process(target=send, args=(url, uids, seconds, there))
        sender.start()
        there.close()  # so that its end is noticed

        async def work() -> dict[tuple[str, int], float]:
            working = asyncio.create_task(collection.work())
            here.send("go")
            sent: dict[tuple[str, int], float] = await asyncio.to_thread(here.recv)
            await asyncio.to_thread(wait_for, lambda: all(each in store.accepted for each in sent))
            working.cancel()
            return sent

        sent = asyncio.run(work())
        sender.join()
        return sorted(store.accepted[each] - at for each, at in sent.items())


def wait_for(done: Callable[[], bool], seconds: float = 120.0) -> None:
    """Returns when it is done.

    Raises:
        TimeoutError: it was not done within these seconds.
    """
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"some results were not accepted within {seconds:g} s")
        time.sleep(0.05)


def quantiles(seconds: Sequence[float]) -> tuple[float, float]:
    """The 50th and 99th percentile of sorted values."""
    return seconds[len(seconds) // 2], seconds[len(seconds) * 99 // 100]


def main() -> None:
    """Runs the cases one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--races", type=int, default=50)
    parser.add_argument("--server", default=shutil.which("redis-server"))
    parser.add_argument("--only", choices=sorted(CASES))
    given = parser.parse_args()
    print(
        f"{given.races} races, from RPUSH to accepted, in ms; the ratio is to the undisturbed runs before and after it"
    )
    for name, spoil in CASES.items():
        if given.only not in (None, name):
            continue
        before, case, after = (
            run(given.server, given.races, given.seconds, each) for each in (nothing, spoil, nothing)
        )
        p50, p99 = quantiles(case)
        base50, base99 = quantiles(sorted([*before, *after]))
        print(
            f"{name:20s} p50 {1e3 * p50:6.0f} (alone {1e3 * base50:6.0f}, {p50 / base50:.2f} x)   "
            f"p99 {1e3 * p99:6.0f} (alone {1e3 * base99:6.0f}, {p99 / base99:.2f} x)   n {len(case)}   "
            f"goal {GOAL} x: {'held' if max(p50 / base50, p99 / base99) <= GOAL else 'missed'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
