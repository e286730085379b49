"""Which entries of a race still need seeds? Races that go on until they are decided. Pure.

A race is *decided* for an objective when its leaders are settled: one entry is left that no other entry is
significantly better than, or no more seeds up to the most are likely to tell those that are left apart. `schedule`
replays all looks from the first one, from the values alone, so equal values give an equal answer, whoever asks and
however often. docs/decisions/0044-races-until-decided.md says why the error stays below α, and what the rule costs and
saves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from velodrome.metrics.catalogue import MetricKey
from velodrome.stats.amounts import difference_words
from velodrome.stats.comparison import compare_rows
from velodrome.stats.correction import adjusted, factors_beside
from velodrome.stats.detectable import detectable
from velodrome.stats.looks import Until, level, look_of, look_sizes, shares
from velodrome.stats.samples import Floats, Integers, Sample, tabulate, takes_logs
from velodrome.stats.stopping import gathered

__all__ = ["SeedSchedule", "Stopped", "Until", "Why", "level", "look_of", "look_sizes", "schedule", "shares"]

Why = Literal["Decided", "Beaten", "Futile", "MaxRepeats"]
Mask = NDArray[np.bool_]

# A pair is given up when the chance is smaller than this that the last look will tell it apart.
_FUTILE = 0.03
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Stopped:
    """An entry that gets no more seeds.

    - `look`: the number, from 1, of the look that stopped it. `repeats`: the seeds that it has in the end.
    - `why`: **Decided**: it leads alone, or it equals the other leaders for certain. **Beaten**: another entry is
      significantly better. **Futile**: it shares the lead, and more seeds are unlikely to change that. **MaxRepeats**:
      it shares the lead, and no seeds are left. With several objectives: the last of MaxRepeats, Futile, Decided and
      Beaten that holds for one of them, read from the left.
    - `text`: one plain sentence, which also says which difference would have been seen.
    """

    entry: str
    look: int
    repeats: int
    why: Why
    text: str


@dataclass(frozen=True, slots=True)
class SeedSchedule:
    """What a race needs now.

    - `looks`: how many looks there were.
    - `repeats`: how many seeds each entry is to have in all: the repeats 0 to `repeats` - 1. With more values it grows
      or stays.
    - `stopped`: the entries that get no more seeds, in the race's order. An entry goes on after all where the one that
      beat it fails later.
    - `finished`: no entry gets more seeds, and all values were there.
    """

    looks: int
    repeats: Mapping[str, int]
    stopped: tuple[Stopped, ...]
    finished: bool


def schedule(
    objectives: Mapping[MetricKey, Sequence[Sample]],
    until: Until,
    failed: Collection[str] = (),
    entries: Sequence[str] = (),
) -> SeedSchedule:
    """What the race needs, given all values that there are.

    - `objectives`: what is to be decided: for each metric key, the samples of the entries, each with its values by
      repeat (0, 1, 2 …; whatever the base seed). An entry without values has no sample.
    - `failed`: entries that lack a value and will never get it. They take part in the looks for which they have all
      values, hold up no other look, and are in no `stopped`. So give their samples too: an entry that fails at a late
      look changes no earlier one.
    - `entries`: the names of the race's entries, in its order; those that have a sample, where none are given.

    A look uses the repeats below its size and nothing else, so values that arrive early or that a person added change
    no decision. While a value of the current look is missing, the answer is the targets of that look.

    Raises:
        ValueError: there is no objective, an entry is there twice, or a sample is of no entry.
    """
    names = tuple(entries) or tuple(dict.fromkeys(one.name for samples in objectives.values() for one in samples))
    _check(names, objectives)
    sizes = look_sizes(until)
    evidence = [_Evidence(key, names, samples, until) for key, samples in objectives.items()]
    fails = np.array([name in set(failed) for name in names], dtype=np.bool_)
    active, gone = np.ones(len(names), dtype=np.bool_), np.zeros(len(names), dtype=np.bool_)
    reached, target = np.zeros(len(names), dtype=np.int64), np.full(len(names), sizes[0], dtype=np.int64)
    stopped: dict[int, Stopped] = {}
    look = 0
    while active.any():
        number = min(look + 1, len(sizes))
        size = sizes[number - 1]
        lacking = active & ~np.logical_and.reduce([one.complete(size) for one in evidence])
        gone |= lacking & fails
        if (lacking & ~fails).any():
            return _answer(look, names, target, stopped, finished=False)
        look = number
        active &= ~gone
        reached[active] = size
        for one in evidence:
            one.look(look, reached >= size, ~gone)
        going = np.logical_or.reduce([one.open for one in evidence])
        if look == len(sizes):
            going &= reached < size
        for row in np.flatnonzero(active & ~going):
            stopped[int(row)] = _stop(names[row], look, size, [one.finding(int(row), size) for one in evidence])
        for row in np.flatnonzero(going):
            stopped.pop(int(row), None)
        active = going
        target[active] = sizes[min(look, len(sizes) - 1)]
    return _answer(look, names, target, stopped, finished=True)


def _answer(
    looks: int, names: Sequence[str], target: Integers, stopped: Mapping[int, Stopped], *, finished: bool
) -> SeedSchedule:
    repeats = dict(zip(names, target.tolist(), strict=True))
    return SeedSchedule(looks, repeats, tuple(stopped[row] for row in sorted(stopped)), finished)


_ORDER: tuple[Why, ...] = ("MaxRepeats", "Futile", "Decided", "Beaten")


def _stop(entry: str, look: int, size: int, findings: Sequence[tuple[MetricKey, Why, str]]) -> Stopped:
    why = min((why for _, why, _ in findings), key=_ORDER.index)
    if len(findings) == 1:
        return Stopped(entry, look, size, why, f"{entry} {findings[0][2]}.")
    return Stopped(
        entry, look, size, why, f"{entry}: {'; '.join(f'{key.label}: {text}' for key, _, text in findings)}."
    )


class _Evidence:
    """What the looks so far say about one objective."""

    def __init__(self, key: MetricKey, names: Sequence[str], samples: Iterable[Sample], until: Until) -> None:
        self._key, self._names, self._until = key, names, until
        found = {sample.name: sample.values for sample in samples}
        self._values = [found.get(name, {}) for name in names]
        self._first, self._second = np.triu_indices(len(names), 1)
        pairs = len(self._first)
        self._number = np.zeros((len(names), len(names)), dtype=np.int64)
        self._number[self._first, self._second] = self._number[self._second, self._first] = np.arange(pairs)
        # Of each pair: its p-value over the looks so far, which side it favours, and what the last look measured.
        self._p_value, self._favours = np.ones(pairs), np.zeros(pairs)
        self._difference, self._error, self._freedom = np.zeros(pairs), np.zeros(pairs), np.ones(pairs)
        self._size, self._given_up = np.zeros(pairs, dtype=np.int64), np.zeros(pairs, dtype=np.bool_)
        self._level = np.ones(pairs)
        self._logs = False
        self._better = np.zeros((len(names), len(names)), dtype=np.bool_)
        self._leads = np.ones(len(names), dtype=np.bool_)
        self._undecided = np.zeros(pairs, dtype=np.bool_)

    def complete(self, size: int) -> Mask:
        """Which entries have all values below this size."""
        return np.array([all(repeat in values for repeat in range(size)) for values in self._values], dtype=np.bool_)

    def look(self, look: int, there: Mask, within: Mask) -> None:
        """Tests the pairs of the entries that are `there`, and decides on those of the entries `within` the race."""
        size = look_sizes(self._until)[look - 1]
        self._test(np.flatnonzero(there & within), size, shares(self._until)[look - 1])
        inside = within[self._first] & within[self._second]
        entries = int(within.sum())
        claimed = np.zeros(len(inside), dtype=np.bool_)
        claimed[inside] = adjusted(self._p_value[inside], entries) <= self._until.alpha
        self._better[:] = False
        self._better[self._first, self._second] = claimed & (self._favours > 0)
        self._better[self._second, self._first] = claimed & (self._favours < 0)
        self._leads = within & ~self._better.any(axis=0)
        rivals = inside & self._leads[self._first] & self._leads[self._second]
        different = self._better | self._better.T
        self._level[inside] = self._until.alpha / factors_beside(different[np.ix_(within, within)])
        if size < self._until.most:
            self._given_up |= rivals & (self._size > 0) & (self._chance(shares(self._until)[-1]) < _FUTILE)
        self._undecided = rivals & ~self._given_up

    @property
    def open(self) -> Mask:
        """Which entries are in a pair of leaders that more seeds may tell apart."""
        found = np.zeros(len(self._names), dtype=np.bool_)
        found[self._first[self._undecided]] = True
        found[self._second[self._undecided]] = True
        return found

    def finding(self, row: int, size: int) -> tuple[MetricKey, Why, str]:
        """Why an entry needs no more seeds for this objective, in words that follow its name."""
        better = np.flatnonzero(self._better[:, row])
        if len(better):
            return self._key, "Beaten", f"is beaten by {self._listed(better)} at {size} seeds"
        rivals = np.flatnonzero(self._leads & (np.arange(len(self._names)) != row))
        if not len(rivals):
            others = int(self._better[row].sum())
            return self._key, "Decided", f"leads alone after {size} seeds" if others else "has no rival"
        pairs = self._number[row, rivals]
        if not self._error[pairs].any():
            return self._key, "Decided", f"has the same value as {self._listed(rivals)} for certain"
        seen = self._seen(pairs)
        text = f"can't be told apart from {self._listed(rivals)} with {size} seeds: {seen} would have been seen"
        if self._undecided[pairs].any():
            return self._key, "MaxRepeats", f"{text}, and no more seeds are allowed"
        return self._key, "Futile", f"{text}, and up to {self._until.most} seeds are unlikely to tell them apart"

    def _test(self, rows: Integers, size: int, share: float) -> None:
        if len(rows) < 2:
            return
        samples = [
            Sample(self._names[row], {repeat: self._values[row][repeat] for repeat in range(size)}) for row in rows
        ]
        metric = self._key.metric
        self._logs = takes_logs(samples, metric.scale, deterministic=metric.deterministic)
        table = tabulate(samples, deterministic=metric.deterministic, logs=self._logs)
        first, second = np.triu_indices(len(rows), 1)
        tests = compare_rows(table, first, second)
        pairs = self._number[rows[first], rows[second]]
        sign = (1.0 if self._key.metric.direction == "higher" else -1.0) * np.sign(tests.difference)
        self._p_value[pairs] = gathered(self._p_value[pairs], self._favours[pairs], tests.p_value / share, sign)
        self._favours[pairs] = sign
        self._difference[pairs], self._error[pairs] = tests.difference, tests.standard_error
        self._freedom[pairs], self._size[pairs] = tests.freedom, size

    def _chance(self, share: float) -> Floats:
        """For each pair, how likely the last look, which has this share, claims a difference, given what was seen.

        The predictive distribution of the last mean, with flat priors of the difference and of the logarithm of its
        standard deviation, is Student's t around today's mean (Geisser 1993, "Predictive Inference").
        """
        most = self._until.most
        size = np.maximum(self._size, 2)
        ratio = np.divide(np.abs(self._difference), self._error, out=np.zeros_like(self._error), where=self._error > 0)
        bound = -stdtrit(most - 1, self._level * share / 2) * np.sqrt(size / most)
        spread = np.sqrt(np.maximum(most - size, 1e-9) / most)
        chance: Floats = stdtr(self._freedom, (ratio - bound) / spread) + stdtr(
            self._freedom, (-ratio - bound) / spread
        )
        return np.where(self._error > 0, chance, 0.0)

    def _seen(self, pairs: Integers) -> str:
        """The difference that would have been seen between an entry and each of its rivals, in words."""
        most = 0.0
        for pair in pairs[self._size[pairs] > 0]:
            size = int(self._size[pair])
            share = shares(self._until)[look_of(self._until, size) - 1]
            level_then = float(self._level[pair]) * share
            most = max(most, float(detectable(self._error[pair], self._freedom[pair], level_then)))
        return f"a difference of {difference_words(self._key.metric, most, logs=self._logs)}"

    def _listed(self, rows: Integers) -> str:
        names = [self._names[row] for row in rows]
        shown, rest = names[:_MOST_NAMED], len(names) - _MOST_NAMED
        tail = f"{rest} more" if rest > 0 else shown.pop()
        return f"{', '.join(shown)} and {tail}" if shown else tail


def _check(names: Sequence[str], objectives: Mapping[MetricKey, Sequence[Sample]]) -> None:
    if not objectives:
        raise ValueError("objectives: there are none, so nothing can be decided")
    if len(set(names)) < len(names):
        raise ValueError("entries: a name is there twice: give each entry a name of its own")
    for key, samples in objectives.items():
        strangers = {sample.name for sample in samples} - set(names)
        if strangers:
            raise ValueError(f"{key}: {min(strangers)!r} is no entry of this race")
