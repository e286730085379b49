"""A search of very many trials, through the whole path, and what it takes in memory. It needs a redis-server.

    python benchmarks/bench_long_search.py [--trials 1000 10000] [--parallel 32] [--start 1.0] [--work 0] [--made 0]
        [--algorithm Random]

The operator's passes and its collecting run in this process, and its searcher in one of its own, as always. Another
process stands in for pods: each takes a second to start, learns its parameters as a runner does, and reports a result
after its --work. It keeps no more of them at work than may run. For each number of trials it prints:

- the memory of the operator's process and of the searcher's, when so many trials had a result;
- the CPU time of both for each of the last tenth of the trials, or of a hundred;
- how long pods waited for their parameters after they had started: half of them at most, 95 % and 99 %;
- what that consists of: the time from a report to the look at the search that takes it, the time of such a look, and
  the CPU time of a choice, which is Optuna's.

An API server that keeps objects takes the place of the real one, and every event of it is there: pods stay, as those of
a Job do. Optuna's TPE takes longer with each trial (bench_suggestions.py), so a whole search by it takes an hour here.
With --made, so many random trials have a result at the beginning.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import random
import sys
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import redis

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.bench_search import cpu_of, loss, searching
from benchmarks.fixtures import DATASET, ENVIRONMENT, redis_server
from tests.owned import owned_pod
from tests.searched import ended, finish, registered
from velodrome import keys
from velodrome.plan import Plan
from velodrome.results.records import ResultReport
from velodrome.results.searches import Suggestion
from velodrome.search.trials import search_of
from velodrome.store import Store, open_store
from velodrome_operator.access import Access
from velodrome_operator.children import ChildSettings
from velodrome_operator.cluster import Cluster
from velodrome_operator.collection import Collection
from velodrome_operator.controller import Controller
from velodrome_operator.lanes import stretch_name
from velodrome_operator.ranker import Question, Ranker

UID = "long"
OF = keys.search_uid(UID)
PROCESSES = multiprocessing.get_context("fork")
# Of pods that know their trial: turn, trial, and how long they waited.
Reports = SimpleQueue[tuple[int, int, float] | None]
_LEAST = 100  # of the trials before a mark are looked at, if a tenth is less
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


def pods(url: str, turns: int, how: Namespace, tell: Connection, reporting: Reports) -> None:
    """Stands in for the pods of the search's Job, which ask for their turn. Tells of each one when it begins to ask.

    Another process reports for them: to write a report takes longer than to ask, and nobody is to wait for that here.
    """
    left, starting, waiting = list(range(turns)), dict[int, float](), dict[int, float]()
    working, start_of = dict[int, tuple[float, int, float]](), f"{keys.TURN}{stretch_name('0', how.made)}:"
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        while left or starting or waiting or working:
            now = time.monotonic()
            for turn in [turn for turn, (end, *_) in working.items() if end <= now]:
                reporting.put((turn, *working.pop(turn)[1:]))
            while left and len(starting) + len(waiting) + len(working) < how.parallel:
                starting[left.pop(0)] = now + how.start
            for turn in [turn for turn, at in starting.items() if at <= now]:
                del starting[turn]
                waiting[turn] = now
                tell.send((turn, None, 0, 0.0))
            asked = sorted(waiting)
            told: Any = client.hmget(keys.instructions(OF), [f"{start_of}{turn}" for turn in asked]) if asked else []
            for turn, index in zip(asked, told, strict=True):
                if index is not None:
                    working[turn] = now + how.work, int(index), time.monotonic() - waiting.pop(turn)
            time.sleep(_POLL)
    reporting.put(None)


def reports(url: str, made: Plan, tell: Connection, reporting: Reports) -> None:
    """Reports for the pods that know their trial. Tells of each one that it ended, and how long it had waited."""
    with open_store(url) as store:
        while (told := reporting.get()) is not None:
            turn, index, waited = told
            report(store, made, index, turn)
            tell.send((turn, waited, index, time.monotonic()))
    tell.send(None)


def report(store: Store, made: Plan, index: int, turn: int) -> None:
    """Reports a result, as the pod of that turn does."""
    suggestion = store.suggestion(OF, index)
    assert suggestion is not None
    result = ended(store, made, UID, index, loss(suggestion.values), attempt=f"pod-{turn}").result
    result = result.model_copy(update={"dataset": DATASET, "environment": ENVIRONMENT})
    store.append(OF, ResultReport(result=result))


def drawn(store: Store, made: Plan, count: int) -> None:
    """Gives a search so many random trials with results."""
    registered(store, made, UID)
    chance, parameters = random.Random(count), search_of(made.job).parameters  # noqa: S311 - the same ones each time
    for number in range(count):
        values = {one.name: chance.uniform(one.low or 0, one.high or 0) for one in parameters}
        values["training.batchSize"] = 16 * chance.randint(1, 16)
        store.suggest(OF, number, Suggestion(entry="mlp", number=number, values=values), "0")
        finish(store, made, UID, number, loss(values))


class TimedRanker(Ranker):
    """The process that searches. It notes how long looks take, and how long reports lay before a look took them."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.reported: dict[int, float] = {}
        self.looks: list[float] = []
        self.taken: list[float] = []

    async def ask(self, question: Question, name: str = "", about: Any = ()) -> Any:
        """The answer."""
        began = time.monotonic()
        found = await super().ask(question, name, about)
        self.looks.append(time.monotonic() - began)
        new = [index for index in self.reported if index in found.finished]
        self.taken += [max(0.0, began - self.reported.pop(index)) for index in new]
        return found


