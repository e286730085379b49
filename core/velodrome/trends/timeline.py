"""How an entry's metric went, job after job: verdicts, levels that changed for good, and where conditions did."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from velodrome.metrics import MetricKey
from velodrome.stats import Interval, mean_interval
from velodrome.stats.changepoints import ChangePoint, change_points
from velodrome.trends.baselines import walk
from velodrome.trends.history import Point, read_history
from velodrome.trends.regressions import marks_of, outcome, rules_of
from velodrome.trends.verdicts import Verdict

if TYPE_CHECKING:
    from velodrome.store import Reader

_JOBS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Moment:
    """One job's values, and how they compare with the baseline that they had, without correction for other entries."""

    point: Point
    interval: Interval
    verdict: Verdict
    reason: str
    acknowledged: bool
    baseline_uid: str | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Moments oldest first; and the jobs, by uid, from which on the level of their cohort is another."""

    key: MetricKey
    moments: tuple[Moment, ...]
    changes: dict[str, ChangePoint]

    @property
    def cohorts(self) -> tuple[str, ...]:
        """The cohorts, in the order in which they first appear."""
        return tuple(dict.fromkeys(moment.point.cohort_id for moment in self.moments))

    @property
    def new_code(self) -> frozenset[str]:
        """The uids of the jobs in which the entry's own code is another than in the job before."""
        return frozenset(
            moment.point.job_uid
            for before, moment in pairwise(self.moments)
            if None not in (before.point.code, moment.point.code) and before.point.code != moment.point.code
        )


def timeline(reader: Reader, board: str, entry: str, metric_key: str, limit: int = _JOBS_SHOWN) -> Timeline:
    """The entry's newest values on the board. Rules are those of the newest job. Raises as the store does.

    Raises:
        ValueError: it is no metric key.
    """
    key = MetricKey.parse(metric_key)
    history = read_history(reader, board, limit=limit)
    points = history.points(entry, metric_key)
    if not points:
        return Timeline(key, (), {})
    newest = next(job for job in reversed(history.jobs) if job.uid == points[-1].job_uid)
    rules, marks = rules_of(newest), marks_of(reader, newest, history)
    moments = []
    for step in walk(points, key, rules, marks):
        verdict, reason = outcome(step, rules, step.p_value)
        baseline = step.baseline.job_uid if step.baseline is not None else None
        interval = mean_interval(list(step.point.values.values()))
        moments.append(Moment(step.point, interval, verdict, reason, step.acknowledged, baseline))
    changes = {}
    for cohort_id in dict.fromkeys(point.cohort_id for point in points):
        level = [point for point in points if point.cohort_id == cohort_id and point.complete]
        for found in change_points([point.mean for point in level], rules.min_relative_change):
            changes[level[found.index].job_uid] = found
    return Timeline(key, tuple(moments), changes)
