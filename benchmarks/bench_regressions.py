"""Measures the detector's errors, its delay and its speed, beside other detectors.

Every detector gets the same series, made in this run. The peers are installed separately, so that the project does not
depend on them:

    python -m venv peers && peers/bin/pip install apache-otava ruptures
    python benchmarks/bench_regressions.py --peers peers/bin/python [--series 60] [--labelled LABELLED.json.gz]

Noise has a standard deviation of 2 % of the level: normal; skewed (exponential); heavy-tailed (Student's t with 3
degrees of freedom); bimodal (two modes, 1.8 standard deviations apart); AR(1) with ρ = 0.6. A step is 4 %, at a random
place in the middle third. It counts as found if a change point lies within 5 points of it. Every other change point is
false. Series with several steps have steps of 8 %. `benchmarks/labelled_series.py` describes these, and the file of
measured series that people marked.

The delay of the watch is compared with that of Page's CUSUM (1954), which here knows everything except the place of the
step: level, size, direction, correlation, and the whole density of the noise. Its bound is simulated for 0.1 false
alarms per 1,000 points. No real detector can know this much: it shows the best delay that is possible.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from velodrome.stats.changepoints import change_points_of
from velodrome.stats.watch import Watch

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.labelled_series import SHAPES, read_labelled, recall, stepped, tally, total

POINTS, LEVEL, NOISE, STEP, NEAR = 120, 100.0, 2.0, 4.0, 5
SEED = 20_261_124  # a seed that was not used to calibrate the bounds
_WATCHED_FROM = 30  # number of values before a watch begins
_SIMULATED = 40_000  # number of series for the CUSUM's bound and delay
KINDS = ("normal", "skewed", "heavy-tailed", "bimodal", "AR(1)")

Series = list[list[float]]
Found = list[list[int]]


def noise(kind: str, rng: np.random.Generator, series: int, points: int) -> NDArray[np.float64]:
    """Noise with mean 0 and variance 1."""
    shape = (series, points)
    if kind == "skewed":
        skewed: NDArray[np.float64] = rng.exponential(size=shape) - 1
        return skewed
    if kind == "heavy-tailed":
        heavy: NDArray[np.float64] = rng.standard_t(3, size=shape) / np.sqrt(3)
        return heavy
    if kind == "bimodal":
        modes: NDArray[np.float64] = 0.9 * rng.choice([-1.0, 1.0], size=shape)
        modes += np.sqrt(1 - 0.81) * rng.normal(size=shape)
        return modes
    values: NDArray[np.float64] = rng.normal(size=shape)
    if kind == "AR(1)":
        for place in range(1, points):
            values[:, place] = 0.6 * values[:, place - 1] + 0.8 * values[:, place]
    return values


def ours(series: Series) -> Found:
    """All change points."""
    return [[point.index for point in found] for found in change_points_of(series)]


def jump(series: Series) -> Found:
    """Finds values that differ from the previous one by more than 7 %."""
    return [[place for place in range(1, len(one)) if abs(one[place] / one[place - 1] - 1) > 0.07] for one in series]


def lookback(series: Series) -> Found:
    """Finds values more than 5 standard deviations from the mean of the previous 20."""
    found = []
    for one in series:
        windows = [(place, one[place - 20 : place]) for place in range(20, len(one))]
        found.append([p for p, w in windows if abs(one[p] - statistics.fmean(w)) > 5 * statistics.stdev(w)])
    return found


# Run by the peers' own interpreter: series in, change points and seconds out, both as JSON.
PEERS = """
import json, sys, time
import numpy as np, ruptures
from otava.analysis import compute_change_points

def otava(one):
    return [point.index for point in compute_change_points(one)[0]]

def strict_otava(one):
    return [point.index for point in compute_change_points(one, max_pvalue=1e-4, min_magnitude=0.02)[0]]

def pelt(one):
    values = np.asarray(one)
    # The usual penalty: 2 log n of the noise's variance, which the differences of neighbours show.
    variance = np.median(np.abs(np.diff(values))) ** 2 / (2 * 0.6745**2)
    found = ruptures.Pelt(model="l2", min_size=2, jump=1).fit(values).predict(2 * np.log(len(values)) * variance)
    return found[:-1]

series = json.load(sys.stdin)
answer = {}
for name, detect in (("Otava", otava), ("Otava p 1e-4, 2 %", strict_otava), ("PELT", pelt)):
    started = time.perf_counter()
    answer[name] = [list(map(int, detect(one))) for one in series], time.perf_counter() - started
