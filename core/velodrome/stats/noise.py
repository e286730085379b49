"""How much do results differ although nothing changed? The noise floor, from entries that were measured twice. Pure.

Twins are two sets of values of the same entry: under two names in one job, or in two jobs. What differs between them is
chance (an A/A comparison). The estimates are medians, so a slow trial or a real change among them moves them little.
docs/decisions/0047-noise-floors-and-profiles.md has the reasons and the figures of simulations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from scipy.special import betaincinv, gammaincinv, nctdtrinc, ndtri, stdtrit

from velodrome.stats.comparison import compare_rows
from velodrome.stats.detectable import POWER
from velodrome.stats.samples import Floats, Integers, Sample, tabulate

# relative: values are compared by their logarithms, and a difference of 0.01 is about 1 %. points: as they are.
Scale = Literal["relative", "points"]

# A 95 % interval of a median needs this many independent values: the chance that all lie on one side is 2 / 2⁶ = 3 %.
FEWEST = 6
# The spread over seeds is told from this many degrees of freedom on.
FEWEST_FREEDOM = 8

_CHUNK = 128  # twins: comparing makes a table of all rows by all rows


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval. The ends are None if fewer than `FEWEST` independent values tell them."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `of`, with the 95 % interval of the share from which they come."""

    hits: int
    of: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Twins:
    """Two sets of values of one entry, `thing`. Twins of one `occasion` (a job, or a pair of jobs) share its noise."""

    first: Sample
    second: Sample
    thing: str
    occasion: str


@dataclass(frozen=True, slots=True)
class TwinDifference:
    """Second twin minus first twin, on the scale. `p_value` is that of the test of entries for this pair alone.

    `same` says that every seed that both have gave the same value again.
    """

    value: float
    p_value: float
    same: bool


@dataclass(frozen=True, slots=True)
class Differences:
    """A/A comparisons, in the order of the twins.

    `typical` is the median size of a difference. `called` counts those that the test called different at its level.
    All but `each` are None if there are none.
    """

    each: tuple[TwinDifference, ...]
    typical: Estimate | None
    called: Share | None

    @property
    def same(self) -> int:
        """How many gave exactly the same values again."""
        return sum(one.same for one in self.each)


def scaled(sample: Sample, scale: Scale) -> Sample:
    """The sample on the scale.

    Raises:
        ValueError: the scale is relative, and a value is not positive.
    """
    if scale == "points":
        return sample
    if min(sample.values.values()) <= 0:
        raise ValueError(f"entry {sample.name!r} has a value that is not positive, so no change is relative to it")
    return Sample(sample.name, {seed: math.log(value) for seed, value in sample.values.items()})


def differences(twins: Sequence[Twins], scale: Scale, alpha: float) -> Differences:
    """Each A/A comparison, and what they say together. The test is that of entries, on the scale.

    Raises:
        ValueError: as `scaled` does.
    """
    if not twins:
        return Differences((), None, None)
    tests = _tests(twins, scale)
    values, p_values = tests.difference.tolist(), tests.p_value.tolist()
    found = tuple(
        TwinDifference(value, p_value, _same(pair))
        for value, p_value, pair in zip(values, p_values, twins, strict=True)
    )
    occasions = [pair.occasion for pair in twins]
    typical = median([abs(value) for value in values], occasions)
    return Differences(found, typical, share([p_value <= alpha for p_value in p_values], occasions))


def _same(pair: Twins) -> bool:
    common = pair.first.values.keys() & pair.second.values.keys()
    return bool(common) and all(pair.first.values[seed] == pair.second.values[seed] for seed in common)


@dataclass(frozen=True, slots=True, eq=False)
class _Tests:
    """The tests of several twins, one element of each array for each of them, as in `PairTests`."""

    difference: Floats
    standard_error: Floats
    freedom: Floats
    p_value: Floats
    n: Integers


