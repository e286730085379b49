"""A search of very many trials, through the whole path, and what it takes in memory. It needs a redis-server.

    python benchmarks/bench_long_search.py [--trials 1000 10000] [--parallel 32] [--start 1.0] [--algorithm Random]

The operator's passes and its collecting run in this process, and its searcher in one of its own, as always. Another
process stands in for pods: each takes a second to start, learns its parameters as a runner does, and reports a result
at once. It keeps no more of them at work than may run. For each number of trials it prints:

- the memory of the operator's process and of the searcher's, when so many trials had a result;
- the CPU time of both for each of the last tenth of the trials;
- how long pods waited for their parameters after they had started: half of them at most, and 99 %.

An API server that keeps objects takes the place of the real one, and every event of it is there: pods stay, as those of
a Job do. Optuna's TPE takes longer with each trial (bench_suggestions.py), so a whole search by it takes an hour here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import redis

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.bench_search import cpu_of, loss, searching
from benchmarks.fixtures import DATASET, ENVIRONMENT, redis_server
from tests.owned import owned_pod
from tests.searched import ended
from velodrome import keys
from velodrome.plan import Plan
from velodrome.results.records import ResultReport
from velodrome.store import Store, open_store
from velodrome_operator.access import Access
from velodrome_operator.children import ChildSettings
from velodrome_operator.cluster import Cluster
from velodrome_operator.collection import Collection
from velodrome_operator.controller import Controller
from velodrome_operator.ranker import Ranker

UID = "long"
OF = keys.search_uid(UID)
PROCESSES = multiprocessing.get_context("fork")
_POLL = 0.01  # as often as a runner asks for its turn


class Objects(Cluster):
    """An API server that keeps objects."""

    def __init__(self) -> None:
        self.jobs_made: list[dict[str, Any]] = []
        self.has_job = asyncio.Event()

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        name = manifest["metadata"]["name"]
        own = {"uid": f"job-{name}", "creationTimestamp": _now()}
        made = {**manifest, "metadata": {**manifest["metadata"], **own}}
        if manifest["kind"] == "Job":
            self.jobs_made.append(made)
            self.has_job.set()
        return made

    async def write_status(self, parent: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any] | None:
        version = str(int(parent["metadata"]["resourceVersion"]) + 1)
        return {**parent, "metadata": {**parent["metadata"], "resourceVersion": version}, "status": dict(status)}

    async def event(self, *_: Any, **__: Any) -> None: ...

    async def patch_job(self, *_: Any) -> None: ...

    async def delete_job(self, *_: Any) -> None: ...

    async def pod_refusals(self, _: str) -> dict[str, Any]:
        return {}

    async def jobs(self, *_: Any) -> AsyncIterator[dict[str, Any]]:
        for raw in self.jobs_made:
            yield raw

    async def pods(self, *_: Any) -> AsyncIterator[dict[str, Any]]:
        for raw in list[dict[str, Any]]():
            yield raw

    async def started_pods(self, *_: Any) -> AsyncIterator[dict[str, Any]]:
        for raw in list[dict[str, Any]]():
            yield raw


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def pods(url: str, made: Plan, trials: int, parallel: int, start: float, tell: Connection) -> None:
    """Stands in for the pods of the search's Job. Tells of each pod its turn, and how long it waited when it ends."""
    starting, waiting, begun = list[tuple[float, int]](), dict[int, float](), 0
    with open_store(url) as store, contextlib.closing(redis.Redis.from_url(url)) as client:
        while starting or waiting or begun < trials:
            now = time.monotonic()
            while len(starting) + len(waiting) < parallel and begun < trials:
                starting.append((now + start, begun))
                begun += 1
            for at, turn in [one for one in starting if one[0] <= now]:
                starting.remove((at, turn))
                waiting[turn] = now
                tell.send((turn, None))
            for turn in sorted(waiting):
                told: Any = client.hget(keys.instructions(OF), f"{keys.TURN}0:{turn}")
                if told is not None:
                    took = time.monotonic() - waiting.pop(turn)
                    report(store, made, int(told), turn)
                    tell.send((turn, took))
            time.sleep(_POLL)
    tell.send(None)


def report(store: Store, made: Plan, index: int, turn: int) -> None:
    """Reports a result, as the pod of that turn does."""
    suggestion = store.suggestion(OF, index)
    assert suggestion is not None
    result = ended(store, made, UID, index, loss(suggestion.values), attempt=f"pod-{turn}").result
    result = result.model_copy(update={"dataset": DATASET, "environment": ENVIRONMENT})
    store.append(OF, ResultReport(result=result))


