"""The ranking of a race: which entries are better than others, and which can't be distinguished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import comb

import numpy as np
from numpy.typing import NDArray

from velodrome.metrics.catalogue import LARGEST, Direction, Scale
from velodrome.stats.comparison import PairComparison, PairTests, compare_rows
from velodrome.stats.correction import adjusted, factors_beside
from velodrome.stats.detectable import detectable
from velodrome.stats.intervals import Interval, mean_interval
from velodrome.stats.samples import Floats, Integers, Sample, tabulate, takes_logs
from velodrome.stats.stopping import StoppedTests, Stopping, over_looks


@dataclass(frozen=True, slots=True)
class RankedEntry:
    """An entry's place in a race: some rank from `rank` to `worst_rank`.

    `rank` is 1 + the number of entries that are significantly better. `worst_rank` is the number of ranked entries less
    those that are significantly worse. `indistinguishable_from` names the entries that are neither, in the order of the
    ranking.

    `detectable` belongs to an entry that can't be told apart from the next one: a true difference of this size between
    the two would be found in four of five such races. It is in the metric's unit, or with logarithms a share of the
    smaller mean. None for others, where equal values have no spread, and where no factor would be found.
    """

    name: str
    rank: int
    worst_rank: int
    interval: Interval
    indistinguishable_from: tuple[str, ...]
    detectable: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """Every pair of a race, with p-values corrected for all pairs. A record is made only on demand.

    Iterating gives the pairs in order of the names, the earlier name as `a`.
    """

    names: tuple[str, ...]
    confidence: float
    _rows: Mapping[str, int] = field(repr=False)
    _tests: PairTests = field(repr=False)
    _adjusted: Floats = field(repr=False)

    def __len__(self) -> int:
        return comb(len(self.names), 2)

    def __iter__(self) -> Iterator[PairComparison]:
        return (self.between(a, b) for row, a in enumerate(self.names) for b in self.names[row + 1 :])

    def between(self, a: str, b: str, *, corrected: bool = False) -> PairComparison:
        """`a` against `b`, the difference being a minus b.

        With `corrected`, its bounds are at the level that the correction for all pairs leaves to this pair. So they
        exclude 0 exactly if the corrected p-value is below alpha.

        Raises:
            ValueError: one of them is not in the race, or they are the same.
        """
        for name in (a, b):
            if name not in self._rows:
                raise ValueError(f"entry {name!r} took no part in this race")
        if a == b:
            raise ValueError(f"entry {a!r} can't be compared with itself")
        first, second = sorted((self._rows[a], self._rows[b]))
        pair = first * len(self.names) - comb(first + 2, 2) + second
        confidence = self._level(pair) if corrected else self.confidence
        comparison = self._tests.comparison(
            pair, (self.names[first], self.names[second]), float(self._adjusted[pair]), confidence
        )
        return comparison if comparison.a == a else comparison.reversed()

    def _level(self, pair: int) -> float:
        p_value, adjusted = float(self._tests.p_value[pair]), float(self._adjusted[pair])
        share = float(self._tests.share[pair]) if isinstance(self._tests, StoppedTests) else 1.0
        ratio = p_value / adjusted if adjusted > 0 else 1.0
        return 1 - (1 - self.confidence) * share * ratio


@dataclass(frozen=True, slots=True)
class Ranking:
    """A race, best first: by mean, then by name. The entry with the best mean always has rank 1.

    `alone` names the entries with a single value, which have no rank. `logs` says that the values were compared by
    their logarithms, and that means are geometric. Rankings are equal where all but the comparisons are.
    """

    direction: Direction
    alpha: float
    logs: bool
    entries: tuple[RankedEntry, ...]
    alone: tuple[str, ...]
    comparisons: Comparisons = field(compare=False)


def rank(
    samples: Sequence[Sample],
    direction: Direction,
    alpha: float = 0.05,
    *,
    deterministic: bool = False,
    scale: Scale = "interval",
    limits: tuple[float, float] = (-LARGEST, LARGEST),
    stopping: Mapping[str, Stopping] | None = None,
) -> Ranking:
    """Rank the entries of one race by the means of their samples.

    Every pair is tested as `compare` does, with the steps of the metric taken from the whole race; `deterministic`,
    `scale` and `limits` come from the catalogue. On a ratio scale, one value of 0 makes all values of the race be
    compared as they are. `correction` corrects the p-values for the whole family. An entry is significantly
    better than another if their adjusted p-value is at most `alpha` and both its mean and the pair's difference are on
    the good side. (With unequal seeds these two could disagree; then neither is better.) So in at most a share `alpha`
    of races, any two equal entries are called different, however many entries there are and whichever others differ.

    `stopping` says, by name, which entries stopped at a look of their race. Tests and intervals that they are part of
    spend the share of `alpha` of that look, and so stay valid (`velodrome.stats.stopping`).

    A single value shows no spread, so its entry takes no part, except by a deterministic metric. Each interval has the
    confidence 1 - `alpha` by itself. The result doesn't depend on the order of `samples` or of their seeds.
    docs/decisions/0002-ranks-and-significance.md says what the procedure assumes and can detect, and
    docs/decisions/0042-scales-ranges-and-fronts.md why values of a ratio scale are compared by logarithms.

    Takes O(entries² · seeds); no entries give an empty ranking.

    Raises:
        ValueError: two samples have one name, the direction is unknown, or `alpha` is not between 0 and 1.
    """
    race = _Race(samples, direction, alpha, deterministic=deterministic, scale=scale, limits=limits, stopping=stopping)
    rows = {name: row for row, name in enumerate(race.names)}
    comparisons = Comparisons(race.names, 1 - alpha, rows, race.tests, race.adjusted)
    return Ranking(direction, alpha, race.logs, _entries(race), race.alone, comparisons)


def superiority(
    samples: Sequence[Sample],
    direction: Direction,
    alphas: Sequence[float],
    *,
    deterministic: bool = False,
    scale: Scale = "interval",
    stopping: Mapping[str, Stopping] | None = None,
) -> tuple[NDArray[np.bool_], ...]:
    """For each of `alphas`, the matrix whose element [i, j] says that sample i is significantly better than sample j.

    It says what `rank` at this alpha says. Raises as `rank`.
    """
    race = _Race(samples, direction, max(alphas), deterministic=deterministic, scale=scale, stopping=stopping)
    matrices = []
    row = {name: place for place, name in enumerate(race.names)}
    known = [place for place, sample in enumerate(samples) if sample.name in row]
    order = [row[samples[place].name] for place in known]
    for alpha in alphas:
        found = np.zeros((len(samples), len(samples)), dtype=np.bool_)
        found[np.ix_(known, known)] = race.better(alpha)[np.ix_(order, order)]
        matrices.append(found)
    return tuple(matrices)


# The logarithm of a factor that is larger than any metric's range: two noisy trials of many entries would see no less.
_ENDLESS = np.log(LARGEST)


class _Race:
    """The tests of all pairs of a race. Its samples are those that can be ranked, in the order of their names."""

    def __init__(
        self,
        samples: Sequence[Sample],
        direction: Direction,
        alpha: float,
        *,
        deterministic: bool,
        scale: Scale,
        limits: tuple[float, float] = (-LARGEST, LARGEST),
        stopping: Mapping[str, Stopping] | None = None,
    ) -> None:
        _check(samples, direction, alpha)
        ordered = sorted(samples, key=lambda sample: sample.name)
        self.samples = [sample for sample in ordered if deterministic or len(sample.values) > 1]
        self.names = tuple(sample.name for sample in self.samples)
        self.alone = tuple(sample.name for sample in ordered if not deterministic and len(sample.values) == 1)
        self.alpha = alpha
        self.logs = takes_logs(self.samples, scale, deterministic=deterministic)
        self.first, self.second = np.triu_indices(len(self.samples), 1)
        tabulated = partial(tabulate, deterministic=deterministic, logs=self.logs)
        self.tests = compare_rows(tabulated(self.samples), self.first, self.second)
        stopped = {} if stopping is None or deterministic else stopping
        own = [stopped[name].share if name in stopped else 1.0 for name in self.names]
        self.shares = np.ones(len(self.first))
        if stopped:
            found = over_looks(self.tests, self.samples, stopped, tabulated)
            self.tests, self.shares = found, found.share
        self.adjusted = adjusted(self.tests.p_value, len(self.samples))
        self.intervals = [
            mean_interval(list(sample.values.values()), 1 - alpha * share, logs=self.logs, limits=limits)
            for sample, share in zip(self.samples, own, strict=True)
        ]
        sign = 1.0 if direction == "higher" else -1.0
        self.goodness = sign * np.array([interval.mean for interval in self.intervals])
        self.lead = sign * self.tests.difference

    def better(self, alpha: float) -> NDArray[np.bool_]:
        """Element [i, j]: row i is significantly better than row j, at `alpha` and by the visible means too."""
        better = np.zeros((len(self.samples), len(self.samples)), dtype=np.bool_)
        different = self.adjusted <= alpha
        gap = self.goodness[self.first] - self.goodness[self.second]
        better[self.first, self.second] = different & (self.lead > 0) & (gap > 0)
        better[self.second, self.first] = different & (self.lead < 0) & (gap < 0)
        return better

    def detectable(self, one: Integers, other: Integers) -> Floats:
        """What the test of each pair of different rows would have found; NaN without spread or for endless factors."""
        first, second = np.minimum(one, other), np.maximum(one, other)
        pair = first * len(self.samples) - (first + 1) * (first + 2) // 2 + second
        different = np.zeros((len(self.samples), len(self.samples)), dtype=np.bool_)
        different[self.first, self.second] = different[self.second, self.first] = self.adjusted <= self.alpha
        levels = self.alpha / factors_beside(different)[pair] * self.shares[pair]
        error = self.tests.standard_error[pair]
        found = detectable(np.where(error > 0, error, np.nan), self.tests.freedom[pair], levels)
        return np.expm1(np.where(found < _ENDLESS, found, np.nan)) if self.logs else found


def _entries(race: _Race) -> tuple[RankedEntry, ...]:
    """The ranked entries, best first."""
    better = race.better(race.alpha)
    count = len(race.samples)
    order = np.lexsort((np.arange(count), -race.goodness))  # the rows are in the order of their names
    best, worst = 1 + better.sum(axis=0), count - better.sum(axis=1)
    alike = ~(better | better.T)
    np.fill_diagonal(alike, False)
    alike = alike[np.ix_(order, order)]
    ordered = np.array(race.names, dtype=object)[order]
    seen = [*race.detectable(order[:-1], order[1:]), np.nan][:count]
    tied = [*np.diagonal(alike, 1), False][:count]
    return tuple(
        RankedEntry(
            race.names[row],
            int(best[row]),
            int(worst[row]),
            race.intervals[row],
            tuple(ordered[near]),
            float(size) if tie and np.isfinite(size) else None,
        )
        for row, near, tie, size in zip(order, alike, tied, seen, strict=True)
    )


def _check(samples: Sequence[Sample], direction: Direction, alpha: float) -> None:
    if direction not in ("higher", "lower"):
        raise ValueError(f"direction: {direction!r} is neither 'higher' nor 'lower'")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: {alpha} is not between 0 and 1")
    doubled = [name for name, count in Counter(sample.name for sample in samples).items() if count > 1]
    if doubled:
        raise ValueError(f"entry {doubled[0]!r} is there more than once: merge its values into one sample")
