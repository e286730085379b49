"""An entry's metric, job after job: its verdicts, where its level changed for good, and where conditions changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from velodrome.metrics.catalogue import MetricKey
from velodrome.results.objectives import board_objectives
from velodrome.stats import Interval, metric_interval, metric_mean
from velodrome.stats.changepoints import ChangePoint, change_points
from velodrome.trends import verdicts
from velodrome.trends.baselines import quiet
from velodrome.trends.history import JOBS_BACK, BoardHistory, Point, read_history
from velodrome.trends.regressions import Comparison, judge_at, marks_of, rules_of
from velodrome.trends.verdicts import Verdict

if TYPE_CHECKING:
    from velodrome.store import Reader

# The number of jobs that are shown. It is larger than the number of judged jobs, because a point costs little.
JOBS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Moment:
    """One job's values with their verdict, which is the same everywhere: corrected for all comparisons of the job."""

    point: Point
    interval: Interval
    verdict: Verdict
    reason: str
    acknowledged: bool
    baseline_uid: str | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """`moments` are oldest first. `changes` has, by uid, the jobs at which the level of their cohort changes."""

    key: MetricKey
    moments: tuple[Moment, ...]
    changes: dict[str, ChangePoint]

    @property
    def cohorts(self) -> tuple[str, ...]:
        """The cohorts, in the order in which they first appear."""
        return tuple(dict.fromkeys(moment.point.cohort_id for moment in self.moments))

    @property
    def new_code(self) -> frozenset[str]:
        """The uids of the jobs in which the entry's own code differs from the job before."""
        return frozenset(
            moment.point.job_uid
            for before, moment in pairwise(self.moments)
            if None not in (before.point.code, moment.point.code) and before.point.code != moment.point.code
        )


def timeline(reader: Reader, board: str, entry: str, metric_key: str, limit: int = JOBS_SHOWN) -> Timeline:
    """The entry's values in the board's newest jobs. The newest `JOBS_BACK` jobs have the verdicts of `judge`.

    The rules of the newest job decide which levels differ. Raises as the store does.

    Raises:
        ValueError: it is no metric key.
    """
    key = MetricKey.parse(metric_key)
    history = read_history(reader, board, limit=max(limit, 2 * JOBS_BACK), more=[key])
    points = history.points(entry, metric_key)[-limit:]
    if not points:
        return Timeline(key, (), {})
    places = {job.uid: place for place, job in enumerate(history.jobs)}
    judged = _Judged(reader, history, entry, key)
    moments = tuple(judged.moment(places[point.job_uid], point, key) for point in points)
    least = rules_of(history.jobs[places[points[-1].job_uid]]).min_relative_change
    changes = {}
    for cohort_id in dict.fromkeys(point.cohort_id for point in points):
        level = [point for point in points if point.cohort_id == cohort_id and point.complete]
        for found in change_points(_means(key, level), least, key.metric.span):
            changes[level[found.index].job_uid] = found
    return Timeline(key, moments, changes)


def _means(key: MetricKey, points: Sequence[Point]) -> list[float]:
    return [metric_mean(key.metric, list(point.values.values())) for point in points]


class _Judged:
    """The verdicts of a history's jobs. A job is judged once, as a whole, and only if its verdict is in doubt."""

    def __init__(self, reader: Reader, history: BoardHistory, entry: str, key: MetricKey) -> None:
        self._reader = reader
        self._history = history
        job = history.jobs[-1]
        name = next((one.name for one in board_objectives([job]) if one.key == key), None)
        self._quiet = {} if name is None else quiet(history, name, key, rules_of(job), marks_of(job, history), entry)
        self._of_job: dict[int, dict[tuple[str, str], Comparison]] = {}

    def moment(self, place: int, point: Point, key: MetricKey) -> Moment:
        interval = metric_interval(key.metric, list(point.values.values()))
        if place not in self._history.window:
            return Moment(point, interval, "Unknown", verdicts.TOO_LONG_AGO, acknowledged=False, baseline_uid=None)
        job = self._history.jobs[place]
        level = self._quiet.get(job.uid)
        if level is not None and key in {objective.key for objective in board_objectives([job])}:
            reason, accepted = verdicts.NOT_SIGNIFICANT, self._accepted(point, key)
            return Moment(point, interval, "Unchanged", reason, acknowledged=accepted, baseline_uid=level)
        found = self._comparisons(place).get((point.entry, str(key)))
        if found is None:
            return Moment(point, interval, "Unknown", verdicts.NO_OBJECTIVE, acknowledged=False, baseline_uid=None)
        return Moment(point, interval, found.verdict, found.reason, found.acknowledged, found.baseline_uid)

    def _accepted(self, point: Point, key: MetricKey) -> bool:
        where = point.entry, str(key), point.job_uid
        return where in {(mark.entry, mark.metric_key, mark.job_uid) for mark in self._history.accepted}

    def _comparisons(self, place: int) -> dict[tuple[str, str], Comparison]:
        if place not in self._of_job:
            found = judge_at(self._reader, self._history, place)
            self._of_job[place] = {(one.entry, one.metric_key): one for one in found}
        return self._of_job[place]
