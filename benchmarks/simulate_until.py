"""Simulates races until decided: how often they claim something false, how many trials they need, and which way of
sharing the error costs least: the tables of docs/decisions/0044-races-until-decided.md.

    python benchmarks/simulate_until.py [--races 2000] [--only errors|trials|shapes|power]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from velodrome.metrics.catalogue import MetricKey
from velodrome.stats import Sample, rank
from velodrome.stats.looks import Until, look_sizes
from velodrome.stats.power import corrected, smallest_gap
from velodrome.stats.sequential import schedule
from velodrome.stats.stopping import Stopping

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int, int], Floats]
KEY = MetricKey.parse("accuracy")
ALPHA = 0.05

# Each has the standard deviation 1.
NOISES: Mapping[str, Noise] = {
    "normal": lambda rng, k, n: rng.normal(size=(k, n)),
    "normal, half of the variance from the seed": lambda rng, k, n: (
        (rng.normal(size=n) + rng.normal(size=(k, n))) / np.sqrt(2)
    ),
    "normal, two entries vary 5 times as much": lambda rng, k, n: (
        rng.normal(size=(k, n)) * np.where(np.arange(k) < 2, 5.0, 1.0)[:, None]
    ),
    "heavy tails (t, 3 degrees of freedom)": lambda rng, k, n: rng.standard_t(3, size=(k, n)) / np.sqrt(3),
    "skewed (lognormal, σ = 1)": lambda rng, k, n: rng.lognormal(size=(k, n)) / np.sqrt((np.e - 1) * np.e),
    "uniform": lambda rng, k, n: rng.random((k, n)) * np.sqrt(12),
    "accuracy 97 % on 360 images": lambda rng, k, n: rng.binomial(360, 0.97, size=(k, n)) / np.sqrt(360 * 0.97 * 0.03),
    "1 of 10 trials diverges": lambda rng, k, n: rng.normal(size=(k, n)) - 20.0 * (rng.random((k, n)) < 0.1),
    "every second trial diverges": lambda rng, k, n: rng.normal(size=(k, n)) - 20.0 * (rng.random((k, n)) < 0.5),
}
SITUATIONS: dict[str, Floats] = {
    "2 equal": np.zeros(2),
    "5 equal": np.zeros(5),
    "10 equal": np.zeros(10),
    "2 + 3 equal": np.array([0.0, 0, -3, -3, -3]),
    "1 + 4 equal": np.array([0.0, -2, -2, -2, -2]),
    "ladder of 5": np.array([0.0, -2, -4, -6, -8]),
}


def named(values: Floats, seeds: Mapping[str, int] | int) -> list[Sample]:
    """The first so many values of each row."""
    counts = dict.fromkeys(names(values), seeds) if isinstance(seeds, int) else seeds
    return [
        Sample(name, dict(enumerate(row[: counts[name]].tolist())))
        for name, row in zip(names(values), values, strict=True)
    ]


def names(values: Floats) -> list[str]:
    """One name for each row, in their order."""
    return [f"e{row:02}" for row in range(len(values))]


def raced(values: Floats, until: Until) -> dict[str, int]:
    """The seeds that a race until decided gives each entry."""
    return dict(schedule({KEY: named(values, until.most)}, until).repeats)


def claims(values: Floats, seeds: dict[str, int], until: Until) -> dict[tuple[str, str], float]:
    """The final ranking's answer for each pair: 1 or -1 if the first is better or worse, 0 if they are tied."""
    stopping = {name: Stopping("race", until, 0, count) for name, count in seeds.items()}
    found = rank(named(values, seeds), "higher", until.alpha, stopping=stopping).comparisons
    return {
        (one.a, one.b): float(np.sign(one.difference))
        for one in found
        if one.adjusted_p_value is not None and one.adjusted_p_value <= until.alpha
    }


def leads_alone(values: Floats, seeds: int) -> bool:
    """Whether rank() finds one leader with so many seeds of each entry."""
    return sum(one.rank == 1 for one in rank(named(values, seeds), "higher", ALPHA).entries) == 1


def any_false(found: Mapping[tuple[str, str], float], means: Floats) -> bool:
    """Whether a claim is about equal entries, or has the wrong direction."""
    true = dict(zip((f"e{row:02}" for row in range(len(means))), means.tolist(), strict=True))
    return any(sign != np.sign(true[a] - true[b]) for (a, b), sign in found.items())


