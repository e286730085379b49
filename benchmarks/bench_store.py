"""Measures how fast results are accepted, and how fast a ranking's values are read. Prints its figures.

    python benchmarks/bench_store.py [--records 100000] [--server PATH]

It uses a real Redis on a Unix socket, realistic records (20 metrics, curves of 15 epochs, a full environment) and
batches of 500. Records are made before the clock starts. The time covers everything from pydantic models to Redis'
answer. For the whole way, it also covers reading the inbox and judging each report. The peer of `ranking_rows` is the
simplest solution: read every record of the board, keep those of the cohort, and the newest job of each entry. Both must
give the same rows.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import redis

from velodrome import keys
from velodrome.collector import Collector
from velodrome.metrics.catalogue import MetricKey
from velodrome.plan import Plan, plan
from velodrome.results.cohorts import cohort_of
from velodrome.results.records import (
    EpochPoint,
    JobInfo,
    Observed,
    ResultReport,
    TrialRecord,
    TrialResult,
)
from velodrome.spec import BenchmarkJob
from velodrome.store import Store, open_store
from velodrome.store.decoding import forget

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.fixtures import DATASET, ENVIRONMENT, redis_server

BATCH = 500
READS = 1000
ROUNDS = 5  # on a shared machine, the quietest round is the best measure
START = datetime(2026, 1, 1, tzinfo=UTC)
METRICS = (
    "accuracy", "top5_accuracy", "precision", "recall", "f1", "mean_average_precision", "loss", "validation_loss",
    "train_seconds", "time_to_target_seconds", "train_samples_per_second", "peak_memory_bytes", "model_bytes",
    "parameters", "flops", "latency_p50_seconds{batch_size=1}", "latency_p50_seconds{batch_size=64}",
    "latency_p99_seconds{batch_size=1}", "latency_p99_seconds{batch_size=64}",
    "inference_samples_per_second{batch_size=64}",
)  # fmt: skip
OBSERVED = Observed(executor="local", node="bench", run_seconds=3.5)


@dataclass(frozen=True)
class Job:
    """A race of `entries` entries. Its records are made up on demand."""

    number: int
    entries: int
    repeats: int
    plan: Plan
    info: JobInfo

    @classmethod
    def make(cls, number: int, entries: int, repeats: int) -> Job:
        document = {
            "apiVersion": keys.API_VERSION,
            "kind": keys.KIND,
            "metadata": {"name": "bench"},
            "spec": {
                "dataset": {"name": "digits"},
                "entries": [
                    {"name": f"entry-{entry}", "model": {"name": "velodrome/mlp", "args": {"hidden": 8 + entry}}}
                    for entry in range(entries)
                ],
                "trials": {"repeats": repeats},
            },
        }
        planned = plan(BenchmarkJob.model_validate(document))
        info = JobInfo(
            uid=f"bench-{number}",
            name="bench",
            namespace="default",
            board="digits",
            created_at=START + timedelta(hours=number),
            trials=len(planned),
            repeats=repeats,
            entries=tuple(planned.configs),
            document=planned.job.model_dump(mode="json"),
        )
        return cls(number, entries, repeats, planned, info)

    def record(self, index: int) -> TrialRecord:
        """The made-up record of a trial, different for each."""
        trial, dice = self.plan.trial(index), random.Random(self.number * 1_000_003 + index)  # noqa: S311
        curves = tuple(
            EpochPoint(
                epoch=epoch,
                seconds=0.2 * epoch * dice.random(),
                train_loss=dice.random(),
                learning_rate=dice.random(),
                samples_per_second=1e4 * dice.random(),
                validation={name: dice.random() for name in ("validation_loss", "accuracy", "f1", "top5_accuracy")},
            )
            for epoch in range(1, 16)
        )
        result = TrialResult(
            job_uid=self.info.uid,
            index=index,
            entry=trial.entry,
            repeat=trial.repeat,
            seed=trial.seed,
            trial_id=trial.id,
            attempt="1",
            outcome="Succeeded",
            metrics={name: dice.random() for name in METRICS},
            curves=curves,
            dataset=DATASET,
            environment=ENVIRONMENT,
            epochs=15,
            best_epoch=12,
            stopped_by="maxEpochs",
            started_at=START,
            finished_at=START + timedelta(seconds=index),
        )
        return TrialRecord(result=result, config=trial.config, observed=OBSERVED, accepted_at=START)

    def batches(self) -> Iterator[list[TrialRecord]]:
        for first in range(0, len(self.plan), BATCH):
            yield [self.record(index) for index in range(first, min(first + BATCH, len(self.plan)))]


def accept_all(store: Store, job: Job) -> list[float]:
    """Accepts every record of the job. Returns the seconds of each batch."""
    store.register(job.info)
    seconds = []
    for batch in job.batches():
        start = time.perf_counter()
        verdicts = store.accept(job.info.uid, 0, batch)
        seconds.append(time.perf_counter() - start)
        if set(verdicts) != {"accepted"}:
            raise AssertionError(set(verdicts))
    return seconds


def bench_accept(binary: str) -> None:
    """Measures accepting with each way of keeping data, and the whole way from the inbox."""
    jobs = [Job.make(number, entries=20, repeats=25) for number in range(20)]
    for name, options in (
        ("no append-only file", ("--appendonly", "no")),
        ("appendfsync everysec", ("--appendonly", "yes")),
        ("appendfsync always", ("--appendonly", "yes", "--appendfsync", "always")),
    ):
        with redis_server(binary, *options) as url, open_store(url) as store:
            report(f"accept, {name}", [second for job in jobs for second in accept_all(store, job)])
    for name, options in (
        ("everysec", ("--appendonly", "yes")),
        ("always", ("--appendonly", "yes", "--appendfsync", "always")),
    ):
        with redis_server(binary, *options) as url, open_store(url) as store:
            report(f"read, judge and accept, appendfsync {name}", [collect(store, url, job) for job in jobs])


def collect(store: Store, url: str, job: Job) -> float:
    """Puts the reports of a job's trials into its inbox. Returns the seconds to collect them."""
    store.register(job.info)
    with contextlib.closing(redis.Redis.from_url(url)) as client, client.pipeline(transaction=False) as pipe:
        for index in range(BATCH):
            text = ResultReport(result=job.record(index).result).model_dump_json()
            pipe.rpush(keys.inbox(job.info.uid), text)
        pipe.execute()
    collector = Collector(store, job.plan, job.info.uid, lambda _index, _attempt: OBSERVED, time.time, BATCH)
    start = time.perf_counter()
    collected = collector.collect_once()
    seconds = time.perf_counter() - start
    if len(collected.verdicts) != BATCH:
        raise AssertionError(collected.rejected[:1])
    return seconds


