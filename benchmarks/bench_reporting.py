"""Measures what reporting and pushing cost a training step, with and without reachable servers. Prints its figures.

    python benchmarks/bench_reporting.py [--rounds 9] [--epochs 12] [--repeat 40]

The trial's own training loop trains the digits' MLP with one thread. These ways take turns:

- without reports;
- with reports to a real Redis on a Unix socket;
- with reports to a socket without a listener;
- with reports to that Redis, and live metrics to a real Pushgateway, to a port without a listener, and to a server that
  accepts connections and never answers.

Reports are those of a real trial: one per epoch and one per second. The digits are repeated until an epoch takes about
a second.

Each way has two figures:

- The spent time: the CPU time of the publisher's and the pusher's threads, and of making reports in the training
  thread, divided by the CPU time of training. This figure is exact even on a shared machine.
- The visible time: the time of the whole training, divided by that without reports. It is the median of the rounds'
  ratios, by wall time and by CPU time of the process.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import shutil
import socket
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
from velodrome.monitoring.pushgateway import grouping
from velodrome.plan import Trial, plan
from velodrome.spec import BenchmarkJob
from velodrome_runner import data, models, preprocessing, tasks, threads
from velodrome_runner.live import Pusher
from velodrome_runner.publish import Publisher, connect
from velodrome_runner.reporting import Reporter, TrainingState
from velodrome_runner.settings import Settings
from velodrome_runner.training import train

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.fixtures import redis_server

UID = "bench"
CPU = torch.device("cpu")
SHAPE, CLASSES = (1, 8, 8), 10  # of digits
TARGET = 0.005


class Cost(NamedTuple):
    """Seconds of a training: wall time, CPU time, and the CPU time that reporting spent in each thread."""

    wall: float
    cpu: float
    reporter: float = 0.0
    publisher: float = 0.0
    pusher: float = 0.0

    @property
    def spent(self) -> float:
        """The share of the training's CPU time that reporting spends."""
        return (self.reporter + self.publisher + self.pusher) / self.cpu


class Ways(NamedTuple):
    """The destinations of a trial's reports and live metrics."""

    redis: str
    gateway: str | None = None


@contextlib.contextmanager
def pushgateway() -> Iterator[str]:
    """Runs a Pushgateway of its own, and yields its URL."""
    binary = shutil.which("prometheus-pushgateway") or shutil.which("pushgateway")
    if binary is None:
        sys.exit("no prometheus-pushgateway on PATH: apt-get install prometheus-pushgateway")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = (f"--web.listen-address=127.0.0.1:{port}", "--persistence.file=", "--log.level=error")
    process = subprocess.Popen([binary, *options])
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def deaf() -> Iterator[str]:
    """The URL of a server that accepts connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def planned(epochs: int) -> Trial:
    """The digits' MLP with a batch size that is usual for small races."""
    spec = {
        "dataset": {"name": "digits"},
        "budget": {"maxEpochs": epochs},
        "training": {"batchSize": 16, "optimizer": {"name": "SGD", "learningRate": 0.01}},
        "entries": [{"name": "mlp", "model": {"name": "velodrome/mlp"}}],
    }
    document = {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "b"}, "spec": spec}
    return plan(BenchmarkJob.model_validate(document)).trial(0)


def settings(url: str) -> Settings:
    """The instructions of a trial that reports to that URL."""
    return Settings(Path("job"), 0, UID, "bench", url, Path(), Path(), concurrent=1, deadline=1.0)


def repeated(prepared: preprocessing.Prepared, times: int) -> preprocessing.Prepared:
    """The same data, with the training split repeated that many times."""
    train = prepared.train
    assert isinstance(train, preprocessing.ReadySplit)
    assert isinstance(train.inputs, torch.Tensor)
    images = train.inputs.repeat(times, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    return dataclasses.replace(prepared, train=preprocessing.ReadySplit(images, train.targets.repeat(times)))


def unreported(trial: Trial, prepared: preprocessing.Prepared) -> Cost:
    """The cost of a whole training without reports."""
    return trained(trial, prepared, lambda _: None)


def reported(trial: Trial, prepared: preprocessing.Prepared, to: Ways) -> Cost:
    """The cost with a trial's reports. The lines of its log are made too, and go to memory."""
    spent = 0.0
    key = grouping("default", "bench", trial.entry, trial.repeat)
    with (
        Publisher(connect(to.redis), UID, log=lambda _: None) as publisher,
        Pusher(to.gateway, key, log=lambda _: None) as pusher,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        reporter = Reporter(trial, settings(to.redis), publisher, pusher, time.time)

        def report(moment: TrainingState) -> None:
            nonlocal spent
            before = time.thread_time()
            reporter("Training", moment)
            spent += time.thread_time() - before

        cost = trained(trial, prepared, report)
        return cost._replace(reporter=spent, publisher=_used("velodrome-publisher"), pusher=_used("velodrome-pusher"))


def _used(name: str) -> float:
    """CPU seconds of the thread of that name; 0 if there is none."""
    found = [thread.ident for thread in threading.enumerate() if thread.name == name and thread.ident]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(ident)) for ident in found)


