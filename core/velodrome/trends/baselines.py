"""Finds the level that each entry's job is compared with, and compares it. Pure.

The level is the job that a person chose, or else the mean of the newest good jobs: docs/decisions/0043.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from velodrome.metrics.catalogue import MetricKey
from velodrome.results.marks import Acknowledgement, Baseline
from velodrome.spec import Regression, Threshold
from velodrome.stats.job_tests import JobRows, JobTests, Rule, critical, visible
from velodrome.stats.levels import follow, newest
from velodrome.stats.samples import Floats, Integers
from velodrome.stats.spread import Bools
from velodrome.trends import verdicts
from velodrome.trends.common import FEWEST, Common, common
from velodrome.trends.history import BoardHistory, Point
from velodrome.trends.matrix import measured, rows_of
from velodrome.trends.scales import ChangeScale

if TYPE_CHECKING:
    from velodrome.results.records import JobInfo


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

    first: JobInfo
    last: JobInfo
    jobs: int
    samples: int
    centre: float
    mean: float


@dataclass(frozen=True, slots=True)
class Compared:
    """An entry's job, compared with its level. If it can't be compared, `reason` says why, and `level` is None.

    - `difference` is the mean of the newest `jobs` jobs minus that of the level, on the scale of the comparison.
      `drift` says that the level is one far back.
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
    p_value: float | None = None
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class RowFigures:
    """RowFigures of an objective's tests, an item for each row. Changes are relative; None where they are infinite.

    `large` says that the change counts. `low` and `high` bound it, and `visible` is the smallest change for the worse
    that this job would have shown with a probability of 80 %.
    """

    large: Sequence[bool]
    change: Sequence[float | None]
    low: Sequence[float | None]
    high: Sequence[float | None]
    visible: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class JudgedObjective:
    """All entries' comparisons of one objective in one job, and what the entries have in common."""

    name: str
    key: MetricKey
    steps: tuple[Compared, ...]
    threshold: Threshold
    scale: ChangeScale
    rows: JobRows | None = None
    rule: Rule | None = None
    tests: JobTests | None = None
    common: Common | None = None

    def explained(self) -> Bools | None:
        """Which rows changed only as the others did, if what they have in common is no change by itself."""
        if self.common is None or self.rows is None or self.rule is None or self.tests is None:
            return None
        return self.common.explains(self.rows, self.rule, self.tests.said)

    @property
    def common_relative(self) -> float:
        """The change that the entries have in common, as a share."""
        assert self.common is not None
        return math.expm1(self.common.change) if self.scale.kind == "log" else self.common.change

    def figures(self, corrected: Floats, family: int) -> RowFigures | None:
        """The figures of all rows, whose p-values were `corrected` for `family` comparisons. None without any row.

        The bounds exclude 0 exactly where the corrected p-value is less than the rule's alpha.
        """
        if self.rule is None or self.tests is None:
            return None
        said, alone, alpha, p_value = self.tests.said, self.tests.alone, self.rule.alpha, self.tests.p_value
        left = np.divide(
            alpha * p_value, corrected, out=np.full(len(p_value), alpha / max(1, family)), where=p_value > 0
        )
        margin = critical(said, left)
        upwards = visible(alone, alpha / max(1, family), self.rule)
        return RowFigures(
            (self.rule.size(said.difference, said.centre) >= 1).tolist(),
            self._relative(said.difference, said.centre),
            self._relative(said.difference - margin, said.centre),
            self._relative(said.difference + margin, said.centre),
            [None if one is None else abs(one) for one in self._relative(-self.rule.better * upwards, alone.centre)],
        )

    def _relative(self, difference: Floats, centre: Floats) -> list[float | None]:
        """Changes as shares of what they are relative to. None where that was 0."""
        found = self.scale.relative(difference, centre).tolist()
        return [one if math.isfinite(one) else None for one in found]


def compare(history: BoardHistory, name: str, key: MetricKey, rules: Regression, marks: Marks) -> JudgedObjective:
    """Compares the values of the history's last job with their levels, for each of its entries that has values."""
    threshold, lines = rules.threshold(name), _Lines(history, key, rules, marks)
    rows = np.flatnonzero(lines.compared)
    place = np.full(len(lines.compared), -1)
    place[rows] = np.arange(len(rows))
    steps = [lines.step(line, row) for line, row in enumerate(place.tolist())]
    if not len(rows):
        return JudgedObjective(name, key, tuple(steps), threshold, ChangeScale("plain"))
    job_rows, scale = lines.rows(rows)
    rule = _rule(rules, name, key, scale)
    tests = newest(job_rows, rule)
    found = iter(_finished([steps[line] for line in rows], history, tests, scale))
    done = tuple(next(found) if step.row >= 0 else step for step in steps)
    shared = common(job_rows, rule, scale, tests.alone)
    return JudgedObjective(name, key, done, threshold, scale, job_rows, rule, tests, shared)


def quiet(
    history: BoardHistory, name: str, key: MetricKey, rules: Regression, marks: Marks, entry: str
) -> dict[str, str]:
    """The jobs in which an entry did not change, whatever the correction, with the newest job of its level.

    Both by uid. One pass over the history finds them, so that only the other jobs need to be judged one by one. Only
    jobs with the rules of the last job count.
    """
    lines = _Lines(history, key, rules, marks)
    rows = np.flatnonzero(lines.compared)
    place = next((place for place, row in enumerate(rows) if lines.measured.entries[row] == entry), -1)
    if place < 0 or lines.pinned[rows[place]] >= 0:
        return {}
    job_rows, scale = lines.rows(rows)
    rule = _rule(rules, name, key, scale)
    found, same = {}, history.jobs[-1].document.get("spec", {}).get("regression")
    for job, tests in zip(history.jobs, follow(job_rows, rule), strict=True):
        alone = tests.alone
        size = rule.size(alone.own, alone.centre)
        compared = size[alone.compared]
        apart = len(rows) < FEWEST or not compared.size or np.median(compared) < _QUIET_TOGETHER
        small = size[place] < _QUIET or (tests.p_value[place] > rules.alpha and apart)
        if alone.compared[place] and small and job.document.get("spec", {}).get("regression") == same:
            found[job.uid] = history.jobs[int(alone.last[place])].uid
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


