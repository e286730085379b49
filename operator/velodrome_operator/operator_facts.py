"""What is exposed about the operator itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import Histogram, Metric

from velodrome.monitoring import telemetry
from velodrome.monitoring.series import Series, metrics
from velodrome_operator.histograms import PASS_BOUNDS, histogram, series_of


@dataclass(frozen=True, slots=True)
class OperatorFacts:
    """The state of the operator itself. A time is None until it first comes."""

    version: str
    leaderboard: str
    redis_up: bool
    series: int
    series_limit: int
    series_dropped: int
    passes: Mapping[str, int] = field(default_factory=dict)
    pass_seconds: Histogram = field(default_factory=lambda: histogram(telemetry.PASS_SECONDS, PASS_BOUNDS))
    writes: Mapping[str, int] = field(default_factory=dict)
    results: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    inboxes: int = 0
    collected_at: datetime | None = None
    swept_at: datetime | None = None
    judged_at: datetime | None = None
    task_failures: Mapping[str, int] = field(default_factory=dict)
    unreadable: Mapping[str, int] = field(default_factory=dict)
    removed: int = 0
    suggested: int = 0
    search_seconds: float = 0.0


def operator_families(facts: OperatorFacts) -> Iterator[Metric]:
    """The families of `telemetry.OPERATOR`."""
    rows = [Series(telemetry.BUILD, {"version": facts.version, "leaderboard": facts.leaderboard}, 1)]
    for family, counted in (
        (telemetry.PASSES, facts.passes),
        (telemetry.API_WRITES, facts.writes),
        (telemetry.ACCEPTED, facts.results),
        (telemetry.REJECTED, facts.rejected),
        (telemetry.TASK_FAILURES, facts.task_failures),
        (telemetry.UNREADABLE, facts.unreadable),
    ):
        rows += [Series(family, {family.labels[0]: name}, count) for name, count in sorted(counted.items())]
    rows += series_of(telemetry.PASS_SECONDS, facts.pass_seconds)
    for family, moment in (
        (telemetry.COLLECTED_AT, facts.collected_at),
        (telemetry.SWEPT_AT, facts.swept_at),
        (telemetry.JUDGED_AT, facts.judged_at),
    ):
        if moment is not None:
            rows.append(Series(family, {}, moment.timestamp()))
    rows += [
        Series(telemetry.INBOX, {}, facts.inboxes),
        Series(telemetry.REMOVED, {}, facts.removed),
        Series(telemetry.SUGGESTED, {}, facts.suggested),
        Series(telemetry.SEARCH_SECONDS, {}, facts.search_seconds),
        Series(telemetry.REDIS_UP, {}, float(facts.redis_up)),
        Series(telemetry.SERIES, {}, facts.series),
        Series(telemetry.SERIES_LIMIT, {}, facts.series_limit),
        Series(telemetry.SERIES_DROPPED, {}, facts.series_dropped),
    ]
    return metrics(Metric, telemetry.OPERATOR, rows)
