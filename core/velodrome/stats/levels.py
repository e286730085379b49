"""Is a job worse than the level of the jobs before it? Follows many rows (entries) over the same jobs at once. Pure.

A level is the mean of several good jobs. docs/decisions/0043-a-level-not-a-job.md has the choices and the figures.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import ndtri

from velodrome.stats.job_tests import Fields, JobRows, JobTests, Rule, Side, of_most, two_sided
from velodrome.stats.samples import ROUNDING, Floats, Integers
from velodrome.stats.spread import WAITING, Bools, JobSpread, TrialNoise

# A level is the mean of the newest jobs that belong to it, at most so many.
LEVEL_JOBS = 8
# A change lasts if so many jobs in a row show it. Only then an improvement becomes the level.
LASTS = WAITING + 1
# The comparisons of a job: how many jobs are on the new side, and the share of the error rate that each may use. The
# last one is with the oldest jobs of the level. The shares add up to less than 1, because runs of jobs that look worse
# share their luck.
_RECENT = 5
_NEW, SHARES = np.array([1, 2, LASTS, _RECENT]), np.array([0.18, 0.1, 0.35, 0.1])
# A job's distance is measured from the mean of at most this many jobs before it: drift hardly shows in so few.
_NEAR = 4
# Several jobs count together only if this one shows at least this share of their change: a job that is good again is
# not blamed for those before it.
_AGREES = 0.6
_KEPT = LEVEL_JOBS + LASTS - 1
_ROUNDED = 1e-9  # by so much a bound is looser, for rounding


def follow(rows: JobRows, rule: Rule) -> Iterator[JobTests]:
    """The comparison of each job with the level at that time, oldest first."""
    followed = _Followed(rows, rule)
    for job in range(rows.means.shape[1]):
        yield followed.step(job)


def newest(rows: JobRows, rule: Rule) -> JobTests:
    """The last of `follow`, much sooner: of the jobs before, only rows that may have changed are tested."""
    followed = _Followed(rows, rule)
    for job in range(rows.means.shape[1] - 1):
        followed.pass_over(job)
    return followed.step(rows.means.shape[1] - 1)


class _Followed:
    """The levels of all rows after some jobs. Good jobs of the present level are its members, in order."""

    def __init__(self, rows: JobRows, rule: Rule) -> None:
        size = len(rows.means)
        self._rows, self._rule, self._every = rows, rule, np.arange(size)
        self._noise = TrialNoise(np.where(np.isnan(rows.means), np.nan, rows.own), rows.paired, rows.seeds)
        self._spread = JobSpread(rows.boards)
        self._members = np.full((size, _KEPT), -1)  # columns of the newest members, the newest last
        self._recent = np.full((_KEPT, size), np.nan)  # their means, a column for each row
        self._level = np.full(size, np.nan), np.zeros(size, dtype=np.int64)  # the mean and the number of the newest
        self._first = np.full((size, LEVEL_JOBS), -1)  # columns of the oldest members, the oldest first
        self._held = np.zeros(size, dtype=np.int64)  # number of members
        self._before = np.full((size, _RECENT - 1), -1)  # columns of the jobs just before, members or not
        self._inside = np.zeros((size, _RECENT - 1), dtype=np.bool_)  # which of these are members
        self._run = np.zeros(size, dtype=np.int64)  # jobs in a row that were better than the level
        self._worse = np.zeros(size, dtype=np.bool_)  # whether the job before was worse

    def step(self, job: int) -> JobTests:
        """Compares the job in this column, and takes it into the level if it belongs there."""
        usable, least = self._arrive(job)
        every = np.arange(len(usable))
        both = self._both(job, every)
        self._settle(job, usable, least, every, both)
        return both[0]

    def pass_over(self, job: int) -> None:
        """`step` without its answer."""
        usable, least = self._arrive(job)
        some = np.flatnonzero(usable & self._may_count(job))
        self._settle(job, usable, least, some, self._both(job, some) if len(some) else None)

    def _arrive(self, job: int) -> tuple[Bools, Floats]:
        """Which rows have the job, and the smallest change that counts there. Estimates the spread before the job."""
        means = self._rows.means[:, job]
        self._recent = self._means(self._every, self._members)
        self._level = centre, count = _trimmed(self._recent[-LEVEL_JOBS:])
        least = _or_zero(self._rule.least(np.where(count > 0, centre, means)))
        self._spread.estimate(np.zeros(len(least)) if self._rows.deterministic else least)
        return ~np.isnan(means), least

    def _both(self, job: int, at: Integers) -> tuple[JobTests, JobTests]:
        """The comparisons of these rows, with their pins and without."""
        pinned = self._rows.pinned[at]
        tests = self._tests(job, at, pinned)
        return tests, tests if (pinned < 0).all() else self._tests(job, at, np.full(len(at), -1))

    def _settle(
        self, job: int, usable: Bools, least: Floats, at: Integers, both: tuple[JobTests, JobTests] | None
    ) -> None:
        """Takes the job into the levels. The rows `at` were tested; the others did not change."""
        size = len(usable)
        called, better, worse, drift = np.zeros((4, size), dtype=np.bool_)
        jobs = np.ones(size, dtype=np.int64)
        if both is not None:
            # A pin decides what a job is compared with. Which jobs belong together does not depend on it.
            tests, free = both
            called[at], better[at] = self._called(free.said)
            jobs[at], drift[at] = free.said.jobs, free.said.drift
            worse[at] = np.logical_and(*self._called(tests.said, better=False))
        self._learn(job, usable, called, least)
        self._move(job, usable, called, better, jobs, drift)
        self._worse = np.where(usable, worse & ~self._rows.accepted[:, job], self._worse)

    def _may_count(self, job: int) -> Bools:
        """Which rows may be called. The others can't: Student's t asks for more than the normal distribution does, and
        the variance is at least what is counted here.
        """
        rows, rule = self._rows, self._rule
        if rows.deterministic:
            return np.ones(len(self._every), dtype=np.bool_)
        here, before = rows.means[:, job], np.cumsum(self._means(self._every, self._before[:, ::-1]), axis=0)
        noise = _or_zero(self._noise.beside_seeds(job) + self._spread.variance)
        found = np.zeros(len(self._every), dtype=np.bool_)
        for jobs, share, centre, count in self._levels():
            mean = (here + (before[jobs - 2] if jobs > 1 else 0.0)) / jobs
            bound = ndtri(rule.alpha * share / 2) * (1 - _ROUNDED)
            enough = (mean - centre) ** 2 >= bound**2 * (1 / jobs + 1 / np.maximum(count, 1)) * noise
            some = np.flatnonzero(enough)
            found[some] |= rule.size((here - centre)[some], centre[some]) * (1 + _ROUNDED) >= 1
        return found

    def _levels(self) -> Iterator[tuple[int, float, Floats, Integers]]:
        """Of each comparison the number of new jobs, the largest share, and the mean and the number of old jobs."""
        yield 1, SHARES.sum(), *self._level
        for jobs, share in zip(_NEW[1:-1], SHARES[1:-1], strict=True):
            out = self._inside[:, _RECENT - jobs :].sum(axis=1)
            choices = [self._recent[_KEPT - LEVEL_JOBS - place : _KEPT - place] for place in range(jobs)]
            near, few = choices[-1], np.flatnonzero(out != jobs - 1)
            if len(few):  # of few rows, a job just before is outside the level
                near = near.copy()
                near[:, few] = np.choose(out[few], [choice[:, few] for choice in choices])
            yield jobs, share, *_trimmed(near)
        left = self._held - self._inside.sum(axis=1)
        oldest = self._means(self._every, self._first)
        yield _RECENT, SHARES[-1], *_trimmed(np.where(np.arange(LEVEL_JOBS)[:, None] < left, oldest, np.nan))
        if (self._rows.pinned >= 0).any():
            pin = _trimmed(self._means(self._every, self._rows.pinned[:, None]))
            yield from ((jobs, SHARES.sum(), *pin) for jobs in _NEW)

    def _called(self, said: Side, *, better: bool = True) -> tuple[Bools, Bools]:
        """Which rows changed, and which of them for the better, or for the worse."""
        rule, sign = self._rule, 1 if better else -1
        called = said.compared & (said.p_value <= rule.alpha) & (rule.size(said.difference, said.centre) >= 1)
        return called, called & (sign * said.difference * rule.better > 0)

    def _means(self, at: Integers, columns: Integers) -> Floats:
        """The means of these rows in these columns, one column of `columns` after the other; NaN for column -1."""
        places = np.ascontiguousarray(columns.T)
        found: Floats = np.take(self._rows.means, places + at * self._rows.means.shape[1], mode="wrap")
        found[places < 0] = np.nan
        return found

    def _centre(self, at: Integers, columns: Integers) -> tuple[Floats, Integers]:
        """The mean of these rows in these columns, and how many there are."""
        return _trimmed(self._means(at, columns))

    def _sides(self, job: int, at: Integers, pinned: Integers) -> tuple[Integers, Integers, Bools]:
        """The columns that each comparison of these rows has on its new side, and on its old one (-1: none).

        Their shape is comparison, row, place. And which rows are compared with jobs far back.
        """
        inside, places = self._inside[at], np.arange(LEVEL_JOBS)
        recent = np.append(self._before[at], np.full((len(at), 1), job), axis=1)
        new = np.where(np.arange(_RECENT) >= _RECENT - _NEW[:, None, None], recent, -1)
        out = (inside & (np.arange(_RECENT - 1) >= _RECENT - _NEW[:, None, None])).sum(axis=2)
        near = (_KEPT - LEVEL_JOBS - out[:-1])[:, :, None] + places
        left = self._held[at] - out[-1]
        oldest = np.where(places < left[:, None], self._first[at], -1)
        old = np.append(self._members[at[None, :, None], near], oldest[None], axis=0)
        old = np.where(pinned[:, None] >= 0, np.where(places == 0, pinned[:, None], -1), old)
        return new, old, (left > LEVEL_JOBS) & (pinned < 0)

    def _tests(self, job: int, at: Integers, pinned: Integers) -> JobTests:
        """The comparisons of these rows, whose pins are given."""
        new, old, drift = self._sides(job, at, pinned)
        whole = ((new >= 0).sum(axis=2) == _NEW[:, None]) & ~np.isnan(self._rows.means[at, job])
        whole &= ((new[:, :, :, None] != old[:, :, None, :]) | (new[:, :, :, None] < 0)).all(axis=(2, 3))
        compared = whole & (old >= 0).any(axis=2)
        # The first jobs of a level can't have all comparisons: that of the job alone has the other shares too.
        shares = np.repeat(SHARES[:, None], len(at), axis=1)
        shares[0] += np.where(compared[1:], 0.0, shares[1:]).sum(axis=0)
        new, old = (part.reshape(len(_NEW) * len(at), part.shape[2]) for part in (new, old))
        sides = self._compared(job, np.tile(at, len(_NEW)), new, old, compared.reshape(-1), shares.reshape(-1))
        fars = np.zeros(compared.shape, dtype=np.bool_)
        fars[-1] = drift
        parts = [part.reshape(compared.shape) for part in (*sides, fars)]
        alone = Side(*(part[0] for part in parts))
        return JobTests(of_most(parts, self._rule.alpha), alone, np.sqrt(self._spread.variance[at]), self._worse[at])

    def _compared(self, job: int, at: Integers, new: Integers, old: Integers, compared: Bools, share: Floats) -> Fields:
        """The fields of `Side`, without the last one: the jobs in the columns `new` against those in `old`."""
        rows, rule, noise, here = self._rows, self._rule, self._noise, self._rows.means[at, job]
        jobs, (centre, level_jobs) = (new >= 0).sum(axis=1), self._centre(at, old)
        mean = np.where(new.T >= 0, self._means(at, new), 0.0).sum(axis=0) / np.maximum(jobs, 1)
        difference, own = (
            np.where(compared & (np.abs(value - centre) > ROUNDING * np.abs(centre)), value - centre, 0.0)
            for value in (mean, here)
        )
        pooled = noise.beside_seeds(job)[at]
        steady = (pooled + self._spread.variance[at]) * (1 / np.maximum(jobs, 1) + 1 / np.maximum(level_jobs, 1))
        steady = _or_zero(steady + noise.of_seeds(job, at, new, old))
        excess = _or_zero(np.maximum(0.0, noise.of(job)[at] - pooled) / np.maximum(jobs, 1))
        variance = np.zeros(len(new)) if rows.deterministic else steady + excess
        within = np.maximum(rows.count[at, job] - 1, 1)
        # Satterthwaite, by shares of the variance: its square may be too large for a double.
        share_of = np.divide(steady, steady + excess, out=np.ones(len(new)), where=steady + excess > 0)
        freedom = 1 / (share_of**2 / self._spread.freedom[at] + (1 - share_of) ** 2 / within)
        error = np.sqrt(variance)
        p_value = np.minimum(two_sided(difference, centre, error, freedom) / share, 1.0)
        lasts = (own / np.where(difference == 0, 1.0, difference) >= _AGREES) & (rule.size(own, centre) >= 1)
        lasts &= rule.size(difference, centre) >= 1
        counts = compared & (lasts | (jobs == 1))
        first = np.where(old >= 0, old, rows.means.shape[1]).min(axis=1)
        counted = np.take(rows.count, at[:, None] * rows.count.shape[1] + np.maximum(old, 0))
        samples = np.where(old >= 0, counted, 0).sum(axis=1)
        return (
            compared, difference, centre, own, jobs, level_jobs, samples, error, freedom, share,
            np.where(counts, p_value, np.inf), first, old.max(axis=1),
        )  # fmt: skip

    def _learn(self, job: int, usable: Bools, called: Bools, least: Floats) -> None:
        near = self._members[:, -_NEAR:]
        centre, count = _trimmed(self._recent[-_NEAR:])
        same_seeds = self._noise.of_seeds(job, self._every, np.where(usable, job, -1)[:, None], near) == 0
        known = usable & (count > 0) & same_seeds & ~self._rows.accepted[:, job]
        residual = (self._rows.means[:, job] - centre) / np.sqrt(1 + 1 / np.maximum(count, 1))
        self._spread.learn(residual, self._noise.of(job), known & ~called, known & called, least)

    def _move(self, job: int, usable: Bools, called: Bools, better: Bools, jobs: Integers, drift: Bools) -> None:
        """Takes the job into the level, leaves it outside, or lets a level begin."""
        accepted = usable & self._rows.accepted[:, job]
        good = usable & ~called & ~accepted
        self._run = np.where(better, np.maximum(self._run + 1, jobs), np.where(usable, 0, self._run))
        lasting = better & ~accepted & (self._run >= LASTS)
        self._leave(np.where(called & ~accepted & ~drift, jobs - 1, 0))
        self._join(good, np.full(len(usable), job))
        self._begin(accepted, np.ones(len(usable), dtype=np.int64), job)
        self._begin(lasting, np.maximum(jobs, LASTS), job)
        inside, this = good | accepted | lasting, np.full((len(usable), 1), job)
        shifted = np.append(self._before[:, 1:], this, axis=1), np.append(self._inside[:, 1:], inside[:, None], axis=1)
        self._before = np.where(usable[:, None], shifted[0], self._before)
        self._inside = np.where(usable[:, None], shifted[1], self._inside)

    def _leave(self, newest: Integers) -> None:
        """Takes those of the last `newest` jobs out of the level that are in it."""
        rows = np.flatnonzero(newest > 0)
        if not len(rows):
            return
        recent = np.arange(_RECENT - 1, 0, -1) <= newest[rows, None]
        leaving = (self._inside[rows] & recent).sum(axis=1)
        self._inside[rows] &= ~recent
        self._spread.doubt(rows, leaving)
        places = np.arange(_KEPT) - leaving[:, None]
        shifted = np.take_along_axis(self._members[rows], np.maximum(places, 0), axis=1)
        self._members[rows] = np.where(places >= 0, shifted, -1)
        self._held[rows] -= leaving
        self._first[rows] = np.where(np.arange(LEVEL_JOBS) < self._held[rows, None], self._first[rows], -1)

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


def _or_zero(values: Floats) -> Floats:
    """The values, with 0 for NaN."""
    return np.where(np.isnan(values), 0.0, values)


def _trimmed(values: Floats) -> tuple[Floats, Integers]:
    """The mean of each column's values, and their number. From five values on without the largest and the smallest."""
    size = len(values)
    found, count = values.sum(axis=0), np.full(values.shape[1], size)
    some = np.flatnonzero(np.isnan(found))
    found = (found - values.max(axis=0) - values.min(axis=0)) / (size - 2) if size >= 5 else found / size
    if len(some):  # few columns lack a value, so only these take the steps that that needs
        found[some], count[some] = _trimmed_known(values[:, some])
    return found, count


def _trimmed_known(values: Floats) -> tuple[Floats, Integers]:
    """`_trimmed` where values may be NaN."""
    known = ~np.isnan(values)
    count: Integers = known.sum(axis=0)
    # Added in order, as `sum` does for many columns: what a row says does not depend on the number of others.
    total = np.add.accumulate(np.where(known, values, 0.0), axis=0)[-1]
    trimmed = count >= 5
    total = np.where(trimmed, total - np.fmax.reduce(values, axis=0) - np.fmin.reduce(values, axis=0), total)
    kept = np.where(trimmed, count - 2, count)
    return np.divide(total, kept, out=np.full(len(total), np.nan), where=count > 0), count