def _tests(twins: Sequence[Twins], scale: Scale) -> _Tests:
    """The tests of all twins on the scale, with the steps of the metric taken from all of their values."""
    samples = [(scaled(pair.second, scale), scaled(pair.first, scale)) for pair in twins]
    step = _step([value for pair in samples for sample in pair for value in sample.values.values()])
    found = []
    for start in range(0, len(samples), _CHUNK):
        part = samples[start : start + _CHUNK]
        sides = np.arange(len(part))
        table = tabulate([*(second for second, _ in part), *(first for _, first in part)])
        found.append(compare_rows(replace(table, resolution=step), sides, sides + len(part)))
    return _Tests(*(np.concatenate([getattr(one, each.name) for one in found]) for each in fields(_Tests)))


def _step(values: Sequence[float]) -> float:
    """The smallest step between two different values; 0 if all are equal."""
    return tabulate([Sample("all", dict(enumerate(sorted(set(values)))))]).resolution


def over_seeds(samples: Sequence[Sample], scale: Scale) -> Estimate | None:
    """The standard deviation between the seeds of a job, of the typical entry. Give a sample for each entry and job.

    It is the root of the median of the samples' variances, each divided by what its median would be at a variance of 1
    (chi-square, n - 1 degrees of freedom). Samples that repeat the values of one of the same name count once. A sample
    without spread counts as tests count it: with the smallest variance that the steps of the metric allow, step² / n.
    None if there are too few values.

    Raises:
        ValueError: as `scaled` does.
    """
    distinct = {(one.name, *sorted(one.values.items())): one for one in samples if len(one.values) > 1}
    rows = [np.array([*scaled(one, scale).values.values()]) for one in distinct.values()]
    freedom = np.array([len(row) - 1 for row in rows])
    if freedom.sum() < FEWEST_FREEDOM:
        return None
    step = _step(np.concatenate(rows).tolist())
    variance = np.array([row.var(ddof=1) if np.ptp(row) > 0 else step**2 / len(row) for row in rows])
    return _root(median((variance / _chi_square_median(freedom)).tolist()))


def between_jobs(twins: Sequence[Twins], scale: Scale) -> Estimate | None:
    """The standard deviation that jobs add to what their seeds explain.

    Twins of two jobs differ by d, with the squared standard error e² that the spread at common seeds predicts, pooled
    over the twins of one entry. Then d² / (2 · b² + e²) is about chi-square, for the variance b² between jobs. So each
    difference says b² = (d² / m - e²) / 2, where m is the median of Student's t², and the median of these counts. It is
    a robust form of Paule and Mandel's estimate. None for fewer than `FEWEST` independent differences.

    Source: Paule and Mandel (1982), "Consensus values and weighting factors", Journal of Research of the NBS 87(5).

    Raises:
        ValueError: as `scaled` does.
    """
    if not twins:
        return None
    tests = _tests(twins, scale)
    things = np.unique([pair.thing for pair in twins], return_inverse=True)[1]
    freedom = np.bincount(things, tests.freedom)[things]
    squares = np.bincount(things, tests.freedom * tests.standard_error**2 * tests.n)[things] / freedom / tests.n
    said = ((tests.difference**2 / stdtrit(freedom, 0.75) ** 2 - squares) / 2).tolist()
    found = median(said, [pair.occasion for pair in twins])
    return None if found.low is None else _root(found)


def smallest_change(n: int, over_seeds: float, between_jobs: float, alpha: float) -> float | None:
    """The smallest difference on the scale that a comparison finds in 80 of 100 cases, with `n` seeds on each side.

    Both sides have the variance between_jobs² + over_seeds² / n. The test is Student's, with n - 1 degrees of freedom,
    at the level `alpha` for this comparison alone; its power follows from the noncentral t distribution. None for one
    seed, which shows no difference.
    """
    if n < 2:
        return None
    needed = nctdtrinc(n - 1, 1 - POWER, stdtrit(n - 1, 1 - alpha / 2))
    return float(needed) * math.sqrt(2 * (between_jobs**2 + over_seeds**2 / n))


