"""Simulates how often rank() calls equal models different, and how often it finds a gap: the tables of
docs/decisions/0002-ranks-and-significance.md.

    python benchmarks/simulate_ranks.py [--races 10000]

It compares rank() with two alternatives on the same races: Holm's correction of the same tests, and
Tukey's range test with one variance for all entries, pooled over the race (two-way analysis of variance).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import studentized_range, ttest_rel

from velodrome.stats import Sample, rank

Floats = NDArray[np.float64]
Claims = NDArray[np.bool_]
Noise = Callable[[np.random.Generator, int, int], Floats]
ALPHA = 0.05
LOGNORMAL_MEAN, LOGNORMAL_SD = np.exp(0.5), np.sqrt((np.e - 1) * np.e)  # of σ = 1

NOISES: dict[str, Noise] = {
    "normal, independent": lambda rng, k, n: rng.normal(size=(k, n)),
    "normal, 90 % of the variance from the seed": lambda rng, k, n: 3 * rng.normal(size=n) + rng.normal(size=(k, n)),
    "normal, two entries vary 5 times as much": lambda rng, k, n: (
        rng.normal(size=(k, n)) * np.where(np.arange(k) < 2, 5.0, 1.0)[:, None]
    ),
    "heavy tails (t, 3 degrees of freedom)": lambda rng, k, n: rng.standard_t(3, size=(k, n)),
    "skewed (lognormal, σ = 1)": lambda rng, k, n: rng.lognormal(sigma=1.0, size=(k, n)),
    "uniform": lambda rng, k, n: rng.random((k, n)),
    "accuracy 97 % on 360 images": lambda rng, k, n: rng.binomial(360, 0.97, size=(k, n)) / 360,
    "accuracy 99 % on 100 images": lambda rng, k, n: rng.binomial(100, 0.99, size=(k, n)) / 100,
    "1 of 10 trials diverges": lambda rng, k, n: rng.normal(size=(k, n)) - 50.0 * (rng.random((k, n)) < 0.1),
    "every second trial diverges": lambda rng, k, n: rng.normal(size=(k, n)) - 50.0 * (rng.random((k, n)) < 0.5),
    "equal means, one entry three times as wide, skewed": lambda rng, k, n: np.where(
        np.arange(k)[:, None] == 0,
        3 * (rng.lognormal(size=(k, n)) - LOGNORMAL_MEAN) / LOGNORMAL_SD,
        rng.normal(size=(k, n)),
    ),
    "equal means, 1 of 10 trials of one entry diverges": lambda rng, k, n: (
        rng.normal(size=(k, n)) + np.where(np.arange(k)[:, None] == 0, 5.0 - 50.0 * (rng.random((k, n)) < 0.1), 0.0)
    ),
}


def signs(values: Floats, *, own_seeds: bool = False) -> Floats:
    """rank()'s answer for each pair of rows: 1 or -1 if the first is better or worse, 0 if they are tied.

    Either all rows have the same seeds, or each row has its own, so that values can't be paired.
    """
    shift = values.shape[1] if own_seeds else 0
    samples = [Sample(f"{row:03}", dict(enumerate(values[row].tolist(), row * shift))) for row in range(len(values))]
    pairs = rank(samples, "higher", ALPHA).comparisons
    return np.array(
        [np.sign(p.difference) * (p.adjusted_p_value is not None and p.adjusted_p_value <= ALPHA) for p in pairs]
    )


def paired(values: Floats) -> Claims:
    """Which pairs rank() calls different, with common seeds."""
    different: Claims = signs(values) != 0
    return different


def welch(values: Floats) -> Claims:
    """Which pairs rank() calls different, without common seeds."""
    different: Claims = signs(values, own_seeds=True) != 0
    return different


def holm(values: Floats) -> Claims:
    """Which pairs Holm's procedure calls different, after the same paired t tests."""
    first, second = np.triu_indices(len(values), 1)
    p_values = np.asarray(ttest_rel(values[first], values[second], axis=1).pvalue)
    order = np.argsort(p_values)
    corrected = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    different = np.zeros(len(p_values), dtype=np.bool_)
    different[order] = corrected <= ALPHA
    return different


def pooled(values: Floats) -> Claims:
    """Which pairs Tukey's range test calls different, with one variance for the whole race."""
    entries, seeds = values.shape
    residual = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    error = np.sqrt((residual**2).sum() / ((entries - 1) * (seeds - 1)) / seeds)
    first, second = np.triu_indices(entries, 1)
    mean = values.mean(axis=1)
    different: Claims = np.abs(mean[first] - mean[second]) >= critical_range(entries, seeds) * error
    return different


@cache
def critical_range(entries: int, seeds: int) -> float:
    """The studentized range that equal entries exceed at rate α. scipy needs most of a second to integrate it."""
    return float(studentized_range.isf(ALPHA, entries, (entries - 1) * (seeds - 1)))


def false_claims(races: int) -> None:
    """Print the table of races of equal models in which any two are called different."""
    grid = list(product((2, 4, 10), (3, 5, 20)))
    print(f"\nRaces of equal models in which any two are called different, of {races:,} (at most {ALPHA:.0%} wanted)")
    print("entries x seeds".ljust(58) + "".join(f"{k}x{n}".rjust(7) for k, n in grid))
    for procedure, (title, noise) in product((paired, welch, pooled), NOISES.items()):
        cells = []
        for k, n in grid:
            rng = np.random.default_rng([k, n])
            cells.append(np.mean([procedure(noise(rng, k, n)).any() for _ in range(races)]))
        print(f"{procedure.__name__:7} {title:50}" + "".join(f"{cell:7.1%}" for cell in cells), flush=True)


def finds(races: int) -> None:
    """Print the table of races in which a gap is found."""
    print(f"\nA gap of one standard deviation between trials: how often it is found, of {races:,} races")
    print("shared: the share of the variance that the seed gives to all entries alike (0.5: the standard deviation")
    print("between trials is that of the differences within a seed). leader: one above otherwise equal entries; any:")
    print("better than one other at least; each: than a given one; all: alone on rank 1. close pair: two of the")
    print("entries, the others far away. Then what the alternatives would find of 'each'.")
    header = ["seeds", "shared", "entries", "any", "each", "all", "close pair", "each Holm", "each pooled"]
    print("".join(column.rjust(12) for column in header))
    for n, shared, k in product((3, 5, 10, 20), (0.0, 0.5), (2, 3, 4, 5, 10)):
        rng = np.random.default_rng([n, k])
        leads = np.triu_indices(k, 1)[0] == 0
        leader = (np.arange(k) == 0)[:, None]
        spread = np.array([1.0, *range(0, 10 * k - 10, 10)])[:, None]
        rows = []
        for _ in range(races):
            noise = np.sqrt(shared) * rng.normal(size=n) + np.sqrt(1 - shared) * rng.normal(size=(k, n))
            better = signs(leader + noise)[leads] > 0
            close = signs(spread + noise)[0] > 0
            others = (procedure(leader + noise)[leads].mean() for procedure in (holm, pooled))
            rows.append((better.any(), better.mean(), better.all(), close, *others))
        cells = np.mean(rows, axis=0)
        print(f"{n:12}{shared:12}{k:12}" + "".join(f"{cell:12.0%}" for cell in cells), flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=500)
    races = parser.parse_args().races
    false_claims(races)
    finds(races)


if __name__ == "__main__":
    main()
