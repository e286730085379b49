"""Is one entry better than another, by what its trials did on each test sample? Three questions, and a test for each.

| question | what another experiment would draw again | test |
|---|---|---|
| `weights` | the test samples | McNemar's exact test; for several seeds, the same test of the mean over seeds |
| `recipe` | the seeds and the test samples | margins over seeds and over samples, added by their squares |
| `test_set` | the seeds | Student's t test over seeds, as rankings have it |

Samples that come in groups, such as several images of one patient, are drawn by whole groups. Why these tests, and how
often they err: docs/decisions/0046-which-samples-a-trial-got-right.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import bdtr, stdtr, stdtrit

from velodrome.stats.comparison import compare
from velodrome.stats.crossed import Cells, Spread, variance_of, welch_freedom
from velodrome.stats.samples import Floats, Integers, Sample

Question = Literal["weights", "recipe", "test_set"]

# Up to so many samples (or groups) that differ, and so many possible sums, the distribution of the exact test is
# computed. With more of them, Student's t test has the same p-value.
_MOST_DIFFERING = 2000
_MOST_SUMS = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class EntryScores:
    """One entry's score on each test sample, by the seed of its trials: arrays of one length, the samples in one order.

    Raises:
        ValueError: there is no seed or no sample, the lengths differ, or a score is not finite.
    """

    name: str
    by_seed: Mapping[int, Floats]

    def __post_init__(self) -> None:
        if not self.by_seed:
            raise ValueError(f"entry {self.name!r} has no scores")
        sizes = {len(scores) for scores in self.by_seed.values()}
        if len(sizes) > 1 or 0 in sizes:
            raise ValueError(f"entry {self.name!r} needs a score for each sample, as many for each seed")
        for seed, scores in self.by_seed.items():
            if not np.isfinite(scores).all():
                raise ValueError(f"entry {self.name!r}, seed {seed}: a score is not finite")

    @property
    def means(self) -> dict[int, float]:
        """The mean score of each seed."""
        return {seed: float(np.mean(scores)) for seed, scores in self.by_seed.items()}

    def of(self, seeds: tuple[int, ...]) -> Floats:
        """The scores at those seeds, (seeds, samples)."""
        return np.stack([self.by_seed[seed] for seed in seeds]).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the scores say about one question: the difference of the means (a minus b), with its interval.

    `p_value` is two-sided: how often chance makes a difference at least as large, if there is none. If the scores don't
    answer the question, `low`, `high` and `p_value` are None, and `why_not` says why.
    """

    question: Question
    difference: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class PairedAnswers:
    """The answers to the three questions, and what they stand on.

    `paired` says that both sides have the same seeds. If not, all seeds of each side are used. `groups` is the number
    of groups of samples; None if each sample stands for itself.
    """

    weights: Answer
    recipe: Answer
    test_set: Answer
    seeds_a: tuple[int, ...]
    seeds_b: tuple[int, ...]
    samples: int
    groups: int | None
    paired: bool


def compare_samples(
    a: EntryScores, b: EntryScores, groups: Integers | None = None, confidence: float = 0.95, *, binary: bool
) -> PairedAnswers:
    """The answers to the three questions about `a` and `b`, which were tested on the same samples in the same order.

    `groups` has a number for the group of each sample. `binary` scores are 1 for right and 0 for wrong.

    Seeds are paired where rankings pair them (`velodrome.stats.compare`).

    Raises:
        ValueError: the numbers of samples or of groups differ, or `confidence` is not between 0 and 1.
    """
    over_seeds = compare(Sample("a", a.means), Sample("b", b.means), confidence)
    paired = over_seeds.method == "paired"
    common = tuple(sorted(a.by_seed.keys() & b.by_seed.keys()))
    seeds_a, seeds_b = (common, common) if paired else (tuple(sorted(a.by_seed)), tuple(sorted(b.by_seed)))
    of_a, of_b = a.of(seeds_a), b.of(seeds_b)
    samples = of_a.shape[1]
    if of_b.shape[1] != samples:
        raise ValueError(f"{a.name!r} has scores of {samples} samples, and {b.name!r} of {of_b.shape[1]}")
    if groups is not None and len(groups) != samples:
        raise ValueError(f"groups: there are {len(groups)}, and {samples} samples")
    of_group = np.arange(samples) if groups is None else np.unique(groups, return_inverse=True)[1]
    test_set = Answer("test_set", over_seeds.difference, over_seeds.low, over_seeds.high, over_seeds.p_value)
    if over_seeds.p_value is None:
        test_set = Answer("test_set", over_seeds.difference, why_not=_FEW_SEEDS)
    return PairedAnswers(
        _weights(of_a, of_b, of_group, confidence, binary=binary),
        _recipe(of_a, of_b, of_group, confidence, paired=paired, binary=binary),
        test_set,
        seeds_a,
        seeds_b,
        samples,
        None if groups is None else int(of_group.max()) + 1,
        paired,
    )


_FEW_SEEDS = "each side needs two seeds or more"
_ONE_GROUP = "all samples are of one group, so nothing is known of another"
_ONE_SAMPLE = "there is one sample, so nothing is known of another"
_CONSTANT = "every sample differs by the same amount, so nothing is known of their spread"


def _too_few(of_group: Integers) -> str:
    if len(of_group) == 1:
        return _ONE_SAMPLE
    return _ONE_GROUP if of_group.max() == 0 else ""


