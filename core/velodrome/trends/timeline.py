"""An entry's metric, job after job: its verdicts, where its level changed for good, and where conditions changed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from velodrome.metrics.catalogue import MetricKey
from velodrome.results.objectives import board_objectives
from velodrome.stats import Interval, mean_interval
from velodrome.stats.changepoints import ChangePoint, change_points
from velodrome.trends import verdicts
from velodrome.trends.history import JOBS_BACK, BoardHistory, Point, read_history
from velodrome.trends.regressions import Comparison, compare_last, judge_at, marks_of, outcome, rules_of
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
    history = read_history(reader, board, limit=max(limit, 2 * JOBS_BACK))
    points = history.points(entry, metric_key)[-limit:]
    if not points:
        return Timeline(key, (), {})
    places = {job.uid: place for place, job in enumerate(history.jobs)}
    judged = _Judged(reader, history)
    moments = tuple(judged.moment(places[point.job_uid], point, key) for point in points)
    least = rules_of(history.jobs[places[points[-1].job_uid]]).min_relative_change
    changes = {}
    for cohort_id in dict.fromkeys(point.cohort_id for point in points):
        level = [point for point in points if point.cohort_id == cohort_id and point.complete]
        for found in change_points([point.mean for point in level], least, key.metric.span):
            changes[level[found.index].job_uid] = found
    return Timeline(key, moments, changes)


class _Judged:
    """Verdicts of a history's jobs. A whole job is judged only if the correction for its comparisons can matter."""

    def __init__(self, reader: Reader, history: BoardHistory) -> None:
        self._reader = reader
        self._history = history
        self._of_job: dict[int, dict[tuple[str, str], Comparison]] = {}

    def moment(self, place: int, point: Point, key: MetricKey) -> Moment:
        interval = mean_interval(list(point.values.values()))
        if place not in self._history.window:
            return Moment(point, interval, "Unknown", verdicts.TOO_LONG_AGO, acknowledged=False, baseline_uid=None)
        part, job = self._history.until(place), self._history.jobs[place]
        rules = rules_of(job)
        step = compare_last(part, point.entry, key, rules, marks_of(job, part))
        if step is None or key not in {objective.key for objective in board_objectives([job])}:
            return Moment(point, interval, "Unknown", verdicts.NO_OBJECTIVE, acknowledged=False, baseline_uid=None)
        verdict, reason = outcome(step, rules, step.p_value)
        if step.p_value is not None and step.p_value <= rules.alpha:
            found = self._comparisons(place)[point.entry, str(key)]
            verdict, reason = found.verdict, found.reason
        baseline = step.baseline.job_uid if step.baseline is not None else None
        return Moment(point, interval, verdict, reason, step.acknowledged, baseline)

    def _comparisons(self, place: int) -> dict[tuple[str, str], Comparison]:
        if place not in self._of_job:
            found = judge_at(self._reader, self._history, place)
            self._of_job[place] = {(one.entry, one.metric_key): one for one in found}
        return self._of_job[place]