def report(what: str, seconds: list[float]) -> None:
    """Prints one line: records per second over all batches, and in the median batch."""
    mean, median = BATCH * len(seconds) / sum(seconds), BATCH / statistics.median(seconds)
    print(f"{what:46s} {mean:8,.0f} records/s, median batch {median:8,.0f} (target: 5,000)")


def bench_ranking(binary: str, entries: int, repeats: int, jobs: int) -> None:
    """Measures reading a ranking's values from a board of entries x repeats x jobs records."""
    with redis_server(binary, "--appendonly", "no") as url, open_store(url) as store:
        seconds = [second for number in range(jobs) for second in accept_all(store, Job.make(number, entries, repeats))]
        records = entries * repeats * jobs
        print(f"\n{entries:,} entries x {repeats} seeds x {jobs} jobs = {records:,} records on one board")
        report("accept", seconds)
        [cohort] = store.cohorts("digits", "accuracy")
        p50 = read("again, nothing changed", lambda: None, store, cohort.cohort_id)
        read("first time, or all changed", forget, store, cohort.cohort_id)
        start = time.perf_counter()
        scanned = scan(store, "digits", "accuracy", cohort.cohort_id)
        naive = time.perf_counter() - start
        rows = store.ranking_rows("digits", "accuracy", cohort.cohort_id)
        if {row.entry: (row.job_uid, row.samples) for row in rows} != scanned:
            raise AssertionError("the aggregates and the scan disagree")
    print(f"scan of every record: {naive:.2f} s, {naive / p50:,.0f} times as long")


def read(which: str, before: Callable[[], None], store: Store, cohort_id: str) -> float:
    """Reads the rows repeatedly, after `before` each time. Returns the median of the seconds."""
    rounds = []
    for _ in range(ROUNDS):
        seconds = []
        for _ in range(READS):
            before()
            start = time.perf_counter()
            store.ranking_rows("digits", "accuracy", cohort_id)
            seconds.append(time.perf_counter() - start)
        rounds.append(sorted(seconds))
    p50 = statistics.median(seconds[READS // 2] for seconds in rounds)
    tails = ", ".join(f"{1e3 * tail:.2f}" for tail in sorted(seconds[READS * 99 // 100] for seconds in rounds))
    print(f"ranking_rows, {which}: p50 {1e3 * p50:.2f} ms, p99 of each round {tails} ms (target: 5 ms)")
    return p50


def scan(store: Store, board: str, key: str, cohort_id: str) -> dict[str, tuple[str, dict[int, float]]]:
    """The same values without any aggregate: entry -> newest job with a value, and its values by seed."""
    found: dict[str, tuple[str, dict[int, float]]] = {}
    for job in store.jobs(board, limit=1_000_000):
        of_job: dict[str, dict[int, float]] = {}
        for first in range(0, job.trials, BATCH):
            for record in store.records(job.uid, first, BATCH):
                cohort = cohort_of(record, MetricKey.parse(key))
                if cohort is not None and cohort.id == cohort_id and key in record.result.metrics:
                    of_job.setdefault(record.result.entry, {})[record.result.seed] = record.result.metrics[key]
        for entry, samples in of_job.items():
            found.setdefault(entry, (job.uid, samples))
    return found


def main() -> None:
    """Runs all."""
    parser = argparse.ArgumentParser(description="Figures of the store; see the top of this file.")
    parser.add_argument("--records", type=int, default=100_000, help="records on the board of each ranking")
    parser.add_argument(
        "--server", default=shutil.which("redis-server"), help="the redis-server or valkey-server to use"
    )
    given = parser.parse_args()
    if given.server is None:
        parser.error("no redis-server on PATH: give --server PATH")
    version = subprocess.run([given.server, "--version"], check=True, capture_output=True, text=True).stdout
    print(version.split(" sha=")[0])
    bench_accept(given.server)
    bench_ranking(given.server, 1000, 20, given.records // 20_000)
    bench_ranking(given.server, 100, 10, given.records // 1000)


if __name__ == "__main__":
    main()
