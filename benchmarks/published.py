"""Races Velodrome's networks on public sets, and shows their accuracy beside published ones, or beside scikit-learn's.

    python benchmarks/published.py [--set GunPoint] [--repeats 5] [--keep FOLDER]

The series come from aeon, a development dependency, and are split as in the UCR/UEA archive. The digits are
scikit-learn's; its classifiers learn from the same training split in the same run. Every network trains on the whole
training split. With --keep, a run that was broken off goes on after the last trial that has ended.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

# By name of the set: epochs, and the batch size of [1]: a tenth of the samples, and 16 at most.
SETS = {"GunPoint": (100, 5), "ItalyPowerDemand": (100, 6), "JapaneseVowels": (60, 16), "digits": (30, 128)}
SERIES: dict[str, tuple[dict[str, Any], float, dict[str, Any]]] = {
    "gru": ({"name": "velodrome/gru", "args": {"hidden": 64, "bidirectional": True}}, 0.003, {"clipNorm": 1.0}),
    "conv1d": ({"name": "velodrome/conv1d"}, 0.001, {}),
    "inceptiontime": ({"name": "velodrome/inceptiontime"}, 0.001, {}),
}
IMAGES: dict[str, tuple[dict[str, Any], float, dict[str, Any]]] = {"cnn": ({"name": "velodrome/cnn"}, 0.003, {})}

# Published accuracies in per cent on the same split: mean (deviation) and the number of runs.
PUBLISHED = {
    ("GunPoint", "conv1d"): "100.0 (0.0), n = 10 [1]",
    ("GunPoint", "inceptiontime"): "100.0 (0.0), n = 5 [2]",
    ("ItalyPowerDemand", "conv1d"): "96.1 (0.3), n = 10 [1]",
    ("ItalyPowerDemand", "inceptiontime"): "96.4 (0.6), n = 5 [2]",
    ("JapaneseVowels", "conv1d"): "99.3 (0.2), n = 10 [1]",
    ("JapaneseVowels", "inceptiontime"): "99.2, n = 1, five networks together [2]",
}
SOURCES = """\
[1] H. Ismail Fawaz et al., "Deep learning for time series classification: a review" (2019): the fully convolutional
    network, https://github.com/hfawaz/dl-4-tsc, README.md and results/results-mts-avg-std.csv
[2] H. Ismail Fawaz et al., "InceptionTime: finding AlexNet for time series classification" (2020): single networks,
    https://github.com/hfawaz/InceptionTime, results-inception-128.csv and results-mts.csv"""


def aeon() -> Path:
    """The folder of aeon's package."""
    found = find_spec("aeon")
    if found is None or found.origin is None:
        raise SystemExit("aeon is missing: tools/sync installs the development dependencies")
    return Path(found.origin).parent


def job(name: str, repeats: int) -> dict[str, Any]:
    """The race on one set."""
    epochs, batch = SETS[name]
    own = {} if name == "digits" else {"format": "TimeSeries", "source": {"path": name}}
    return {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": name.lower()},
        "spec": {
            "dataset": {"name": name, "validationFraction": 0} | own,
            "objectives": [{"name": "accuracy", "metric": "accuracy"}],
            "budget": {"maxEpochs": epochs},
            "training": {"batchSize": batch, "schedule": {"name": "OneCycle"}, "regularization": {"l2": 0.01}},
            "entries": [
                {
                    "name": entry,
                    "model": model,
                    "training": {"optimizer": {"name": "AdamW", "learningRate": rate}} | more,
                }
                for entry, (model, rate, more) in (IMAGES if name == "digits" else SERIES).items()
            ],
            "trials": {"repeats": repeats},
        },
    }


def raced(name: str, repeats: int, folder: Path) -> dict[str, list[float]]:
    """The accuracies of each entry, by seed."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    if name != "digits":
        for part in ("TRAIN", "TEST"):
            shutil.copy(aeon() / f"datasets/data/{name}/{name}_{part}.ts", folder / name)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(job(name, repeats)), encoding="utf-8")
    environ = os.environ | {"VELODROME_HOME": str(folder / "home")}
    line = [sys.executable, "-m", "velodrome"]
    subprocess.run([*line, "run", str(path), "--data", str(folder)], env=environ, check=True)
    text = subprocess.run(
        [*line, "results", name.lower(), "--json"], env=environ, check=True, capture_output=True, text=True
    ).stdout
    (objective,) = json.loads(text)["objectives"]
    return {row["entry"]: list(row["samples"].values()) for row in objective["ranked"]}


def peers(repeats: int) -> dict[str, list[float]]:
    """The accuracies of scikit-learn's classifiers on the digits, those with random weights by seed."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import SVC

    from velodrome_runner.data.digits import read_digits

    raw = read_digits()
    (x, y), (unseen, right) = ((part.images.flatten(1).numpy(), part.labels.numpy()) for part in (raw.train, raw.test))
    nets = [MLPClassifier((256, 256), max_iter=1000, random_state=seed) for seed in range(repeats)]
    found: dict[str, list[Any]] = {
        "SVC(gamma=0.001)": [SVC(gamma=0.001)],
        "LogisticRegression": [LogisticRegression(max_iter=10_000)],
        "MLPClassifier((256, 256))": nets,
    }
    return {name: [float(model.fit(x, y).score(unseen, right)) for model in models] for name, models in found.items()}


def shown(values: Sequence[float]) -> tuple[str, ...]:
    """n, mean (deviation), least and most, in per cent."""
    spread = f" ({100 * statistics.stdev(values):.1f})" if len(values) > 1 else ""
    return (
        str(len(values)),
        f"{100 * statistics.mean(values):.1f}{spread}",
        *(f"{100 * f(values):.1f}" for f in (min, max)),
    )


def main() -> None:
    """Races one set after the other, and prints a table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=SETS, action="append", help="a set; all of them if absent")
    parser.add_argument("--repeats", type=int, default=5, help="seeds of each network (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="a folder for the results (default: they are not kept)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="velodrome-published-") as folder:
        for name in given.set or SETS:
            table = Table(name, "n", "mean (deviation), %", "least", "most", "published, %")
            for entry, values in sorted(raced(name, given.repeats, given.keep or Path(folder)).items()):
                table.add_row(entry, *shown(values), PUBLISHED.get((name, entry), "-"))
            for entry, values in (peers(given.repeats) if name == "digits" else {}).items():
                table.add_row(entry, *shown(values), "-")
            Console().print(table)
    print(SOURCES)


if __name__ == "__main__":
    main()
