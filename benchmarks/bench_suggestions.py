"""What a suggestion costs beside Optuna alone, and that it is the same one.

    python benchmarks/bench_suggestions.py [--trials 100 1000] [--parameters 5] [--made]

A study of Velodrome (`velodrome.search.study`) and a plain loop of Optuna's ask and tell choose trial after trial by
TPE, with the same seeds and results. Printed for each number of trials: how many suggestions are equal, the CPU time of
the last 20 suggestions of both, their ratio, and what it takes to make the study again from what is stored. Seconds are
of this process's CPU, because a machine may be busy.

With --made, random points take the place of all suggestions but the last 20: then 10,000 trials take minutes.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import time
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution

from velodrome.results.searches import Suggestion
from velodrome.search.library import check_optuna
from velodrome.search.sampling import trial_seed
from velodrome.search.study import EntryStudy, Told
from velodrome.spec import Search

_TIMED = 20


def cost(values: dict[str, Any]) -> float:
    """A sphere, whose middle is off the middle of the space."""
    return float(sum((value - 0.3) ** 2 for value in values.values()))


def search(parameters: int, trials: int) -> Search:
    """A search by TPE over so many numbers from 0 to 1."""
    names = [{"name": f"x{at}", "type": "Float", "low": 0, "high": 1} for at in range(parameters)]
    return Search.model_validate({"parameters": names, "maxTrials": trials, "seed": 1})


def timed(trials: int, suggest: Callable[[int], dict[str, Any]]) -> tuple[list[dict[str, Any]], float]:
    """All suggestions, and the median CPU time of the last ones."""
    found, seconds = [], []
    for number in range(trials):
        began = time.process_time()
        found.append(suggest(number))
        seconds.append(time.process_time() - began)
    return found, statistics.median(seconds[-_TIMED:])


def ours(parameters: int, trials: int) -> tuple[list[dict[str, Any]], float, list[Suggestion]]:
    """The suggestions of a study, told one after another."""
    study, made = EntryStudy(search(parameters, trials), "e", ["minimize"]), list[Suggestion]()

    def suggest(_: int) -> dict[str, Any]:
        values, one = suggested(study)
        made.append(one)
        return values

    return *timed(trials, suggest), made


def alone(parameters: int, trials: int) -> tuple[list[dict[str, Any]], float]:
    """The suggestions of Optuna in a plain loop."""
    study = optuna.create_study(study_name="e")
    return timed(trials, lambda number: asked(study, parameters, number))


def history(parameters: int, trials: int) -> list[Suggestion]:
    """Random points, as a search would have suggested them."""
    chance = random.Random(trials)  # noqa: S311 - the same points each time
    return [
        Suggestion(entry="e", number=number, values={f"x{at}": chance.random() for at in range(parameters)})
        for number in range(trials)
    ]


def after(parameters: int, trials: int) -> tuple[int, float, float]:
    """How many suggestions are equal after random points, and the median CPU time of ours and of Optuna's."""
    points = history(parameters, trials - _TIMED)
    study = EntryStudy(search(parameters, trials), "e", ["minimize"])
    study.resume(points, {one.number: Told("Complete", (cost(dict(one.values)),)) for one in points})
    plain = optuna.create_study(study_name="e")
    ends: dict[str, BaseDistribution] = {f"x{at}": FloatDistribution(0, 1) for at in range(parameters)}
    for one in points:
        values = dict(one.values)
        plain.add_trial(optuna.trial.create_trial(params=values, distributions=ends, value=cost(values)))
    found, own = timed(_TIMED, lambda _: suggested(study)[0])
    wanted, bare = timed(_TIMED, lambda number: asked(plain, parameters, len(points) + number))
    return sum(map(_same, found, wanted)), own, bare


def suggested(study: EntryStudy) -> tuple[dict[str, Any], Suggestion]:
    """The next suggestion of a study, which is told what it gives."""
    made = study.suggest()
    values = dict(made.values)
    study.tell(made.number, Told("Complete", (cost(values),)))
    return values, made


def asked(study: optuna.Study, parameters: int, number: int) -> dict[str, Any]:
    """The next suggestion of Optuna in a plain loop."""
    study.sampler = optuna.samplers.TPESampler(seed=trial_seed(1, number))
    trial = study.ask()
    values = {f"x{at}": trial.suggest_float(f"x{at}", 0, 1) for at in range(parameters)}
    study.tell(trial, cost(values))
    return values


def made_again(parameters: int, trials: int, made: list[Suggestion]) -> tuple[float, float]:
    """The CPU time and the memory in MiB of a study that is made again from what is stored."""
    told = {one.number: Told("Complete", (cost(dict(one.values)),)) for one in made}
    tracemalloc.start()
    began = time.process_time()
    study = EntryStudy(search(parameters, trials), "e", ["minimize"])
    study.resume(made, told)
    seconds, (size, _) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return seconds, size / 2**20


def main() -> None:
    """Prints a line for each number of trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000], help="sizes (default: 100 1000)")
    parser.add_argument("--parameters", type=int, default=5, help="numbers that are searched (default: %(default)s)")
    parser.add_argument("--made", action="store_true", help="after random points")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    check_optuna()
    print(f"Optuna {optuna.__version__}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    for trials in given.trials:
        if given.made:
            equal, own, bare = after(given.parameters, trials)
            print(
                f"after {trials - _TIMED:,} random trials: {equal} of {_TIMED} suggestions equal; {1000 * own:.1f} ms"
                f" of CPU each, Optuna alone {1000 * bare:.1f} ms: {own / bare:.2f} ×",
                flush=True,
            )
            continue
        found, own, made = ours(given.parameters, trials)
        wanted, bare = alone(given.parameters, trials)
        equal = sum(map(_same, found, wanted))
        again, size = made_again(given.parameters, trials, made)
        print(
            f"{trials:,} trials: {equal:,} suggestions equal; {1000 * own:.1f} ms of CPU each, Optuna alone "
            f"{1000 * bare:.1f} ms: {own / bare:.2f} ×; made again in {again:.1f} s of CPU, {size:.1f} MiB",
            flush=True,
        )


def _same(own: dict[str, Any], other: dict[str, Any]) -> bool:
    return own.keys() == other.keys() and all(math.isclose(own[name], other[name], rel_tol=0) for name in own)


if __name__ == "__main__":
    main()
