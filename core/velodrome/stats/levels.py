"""Is a job worse than the level of the jobs before it? Follows many rows (entries) over the same jobs at once. Pure.

A level is the mean of several good jobs. docs/decisions/0043-a-level-not-a-job.md has the choices and the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

from velodrome.stats.samples import ROUNDING, Floats, Integers
from velodrome.stats.spread import WAITING, Bools, JobSpread, TrialNoise

# A level is the mean of the newest jobs that belong to it, at most so many.
LEVEL_JOBS = 8
# A change lasts if so many jobs in a row show it. Only then an improvement becomes the level.
LASTS = WAITING + 1
# The comparisons of a job: how many jobs are on the new side, and the share of the error rate that each may use. The
# last one is with the oldest jobs of the level. The shares add up to less than 1, because runs of jobs that look worse
# share their luck.
_WINDOWS = ((1, 0.18), (2, 0.05), (LASTS, 0.25))
_RECENT, _FAR_SHARE = 5, 0.1
# A job's distance is measured from the mean of at most this many jobs before it: drift hardly shows in so few.
_NEAR = 4
# Several jobs count together only if this one shows at least this share of their change: a job that is good again is
# not blamed for those before it.
_AGREES = 0.7
_KEPT = LEVEL_JOBS + LASTS - 1
_POWER = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class JobRows:
    """What is followed: a row for each entry, a column for each job, oldest first. NaN where a job does not count.

    - `means` are on the scale of the comparison.
    - `own`, `paired` and `seeds`: see `TrialNoise`. `count` is the number of trials.
    - `accepted` says that a person accepted the job's level. `pinned` is the column of the job to compare with, or -1.
    - `boards` has the same number for rows that may lend each other their spread.
    - `deterministic` says that values do not vary, so that any difference is one.
    """

    means: Floats
    own: Floats
    paired: Floats
    count: Integers
    seeds: Integers
    accepted: Bools
    pinned: Integers
    boards: Integers
    deterministic: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """When a change counts: at level `alpha`, if `size(difference, centre)` is at least 1.

    `least(centre)` is the smallest difference upwards that counts. `better` is 1 if larger values are better, else -1.
    """

    alpha: float
    size: Callable[[Floats, Floats], Floats]
    least: Callable[[Floats], Floats]
    better: int


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One comparison of a job, an element for each row: the mean of `jobs` jobs minus `centre`, that of `level_jobs`.

    `own` is the difference of this job alone. `error` is the standard error of `difference`, with `freedom` degrees of
    freedom of Student's t. `p_value` is two-sided and corrected for the comparisons of the job, of which this one may
    use `share` of the error rate; it is infinite where this comparison does not count. `samples` is the number of
    trials in the level, and `first` and `last` are the columns of its oldest and its newest job.
    """

    compared: Bools
    difference: Floats
    centre: Floats
    own: Floats
    jobs: Integers
    level_jobs: Integers
    samples: Integers
    error: Floats
    freedom: Floats
    share: Floats
    p_value: Floats
    first: Integers
    last: Integers
    drift: Bools

    def only(self, row: int) -> Side:
        """The comparison of one row alone."""
        return Side(*(getattr(self, name)[row : row + 1] for name in Side.__dataclass_fields__))


@dataclass(frozen=True, slots=True, eq=False)
class JobTests:
    """The comparisons of one job with its level.

    `said` is the one that says most: of this job alone, of it and those just before it, or (`drift`) of the newest jobs
    with the oldest of the level. Where none is significant, it is `alone`. `spread` is the standard deviation between
    jobs beyond what trials show. `pending` says that the job before already looked worse than the same level.
    """

    said: Side
    alone: Side
    spread: Floats
    pending: Bools

    @property
    def p_value(self) -> Floats:
        """Two-sided, corrected for the comparisons of the job. 1 where there is nothing to compare with."""
        return np.minimum(self.said.p_value, 1.0)


def critical(side: Side, alpha: Floats | float) -> Floats:
    """The smallest difference with a p-value of at most `alpha`."""
    found: Floats = np.where(side.error > 0, stdtrit(side.freedom, 1 - alpha * side.share / 2) * side.error, 0.0)
    return found


