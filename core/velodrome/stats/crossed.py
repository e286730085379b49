"""How far a mean over seeds and samples may be off, if both seeds and samples were drawn: crossed random effects."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from velodrome.stats.samples import Floats, Integers

_SMALLEST = 1e-15


class Cells(NamedTuple):
    """How far the scores of each seed and group are from the mean: (seeds, groups), as parts of that mean."""

    parts: Floats

    @classmethod
    def of(cls, scores: Floats, of_group: Integers) -> Cells:
        """The cells of scores (seeds, samples)."""
        apart = (scores - scores.mean()) / scores.size
        return cls(np.stack([np.bincount(of_group, weights=row) for row in apart]))

    @property
    def seeds(self) -> float:
        """The variance of the mean that seeds make; it includes that of seeds and samples together."""
        count = len(self.parts)
        return float(count / (count - 1) * (self.parts.sum(axis=1) ** 2).sum())

    @property
    def both(self) -> float:
        """The variance of the mean that is of seeds and samples together."""
        seeds, groups = self.parts.shape
        apart = self.parts - self.parts.mean(axis=1, keepdims=True) - self.parts.mean(axis=0)
        return float(seeds * groups / ((seeds - 1) * (groups - 1)) * (apart**2).sum())


class Spread(NamedTuple):
    """The variances of the mean that seeds, samples, and both together make, with degrees of freedom.

    The margin's square is the sum of the squares of two margins: that over seeds, and that over samples without what
    seeds and samples make together, which the first has too. It is never smaller than either margin alone. Source: Howe
    (1974), "Approximate confidence limits on the mean of X + Y where X and Y are two tabled independent random
    variables", Journal of the American Statistical Association 69(347).
    """

    seeds: float
    of_seeds: float
    samples: float
    of_samples: float
    both: float

    def margin(self, p_value: float) -> float:
        """How large a difference has this two-sided p-value."""
        of_seeds, of_samples = (
            float(stdtrit(freedom, p_value / 2)) ** 2 for freedom in (self.of_seeds, self.of_samples)
        )
        added = of_seeds * self.seeds + of_samples * max(self.samples - self.both, 0.0)
        return math.sqrt(max(added, of_samples * self.samples))

    def p_value(self, difference: float) -> float:
        """The p-value of a difference, between 1e-15 and 1, by bisection."""
        low, high = math.log(_SMALLEST), 0.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.margin(math.exp(middle)) > difference else (low, middle)
        return math.exp(high)


def welch_freedom(terms: list[tuple[float, int]]) -> float:
    """The degrees of freedom of a sum of variances, by Welch (1947)."""
    whole = sum(part for part, _ in terms)
    return whole**2 / sum(part**2 / count for part, count in terms) if whole > 0 else float(terms[0][1])


def variance_of(parts: Floats) -> float:
    """The variance of the mean, from its parts by group."""
    return len(parts) / (len(parts) - 1) * float((parts**2).sum())
