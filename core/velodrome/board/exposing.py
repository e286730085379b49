"""What Prometheus gets of a board: its newest results as series, within a bound. Pure.

Boards and entries are chosen by people, so their number has no bound of its own. So there is a bound for all that is
exposed: series come in groups, each exposed whole or not at all, and the least important groups are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from velodrome.metrics.catalogue import MetricKey
from velodrome.monitoring import telemetry
from velodrome.monitoring.series import Series

if TYPE_CHECKING:
    from velodrome.board.latest import Latest

# Entries whose newest job is older take part in no race now. Their results are in the store and in Prometheus' history.
LOOK_BACK = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class SeriesGroup:
    """Series that are exposed together or not at all. Groups of a lower rank are kept first."""

    rank: tuple[Any, ...]
    rows: tuple[Series, ...]


def within(groups: Iterable[SeriesGroup], limit: int) -> tuple[list[Series], int]:
    """The series to expose, at most `limit`, and how many are left out.

    The choice depends on the groups, and not on their order.
    """
    kept: list[Series] = []
    total, full = 0, False
    for group in sorted(groups, key=lambda group: group.rank):
        total += len(group.rows)
        full = full or len(kept) + len(group.rows) > limit
        if not full:
            kept += group.rows
    return kept, total - len(kept)


def of_results(results: Iterable[Latest], now: datetime) -> list[SeriesGroup]:
    """`telemetry.RESULTS` and `telemetry.BOARDS` of recent results. Regressions have the rank 0, others 3."""
    recent = [one for one in results if now - one.at <= LOOK_BACK]
    return [*map(_result, recent), *_moved(recent)]


def verdict_of(one: Latest) -> str:
    """One of `telemetry.VERDICTS`."""
    found = one.comparison
    if found.verdict != "Regressed":
        return found.verdict
    return "Accepted" if found.acknowledged else "MovedTogether" if found.together else "Regressed"


def _result(one: Latest) -> SeriesGroup:
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
    return SeriesGroup(order, tuple(rows))


def _moved(results: Sequence[Latest]) -> Iterator[SeriesGroup]:
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
        yield SeriesGroup((0, 0.0, board, objective, cohort), rows)
