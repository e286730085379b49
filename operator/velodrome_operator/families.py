"""From what the operator knows to the families of `velodrome.monitoring.telemetry`. Pure.

A family with labels whose values people choose (boards, entries, names of objects) has no bound of its own, so what is
exposed has one: series come in groups that stand or fall together, and those that matter least are left out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import Metric

from velodrome.metrics import MetricKey
from velodrome.monitoring import telemetry
from velodrome.monitoring.telemetry import Family
from velodrome_operator import wording

if TYPE_CHECKING:
    from velodrome.board.latest import Latest
    from velodrome_operator.races import Race

# Entries whose newest job is older are raced no more: what became of them is in the store and in Prometheus' history.
LOOK_BACK = timedelta(days=30)

PASS_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TRIAL_BOUNDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 43_200.0, 86_400.0)


class Row(NamedTuple):
    """One series: of a family, with the suffix of its name and its labels."""

    family: Family
    labels: Mapping[str, str]
    value: float
    suffix: str = ""


class Buckets:
    """How long things took, as a histogram counts it. Bounds are upper ones, in seconds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one; clocks of two machines may make a time negative, which counts as none."""
        seconds = max(0.0, seconds)
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def rows(self, family: Family, *labels: str) -> tuple[Row, ...]:
        """Its series as they are now."""
        named = dict(zip(family.labels, labels, strict=True))
        counts = list(accumulate(self._counts))
        bounds = [*(str(bound) for bound in self._bounds), "+Inf"]
        return (
            *(
                Row(family, {**named, "le": bound}, count, "_bucket")
                for bound, count in zip(bounds, counts, strict=True)
            ),
            Row(family, named, self._sum, "_sum"),
            Row(family, named, counts[-1], "_count"),
        )


class Durations:
    """How long trials of each board waited and ran."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[Buckets, Buckets]] = {}

    def observe(self, board: str, queued: float | None, ran: float) -> None:
        """Counts one accepted trial, in seconds; `queued` is None where nobody saw it wait."""
        waiting, running = self._of.setdefault(board, (Buckets(TRIAL_BOUNDS), Buckets(TRIAL_BOUNDS)))
        if queued is not None:
            waiting.observe(queued)
        running.observe(ran)

    def rows(self) -> dict[str, tuple[Row, ...]]:
        """By board, the series as they are now."""
        return {
            board: (
                *waiting.rows(telemetry.QUEUE_SECONDS, board),
                *running.rows(telemetry.RUN_SECONDS, board),
            )
            for board, (waiting, running) in self._of.items()
        }


@dataclass(frozen=True, slots=True)
class RaceFacts:
    """What is told of one BenchmarkJob. `trials` is by state; `progress_at` is None unless it runs."""

    namespace: str
    name: str
    board: str
    state: str
    created_at: datetime
    trials: Mapping[str, int]
    progress_at: datetime | None = None
    waiting_since: datetime | None = None


