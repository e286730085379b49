"""What became of search trials: their values on validation data, what they took, and which one is the winner. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from velodrome.metrics.catalogue import MetricKey
from velodrome.results.records import EpochPoint, TrialResult
from velodrome.results.searches import Spent, Suggestion, Winner
from velodrome.search.study import Direction, Told

# These failures are of the parameters: the same ones would fail again.
_OF_PARAMETERS = ("OutOfMemory", "LossNotFinite", "OutputNotFinite", "RunnerKilled")
PRUNED, UNMEASURED = "Pruned", "ObjectiveMissing"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A search trial that ended: what a study is told, why it failed, and what it took.

    `seconds` are those of training, `accelerators` the number of GPUs that it had.
    """

    told: Told
    reason: str = ""
    epochs: int = 0
    seconds: float = 0.0
    accelerators: int = 0
    joules: float | None = None


def directions(keys: Sequence[MetricKey]) -> list[Direction]:
    """Optuna's word for each direction."""
    return ["maximize" if key.metric.direction == "higher" else "minimize" for key in keys]


def outcome_of(keys: Sequence[MetricKey], result: TrialResult, curves: Sequence[EpochPoint]) -> Outcome:
    """What became of a trial. `keys` are what the search improves.

    A metric of the validation split counts at the epoch whose weights were kept: with early stopping the best one, else
    the last one.
    """
    steps = _steps(keys[0], curves)
    epochs = result.epochs or (curves[-1].epoch if curves else 0)
    seconds = result.metrics.get("train_seconds", curves[-1].seconds if curves else 0.0)
    gpus = 0 if result.environment is None else result.environment.resources.accelerators
    taken = (epochs, seconds, gpus, result.metrics.get("energy_joules"))
    if result.outcome == "Failed":
        reason = result.reason or ""
        state = Told("Pruned", steps=steps) if reason == PRUNED else Told("Failed", avoided=reason in _OF_PARAMETERS)
        return Outcome(state, reason, *taken)
    values = [_value(key, result, curves) for key in keys]
    found = [value for value in values if value is not None and math.isfinite(value)]
    if len(found) < len(values):
        return Outcome(Told("Failed"), UNMEASURED, *taken)
    return Outcome(Told("Complete", tuple(found), steps), "", *taken)


def _steps(key: MetricKey, curves: Sequence[EpochPoint]) -> dict[int, float]:
    """The values of a metric after each epoch, as far as they can be used."""
    found = {point.epoch: point.validation.get(str(key)) for point in curves}
    return {epoch: value for epoch, value in found.items() if value is not None and math.isfinite(value)}


def _value(key: MetricKey, result: TrialResult, curves: Sequence[EpochPoint]) -> float | None:
    if not key.metric.per_epoch:
        return result.metrics.get(str(key))
    kept = [point for point in curves if point.epoch == result.best_epoch] or list(curves[-1:])
    return kept[0].validation.get(str(key)) if kept else None


def spent_by(outcomes: Sequence[Outcome]) -> Spent:
    """What these trials took together. The energy is known if each that trained to its end measured it."""
    ended = [one for one in outcomes if one.told.state == "Complete"]
    joules = [one.joules for one in ended if one.joules is not None]
    return Spent(
        trials=len(outcomes),
        failed=sum(one.told.state == "Failed" for one in outcomes),
        pruned=sum(one.told.state == "Pruned" for one in outcomes),
        epochs=sum(one.epochs for one in outcomes),
        seconds=sum(one.seconds for one in outcomes),
        gpu_seconds=sum(one.seconds * one.accelerators for one in outcomes),
        joules=sum(joules) if joules and len(joules) == len(outcomes) else None,
        reasons=dict(Counter(one.reason for one in outcomes if one.told.state == "Failed").most_common()),
    )


def is_better(key: MetricKey, value: float, other: float) -> bool:
    """Whether a value of this metric is better than another one."""
    return value > other if key.metric.direction == "higher" else value < other


def best_of(keys: Sequence[MetricKey], outcomes: Mapping[int, Outcome]) -> int | None:
    """The number of the complete trial with the best value of the first objective; of equal ones the first."""
    best: int | None = None
    for number in sorted(outcomes):
        values = outcomes[number].told.values
        if values and (best is None or is_better(keys[0], values[0], outcomes[best].told.values[0])):
            best = number
    return best


def front_of(keys: Sequence[MetricKey], outcomes: Mapping[int, Outcome]) -> tuple[int, ...]:
    """The numbers of the complete trials that no other one beats in one objective and equals or beats in the others."""
    complete = {number: one.told.values for number, one in sorted(outcomes.items()) if one.told.values}
    return tuple(
        number
        for number, own in complete.items()
        if not any(_dominates(keys, other, own) for at, other in complete.items() if at != number)
    )


def _dominates(keys: Sequence[MetricKey], values: Sequence[float], others: Sequence[float]) -> bool:
    pairs = list(zip(keys, values, others, strict=True))
    worse = any(is_better(key, other, value) for key, value, other in pairs)
    return not worse and any(is_better(key, value, other) for key, value, other in pairs)


def winner(
    keys: Sequence[MetricKey], suggestions: Mapping[int, Suggestion], outcomes: Mapping[int, Outcome]
) -> Winner | None:
    """The winner of one entry, whose suggestions and outcomes are given by number; None if no trial is complete."""
    best = best_of(keys, outcomes)
    if best is None:
        return None
    return Winner(
        number=best,
        values=dict(suggestions[best].values),
        objectives=dict(zip(map(str, keys), outcomes[best].told.values, strict=True)),
        front=front_of(keys, outcomes) if len(keys) > 1 else (),
        spent=spent_by(list(outcomes.values())),
    )
