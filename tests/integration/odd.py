"""A store as no collector fills it: values, times and counts that no trial has, put there past all that judges."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from tools.sample_results import Race, Rider, race
from velodrome import keys
from velodrome.results.marks import Acknowledgement, Baseline
from velodrome.results.records import ClaimedTimes, EpochPoint, TrialRecord
from velodrome.store import Store

FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
HUGE = 10**400
# Without classes, with one row, below 0, more than a chart can hold, ragged, with empty rows, of too many classes. The
# last two are sound, but without samples, and of another number of classes than the record names.
MATRICES = (
    (), ((1, 2, 3),), ((-1,) * 10,) * 10, ((HUGE,) * 10,) * 10, ((1, 2), (3,)), ((), ()), ((1,) * 101,) * 101,
    ((0,) * 10,) * 10, ((2**30,) * 3,) * 3,
)  # fmt: skip
# By entry, what each of its trials measured of everything.
VALUES = {"huge": 1e308, "negative": -5.0, "vanishing": 5e-324, "percent": 97.3, "large": 9e99, "plain": 0.5}
_MODELS = ("mlp", "cnn", "lstm", "gru", "resnet9", "mlp")
RIDERS = {
    entry: Rider(f"velodrome/{model}", 0.9, 0.001 * (place + 1), 3e8)
    for place, (entry, model) in enumerate(zip(VALUES, _MODELS, strict=True))
}
UID = "odd-late"
UNMEASURED = "nan-and-infinite"  # a job whose values are none, as IEEE doubles can say


def fill(store: Store, client: Any) -> Race:
    """A board of three jobs: one of the year 1, one of the year 9999, and one whose values are NaN and infinite."""
    made, early, none, running = (_race(uid) for uid in (UID, "odd-early", UNMEASURED, "odd-running"))
    for each, at in ((early, FIRST), (none, FIRST + timedelta(days=1)), (made, LAST)):
        store.register(each.info.model_copy(update={"created_at": at}))
        store.accept(each.info.uid, 1, list(records(each)))
    for mark in (
        Baseline(board="odd", entry="plain", metric_key="", job_uid="odd-early", at=LAST),
        Acknowledgement(board="odd", entry="huge", metric_key="accuracy", job_uid=UID, at=FIRST),
    ):
        store.mark(mark)
    for number, (field, packed) in enumerate(client.hgetall(keys.job(UNMEASURED, "samples")).items()):
        odd = (float("nan"), float("inf"), float("-inf"))[number % 3]
        values = [(seed, odd) for seed, _ in struct.iter_unpack("<qd", packed)]
        client.hset(keys.job(UNMEASURED, "samples"), field, b"".join(struct.pack("<qd", *value) for value in values))
    store.register(running.info.model_copy(update={"created_at": LAST}))
    news = running.progress(running.trials[0], 0.5, LAST)
    news = news.model_copy(
        update={"epoch": HUGE, "loss": 1e308, "samples_per_second": 1e308, "point": next(points(1e308, 1))}
    )
    store.accept(running.info.uid, 1, [], [news])
    rejected = [["1-0", "ImpossibleValue", "x" * 1000], ["2-0", "ImpossibleValue", "y", HUGE, "z" * 1000]]
    client.rpush(keys.job(UID, "rejections"), *(json.dumps(one) for one in rejected))
    client.hset(keys.job(UID, "rejected"), "ImpossibleValue", 2)
    return made


def _race(uid: str) -> Race:
    return race(uid, datetime(2026, 1, 1, tzinfo=UTC), name="odd", riders=RIDERS, repeats=3)


def records(made: Race) -> Iterator[TrialRecord]:
    """One of each trial; the last of each entry failed."""
    for trial in made.trials:
        value = VALUES[trial.entry]
        failed = trial.repeat == 2 and trial.entry == "percent"
        record = made.record(trial, ("ImpossibleValue", "metrics.accuracy: 97.3") if failed else None)
        result, observed = record.result, record.observed
        assert result.dataset is not None
        odd = {
            "metrics": {} if failed else dict.fromkeys(result.metrics, value) | {"accuracy": value},
            "confusion": MATRICES[trial.index % len(MATRICES)],
            "curves": tuple(points(value, 3)),
            "epochs": None if failed else HUGE,
            "best_epoch": None if failed else HUGE,
            "dataset": result.dataset.model_copy(
                update={"train_samples": HUGE, "test_samples": -3, "validation_samples": -HUGE}
            ),
            "started_at": LAST if trial.repeat else FIRST,
            "finished_at": FIRST if trial.repeat else LAST,
        }
        seen = {
            "run_seconds": (1e308, -1e308, None)[trial.repeat],
            "queued_seconds": -1e308,
            "claimed": ClaimedTimes(started_at=FIRST, finished_at=LAST),
        }
        yield record.model_copy(
            update={
                "result": result.model_copy(update=odd),
                "observed": observed.model_copy(update=seen),
                "accepted_at": (FIRST, LAST, LAST)[trial.repeat],
            }
        )


def points(value: float, epochs: int) -> Iterator[EpochPoint]:
    """Curves of nothing but this value, up and down."""
    for epoch in range(1, epochs + 1):
        sign = 1 if epoch % 2 else -1
        yield EpochPoint(
            epoch=HUGE if epoch == 3 else epoch,
            seconds=sign * value,
            train_loss=sign * value,
            learning_rate=value,
            samples_per_second=value,
            validation={"accuracy": sign * value, "validation_loss": value, "of my own {x}": -value},
        )
