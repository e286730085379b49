"""Simulates what the scale of a metric changes: the tables of docs/decisions/0042-scales-ranges-and-fronts.md.

    python benchmarks/simulate_scales.py [--races 2000]

All races of a cell are tested at once, with the moments and the correction that rank() uses; the first ones are held
against rank() itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from velodrome.stats import Sample, dominated, mean_interval, pareto_front, superiority
from velodrome.stats.samples import moments

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.many_races import adjusted

Floats = NDArray[np.float64]
Scaling = Callable[[Floats], Floats]
Noise = Callable[[np.random.Generator, tuple[int, int, int]], Floats]
ALPHA = 0.05


def slowed(sigma: float, share: float = 0.0, common: float = 0.0) -> Noise:
    """Log-normal latencies. A `share` of the trials takes 3 to 10 times as long; a seed gives `common` of the variance
    of the logarithms to all entries alike.
    """

    def draw(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
        races, _, seeds = shape
        own, seed = rng.normal(size=shape), rng.normal(size=(races, 1, seeds))
        values = np.exp(sigma * (np.sqrt(1 - common) * own + np.sqrt(common) * seed))
        latencies: Floats = values * np.where(rng.random(shape) < share, rng.uniform(3, 10, shape), 1.0)
        return latencies

    return draw


LATENCIES: Mapping[str, Noise] = {
    "σ = 0.1": slowed(0.1),
    "σ = 1": slowed(1.0),
    "σ = 0.1, 1 of 20 slow": slowed(0.1, 0.05),
    "σ = 0.15, 1 of 20 slow": slowed(0.15, 0.05),
    "σ = 0.2, 1 of 20 slow": slowed(0.2, 0.05),
    "σ = 0.2, 1 of 20 slow, half from the seed": slowed(0.2, 0.05, 0.5),
    "σ = 0.3, 1 of 20 slow": slowed(0.3, 0.05),
}


def identity(values: Floats) -> Floats:
    """The values as they are."""
    return values


def arcsine(values: Floats) -> Floats:
    """Fisher's transformation of shares, which evens out their variance."""
    return np.arcsin(np.sqrt(values))


def logit(values: Floats) -> Floats:
    """The logarithm of the odds of shares of 360 samples, with half a sample of either kind added."""
    odds: Floats = np.log((360 * values + 0.5) / (360 * (1 - values) + 0.5))
    return odds


# By name: what is done to the values, and whether means are trimmed.
PROCEDURES: Mapping[str, tuple[Scaling, bool]] = {
    "raw": (identity, False),
    "logarithms": (np.log, False),
    "trimmed logarithms": (np.log, True),
}


def better(values: Floats, scaling: Scaling, *, trim: bool) -> NDArray[np.bool_]:
    """For each race and pair of entries (i < j): whether i is significantly better (higher), then whether j is.

    `values` has a race in each layer, an entry in each row and a seed in each column.
    """
    scaled = scaling(values)
    _, entries, seeds = scaled.shape
    first, second = np.triu_indices(entries, 1)
    lead, error, freedom = _moments(scaled[:, first] - scaled[:, second], trim=trim)
    if not error.all():  # a coarse metric: the smallest spread that its steps allow
        error = np.where(error == 0, np.diff(np.unique(scaled)).min() / seeds, error)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = np.where(lead == 0, 1.0, 2 * stdtr(freedom, -np.abs(lead) / error))
    centre, _, _ = _moments(scaled, trim=trim)
    gap = centre[:, first] - centre[:, second]
    told = adjusted(p_value, entries) <= ALPHA
    return np.stack([told & (lead > 0) & (gap > 0), told & (lead < 0) & (gap < 0)])


def _moments(values: Floats, *, trim: bool) -> tuple[Floats, Floats, Floats]:
    rows = values.reshape(-1, values.shape[-1])
    count = np.full(len(rows), rows.shape[1])
    found = moments(rows, np.ones(rows.shape, dtype=np.bool_), count, trim=trim)
    shape = values.shape[:-1]
    return found.mean.reshape(shape), np.sqrt(found.squared_error).reshape(shape), found.freedom.reshape(shape)


def check() -> None:
    """Hold the trimmed logarithms against rank()."""
    rng = np.random.default_rng(0)
    values = slowed(0.2, 0.05)(rng, (20, 5, 20)) * np.linspace(1, 2, 5)[:, None]
    first, _ = np.triu_indices(5, 1)
    ours = better(values, np.log, trim=True)
    for race in range(len(values)):
        samples = [Sample(f"e{row}", dict(enumerate(values[race, row].tolist()))) for row in range(5)]
        (theirs,) = superiority(samples, "higher", [ALPHA], scale="ratio")
        if not np.array_equal(ours[0, race], theirs[np.triu_indices(5, 1)]):
            raise AssertionError(f"race {race} of {len(first)} pairs differs from rank()")


