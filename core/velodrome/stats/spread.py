"""How much the means of jobs differ by themselves: what trials show of it, and what only other jobs show. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from velodrome.stats.samples import Floats, Integers

Bools = NDArray[np.bool_]

# The prior for the variance between jobs is `_PRIOR` times the square of the smallest change that counts. It counts as
# `PRIOR_JOBS` jobs. Other rows of the board add at most `_LENT` jobs, and a row's own jobs count as `_MOST` at most.
PRIOR_JOBS = 6
_PRIOR = 0.5
_LENT = 40.0
_MOST = 40.0
# From `_OWN_FROM` jobs on, a row's spread is at least `_OWN` times what its own jobs show. So a row that is noisier
# than its neighbours is not judged by theirs.
_OWN_FROM, _OWN = 4, 1.05
# A spread that only a row's own jobs show is known less well than their number says: each job's distance is from jobs
# that others are measured from, too. So it counts as larger, by up to this share of the variance.
_ALONE = 0.3
# A job that is further away counts as if it were this many standard deviations away.
_CLIP = 4.0
# The newest jobs don't count yet: they may be the first ones of a step.
WAITING = 2


class TrialNoise:
    """What trials show of the variance of a job's mean, pooled over the jobs up to each job.

    `own` is that variance by the spread of the job's trials, and `paired` by the differences to an earlier job with the
    same seeds (NaN without one). `seeds` has one number for each set of seeds. The arrays have a column for each job.
    """

    def __init__(self, own: Floats, paired: Floats, seeds: Integers) -> None:
        usable = ~np.isnan(own)
        self._job_own, self._job_paired, self._seeds = own, paired, seeds
        self._own = _running_mean(own)
        running = _running_mean(paired)
        self._beside = np.where(np.isnan(running), self._own, np.minimum(running, self._own))
        self._one_set = len(np.unique(seeds[usable.any(axis=0)])) <= 1

    def beside_seeds(self, job: int) -> Floats:
        """The variance that remains if two jobs have the same seeds."""
        return self._beside[:, job]

    def of(self, job: int) -> Floats:
        """The variance of this job's mean by its own trials, without that of the seeds."""
        paired = self._job_paired[:, job]
        alone = np.maximum(self._beside[:, job], self._job_own[:, job] - (self._own[:, job] - self._beside[:, job]))
        return np.where(np.isnan(paired), alone, paired)

    def of_seeds(self, job: int, at: Integers, new: Integers, old: Integers) -> Floats:
        """The variance of a difference between two groups of columns (-1: none) of rows `at`, because their seeds
        differ.
        """
        if self._one_set:
            return np.zeros(len(new))
        sets = [_distinct(np.where(side >= 0, self._seeds[side], -1)) for side in (new, old)]
        both = np.concatenate((new, old), axis=1)
        same = _distinct(np.where(both >= 0, self._seeds[both], -1)) <= 1
        per_set = (self._own[:, job] - self._beside[:, job])[at]
        return np.where(same, 0.0, per_set * (1 / np.maximum(sets[0], 1) + 1 / np.maximum(sets[1], 1)))


