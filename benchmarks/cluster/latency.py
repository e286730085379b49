"""Measures the time from sending a BenchmarkJob until its Job is visible, beside the least possible time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.cluster.api import Api
from benchmarks.cluster.race import PARENTS, complete, document, settled
from benchmarks.cluster.running import RUNNER_IMAGE, Operator
from benchmarks.cluster.standin import StandIn
from velodrome import keys
from velodrome.plan import plan
from velodrome.spec import validate
from velodrome_operator.children import ChildSettings, children

PER_SECOND = 20
_BASES = {"ConfigMap": "api/v1", "Secret": "api/v1", "Job": "apis/batch/v1"}


@dataclass(frozen=True)
class Waits:
    """Milliseconds from sending a BenchmarkJob until a watch shows its Job, and the median of sending alone."""

    seen: list[float]
    missing: int
    answered: float

    def quantile(self, share: float) -> float:
        """The wait that this share of the waits is shorter than."""
        waits = sorted(self.seen)
        return waits[min(len(waits) - 1, int(len(waits) * share))]


async def measure(api: Api, operator: Operator, namespace: str, applies: int) -> None:
    """Prints p50 and p99 over `applies` BenchmarkJobs of one trial each, which all run to their end meanwhile.

    The clock runs from before the request until a watch shows the Job. So it includes the API server's own time, which
    depends on the machine far more than on the operator. Therefore a peer runs first: it makes the same Jobs as soon as
    a watch shows it the object, and does nothing else.
    """
    await operator.ready()
    least = await _least(api, f"{namespace}-least", applies)
    _tell("least that an operator could take", applies, least)
    standin = asyncio.create_task(StandIn(api, namespace).work())
    cpu, start = operator.cpu_seconds(), time.monotonic()
    found = await _apply(api, namespace, applies)
    cpu, taken = operator.cpu_seconds() - cpu, time.monotonic() - start
    await settled(api, namespace)
    standin.cancel()
    _tell("apply to Job", applies, found)
    p50, p99 = (found.quantile(share) / least.quantile(share) for share in (0.5, 0.99))
    print(f"  {p50:.2f} and {p99:.2f} times the least; operator: {cpu / taken:.0%} of a core meanwhile", flush=True)


def _tell(what: str, applies: int, waits: Waits) -> None:
    p50, p99 = waits.quantile(0.5), waits.quantile(0.99)
    print(f"{what}, {applies} at {PER_SECOND} a second ({waits.missing} never):")
    print(f"  p50 {p50:.0f} ms, {p50 / 50:.2f} of the limit; p99 {p99:.0f} ms, {p99 / 250:.2f} of the limit;")
    print(f"  of p50 the apply itself took {waits.answered:.1f} ms", flush=True)


async def _apply(api: Api, namespace: str, applies: int) -> Waits:
    """Sends the BenchmarkJobs, and waits at most a minute until every Job was seen."""
    seen: dict[str, float] = {}
    watching = asyncio.create_task(_watch(api, namespace, seen))
    await asyncio.sleep(1)
    sent: dict[str, float] = {}
    answered: list[float] = []

    async def apply(number: int) -> None:
        at = time.monotonic()
        made = await api.call("POST", PARENTS.format(namespace), document(f"latency-{number}", 1, 1))
        answered.append(1000 * (time.monotonic() - at))
        sent[made["metadata"]["uid"]] = at

    start = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(applies):
            await asyncio.sleep(max(0.0, start + number / PER_SECOND - time.monotonic()))
            group.create_task(apply(number))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(_all_in(sent, seen), 60)
    watching.cancel()
    waits = [1000 * (seen[uid] - at) for uid, at in sent.items() if uid in seen]
    return Waits(waits, len(sent) - len(waits), sorted(answered)[len(answered) // 2])


async def _all_in(sent: Mapping[str, float], seen: Mapping[str, float]) -> None:
    while sent.keys() - seen.keys():  # noqa: ASYNC110 - what fills it runs meanwhile
        await asyncio.sleep(0.1)


async def _watch(api: Api, namespace: str, seen: dict[str, float]) -> None:
    path = f"apis/batch/v1/namespaces/{namespace}/jobs?labelSelector={keys.LABEL_JOB_UID}"
    async for at, _, item in api.watch(path):
        seen.setdefault(item["metadata"]["labels"][keys.LABEL_JOB_UID], at)


async def _least(api: Api, namespace: str, applies: int) -> Waits:
    """The same with a peer that only makes the ConfigMap, the Secret and the Job of every object."""
    await api.call("POST", "api/v1/namespaces", {"metadata": {"name": namespace}})
    async with asyncio.TaskGroup() as group:
        answering = group.create_task(_answer_all(api, namespace, group))
        found = await _apply(api, namespace, applies)
        await complete(api, f"apis/batch/v1/namespaces/{namespace}/jobs", applies)
        answering.cancel()
    return found


async def _answer_all(api: Api, namespace: str, group: asyncio.TaskGroup) -> None:
    async for _, kind, item in api.watch(PARENTS.format(namespace)):
        if kind == "ADDED":
            group.create_task(_answer(api, namespace, item))


async def _answer(api: Api, namespace: str, item: dict[str, Any]) -> None:
    planned, uid = plan(validate(item, source="latency")), item["metadata"]["uid"]
    *before, job = children(planned.job, planned, uid, "redis://redis", ChildSettings(runner_image=RUNNER_IMAGE))
    await asyncio.gather(*(_create(api, namespace, manifest) for manifest in before))
    await _create(api, namespace, job)


async def _create(api: Api, namespace: str, manifest: dict[str, Any]) -> None:
    kind = manifest["kind"]
    await api.call("POST", f"{_BASES[kind]}/namespaces/{namespace}/{kind.lower()}s", manifest)