def latencies(races: int) -> None:
    """Print how often equal entries are called different, and how often a leader is found."""
    grid = [(2, 5), (2, 20), (5, 5), (5, 10), (5, 20), (10, 5), (10, 20)]
    print(f"\nEqual latencies: races in which any two are called different, of {races:,}")
    print("entries x seeds".ljust(62) + "".join(f"{k}x{n}".rjust(7) for k, n in grid))
    for (title, noise), (name, (scaling, trim)) in product(LATENCIES.items(), PROCEDURES.items()):
        cells = []
        for k, n in grid:
            values = noise(np.random.default_rng([k, n]), (races, k, n))
            cells.append(better(values, scaling, trim=trim).any(axis=(0, 2)).mean())
        print(f"{title:42}{name:20}" + "".join(f"{cell:7.1%}" for cell in cells), flush=True)
    print("\nOne of five entries 25 % faster: races in which it is alone in front / the average pair is told apart")
    print("seeds".ljust(62) + "".join(f"{n}".rjust(14) for n in (5, 9, 10, 20)))
    for (title, noise), (name, (scaling, trim)) in product(LATENCIES.items(), PROCEDURES.items()):
        cells = []
        for n in (5, 9, 10, 20):
            values = noise(np.random.default_rng([5, n]), (races, 5, n))
            values[:, 0] *= 0.75
            leads = better(values, scaling, trim=trim)[1, :, :4]  # lower is better
            cells.append(f"{leads.all(axis=1).mean():.0%} / {leads.mean():.0%}")
        print(f"{title:42}{name:20}" + "".join(cell.rjust(14) for cell in cells), flush=True)


def shares(races: int) -> None:
    """Print the same for accuracies, as they are and transformed."""
    print(
        "\nAccuracies on 360 images, 5 entries: equal ones called different at 97 % / a leader at 99 % alone in front"
    )
    print("seeds".ljust(20) + "".join(f"{n}".rjust(16) for n in (3, 5, 10, 20)))
    for name, scaling in (("raw", identity), ("arcsine", arcsine), ("logit", logit)):
        cells = []
        for n in (3, 5, 10, 20):
            rng = np.random.default_rng([5, n])
            equal = rng.binomial(360, 0.97, size=(races, 5, n)) / 360
            chance = np.where(np.arange(5) == 0, 0.99, 0.97)[:, None]
            led = rng.binomial(360, chance, size=(races, 5, n)) / 360
            false = better(equal, scaling, trim=False).any(axis=(0, 2)).mean()
            found = better(led, scaling, trim=False)[0, :, :4].all(axis=1).mean()
            cells.append(f"{false:.1%} / {found:.0%}")
        print(f"{name:20}" + "".join(cell.rjust(16) for cell in cells), flush=True)


def intervals(races: int) -> None:
    """Print how often an interval holds the mean, and how often it would hold impossible values."""
    cases: dict[str, tuple[Callable[[np.random.Generator, int], Floats], float, bool, tuple[float, float]]] = {
        "accuracy 97 % on 100 images": (lambda rng, n: rng.binomial(100, 0.97, n) / 100, 0.97, False, (0.0, 1.0)),
        "accuracy 99.7 % on 360 images": (lambda rng, n: rng.binomial(360, 0.997, n) / 360, 0.997, False, (0.0, 1.0)),
        "accuracy, skewed (beta 8, 1)": (lambda rng, n: rng.beta(8, 1, n), 8 / 9, False, (0.0, 1.0)),
        "latency, σ = 0.3": (lambda rng, n: slowed(0.3)(rng, (1, 1, n))[0, 0], 1.0, True, (1e-9, 1e9)),
        "latency, σ = 1": (lambda rng, n: slowed(1.0)(rng, (1, 1, n))[0, 0], 1.0, True, (1e-9, 1e9)),
    }
    print(
        "\nIntervals: how often they hold the mean (of latencies the geometric one) / hold impossible values if not cut"
    )
    print("seeds".ljust(36) + "".join(f"{n}".rjust(16) for n in (2, 3, 5, 10, 20)))
    for name, (draw, true, logs, limits) in cases.items():
        cells = []
        for n in (2, 3, 5, 10, 20):
            rng = np.random.default_rng(n)
            held = outside = 0
            for _ in range(races):
                values = draw(rng, n).tolist()
                found, raw = mean_interval(values, logs=logs, limits=limits), mean_interval(values)
                if found.low is not None and found.high is not None and raw.low is not None and raw.high is not None:
                    held += found.low <= true <= found.high
                    outside += raw.low < max(limits[0], 0.0) or raw.high > limits[1]
            cells.append(f"{held / races:.1%} / {outside / races:.0%}")
        print(f"{name:36}" + "".join(cell.rjust(16) for cell in cells), flush=True)


def fronts(races: int) -> None:
    """Print how often some of five equal entries is called dominated."""
    print("\nFive equal entries: races in which some entry is called dominated / is not on the front of the means")
    print("seeds".ljust(20) + "".join(f"{n}".rjust(16) for n in (3, 5, 20)))
    for objectives in (2, 3):
        cells = []
        for n in (3, 5, 20):
            rng = np.random.default_rng([objectives, n])
            beaten = off = 0
            for _ in range(races):
                values = rng.normal(size=(objectives, 5, n))
                found = [_levels(own, ALPHA / objectives) for own in values]
                beaten += bool(dominated([loose for loose, _ in found], [strict for _, strict in found]).any())
                means = {str(entry): values[:, entry].mean(axis=1).tolist() for entry in range(5)}
                off += len(pareto_front(means, ["higher"] * objectives)) < 5
            cells.append(f"{beaten / races:.1%} / {off / races:.0%}")
        print(f"{f'{objectives} objectives':20}" + "".join(cell.rjust(16) for cell in cells), flush=True)


def _levels(values: Floats, corrected: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    samples = [Sample(f"e{row}", dict(enumerate(own.tolist()))) for row, own in enumerate(values)]
    loose, strict = superiority(samples, "higher", [ALPHA, corrected])
    return loose, strict


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=2000)
    races = parser.parse_args().races
    check()
    latencies(races)
    shares(races)
    intervals(races)
    fronts(races)


if __name__ == "__main__":
    main()
