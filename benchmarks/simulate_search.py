"""Searches the same space twice, again and again: by TPE with early ends (ASHA), and at random with each trial in full.

    python benchmarks/simulate_search.py [--only table|series] [--searches 10] [--arms random,TPE] [--keep FILE]

`TPE` decides first after 3 epochs of 27, and `TPE-1` after the first one.

The search is Velodrome's own (`velodrome.search`), and so is each trial (`velodrome_runner`), one after another in this
process. The table is scikit-learn's handwritten digits with few samples, because networks are as good as perfect on all
of them. The series are aeon's JapaneseVowels, as in the UCR/UEA archive. Printed are:

- the epochs that such a search trained, as a share of those at random;
- the confirmed accuracy of both on test data, and whether it is non-inferior to random: the lower end of the one-sided
  95 % interval of the mean difference over pairs of searches, against a margin of 0.5 points;
- the gap: the luckiest trial's accuracy on validation data minus the mean of the confirming trials there, over all
  searches. A search that reports its luckiest trial promises so much too much.

With --keep, a run that was broken off goes on after the last search that has ended.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from scipy.stats import t as student

from velodrome.errors import TrialFailed
from velodrome.plan import Trial, plan
from velodrome.results.records import Phase
from velodrome.search.outcomes import Outcome
from velodrome.search.state import SearchState
from velodrome.search.study import Told
from velodrome.search.trials import confirming, search_plan
from velodrome.spec import validate
from velodrome_runner.measuring import Measured, measure
from velodrome_runner.reporting import TrainingState
from velodrome_runner.settings import Settings

TRIALS, EPOCHS, FRESH, MARGIN, CONFIDENCE = 60, 27, 10, 0.005, 0.95
FEW = 400  # samples to train and validate on
ARMS: Mapping[str, Mapping[str, Any]] = {
    "random": {"algorithm": "Random"},
    "TPE": {"algorithm": "TPE", "pruner": {"name": "ASHA", "minEpochs": 3, "reductionFactor": 3}},
    "TPE-1": {"algorithm": "TPE", "pruner": {"name": "ASHA", "minEpochs": 1, "reductionFactor": 3}},
}
_RATE, _OPTIMIZER = "training.optimizer.learningRate", "training.optimizer.name"
PARAMETERS: list[dict[str, Any]] = [
    {"name": _RATE, "type": "LogFloat", "low": 1e-4, "high": 0.5},
    {"name": _OPTIMIZER, "type": "Categorical", "choices": ["SGD", "AdamW"]},
    {
        "name": "training.optimizer.momentum",
        "type": "Float",
        "low": 0,
        "high": 0.99,
        "when": {"parameter": _OPTIMIZER, "values": ["SGD"]},
    },
    {"name": "training.batchSize", "type": "Categorical", "choices": [16, 32, 64]},
    {"name": "training.regularization.dropout", "type": "Float", "low": 0, "high": 0.6},
    {"name": "model.args.hidden", "type": "Integer", "low": 8, "high": 64, "step": 8},
]
SETS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "table": (
        "velodrome/mlp",
        {
            "name": "few-digits",
            "format": "CSV",
            "source": {"path": "digits"},
            "target": "digit",
            "splits": {"files": {"train": "few.csv", "test": "others.csv"}},
            "validationFraction": 0.4,
        },
    ),
    "series": (
        "velodrome/gru",
        {"name": "JapaneseVowels", "format": "TimeSeries", "source": {"path": "series"}, "validationFraction": 0.4},
    ),
}


class EndedEarlyError(Exception):
    """The pruner ended this trial."""


def job(data: str, arm: str, number: int) -> dict[str, Any]:
    """The job of one search. Searches of one number have the same seeds, and so the same splits."""
    model, dataset = SETS[data]
    return {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": f"{arm.lower()}-{number}"},
        "spec": {
            "task": "classification",
            "objectives": [{"name": "accuracy", "metric": "accuracy"}],
            "dataset": dataset,
            "budget": {"maxEpochs": EPOCHS},
            "evaluation": {"metrics": ["accuracy"]},
            "search": {
                "maxTrials": TRIALS,
                "seed": number,
                "objectives": [{"metric": "accuracy"}],
                "parameters": PARAMETERS,
                "confirm": {"repeats": FRESH},
                **ARMS[arm],
            },
            "trials": {"baseSeed": 1000 * number},
            "entries": [{"name": "net", "model": {"name": model}}],
        },
    }


def write_data(folder: Path) -> None:
    """The table and the series, as files."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    head = ",".join([f"p{pixel}" for pixel in range(images.shape[1])] + ["digit"])
    lines = [",".join([f"{value:g}" for value in row] + [f"d{own}"]) for row, own in zip(images, labels, strict=True)]
    (folder / "digits").mkdir()
    for name, rows in (("few", lines[:FEW]), ("others", lines[FEW:])):
        (folder / "digits" / f"{name}.csv").write_text("\n".join([head, *rows]) + "\n")
    found = find_spec("aeon")
    if found is None or found.origin is None:
        raise SystemExit("aeon is missing: tools/sync installs the development dependencies")
    (folder / "series").mkdir()
    for part in ("TRAIN", "TEST"):
        name = f"JapaneseVowels/JapaneseVowels_{part}.ts"
        shutil.copy(Path(found.origin).parent / "datasets/data" / name, folder / "series" / f"series_{part}.ts")


