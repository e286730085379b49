"""Measures what stands between an applied BenchmarkJob and its Job inside the operator, part by part. Prints figures.

    python benchmarks/bench_apply.py [--applies 300] [--per-second 20] [--rounds 2] [--only PART]

The operator's own parts run in this process with a real Redis. The API server is a stand-in that answers every request
after some milliseconds and sends the events of what was written; another process reports for the pods. So no cluster is
needed, and the figure is the operator's own share: from the event that shows the object until its Job is asked for.
Waits depend on what else the machine does. The CPU time for each BenchmarkJob hardly does. What the operator's process
spends outside of its event loop holds up the event loop, because Python runs one thread at a time.

Each line adds one part to those of the line above: first passes alone, then races that also report, then their ranking
for the status, then their judgement at the end, then the boards that /metrics shows, all in threads of one process. The
last line is the operator as it is: processes of their own do the last three.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import redis

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.cluster.race import document
from benchmarks.fixtures import DATASET, ENVIRONMENT, redis_server
from velodrome import keys
from velodrome.plan import plan
from velodrome.results.records import ResultReport, TrialResult
from velodrome.spec import validate
from velodrome.store import Store
from velodrome.store.deletion import Deleter
from velodrome.store.edge import connect
from velodrome_operator.access import Access, report_key
from velodrome_operator.children import ChildSettings
from velodrome_operator.cluster import Cluster, Refusal
from velodrome_operator.regressed import Regressed
from velodrome_operator.service import Options, Service

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
SECRET = "secret"  # noqa: S105 - of a Redis that lives for a minute
_TICKS = os.sysconf("SC_CLK_TCK")
_INDEX = "batch.kubernetes.io/job-completion-index"
IMAGE = "localhost/simulated@sha256:" + "0" * 64
# How long the stand-in takes to answer, and a trial to run, in seconds.
ANSWER, EVENT, START, RUN = 0.006, 0.003, 0.05, 0.4
PARTS = ("passes alone", "reports", "ranking for the status", "judgement at the end", "boards for /metrics")
PROCESSES = "the last three in processes"


@dataclass
class StandIn(Cluster):
    """An API server that takes everything, and a node whose pods succeed."""

    sender: Connection | None
    seen: dict[str, float] = field(default_factory=dict)
    made: dict[str, float] = field(default_factory=dict)
    service: Service | None = None
    writes: dict[str, int] = field(default_factory=lambda: {"create": 0, "update": 0, "patch": 0, "delete": 0})
    version: int = 1
    ended: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def parents(self, *_: Any) -> AsyncIterator[dict[str, Any]]:
        return _nothing()

    def jobs(self, *_: Any) -> AsyncIterator[dict[str, Any]]:
        return _nothing()

    def pods(self, *_: Any) -> AsyncIterator[dict[str, Any]]:
        return _nothing()

    def started_pods(self, *_: Any) -> AsyncIterator[dict[str, Any]]:
        return _nothing()

    async def pod_refusals(self, *_: Any) -> dict[str, Refusal]:
        return {}

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        uid = manifest["metadata"].get("labels", {}).get(keys.LABEL_JOB_UID, "")
        if manifest["kind"] == "Job":
            self.made.setdefault(uid, time.monotonic())
        await asyncio.sleep(ANSWER)
        known = {"uid": f"job-of-{uid}", "creationTimestamp": _now(), "resourceVersion": self._next()}
        raw = {**manifest, "metadata": {**manifest["metadata"], **known}}
        if manifest["kind"] == "Job":
            self._later(self._run(raw, uid))
        return raw

    async def patch_job(self, *_: Any) -> None:
        await asyncio.sleep(ANSWER)

    async def delete_job(self, *_: Any) -> None:
        await asyncio.sleep(ANSWER)

    async def event(self, *_: Any, **__: Any) -> None:
        await asyncio.sleep(ANSWER)

    async def write_status(self, parent: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any] | None:
        await asyncio.sleep(ANSWER)
        raw = {**parent, "metadata": {**parent["metadata"], "resourceVersion": self._next()}, "status": dict(status)}
        held = {one["type"] for one in status["conditions"] if one["status"] == "True"}
        self.ended += bool(held & {"Complete", "Failed"}) and "completionTime" not in parent.get("status", {})
        self._later(self._tell("parent", raw))
        return raw

    async def _run(self, job: dict[str, Any], uid: str) -> None:
        """What follows a new Job: its event, its pod that starts, reports and succeeds, and its end."""
        await self._tell("job", job)
        if self.sender is None:
            return
        meta = {
            "name": f"pod-{uid}", "namespace": "bench", "uid": f"pod-{uid}", "creationTimestamp": _now(),
            "labels": {**job["spec"]["template"]["metadata"]["labels"], _INDEX: "0"},
            "ownerReferences": [{"kind": "Job", "apiVersion": "batch/v1", "name": job["metadata"]["name"],
                                 "uid": job["metadata"]["uid"], "controller": True}],
        }  # fmt: skip
        spec = {**job["spec"]["template"]["spec"], "nodeName": f"node-{hash(uid) % 50}"}
        began = _now()
        for phase, wait in (("Running", START), ("Succeeded", RUN)):
            await asyncio.sleep(wait)
            if phase == "Succeeded":
                self.sender.send(uid)
            state = {"running": {"startedAt": began}} if phase == "Running" else {
                "terminated": {"exitCode": 0, "startedAt": began, "finishedAt": _now()}
            }  # fmt: skip
            containers = [{"name": spec["containers"][0]["name"], "imageID": IMAGE, "state": state}]
            status = {"phase": phase, "startTime": began, "containerStatuses": containers}
            pod = {"metadata": {**meta, "resourceVersion": self._next()}, "spec": spec, "status": status}
            await self._tell("pod", pod)
        done = {"completedIndexes": "0", "succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}
        metadata = {**job["metadata"], "resourceVersion": self._next()}
        await self._tell("job", {**job, "metadata": metadata, "status": done})

    async def _tell(self, kind: Any, raw: dict[str, Any]) -> None:
        await asyncio.sleep(EVENT)
        assert self.service is not None
        self.service.saw(kind, raw, gone=False)

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _next(self) -> str:
        self.version += 1
        return str(self.version)


async def _nothing() -> AsyncIterator[dict[str, Any]]:
    for raw in list[dict[str, Any]]():
        yield raw


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parent(number: int) -> dict[str, Any]:
    """A BenchmarkJob of one trial, as a watch shows it."""
    raw = document(f"latency-{number}", 1, 1)
    raw["metadata"] |= {"uid": f"uid-{number}", "namespace": "bench", "resourceVersion": "1", "generation": 1}
    raw["metadata"]["creationTimestamp"] = _now()
    return raw


def send(url: str, orders: Connection) -> None:
    """Reports the result of each race whose uid comes in. Runs in a process of its own."""
    with contextlib.closing(redis.Redis.from_url(url)) as client, contextlib.suppress(EOFError):
        while True:
            uid = orders.recv()
            number = int(uid.partition("-")[2])
            raw = {**parent(number), "metadata": {"name": f"latency-{number}", "namespace": "bench"}}
            trial, now = plan(validate(raw, source="bench")).trial(0), datetime.now(UTC)
            result = TrialResult(
                job_uid=uid, index=0, entry=trial.entry, repeat=0, seed=trial.seed, trial_id=trial.id,
                attempt=f"pod-{uid}", outcome="Succeeded", metrics={"accuracy": 0.9 + 0.0001 * (number % 7)},
                dataset=DATASET, environment=ENVIRONMENT, started_at=now, finished_at=now,
            )  # fmt: skip
            client.rpush(
                keys.inbox(uid), ResultReport(result=result, proof=report_key(SECRET, uid, 0)).model_dump_json()
            )


@dataclass(frozen=True)
class Figures:
    """Milliseconds from the event to the request for the Job; and milliseconds of CPU time for each BenchmarkJob, until
    all have ended: of the operator's process, of its event loop alone, and of the processes that rank.
    """

    waits: list[float]
    own: float
    loop: float
    beside: float

    def quantile(self, share: float) -> float:
        return self.waits[min(len(self.waits) - 1, int(len(self.waits) * share))]


def without(parts: frozenset[str]) -> contextlib.AbstractContextManager[object]:
    """Leaves out the ranking for the status, where that is among the parts."""
    if "ranking for the status" in parts:
        return mock.patch("velodrome_operator.reconciler.standings", return_value=[])
    return contextlib.nullcontext()


def measure(server: str, applies: int, per_second: float, level: int) -> Figures:
    """One run with the parts up to this level."""
    out = frozenset(PARTS[level + 1 :])
    threads = level < len(PARTS)
    spawn = multiprocessing.get_context("spawn")
    with redis_server(server, *DURABLE) as url, without(out):
        there, here = spawn.Pipe(duplex=False)
        process = spawn.Process(target=send, args=(url, there), daemon=True)
        process.start()
        try:
            return asyncio.run(_measure(url, applies, per_second, out, here, threads=threads))
        finally:
            here.close()
            process.terminate()
            process.join()


async def _measure(
    url: str, applies: int, per_second: float, out: frozenset[str], sender: Connection, *, threads: bool
) -> Figures:
    client = connect(url)
    store = Store(client)
    cluster = StandIn(None if "reports" in out else sender)
    options = Options(redis_url=url, listen=("127.0.0.1", 0), settings=ChildSettings(runner_image=IMAGE))
    service = Service(options, store, cluster, Access(client, SECRET, "redis:6379"), Deleter(client))
    cluster.service = service
    if "judgement at the end" in out:
        setattr(service.controller.judgement, "judge", _unjudged)  # noqa: B010 - it stands in for a method
    if threads:
        # As it was once.
        service.exporter.results._ranker = service.controller.judgement._ranker = None  # noqa: SLF001
        service.controller._reconciler._ranker = None  # noqa: SLF001
    await service.sweep.list_first()
    works = [service.controller.work() for _ in range(8)]
    works += [service.collection.work()] if "reports" not in out else []
    works += [service.exporter.work()] if "boards for /metrics" not in out else []
    tasks = [asyncio.create_task(work) for work in works]
    await asyncio.sleep(1)
    if not threads:
        await asyncio.gather(*(ranker.ask("load") for ranker in service.rankers))
    before, start = _cpu(service), time.monotonic()
    for number in range(applies):
        await asyncio.sleep(max(0.0, start + number / per_second - time.monotonic()))
        raw = parent(number)
        cluster.seen[raw["metadata"]["uid"]] = time.monotonic()
        service.saw("parent", raw, gone=False)
    while len(cluster.made) < applies:  # noqa: ASYNC110 - the stand-in counts it
        await asyncio.sleep(0.05)
    if "reports" not in out:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_all_ended(cluster, applies), 60)
        if cluster.ended < applies:
            print(f"  only {cluster.ended} of {applies} races ended", flush=True)
    for task in (*tasks, *cluster.tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    own, loop, beside = (1000 * (now - then) / applies for now, then in zip(_cpu(service), before, strict=True))
    for ranker in service.rankers:
        ranker.end()
    waits = sorted(1000 * (cluster.made[uid] - at) for uid, at in cluster.seen.items())
    return Figures(waits, own, loop, beside)


def _cpu(service: Service) -> tuple[float, float, float]:
    """Seconds of CPU time so far: of this process, of this thread, and of the processes that rank."""
    beside = 0.0
    for pid in (ranker.pid for ranker in service.rankers if ranker.pid is not None):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        beside += (int(fields[11]) + int(fields[12])) / _TICKS
    return time.process_time(), time.thread_time(), beside


async def _all_ended(cluster: StandIn, applies: int) -> None:
    while cluster.ended < applies:  # noqa: ASYNC110 - statuses count it
        await asyncio.sleep(0.1)


async def _unjudged(*_: Any) -> Regressed:
    return Regressed("Unknown", "NoBaseline", "not judged")


def main() -> None:
    """Runs the parts in turns, and prints the share of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--applies", type=int, default=300)
    parser.add_argument("--per-second", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=[*PARTS, PROCESSES], help="this part and those above it, alone")
    parser.add_argument("--server", default=shutil.which("redis-server") or shutil.which("valkey-server"))
    given = parser.parse_args()
    if given.server is None:
        sys.exit("no redis-server or valkey-server on PATH: apt-get install redis-server")
    names = [*PARTS, PROCESSES]
    levels = [names.index(given.only)] if given.only else list(range(len(names)))
    import velodrome.board.kept  # noqa: F401 - SciPy is imported before anything is measured

    found: dict[int, list[Figures]] = {level: [] for level in levels}
    for _ in range(given.rounds):
        for level in levels:
            found[level].append(measure(given.server, given.applies, given.per_second, level))
    with open("/proc/loadavg", encoding="utf-8") as load:  # noqa: PTH123 - a file of the kernel
        print(f"{given.applies} BenchmarkJobs at {given.per_second:g} a second, load {load.read().split()[0]}")
    print("  the wait for the Job           CPU time for each BenchmarkJob: of the process (event loop), of others")
    for level, runs in found.items():
        waits = sorted(wait for run in runs for wait in run.waits)
        whole = Figures(waits, *(_mean([getattr(run, name) for run in runs]) for name in ("own", "loop", "beside")))
        part = f"{'+ ' if 0 < level < len(PARTS) else ''}{names[level]}"
        print(
            f"  p50 {whole.quantile(0.5):7.1f} ms  p99 {whole.quantile(0.99):7.1f} ms  "
            f"{whole.own:6.1f} ms ({whole.loop:5.1f} ms), {whole.beside:6.1f} ms   {part}"
        )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
