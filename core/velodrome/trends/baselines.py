"""Finds the baseline of each of an entry's jobs, and compares the job with it. Pure.

The baseline is the job that a person chose, or else the newest older job that was not worse: docs/decisions/0012.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from velodrome.metrics.catalogue import MetricKey
from velodrome.results.marks import Acknowledgement, Baseline
from velodrome.spec import Regression
from velodrome.stats import Sample
from velodrome.stats.regression import Change, change, verdict
from velodrome.trends import verdicts
from velodrome.trends.history import Point
from velodrome.trends.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Marks:
    """What people said: pins by entry and metric key, and acceptances by entry, metric key and job.

    `everywhere` is a job that is the baseline of all entries and metrics.
    """

    pinned: Mapping[tuple[str, str], str] = field(default_factory=dict)
    acknowledged: frozenset[tuple[str, str, str]] = frozenset()
    everywhere: str | None = None

    @classmethod
    def of(cls, baselines: Sequence[Baseline], accepted: Sequence[Acknowledgement], everywhere: str | None) -> Marks:
        """A board's marks. `everywhere` is the uid of the job that a spec names; it takes precedence over pins."""
        return cls(
            {(mark.entry, mark.metric_key): mark.job_uid for mark in baselines},
            frozenset((mark.entry, mark.metric_key, mark.job_uid) for mark in accepted),
            everywhere,
        )

    def baseline(self, entry: str, metric_key: str) -> str | None:
        """The uid of the job that a person chose to compare with."""
        return self.everywhere or self.pinned.get((entry, metric_key)) or self.pinned.get((entry, ""))


@dataclass(frozen=True, slots=True)
class Compared:
    """A point, compared with its baseline. If `change` is None, `reason` says why."""

    key: MetricKey
    point: Point
    baseline: Point | None
    change: Change | None
    reason: str
    acknowledged: bool
    repeated: bool = False  # the job before this one showed the same regression
    previous_cohort: str | None = None

    @property
    def p_value(self) -> float | None:
        """The p-value of this comparison alone. None if it can't be tested, or if the change is relative to nothing."""
        return None if self.change is None or self.change.relative is None else self.change.p_value


def walk(
    points: Sequence[Point], key: MetricKey, rules: Regression, marks: Marks, *, last_alone: bool = False
) -> list[Compared]:
    """Compares each point with its own baseline.

    Within a cohort, every job that is not worse is the next baseline. After a regression the baseline stays as it is,
    until a person accepts the regression. Jobs between which nothing changed show how much jobs differ by themselves.
    These include jobs that looked worse, if the next job was good again. With `last_alone` only the last point counts,
    and earlier points that are plainly unchanged are not compared.
    """
    levels: dict[str, _Level] = {}
    steps: list[Compared] = []
    previous: Point | None = None
    for point in points:
        level = levels.setdefault(point.cohort_id, _Level())
        pinned = marks.baseline(point.entry, str(key))
        accepted = (point.entry, str(key), point.job_uid) in marks.acknowledged
        baseline = level.baseline
        reason = ""
        spared = last_alone and point is not points[-1] and pinned is None and not accepted
        if spared and _plainly_unchanged(key, point, baseline, rules):
            level.take(point, "Unchanged", accepted=False)
            previous = point
            continue
        if pinned is not None and pinned != point.job_uid:
            baseline, reason = _pinned(points, pinned, point)
        step = _step(key, point, baseline, level, rules, reason or _no_baseline(point, previous), accepted=accepted)
        if step.baseline is None and previous is not None and previous.cohort_id != point.cohort_id:
            step = replace(step, previous_cohort=previous.cohort_id)
        steps.append(step)
        if point.complete and len(point.values) >= rules.min_samples:
            level.take(point, called(step, rules), accepted=accepted)
        previous = point
    return steps


def _plainly_unchanged(key: MetricKey, point: Point, baseline: Point | None, rules: Regression) -> bool:
    """Whether the change is too small to count, whatever a test says. Both points must have the same seeds: then the
    mean of the differences is the difference of the means.
    """
    if baseline is None or not point.complete or len(point.values) < rules.min_samples:
        return False
    size, whole = abs(point.mean - baseline.mean), key.metric.span or abs(baseline.mean)
    return point.values.keys() == baseline.values.keys() and size < 0.999 * rules.min_relative_change * whole


@dataclass(slots=True)
class _Level:
    """The present level of an entry in a cohort: its newest good point, and the means of the jobs at this level.
    `pending` has the means of later jobs that looked worse, which may prove to be noise.
    """

    baseline: Point | None = None
    means: list[float] = field(default_factory=list)
    pending: list[float] = field(default_factory=list)

    def take(self, point: Point, called: Verdict, *, accepted: bool) -> None:
        if called == "Regressed" and not accepted:
            self.pending.append(point.mean)
            return
        if called == "Unchanged" and not accepted:
            self.means += [*self.pending, point.mean]
        else:
            self.means = [point.mean]
        self.baseline, self.pending = point, []


def _no_baseline(point: Point, previous: Point | None) -> str:
    return verdicts.NO_BASELINE if previous is None or previous.cohort_id == point.cohort_id else verdicts.NEW_COHORT


def _pinned(points: Sequence[Point], uid: str, point: Point) -> tuple[Point | None, str]:
    """The point of the chosen job, or the reason why it can't be the baseline."""
    found = next((other for other in points if other.job_uid == uid), None)
    if found is None:
        return None, verdicts.BASELINE_MISSING
    return (found, "") if found.cohort_id == point.cohort_id else (None, verdicts.NEW_COHORT)


def _step(
    key: MetricKey,
    point: Point,
    baseline: Point | None,
    level: _Level,
    rules: Regression,
    reason: str,
    *,
    accepted: bool,
) -> Compared:
    if not point.complete:
        return Compared(key, point, baseline, None, verdicts.INCOMPLETE, accepted)
    if len(point.values) < rules.min_samples:
        return Compared(key, point, baseline, None, verdicts.TOO_FEW_SAMPLES, accepted)
    if baseline is None:
        return Compared(key, point, None, None, reason, accepted)
    if len(baseline.values) < rules.min_samples:  # only a pinned baseline: others were checked before
        return Compared(key, point, baseline, None, verdicts.TOO_FEW_SAMPLES, accepted)
    span = key.metric.span
    if baseline.mean == 0 and span is None:
        return Compared(key, point, baseline, None, verdicts.BASELINE_ZERO, accepted)
    new, old = Sample("new", point.values), Sample("old", baseline.values)
    measured = change(new, old, level.means, 1 - rules.alpha, deterministic=key.metric.deterministic, span=span)
    return Compared(key, point, baseline, measured, "", accepted, repeated=bool(level.pending))


def called(step: Compared, rules: Regression, adjusted: float | None = None) -> Verdict:
    """The verdict of a step, by its own p-value or by the corrected one."""
    found = step.change
    if found is None or found.relative is None or found.p_value is None:
        return "Unknown"
    p_value = found.p_value if adjusted is None else adjusted
    return verdict(found.relative, p_value, step.key.metric.direction, rules.alpha, rules.min_relative_change)
