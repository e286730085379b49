"""Is there a step somewhere in a stretch of values, and where? Pure; many stretches of one length at once.

The model of the scores of a stretch is an autoregression of order one around a level that steps once. For each place of
the step, its size is estimated by generalised least squares (Prais and Winsten 1954) and divided by its standard error.
The largest of these ratios is the strength of the step. The correlation is that of the residuals of the likeliest step,
corrected for its bias (Kendall 1954; about -(2 + 4ρ)/n with two means).

Scores come in two kinds. Normal scores of the ranks (van der Waerden 1952) don't depend on the shape of the noise, and
a single outlier has little weight. But ranks don't show how far apart two levels are, so that the strength of a step in
few values stays small. Clipped scores are the values themselves, without what is far outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from velodrome.stats.samples import ROUNDING, Floats, Integers

_MOST_CORRELATION = 0.9
_ROUNDS = 2
_OUTER = 0.1  # the share of values at each end that says where clipping starts


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """For each row: the likeliest place of a step, its strength (0 if no place is allowed), and what the noise is like.

    `correlation` is that of neighbours beside the step. `independent` is the number of values without memory that would
    say as much: n (1 - ρ) / (1 + ρ).
    """

    index: Integers
    strength: Floats
    correlation: Floats
    independent: Floats


def likeliest_steps(scores: Floats, side: int) -> Steps:
    """The likeliest step of each row, with `side` independent values on each side or more. Rows have mean 0.

    Rows of a single value have none.
    """
    count = scores.shape[1]
    places = np.arange(1, count)
    # The likeliest place for independent values gives a first estimate of the noise; a second search uses its
    # correlation.
    index = 1 + _explained(scores, side).argmax(axis=1)
    strength, correlation = np.zeros(len(scores)), np.zeros(len(scores))
    for _ in range(_ROUNDS):
        correlation = neighbours(scores, index)
        memory = (1 + correlation) / (1 - correlation)
        shortest = np.minimum(side * memory, count / 3)[:, None]
        ratio = np.where((places >= shortest) & (count - places >= shortest), ratios(scores, correlation), 0.0)
        index, strength = 1 + ratio.argmax(axis=1), ratio.max(axis=1)
    return Steps(index, strength, correlation, count * (1 - correlation) / (1 + correlation))


def strength_without_memory(scores: Floats, side: int) -> Floats:
    """The strength of each row's likeliest step if its values were independent. Takes a tenth of the time.

    Memory makes steps weaker.
    """
    explained = np.maximum(_explained(scores, side).max(axis=1), 0.0)
    total = np.einsum("ij,ij->i", scores, scores)
    rest = np.maximum(total - explained, 1e-6 * total)
    squares: Floats = np.divide((scores.shape[1] - 3) * explained, rest, out=np.zeros_like(rest), where=rest > 0)
    return np.asarray(np.sqrt(squares))


def _explained(scores: Floats, side: int) -> Floats:
    """The sum of squares that a step before each place explains, from place 1 on; -1 where no step is allowed."""
    count = scores.shape[1]
    places = np.arange(1, count)
    allowed = (places >= side) & (count - places >= side)
    sums = np.cumsum(scores, axis=1)[:, :-1]
    return np.where(allowed, sums**2 * (count / (places * (count - places))), -1.0)


def both_scores(values: Floats) -> tuple[Floats, Floats]:
    """The normal scores and the clipped scores of each row, with mean 0. Values that differ only by rounding are tied.

    Clipped scores have the row's largest absolute value as their unit.
    """
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    clipped = clip_far(values, ordered)
    scale = np.abs(ordered[:, [0, -1]]).max(axis=1, keepdims=True)
    clipped = np.divide(clipped, scale, out=np.zeros_like(clipped), where=scale > 0)
    clipped -= clipped.mean(axis=1, keepdims=True)
    clipped[np.abs(clipped).max(axis=1) <= ROUNDING] = 0.0
    return _normal(order, ordered), clipped


def clip_far(values: Floats, ordered: Floats | None = None, widths: float = 1.0) -> Floats:
    """Each row, clipped to where its inner four fifths end, and so many of their widths beyond that.

    `ordered` is the row in order.
    """
    ordered = np.sort(values, axis=-1) if ordered is None else ordered
    outer = int(_OUTER * values.shape[-1])
    low, high = ordered[..., outer, None], ordered[..., -1 - outer, None]
    clipped: Floats = np.clip(values, low - widths * (high - low), high + widths * (high - low))
    return clipped


def normal_scores(values: Floats) -> Floats:
    """Normal quantiles of the ranks of each row, with mean 0. Tied values share one quantile.

    Values that differ only by rounding are tied.
    """
    order = np.argsort(values, axis=1)
    return _normal(order, np.take_along_axis(values, order, axis=1))


def _normal(order: Integers, ordered: Floats) -> Floats:
    count = ordered.shape[1]
    tolerance = ROUNDING * np.maximum(np.abs(ordered[:, 1:]), np.abs(ordered[:, :-1]))
    new = np.ones(ordered.shape, dtype=np.bool_)
    new[:, 1:] = np.diff(ordered, axis=1) > tolerance
    quantiles = np.broadcast_to(ndtri((np.arange(count) + 0.5) / count), ordered.shape)
    tied = ~new.all(axis=1)
    if tied.any():
        # The first and the last place of each group of ties, for each value of the group.
        place, groups = np.arange(count), new[tied]
        first = np.maximum.accumulate(np.where(groups, place, 0), axis=1)
        ends = np.concatenate([groups[:, 1:], np.ones((len(groups), 1), dtype=np.bool_)], axis=1)
        last = np.minimum.accumulate(np.where(ends, place, count)[:, ::-1], axis=1)[:, ::-1]
        quantiles = quantiles.copy()
        quantiles[tied] = ndtri(((first + last) / 2 + 0.5) / count)
    scores = np.empty_like(ordered)
    np.put_along_axis(scores, order, quantiles, axis=1)
    centred: Floats = scores - scores.mean(axis=1, keepdims=True)
    return centred


def neighbours(scores: Floats, index: Integers) -> Floats:
    """Correlation of neighbours around the two levels of each row, corrected for its bias, and at least 0."""
    count = scores.shape[1]
    before: NDArray[np.bool_] = np.arange(count) < index[:, None]
    levels = np.where(
        before,
        ((scores * before).sum(axis=1) / index)[:, None],
        ((scores * ~before).sum(axis=1) / (count - index))[:, None],
    )
    rest = scores - levels
    squares = np.einsum("ij,ij->i", rest, rest)
    products = np.einsum("ij,ij->i", rest[:, 1:], rest[:, :-1])
    known = squares > ROUNDING * np.einsum("ij,ij->i", scores, scores)
    raw = np.divide(products, squares, out=np.zeros(len(scores)), where=known)
    return np.where(known, np.clip((raw * count + 2) / (count - 6), 0.0, _MOST_CORRELATION), 0.0)


def ratios(scores: Floats, correlation: Floats) -> Floats:
    """|step| / its standard error, for a step before each place from 1 on, by generalised least squares.

    Each value minus ρ times the previous value, divided by √(1 - ρ²), is independent of the others. The same operation
    turns a step at k into `jump` at k and `plain` after it, and a constant into 1 at first and `plain` after it.
    """
    count = scores.shape[1]
    scale = np.sqrt(1 - correlation**2)[:, None]
    plain, jump = (1 - correlation[:, None]) / scale, 1 / scale
    fresh = np.concatenate([scores[:, :1], (scores[:, 1:] - correlation[:, None] * scores[:, :-1]) / scale], axis=1)
    tail = np.cumsum(fresh[:, ::-1], axis=1)[:, ::-1]
    left = np.arange(count - 2, -1, -1)  # values after the place of the step
    after = np.concatenate([tail[:, 2:], np.zeros((len(scores), 1))], axis=1)
    step, constant = jump * fresh[:, 1:] + plain * after, fresh[:, :1] + plain * tail[:, 1:2]
    constants = 1 + plain**2 * (count - 1)
    both = jump * plain + plain**2 * left
    steps = jump**2 + plain**2 * left - both**2 / constants
    explained = (step - both * constant / constants) ** 2 / np.maximum(steps, ROUNDING)
    total = np.einsum("ij,ij->i", fresh, fresh)[:, None] - constant**2 / constants
    # If a step explains everything, a millionth of the whole replaces the residuals.
    rest = np.maximum(total - explained, 1e-6 * total)
    squares: Floats = np.divide((count - 3) * explained, rest, out=np.zeros_like(rest), where=rest > 0)
    return np.asarray(np.sqrt(squares))
