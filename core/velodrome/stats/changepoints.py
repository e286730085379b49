"""Finds where a history changed its level, in noise that is skewed, has two modes, or is autocorrelated. Pure.

Each of many stretches of the history is tested for one step (`velodrome.stats.steps`). The stretches are seeded
intervals (Kovács, Bühlmann, Li and Munk 2023): the whole history, and shorter and shorter stretches of it, each length
√2 times shorter than the one before, evenly spread with overlaps. So some stretch holds each step and no other one.
The narrowest stretch with a step goes first (Baranowski, Chen and Fryzlewicz 2019), and rules out all others that hold
its step. So memory is estimated beside one step alone, and a step that is taken back is no memory.

A strength counts if it passes a bound that was calibrated by simulation:
docs/decisions/0041-steps-are-found-in-many-stretches.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from velodrome.stats.samples import Floats, relative_change
from velodrome.stats.steps import both_scores, clip_far, likeliest_steps, strength_without_memory

# The bound is base + slope / sqrt(independent values). Stretches that are not the whole history must pass it by one
# more, because there are many of them. Clipped scores must pass it by more where values are few.
_BASE, _SLOPE = 3.8, 6.0
_MANY = 1.0
_FEW = 60.0
# A step must have the size of the standard deviation of the values beside it: people see no new level in a smaller one.
# A wild value counts for at most so many widths of the other values, so that one alone hides no step.
_LEAST_STEP = 1.0
_WIDTHS = 3.0
_SHORTEST = 12  # with fewer values, nothing is searched
_SHRINK = 2**0.5
_SIDE = 4  # independent values on each side of a step
_NEWEST = 3  # this many values show no level yet. They are not searched, so that no earlier value is blamed for them.
_PLACINGS = 3


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """The level changed between values `index` - 1 and `index`, from `before` to `after`: means up to the next change,
    and without the values that were not searched.

    `strength` is the size of the step in standard errors; `bound` is the limit that it passed. `span`: see `Change`.
    """

    index: int
    before: float
    after: float
    strength: float
    bound: float
    span: float | None = None

    @property
    def relative(self) -> float | None:
        """(after - before) / |before|, or / `span`; None if before is 0 and there is no span."""
        return relative_change(self.after - self.before, self.before, self.span)


@dataclass(frozen=True, slots=True)
class _Claim:
    """A step before value `index`, in the stretch from `start` up to and without `end`."""

    start: int
    end: int
    index: int
    strength: float
    bound: float


def change_points(
    values: Sequence[float], min_relative_change: float = 0.0, span: float | None = None
) -> tuple[ChangePoint, ...]:
    """The steps in one history, oldest first, without steps whose relative size is below the given limit.

    The newest three values have no say: nothing is found in them, and nothing is found, or left out, because of them.

    Raises:
        ValueError: a value is not finite.
    """
    return change_points_of([values], min_relative_change, span)[0]


def change_points_of(
    histories: Sequence[Sequence[float]], min_relative_change: float = 0.0, span: float | None = None
) -> list[tuple[ChangePoint, ...]]:
    """`change_points` of many histories, in their order. Many histories of the same length cost little more than one.

    Raises:
        ValueError: a value is not finite.
    """
    arrays = [np.asarray(history, dtype=np.float64) for history in histories]
    by_length: dict[int, list[int]] = {}
    for row, array in enumerate(arrays):
        if not np.isfinite(array).all():
            raise ValueError(f"histories[{row}]: holds a value that is not finite")
        by_length.setdefault(len(array) - _NEWEST, []).append(row)
    found: list[tuple[ChangePoint, ...]] = [() for _ in arrays]
    for length, rows in by_length.items():
        if length >= _SHORTEST:
            searched = np.stack([arrays[row][:length] for row in rows])
            for row, values, claims in zip(rows, searched, _claims(searched), strict=True):
                found[row] = _described(values, _narrowest_first(values, claims), min_relative_change, span)
    return found


def _seeded_intervals(length: int) -> Iterator[tuple[int, list[int]]]:
    """Lengths of stretches, and where those of each length start."""
    shrunk = 1.0
    while (size := int(np.ceil(length / shrunk))) >= _SHORTEST:
        last = 2 * int(np.ceil(shrunk)) - 2
        yield size, sorted({(length - size) * place // max(last, 1) for place in range(last + 1)})
        shrunk *= _SHRINK


def _claims(rows: Floats) -> list[list[_Claim]]:
    """For each row, the steps of all its stretches that pass their bounds."""
    found: list[list[_Claim]] = [[] for _ in rows]
    for size, starts in _seeded_intervals(rows.shape[1]):
        values = sliding_window_view(rows, size, axis=1)[:, starts].reshape(-1, size)
        many = 0.0 if size == rows.shape[1] else _MANY
        normal, clipped = both_scores(values)
        for scores, more in ((normal, many), (clipped, _MANY + _FEW / size)):
            # No bound is lower than that of independent values.
            worth = np.flatnonzero(strength_without_memory(scores, _SIDE) > _BASE + _SLOPE / size**0.5 + more)
            test = likeliest_steps(scores[worth], _SIDE)
            bounds = _BASE + _SLOPE / np.sqrt(test.independent) + more
            for place in np.flatnonzero(test.strength > bounds).tolist():
                row, which = divmod(int(worth[place]), len(starts))
                start, index = starts[which], int(test.index[place])
                strength, bound = float(test.strength[place]), float(bounds[place])
                found[row].append(_Claim(start, start + size, start + index, strength, bound))
    return found


def _narrowest_first(array: Floats, claims: list[_Claim]) -> dict[int, _Claim]:
    """The steps, by their places in the values: each claim whose stretch holds no step of a narrower one."""
    kept: dict[int, _Claim] = {}
    for claim in sorted(claims, key=lambda claim: (claim.end - claim.start, claim.bound - claim.strength)):
        if not any(claim.start < cut < claim.end for cut in kept):
            place = _placed(array[claim.start : claim.end], claim.index - claim.start)
            if place is not None:
                kept[claim.start + place] = claim
    return kept


def _placed(values: Floats, index: int) -> int | None:
    """The place of the step by the values themselves, clipped to the two levels. None if a side has too few values.

    The likeliest place is where the sum of the distances from the middle of the levels turns.
    """
    values = clip_far(values)
    for _ in range(_PLACINGS):
        before, after = float(values[:index].mean()), float(values[index:].mean())
        clipped = np.clip(values, min(before, after), max(before, after))
        sums = np.cumsum(clipped - (before + after) / 2)[:-1]
        index = 1 + int((sums if before > after else -sums).argmax())
    return index if min(index, len(values) - index) >= _SIDE else None


def _described(array: Floats, cuts: dict[int, _Claim], least: float, span: float | None) -> tuple[ChangePoint, ...]:
    """The steps with the levels on both sides. Drops the smallest step that is too small, until none is left; then its
    neighbours' levels grow.
    """
    kept = sorted(cuts)
    while kept:
        parts = np.split(array, kept)
        means, calm = [float(part.mean()) for part in parts], [clip_far(part, widths=_WIDTHS) for part in parts]
        points, small = [], []
        for place, cut in enumerate(kept):
            claim, left, right = cuts[cut], calm[place], calm[place + 1]
            point = ChangePoint(cut, means[place], means[place + 1], claim.strength, claim.bound, span)
            noise = float(np.average([left.var(), right.var()], weights=[len(left), len(right)])) ** 0.5
            size = abs(float(right.mean() - left.mean()))
            if size < _LEAST_STEP * noise or (point.relative is not None and abs(point.relative) < least):
                small.append((size / noise if noise else np.inf, cut))
            points.append(point)
        if not small:
            return tuple(points)
        kept.remove(min(small)[1])
    return ()
