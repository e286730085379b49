"""Finds the level that each entry's job is compared with, and compares it. Pure.

The level is the job that a person chose, or else the mean of the newest good jobs: docs/decisions/0043.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from velodrome.metrics.catalogue import MetricKey
from velodrome.results.marks import Acknowledgement, Baseline
from velodrome.spec import Regression, Threshold
from velodrome.stats.levels import JobTests, Rule, critical, follow, visible
from velodrome.trends import verdicts
from velodrome.trends.common import FEWEST, Common, common
from velodrome.trends.history import BoardHistory, Point
from velodrome.trends.matrix import EntryLine, rows_of
from velodrome.trends.scales import ChangeScale


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


# A change of less than this share of the smallest one that counts is one in no comparison. Entries whose typical change
# is smaller than the other share did not move together.
_QUIET, _QUIET_TOGETHER = 0.45, 0.8


@dataclass(frozen=True, slots=True)
class Level:
    """What a job is compared with: the mean of `jobs` jobs with `samples` trials, from `first` to `last`.

    `centre` is on the scale of the comparison, and `mean` in the metric's unit.
    """

    first: Point
    last: Point
    jobs: int
    samples: int
    centre: float
    mean: float


@dataclass(frozen=True, slots=True)
class Compared:
    """An entry's job, compared with its level. If it can't be compared, `reason` says why, and `level` is None.

    - `difference` is the mean of the newest `jobs` jobs minus that of the level, on the scale of the comparison.
      `drift` says that the level is one far back.
    - `own` is the difference of this job alone from its present level, `own_centre`.
    - `p_value` is for this entry and objective alone. `row` is its place in the objective's tests.
    - `repeated` says that the job before already looked worse than the same level.
    """

    key: MetricKey
    point: Point
    reason: str
    acknowledged: bool
    previous_cohort: str | None = None
    level: Level | None = None
    row: int = -1
    difference: float = 0.0
    jobs: int = 1
    drift: bool = False
    own: float = 0.0
    own_centre: float = 0.0
    p_value: float | None = None
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class JudgedObjective:
    """All entries' comparisons of one objective in one job, and what the entries have in common."""

    name: str
    key: MetricKey
    steps: tuple[Compared, ...]
    threshold: Threshold
    scale: ChangeScale
    rule: Rule | None = None
    tests: JobTests | None = None
    common: Common | None = None

    def relative(self, difference: float, centre: float) -> float:
        """The change as a share of what changes are relative to. Infinite where that was 0."""
        return float(self.scale.relative(np.array([difference]), np.array([centre]))[0])

    @property
    def common_relative(self) -> float:
        """The change that the entries have in common, as a share."""
        assert self.common is not None
        return math.expm1(self.common.change) if self.scale.kind == "log" else self.common.change

    def size(self, difference: float, centre: float) -> float:
        """The change in units of the smallest one that counts."""
        assert self.rule is not None
        return float(self.rule.size(np.array([difference]), np.array([centre]))[0])

    def margin(self, step: Compared, alpha: float) -> float:
        """Half the width of the difference's interval. It excludes 0 exactly where the p-value is less than `alpha`."""
        assert self.tests is not None
        return float(critical(self.tests.said.only(step.row), alpha)[0])

    def visible(self, step: Compared, alpha: float) -> float:
        """The smallest difference, upwards, that this job would have shown with a probability of 80 %."""
        assert self.tests is not None
        assert self.rule is not None
        return float(visible(self.tests.alone.only(step.row), alpha, self.rule)[0])


def compare(history: BoardHistory, name: str, key: MetricKey, rules: Regression, marks: Marks) -> JudgedObjective:
    """Compares the values of the history's last job with their levels, for each of its entries that has values."""
    job, threshold = history.jobs[-1], rules.threshold(name)
    steps: list[Compared] = []
    lines: list[EntryLine] = []
    columns = {other.uid: column for column, other in enumerate(history.jobs)}
    for entry in job.entries:
        points = history.points(entry, str(key))
        if not points or points[-1].job_uid != job.uid:
            continue
        step, line = _prepared(points, key, rules, marks, columns)
        if line is not None:
            step = replace(step, row=len(lines))
            lines.append(line)
        steps.append(step)
    if not lines:
        return JudgedObjective(name, key, tuple(steps), threshold, ChangeScale("plain"))
    rows, scale = rows_of(lines, len(columns), key.metric)
    rule = _rule(rules, name, key, scale)
    *_, tests = follow(rows, rule)
    done = tuple(_finished(step, lines[step.row], tests, scale) if step.row >= 0 else step for step in steps)
    return JudgedObjective(name, key, done, threshold, scale, rule, tests, common(rows, rule, scale, tests.alone))


