"""A model over several boards: the interquartile mean of its runs, and how it stands to another model.

The definitions are those of Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical
precipice" (NeurIPS 2021; the library rliable). A board is what they call a task. Scores are one sequence for each
board, with one score for each run. Higher is better. Boards count alike, however many runs they have.

The bootstrap draws the runs of each board with replacement, board by board (stratified), and takes percentiles. Its
random numbers come from a given seed: with one version of numpy, equal input gives equal output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from velodrome.stats.samples import Floats

RESAMPLES = 5000
_CONFIDENCE = 0.95

Scores = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Bounded:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def interquartile_mean(scores: Scores, seed: int = 0, resamples: int = RESAMPLES) -> Bounded:
    """The mean of the middle half of all runs.

    A quarter of the runs, rounded down to whole ones, is cut off at either end. If the boards have equally many runs,
    it is scipy.stats.trim_mean(runs, 0.25), as in rliable. Else a run weighs less on a board with more runs, and the
    weight that is cut off is the same.

    Raises:
        ValueError: there is no board, or a board without runs.
    """
    runs, weights = _runs(scores)
    order = np.argsort(runs, kind="stable")
    drawn = _drawn(scores, np.random.default_rng(seed), resamples)
    value = _trimmed(runs[order], weights[None, order])
    return _bounded(float(value[0]), _trimmed(runs[order], drawn[:, order]))


def shares_above(
    scores: Scores, thresholds: Sequence[float], seed: int = 0, resamples: int = RESAMPLES
) -> list[Bounded]:
    """The performance profile: for each threshold, the share of runs with a higher score, averaged over boards.

    Raises as `interquartile_mean` does.
    """
    runs, weights = _runs(scores)
    above = (runs[:, None] > np.array(thresholds)).astype(float)
    drawn = _drawn(scores, np.random.default_rng(seed), resamples) @ above
    return [_bounded(float(value), column) for value, column in zip(weights @ above, drawn.T, strict=True)]


def probability_of_improvement(scores: Scores, others: Scores, seed: int = 0, resamples: int = RESAMPLES) -> Bounded:
    """How likely a run of this model is better than one of another model on the same board, averaged over boards.

    A tie counts as one half, so each board's share is Mann and Whitney's U / (n · m). Both are of the same boards.

    Raises:
        ValueError: there is no board, a board without runs, or a different number of boards.
    """
    _runs(scores)
    _runs(others)
    if len(scores) != len(others):
        raise ValueError(f"scores of {len(scores)} and of {len(others)} boards: give those of the same boards")
    rng = np.random.default_rng(seed)
    value, drawn = 0.0, np.zeros(resamples)
    for own, other in zip(map(np.array, scores), map(np.array, others), strict=True):
        better = (own[:, None] > other) + 0.5 * (own[:, None] == other)
        value += float(better.mean()) / len(scores)
        first, second = _counts(len(own), rng, resamples), _counts(len(other), rng, resamples)
        drawn += ((first @ better) * second).sum(axis=1) / better.size / len(scores)
    return _bounded(value, drawn)


def _runs(scores: Scores) -> tuple[Floats, Floats]:
    """The runs of all boards, one after another, and their weights, which sum to 1."""
    if not scores or not all(len(board) for board in scores):
        raise ValueError("scores: there must be a board, and each board needs a run")
    weights = [np.full(len(board), 1 / len(board) / len(scores)) for board in scores]
    return np.concatenate([np.array(board, dtype=float) for board in scores]), np.concatenate(weights)


def _drawn(scores: Scores, rng: np.random.Generator, resamples: int) -> Floats:
    """The weights of the runs in each resample: a row for each resample, which sums to 1."""
    boards = [_counts(len(board), rng, resamples) / len(board) / len(scores) for board in scores]
    return np.concatenate(boards, axis=1)


def _counts(runs: int, rng: np.random.Generator, resamples: int) -> Floats:
    """How often each of a board's runs is drawn, in each resample."""
    return rng.multinomial(runs, np.full(runs, 1 / runs), size=resamples).astype(float)


def _trimmed(ordered: Floats, weights: Floats) -> Floats:
    """The interquartile mean of these runs, sorted by score, for each row of weights."""
    cut = len(ordered) // 4 / len(ordered)
    until = np.cumsum(weights, axis=1)
    kept = np.clip(np.minimum(until, 1 - cut) - np.maximum(until - weights, cut), 0, None)
    found: Floats = kept @ ordered / kept.sum(axis=1)
    return found


def _bounded(value: float, drawn: Floats) -> Bounded:
    low, high = np.quantile(drawn, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return Bounded(value, float(low), float(high))
