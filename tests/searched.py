"""Search trials that ended, as their records come to the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from velodrome.keys import search_uid
from velodrome.plan import Plan
from velodrome.results.records import EpochPoint, Observed, Progress, TrialRecord, TrialResult
from velodrome.results.registration import job_info
from velodrome.search.trials import search_info, search_plan
from velodrome.store import Store

START = datetime(2026, 1, 1, tzinfo=UTC)
RATE, SIZE = "training.optimizer.learningRate", "training.batchSize"


def search_of_two(trials: int, **search: Any) -> dict[str, Any]:
    """The search of a job whose entries a and b have the same parameters; others have none."""
    return {
        "maxTrials": trials,
        "seed": 5,
        "objectives": [{"metric": "validation_loss"}],
        "parameters": [
            {"name": RATE, "type": "LogFloat", "low": 1e-4, "high": 1, "entries": ["a", "b"]},
            {"name": SIZE, "type": "Integer", "low": 16, "high": 256, "step": 16, "entries": ["a", "b"]},
        ],
        "confirm": {"repeats": 2},
        **search,
    }


def registered(store: Store, made: Plan, uid: str) -> None:
    """Registers a race and its search."""
    info = job_info(made, uid, START)
    store.register(info)
    store.register_search(search_info(info, made))


def points(*losses: float) -> tuple[EpochPoint, ...]:
    """A validation loss after each epoch."""
    return tuple(
        EpochPoint(
            epoch=epoch,
            train_loss=loss,
            validation={"validation_loss": loss},
            seconds=float(epoch),
            learning_rate=0.1,
            samples_per_second=100.0,
        )
        for epoch, loss in enumerate(losses, start=1)
    )


def progress(uid: str, index: int, attempt: str, *losses: float) -> Progress:
    """What an attempt at a search trial of that race reports after the last of these epochs."""
    point = points(*losses)[-1]
    return Progress(
        job_uid=search_uid(uid), index=index, attempt=attempt, phase="Training", epoch=point.epoch, epochs=100,
        at=START, point=point,
    )  # fmt: skip


def ended(
    store: Store, made: Plan, uid: str, index: int, *losses: float, failed: str = "", attempt: str = "a1"
) -> TrialRecord:
    """The record of a search trial with these losses after its epochs, or of one that failed for that reason."""
    suggestion = store.suggestion(search_uid(uid), index)
    assert suggestion is not None
    trial = search_plan(made, {index: suggestion}).trial(index)
    how: dict[str, Any] = {"outcome": "Failed", "reason": failed} if failed else {"outcome": "Succeeded"}
    result = TrialResult(
        job_uid=search_uid(uid), index=index, entry=trial.entry, repeat=trial.repeat, seed=trial.seed,
        trial_id=trial.id, attempt=attempt, curves=points(*losses), epochs=len(losses),
        metrics={} if failed else {"train_seconds": float(len(losses))},
        started_at=START, finished_at=START + timedelta(seconds=60), **how,
    )  # fmt: skip
    return TrialRecord(result=result, config=trial.config, observed=Observed(executor="kubernetes"), accepted_at=START)


def finish(store: Store, made: Plan, uid: str, index: int, *losses: float, failed: str = "") -> None:
    """Accepts the record of a search trial."""
    store.accept(search_uid(uid), 0, [ended(store, made, uid, index, *losses, failed=failed)])