def quiet(
    history: BoardHistory, name: str, key: MetricKey, rules: Regression, marks: Marks, entry: str
) -> dict[str, str]:
    """The jobs in which an entry did not change, whatever the correction, with the newest job of its level.

    Both by uid. One pass over the history finds them, so that only the other jobs need to be judged one by one. Only
    jobs with the rules of the last job count.
    """
    columns = {job.uid: column for column, job in enumerate(history.jobs)}
    lines: list[EntryLine] = []
    place = -1
    for other in history.jobs[-1].entries:
        points = history.points(other, str(key))
        _, line = _prepared(points, key, rules, marks, columns) if points else (None, None)
        if line is not None:
            place = len(lines) if other == entry else place
            lines.append(line)
    if place < 0 or lines[place].pinned >= 0:
        return {}
    rows, scale = rows_of(lines, len(columns), key.metric)
    rule = _rule(rules, name, key, scale)
    found, same = {}, history.jobs[-1].document.get("spec", {}).get("regression")
    for job, tests in zip(history.jobs, follow(rows, rule), strict=True):
        alone = tests.alone
        size = rule.size(alone.own, alone.centre)
        compared = size[alone.compared]
        apart = len(lines) < FEWEST or not compared.size or np.median(compared) < _QUIET_TOGETHER
        small = size[place] < _QUIET or (tests.p_value[place] > rules.alpha and apart)
        if alone.compared[place] and small and job.document.get("spec", {}).get("regression") == same:
            found[job.uid] = lines[place].points[int(alone.last[place])].job_uid
    return found


def _rule(rules: Regression, name: str, key: MetricKey, scale: ChangeScale) -> Rule:
    threshold = rules.threshold(name)
    least, absolute = threshold.min_relative_change or 0.0, threshold.min_absolute_change
    return Rule(
        rules.alpha,
        lambda difference, centre: scale.size(difference, centre, least, absolute),
        lambda centre: scale.least(centre, least, absolute),
        1 if key.metric.direction == "higher" else -1,
    )


def _prepared(
    points: Sequence[Point], key: MetricKey, rules: Regression, marks: Marks, columns: Mapping[str, int]
) -> tuple[Compared, EntryLine | None]:
    """The last point with the values that it can be compared with. Without any, the reason why."""
    point, previous = points[-1], points[-2] if len(points) > 1 else None
    accepted = (point.entry, str(key), point.job_uid) in marks.acknowledged
    if not point.complete:
        return Compared(key, point, verdicts.INCOMPLETE, accepted), None
    if len(point.values) < rules.min_samples:
        return Compared(key, point, verdicts.TOO_FEW_SAMPLES, accepted), None
    uid = marks.baseline(point.entry, str(key))
    pinned = next((other for other in points if other.job_uid == uid), None) if uid != point.job_uid else None
    elsewhere = previous is not None and previous.cohort_id != point.cohort_id
    before = previous.cohort_id if previous is not None and elsewhere else None
    if uid is not None and uid != point.job_uid:
        if pinned is None:
            return Compared(key, point, verdicts.BASELINE_MISSING, accepted, before), None
        if pinned.cohort_id != point.cohort_id:
            return Compared(key, point, verdicts.NEW_COHORT, accepted, before), None
        if len(pinned.values) < rules.min_samples:
            return Compared(key, point, verdicts.TOO_FEW_SAMPLES, accepted), None
    counted = {
        columns[other.job_uid]: other
        for other in points
        if other.cohort_id == point.cohort_id
        and ((other.complete and len(other.values) >= rules.min_samples) or other is pinned)
    }
    settled = frozenset(
        column for column, other in counted.items() if (other.entry, str(key), other.job_uid) in marks.acknowledged
    )
    if len(counted) == 1:
        reason = verdicts.NEW_COHORT if elsewhere else verdicts.NO_BASELINE
        return Compared(key, point, reason, accepted, before), None
    line = EntryLine(counted, settled, columns[pinned.job_uid] if pinned is not None else -1)
    return Compared(key, point, "", accepted), line


def _finished(step: Compared, line: EntryLine, tests: JobTests, scale: ChangeScale) -> Compared:
    said, alone, row = tests.said, tests.alone, step.row
    if not alone.compared[row]:
        return replace(step, reason=verdicts.NO_BASELINE)
    centre = float(said.centre[row])
    if scale.kind == "plain" and scale.whole is None and centre == 0:
        return replace(step, reason=verdicts.BASELINE_ZERO)
    first, last = line.points[int(said.first[row])], line.points[int(said.last[row])]
    level = Level(first, last, int(said.level_jobs[row]), int(said.samples[row]), centre, scale.back(centre))
    return replace(
        step, level=level, difference=float(said.difference[row]), jobs=int(said.jobs[row]),
        drift=bool(said.drift[row]), own=float(alone.own[row]), own_centre=float(alone.centre[row]),
        p_value=float(tests.p_value[row]), repeated=bool(tests.pending[row]),
    )  # fmt: skip
