"""Many races until decided at once, as arrays: what `velodrome.stats.sequential` and `rank` decide for each of them.

simulate_until.py holds it against them, race by race, before it trusts it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from velodrome.stats.looks import Until, look_sizes, shares
from velodrome.stats.samples import ROUNDING, moments

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
Correction = Callable[[Floats, int], Floats]
FUTILE = 0.03


def ratios(values: Floats, present: Mask | None = None, *, trim: bool = False) -> tuple[Floats, Floats, float]:
    """The paired t of each pair of entries, its two-sided p-value, and its degrees of freedom.

    `values` are races × entries × seeds. With `trim`, means are trimmed and errors Yuen's. Pairs without spread get the
    smallest one that the steps between the `present` entries' values allow.
    """
    races, entries, seeds = values.shape
    first, second = np.triu_indices(entries, 1)
    t, freedom = np.empty((races, len(first))), float(seeds - 1)
    everything, count = np.ones((races, seeds), dtype=np.bool_), np.full(races, seeds)
    for pair, (a, b) in enumerate(zip(first, second, strict=True)):
        difference = values[:, a] - values[:, b]
        found = moments(difference, everything, count, trim=trim)
        error, freedom = np.sqrt(found.squared_error), float(found.freedom[0])
        constant = np.ptp(difference, axis=1) <= ROUNDING * np.abs(values).max(axis=(1, 2))
        for race in np.flatnonzero(constant):
            seen = values[race] if present is None else values[race][present[race]]
            steps = np.diff(np.sort(seen, axis=None))
            error[race] = steps[steps > ROUNDING * np.abs(seen).max()].min(initial=np.inf) / seeds
        t[:, pair] = found.mean / error
    _bound_splits(t, seeds, freedom, *_groups(values, present))
    p_values: Floats = 2 * stdtr(np.full(t.shape, freedom), -np.abs(t))
    return t, p_values, freedom


def _groups(values: Floats, present: Mask | None) -> tuple[Mask, Mask]:
    """Which entries have a value in the lower group of their race, and which in the upper one (races × entries).

    None has one where the race does not lie in two groups.
    """
    races, entries, seeds = values.shape
    shown = np.ones((races, entries), dtype=np.bool_) if present is None else present
    count = shown.sum(axis=1) * seeds
    pooled = np.sort(np.where(shown[:, :, None], values, np.inf).reshape(races, -1), axis=1)
    last = np.take_along_axis(pooled, np.maximum(count - 1, 0)[:, None], axis=1)
    place = np.arange(1, pooled.shape[1])
    with np.errstate(invalid="ignore"):
        width = np.maximum(pooled[:, :-1] - pooled[:, :1], last - pooled[:, 1:])
        wide = np.diff(pooled, axis=1) >= width
    cuts = wide & (width > 0) & (place >= 2) & (place <= count[:, None] - 2)
    cut = pooled[np.arange(races), cuts.argmax(axis=1) + 1]
    high = values >= cut[:, None, None]
    grouped = shown & cuts.any(axis=1)[:, None]
    return (~high).any(axis=2) & grouped, high.any(axis=2) & grouped


def _bound_splits(t: Floats, seeds: int, freedom: float, low: Mask, high: Mask) -> None:
    """Bound the t of entries that lie wholly in different groups, where some other entry has values in both."""
    first, second = np.triu_indices(low.shape[1], 1)
    side = high.astype(np.int64) - low
    apart = (side[:, first] * side[:, second] < 0) & (low & high).any(axis=1, keepdims=True)
    bound = -stdtrit(freedom, 0.25**seeds)
    t[:] = np.where(apart, np.clip(t, -bound, bound), t)


def adjusted(p_values: Floats, entries: int) -> Floats:
    """What `velodrome.stats.correction.adjusted` gives for each row."""
    races, pairs = p_values.shape
    rows = np.arange(races)
    first, second = np.triu_indices(entries, 1)
    order = np.argsort(p_values, axis=1, kind="stable")
    ordered = np.take_along_axis(p_values, order, axis=1)
    known, later = np.zeros((races, entries), dtype=np.int64), np.zeros((races, entries), dtype=np.int64)
    factors = np.zeros((races, pairs))
    equal = np.zeros((races, pairs + 1), dtype=np.bool_)
    equal[:, 1:-1] = ordered[:, 1:] == ordered[:, :-1]
    for place in range(pairs):
        known = np.where(equal[:, place, None], known, later)
        a, b = first[order[:, place]], second[order[:, place]]
        either = np.bitwise_count(known[rows, a] | known[rows, b]).astype(np.int64)
        factors[:, place] = _factors(either[:, None], np.bitwise_count(known).astype(np.int64))[:, 0]
        later[rows, a] |= 1 << b
        later[rows, b] |= 1 << a
        if place:
            factors[:, place] = np.maximum(factors[:, place], factors[:, place - 1] * equal[:, place])
    for place in range(pairs - 2, -1, -1):
        factors[:, place] = np.maximum(factors[:, place], factors[:, place + 1] * equal[:, place + 1])
    corrected = np.minimum(1.0, np.maximum.accumulate(ordered * factors, axis=1))
    found = np.empty_like(corrected)
    np.put_along_axis(found, order, corrected, axis=1)
    return found


def _factors(either: Integers, apart: Integers) -> Floats:
    """The factors of pairs (races × pairs): their sides differ from `either` entries, and entries from `apart`."""
    entries = apart.shape[1]
    closed = (apart == entries - 1).sum(axis=1, keepdims=True)
    possible = entries - closed
    others = apart.sum(axis=1, keepdims=True) // 2 > closed * (entries - 1) - closed * (closed - 1) // 2
    group = np.minimum(entries - either, possible - others)
    equal = np.where(possible - group == 1, group, possible)
    found: Floats = np.maximum(1.0, equal * (group - 1) / 2)
    return found


def better_of(claimed: Mask, favours: Floats, entries: int) -> Mask:
    """Element [race, a, b]: whether a is significantly better than b."""
    first, second = np.triu_indices(entries, 1)
    found = np.zeros((len(claimed), entries, entries), dtype=np.bool_)
    found[:, first, second] = claimed & (favours > 0)
    found[:, second, first] = claimed & (favours < 0)
    return found


def fixed(values: Floats, seeds: int, alpha: float, *, trim: bool = False, correct: Correction | None = None) -> Mask:
    """What rank() finds with so many seeds of each entry, or another correction of the p-values."""
    t, p_values, _ = ratios(values[:, :, :seeds], trim=trim)
    return better_of((correct or adjusted)(p_values, values.shape[1]) <= alpha, t, values.shape[1])


def until_decided(values: Floats, until: Until, *, trim: bool = False) -> tuple[Integers, Mask]:
    """The seeds of each entry in the end (races × entries), and what is significantly better than what."""
    races, entries, _ = values.shape
    first, second = np.triu_indices(entries, 1)
    sizes, parts = look_sizes(until), shares(until)
    active: Mask = np.ones((races, entries), dtype=np.bool_)
    seeds: Integers = np.zeros((races, entries), dtype=np.int64)
    p_value, favours = np.ones((races, len(first))), np.zeros((races, len(first)))
    given_up: Mask = np.zeros((races, len(first)), dtype=np.bool_)
    better = np.zeros((races, entries, entries), dtype=np.bool_)
    for (size, share), following in zip(
        zip(sizes, parts, strict=True), [*(after for _, after in pairwise(sizes)), None], strict=True
    ):
        seeds[active] = size
        both = active[:, first] & active[:, second]
        t, p_now, freedom = ratios(values[:, :, :size], active, trim=trim)
        agree = (np.sign(t) == favours) & (favours != 0)
        p_now = np.minimum(1.0, p_now / share)
        p_value = np.where(both, np.where(agree, np.minimum(p_value, p_now), p_now), p_value)
        favours = np.where(both, np.sign(t), favours)
        better = better_of(adjusted(p_value, entries) <= until.alpha, favours, entries)
        if following is None:
            break
        leads: Mask = ~np.logical_or.reduce(better, axis=1)
        rivals = leads[:, first] & leads[:, second]
        given_up |= rivals & both & (_chance(t, (size, freedom), parts[-1], better, until) < FUTILE)
        open_ = rivals & ~given_up
        active = np.zeros((races, entries), dtype=np.bool_)
        for pair, (a, b) in enumerate(zip(first, second, strict=True)):
            active[:, a] |= open_[:, pair]
            active[:, b] |= open_[:, pair]
    return seeds, better


def _chance(t: Floats, seen: tuple[int, float], share: float, better: Mask, until: Until) -> Floats:
    (size, freedom), entries = seen, better.shape[1]
    first, second = np.triu_indices(entries, 1)
    known = (better | better.transpose(0, 2, 1)).astype(np.int64)
    count = known.sum(axis=2)
    either = count[:, :, None] + count[:, None, :] - known @ known
    level = until.alpha / _factors(either[:, first, second], count)
    bound = -stdtrit(until.most - 1, level * share / 2) * np.sqrt(size / until.most)
    spread = np.sqrt((until.most - size) / until.most)
    found: Floats = stdtr(freedom, (np.abs(t) - bound) / spread) + stdtr(freedom, (-np.abs(t) - bound) / spread)
    return found
