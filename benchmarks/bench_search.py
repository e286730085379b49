"""Measures what a search costs a trial and the operator on a cluster. Prints its figures. It needs a redis-server.

    python benchmarks/bench_search.py [--trials 1000] [--turns 200] [--stops 5]

- How long a runner takes to learn the parameters of its turn, which were chosen before, from a real Redis on a Unix
  socket: beside one PING by the same client library on a connection of its own.
- How much CPU time a look at a search takes, with the choice of a trial: beside the same choice by Optuna alone.
- How long it takes from the decision to end a trial until its process has ended: a real runner on the digits.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.fixtures import redis_server
from tests.searched import finish, registered
from velodrome import keys
from velodrome.board.desk import PRUNED
from velodrome.plan import Plan, plan
from velodrome.results.registration import stored_document
from velodrome.search.outcomes import directions
from velodrome.search.study import EntryStudy, Told
from velodrome.search.trials import search_of, searched_keys
from velodrome.spec import validate
from velodrome.store import Store, open_store
from velodrome_operator.lanes import LaneAsk, SearchAsk
from velodrome_operator.searcher import Searcher
from velodrome_runner.instructions import in_turn
from velodrome_runner.orders import planned
from velodrome_runner.publish import connect
from velodrome_runner.settings import Settings


class Took(NamedTuple):
    """Seconds of something: by the clock, and of CPU."""

    wall: float
    cpu: float


UID, OF = "bench", keys.search_uid("bench")


def searching(trials: int, epochs: int = 3) -> Plan:
    """One entry with five parameters."""
    names = ("optimizer.learningRate", "regularization.l2", "regularization.dropout", "regularization.labelSmoothing")
    ends = ((1e-4, 0.3), (0, 0.1), (0, 0.5), (0, 0.3))
    floats: list[dict[str, Any]] = [
        {"name": f"training.{name}", "type": "Float", "low": low, "high": high}
        for name, (low, high) in zip(names, ends, strict=True)
    ]
    size = {"name": "training.batchSize", "type": "Integer", "low": 16, "high": 256, "step": 16}
    document: dict[str, Any] = {
        "apiVersion": keys.API_VERSION,
        "kind": keys.KIND,
        "metadata": {"name": "search"},
        "spec": {
            "dataset": {"name": "digits"},
            "budget": {"maxEpochs": epochs},
            "evaluation": {"metrics": ["accuracy"]},
            "entries": [{"name": "mlp", "model": {"name": "velodrome/mlp"}}],
            "search": {
                "maxTrials": trials,
                "objectives": [{"metric": "validation_loss"}],
                "parameters": [*floats, size],
                "pruner": {"name": "Median"},
            },
        },
    }
    return plan(validate(document))


def environment(url: str, folder: Path, turn: int) -> dict[str, str]:
    """What the runner of a turn gets."""
    return {
        keys.ENV_SPEC: str(folder / "job.json"),
        keys.ENV_INDEX: str(turn),
        keys.ENV_JOB_UID: OF,
        keys.ENV_ATTEMPT: f"pod-{turn}",
        keys.ENV_SCRATCH: str(folder),
        keys.ENV_REDIS_URL: url,
        keys.ENV_SEARCH: "1",
        keys.ENV_LANE: "0",
        keys.ENV_CPUS: "1",
    }


def loss(values: Mapping[str, Any]) -> float:
    """Some smooth function of the parameters."""
    return sum((float(value) - 0.1) ** 2 for name, value in values.items() if "batchSize" not in name)


def learning(store: Store, url: str, folder: Path, turns: int) -> tuple[list[Took], list[Took]]:
    """What it takes until a runner knows its parameters, and until a PING of its own is answered."""
    made = searching(turns)
    registered(store, made, UID)
    (folder / "job.json").write_text(json.dumps(stored_document(made.job)))
    Searcher(store).look(UID, SearchAsk(turns, {"0": LaneAsk(("mlp",), turns)}))
    found, beside = [], []
    for turn in range(turns):
        settings = Settings.read(environment(url, folder, turn))
        found.append(timed(lambda settings=settings: planned(in_turn(settings))))  # type: ignore[misc]
        beside.append(timed(lambda: ping(url)))
    return found, beside


def ping(url: str) -> None:
    """One PING on a connection of its own."""
    with contextlib.closing(connect(url)) as client:
        client.ping()


def timed(work: Callable[[], object]) -> Took:
    """What it took this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Took(time.perf_counter() - wall, time.process_time() - cpu)


