"""The ranking of a race: which entries are better than others, and which can't be distinguished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb

import numpy as np
from numpy.typing import NDArray

from velodrome.metrics.catalogue import Direction
from velodrome.stats.comparison import PairComparison, PairTests, compare_rows
from velodrome.stats.correction import shaffer
from velodrome.stats.intervals import Interval, mean_interval
from velodrome.stats.samples import Floats, Sample, tabulate


@dataclass(frozen=True, slots=True)
class RankedEntry:
    """An entry's place in a race.

    `rank` is 1 + the number of entries that are significantly better. `shares_rank_with` names the entries of the same
    rank. `indistinguishable_from` names the entries that are neither significantly better nor significantly worse. Both
    are in the order of the ranking. The two can differ, because being indistinguishable is not transitive.
    """

    name: str
    rank: int
    interval: Interval
    shares_rank_with: tuple[str, ...]
    indistinguishable_from: tuple[str, ...]


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

    def between(self, a: str, b: str) -> PairComparison:
        """`a` against `b`, the difference being a minus b.

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
        comparison = self._tests.comparison(
            pair, (self.names[first], self.names[second]), float(self._adjusted[pair]), self.confidence
        )
        return comparison if comparison.a == a else comparison.reversed()


@dataclass(frozen=True, slots=True)
class Ranking:
    """A race, best first: by rank, then by mean, then by name. The entry with the best mean always has rank 1.

    Rankings are equal where direction, alpha and entries are.
    """

    direction: Direction
    alpha: float
    entries: tuple[RankedEntry, ...]
    comparisons: Comparisons = field(compare=False)


def rank(
    samples: Sequence[Sample], direction: Direction, alpha: float = 0.05, *, deterministic: bool = False
) -> Ranking:
    """Rank the entries of one race by the means of their samples.

    Every pair is tested as `compare` does, with the steps of the metric taken from the whole race and `deterministic`
    from the catalogue. Shaffer's procedure corrects the p-values for the whole family. An entry is significantly better
    than another if their adjusted p-value is at most `alpha` and both its mean and the pair's difference are on the
    good side. (With unequal seeds these two could disagree; then neither is better.) So in at most a share `alpha` of
    races, any two equal entries are called different, however many entries there are and whichever others differ.

    An entry with a single value is ranked, and is indistinguishable from all others. It does not make the correction
    stricter. Each interval has the confidence 1 - `alpha` by itself. The result doesn't depend on the order of
    `samples` or of their seeds. docs/decisions/0002-ranks-and-significance.md says what the procedure assumes and can
    detect.

    Takes O(entries² · seeds); no entries give an empty ranking.

    Raises:
        ValueError: two samples have one name, the direction is unknown, or `alpha` is not between 0 and 1.
    """
    _check(samples, direction, alpha)
    samples = sorted(samples, key=lambda sample: sample.name)
    table = tabulate(samples, deterministic=deterministic)
    first, second = np.triu_indices(len(samples), 1)
    tests = compare_rows(table, first, second)
    testable = ~np.isnan(tests.p_value)
    adjusted = np.full(len(first), np.nan)
    adjusted[testable] = shaffer(tests.p_value[testable], int((table.count > 1).sum()))

    intervals = [mean_interval(list(sample.values.values()), 1 - alpha) for sample in samples]
    sign = 1.0 if direction == "higher" else -1.0
    goodness = sign * np.array([interval.mean for interval in intervals])
    better = np.zeros((len(samples), len(samples)), dtype=np.bool_)
    better[first, second] = _better(adjusted <= alpha, sign * tests.difference, goodness[first] - goodness[second])
    better[second, first] = _better(adjusted <= alpha, -sign * tests.difference, goodness[second] - goodness[first])

    names = tuple(sample.name for sample in samples)
    rows = {name: row for row, name in enumerate(names)}
    comparisons = Comparisons(names, 1 - alpha, rows, tests, adjusted)
    return Ranking(direction, alpha, _entries(names, intervals, goodness, better), comparisons)


def _better(different: NDArray[np.bool_], difference: Floats, gap: Floats) -> NDArray[np.bool_]:
    """True for each pair that is different, and whose difference agrees with the visible gap of the means."""
    return different & (difference > 0) & (gap > 0)


def _entries(
    names: Sequence[str], intervals: Sequence[Interval], goodness: Floats, better: NDArray[np.bool_]
) -> tuple[RankedEntry, ...]:
    """The entries, best first; `better[i, j]` says that row i is significantly better than row j."""
    ranks = 1 + better.sum(axis=0)
    order = np.lexsort((np.arange(len(names)), -goodness, ranks))  # the rows are in the order of their names
    ordered = np.array(names, dtype=object)[order]
    alike = ~(better | better.T)
    np.fill_diagonal(alike, False)
    alike = alike[np.ix_(order, order)]
    same_rank = ranks[order][:, None] == ranks[order]
    np.fill_diagonal(same_rank, False)
    return tuple(
        RankedEntry(names[row], int(ranks[row]), intervals[row], tuple(ordered[same]), tuple(ordered[near]))
        for row, same, near in zip(order, same_rank, alike, strict=True)
    )


def _check(samples: Sequence[Sample], direction: Direction, alpha: float) -> None:
    if direction not in ("higher", "lower"):
        raise ValueError(f"direction: {direction!r} is neither 'higher' nor 'lower'")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: {alpha} is not between 0 and 1")
    doubled = [name for name, count in Counter(sample.name for sample in samples).items() if count > 1]
    if doubled:
        raise ValueError(f"entry {doubled[0]!r} is there more than once: merge its values into one sample")