def race_facts(race: Race) -> RaceFacts:
    """What is told of a race as the operator remembers it."""
    state = race.parent.state
    unfinished = [job for job in race.workload.jobs.values() if not job.finished]
    if state == "Running" and unfinished and all(job.suspended for job in unfinished):
        state = "Suspended"  # by Kueue, until there is room for it
    total, succeeded, failed = race.parent.counts
    total = total or (len(race.plan) if race.plan is not None else 0)
    active = 0
    progress_at = None
    if not race.parent.ended:
        nodes = race.plan.job.spec.runner.nodes if race.plan is not None else 1
        running = sum(1 for pod in race.workload.pods.values() if pod.phase == "Running")
        active = min(-(-running // nodes), max(0, total - succeeded - failed))
    if state == "Running":
        pods = (*race.workload.pods.values(), *race.workload.gone.values())
        moments = [moment for pod in pods for moment in (pod.started_at, pod.finished_at) if moment is not None]
        progress_at = max(
            [race.parent.created_at, *moments, *([race.logbook.reported_at] if race.logbook.reported_at else [])]
        )
    pending = 0 if race.parent.ended else max(0, total - succeeded - failed - active)
    return RaceFacts(
        namespace=race.namespace,
        name=race.name,
        board=race.parent.board,
        state=state,
        created_at=race.parent.created_at,
        trials=dict(zip(telemetry.TRIAL_STATES, (pending, active, succeeded, failed), strict=True)),
        progress_at=progress_at,
        waiting_since=None if race.parent.ended else race.logbook.troubled_at,
    )


class Facts:
    """What is told of every race. It is asked for every second: of a race that did not change, what was told before."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[Race, tuple[object, ...], RaceFacts]] = {}

    def of(self, races: Iterable[Race]) -> tuple[RaceFacts, ...]:
        """What is told of these, in their order."""
        found = {}
        for race in races:
            seen = (race.logbook.news, race.logbook.troubled_at, race.logbook.reported_at, race.laid_out)
            known = self._of.get(race.uid)
            found[race.uid] = (
                known if known and known[0] is race and known[1] == seen else (race, seen, race_facts(race))
            )
        self._of = found
        return tuple(facts for _, _, facts in found.values())


@dataclass(frozen=True, slots=True)
class _Group:
    """Series that are exposed together or not at all; groups of a lower rank are kept first."""

    rank: tuple[Any, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Exposed:
    """The families of results and BenchmarkJobs, how many series they have, and how many were left out."""

    families: tuple[Metric, ...]
    series: int
    dropped: int


def exposed(
    results: Iterable[Latest],
    races: Iterable[RaceFacts],
    durations: Mapping[str, tuple[Row, ...]],
    now: datetime,
    limit: int,
) -> Exposed:
    """What `telemetry.RESULTS` and `telemetry.RACES` hold, of at most `limit` series.

    Where there are more, what is regressed is kept first, then sums over races, races that go on, the newest results
    and the newest races that ended: which series are left out follows from what is known, not from its order.
    """
    races = list(races)
    groups = [_result(one) for one in results if now - one.at <= LOOK_BACK]
    groups += _sums(races, durations)
    groups += map(_race, races)
    kept: list[Row] = []
    total, full = 0, False
    for group in sorted(groups, key=lambda group: group.rank):
        total += len(group.rows)
        full = full or len(kept) + len(group.rows) > limit
        if not full:
            kept += group.rows
    return Exposed(tuple(metrics((*telemetry.RESULTS, *telemetry.RACES), kept)), len(kept), total - len(kept))


def metrics(families: Iterable[Family], rows: Iterable[Row]) -> Iterator[Metric]:
    """The families as the client library has them, each with its series, in the order of their labels.

    A set of states is exposed as gauges: its label would otherwise have to be called as the family is.
    """
    found: dict[Family, list[Row]] = {family: [] for family in families}
    for row in rows:
        found[row.family].append(row)
    for family, ours in found.items():
        metric = Metric(family.name, family.help, "gauge" if family.type == "stateset" else family.type)
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        told = set()  # two series of the same labels would make Prometheus refuse all of them
        for row in ours:
            labels = {name: wording.label(value) for name, value in row.labels.items()}
            series = (row.suffix, *labels.values())
            if series not in told:
                told.add(series)
                metric.add_sample(family.name + (row.suffix or suffix), labels, row.value)
        yield metric


def verdict_of(one: Latest) -> str:
    """One of `telemetry.VERDICTS`."""
    found = one.comparison
    return "Accepted" if found.verdict == "Regressed" and found.acknowledged else found.verdict


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
    )
    rows = [Row(family, named, value) for family, named, value in wanted if value is not None]
    rows += [Row(telemetry.VERDICT, {**labels, "verdict": name}, float(name == verdict)) for name in telemetry.VERDICTS]
    order = (0 if verdict == "Regressed" else 3, -one.at.timestamp(), *labels.values())
    return _Group(order, tuple(rows))


def _sums(races: Sequence[RaceFacts], durations: Mapping[str, tuple[Row, ...]]) -> Iterator[_Group]:
    trials: dict[tuple[str, str], Counter[str]] = {}
    for race in races:
        trials.setdefault((race.namespace, race.board), Counter()).update(race.trials)
    for (namespace, board), counted in trials.items():
        named = {"namespace": namespace, "board": board}
        rows = (Row(telemetry.TRIALS, {**named, "state": state}, counted[state]) for state in telemetry.TRIAL_STATES)
        yield _Group((1, 0.0, namespace, board), tuple(rows))
    for board, taken in durations.items():
        yield _Group((1, 1.0, board), taken)


def _race(race: RaceFacts) -> _Group:
    named = {"namespace": race.namespace, "benchmarkjob": race.name}
    rows = [
        Row(telemetry.RACE_STATE, {**named, "state": state}, float(state == race.state))
        for state in telemetry.RACE_STATES
    ]
    for family, moment in (
        (telemetry.RACE_PROGRESS, race.progress_at),
        (telemetry.RESULTS_WAITING, race.waiting_since),
    ):
        if moment is not None:
            rows.append(Row(family, named, moment.timestamp()))
    ended = race.state in ("Complete", "Failed")
    return _Group((4 if ended else 2, -race.created_at.timestamp(), *named.values()), tuple(rows))


@dataclass(frozen=True, slots=True)
class OperatorFacts:
    """How the operator itself does. Moments are None until they first come."""

    version: str
    leaderboard: str
    redis_up: bool
    series: int
    series_limit: int
    series_dropped: int
    passes: Mapping[str, int] = field(default_factory=dict)
    pass_seconds: Buckets = field(default_factory=lambda: Buckets(PASS_BOUNDS))
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


def operator_families(facts: OperatorFacts) -> Iterator[Metric]:
    """What `telemetry.OPERATOR` holds."""
    rows = [Row(telemetry.BUILD, {"version": facts.version, "leaderboard": facts.leaderboard}, 1)]
    for family, counted in (
        (telemetry.PASSES, facts.passes),
        (telemetry.API_WRITES, facts.writes),
        (telemetry.ACCEPTED, facts.results),
        (telemetry.REJECTED, facts.rejected),
        (telemetry.TASK_FAILURES, facts.task_failures),
        (telemetry.UNREADABLE, facts.unreadable),
    ):
        rows += [Row(family, {family.labels[0]: name}, count) for name, count in sorted(counted.items())]
    rows += facts.pass_seconds.rows(telemetry.PASS_SECONDS)
    for family, moment in (
        (telemetry.COLLECTED_AT, facts.collected_at),
        (telemetry.SWEPT_AT, facts.swept_at),
        (telemetry.JUDGED_AT, facts.judged_at),
    ):
        if moment is not None:
            rows.append(Row(family, {}, moment.timestamp()))
    rows += [
        Row(telemetry.INBOX, {}, facts.inboxes),
        Row(telemetry.REMOVED, {}, facts.removed),
        Row(telemetry.REDIS_UP, {}, float(facts.redis_up)),
        Row(telemetry.SERIES, {}, facts.series),
        Row(telemetry.SERIES_LIMIT, {}, facts.series_limit),
        Row(telemetry.SERIES_DROPPED, {}, facts.series_dropped),
    ]
    return metrics(telemetry.OPERATOR, rows)
