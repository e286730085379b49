"""What reporting costs a training step, with a Redis that is there and with one that is not. Prints its figures.

    python benchmarks/bench_reporting.py [--rounds 9] [--epochs 4] [--repeat 40]

The trial's own training loop trains the digits' MLP, one thread, three ways that take turns: without reports, with
reports to a real Redis on a Unix socket, and with reports to a socket that nobody listens on. Reports are those of a
real trial: one an epoch and one a second. The digits are repeated until an epoch takes about a second.

Two figures for each. What is spent: the CPU time of the publisher's thread, from its start on, and of the reports'
making in the thread that trains, over the CPU time of training; this one is exact on a machine that others use too.
And what is seen: the whole training's time over that without reports, the median of the rounds' ratios, by the wall
and by the CPU time of the process.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import redis
import torch

from velodrome import keys
from velodrome.plan import Trial, plan
from velodrome.spec import BenchmarkJob
from velodrome_runner import data, models, preprocessing, threads
from velodrome_runner.data import Split
from velodrome_runner.live import Pusher
from velodrome_runner.publish import Publisher, connect
from velodrome_runner.reporting import Moment, Reporter
from velodrome_runner.settings import Settings
from velodrome_runner.training import train

UID = "bench"
CPU = torch.device("cpu")
TARGET = 0.005


class Cost(NamedTuple):
    """Seconds of a training: by the wall, of the CPU, and of the CPU what reporting spent in either thread."""

    wall: float
    cpu: float
    reporter: float = 0.0
    publisher: float = 0.0


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


def repeated(prepared: preprocessing.Prepared, times: int) -> preprocessing.Prepared:
    """The same data, the training split that many times over."""
    images = prepared.train.images.repeat(times, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    return dataclasses.replace(prepared, train=Split(images, prepared.train.labels.repeat(times)))


def unreported(trial: Trial, prepared: preprocessing.Prepared) -> Cost:
    """What a whole training takes without reports."""
    return trained(trial, prepared, lambda _: None)


def reported(trial: Trial, prepared: preprocessing.Prepared, url: str) -> Cost:
    """What it takes with a trial's reports; the lines of its log are made too, and go to memory."""
    spent, before_it = 0.0, set(threading.enumerate())
    with Publisher(connect(url), UID, log=lambda _: None) as publisher, contextlib.redirect_stdout(io.StringIO()):
        (thread,) = set(threading.enumerate()) - before_it
        assert thread.ident is not None
        reporter = Reporter(trial, settings(url), publisher, Pusher(None, {}), time.time)

        def report(moment: Moment) -> None:
            nonlocal spent
            before = time.thread_time()
            reporter("Training", moment)
            spent += time.thread_time() - before

        cost = trained(trial, prepared, report)
        return cost._replace(reporter=spent, publisher=time.clock_gettime(time.pthread_getcpuclockid(thread.ident)))


def trained(trial: Trial, prepared: preprocessing.Prepared, on_progress: Callable[[Moment], None]) -> Cost:
    """Times a whole training; the publisher's thread is in its CPU time."""
    config = trial.config
    assert config.model is not None
    torch.manual_seed(0)
    model = models.build(config.model, shape=prepared.shape, classes=prepared.classes, dropout=0.0)
    begin, used = time.perf_counter(), time.process_time()
    train(config, prepared, model, seed=0, device=CPU, on_progress=on_progress)
    return Cost(time.perf_counter() - begin, time.process_time() - used)


def main() -> None:
    """Runs the three in turns and prints what reporting spends and what is seen of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=40)
    arguments = parser.parse_args()
    threads.use(1)
    trial = planned(arguments.epochs)
    splits = data.load(trial.config.dataset, folder=Path(), seed=0)
    prepared = preprocessing.prepare(splits, trial.config.preprocessing, device=CPU, seed=0)
    prepared = repeated(prepared, arguments.repeat)
    unreported(planned(1), prepared)  # warm up
    with redis_server() as there, tempfile.TemporaryDirectory(prefix="vd-") as folder:
        ways = {
            "none": lambda: unreported(trial, prepared),
            "there": lambda: reported(trial, prepared, there),
            "away": lambda: reported(trial, prepared, f"unix://{folder}/nobody.sock"),
        }
        rounds: list[dict[str, Cost]] = []
        for number in range(arguments.rounds):
            order = list(ways) if number % 2 else list(reversed(ways))
            rounds.append({name: ways[name]() for name in order})
        with contextlib.closing(redis.Redis.from_url(there)) as client:
            arrived = client.xlen(keys.inbox(UID))
    show(rounds, arguments.epochs * len(prepared.lengths(trial.config.training.batch_size)), arrived)


def show(rounds: list[dict[str, Cost]], steps: int, arrived: int) -> None:
    """Prints the figures."""
    step = statistics.median(costs["none"].cpu for costs in rounds) / steps
    print(f"{len(rounds)} rounds of {steps:,} steps of {step * 1e6:,.0f} us each; {arrived} reports arrived")
    for name in ("there", "away"):
        spent = statistics.median((c.reporter + c.publisher) / c.cpu for c in (costs[name] for costs in rounds))
        print(f"Redis {name}: reporting spends {spent:.4%} of the step time (target: at most {TARGET:.1%})")
        for clock in ("wall", "cpu"):
            ratios = [getattr(costs[name], clock) / getattr(costs["none"], clock) for costs in rounds]
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(f"Redis {name}: {middle:.4f} x the {clock} time without reports (quartiles {low:.4f} to {high:.4f})")


if __name__ == "__main__":
    main()