def naive(values: Floats, until: Until) -> bool:
    """Whether rank() calls any two entries different at any look, each look at the whole level."""
    looks = (rank(named(values, size), "higher", until.alpha).comparisons for size in look_sizes(until))
    return any((one.adjusted_p_value or 0.0) <= until.alpha for found in looks for one in found)


def errors(races: int) -> None:
    """Print how often a race until decided makes any false claim."""
    until = Until(("accuracy",), 5, 20, ALPHA)
    print(f"\nRaces with any false claim, of {races:,} each (at most {ALPHA:.0%} wanted); 5 to 20 seeds")
    print("noise".ljust(46) + "".join(situation.rjust(13) for situation in SITUATIONS))
    for label, noise in NOISES.items():
        cells = []
        for means in SITUATIONS.values():
            rng = np.random.default_rng(len(means))
            wrong = 0
            for _ in range(races):
                values = means[:, None] + noise(rng, len(means), until.most)
                wrong += any_false(claims(values, raced(values, until), until), means)
            cells.append(wrong / races)
        print(label.ljust(46) + "".join(f"{cell:13.1%}" for cell in cells), flush=True)
    rng = np.random.default_rng(0)
    wrong = sum(naive(rng.normal(size=(5, until.most)), until) for _ in range(races))
    print(f"five equal entries, normal, each look at the whole level: {wrong / races:.1%}")


def trials(races: int) -> None:
    """Print how many trials a race until decided needs to find one leader, beside the fixed number of seeds."""
    print(f"\nTrials until one entry leads alone, {races:,} races each; normal noise, gaps in SD of a trial")
    print("fixed: the smallest number of seeds with which rank() finds one leader as often")
    header = ("entries", "seeds", "alone", "trials", "fixed n", "its trials", "saved")
    print("situation".ljust(28) + "".join(column.rjust(12) for column in header))
    cases: dict[str, Callable[[int], Floats]] = {
        "ladder, 2 SD apart": lambda k: np.linspace(0.0, 2.0 - 2.0 * k, k),
        "one leader by 2 SD": lambda k: np.where(np.arange(k) == 0, 0.0, -2.0),
        "one leader by 1.5 SD": lambda k: np.where(np.arange(k) == 0, 0.0, -1.5),
        "all equal": np.zeros,
    }
    for label, made in cases.items():
        for k, most in ((2, 20), (5, 20), (5, 40), (10, 20), (10, 40)):
            rng = np.random.default_rng([k, most])
            until, means = Until(("accuracy",), 5, most, ALPHA), made(k)
            alone, used, kept = 0, 0, []
            for _ in range(races):
                values = means[:, None] + rng.normal(size=(k, 64))
                seeds = raced(values, until)
                found = claims(values, seeds, until)
                better = {b if sign > 0 else a for (a, b), sign in found.items()}
                alone += len(better) == k - 1
                used += sum(seeds.values())
                kept.append(values)
            row = f"{label:28}{k:12}{f'5 to {most}':>12}{alone / races:12.1%}{used / races:12.1f}"
            if means.any():
                fixed = fewest_seeds(kept, alone)
                row += f"{fixed:12}{k * fixed:12}{1 - used / races / (k * fixed):12.0%}"
            print(row, flush=True)


def fewest_seeds(kept: list[Floats], alone: int) -> int:
    """The fewest seeds with which rank() finds one leader in so many of these races, by bisection; 64 at most."""
    low, high = 1, 64
    while high - low > 1:
        middle = (low + high) // 2
        found = sum(leads_alone(values, middle) for values in kept)
        low, high = (middle, high) if found < alone else (low, middle)
    return high


