"""Simulates races until decided: how often they claim something false, how many trials they need, and which way of
sharing the error costs least: the tables of docs/decisions/0044-races-until-decided.md.

    python benchmarks/simulate_until.py [--races 2000] [--only errors|trials|times|shapes|power]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from velodrome.metrics.catalogue import MetricKey
from velodrome.stats import Sample, rank
from velodrome.stats.looks import Until, look_sizes
from velodrome.stats.power import corrected, smallest_gap
from velodrome.stats.sequential import schedule
from velodrome.stats.stopping import Stopping

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.many_races import Correction, fixed, until_decided
from benchmarks.shaffer import shaffer

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int, int], Floats]
KEY, TIME = MetricKey.parse("accuracy"), MetricKey.parse("latency_p50_seconds{batch_size=1}")
ALPHA = 0.05
CHECKED = 20  # races of each cell that are held against schedule() and rank()

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


def errors(races: int) -> None:
    """Print how often a race until decided makes any false claim."""
    until = Until(("accuracy",), 5, 20, ALPHA)
    print(f"\nRaces with any false claim, of {races:,} each (at most {ALPHA:.0%} wanted); 5 to 20 seeds")
    print("noise".ljust(46) + "".join(situation.rjust(13) for situation in SITUATIONS))
    for label, noise in NOISES.items():
        cells = [share_false(noise, means, until, races) for means in SITUATIONS.values()]
        print(label.ljust(46) + "".join(f"{cell:13.1%}" for cell in cells), flush=True)
    values = np.random.default_rng(0).normal(size=(races, 5, until.most))
    often = np.logical_or.reduce([fixed(values, size, ALPHA).any(axis=(1, 2)) for size in look_sizes(until)])
    print(f"five equal entries, normal noise, each look at the whole level: {often.mean():.1%}")


def share_false(noise: Noise, means: Floats, until: Until, races: int, *, times: bool = False) -> float:
    """The share of races that call equal entries different, or the worse one better, after a check against rank().

    With `times`, the values are logarithms of rates: the reciprocals of times, which are compared as such.
    """
    rng = np.random.default_rng(len(means))
    values = np.array([means[:, None] + noise(rng, len(means), until.most) for _ in range(races)])
    seeds, better = until_decided(values, until, trim=times)
    for race in range(CHECKED):
        check(values[race], until, seeds[race], better[race], times=times)
    false = better & ~(means[:, None] > means)
    return float(false.any(axis=(1, 2)).mean())


def check(
    values: Floats, until: Until, seeds: NDArray[np.int64], better: NDArray[np.bool_], *, times: bool = False
) -> None:
    """That schedule() gives these seeds, and that rank() then finds exactly these entries better than others."""
    key, shown = (TIME, np.exp(-values)) if times else (KEY, values)
    names = [f"e{row:02}" for row in range(len(values))]
    own = [Sample(name, dict(enumerate(row.tolist()))) for name, row in zip(names, shown, strict=True)]
    repeats = schedule({key: own}, until).repeats
    assert [repeats[name] for name in names] == seeds.tolist(), "the looks differ from schedule()"
    raced = [Sample(one.name, {seed: one.values[seed] for seed in range(repeats[one.name])}) for one in own]
    stopping = {name: Stopping("race", until, 0, repeats[name]) for name in names}
    metric = key.metric
    pairs = rank(raced, metric.direction, until.alpha, scale=metric.scale, stopping=stopping).comparisons
    sign = -1 if times else 1
    for a, b in product(range(len(names)), repeat=2):
        if a != b:
            pair = pairs.between(names[a], names[b])
            told = pair.adjusted_p_value is not None and pair.adjusted_p_value <= until.alpha
            assert (told and sign * pair.difference > 0) == better[a, b], "the claims differ from rank()"


def trials(races: int) -> None:
    """Print how many trials a race until decided needs to find one leader, beside the fixed number of seeds."""
    print(f"\nTrials until one entry leads alone, {races:,} races each; normal noise, gaps in SD of a trial")
    print(
        "5, 20: how often rank() finds it with so many seeds. fixed n: the fewest seeds with which rank() finds it as"
    )
    print("often as the race until decided. Shaffer: the same with Shaffer's S1 in place of our correction")
    header = ("entries", "seeds", "alone", "trials", "5", "20", "fixed n", "saved", "Shaffer n", "saved")
    print("situation".ljust(24) + "".join(column.rjust(11) for column in header))
    cases: dict[str, Callable[[int], Floats]] = {
        "ladder, 2 SD apart": lambda k: np.linspace(0.0, 2.0 - 2.0 * k, k),
        "one leader by 2 SD": lambda k: np.where(np.arange(k) == 0, 0.0, -2.0),
        "one leader by 1.5 SD": lambda k: np.where(np.arange(k) == 0, 0.0, -1.5),
        "all equal": np.zeros,
    }
    for (label, made), (k, most) in product(cases.items(), ((2, 20), (5, 20), (5, 30), (5, 40), (10, 20), (10, 40))):
        rng = np.random.default_rng([k, most])
        until, means = Until(("accuracy",), 5, most, ALPHA), made(k)
        values = means[:, None] + rng.normal(size=(races, k, 64))
        seeds, better = until_decided(values, until)
        alone, used = found_alone(better), float(seeds.sum(axis=1).mean())
        row = f"{label:24}{k:11}{f'5 to {most}':>11}{alone:11.1%}{used:11.1f}"
        if means.any():
            row += "".join(f"{found_alone(fixed(values, n, ALPHA)):11.1%}" for n in (5, 20))
            for n in (fewest_seeds(values, alone), fewest_seeds(values, alone, correct=shaffer)):
                row += f"{n:11}{1 - used / (k * n):11.0%}"
        print(row, flush=True)


def found_alone(better: NDArray[np.bool_]) -> float:
    """The share of races with one entry that nothing is better than."""
    return float(((~better.any(axis=1)).sum(axis=1) == 1).mean())


def fewest_seeds(values: Floats, alone: float, *, trim: bool = False, correct: Correction | None = None) -> int:
    """The fewest seeds that find one leader in so many of these races, by bisection."""
    low, high = 1, int(values.shape[2])
    while high - low > 1:
        middle = (low + high) // 2
        found = found_alone(fixed(values, middle, ALPHA, trim=trim, correct=correct))
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
        noise = rng.normal(size=(races, k, n)) / np.sqrt(2)
        raw = noise[:, 0] - noise[:, 1] + gap
        cells = [float((2 * stdtr(n - 1, -np.abs(_t(raw, n))) <= corrected(ALPHA, k)).mean())]
        cells += [float(fixed(means[:, None] + noise, n, ALPHA)[:, 0, 1].mean()) for means in (first, far)]
        print(f"{k:14}{n:14}{gap:14.2f}" + "".join(f"{cell:14.1%}" for cell in cells), flush=True)


def times(races: int) -> None:
    """Print the same for times, which are compared by logarithms and, from 10 seeds on, by trimmed means."""
    until = Until((str(TIME),), 5, 20, ALPHA)
    shown = {name: means for name, means in SITUATIONS.items() if not name.startswith("ladder")}
    print(f"\nTimes: races with any false claim, of {races:,} each; 5 to 20 seeds")
    print("noise".ljust(46) + "".join(situation.rjust(13) for situation in shown))
    for label, (sigma, slow) in TIMES.items():
        noise = partial(_rates, sigma=sigma, slow=slow)
        cells = [share_false(noise, sigma * means, until, races, times=True) for means in shown.values()]
        print(label.ljust(46) + "".join(f"{cell:13.1%}" for cell in cells), flush=True)
    print("\nOne of five entries is 25 % faster: races in which it leads alone, and trials, as above")
    header = ("seeds", "alone", "trials", "5", "20", "fixed n", "saved")
    print("noise".ljust(46) + "".join(column.rjust(11) for column in header))
    for (label, (sigma, slow)), most in product(TIMES.items(), (20, 40)):
        if sigma < 0.5:
            values = _rates(np.random.default_rng([5, most]), races * 5, 64, sigma=sigma, slow=slow)
            values = values.reshape(races, 5, 64) - np.where(np.arange(5) == 0, np.log(0.75), 0.0)[:, None]
            seeds, better = until_decided(values, Until((str(TIME),), 5, most, ALPHA), trim=True)
            alone, used = found_alone(better), float(seeds.sum(axis=1).mean())
            row = f"{label:46}{f'5 to {most}':>11}{alone:11.1%}{used:11.1f}"
            row += "".join(f"{found_alone(fixed(values, n, ALPHA, trim=True)):11.1%}" for n in (5, 20))
            n = fewest_seeds(values, alone, trim=True)
            print(f"{row}{n:11}{1 - used / (5 * n):11.0%}", flush=True)


# The standard deviation of the logarithms, and the share of trials that take 3 to 10 times as long.
TIMES = {
    "σ = 0.1": (0.1, 0.0),
    "σ = 1": (1.0, 0.0),
    "σ = 0.1, 1 of 20 slow": (0.1, 0.05),
    "σ = 0.2, 1 of 20 slow": (0.2, 0.05),
    "σ = 0.3, 1 of 20 slow": (0.3, 0.05),
}


def _rates(rng: np.random.Generator, k: int, n: int, *, sigma: float, slow: float) -> Floats:
    """The logarithms of rates: minus those of log-normal times, of which some are slow."""
    delay = np.where(rng.random((k, n)) < slow, np.log(rng.uniform(3, 10, (k, n))), 0.0)
    rates: Floats = -sigma * rng.normal(size=(k, n)) - delay
    return rates


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=500)
    parser.add_argument("--only", choices=("errors", "trials", "times", "shapes", "power"))
    arguments = parser.parse_args()
    for name, table in {"errors": errors, "trials": trials, "times": times, "power": power}.items():
        if arguments.only in (None, name):
            table(arguments.races)
    if arguments.only in (None, "shapes"):
        shapes(100 * arguments.races)


if __name__ == "__main__":
    main()