json.dump(answer, sys.stdout)
"""


def peers(python: Path | None, series: Series) -> dict[str, tuple[Found, float]]:
    """The peers' change points and seconds; nothing if they are not installed."""
    if python is None:
        return {}
    done = subprocess.run(
        [python, "-c", PEERS], input=json.dumps(series), capture_output=True, text=True, check=True, timeout=1800
    )
    return {name: (found, seconds) for name, (found, seconds) in json.loads(done.stdout).items()}


def detected(python: Path | None, series: Series) -> dict[str, Found]:
    """The change points of every detector."""
    own: Mapping[str, Callable[[Series], Found]] = {"Velodrome": ours, "7 % jump": jump, "z > 5": lookback}
    return {name: detect(series) for name, detect in own.items()} | {
        name: found for name, (found, _) in peers(python, series).items()
    }


def score(found: Found, places: Sequence[int]) -> float:
    """The F1 score for the steps."""
    hits = sum(any(abs(one - place) <= NEAR for one in ones) for ones, place in zip(found, places, strict=True))
    claims = sum(map(len, found))
    return 2 * hits / (claims + len(places)) if claims else 0.0


def delays(series: Series, places: Sequence[int]) -> tuple[list[int], int]:
    """Delays from the step to the alarm, for series without an earlier alarm; and how many series had one."""
    waited, early = [], 0
    for one, place in zip(series, places, strict=True):
        watch = Watch()
        alarm = next((seen for seen, value in enumerate(one) if watch.append(value) is not None), None)
        if alarm is not None and alarm < place:
            early += 1
        else:
            waited.append(len(one) if alarm is None else alarm - place)
    return waited, early