class JobSpread:
    """The variance between jobs beyond what trials show: an empirical Bayes estimate for each row.

    Evidence is the square of each job's distance from the few jobs before it, less what trials show. It outlives a
    change of level. Jobs outside the level count when the level is back: then they were noise.

    Source of the shrinking: Smyth (2004), "Linear models and empirical Bayes methods", section 4, with the weights
    fixed. Rows of a board that move together show less than rows that do not; the ratio of the variance of their sum to
    the sum of their variances says by how much (Kish's design effect).
    """

    def __init__(self, boards: Integers) -> None:
        size, groups = len(boards), int(boards.max(initial=0)) + 1
        self._boards = boards
        self._squares, self._jobs = np.zeros(size), np.zeros(size)
        self._waiting, self._waits = np.zeros((size, WAITING)), np.zeros((size, WAITING))
        self._doubtful, self._doubts = np.zeros(size), np.zeros(size)
        self._together, self._apart, self._times = np.zeros(groups), np.zeros(groups), np.zeros(groups)
        self.variance, self.freedom = np.zeros(size), np.full(size, float(PRIOR_JOBS))

    def estimate(self, least: Floats) -> None:
        """Sets `variance` and its `freedom`, the degrees of freedom. `least` is the smallest change that counts."""
        boards, unit, none = self._boards, least**2, np.zeros(len(least))
        scaled = np.divide(self._squares, unit, out=none.copy(), where=unit > 0)
        others = np.bincount(boards, self._jobs)[boards] - self._jobs
        total = np.bincount(boards, scaled)[boards] - scaled
        ratio = np.divide(self._together, self._apart, out=np.ones(len(self._apart)), where=self._apart > 0)
        effect = 1 + np.maximum(ratio - 1, 0.0) * self._times / (self._times + PRIOR_JOBS)
        lent = np.clip((others + self._jobs) / effect[boards] - self._jobs, 0.0, _LENT)
        shown = np.divide(total, others, out=none.copy(), where=others > 0)
        prior = (PRIOR_JOBS * _PRIOR + lent * shown) * unit
        self.freedom = PRIOR_JOBS + lent + self._jobs
        own = np.divide(self._squares, self._jobs, out=none.copy(), where=self._jobs >= _OWN_FROM)
        alone = (1 - lent / _LENT) * self._jobs / (self._jobs + PRIOR_JOBS)
        self.variance = np.maximum((prior + self._squares) / self.freedom, np.maximum(own * _OWN, 0.0))
        self.variance *= 1 + _ALONE * alone

    def learn(self, residual: Floats, noise: Floats, good: Bools, doubtful: Bools, least: Floats) -> None:
        """Takes in a job: its distance from the jobs before it, scaled to the variance of one job."""
        beyond = np.minimum(residual**2, _CLIP**2 * (noise + self.variance)) - noise
        self._squares += np.where(good, self._waiting[:, 0] + self._doubtful, 0.0)
        self._jobs += np.where(good, self._waits[:, 0] + self._doubts, 0.0)
        self._waiting = np.where(good[:, None], np.append(self._waiting[:, 1:], beyond[:, None], axis=1), self._waiting)
        self._waits = np.where(good[:, None], np.append(self._waits[:, 1:], good[:, None], axis=1), self._waits)
        self._doubtful = np.where(doubtful, self._doubtful + beyond, np.where(good, 0.0, self._doubtful))
        self._doubts = np.where(doubtful, self._doubts + 1, np.where(good, 0.0, self._doubts))
        share = np.minimum(1.0, _MOST / np.maximum(self._jobs, 1.0))
        self._squares *= share
        self._jobs *= share
        self._relate(np.divide(residual, least, out=np.zeros(len(least)), where=good & (least > 0)), good & (least > 0))

    def _relate(self, scaled: Floats, known: Bools) -> None:
        boards, size = self._boards, len(self._apart)
        count = np.bincount(boards, known, size)
        several = count > 1
        self._together += np.where(several, np.bincount(boards, scaled, size) ** 2 / np.maximum(count, 1), 0.0)
        self._times += several
        self._apart += np.where(several, np.bincount(boards, scaled**2, size) / np.maximum(count, 1), 0.0)

    def doubt(self, rows: Integers, newest: Integers) -> None:
        """The newest good jobs of these rows, so many in each, are outside the level now."""
        kept = np.arange(WAITING, 0, -1) > newest[:, None]
        self._doubtful[rows] += np.where(kept, 0.0, self._waiting[rows]).sum(axis=1)
        self._doubts[rows] += np.where(kept, 0.0, self._waits[rows]).sum(axis=1)
        self._waits[rows] *= kept
        self._waiting[rows] *= kept

    def settle(self, rows: Bools) -> None:
        """Another level begins in these rows: jobs outside the one before were no noise."""
        self._doubtful[rows] = 0.0
        self._doubts[rows] = 0.0


def _running_mean(values: Floats) -> Floats:
    """For each row, the mean of the values up to each column; NaN before the first."""
    count = np.cumsum(~np.isnan(values), axis=1)
    total = np.cumsum(np.nan_to_num(values), axis=1)
    found: Floats = np.divide(total, count, out=np.full(values.shape, np.nan), where=count > 0)
    return found


def _distinct(numbers: Integers) -> Integers:
    """For each row, how many different numbers there are. Negative ones don't count."""
    ordered = np.sort(numbers, axis=1)
    new = np.diff(ordered, axis=1, prepend=-1) != 0
    found: Integers = (new & (ordered >= 0)).sum(axis=1)
    return found
