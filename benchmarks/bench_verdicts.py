"""Measures how much CPU the verdicts of a job take. Prints its figures.

    python benchmarks/bench_verdicts.py [--entries 1000] [--jobs 61] [--rounds 5]

A board has two objectives, an accuracy and a latency, and five trials for each entry in each job. The history is in
memory: what is measured is everything from the values to the verdicts with their sentences. Beside it stands what one
`numpy.sort` of all values takes, in the same process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

import numpy as np

from velodrome.results.records import JobInfo, TrialRecord
from velodrome.store import Reader
from velodrome.store.types import EntryFacts, JobSamples
from velodrome.trends.history import BoardHistory
from velodrome.trends.regressions import judge_in

TRIALS = 5
LATENCY = "latency_p50_seconds{batch_size=1}"
DOCUMENT = {
    "spec": {
        "objectives": [
            {"name": "accuracy", "metric": "accuracy"},
            {"name": "speed", "metric": "latency_p50_seconds", "batchSize": 1},
        ]
    }
}


class NoConditions:
    """A store of which nothing but the history is read."""

    def conditions(self, _: str) -> Mapping[str, Any]:
        return {}

    def some_trials(self, _: str, __: Sequence[int]) -> list[TrialRecord | None]:
        return []


def board(entries: int, jobs: int) -> BoardHistory:
    """A history in which nothing changes. Accuracies of one entry vary by 0.005, and latencies by 2 %."""
    rng, names = np.random.default_rng(1), tuple(f"entry-{place}" for place in range(entries))
    infos, samples = [], []
    for job in range(jobs):
        infos.append(
            JobInfo(
                uid=f"job-{job}",
                name=f"night-{job}",
                namespace="default",
                board="board",
                created_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=job),
                trials=TRIALS * entries,
                repeats=TRIALS,
                entries=names,
                document=DOCUMENT,
            )
        )
        accuracies = (0.9 + 0.005 * rng.normal(size=(entries, TRIALS))).tolist()
        latencies = (0.01 * np.exp(0.02 * rng.normal(size=(entries, TRIALS)))).tolist()
        samples.append(
            {
                (name, key): (JobSamples(name, key, "cohort", dict(enumerate(values))),)
                for key, every in (("accuracy", accuracies), (LATENCY, latencies))
                for name, values in zip(names, every, strict=True)
            }
        )
    facts = EntryFacts({name: name for name in names}, {}, frozenset())
    return BoardHistory(tuple(infos), samples, [facts] * jobs)


def seconds(work: Callable[[], object]) -> float:
    """The CPU seconds of this process."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    """Prints every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=61)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    reader = cast("Reader", NoConditions())
    judge_in(reader, board(3, 3))  # imports
    values = np.random.default_rng(2).normal(size=given.entries * given.jobs * TRIALS * 2)
    took = []
    for _ in range(given.rounds):
        history = board(given.entries, given.jobs)
        took.append((seconds(partial(judge_in, reader, history)), seconds(partial(np.sort, values))))
    judged, sorting = (statistics.median(times) for times in zip(*took, strict=True))
    print(
        f"judging {given.entries} entries by 2 objectives with {given.jobs} jobs: median {judged:.2f} s of CPU of "
        f"{given.rounds} rounds, best {min(one for one, _ in took):.2f}; sorting the values {1000 * sorting:.0f} ms; "
        f"load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
