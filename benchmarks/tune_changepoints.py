"""Tries constants of `change_points` on labelled series, and says how a choice does on series it did not see.

    python benchmarks/tune_changepoints.py LABELLED.json.gz [--rounds 20]

`benchmarks/labelled_series.py` describes the file. Constants are allowed if unchanged AR(1) noise with ρ = 0.6 has at
most 0.2 false alarms per 1,000 points. Of these, the F1 score decides, at a precision of 0.45 or more.
Cross-validation has five folds; the parts of one test's series stay together. The same seeds give the same figures.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np

from velodrome.stats import changepoints

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.bench_regressions import noise
from benchmarks.labelled_series import Tally, read_labelled, tally, total

GRID = {"_MANY": (0.75, 1.0, 1.25), "_FEW": (40.0, 60.0, 100.0), "_LEAST_STEP": (0.75, 1.0, 1.25)}
FOLDS, MOST_FALSE, LEAST_PRECISION = 5, 0.2, 0.45

Setting = tuple[float, ...]


def worth(one: Tally) -> tuple[bool, float]:
    """What settings are chosen by, largest first."""
    return one.hits >= LEAST_PRECISION * one.claims, one.f1


def main() -> None:
    """Prints the figures of each setting, then those of cross-validation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    series = read_labelled(given.labelled)
    quiet = noise("AR(1)", np.random.default_rng(7), 2000, 120).tolist()
    allowed: dict[Setting, list[Tally]] = {}
    for setting in product(*GRID.values()):
        for name, value in zip(GRID, setting, strict=True):
            setattr(changepoints, name, value)
        false = sum(map(len, changepoints.change_points_of(quiet))) / (2 * 120)
        found = changepoints.change_points_of([one.values for one in series])
        tallies = [tally(one, [point.index for point in points]) for one, points in zip(series, found, strict=True)]
        print(dict(zip(GRID, setting, strict=True)), total(tallies), f"; AR(1): {false:.2f} false alarms", flush=True)
        if false <= MOST_FALSE:
            allowed[setting] = tallies
    names = [one.name.split("_split")[0] for one in series]
    tests, chosen, scores = sorted(set(names)), Counter[Setting](), []
    for seed in range(given.rounds):
        places = np.random.default_rng(seed).permutation(len(tests)) % FOLDS
        fold = dict(zip(tests, places.tolist(), strict=True))
        unseen = []
        for held in range(FOLDS):
            seen = {
                setting: total(each for each, name in zip(tallies, names, strict=True) if fold[name] != held)
                for setting, tallies in allowed.items()
            }
            best = max(seen, key=lambda setting: worth(seen[setting]))
            chosen[best] += 1
            unseen += [each for each, name in zip(allowed[best], names, strict=True) if fold[name] == held]
        scores.append(total(unseen))
    middle = sorted(scores, key=lambda one: one.f1)[len(scores) // 2]
    least, most = min(one.f1 for one in scores), max(one.f1 for one in scores)
    print(f"cross-validated: median {middle}; F1 from {least:.3f} to {most:.3f} in {given.rounds} rounds")
    print("chosen:", ", ".join(f"{setting} {times} x" for setting, times in chosen.most_common()))


if __name__ == "__main__":
    main()