def trained(trial: Trial, prepared: preprocessing.Prepared, on_progress: Callable[[TrainingState], None]) -> Cost:
    """Times a whole training. Its CPU time includes the threads of the publisher and the pusher."""
    config = trial.config
    assert config.model is not None
    torch.manual_seed(0)
    model = models.build(config.model, shape=SHAPE, classes=CLASSES, dropout=0.0)
    begin, used = time.perf_counter(), time.process_time()
    train(config, prepared, model, seed=0, device=CPU, on_progress=on_progress)
    return Cost(time.perf_counter() - begin, time.process_time() - used)


def main() -> None:
    """Runs all ways in turns, and prints both figures of each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--repeat", type=int, default=40)
    arguments = parser.parse_args()
    threads.use(1)
    trial = planned(arguments.epochs)
    contents = data.open_contents(trial.config.dataset, folder=Path(), seed=0).contents
    config = trial.config
    task = tasks.fit("classification", contents, config.preprocessing, config.training, device=CPU, seed=0)
    prepared = preprocessing.prepare(contents, task)
    prepared = repeated(prepared, arguments.repeat)
    unreported(planned(1), prepared)  # warm up
    with (
        redis_server() as there, pushgateway() as gateway, deaf() as silent,
        tempfile.TemporaryDirectory(prefix="vd-") as folder,
    ):  # fmt: skip
        nobody = f"unix://{folder}/nobody.sock"
        ways = {
            "none": lambda: unreported(trial, prepared),
            "Redis there": lambda: reported(trial, prepared, Ways(there)),
            "Redis away": lambda: reported(trial, prepared, Ways(nobody)),
            "Redis and Pushgateway there": lambda: reported(trial, prepared, Ways(there, gateway)),
            "Redis there, Pushgateway away": lambda: reported(trial, prepared, Ways(there, "http://127.0.0.1:1")),
            "Redis there, Pushgateway silent": lambda: reported(trial, prepared, Ways(there, silent)),
        }
        rounds: list[dict[str, Cost]] = []
        for number in range(arguments.rounds):
            order = list(ways) if number % 2 else list(reversed(ways))
            costs = {name: ways[name]() for name in order}
            rounds.append({name: costs[name] for name in ways})
        with contextlib.closing(redis.Redis.from_url(there)) as client:
            arrived = client.llen(keys.inbox(UID))
    show(rounds, arguments.epochs * len(prepared.lengths(trial.config.training.batch_size)), arrived)


def show(rounds: list[dict[str, Cost]], steps: int, arrived: int) -> None:
    """Prints the figures."""
    step = statistics.median(costs["none"].cpu for costs in rounds) / steps
    print(f"{len(rounds)} rounds of {steps:,} steps of {step * 1e6:,.0f} us each; {arrived} reports arrived")
    for name in (name for name in rounds[0] if name != "none"):
        spent = statistics.median(costs[name].spent for costs in rounds)
        pushing = statistics.median(costs[name].pusher / costs[name].cpu for costs in rounds)
        parts = f", {pushing:.4%} of it to push" if pushing else ""
        print(f"{name}: reporting spends {spent:.4%} of the step time{parts} (target: at most {TARGET:.1%})")
        for clock in ("wall", "cpu"):
            ratios = [getattr(costs[name], clock) / getattr(costs["none"], clock) for costs in rounds]
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(f"{name}: {middle:.4f} x the {clock} time without reports (quartiles {low:.4f} to {high:.4f})")


if __name__ == "__main__":
    main()
