"""What reporting costs a training step, with a Redis that is there and with one that is not. Prints its figures.

    python benchmarks/bench_reporting.py [--rounds 5] [--epochs 40]

The trial's own training loop trains the digits' MLP, one thread, three ways that take turns: without reports, with
reports to a real Redis on a Unix socket, and with reports to a socket that nobody listens on. Reports are those of a
real trial: one an epoch (an epoch takes a fraction of a second here, far less than in any race worth running, so this
is the dear case) and one a second. A report's cost between two steps is also timed alone. Training's own clock stands
still while a report is handed over, so whole runs are timed: by the wall, and, for machines that others use too, by
the CPU time of the process, which holds all that the publisher's thread does beside the steps.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import redis
import torch

from velodrome import keys
from velodrome.plan import Trial, plan
from velodrome.results import Progress, utc
from velodrome.spec import BenchmarkJob
from velodrome_runner import data, models, preprocessing, threads
from velodrome_runner.publish import Publisher, connect
from velodrome_runner.settings import Settings
from velodrome_runner.training import Moment, train
from velodrome_runner.trial import Reporter

UID = "bench"
CPU = torch.device("cpu")
TARGET = 0.005


class Cost(NamedTuple):
    """Seconds of a training: by the wall, and of the CPU."""

    wall: float
    cpu: float


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """A Redis of its own; gives its URL."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        sys.exit("no redis-server or valkey-server on PATH: apt-get install redis-server")
    folder = tempfile.mkdtemp(prefix="vd-")
    options = ("--port", "0", "--unixsocket", f"{folder}/redis.sock", "--dir", folder, "--save", "")
    process = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
    try:
        _await(f"unix://{folder}/redis.sock")
        yield f"unix://{folder}/redis.sock"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _await(url: str) -> None:
    with contextlib.closing(connect(url)) as client:
        for _ in range(200):
            with contextlib.suppress(redis.RedisError):
                client.ping()
                return
            time.sleep(0.05)
    sys.exit("Redis did not start")


def planned(epochs: int) -> Trial:
    """The digits' MLP at a batch size that small races have."""
    spec = {
        "dataset": {"name": "digits"},
        "budget": {"maxEpochs": epochs},
        "training": {"batchSize": 16, "optimizer": {"name": "SGD", "learningRate": 0.01}},
        "entries": [{"name": "mlp", "model": {"name": "velodrome/mlp"}}],
    }
    document = {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "b"}, "spec": spec}
    return plan(BenchmarkJob.model_validate(document)).trial(0)


def settings(url: str) -> Settings:
    """The orders of a trial that reports to that URL."""
    return Settings(Path("job"), 0, UID, "bench", url, Path(), Path(), concurrent=1, deadline=1.0)


def seconds(trial: Trial, prepared: preprocessing.Prepared, on_progress: Callable[[Moment], None]) -> Cost:
    """What a whole training takes; the publisher's thread is in its CPU time."""
    config = trial.config
    assert config.model is not None
    torch.manual_seed(0)
    model = models.build(config.model, shape=prepared.shape, classes=prepared.classes, dropout=0.0)
    begin, used = time.perf_counter(), time.process_time()
    train(config, prepared, model, seed=0, device=CPU, on_progress=on_progress)
    return Cost(time.perf_counter() - begin, time.process_time() - used)


@contextlib.contextmanager
def reporting(trial: Trial, url: str) -> Iterator[Callable[[Moment], None]]:
    """The reports of a trial, the lines of its log included, which go to memory here."""
    with Publisher(connect(url), UID, log=lambda _: None) as publisher:
        reporter = Reporter(trial, settings(url), publisher, time.time)
        with contextlib.redirect_stdout(io.StringIO()):
            yield lambda moment: reporter("Training", moment)


def handing_over(url: str, count: int = 2000) -> float:
    """Median seconds that one report takes from the thread that trains."""
    progress = Progress(job_uid=UID, index=0, attempt="bench", phase="Training", at=utc(time.time()))
    times = []
    with Publisher(connect(url), UID, log=lambda _: None) as publisher:
        for _ in range(count):
            begin = time.perf_counter()
            publisher.progress(progress)
            times.append(time.perf_counter() - begin)
            time.sleep(0.0002)
    return statistics.median(times)


def main() -> None:
    """Runs the three in turns and prints the medians of each round's ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=40)
    arguments = parser.parse_args()
    threads.use(1)
    trial = planned(arguments.epochs)
    splits = data.load(trial.config.dataset, folder=Path(), seed=0)
    prepared = preprocessing.prepare(splits, trial.config.preprocessing, device=CPU, seed=0)
    seconds(trial, prepared, lambda _: None)  # warm up
    with redis_server() as there, tempfile.TemporaryDirectory(prefix="vd-") as folder:
        away = f"unix://{folder}/nobody.sock"
        rounds: list[dict[str, Cost]] = []
        for number in range(arguments.rounds):
            times: dict[str, Cost] = {}
            for name in ("none", "there", "away") if number % 2 else ("away", "there", "none"):
                if name == "none":
                    times[name] = seconds(trial, prepared, lambda _: None)
                    continue
                with reporting(trial, there if name == "there" else away) as report:
                    times[name] = seconds(trial, prepared, report)
            rounds.append(times)
        with contextlib.closing(redis.Redis.from_url(there)) as client:
            arrived = client.xlen(keys.inbox(UID))
        alone = {name: handing_over(url) for name, url in (("there", there), ("away", away))}
    steps = arguments.epochs * prepared.steps(trial.config.training.batch_size)
    step = statistics.median(times["none"].cpu for times in rounds) / steps
    print(f"{arguments.rounds} rounds of {arguments.epochs} epochs, {steps} steps each; {arrived} reports arrived")
    print(f"a step without reports: {step * 1e6:,.0f} us of CPU time (epochs' evaluation included)")
    for name in ("there", "away"):
        for clock in ("wall", "cpu"):
            ratios = [getattr(times[name], clock) / getattr(times["none"], clock) for times in rounds]
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(f"Redis {name}: {middle:.4f} x the {clock} time without reports (quartiles {low:.4f} to {high:.4f})")
        print(
            f"Redis {name}: handing a report over takes {alone[name] * 1e6:.1f} us, with one a second "
            f"{alone[name]:.5%} of the step time (target: at most {TARGET:.1%})"
        )


if __name__ == "__main__":
    main()
