"""What became of search trials: their values on validation data, what they took, and which one is the winner. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from velodrome.metrics.catalogue import MetricKey
from velodrome.results.records import EpochPoint, TrialResult
from velodrome.results.searches import Spent, Suggestion, TrialState, Winner
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


class Tally:
    """What trials took together, trial by trial. The energy is known if each that trained to its end measured it."""

    def __init__(self, outcomes: Iterable[Outcome] = ()) -> None:
        self.epochs = 0
        self.seconds = self.gpu_seconds = self._joules = 0.0
        self._trials, self._measured = Counter[TrialState](), 0
        self._reasons = Counter[str]()
        for one in outcomes:
            self.add(one)

    def add(self, one: Outcome) -> None:
        """Counts a trial."""
        state = one.told.state
        self._trials[state] += 1
        self.epochs += one.epochs
        self.seconds += one.seconds
        self.gpu_seconds += one.seconds * one.accelerators
        if state == "Failed":
            self._reasons[one.reason] += 1
        if state == "Complete" and one.joules is not None:
            self._measured, self._joules = self._measured + 1, self._joules + one.joules

    @property
    def spent(self) -> Spent:
        """All of it."""
        trials = self._trials.total()
        return Spent(
            trials=trials,
            failed=self._trials["Failed"],
            pruned=self._trials["Pruned"],
            epochs=self.epochs,
            seconds=self.seconds,
            gpu_seconds=self.gpu_seconds,
            joules=self._joules if trials and self._measured == trials else None,
            reasons=dict(self._reasons.most_common()),
        )


def spent_by(outcomes: Iterable[Outcome]) -> Spent:
    """What these trials took together."""
    return Tally(outcomes).spent


def is_better(key: MetricKey, value: float, other: float) -> bool:
    """Whether a value of this metric is better than another one."""
    return value > other if key.metric.direction == "higher" else value < other


def best_of(keys: Sequence[MetricKey], outcomes: Mapping[int, Outcome]) -> int | None:
    """The number of the complete trial with the best value of the first objective; of equal ones the first."""
    best: int | None = None
    for number in outcomes:
        best = better_of(keys, outcomes, best, number)
    return best


def better_of(keys: Sequence[MetricKey], outcomes: Mapping[int, Outcome], best: int | None, number: int) -> int | None:
    """The number of the better one of two trials, where none may be the `best` so far; of equal ones the first."""
    values = outcomes[number].told.values
    if not values:
        return best
    if best is None:
        return number
    known = outcomes[best].told.values[0]
    wins = number < best if values[0] == known else is_better(keys[0], values[0], known)
    return number if wins else best


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
