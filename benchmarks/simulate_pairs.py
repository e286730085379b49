"""Simulates how often the tests of kept samples call equal recipes different, and how often they find a difference: the
tables of docs/decisions/0046-which-samples-a-trial-got-right.md.

    python benchmarks/simulate_pairs.py [--races 2000]

A model is right on a sample if its skill is larger than what the sample asks. The skill has a part of the seed, a part of
what the recipe makes of the sample (or of its group), and a part of chance.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from velodrome.stats.persample import EntryScores, PairedAnswers, compare_samples

Floats = NDArray[np.float64]
ALPHA = 0.05
DIFFICULTY = 3.0  # standard deviation of what samples ask, beside chance of 1.8


@dataclass(frozen=True, slots=True)
class World:
    """How trials differ: standard deviations of the parts of a skill. `diverges` is the share of trials that lose 4."""

    accuracy: float = 0.97
    samples: int = 360
    seeds: int = 5
    of_seed: float = 0.0
    of_sample: float = 0.0
    group: int = 1  # samples in a group, which share what the recipe makes of them
    diverges: float = 0.0
    shared_seed: float = 0.0
    better: float = 0.0  # how much more skill a has

    def scores(self, rng: np.random.Generator) -> Floats:
        """Right or wrong: (2, seeds, samples)."""
        groups = -(-self.samples // self.group)
        asks = np.repeat(rng.normal(0, DIFFICULTY, groups), self.group)[: self.samples]
        if self.group > 1:
            asks = asks / math.sqrt(2) + rng.normal(0, DIFFICULTY / math.sqrt(2), self.samples)
        suits = np.repeat(rng.normal(0, self.of_sample, (2, groups)), self.group, axis=1)[:, : self.samples]
        seed = rng.normal(0, self.of_seed, (2, self.seeds)) + rng.normal(0, self.shared_seed, self.seeds)
        seed -= 4.0 * (rng.random((2, self.seeds)) < self.diverges)
        chance = rng.logistic(size=(2, self.seeds, self.samples))
        skill = self.level + np.array([self.better, 0.0])[:, None, None] + seed[:, :, None] + suits[:, None] + chance
        return (skill > asks).astype(np.float64)

    @property
    def level(self) -> float:
        """The skill of this accuracy, by a logistic-normal approximation."""
        spread = math.sqrt(
            1 + math.pi / 8 * (DIFFICULTY**2 + self.of_seed**2 + self.of_sample**2 + self.shared_seed**2)
        )
        return math.log(self.accuracy / (1 - self.accuracy)) * spread

    @property
    def groups(self) -> NDArray[np.int64] | None:
        return None if self.group == 1 else np.arange(self.samples) // self.group


Test = Callable[[Floats, PairedAnswers, World], float]


def parts(scores: Floats, world: World) -> tuple[float, float, float, float, int]:
    """The mean difference, the variances of it by seeds, by samples (or groups) and by both, and how many groups."""
    both = scores[0] - scores[1]
    of_group = np.arange(world.samples) if world.groups is None else world.groups
    count = int(of_group.max()) + 1
    cells = np.stack([np.bincount(of_group, weights=row) for row in both - both.mean()]) / both.size
    seeds = world.seeds
    by_seed = seeds / (seeds - 1) * (cells.sum(axis=1) ** 2).sum()
    by_group = count / (count - 1) * (cells.sum(axis=0) ** 2).sum()
    apart = cells - cells.mean(axis=1, keepdims=True) - cells.mean(axis=0)
    rest = seeds * count / ((seeds - 1) * (count - 1)) * (apart**2).sum()
    return float(both.mean()), float(by_seed), float(by_group), float(rest), count


def student(difference: float, variance: float, freedom: float) -> float:
    return float(2 * stdtr(freedom, -abs(difference) / math.sqrt(variance))) if variance > 0 else float(difference == 0)


def plain(scores: Floats, _: PairedAnswers, world: World) -> float:
    """As the recipe's test, without two more samples."""
    difference, by_seed, by_group, rest, count = parts(scores, world)
    variance = max(by_seed + by_group - rest, by_seed, by_group)
    weight = by_seed**2 / (world.seeds - 1) + by_group**2 / (count - 1)
    return student(difference, variance, variance**2 / weight if weight else 1)