def _weights(of_a: Floats, of_b: Floats, of_group: Integers, confidence: float, *, binary: bool) -> Answer:
    """The trained weights as they are, on other samples.

    Bonett and Price's interval adds two samples, one that only a has right and one that only b has. Where the exact
    test and the interval disagree about 0, the interval ends there.
    """
    difference = float(of_a.mean() - of_b.mean())
    if why := _too_few(of_group):
        return Answer("weights", difference, why_not=why)
    middle, parts = _over_samples(*(_adjusted(of_a, of_b, of_group) if binary else (of_a, of_b, of_group)))
    error, freedom = math.sqrt(variance_of(parts)), len(parts) - 1.0
    if error == 0.0:
        return _without_spread("weights", difference)
    low, high = _around(middle, float(stdtrit(freedom, (1 + confidence) / 2)) * error, binary=binary)
    p_value = _exact(of_a, of_b, of_group) if binary else None
    if p_value is None:
        p_value = _students(of_a, of_b, of_group)
    if p_value > 1 - confidence:
        low, high = min(low, 0.0), max(high, 0.0)
    elif difference > 0:
        low = max(low, 0.0)
    else:
        high = min(high, 0.0)
    return Answer("weights", difference, low, high, p_value)


def _recipe(of_a: Floats, of_b: Floats, of_group: Integers, confidence: float, *, paired: bool, binary: bool) -> Answer:
    """The recipes, with other seeds and on other samples.

    Variances of crossed random effects as in Searle, Casella and McCulloch (1992), "Variance components".
    """
    difference = float(of_a.mean() - of_b.mean())
    if min(len(of_a), len(of_b)) < 2:
        return Answer("recipe", difference, why_not=_FEW_SEEDS)
    if why := _too_few(of_group):
        return Answer("recipe", difference, why_not=why)
    middle, parts = _over_samples(of_a, of_b, of_group)
    cells = [Cells.of(scores, of_group) for scores in ([of_a - of_b] if paired else [of_a, of_b])]
    spread = Spread(
        seeds=sum(one.seeds for one in cells),
        of_seeds=welch_freedom([(one.seeds, len(one.parts) - 1) for one in cells]),
        samples=variance_of(parts),
        of_samples=len(parts) - 1.0,
        both=sum(one.both for one in cells),
    )
    margin = spread.margin(1 - confidence)
    if margin == 0.0:
        return _without_spread("recipe", difference)
    return Answer("recipe", difference, *_around(middle, margin, binary=binary), spread.p_value(abs(middle)))


def _without_spread(question: Question, difference: float) -> Answer:
    if difference == 0.0:
        return Answer(question, 0.0, 0.0, 0.0, 1.0)
    return Answer(question, difference, why_not=_CONSTANT)


def _around(middle: float, margin: float, *, binary: bool) -> tuple[float, float]:
    low, high = middle - margin, middle + margin
    return (max(low, -1.0), min(high, 1.0)) if binary else (low, high)


def _adjusted(of_a: Floats, of_b: Floats, of_group: Integers) -> tuple[Floats, Floats, Integers]:
    """The scores with two more samples: one that only a has right, and one that only b has.

    Without them, few samples that differ would look as if no other sample could. Source: Bonett and Price (2012),
    "Adjusted Wald confidence interval for a difference of binomial proportions based on paired data", Journal of
    Educational and Behavioral Statistics 37(4).
    """
    only_a = np.broadcast_to([1.0, 0.0], (len(of_a), 2))
    only_b = np.broadcast_to([0.0, 1.0], (len(of_b), 2))
    most = int(of_group.max())
    return np.hstack([of_a, only_a]), np.hstack([of_b, only_b]), np.append(of_group, [most + 1, most + 2])


def _over_samples(of_a: Floats, of_b: Floats, of_group: Integers) -> tuple[float, Floats]:
    """The mean difference, and how far each group is from it, as parts of the mean."""
    differences = of_a.mean(axis=0) - of_b.mean(axis=0)
    middle = float(differences.mean())
    return middle, np.bincount(of_group, weights=differences - middle) / len(differences)


def _students(of_a: Floats, of_b: Floats, of_group: Integers) -> float:
    """The two-sided p-value of Student's paired t test over samples (or groups)."""
    middle, parts = _over_samples(of_a, of_b, of_group)
    return float(2 * stdtr(len(parts) - 1.0, -abs(middle) / math.sqrt(variance_of(parts))))


def _exact(of_a: Floats, of_b: Floats, of_group: Integers) -> float | None:
    """The two-sided p-value, if each sample (or group) was as likely to favour the other side by as much.

    For one seed each and no groups this is McNemar's exact test: a binomial one of the samples that only one side has
    right. None if there are too many sums.

    Source: McNemar (1947), "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12(2); Fisher's randomisation of signs.
    """
    whole = math.lcm(len(of_a), len(of_b))
    each = of_a.sum(axis=0) * (whole // len(of_a)) - of_b.sum(axis=0) * (whole // len(of_b))
    sums = np.rint(np.bincount(of_group, weights=each)).astype(np.int64)
    sizes = np.abs(sums[sums != 0])
    seen = abs(int(sums.sum()))
    if len(sizes) == 0:
        return 1.0
    if (sizes == sizes[0]).all():
        fewer = (len(sizes) - seen // int(sizes[0])) // 2
        return min(1.0, 2 * float(bdtr(fewer, len(sizes), 0.5)))
    total = int(sizes.sum())
    if len(sizes) > _MOST_DIFFERING or total > _MOST_SUMS:
        return None
    chances = np.zeros(total + 1)  # of each sum of those that favour a
    chances[0], reached = 1.0, 0
    for size in sizes:
        half = chances[: reached + 1] / 2
        chances[: reached + 1] = half
        chances[size : reached + size + 1] += half
        reached += int(size)
    return min(1.0, 2 * float(chances[: (total - seen) // 2 + 1].sum()))