def ratios(kind: str, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logarithm of each value's likelihood ratio, for a step at the value and for an earlier step.

    `values` are in standard deviations from the level. For autocorrelated noise, only the innovation of a value counts.
    """
    step = STEP / NOISE
    if kind == "AR(1)":
        fresh = values.copy()
        fresh[:, 1:] = (values[:, 1:] - 0.6 * values[:, :-1]) / 0.8
        first, later = step / 0.8, 0.4 * step / 0.8
        return first * fresh - first**2 / 2, later * fresh - later**2 / 2
    ratio = _log_density(kind, values - step) - _log_density(kind, values)
    return ratio, ratio


def _log_density(kind: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the noise's density, up to a constant."""
    if kind == "skewed":
        return np.where(values >= -1, -values, -np.inf)
    if kind == "heavy-tailed":
        heavy: NDArray[np.float64] = -2 * np.log1p(values**2)
        return heavy
    if kind == "bimodal":
        modes: NDArray[np.float64] = np.logaddexp(-((values - 0.9) ** 2) / 0.38, -((values + 0.9) ** 2) / 0.38)
        return modes
    normal: NDArray[np.float64] = -(values**2) / 2
    return normal


def cusum(kind: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest log likelihood ratio of a step at any place so far, after each value; none in the first 29."""
    first, later = ratios(kind, values)
    best, found = np.full(len(values), -np.inf), np.full(values.shape, -np.inf)
    for place in range(values.shape[1]):
        best = np.maximum(best + later[:, place], first[:, place])
        found[:, place] = best
    found[:, : _WATCHED_FROM - 1] = -np.inf
    return found


def knowing_everything(kind: str, rng: np.random.Generator) -> tuple[float, float]:
    """Median delay of that CUSUM, and its false alarms per 1,000 points of unchanged series."""
    highest = cusum(kind, noise(kind, rng, _SIMULATED, POINTS)).max(axis=1)
    bound = np.quantile(highest, 1 - POINTS / 10_000, method="higher") + 1e-9
    places = rng.integers(POINTS // 3, 2 * POINTS // 3 + 1, size=_SIMULATED)
    stepped = noise(kind, rng, _SIMULATED, POINTS) + STEP / NOISE * (np.arange(POINTS) >= places[:, None])
    alarmed = cusum(kind, stepped) > bound
    alarms = np.where(alarmed.any(axis=1), alarmed.argmax(axis=1), POINTS)
    waited = (alarms - places)[alarms >= places]
    return float(np.median(waited)), 1000 * float((highest > bound).mean()) / POINTS


def accuracy(python: Path | None, count: int) -> None:
    """False alarms, F1 and delay, for each noise."""
    rng = np.random.default_rng(SEED)
    for kind in KINDS:
        quiet = (LEVEL + NOISE * noise(kind, rng, count, POINTS)).tolist()
        answers = detected(python, quiet).items()
        alarms = {name: 1000 * sum(map(len, found)) / (count * POINTS) for name, found in answers}
        watched = sum(map(any_alarm, quiet))
        stepped = LEVEL + NOISE * noise(kind, rng, count, POINTS)
        places = rng.integers(POINTS // 3, 2 * POINTS // 3 + 1, size=count)
        stepped += STEP * (np.arange(POINTS) >= places[:, None])
        scores = {name: score(found, places.tolist()) for name, found in detected(python, stepped.tolist()).items()}
        waited, early = delays(stepped.tolist(), places.tolist())
        print(f"{kind}, {count} series x {POINTS} points")
        print("  false alarms per 1,000 points:", ", ".join(f"{name} {rate:.2f}" for name, rate in alarms.items()))
        print("  F1 of the 4 % step:", ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
        print(
            f"  watched value by value: median delay {statistics.median(waited):g} runs, {early} alarms before the "
            f"step; unchanged, {1000 * watched / (count * POINTS):.2f} false alarms per 1,000 points"
        )
        delay, rate = knowing_everything(kind, np.random.default_rng(SEED + 3))
        print(
            f"  a CUSUM that knows everything: median delay {delay:g} runs at {rate:.2f} false alarms per 1,000 points"
        )


def several_steps(python: Path | None, count: int) -> None:
    """How many of several steps each detector finds, and how often a step in the last 3 values is blamed on another."""
    rng = np.random.default_rng(SEED + 4)
    for shape in SHAPES:
        for kind in KINDS:
            series = LEVEL + NOISE * noise(kind, rng, count, 200 if shape == "staircase" else POINTS)
            places = stepped(shape, series, rng, 2 * STEP)
            print(f"{shape}, {kind}, {count} series:")
            for name, found in detected(python, series.tolist()).items():
                got = recall(found, places)
                told = (
                    f"{100 * got.found:.0f} % found, {100 * got.within_two:.0f} % of these within 2, {got.false} false"
                )
                print(
                    f"  {name}: {told if shape != 'the last 3' else f'{100 * got.early:.1f} % blame an earlier value'}"
                )


def measured(python: Path | None, path: Path) -> None:
    """The detectors' change points beside those that people agree on."""
    series = read_labelled(path)
    changes = sum(len(one.consensus) for one in series)
    print(f"{len(series)} measured series (HANA, SAP, CC BY 4.0), {changes} changes that people agree on")
    answers = detected(python, [one.values for one in series])
    answers["Velodrome, 2 %"] = [
        [point.index for point in found] for found in change_points_of([one.values for one in series], 0.02)
    ]
    for name, found in answers.items():
        print(f"  {name}: {total(tally(one, claims) for one, claims in zip(series, found, strict=True))}")


def any_alarm(values: list[float]) -> bool:
    """Whether a watch ever raises an alarm in the series."""
    watch = Watch()
    return any(watch.append(value) is not None for value in values)


def speed(python: Path | None) -> None:
    """The time for 1,000 series of 500 points, and for one more value of a watched series."""
    series = (LEVEL + NOISE * np.random.default_rng(SEED + 2).normal(size=(1000, 500))).tolist()
    took = []
    for _ in range(3):
        started = time.perf_counter()
        ours(series)
        took.append(time.perf_counter() - started)
    line = f"1,000 series x 500 points: median {statistics.median(took):.2f} s of 3"
    sample = series[:20]
    for name, (_, seconds) in peers(python, sample).items():
        ratio = seconds * 50 / statistics.median(took)
        line += f"; {name} {seconds * 50:,.1f} s (scaled up from {len(sample)} series), {ratio:.0f} x"
    print(line)
    watch, appended = Watch(series[0][:499]), []
    for value in series[1]:
        started = time.perf_counter()
        watch.append(value)
        appended.append(time.perf_counter() - started)
    print(f"one more value for a series of 500: median {1e3 * statistics.median(appended):.2f} ms")


def main() -> None:
    """Prints every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="Python that has apache-otava and ruptures")
    parser.add_argument("--series", type=int, default=60, help="series for each noise")
    parser.add_argument("--labelled", type=Path, help="series that people marked")
    given = parser.parse_args()
    if given.peers is None:
        print("without --peers: Otava and PELT are left out", file=sys.stderr)
    accuracy(given.peers, given.series)
    several_steps(given.peers, given.series)
    if given.labelled is not None:
        measured(given.peers, given.labelled)
    speed(given.peers)


if __name__ == "__main__":
    main()