def unfloored(scores: Floats, _: PairedAnswers, world: World) -> float:
    """As `plain`, and the variance may be smaller than that of seeds alone or of samples alone."""
    difference, by_seed, by_group, rest, count = parts(scores, world)
    variance = max(by_seed + by_group - rest, 1e-12)
    weight = by_seed**2 / (world.seeds - 1) + by_group**2 / (count - 1) + rest**2 / (world.seeds - 1) / (count - 1)
    return student(difference, variance, variance**2 / weight if weight else 1)


def summed(scores: Floats, _: PairedAnswers, world: World) -> float:
    """As `plain`, without taking away what both variances have in common."""
    difference, by_seed, by_group, _rest, count = parts(scores, world)
    variance = by_seed + by_group
    weight = by_seed**2 / (world.seeds - 1) + by_group**2 / (count - 1)
    return student(difference, variance, variance**2 / weight if weight else 1)


def careful(scores: Floats, _: PairedAnswers, world: World) -> float:
    """As `plain`, with the degrees of freedom of the seeds alone."""
    difference, by_seed, by_group, rest, _count = parts(scores, world)
    return student(difference, max(by_seed + by_group - rest, by_seed, by_group), world.seeds - 1)


def bootstrap(scores: Floats, _: PairedAnswers, world: World, rounds: int = 500) -> float:
    """Seeds and groups drawn with replacement (Owen 2007): twice the smaller share of means on one side of 0."""
    both = scores[0] - scores[1]
    of_group = np.arange(world.samples) if world.groups is None else world.groups
    cells = np.stack([np.bincount(of_group, weights=row) for row in both])
    sizes = np.bincount(of_group)
    rng = np.random.default_rng(int(scores.sum()))
    seeds, groups = cells.shape
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), rounds)
    of_groups = rng.multinomial(groups, np.full(groups, 1 / groups), rounds)
    means = ((of_seeds @ cells) * of_groups).sum(axis=1) / (of_groups @ sizes) / seeds
    return min(1.0, 2 * min(float((means <= 0).mean()), float((means >= 0).mean())))


def answer(name: str) -> Test:
    def p_value(_: Floats, found: PairedAnswers, __: World) -> float:
        p = getattr(found, name).p_value
        return 1.0 if p is None else p

    return p_value


TESTS: dict[str, Test] = {name: answer(name) for name in ("weights", "recipe", "test_set")}
OTHERS: dict[str, Test] = {one.__name__: one for one in (plain, unfloored, summed, careful, bootstrap)}


def rates(world: World, races: int, tests: dict[str, Test]) -> dict[str, float]:
    """The share of races in which each test calls the two different."""
    rng = np.random.default_rng([world.samples, world.seeds])
    claims = dict.fromkeys(tests, 0)
    for _ in range(races):
        scores = world.scores(rng)
        sides = [EntryScores(name, dict(enumerate(side))) for name, side in zip("ab", scores, strict=True)]
        found = compare_samples(*sides, world.groups, binary=True)
        for name, test in tests.items():
            claims[name] += test(scores, found, world) <= ALPHA
    return {name: count / races for name, count in claims.items()}


CASES: dict[str, World] = {
    "seeds and samples are all that differs": World(),
    "seeds make trials better or worse (sd 0.5)": World(of_seed=0.5),
    "recipes suit other samples (sd 1)": World(of_sample=1.0),
    "both": World(of_seed=0.5, of_sample=1.0),
    "both, strongly": World(of_seed=1.0, of_sample=2.0),
    "both, and half of the seed is common": World(of_seed=0.35, shared_seed=0.35, of_sample=1.0),
    "both, samples in groups of 12": World(of_seed=0.5, of_sample=1.0, group=12),
    "1 of 10 trials diverges": World(diverges=0.1, of_sample=1.0),
}
SIZES = ((100, 2), (100, 5), (360, 2), (360, 3), (360, 5), (360, 10), (2000, 3), (2000, 5))


def show(title: str, races: int, tests: dict[str, Test], accuracies: tuple[float, ...]) -> None:
    print(f"\n{title}, {races:,} races each")
    print(" " * 46 + "".join(f"{f'{n}x{s}':>9}" for n, s in SIZES))
    for accuracy in accuracies:
        for name, world in CASES.items():
            found = [rates(replace(world, accuracy=accuracy, samples=n, seeds=s), races, tests) for n, s in SIZES]
            for test in tests:
                cells = "".join(f"{one[test]:9.1%}" for one in found)
                print(f"{accuracy:5.1%} {name[:40]:40}\n     {test:>40} {cells}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=300)
    races = parser.parse_args().races
    show("Equal recipes that are called different", races, TESTS | OTHERS, (0.8, 0.97, 0.995))


if __name__ == "__main__":
    main()
