"""Races Velodrome's networks on sets of the UCR/UEA archive, and compares their accuracy with the published one.

    python benchmarks/published.py [--set GunPoint] [--repeats 5]

The files and the accuracies come from aeon, a development dependency: the training and test split of the archive, and
the accuracy of InceptionTime on that split. A published value is one run (of an ensemble of five networks), so it is
compared with the range of the seeds here.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

# By name of the set: epochs, batch size.
SETS = {"GunPoint": (150, 16), "ItalyPowerDemand": (150, 16), "JapaneseVowels": (60, 32)}
ENTRIES = {
    "gru": {"name": "velodrome/gru", "args": {"hidden": 64, "bidirectional": True}},
    "conv1d": {"name": "velodrome/conv1d"},
    "inceptiontime": {"name": "velodrome/inceptiontime"},
}


def aeon() -> Path:
    """The folder of aeon's package."""
    found = find_spec("aeon")
    if found is None or found.origin is None:
        raise SystemExit("aeon is missing: tools/sync installs the development dependencies")
    return Path(found.origin).parent


def published(name: str) -> float | None:
    """InceptionTime's accuracy on the split of the archive, as aeon ships it. None if it has none for this set."""
    file = aeon() / "testing/example_results_files/classification/accuracy/InceptionTime_accuracy.csv"
    with file.open(encoding="utf-8", newline="") as lines:
        values = {row[0]: float(row[1]) for row in csv.reader(lines) if len(row) > 1 and row[0] != "Resamples:"}
    return values.get(name)


def job(name: str, repeats: int) -> dict[str, Any]:
    """The race on one set: every network trains on the whole training split, for the same number of epochs."""
    epochs, batch = SETS[name]
    return {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": name.lower()},
        "spec": {
            "dataset": {"name": name, "format": "TimeSeries", "source": {"path": name}, "validationFraction": 0},
            "objectives": [{"name": "accuracy", "metric": "accuracy"}],
            "budget": {"maxEpochs": epochs},
            "training": {
                "batchSize": batch,
                "optimizer": {"name": "AdamW", "learningRate": 0.003},
                "schedule": {"name": "OneCycle"},
                "regularization": {"l2": 0.01, "dropout": 0.1},
            },
            "entries": [{"name": entry, "model": model} for entry, model in ENTRIES.items()],
            "trials": {"repeats": repeats},
        },
    }


def raced(name: str, repeats: int, folder: Path) -> dict[str, list[float]]:
    """The accuracies of each entry, by seed."""
    (folder / name).mkdir()
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
    return {row["entry"]: list(row["values"].values()) for row in objective["ranked"]}


def main() -> None:
    """Races one set after the other, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=sorted(SETS), action="append", help="a set; all of them if absent")
    parser.add_argument("--repeats", type=int, default=5, help="seeds of each network (default: %(default)s)")
    given = parser.parse_args()
    table = Table("set", "network", "n", "mean", "least", "most", "InceptionTime, published")
    with tempfile.TemporaryDirectory(prefix="velodrome-published-") as folder:
        for name in given.set or SETS:
            known = published(name)
            for entry, values in sorted(raced(name, given.repeats, Path(folder)).items()):
                figures = (sum(values) / len(values), min(values), max(values))
                shown = "-" if known is None else f"{known:.3f}"
                table.add_row(name, entry, str(len(values)), *(f"{figure:.3f}" for figure in figures), shown)
    Console().print(table)


if __name__ == "__main__":
    main()
