"""Fills a Redis with made-up results, to show the leaderboard without a race: sample_results.py REDIS_URL.

Nothing in them was measured. The names of the machines say their purpose. Tests and benchmarks use parts of this.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from velodrome.plan import Plan, Trial, plan
from velodrome.results.records import (
    DatasetFacts,
    Environment,
    EpochPoint,
    GrantedResources,
    Hardware,
    JobInfo,
    Observed,
    Phase,
    Progress,
    Software,
    TrialRecord,
    TrialResult,
)
from velodrome.results.registration import job_info
from velodrome.spec import validate
from velodrome.store import Store, open_store

sys.path.append(str(Path(__file__).parents[1]))

from tools.sample_search import searched

OBJECTIVES: tuple[Mapping[str, Any], ...] = (
    {"name": "accuracy", "metric": "accuracy"},
    {"name": "speed", "metric": "latency_p50_seconds", "batchSize": 1},
    {"name": "efficiency", "metric": "peak_memory_bytes"},
)


@dataclass(frozen=True, slots=True)
class Rider:
    """The typical values of an entry's made-up trials."""

    model: str
    accuracy: float
    latency: float
    memory: float
    spread: float = 0.004


DIGITS: Mapping[str, Rider] = {
    "cnn": Rider("velodrome/cnn", 0.986, 0.00031, 412e6),
    "cnn-l1": Rider("velodrome/cnn", 0.983, 0.00032, 415e6),
    "mlp": Rider("velodrome/mlp", 0.971, 0.00009, 371e6),
    "lstm": Rider("velodrome/lstm", 0.962, 0.00058, 398e6, spread=0.008),
    "gru": Rider("velodrome/gru", 0.965, 0.00047, 396e6, spread=0.008),
}


# So far apart that chance can't change their order.
CLEAR: Mapping[str, Rider] = {
    "slow": Rider("velodrome/lstm", 0.98, 0.009, 5e8, 0.001),
    "quick": Rider("velodrome/mlp", 0.9, 0.0012, 3e8, 0.001),
    "middle": Rider("velodrome/cnn", 0.8, 0.004, 4e8, 0.001),
}


def _luck(seed: str | int) -> Random:
    return Random(seed)  # noqa: S311 - it opens nothing # nosec B311