def visible(alone: Side, alpha: float, rule: Rule) -> Floats:
    """The smallest difference that a job alone would have shown with a probability of 80 %.

    Its estimate, which is normal around the truth, must pass the test at `alpha`, and be large enough to count.
    """
    found: Floats = np.maximum(critical(alone, alpha), rule.least(alone.centre)) + ndtri(_POWER) * alone.error
    return found


def two_sided(difference: Floats, centre: Floats, error: Floats, freedom: Floats) -> Floats:
    """P(|T| >= |difference| / error). If the error is 0: whether there is any difference beyond rounding."""
    ratio = np.divide(np.abs(difference), error, out=np.zeros_like(error), where=error > 0)
    exact = np.where(np.abs(difference) > ROUNDING * np.maximum(np.abs(centre), np.abs(difference)), 0.0, 1.0)
    found: Floats = np.where(error > 0, 2 * stdtr(freedom, -ratio), exact)
    return found


def follow(rows: JobRows, rule: Rule) -> Iterator[JobTests]:
    """The comparison of each job with the level at that time, oldest first."""
    followed = _Followed(rows, rule)
    for job in range(rows.means.shape[1]):
        yield followed.step(job)


class _Followed:
    """The levels of all rows after some jobs. Good jobs of the present level are its members, in order."""

    def __init__(self, rows: JobRows, rule: Rule) -> None:
        size = len(rows.means)
        self._rows, self._rule = rows, rule
        self._noise = TrialNoise(np.where(np.isnan(rows.means), np.nan, rows.own), rows.paired, rows.seeds)
        self._spread = JobSpread(rows.boards)
        self._members = np.full((size, _KEPT), -1)  # columns of the newest members, the newest last
        self._first = np.full((size, LEVEL_JOBS), -1)  # columns of the oldest members, the oldest first
        self._held = np.zeros(size, dtype=np.int64)  # number of members
        self._before = np.full((size, _RECENT - 1), -1)  # columns of the jobs just before, members or not
        self._inside = np.zeros((size, _RECENT - 1), dtype=np.bool_)  # which of these are members
        self._run = np.zeros(size, dtype=np.int64)  # jobs in a row that were better than the level
        self._worse = np.zeros(size, dtype=np.bool_)  # whether the job before was worse

    def step(self, job: int) -> JobTests:
        """Compares the job in this column, and takes it into the level if it belongs there."""
        rows, rule = self._rows, self._rule
        usable = ~np.isnan(rows.means[:, job])
        centre, count = self._centre(self._members[:, -LEVEL_JOBS:])
        least = np.nan_to_num(rule.least(np.where(count > 0, centre, rows.means[:, job])))
        self._spread.estimate(np.zeros(len(least)) if rows.deterministic else least)
        tests = self._tests(job, usable, rows.pinned)
        # A pin decides what a job is compared with. Which jobs belong together does not depend on it.
        free = tests if (rows.pinned < 0).all() else self._tests(job, usable, np.full(len(usable), -1))
        called, better = self._called(free.said)
        self._learn(job, usable, called, least)
        self._move(job, usable, called, better, free.said)
        worse = np.logical_and(*self._called(tests.said, better=False)) & ~rows.accepted[:, job]
        self._worse = np.where(usable, worse, self._worse)
        return tests

    def _called(self, said: Side, *, better: bool = True) -> tuple[Bools, Bools]:
        """Which rows changed, and which of them for the better, or for the worse."""
        rule, sign = self._rule, 1 if better else -1
        called = said.compared & (said.p_value <= rule.alpha) & (rule.size(said.difference, said.centre) >= 1)
        return called, called & (sign * said.difference * rule.better > 0)

    def _centre(self, columns: Integers) -> tuple[Floats, Integers]:
        """The mean of the jobs in these columns (-1: none), from five jobs on without the largest and the smallest."""
        present = columns >= 0
        values = np.take_along_axis(self._rows.means, np.maximum(columns, 0), axis=1)
        count: Integers = present.sum(axis=1)
        total = np.where(present, values, 0.0).sum(axis=1)
        trimmed = count >= 5
        most = np.where(present, values, -np.inf).max(axis=1)
        least = np.where(present, values, np.inf).min(axis=1)
        total = total - np.where(trimmed, most, 0.0) - np.where(trimmed, least, 0.0)
        kept = np.where(trimmed, count - 2, count)
        return np.divide(total, kept, out=np.full(len(total), np.nan), where=count > 0), count

    def _tests(self, job: int, usable: Bools, pinned: Integers) -> JobTests:
        this = np.full((len(usable), 1), job)
        sides = []
        for jobs, share in _WINDOWS:
            inside = self._inside[:, _RECENT - jobs :].sum(axis=1)
            places = np.arange(LEVEL_JOBS) + (_KEPT - LEVEL_JOBS - inside)[:, None]
            new = np.concatenate((self._before[:, _RECENT - jobs :], this), axis=1)
            sides.append((new, np.take_along_axis(self._members, places, axis=1), share, np.zeros_like(usable)))
        left = self._held - self._inside.sum(axis=1)
        oldest = np.where(np.arange(LEVEL_JOBS) < left[:, None], self._first, -1)
        drift = (left > LEVEL_JOBS) & (pinned < 0)
        sides.append((np.concatenate((self._before, this), axis=1), oldest, _FAR_SHARE, drift))
        pin = np.where(np.arange(LEVEL_JOBS) == 0, pinned[:, None], -1)
        old_sides = [np.where(pinned[:, None] >= 0, pin, old) for _, old, _, _ in sides]
        spare = np.zeros(len(usable))  # shares of comparisons that the first jobs of a level can't have
        found: list[Side] = []
        for (new, _, share, drift), old in zip(reversed(sides), reversed(old_sides), strict=True):
            own = np.full(len(usable), share) + (spare if new.shape[1] == 1 else 0.0)
            found.insert(0, self._side(job, usable, new, old, own, drift))
            spare = spare + np.where(found[0].compared, 0.0, share)
        said = _of_most(found, self._rule.alpha)
        return JobTests(said, found[0], np.sqrt(self._spread.variance), self._worse.copy())

    def _side(self, job: int, usable: Bools, new: Integers, old: Integers, share: Floats, drift: Bools) -> Side:
        """Compares the jobs in the columns `new`, the last of which is this job, with those in `old`."""
        rows, rule, noise = self._rows, self._rule, self._noise
        jobs, many = new.shape[1], np.full(len(new), new.shape[1])
        centre, level_jobs = self._centre(old)
        whole = usable & (new >= 0).all(axis=1) & (new[:, :, None] != old[:, None, :]).all(axis=(1, 2))
        compared = whole & (level_jobs > 0)
        mean = np.take_along_axis(rows.means, np.maximum(new, 0), axis=1).mean(axis=1)
        difference, own = np.where(compared, mean - centre, 0.0), np.where(compared, rows.means[:, job] - centre, 0.0)
        pooled = noise.beside_seeds(job)
        steady = (pooled + self._spread.variance) * (1 / jobs + 1 / np.maximum(level_jobs, 1))
        steady = np.nan_to_num(steady + noise.of_seeds(job, new, old))
        excess = np.nan_to_num(np.maximum(0.0, noise.of(job) - pooled) / jobs)
        variance = np.zeros(len(new)) if rows.deterministic else steady + excess
        within = np.maximum(rows.count[:, job] - 1, 1)
        # Satterthwaite, by shares of the variance: its square may be too large for a double.
        share_of = np.divide(steady, steady + excess, out=np.ones(len(new)), where=steady + excess > 0)
        freedom = 1 / (share_of**2 / self._spread.freedom + (1 - share_of) ** 2 / within)
        error = np.sqrt(variance)
        p_value = np.minimum(two_sided(difference, centre, error, freedom) / share, 1.0)
        lasts = (own / np.where(difference == 0, 1.0, difference) >= _AGREES) & (rule.size(own, centre) >= 1)
        lasts &= rule.size(difference, centre) >= 1
        counts = compared & (lasts | (jobs == 1))
        first = np.where(old >= 0, old, rows.means.shape[1]).min(axis=1)
        counted = np.take_along_axis(rows.count, np.maximum(old, 0), axis=1)
        samples = np.where(old >= 0, counted, 0).sum(axis=1)
        return Side(
            compared, difference, centre, own, many, level_jobs, samples, error, freedom, share,
            np.where(counts, p_value, np.inf), first, old.max(axis=1), drift,
        )  # fmt: skip

    def _learn(self, job: int, usable: Bools, called: Bools, least: Floats) -> None:
        near = self._members[:, -_NEAR:]
        centre, count = self._centre(near)
        same_seeds = self._noise.of_seeds(job, np.where(usable, job, -1)[:, None], near) == 0
        known = usable & (count > 0) & same_seeds & ~self._rows.accepted[:, job]
        residual = (self._rows.means[:, job] - centre) / np.sqrt(1 + 1 / np.maximum(count, 1))
        self._spread.learn(residual, self._noise.of(job), known & ~called, known & called, least)

    def _move(self, job: int, usable: Bools, called: Bools, better: Bools, said: Side) -> None:
        """Takes the job into the level, leaves it outside, or lets a level begin."""
        accepted = usable & self._rows.accepted[:, job]
        good = usable & ~called & ~accepted
        self._run = np.where(better, np.maximum(self._run + 1, said.jobs), np.where(usable, 0, self._run))
        lasting = better & ~accepted & (self._run >= LASTS)
        self._leave(np.where(called & ~accepted & ~said.drift, said.jobs - 1, 0))
        self._join(good, np.full(len(usable), job))
        self._begin(accepted, np.ones(len(usable), dtype=np.int64), job)
        self._begin(lasting, np.maximum(said.jobs, LASTS), job)
        inside, this = good | accepted | lasting, np.full((len(usable), 1), job)
        shifted = np.append(self._before[:, 1:], this, axis=1), np.append(self._inside[:, 1:], inside[:, None], axis=1)
        self._before = np.where(usable[:, None], shifted[0], self._before)
        self._inside = np.where(usable[:, None], shifted[1], self._inside)

    def _leave(self, newest: Integers) -> None:
        """Takes those of the last `newest` jobs out of the level that are in it."""
        if not newest.any():
            return
        recent = np.arange(_RECENT - 1, 0, -1) <= newest[:, None]
        leaving = (self._inside & recent).sum(axis=1)
        self._inside &= ~recent
        self._spread.doubt(leaving)
        places = np.arange(_KEPT) - leaving[:, None]
        shifted = np.take_along_axis(self._members, np.maximum(places, 0), axis=1)
        self._members = np.where(places >= 0, shifted, -1)
        self._held = self._held - leaving
        self._first = np.where(np.arange(LEVEL_JOBS) < self._held[:, None], self._first, -1)

    def _join(self, which: Bools, column: Integers) -> None:
        """Adds a job to the level of these rows."""
        if not which.any():
            return
        self._members[which] = np.append(self._members[which, 1:], column[which, None], axis=1)
        early = which & (self._held < LEVEL_JOBS)
        self._first[early, self._held[early]] = column[early]
        self._held = self._held + which

    def _begin(self, which: Bools, size: Integers, job: int) -> None:
        """A new level of the newest `size` jobs, this one included."""
        if not which.any():
            return
        self._members[which], self._first[which] = -1, -1
        self._held[which], self._run[which] = 0, 0
        self._inside[which] = False
        self._spread.settle(which)
        for back in range(_RECENT - 1, 0, -1):
            column = self._before[:, -back]
            taken = which & (size > back) & (column >= 0)
            self._join(taken, column)
            self._inside[taken, -back] = True
        self._join(which, np.full(len(which), job))


def _of_most(found: list[Side], alpha: float) -> Side:
    """For each row the comparison with the smallest p-value; the first where none is significant."""
    p_values = np.stack([side.p_value for side in found])
    best, rows = p_values.argmin(axis=0), np.arange(p_values.shape[1])
    best = np.where(p_values[best, rows] <= alpha, best, 0)
    return Side(*(np.stack([getattr(side, name) for side in found])[best, rows] for name in Side.__dataclass_fields__))
