"""What each of an entry's jobs is compared with, and how it came out. Pure.

The baseline is what a person chose, or the newest job before that was not worse: docs/decisions/0012.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from velodrome.metrics import MetricKey
from velodrome.results.marks import Acknowledgement, Baseline
from velodrome.spec import Regression
from velodrome.stats import Sample
from velodrome.stats.regression import Change, change, verdict
from velodrome.trends import verdicts
from velodrome.trends.history import Point
from velodrome.trends.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Marks:
    """What people said: pinned jobs by entry and metric key, and accepted changes by entry, metric key and job."""

    pinned: Mapping[tuple[str, str], str] = field(default_factory=dict)
    acknowledged: frozenset[tuple[str, str, str]] = frozenset()
    everywhere: str | None = None

    @classmethod
    def of(cls, baselines: Sequence[Baseline], accepted: Sequence[Acknowledgement], everywhere: str | None) -> Marks:
        """A board's; `everywhere` is the uid of the job that a spec names, which goes before what was pinned."""
        return cls(
            {(mark.entry, mark.metric_key): mark.job_uid for mark in baselines},
            frozenset((mark.entry, mark.metric_key, mark.job_uid) for mark in accepted),
            everywhere,
        )

    def baseline(self, entry: str, metric_key: str) -> str | None:
        """The job that a person chose to compare with."""
        return self.everywhere or self.pinned.get((entry, metric_key)) or self.pinned.get((entry, ""))


@dataclass(frozen=True, slots=True)
class Compared:
    """A point against its baseline. Without a change, `reason` says why there is none."""

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
        """Of this comparison alone; None where it can't be tested, or is relative to nothing."""
        return None if self.change is None or self.change.relative is None else self.change.p_value


def walk(
    points: Sequence[Point], key: MetricKey, rules: Regression, marks: Marks, *, last_alone: bool = False
) -> list[Compared]:
    """Each point against the baseline that it had. Within a cohort the baseline moves on with every job that is not
    worse; a regression leaves it where it is, until a person accepts it. Jobs between which nothing changed tell how
    much jobs differ by themselves, those among them that looked worse until the next one came back.
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
        if spared and _plainly_unchanged(point, baseline, rules):
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


def _plainly_unchanged(point: Point, baseline: Point | None, rules: Regression) -> bool:
    """Whether the change is too small to be called one, whatever a test says. Seeds must be the same: then the mean of
    the differences is the difference of the means.
    """
    if baseline is None or not point.complete or len(point.values) < rules.min_samples:
        return False
    size = abs(point.mean - baseline.mean)
    return point.values.keys() == baseline.values.keys() and size < 0.999 * rules.min_relative_change * abs(
        baseline.mean
    )


@dataclass(slots=True)
class _Level:
    """The level that an entry holds in a cohort: its newest good point, the means of the jobs on it, and those after
    it that looked worse and may yet turn out to be noise.
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
    """The point of the chosen job, or why it can't be compared with."""
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
    if len(baseline.values) < rules.min_samples:  # a pinned one: others were held to it
        return Compared(key, point, baseline, None, verdicts.TOO_FEW_SAMPLES, accepted)
    if baseline.mean == 0:
        return Compared(key, point, baseline, None, verdicts.BASELINE_ZERO, accepted)
    new, old = Sample("new", point.values), Sample("old", baseline.values)
    measured = change(new, old, level.means, 1 - rules.alpha, deterministic=key.metric.deterministic)
    return Compared(key, point, baseline, measured, "", accepted, repeated=bool(level.pending))


def called(step: Compared, rules: Regression, adjusted: float | None = None) -> Verdict:
    """What a step is called: by its own p-value, or by the one that is corrected for others."""
    found = step.change
    if found is None or found.relative is None or found.p_value is None:
        return "Unknown"
    p_value = found.p_value if adjusted is None else adjusted
    return verdict(found.relative, p_value, step.key.metric.direction, rules.alpha, rules.min_relative_change)
