"""Measures rank(), beside a simple loop with scipy.stats: one t test for each pair, then Holm's correction.

Both take turns, round by round, so that other load of the machine affects both. The ratio is that of the medians. For
1,000 entries, the loop runs on a random sample of the pairs and its time is scaled up. The output says so.

    python benchmarks/bench_stats.py [--rounds 5] [--cpu]

On a busy machine, --cpu counts seconds of CPU instead. The last line is the correction of 499,500 pairs that all
differ, which takes the most steps.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import combinations

import numpy as np
from scipy.stats import ttest_rel

from velodrome.stats import Sample, rank
from velodrome.stats.correction import adjusted

SEEDS = 20
LOOPED_PAIRS = 2000  # of the 499,500 pairs of 1,000 entries


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """The duration of `work`, by this clock."""
    started = clock()
    work()
    return clock() - started


def race(entries: int) -> list[Sample]:
    """Normal noise with variance 1 around means that are evenly spread over three standard deviations."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(entries, SEEDS)) + np.linspace(0, 3, entries)[:, None]
    return [Sample(f"entry-{row:04}", dict(enumerate(values[row].tolist()))) for row in range(entries)]


def loop(samples: list[Sample], pairs: list[tuple[int, int]]) -> list[float]:
    """The p-values of the pairs from a simple loop, corrected by Holm's procedure."""
    values = [list(sample.values.values()) for sample in samples]
    p_values = sorted(float(ttest_rel(values[a], values[b]).pvalue) for a, b in pairs)
    return [min(1.0, p_value * (len(pairs) - index)) for index, p_value in enumerate(p_values)]


def main() -> None:
    """Print a line for each size of race."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu", action="store_true", help="count seconds of CPU, not of the wall clock")
    arguments = parser.parse_args()
    rounds, clock = arguments.rounds, time.process_time if arguments.cpu else time.perf_counter
    for entries in (50, 1000):
        samples = race(entries)
        pairs = list(combinations(range(entries), 2))
        chosen = np.random.default_rng(1).permutation(len(pairs))[:LOOPED_PAIRS]
        looped = [pairs[index] for index in chosen]
        scale = len(pairs) / len(looped)
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(seconds(partial(rank, samples, "higher"), clock))
            theirs.append(seconds(partial(loop, samples, looped), clock) * scale)
        fast, slow = statistics.median(ours), statistics.median(theirs)
        how = "" if scale == 1 else f" (scaled up from {len(looped):,} pairs)"
        print(
            f"{entries:,} entries x {SEEDS} seeds, {len(pairs):,} pairs, median of {rounds}: "
            f"rank() {fast * 1e3:.1f} ms, loop over scipy.stats {slow * 1e3:,.0f} ms{how}: {slow / fast:,.0f} x"
        )
    p_values = np.random.default_rng(2).random(499_500) * 1e-9
    alone = statistics.median(seconds(partial(adjusted, p_values, 1000), clock) for _ in range(rounds))
    print(f"correction of {len(p_values):,} pairs that all differ: {alone * 1e3:,.0f} ms")


if __name__ == "__main__":
    main()