def ran(trial: Trial, folder: Path, state: SearchState | None, steps: dict[int, float]) -> Measured | None:
    """One trial, with its value after each epoch in `steps`; None if the pruner of `state` ended it."""
    settings = Settings(
        spec=folder / "none", index=trial.index, job_uid="u", attempt="a", redis_url=None, data=folder,
        scratch=folder, concurrent=1, deadline=0.0,
    )  # fmt: skip

    def look(_: Phase, moment: TrainingState | None) -> None:
        if moment is not None and moment.point is not None:
            steps[moment.epoch] = moment.point.validation["accuracy"]
            if state is not None and state.ends(trial.index, steps):
                raise EndedEarlyError

    try:
        return measure(trial, settings, threads=1, device=torch.device("cpu"), on_phase=look, timed=False)
    except EndedEarlyError:
        return None


def searched(data: str, arm: str, number: int, folder: Path) -> dict[str, Any]:
    """One search to its end, and its winner on fresh seeds."""
    made = plan(validate(job(data, arm, number)))
    state, began = SearchState(made), time.process_time()
    while (index := state.next(())) is not None:
        suggestion = state.suggest(index)
        state.note(index, suggestion, suggestion)
        trial, steps = search_plan(made, state.suggestions).trial(index), dict[int, float]()
        try:
            ended = ran(trial, folder, state, steps) is None
            told = Told("Pruned", steps=steps) if ended else Told("Complete", (steps[max(steps)],), steps)
        except TrialFailed as error:
            told = Told("Failed", avoided=error.reason == "LossNotFinite")
        state.tell(index, Outcome(told, epochs=len(steps)))
    found = state.searched()
    chosen = found.entries["net"]
    validation, test = [], []
    after = confirming(made, found)
    for index in range(FRESH):
        steps = {}
        measured = ran(after.trial(index), folder, None, steps)
        assert measured is not None
        validation.append(steps[max(steps)])
        test.append(measured.metrics["accuracy"])
    return {
        "set": data,
        "arm": arm,
        "number": number,
        "epochs": chosen.spent.epochs,
        "pruned": chosen.spent.pruned,
        "failed": chosen.spent.failed,
        "selected": chosen.objectives["accuracy"],
        "confirmed": fmean(validation),
        "test": fmean(test),
        "values": dict(chosen.values),
        "seconds": time.process_time() - began,
    }


def known(file: Path | None) -> list[dict[str, Any]]:
    """The searches that ended before; a line that was cut off is none."""
    if file is None or not file.exists():
        return []
    found = []
    for text in file.read_text().splitlines():
        try:
            found.append(json.loads(text))
        except ValueError:
            continue
    return found


def one_sided(values: list[float]) -> float:
    """The lower end of the one-sided interval of the mean."""
    error = stdev(values) / math.sqrt(len(values))
    return fmean(values) - float(student.ppf(CONFIDENCE, len(values) - 1)) * error


def summary(data: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    """What the searches of one set show, in points of accuracy."""
    arms = {arm: {row["number"]: row for row in rows if row["arm"] == arm} for arm in ARMS}
    for arm, found in arms.items():
        for name in ("epochs", "selected", "confirmed", "test", "seconds"):
            values = [row[name] for row in found.values()]
            if len(values) > 1:
                digits = 0 if name in ("epochs", "seconds") else 4
                mean, spread = f"{fmean(values):.{digits}f}", f"{stdev(values):.{digits}f}"
                yield f"{data}, {arm}: {name} {mean} (SD {spread}, n = {len(values)})"
    gaps = [row["selected"] - row["confirmed"] for row in rows]
    if len(gaps) > 1:
        yield (
            f"{data}: the luckiest trial promises {100 * fmean(gaps):.2f} points too much "
            f"(from {100 * min(gaps):.2f} to {100 * max(gaps):.2f}, {len(gaps)} searches)"
        )
    for arm in ARMS.keys() - {"random"}:
        both = sorted(arms["random"].keys() & arms[arm].keys())
        if len(both) < 2:
            continue
        share = [arms[arm][number]["epochs"] / arms["random"][number]["epochs"] for number in both]
        yield f"{data}: epochs of {arm} are {fmean(share):.1%} of those at random (at most {max(share):.1%})"
        by = [arms[arm][number]["test"] - arms["random"][number]["test"] for number in both]
        low = one_sided(by)
        verdict = "non-inferior" if low > -MARGIN else "not shown to be non-inferior"
        yield (
            f"{data}: confirmed test accuracy of {arm} differs by {100 * fmean(by):+.2f} points, one-sided "
            f"{CONFIDENCE:.0%} limit {100 * low:+.2f}: {verdict} (margin {100 * MARGIN:.1f}, {len(both)} pairs)"
        )


def main() -> None:
    """Runs what was not run yet, and prints what all of it shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=10, help="searches of each kind (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first search (default: %(default)s)")
    parser.add_argument("--arms", default="random,TPE", help="kinds of search (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="a file for the results (default: they are not kept)")
    parser.add_argument("--only", choices=SETS, help="one set; both if absent")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = known(given.keep)
    done = {(row["set"], row["arm"], row["number"]) for row in rows}
    sets = [given.only] if given.only else list(SETS)
    with tempfile.TemporaryDirectory(prefix="velodrome-search-") as folder:
        write_data(Path(folder))
        for data in sets:
            for number in range(given.first, given.first + given.searches):
                for arm in given.arms.split(","):
                    if (data, arm, number) in done:
                        continue
                    rows.append(searched(data, arm, number, Path(folder)))
                    print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
                    if given.keep is not None:
                        with given.keep.open("a") as stream:
                            stream.write(json.dumps(rows[-1]) + "\n")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs; {TRIALS} trials, at most {EPOCHS} epochs each")
    for data in sets:
        for text in summary(data, [row for row in rows if row["set"] == data]):
            print(text)


if __name__ == "__main__":
    main()