@dataclass(frozen=True)
class Race:
    """A job with its plan, and how to make results for its trials."""

    plan: Plan
    info: JobInfo
    riders: Mapping[str, Rider]
    machine: str = "Sample CPU @ 2.00GHz"
    luck: Random = field(default_factory=lambda: _luck(1))

    @property
    def trials(self) -> tuple[Trial, ...]:
        return self.plan.trials

    def record(self, trial: Trial, failure: tuple[str, str] | None = None, attempt: str = "sample-1") -> TrialRecord:
        """The trial's made-up result; a failure is a reason and a message."""
        epochs = trial.config.budget.max_epochs
        rider = self.riders[trial.entry]
        started = self.info.created_at + timedelta(seconds=4 * trial.index)
        luck = self.luck.gauss(0, 1)
        metrics = {} if failure else self._metrics(rider, luck)
        result = TrialResult(
            job_uid=self.info.uid,
            index=trial.index,
            entry=trial.entry,
            repeat=trial.repeat,
            seed=trial.seed,
            trial_id=trial.id,
            attempt=attempt,
            outcome="Failed" if failure else "Succeeded",
            reason=failure[0] if failure else None,
            message=failure[1] if failure else None,
            log_tail="Loading: digits\nepoch 1/15: loss 2.3411\nepoch 2/15: loss nan\n" if failure else None,
            metrics=metrics,
            confusion=None if failure else confusion(metrics["accuracy"], _luck(f"{self.info.uid}/{trial.index}")),
            unavailable={} if failure else {"energy_joules": "this device has no energy counter"},
            curves=tuple(self.curve(rider, epochs // 4 if failure else epochs)),
            dataset=DIGITS_FACTS,
            environment=environment(self.machine),
            epochs=None if failure else epochs,
            best_epoch=None if failure else max(1, epochs - 3),
            stopped_by=None if failure else "maxEpochs",
            started_at=started,
            finished_at=started + timedelta(seconds=3.1 + abs(luck)),
            phases={"Loading": 0.2, "Training": 0.6} if failure else _phases(metrics["train_seconds"]),
        )
        observed = Observed(executor="local", node="sample", queued_seconds=0.4, run_seconds=3.6 + abs(luck))
        return TrialRecord(result=result, config=trial.config, observed=observed, accepted_at=result.finished_at)

    def _metrics(self, rider: Rider, luck: float) -> dict[str, float]:
        accuracy = min(0.999, rider.accuracy + rider.spread * (0.6 * luck + 0.8 * self.luck.gauss(0, 1)))
        latency = rider.latency * (1 + 0.03 * self.luck.gauss(0, 1))
        return {
            "accuracy": accuracy,
            "f1": accuracy - 0.002,
            "loss": 4 * (1 - accuracy),
            "latency_p50_seconds{batch_size=1}": latency,
            "latency_p99_seconds{batch_size=1}": latency * 1.7,
            "inference_samples_per_second{batch_size=64}": 40 / latency,
            "train_seconds": 2.5 + 900 * rider.latency + 0.1 * abs(luck),
            "train_samples_per_second": 9000 / (1 + 2000 * rider.latency),
            "peak_memory_bytes": float(round(rider.memory * (1 + 0.01 * self.luck.gauss(0, 1)))),
            "parameters": float(round(rider.memory / 9000)),
            "model_bytes": 4.0 * round(rider.memory / 9000),
        }

    def curve(self, rider: Rider, epochs: int) -> Iterable[EpochPoint]:
        """A loss that falls and then stays level."""
        for epoch in range(1, epochs + 1):
            left = 0.72**epoch
            yield EpochPoint(
                epoch=epoch,
                seconds=0.19 * epoch,
                train_loss=2.3 * left + 0.03 + 0.01 * abs(self.luck.gauss(0, 1)),
                learning_rate=0.003 * min(epoch / 5, (epochs + 1 - epoch) / max(1, epochs - 4)),
                samples_per_second=7200 + 300 * self.luck.gauss(0, 1),
                validation={
                    "validation_loss": 2.2 * left + 4 * (1 - rider.accuracy) + 0.02 * abs(self.luck.gauss(0, 1)),
                    "accuracy": max(0.1, rider.accuracy - 0.85 * left + 0.004 * self.luck.gauss(0, 1)),
                },
            )

    def progress(self, trial: Trial, fraction: float, at: datetime, attempt: str = "sample-1") -> Progress:
        """The progress of a trial that is training."""
        epochs = trial.config.budget.max_epochs
        epoch = max(1, round(fraction * epochs))
        return Progress(
            job_uid=self.info.uid,
            index=trial.index,
            attempt=attempt,
            phase="Training",
            epoch=epoch,
            epochs=epochs,
            fraction=fraction,
            loss=2.3 * 0.72**epoch,
            samples_per_second=7150.0,
            at=at,
            point=list(self.curve(self.riders[trial.entry], epoch))[-1],
        )


DIGITS_FACTS = DatasetFacts(
    name="digits",
    digest="sha256:" + "5a" * 32,
    train_samples=1294,
    validation_samples=143,
    test_samples=360,
    shape=(1, 8, 8),
    classes=tuple("0123456789"),
)


def _phases(trained: float) -> dict[Phase, float]:
    return {"Loading": 0.2, "Training": 1.04 * trained, "Evaluating": 0.08, "Timing": 0.3}


def confusion(accuracy: float, luck: Random) -> tuple[tuple[int, ...], ...]:
    """A matrix of the digits' test split. Most mistakes are between digits that look alike."""
    each = DIGITS_FACTS.test_samples // 10
    counts = [[each if right == predicted else 0 for predicted in range(10)] for right in range(10)]
    for _ in range(round((1 - accuracy) * DIGITS_FACTS.test_samples)):
        alike = luck.choice(((8, 1), (9, 4), (3, 5), (5, 9), (7, 9)))
        right, predicted = alike if luck.random() < 0.7 else luck.sample(range(10), 2)
        if counts[right][right]:
            counts[right][right] -= 1
            counts[right][predicted] += 1
    return tuple(map(tuple, counts))


def environment(machine: str) -> Environment:
    """The environment of a machine that doesn't exist."""
    return Environment(
        hardware=Hardware(cpu_model=machine, cpu_count=8),
        software=Software(
            velodrome="0.1.0",
            python="3.11.9",
            framework="torch 2.15.0",
            libraries={"numpy": "2.4.6", "torchvision": "0.30.0"},
        ),
        resources=GrantedResources(cpus=2, memory_limit_bytes=8 * 2**30),
    )


def race(
    uid: str,
    created_at: datetime,
    *,
    name: str = "digits",
    board: str | None = None,
    riders: Mapping[str, Rider] = DIGITS,
    repeats: int = 5,
    objectives: Sequence[Mapping[str, Any]] = OBJECTIVES,
    machine: str = "Sample CPU @ 2.00GHz",
) -> Race:
    """A job with these entries, before its registration."""
    job = validate(
        {
            "apiVersion": "velodrome.dev/v1alpha1",
            "kind": "BenchmarkJob",
            "metadata": {"name": name},
            "spec": {
                "board": board or name,
                "objectives": list(objectives),
                "dataset": {"name": "digits"},
                "preprocessing": {"augmentations": [{"name": "RandomCrop", "args": {"padding": 1}}]},
                "budget": {"maxEpochs": 15},
                "training": {"batchSize": 64, "optimizer": {"name": "AdamW", "learningRate": 0.003}},
                "entries": [{"name": entry, "model": {"name": rider.model}} for entry, rider in riders.items()],
                "trials": {"repeats": repeats},
            },
        }
    )
    planned = plan(job)
    return Race(planned, job_info(planned, uid, created_at), riders, machine, _luck(uid))


def finish(store: Store, made: Race, failures: Mapping[str, tuple[str, str]] | None = None) -> None:
    """Registers the race and gives every trial a result. The odd repeats of the entries in `failures` fail."""
    store.register(made.info)
    records = [
        made.record(trial, (failures or {}).get(trial.entry) if trial.repeat % 2 else None) for trial in made.trials
    ]
    for start in range(0, len(records), 500):
        accept(store, made, records[start : start + 500])


def accept(store: Store, made: Race, records: Sequence[TrialRecord], progress: Sequence[Progress] = ()) -> None:
    """Accepts these records as a collector does, batch by batch."""
    store.accept(made.info.uid, store.position(made.info.uid) + 1, records, progress)


def fill(store: Store, now: datetime) -> None:
    """Several boards: one done with a tie and failures, one running, one on two machines, one with many entries; and a
    search.
    """
    for made in nights(now):
        finish(store, made)

    old = race("sample-old", now - timedelta(days=3), name="digits-laptop", board="digits", machine="Sample laptop CPU")
    finish(store, old)

    stopped = race("sample-stopped", now - timedelta(hours=5), name="night-run", board="sweep")
    store.register(stopped.info)
    accept(store, stopped, [stopped.record(trial) for trial in stopped.trials[:7]])

    finish(store, many(now - timedelta(hours=1), 120))

    more = dict(DIGITS) | {"lstm-wide": Rider("velodrome/lstm", 0.95, 0.0011, 520e6, spread=0.01)}
    nan = ("LossNotFinite", "the loss became nan in epoch 4: lower training.optimizer.learningRate")
    done = race("sample-digits", now - timedelta(minutes=7), riders=more)
    finish(store, done, {"lstm-wide": nan})
    accept(store, done, [done.record(done.trials[3], attempt="sample-2")])

    running = race("sample-running", now - timedelta(seconds=50), name="fashion", board="fashion-mnist")
    store.register(running.info)
    at_work = [running.progress(trial, 0.2 + 0.3 * place, now) for place, trial in enumerate(running.trials[11:13])]
    accept(store, running, [running.record(trial) for trial in running.trials[:11]], at_work)
    searched(store, at=now - timedelta(days=2))


def nights(now: datetime, jobs: int = 44) -> Iterable[Race]:
    """A race that runs every night: one entry becomes slower for good, and one night the machine is another."""
    quick = Rider("velodrome/cnn", 0.98, 0.00031, 412e6, 0.001)
    steady = Rider("velodrome/mlp", 0.97, 0.00009, 371e6, 0.001)
    for night in range(jobs):
        slow = 0 if night < jobs * 2 // 3 else 1
        cnn = Rider(quick.model, quick.accuracy, quick.latency * (1 + 0.12 * slow), quick.memory, quick.spread)
        at = now - timedelta(days=jobs - night)
        machine = "Sample laptop CPU" if night < jobs // 3 else "Sample CPU @ 2.00GHz"
        name = f"night-{night + 1:02}"
        yield race(
            f"sample-{name}", at, name=name, board="nightly", riders={"cnn": cnn, "mlp": steady}, machine=machine
        )


def many(created_at: datetime, entries: int, repeats: int = 5) -> Race:
    """A job with many entries on one board."""
    source = _luck(entries)
    riders = {
        f"sweep-{number:04}": Rider(
            "velodrome/mlp", 0.9 + 0.08 * source.random(), 0.0001 * (1 + 5 * source.random()), 4e8
        )
        for number in range(entries)
    }
    return race(f"sample-many-{entries}", created_at, name=f"sweep-{entries}", riders=riders, repeats=repeats)


def main() -> None:
    """Fills the Redis at the given URL."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="redis://:PASSWORD@HOST:PORT or unix:///PATH, a Redis for nothing else")
    with open_store(parser.parse_args().url) as store:
        fill(store, datetime.now(UTC))


if __name__ == "__main__":
    main()
