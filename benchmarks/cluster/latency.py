"""How long it takes from sending a BenchmarkJob to seeing its Job."""

from __future__ import annotations

import asyncio
import time

from benchmarks.cluster.api import Api
from benchmarks.cluster.race import PARENTS, document, settled
from benchmarks.cluster.running import Operator
from benchmarks.cluster.standin import StandIn
from velodrome import keys

PER_SECOND = 20


async def measure(api: Api, operator: Operator, namespace: str, applies: int) -> None:
    """Prints p50 and p99 over `applies` BenchmarkJobs of one trial each, all of which run to their end meanwhile.

    The clock runs from before the request is sent until a watch brings the Job: it holds the API server's own time for
    both, which is printed beside.
    """
    await operator.ready()
    standin = asyncio.create_task(StandIn(api, namespace).work())
    seen: dict[str, float] = {}
    watching = asyncio.create_task(_watch(api, namespace, seen))
    await asyncio.sleep(1)
    cpu, start = operator.cpu_seconds(), time.monotonic()
    sent: dict[str, float] = {}
    answered: list[float] = []

    async def apply(number: int) -> None:
        at = time.monotonic()
        made = await api.call("POST", PARENTS.format(namespace), document(f"latency-{number}", 1, 1))
        answered.append(time.monotonic() - at)
        sent[made["metadata"]["uid"]] = at

    async with asyncio.TaskGroup() as group:
        for number in range(applies):
            await asyncio.sleep(max(0.0, start + number / PER_SECOND - time.monotonic()))
            group.create_task(apply(number))
    cpu, taken = operator.cpu_seconds() - cpu, time.monotonic() - start
    await settled(api, namespace)
    watching.cancel()
    standin.cancel()
    missing = len(sent.keys() - seen.keys())
    waits = sorted(seen[uid] - at for uid, at in sent.items() if uid in seen)
    p50, p99 = (1000 * waits[min(len(waits) - 1, int(len(waits) * share))] for share in (0.5, 0.99))
    post = 1000 * sorted(answered)[len(answered) // 2]
    print(
        f"apply to Job, {applies} at {PER_SECOND} a second ({missing} never): p50 {p50:.0f} ms, {p50 / 50:.2f} of the"
    )
    print(f"  limit; p99 {p99:.0f} ms, {p99 / 250:.2f} of the limit; of p50 the apply itself took {post:.1f} ms")
    print(f"  operator: {cpu / taken:.0%} of a core meanwhile", flush=True)


async def _watch(api: Api, namespace: str, seen: dict[str, float]) -> None:
    path = f"apis/batch/v1/namespaces/{namespace}/jobs?labelSelector={keys.LABEL_JOB_UID}"
    async for at, _, item in api.watch(path):
        seen.setdefault(item["metadata"]["labels"][keys.LABEL_JOB_UID], at)