class Bench:
    """The operator's parts in this process, for one search."""

    def __init__(self, url: str, store: Store, made: Plan) -> None:
        self.objects, self.ranker, self.store = Objects(), Ranker(url), store
        access = Access(redis.Redis.from_url(url), "secret", "redis:6379")
        settings = ChildSettings(report_keys=False)
        self.controller = Controller(self.objects, store, access, settings, searcher=self.ranker)
        self.collection = Collection(
            self.controller.races, store, self.objects, self.controller.wakeups.wake, access.probe, seal=access.remove
        )
        document = json.loads(made.job.model_dump_json(by_alias=True, exclude_none=True))
        metadata = {"uid": UID, "namespace": "default", "resourceVersion": "1", "creationTimestamp": _now()}
        self.controller.races.saw_parent({**document, "metadata": {**document["metadata"], **metadata}})
        self.waits: list[float] = []

    def saw(self, turn: int, waited: float | None) -> None:
        """An event of a pod, and of its Job when it ends."""
        job = self.objects.jobs_made[0]
        name, races = job["metadata"]["name"], self.controller.races
        status = {"phase": "Running" if waited is None else "Succeeded"}
        races.saw_pod(owned_pod(UID, name, turn, f"pod-{turn}", status=status))
        if waited is not None:
            self.waits.append(waited)
            completed = {"completedIndexes": f"0-{len(self.waits) - 1}", "active": 1}
            races.saw_job({**job, "status": completed})
        self.controller.wakeups.wake(UID)

    async def run(self, heard: Connection, marks: Sequence[int], parallel: int, began: Callable[[], None]) -> None:
        """Runs the search to its end, and prints a line at each of the marks."""
        self.controller.wakeups.wake(UID)
        working = [asyncio.create_task(work()) for work in (self.controller.work, self.collection.work)]
        await self.objects.has_job.wait()
        began()
        listening = asyncio.create_task(self._listen(heard))
        seen = 0
        for mark in marks:
            first = await self._until(working, seen + int(0.9 * (mark - seen)))
            own, other = time.process_time(), cpu_of(self.ranker.pid or 0)
            seen = await self._until(working, min(mark, marks[-1] - 2 * parallel))
            count, pid, waits = seen - first, self.ranker.pid or 0, sorted(self.waits[first:seen])
            own, other = time.process_time() - own, cpu_of(pid) - other
            print(
                f"{seen:,} trials: operator {_memory(os.getpid())} MiB, searcher {_memory(pid)} MiB; each of the last"
                f" {count:,} took {1000 * own / count:.1f} ms of CPU of the operator and {1000 * other / count:.1f} ms"
                f" of the searcher; pods waited {1000 * waits[len(waits) // 2]:.0f} ms, and 99 % of them at most"
                f" {1000 * waits[int(0.99 * (len(waits) - 1))]:.0f} ms",
                flush=True,
            )
        await self._until(working, marks[-1])
        print(f"when it was over: operator {_memory(os.getpid())} MiB, searcher {_memory(self.ranker.pid or 0)} MiB")
        for task in (*working, listening):
            task.cancel()
        self.ranker.end()

    async def _until(self, working: Sequence[asyncio.Task[None]], count: int) -> int:
        """Waits until so many trials have a result, and returns how many have."""
        while self.results < count:
            race = self.controller.races.get(UID)
            if race is None or race.parent.ended or any(task.done() for task in working):
                raise SystemExit("the operator ended")
            await asyncio.sleep(0.05)
        return self.results

    @property
    def results(self) -> int:
        """How many trials have a result, as the operator knows."""
        race = self.controller.races.get(UID)
        return 0 if race is None else len(race.search.finished)

    async def _listen(self, heard: Connection) -> None:
        while (event := await asyncio.to_thread(heard.recv)) is not None:
            self.saw(*event)


def _memory(pid: int) -> str:
    """Memory of a process, in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return f"{int(text.partition('VmRSS:')[2].split()[0]) / 1024:.0f}"


def main() -> None:
    """Prints a line for each number of trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 10_000], help="sizes (default: 1000 10000)")
    parser.add_argument("--parallel", type=int, default=32, help="pods at once (default: %(default)s)")
    parser.add_argument("--start", type=float, default=1.0, help="seconds that a pod takes to start")
    parser.add_argument("--algorithm", default="Random", help="default: %(default)s")
    given = parser.parse_args()
    made = searching(max(given.trials), parallel=given.parallel, algorithm=given.algorithm)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    with redis_server() as url, open_store(url) as store:
        here, there = PROCESSES.Pipe(duplex=False)
        kubelet = PROCESSES.Process(
            target=pods, args=(url, made, max(given.trials), given.parallel, given.start, there), daemon=True
        )
        bench = Bench(url, store, made)
        asyncio.run(bench.run(here, sorted(given.trials), given.parallel, kubelet.start))
        kubelet.join()


if __name__ == "__main__":
    main()