def spread(seconds: Sequence[float]) -> str:
    """The median, and what 95 % and 99 % of them are at most, in milliseconds."""
    found = sorted(seconds) or [0.0]
    half, most, nearly = (1000 * found[int(share * (len(found) - 1))] for share in (0.5, 0.95, 0.99))
    return f"{half:.0f} (95 %: {most:.0f}, 99 %: {nearly:.0f})"


class Bench:
    """The operator's parts in this process, for one search."""

    def __init__(self, url: str, store: Store, made: Plan, before: int) -> None:
        self.before = before
        self.objects, self.ranker, self.store = Objects(), TimedRanker(url), store
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

    def saw(self, turn: int, waited: float | None, index: int, at: float) -> None:
        """An event of a pod, and of its Job when it ends."""
        job = self.objects.jobs_made[0]
        name, races = job["metadata"]["name"], self.controller.races
        status = {"phase": "Running" if waited is None else "Succeeded"}
        races.saw_pod(owned_pod(UID, name, turn, f"pod-{turn}", status=status))
        if waited is not None:
            self.waits.append(waited)
            self.ranker.reported[index] = at
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
        seen = self.before
        for mark in marks:
            end = min(mark, marks[-1] - 2 * parallel)
            first = await self._until(working, max(seen, end - max(_LEAST, (end - seen) // 10)))
            own, other, looks = time.process_time(), cpu_of(self.ranker.pid or 0), len(self.ranker.looks)
            seen = await self._until(working, end)
            count, pid = max(1, seen - first), self.ranker.pid or 0
            own, other = time.process_time() - own, cpu_of(pid) - other
            timed = slice(first - self.before, seen - self.before)
            print(
                f"{seen:,} trials: operator {_memory(os.getpid())} MiB, searcher {_memory(pid)} MiB; each of the last"
                f" {count:,} took {1000 * own / count:.1f} ms of CPU of the operator and {1000 * other / count:.1f} ms"
                f" of the searcher; pods waited {spread(self.waits[timed])} ms\n"
                f"  from a report to the look that takes it {spread(self.ranker.taken[timed])} ms, looks took"
                f" {spread(self.ranker.looks[looks:])} ms, a choice {spread(self._choices(first, seen))} ms of CPU"
                f" (load {os.getloadavg()[0]:.1f})",
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

    def _choices(self, first: int, end: int) -> list[float]:
        """The CPU time of these choices, as it is stored with each."""
        found = [self.store.suggestion(OF, index) for index in range(first, end)]
        return [one.seconds for one in found if one is not None]

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
    parser.add_argument("--work", type=float, default=0.0, help="seconds that a trial takes (default: %(default)s)")
    parser.add_argument("--made", type=int, default=0, help="random trials that were there before")
    parser.add_argument("--algorithm", default="Random", help="default: %(default)s")
    given = parser.parse_args()
    made = searching(max(given.trials), parallel=given.parallel, algorithm=given.algorithm)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    with redis_server() as url, open_store(url) as store:
        here, there = PROCESSES.Pipe(duplex=False)
        reporting, most = PROCESSES.SimpleQueue(), max(given.trials)
        if given.made:
            drawn(store, made, given.made)
        asking = (url, most - given.made, given, there, reporting)
        beside = [
            PROCESSES.Process(target=pods, args=asking, daemon=True),
            PROCESSES.Process(target=reports, args=(url, made, there, reporting), daemon=True),
        ]

        def begin() -> None:
            for one in beside:
                one.start()

        bench = Bench(url, store, made, given.made)
        asyncio.run(bench.run(here, sorted(given.trials), given.parallel, begin))
        for one in beside:
            one.join()


if __name__ == "__main__":
    main()
