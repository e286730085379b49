"""How well noise floors and profiles hold, by simulation on boards whose truth is known. Prints tables.

    python benchmarks/simulate_noise.py [--boards 150] [--part noise|profile]

A noise floor is judged by its estimates (median, and how often their 95 % interval holds the truth) and by how many A/A
comparisons were called different. A profile is judged by how often the interval of its mean holds the truth.
"""

from __future__ import annotations

import argparse
from statistics import mean, median

import numpy as np

from velodrome.stats import Sample
from velodrome.stats.noise import Estimate, Twins, between_jobs, differences, over_seeds
from velodrome.stats.profile import interquartile_mean

_SEEDS = 5


def board(rng: np.random.Generator, jobs: int, entries: int, between: float, together: float) -> np.ndarray:
    """Values by entry, job and seed. Seeds deviate by 1, jobs by `between`; `together` of that variance is common."""
    common = np.sqrt(together) * rng.normal(size=(1, jobs, 1))
    own = np.sqrt(1 - together) * rng.normal(size=(entries, jobs, 1))
    found: np.ndarray = 100 + between * (common + own) + rng.normal(size=(entries, jobs, _SEEDS))
    return found


def holds(found: Estimate, truth: float) -> bool:
    """Whether the interval holds the truth; no interval does not."""
    return found.low is not None and found.high is not None and found.low <= truth <= found.high


def noise(rng: np.random.Generator, boards: int) -> None:
    """Prints a row for each kind of board."""
    columns = "jobs | entries | between jobs | common | found, median | held | over seeds, median | held | called"
    print(f"| {columns} |")
    print("|---|---|---|---|---|---|---|---|---|")
    for jobs, entries, between, together in (
        (8, 5, 0.0, 0.0),
        (8, 5, 1.0, 0.0),
        (8, 5, 1.0, 1.0),
        (20, 5, 0.5, 0.5),
        (20, 5, 1.0, 1.0),
        (20, 1, 1.0, 0.0),
    ):
        across, seeds, called = [], [], []
        for _ in range(boards):
            values = board(rng, jobs, entries, between, together)
            samples = [[Sample("one", dict(enumerate(job.tolist()))) for job in entry] for entry in values]
            twins = [
                Twins(entry[job], entry[job + 1], str(place), str(job))
                for place, entry in enumerate(samples)
                for job in range(jobs - 1)
            ]
            across.append(between_jobs(twins, "points"))
            seeds.append(over_seeds([job for entry in samples for job in entry], "points"))
            tested = differences(twins, "points", 0.05).called
            called.append(0.0 if tested is None else tested.hits / tested.of)
        known = [found for found in across if found is not None]
        spread = [found for found in seeds if found is not None]
        print(
            f"| {jobs} | {entries} | {between:g} | {together:.0%} | {median(one.value for one in known):.2f} "
            f"| {mean(holds(one, between) for one in known):.0%} | {median(one.value for one in spread):.2f} "
            f"| {mean(holds(one, 1.0) for one in spread):.0%} | {mean(called):.1%} |",
            flush=True,
        )


def profile(rng: np.random.Generator, boards: int) -> None:
    """Prints a row for each number of boards and runs: scores are normal, with boards 0, 1, 2 … apart."""
    print("| boards | runs on each | held |")
    print("|---|---|---|")
    for count, runs in ((3, 3), (3, 5), (3, 10), (10, 3), (10, 5), (10, 10), (3, 20)):
        many = [rng.normal(place / 2, 1, 200_000) for place in range(count)]
        truth = float(np.mean(np.sort(np.concatenate(many))[len(many[0]) * count // 4 : -len(many[0]) * count // 4]))
        held = []
        for _ in range(boards):
            found = interquartile_mean([rng.normal(place / 2, 1, runs).tolist() for place in range(count)], 0, 1000)
            held.append(found.low <= truth <= found.high)
        print(f"| {count} | {runs} | {mean(held):.0%} |", flush=True)


def main() -> None:
    """Simulates and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boards", type=int, default=150)
    parser.add_argument("--part", choices=("noise", "profile"))
    given = parser.parse_args()
    for name, part in (("noise", noise), ("profile", profile)):
        if given.part in (None, name):
            print(f"\n{name}, {given.boards} boards a row")
            part(np.random.default_rng(20260101), given.boards)


if __name__ == "__main__":
    main()