class _Lines:
    """Which values count for the comparison of each entry of the last job that has values there."""

    def __init__(self, history: BoardHistory, key: MetricKey, rules: Regression, marks: Marks) -> None:
        self._history, self._key, self._least = history, key, rules.min_samples
        self.measured = found = measured(history, str(key))
        columns = {job.uid: column for column, job in enumerate(history.jobs)}
        lines, present = np.arange(len(found.entries)), found.cohorts >= 0
        self._enough = found.complete & (found.count >= rules.min_samples)
        self._here = found.cohorts == found.cohorts[:, -1:]
        before = np.where(present[:, :-1], np.arange(len(columns) - 1), -1).max(axis=1, initial=-1)
        self._before = np.where(before >= 0, found.cohorts[lines, before], -1)
        self._elsewhere = (self._before >= 0) & (self._before != found.cohorts[:, -1])
        uids = [marks.baseline(entry, str(key)) for entry in found.entries]
        self._wanted = np.array([uid not in (None, history.jobs[-1].uid) for uid in uids], dtype=np.bool_)
        pinned = np.array([columns.get(uid or "", -1) for uid in uids], dtype=np.int64)
        self.pinned = np.where(self._wanted & (pinned >= 0) & present[lines, pinned], pinned, -1)
        self._held_to = np.zeros(present.shape, dtype=np.bool_)
        self._held_to[lines[self.pinned >= 0], self.pinned[self.pinned >= 0]] = True
        self._counted = self._here & (self._enough | self._held_to)
        self._accepted = np.zeros(present.shape, dtype=np.bool_)
        for entry, metric_key, uid in marks.acknowledged:
            if metric_key == str(key) and uid in columns:
                under = found.names[columns[uid]]
                self._accepted[[row for row, name in enumerate(under) if name == entry], columns[uid]] = True
        alike = self._here[lines, self.pinned] & (found.count[lines, self.pinned] >= rules.min_samples)
        several = self._counted.sum(axis=1) > 1
        self.compared = self._enough[:, -1] & several & (~self._wanted | ((self.pinned >= 0) & alike))

    def rows(self, rows: Integers) -> tuple[JobRows, ChangeScale]:
        """These entries' values that count, with their scale."""
        counted, accepted, pinned = self._counted[rows], self._accepted[rows], self.pinned[rows]
        return rows_of(self.measured.only(rows), counted, accepted, pinned, self._key.metric)

    def step(self, line: int, row: int) -> Compared:
        """The entry's value in the last job, at this row of the comparison; or why it can't be compared (row -1)."""
        found, place = self.measured, len(self._history.jobs) - 1
        point = self._history.point(place, found.entries[line], str(self._key))
        assert point is not None
        accepted = bool(self._accepted[line, -1])
        if row >= 0:
            return Compared(self._key, point, "", accepted, row=row)
        if not point.complete:
            return Compared(self._key, point, verdicts.INCOMPLETE, accepted)
        if len(point.values) < self._least:
            return Compared(self._key, point, verdicts.TOO_FEW_SAMPLES, accepted)
        before = found.cohort_ids[self._before[line]] if self._elsewhere[line] else None
        pinned = self.pinned[line]
        if self._wanted[line] and pinned < 0:
            return Compared(self._key, point, verdicts.BASELINE_MISSING, accepted, before)
        if self._wanted[line] and not self._here[line, pinned]:
            return Compared(self._key, point, verdicts.NEW_COHORT, accepted, before)
        if self._wanted[line] and found.count[line, pinned] < self._least:
            return Compared(self._key, point, verdicts.TOO_FEW_SAMPLES, accepted)
        reason = verdicts.NEW_COHORT if self._elsewhere[line] else verdicts.NO_BASELINE
        return Compared(self._key, point, reason, accepted, before)


def _finished(
    steps: Sequence[Compared], history: BoardHistory, tests: JobTests, scale: ChangeScale
) -> Iterator[Compared]:
    """The steps of all rows, with what the tests say of them."""
    said, p_values, pending = tests.said, tests.p_value.tolist(), tests.pending.tolist()
    fields = (said.first, said.last, said.level_jobs, said.samples, said.centre, said.difference, said.jobs, said.drift)
    for step, compared, p_value, repeated, *of_row in zip(
        steps, tests.alone.compared.tolist(), p_values, pending, *(values.tolist() for values in fields), strict=True
    ):
        first, last, level_jobs, samples, centre, difference, jobs, drift = of_row
        if not compared:
            yield replace(step, reason=verdicts.NO_BASELINE)
        elif scale.kind == "plain" and scale.whole is None and centre == 0:
            yield replace(step, reason=verdicts.BASELINE_ZERO)
        else:
            level = Level(history.jobs[first], history.jobs[last], level_jobs, samples, centre, scale.back(centre))
            yield replace(
                step, level=level, difference=difference, jobs=jobs, drift=drift, p_value=p_value, repeated=repeated
            )