def shapes(races: int) -> None:
    """Print what other ways of sharing the error would cost: one pair, alone and as one of ten pairs."""
    sizes = np.array([5, 7, 10, 14, 20])
    spent = {"in proportion to the seeds": sizes / sizes.sum(), "equal (as Pocock)": np.full(5, 0.2)}
    spent |= {f"spent until t: t^{rho:g}": np.diff((sizes / sizes[-1]) ** rho, prepend=0.0) for rho in (1, 2, 3)}
    spent["late (as O'Brien and Fleming)"] = np.array([0.0001, 0.001, 0.02, 0.179, 0.7999])
    print(f"\nOne pair, {races:,} races: share found, and mean seeds, at gaps of 1, 1.5 and 2 SD of the differences")
    print("level  shares".ljust(42) + "".join(f"{gap:g} SD".rjust(18) for gap in (0, 1, 1.5, 2)))
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(races, 20))
    for pairs in (1, 10):
        for label, share in spent.items():
            cells = [_stops(gap + noise, sizes, ALPHA / pairs * share) for gap in (0, 1, 1.5, 2)]
            print(f"α/{pairs:<4} {label:35}" + "".join(f"{found:9.1%}{mean:9.1f}" for found, mean in cells), flush=True)
        cells = [_stops_always_valid(gap + noise, sizes, ALPHA / pairs) for gap in (0, 1, 1.5, 2)]
        print(f"α/{pairs:<4} {'always valid (mixture of t)':35}" + "".join(f"{f:9.1%}{m:9.1f}" for f, m in cells))


def _t(values: Floats, size: int) -> Floats:
    part = values[:, :size]
    ratio: Floats = part.mean(axis=1) / (part.std(axis=1, ddof=1) / np.sqrt(size))
    return ratio


def _stops(values: Floats, sizes: NDArray[np.int64], levels: Floats) -> tuple[float, float]:
    """The share of rows found different, and the mean number of values when they stop."""
    open_, seeds = np.ones(len(values), dtype=np.bool_), np.full(len(values), sizes[-1])
    for size, own in zip(sizes, levels, strict=True):
        found = open_ & (2 * stdtr(size - 1, -np.abs(_t(values, size))) <= own)
        seeds[found] = size
        open_ &= ~found
    return float((~open_).mean()), float(seeds.mean())


def _stops_always_valid(values: Floats, sizes: NDArray[np.int64], alpha: float) -> tuple[float, float]:
    """The same with the Bayes factor of t for an effect that is normal with variance 1: at most 1 / α by Ville."""
    open_, seeds = np.ones(len(values), dtype=np.bool_), np.full(len(values), sizes[-1])
    for size in sizes:
        square, freedom = _t(values, size) ** 2, size - 1
        logarithm = -0.5 * np.log1p(size) + (freedom + 1) / 2 * (
            np.log1p(square / freedom) - np.log1p(square / (freedom * (1 + size)))
        )
        found = open_ & (logarithm >= -np.log(alpha))
        seeds[found] = size
        open_ &= ~found
    return float((~open_).mean()), float(seeds.mean())


def power(races: int) -> None:
    """Print how often rank() finds the gap that `velodrome plan` names, for the pair of the first two entries."""
    print(f"\nThe gap that a plan names, and how often rank() finds it, of {races:,} races (at least 80 % wanted)")
    header = ("entries", "seeds", "gap in SD", "worst case", "others equal", "others far")
    print("".join(column.rjust(14) for column in header))
    for k, n in ((2, 3), (2, 5), (2, 20), (5, 3), (5, 5), (5, 12), (5, 20), (10, 5), (10, 20)):
        gap = smallest_gap(n, corrected(ALPHA, k))
        rng = np.random.default_rng([k, n])
        first = np.where(np.arange(k) == 0, gap, 0.0)
        far = np.array([gap, 0.0, *range(-100, -100 * (k - 1), -100)])
        cells = []
        noise = rng.normal(size=(races, k, n)) / np.sqrt(2)
        raw = (noise[:, 0] - noise[:, 1]) + gap
        cells.append(float((2 * stdtr(n - 1, -np.abs(_t(raw, n))) <= corrected(ALPHA, k)).mean()))
        for means in (first, far):
            found = 0
            for one in noise:
                pair = rank(named(means[:, None] + one, n), "higher", ALPHA).comparisons.between("e00", "e01")
                found += (pair.adjusted_p_value or 0.0) <= ALPHA
            cells.append(found / races)
        print(f"{k:14}{n:14}{gap:14.2f}" + "".join(f"{cell:14.1%}" for cell in cells), flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=500)
    parser.add_argument("--only", choices=("errors", "trials", "shapes", "power"))
    arguments = parser.parse_args()
    for name, table in {"errors": errors, "trials": trials, "power": power}.items():
        if arguments.only in (None, name):
            table(arguments.races)
    if arguments.only in (None, "shapes"):
        shapes(100 * arguments.races)


if __name__ == "__main__":
    main()
