"""From what the operator knows to the families of `velodrome.monitoring.telemetry`. Pure.

A family whose labels' values people choose (boards, entries, names of objects) has no bound of its own. So there is a
bound for all that is exposed: series come in groups, each exposed whole or not at all, and the least important groups
are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from prometheus_client import Metric

from velodrome.metrics.catalogue import MetricKey
from velodrome.monitoring import telemetry
from velodrome_operator.race_facts import RaceFacts
from velodrome_operator.series import Series, metrics

if TYPE_CHECKING:
    from velodrome.board.latest import Latest

# Entries whose newest job is older take part in no race now. Their results are in the store and in Prometheus' history.
LOOK_BACK = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class _Group:
    """Series that are exposed together or not at all. Groups of a lower rank are kept first."""

    rank: tuple[Any, ...]
    rows: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Exposed:
    """The families of results and BenchmarkJobs, the number of their series, and the number that was left out."""

    families: tuple[Metric, ...]
    series: int
    dropped: int


def exposed(
    results: Iterable[Latest],
    races: Iterable[RaceFacts],
    durations: Mapping[str, tuple[Series, ...]],
    now: datetime,
    limit: int,
) -> Exposed:
    """What `telemetry.RESULTS`, `telemetry.BOARDS` and `telemetry.RACES` hold, with at most `limit` series.

    If there are more, the order of importance is: regressions, sums over races, races that go on, the newest results,
    the newest races that ended. So the choice depends on what is known, and not on its order.
    """
    races = list(races)
    recent = [one for one in results if now - one.at <= LOOK_BACK]
    groups = [_result(one) for one in recent]
    groups += _moved(recent)
    groups += _sums(races, durations)
    groups += map(_race, races)
    kept: list[Series] = []
    total, full = 0, False
    for group in sorted(groups, key=lambda group: group.rank):
        total += len(group.rows)
        full = full or len(kept) + len(group.rows) > limit
        if not full:
            kept += group.rows
    return Exposed(
        tuple(metrics((*telemetry.RESULTS, *telemetry.BOARDS, *telemetry.RACES), kept)), len(kept), total - len(kept)
    )


def verdict_of(one: Latest) -> str:
    """One of `telemetry.VERDICTS`."""
    found = one.comparison
    if found.verdict != "Regressed":
        return found.verdict
    return "Accepted" if found.acknowledged else "MovedTogether" if found.together else "Regressed"


def _result(one: Latest) -> _Group:
    found, metric = one.comparison, MetricKey.parse(one.comparison.metric_key).metric
    labels = dict(zip(telemetry.RESULT_LABELS, (found.board, found.entry, one.objective, found.cohort_id), strict=True))
    valued = {**labels, "metric": found.metric_key, "unit": metric.unit}
    verdict = verdict_of(one)
    baseline_samples = found.baseline_samples if found.baseline_uid is not None else None
    wanted = (
        (telemetry.MEAN, valued, one.interval.mean),
        (telemetry.LOW, valued, one.interval.low),
        (telemetry.HIGH, valued, one.interval.high),
        (telemetry.SAMPLES, labels, one.interval.n),
        (telemetry.RESULT_TIME, labels, one.at.timestamp()),
        (telemetry.LAST_SUCCESS, labels, one.succeeded_at.timestamp() if one.succeeded_at else None),
        (telemetry.BASELINE_MEAN, valued, found.baseline_mean),
        (telemetry.BASELINE_SAMPLES, labels, baseline_samples),
        (telemetry.CHANGE, labels, found.relative_change),
        (telemetry.CHANGE_LOW, labels, found.low),
        (telemetry.CHANGE_HIGH, labels, found.high),
        (telemetry.VISIBLE, labels, found.visible),
    )
    rows = [Series(family, named, value) for family, named, value in wanted if value is not None]
    rows += [
        Series(telemetry.VERDICT, {**labels, "verdict": name}, float(name == verdict)) for name in telemetry.VERDICTS
    ]
    order = (0 if verdict in ("Regressed", "MovedTogether") else 3, -one.at.timestamp(), *labels.values())
    return _Group(order, tuple(rows))


def _moved(results: Iterable[Latest]) -> Iterator[_Group]:
    """One series for each objective and cohort of a board whose entries became worse together."""
    along: dict[tuple[str, str, str], list[Latest]] = {}
    for one in results:
        if verdict_of(one) == "MovedTogether":
            along.setdefault((one.comparison.board, one.objective, one.comparison.cohort_id), []).append(one)
    for (board, objective, cohort), found in along.items():
        newest = max(found, key=lambda one: (one.at, one.comparison.entry)).comparison
        labels = {"board": board, "objective": objective, "cohort": cohort, "entries": str(len(found)),
                  "why": newest.together}  # fmt: skip
        rows = (Series(telemetry.MOVED, labels, abs(newest.common or 0.0)),)
        yield _Group((0, 0.0, board, objective, cohort), rows)


def _sums(races: Sequence[RaceFacts], durations: Mapping[str, tuple[Series, ...]]) -> Iterator[_Group]:
    trials: dict[tuple[str, str], Counter[str]] = {}
    for race in races:
        trials.setdefault((race.namespace, race.board), Counter()).update(race.trials)
    for (namespace, board), counted in trials.items():
        named = {"namespace": namespace, "board": board}
        rows = (Series(telemetry.TRIALS, {**named, "state": state}, counted[state]) for state in telemetry.TRIAL_STATES)
        yield _Group((1, 0.0, namespace, board), tuple(rows))
    for board, taken in durations.items():
        yield _Group((1, 1.0, board), taken)


def _race(race: RaceFacts) -> _Group:
    named = {"namespace": race.namespace, "benchmarkjob": race.name}
    rows = [
        Series(telemetry.RACE_STATE, {**named, "state": state}, float(state == race.state))
        for state in telemetry.RACE_STATES
    ]
    for family, moment in (
        (telemetry.RACE_PROGRESS, race.progress_at),
        (telemetry.RESULTS_WAITING, race.waiting_since),
    ):
        if moment is not None:
            rows.append(Series(family, named, moment.timestamp()))
    ended = race.state in ("Complete", "Failed")
    return _Group((4 if ended else 2, -race.created_at.timestamp(), *named.values()), tuple(rows))