def choosing(store: Store, trials: int) -> tuple[list[Took], list[Took]]:
    """What each look takes that takes a result and chooses a trial, and the same choice by Optuna alone."""
    made = searching(trials)
    registered(store, made, UID)
    searcher, alone = Searcher(store), EntryStudy(search_of(made.job), "mlp", directions(searched_keys(made.job)))
    ours, theirs = [], []
    for number in range(trials):
        ours.append(timed(lambda: searcher.look(UID, SearchAsk(trials, {"0": LaneAsk(("mlp",), 1)}))))
        theirs.append(timed(alone.suggest))
        suggestion = store.suggestion(OF, number)
        assert suggestion is not None
        value = loss(suggestion.values)
        alone.tell(number, Told("Complete", (value,), {1: value}))
        finish(store, made, UID, number, value)
    same = [dict(one.values) for _, one in sorted(store.suggestions(OF).items())]
    assert same == [dict(trial.params) for trial in alone.trials()], "ours are not Optuna's"
    return ours, theirs


def stopping(store: Store, url: str, folder: Path, stops: int) -> list[Took]:
    """What it takes from a decision to end a trial until its process has ended. The CPU time is that process's."""
    made = searching(stops, epochs=100_000)
    registered(store, made, UID)
    (folder / "job.json").write_text(json.dumps(stored_document(made.job)))
    Searcher(store).look(UID, SearchAsk(stops, {"0": LaneAsk(("mlp",), stops)}))
    found = []
    for turn in range(stops):
        environ = {**os.environ, **environment(url, folder, turn)}
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", "velodrome_runner"], env=environ, stdout=log, stderr=log)
        while not any("Training" in report for report in reports(url)):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        began, cpu = time.perf_counter(), cpu_of(process.pid)
        store.stop_trial(OF, store.turns(OF)["0"][turn], f"pod-{turn}", PRUNED)
        _, _, used = os.wait4(process.pid, 0)
        found.append(Took(time.perf_counter() - began, used.ru_utime + used.ru_stime - cpu))
        with contextlib.closing(connect(url)) as client:
            client.delete(keys.inbox(OF))
    return found


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def reports(url: str) -> list[str]:
    """What waits in the inbox."""
    with contextlib.closing(connect(url)) as client:
        found: Any = client.lrange(keys.inbox(OF), 0, -1)
    return [one.decode() for one in found]


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--stops", type=int, default=5)
    given = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    with redis_server() as url, tempfile.TemporaryDirectory() as folder, open_store(url) as store:
        learnt, pings = learning(store, url, Path(folder), given.turns)
        compared(f"A runner learns its parameters ({given.turns} times, goal 20 ms)", learnt, "a PING", pings)
        empty(url)
        ours, theirs = choosing(store, given.trials)
        last = max(1, given.trials // 10)
        what = f"A look that chooses a trial, the last {last} of {given.trials}"
        compared(what, ours[-last:], "Optuna's choice alone", theirs[-last:])
        print(f"  memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at most")
        empty(url)
        ended = stopping(store, url, Path(folder), given.stops)
        print(f"From a decision to its process' end ({given.stops} times, goal 2 s): {figures(ended)}")


def empty(url: str) -> None:
    """Removes everything from Redis."""
    with contextlib.closing(connect(url)) as client:
        client.flushall()


def compared(what: str, found: list[Took], other: str, beside: list[Took]) -> None:
    """Prints a figure and its peer's, with the ratio of their medians."""
    ratio = statistics.median(one.cpu for one in found) / statistics.median(one.cpu for one in beside)
    print(f"{what}: {figures(found)}\n  {other}: {figures(beside)}; ours takes {ratio:.1f} times that CPU time")


def figures(found: list[Took]) -> str:
    """Medians, and the 95th percentile by the clock."""
    wall, cpu = sorted(one.wall for one in found), statistics.median(one.cpu for one in found)
    high = wall[int(0.95 * (len(wall) - 1))]
    return (
        f"{statistics.median(wall) * 1000:.1f} ms by the clock (95 % in {high * 1000:.1f}), {cpu * 1000:.1f} ms of CPU"
    )


if __name__ == "__main__":
    main()
