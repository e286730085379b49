"""Tests that stay valid although looks at the values decided how many values there are. Pure.

An entry of a race until decided has as many seeds as the looks gave it, so its values are no plain sample: an unlucky
entry stops early. A test at look k, with its first n_k seeds, has the level α · w_k (`velodrome.stats.looks`). So
p / w_k is a p-value at whichever look the race stopped, for this metric and for any other one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from velodrome.stats.comparison import PairComparison, PairTests, compare_rows
from velodrome.stats.looks import Until, look_of, look_sizes, shares
from velodrome.stats.samples import Floats, Integers, Sample, Table


@dataclass(frozen=True, slots=True)
class Stopping:
    """How an entry came to its seeds.

    - `race`: which race, such as the job's uid. Entries of one race were looked at together.
    - `until`: the rule of that race. `base_seed`: the seed of its repeat 0.
    - `repeats`: the seeds that the race asked for. Values of further seeds, which a person added, count for no test
      within the race.
    """

    race: str
    until: Until
    base_seed: int
    repeats: int

    @property
    def look(self) -> int:
        """The entry's last look, from 1."""
        return max(1, look_of(self.until, self.repeats))

    @property
    def share(self) -> float:
        """The share of α that the entry's last look may spend: its interval has the confidence 1 - α · share."""
        return shares(self.until)[self.look - 1]

    def seeds(self, look: int) -> range:
        """The seeds of a look."""
        return range(self.base_seed, self.base_seed + look_sizes(self.until)[look - 1])


@dataclass(frozen=True, slots=True, eq=False)
class StoppedTests(PairTests):
    """Tests of pairs of which some stopped at a look. `share` is the share of α that the pair's interval may spend."""

    share: Floats

    def comparison(self, pair: int, names: tuple[str, str], adjusted: float, confidence: float) -> PairComparison:
        """The pair as a record. Its interval holds at the confidence for all looks together."""
        own = 1 - (1 - confidence) * float(self.share[pair])
        return PairTests.comparison(self, pair, names, adjusted, own)


def over_looks(
    tests: PairTests,
    samples: Sequence[Sample],
    stopping: Mapping[str, Stopping],
    tabulated: Callable[[Sequence[Sample]], Table],
) -> StoppedTests:
    """The `tests` of all pairs of the samples, valid whenever the entries in `stopping` (by name) stopped.

    - Two entries of one race are tested with the seeds of their common looks alone. The p-value is the smallest p / w_k
      since the looks agree on which one is better.
    - Any other pair is tested as before. Its p-value is divided by the shares of the last looks of its sides.

    `tabulated` makes the table that tests are made of.
    """
    count = len(samples)
    first, second = np.triu_indices(count, 1)
    number = np.zeros((count, count), dtype=np.int64)
    number[first, second] = np.arange(len(first))
    own = np.array([stopping[one.name].share if one.name in stopping else 1.0 for one in samples])
    share = own[first] * own[second]
    found = {field.name: getattr(tests, field.name) for field in fields(PairTests)}
    found |= {name: value.copy() for name, value in found.items() if isinstance(value, np.ndarray)}
    made = StoppedTests(**found, share=share)
    made.p_value[:] = np.minimum(1.0, made.p_value / share)
    races: dict[str, list[int]] = {}
    for row, one in enumerate(samples):
        if one.name in stopping:
            races.setdefault(stopping[one.name].race, []).append(row)
    for rows in races.values():
        _over_looks_of_a_race(made, samples, np.array(rows), stopping, number, tabulated)
    return made


def _over_looks_of_a_race(
    tests: StoppedTests,
    samples: Sequence[Sample],
    rows: Integers,
    stopping: Mapping[str, Stopping],
    number: Integers,
    tabulated: Callable[[Sequence[Sample]], Table],
) -> None:
    a, b = np.triu_indices(len(rows), 1)
    within = number[rows[a], rows[b]]
    tests.p_value[within] = np.where(np.isnan(tests.p_value[within]), np.nan, 1.0)
    favours = np.zeros(len(tests.p_value))
    for index, share in enumerate(shares(stopping[samples[rows[0]].name].until)):
        part = [row for row in rows.tolist() if _took_part(samples[row], stopping[samples[row].name], index + 1)]
        if len(part) < 2:
            continue
        seeds = stopping[samples[part[0]].name].seeds(index + 1)
        now = [Sample(samples[row].name, {seed: samples[row].values[seed] for seed in seeds}) for row in part]
        one, other = np.triu_indices(len(part), 1)
        found = compare_rows(tabulated(now), one, other)
        pairs = number[np.array(part)[one], np.array(part)[other]]
        sign = np.sign(found.difference)
        tests.p_value[pairs] = gathered(tests.p_value[pairs], favours[pairs], found.p_value / share, sign)
        favours[pairs] = sign
        tests.share[pairs] = share
        for name in ("difference", "standard_error", "freedom", "n", "paired"):
            getattr(tests, name)[pairs] = getattr(found, name)


def _took_part(sample: Sample, stopping: Stopping, look: int) -> bool:
    return look <= stopping.look and all(seed in sample.values for seed in stopping.seeds(look))


def gathered(before: Floats, favoured: Floats, p_value: Floats, favours: Floats) -> Floats:
    """The p-values of pairs after one more look: the smallest since the looks agree on which side is better.

    `before` and `favoured` (the sign of the difference, 0 before the first look) are those until the look before;
    `p_value` (already divided by the look's share) and `favours` are those of this look. Dropping what was seen before
    the sides changed places makes the result larger, so it stays a p-value.
    """
    agree: NDArray[np.bool_] = (favours == favoured) & (favours != 0)
    found: Floats = np.minimum(1.0, np.where(agree, np.minimum(before, p_value), p_value))
    return found
