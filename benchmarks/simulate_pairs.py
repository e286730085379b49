"""Simulates how often the tests of kept samples call equal recipes different, and how often they find a difference: the
tables of docs/decisions/0046-which-samples-a-trial-got-right.md.

    python benchmarks/simulate_pairs.py [--races 1000]

A model is right on a sample if its skill is larger than what the sample asks. The skill has a part of the seed, a part
of what the recipe makes of the sample (or of its group), and a part of chance. Races are simulated many at once, and
some of each case are also given to the product, which must say the same.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from velodrome.stats.persample import EntryScores, compare_samples

Floats = NDArray[np.float64]
Claims = dict[str, NDArray[np.bool_]]
ALPHA = 0.05
DIFFICULTY = 3.0  # standard deviation of what samples ask; that of chance is 1.8
AT_ONCE = 4_000_000  # scores in memory
CHECKED = 5  # races of each case that the product judges too, of those in memory at once
BOOTSTRAPPED = 20  # and those that are bootstrapped


@dataclass(frozen=True, slots=True)
class World:
    """How trials differ: standard deviations of the parts of a skill. `diverges` is the share of trials that lose 4."""

    accuracy: float = 0.97
    samples: int = 360
    seeds: int = 5
    of_seed: float = 0.0
    common_seed: float = 0.0
    of_sample: float = 0.0
    group: int = 1  # samples in a group, which share what the recipe makes of them, and half of what they ask
    diverges: float = 0.0
    better: float = 0.0  # how much more skill a has

    @property
    def level(self) -> float:
        """The skill of this accuracy, nearly: a logistic distribution with normal parts is nearly a wider one."""
        spread = DIFFICULTY**2 + self.of_seed**2 + self.common_seed**2 + self.of_sample**2
        return math.log(self.accuracy / (1 - self.accuracy)) * math.sqrt(1 + math.pi / 8 * spread)

    def scores(self, rng: np.random.Generator, races: int) -> Floats:
        """Right or wrong: (races, 2, seeds, samples)."""

        def grouped(count: int) -> Floats:
            drawn = rng.normal(size=(races, count, 1, -(-self.samples // self.group)))
            return np.repeat(drawn, self.group, axis=3)[..., : self.samples]

        asks = grouped(1)
        if self.group > 1:
            asks = (asks + rng.normal(size=asks.shape)) / math.sqrt(2)
        seed = rng.normal(0, self.of_seed, (races, 2, self.seeds, 1))
        seed += rng.normal(0, self.common_seed, (races, 1, self.seeds, 1))
        seed -= 4.0 * (rng.random(seed.shape) < self.diverges)
        skill = self.level + self.better * np.array([1.0, 0.0]).reshape(2, 1, 1) + seed + self.of_sample * grouped(2)
        chance = rng.logistic(size=(races, 2, self.seeds, self.samples))
        return (skill + chance > DIFFICULTY * asks).astype(np.float64)


def claims(scores: Floats, group: int) -> Claims:
    """Which races each test calls different."""
    both = scores[:, 0] - scores[:, 1]
    races, seeds, samples = both.shape
    mean = both.mean(axis=(1, 2))
    starts = np.arange(0, samples, group)
    cells = np.add.reduceat(both - mean[:, None, None], starts, axis=2) / (seeds * samples)
    groups = len(starts)
    of_seeds = seeds / (seeds - 1) * (cells.sum(axis=2) ** 2).sum(axis=1)
    of_samples = groups / (groups - 1) * (cells.sum(axis=1) ** 2).sum(axis=1)
    apart = cells - cells.mean(axis=2, keepdims=True) - cells.mean(axis=1, keepdims=True)
    of_both = seeds * groups / ((seeds - 1) * (groups - 1)) * (apart**2).sum(axis=(1, 2))

    over_seeds, over_samples = (stdtrit(count - 1, 1 - ALPHA / 2) ** 2 for count in (seeds, groups))
    together = over_seeds * of_seeds + over_samples * np.maximum(of_samples - of_both, 0)
    variance = np.maximum(of_seeds + of_samples - of_both, np.maximum(of_seeds, of_samples))
    weight = of_seeds**2 / (seeds - 1) + of_samples**2 / (groups - 1)
    freedom = np.divide(variance**2, weight, out=np.ones(races), where=weight > 0)
    ratio = np.divide(np.abs(mean), np.sqrt(variance), out=np.zeros(races), where=variance > 0)
    found = mean != 0
    return {
        "recipe": found & (mean**2 > np.maximum(together, over_samples * of_samples)),
        "test_set": found & (mean**2 > over_seeds * np.where(of_seeds > 0, of_seeds, (1 / samples / seeds) ** 2)),
        "samples": found & (mean**2 > over_samples * of_samples),
        "satterthwaite": found & (2 * stdtr(freedom, -ratio) <= ALPHA),
        "seeds' freedom": found & (2 * stdtr(seeds - 1.0, -ratio) <= ALPHA),
        "bootstrap": found & _bootstrap(both, starts),
    }


def _bootstrap(both: Floats, starts: NDArray[np.int64], rounds: int = 200) -> NDArray[np.bool_]:
    """Seeds and groups drawn with replacement (Owen 2007), for the first races: 95 % of means on one side of 0."""
    rng = np.random.default_rng(1)
    found = np.zeros(len(both), dtype=np.bool_)
    for race, scores in enumerate(both[:BOOTSTRAPPED]):
        cells = np.add.reduceat(scores, starts, axis=1)
        of_seeds = rng.multinomial(cells.shape[0], np.full(cells.shape[0], 1 / cells.shape[0]), rounds)
        of_groups = rng.multinomial(cells.shape[1], np.full(cells.shape[1], 1 / cells.shape[1]), rounds)
        means = ((of_seeds @ cells) * of_groups).sum(axis=1)
        found[race] = 2 * min((means <= 0).mean(), (means >= 0).mean()) <= ALPHA
    return found


def rates(world: World, races: int) -> dict[str, float]:
    """The share of races in which each test calls the two different."""
    rng = np.random.default_rng([world.samples, world.seeds])
    found: dict[str, list[float]] = {}
    for chunk in _chunks(races, 2 * world.seeds * world.samples):
        scores = world.scores(rng, chunk)
        said = claims(scores, world.group)
        _check(scores[:CHECKED], said, world)
        for name, one in said.items():
            found.setdefault(name, []).extend(one[:BOOTSTRAPPED] if name == "bootstrap" else one)
    return {name: float(np.mean(one)) for name, one in found.items()}


def _chunks(races: int, size: int) -> Iterator[int]:
    most = max(1, AT_ONCE // size)
    while races > 0:
        yield min(most, races)
        races -= most


def _check(scores: Floats, said: Claims, world: World) -> None:
    """Fails if the product says something else of these races."""
    groups = None if world.group == 1 else np.arange(world.samples) // world.group
    for race, sides in enumerate(scores):
        a, b = (EntryScores(name, dict(enumerate(side))) for name, side in zip("ab", sides, strict=True))
        answers = compare_samples(a, b, groups, binary=True)
        assert answers.recipe.p_value is not None
        if (answers.recipe.p_value <= ALPHA) != said["recipe"][race]:
            raise AssertionError(f"the product says p = {answers.recipe.p_value} of a race of {world}")


CASES: dict[str, World] = {
    "seeds and recipes alike": World(),
    "seeds make trials better or worse (sd 0.5)": World(of_seed=0.5),
    "each recipe suits samples of its own (sd 1)": World(of_sample=1.0),
    "both": World(of_seed=0.5, of_sample=1.0),
    "both, half of the seed common": World(of_seed=0.35, common_seed=0.35, of_sample=1.0),
    "both, twice as much": World(of_seed=1.0, of_sample=2.0),
    "both, samples in groups of 12": World(of_seed=0.5, of_sample=1.0, group=12),
    "1 of 10 trials diverges": World(diverges=0.1, of_sample=1.0),
}
SIZES = ((360, 2), (360, 3), (360, 5), (360, 10), (2000, 3))


def show(title: str, cases: dict[str, World], races: int, tests: tuple[str, ...]) -> None:
    """Print a table: a row for each case and test, a column for each size."""
    print(f"\n{title}, {races:,} races each; samples x seeds")
    print(" " * 62 + "".join(f"{f'{n}x{s}':>8}" for n, s in SIZES))
    for name, world in cases.items():
        found = [rates(replace(world, samples=n, seeds=s), races) for n, s in SIZES]
        for test in tests:
            print(f"{name:46}{test:16}" + "".join(f"{one[test]:8.1%}" for one in found), flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=1000)
    races = parser.parse_args().races
    for accuracy in (0.8, 0.97):
        cases = {name: replace(world, accuracy=accuracy) for name, world in CASES.items()}
        tests = ("recipe", "test_set", "samples", "satterthwaite", "seeds' freedom", "bootstrap")
        show(f"Equal recipes called different, accuracy {accuracy:.0%}", cases, races, tests)
    better = {
        f"{name}, a better by {by:g}": replace(CASES[name], accuracy=0.9, better=by)
        for name in ("seeds and recipes alike", "both")
        for by in (0.5, 1.0)
    }
    show("A difference found, accuracy 90%", better, races, ("recipe", "test_set", "samples"))


if __name__ == "__main__":
    main()