def least_change(between_jobs: float, alpha: float) -> float:
    """What `smallest_change` comes near to as seeds are added: jobs differ, however many seeds they have."""
    return float(ndtri(1 - alpha / 2) + ndtri(POWER)) * math.sqrt(2) * between_jobs


def shown(difference: float, scale: Scale) -> float:
    """A difference on the scale as a share of the earlier value (relative), or in the metric's unit (points)."""
    return math.expm1(difference) if scale == "relative" else difference


def median(values: Sequence[float], occasions: Sequence[str] | None = None) -> Estimate:
    """The median, with an interval that assumes no distribution (Woodruff 1952, "Confidence intervals for medians and
    other position measures", Journal of the American Statistical Association 47). Values of one occasion may depend on
    each other. At least one value is needed.
    """
    ordered = np.sort(np.array(values))
    middle = float(np.median(ordered))
    below = [value < middle for value in values]
    independent = _independent(below, occasions)
    if independent < FEWEST - 1e-9:
        return Estimate(middle, None, None)
    low, high = _exact(independent / 2, independent)
    count = len(ordered)
    return Estimate(middle, float(ordered[int(count * low)]), float(ordered[math.ceil(count * high) - 1]))


def share(hits: Sequence[bool], occasions: Sequence[str] | None = None) -> Share:
    """How many are hits, with Clopper and Pearson's interval. Hits of one occasion may depend on each other: then the
    interval is that of as many independent ones as tell as much (Korn and Graubard 1998, "Confidence intervals for
    proportions with small expected number of positive counts estimated from survey data", Survey Methodology 24(2)).
    """
    independent = _independent(hits, occasions)
    low, high = _exact(sum(hits) / len(hits) * independent, independent)
    return Share(sum(hits), len(hits), low, high)


def _independent(hits: Sequence[bool], occasions: Sequence[str] | None) -> float:
    """How many independent ones tell as much about the share of hits.

    At most all of them. At least as many as if all of an occasion were equal (Kish 1965, "Survey sampling").
    """
    total = len(hits)
    groups: dict[str, list[bool]] = {}
    for hit, occasion in zip(hits, occasions or map(str, range(total)), strict=True):
        groups.setdefault(occasion, []).append(hit)
    sizes = np.array([len(group) for group in groups.values()], dtype=float)
    least = float(total**2 / (sizes**2).sum())
    rate = sum(hits) / total
    if len(groups) < 2 or len(groups) == total or not 0 < rate < 1:
        return least
    apart = np.array([sum(group) for group in groups.values()]) - rate * sizes
    variance = len(groups) / (len(groups) - 1) * float((apart**2).sum()) / total**2
    found = rate * (1 - rate) / variance if variance > 0 else float(total)
    few = float(stdtrit(total - 1, 0.975) / stdtrit(len(groups) - 1, 0.975)) ** 2
    return min(max(found * few, least), float(total))


def _exact(hits: float, of: float) -> tuple[float, float]:
    """Clopper and Pearson's interval; neither number has to be whole."""
    low = float(betaincinv(hits, of - hits + 1, 0.025)) if hits > 0 else 0.0
    return low, float(betaincinv(hits + 1, of - hits, 0.975)) if hits < of else 1.0


def _chi_square_median(freedom: Integers) -> Floats:
    """The median of a chi-square variable, divided by its degrees of freedom."""
    found: Floats = 2 * gammaincinv(freedom / 2, 0.5) / freedom
    return found


def _root(variance: Estimate) -> Estimate:
    ends = [None if end is None else math.sqrt(max(0.0, end)) for end in (variance.low, variance.high)]
    return Estimate(math.sqrt(max(0.0, variance.value)), ends[0], ends[1])
