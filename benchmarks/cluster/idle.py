"""Measures the operator's cost while nothing happens, and the time of a restart."""

from __future__ import annotations

import asyncio
import time

from benchmarks.cluster.api import Api
from benchmarks.cluster.race import PARENTS, counted, document, events_of, settled
from benchmarks.cluster.running import Operator

_AT_ONCE = 8


async def measure(api: Api, operator: Operator, namespace: str, count: int, seconds: float) -> None:
    """Prints memory, CPU and writes over `seconds` with `count` BenchmarkJobs in all, then the time of a restart.

    BenchmarkJobs from other parts are Complete. The rest are suspended, and the operator must watch them.
    """
    await operator.ready()
    complete = await _fill(api, namespace, count)
    quiet = await _quiet(operator)
    print(f"{count} idle BenchmarkJobs, {complete} of them Complete, the others suspended (quiet after {quiet:.0f} s)")
    await _rest(api, operator, namespace, seconds, "idle")
    operator.stop()
    start = operator.start()
    ready = None
    while (health := operator.health()).get("benchmarkjobs") != count:
        ready = ready or (time.monotonic() if health else None)
        await asyncio.sleep(0.05)
    known = time.monotonic() - start
    answered = (ready - start) if ready else known
    print(f"restart: probe answers after {answered:.2f} s, all {count} known after {known:.2f} s, "
          f"{known / 5:.2f} of the limit, of which {operator.cpu_seconds():.2f} s of CPU", flush=True)  # fmt: skip
    await _quiet(operator)
    await _rest(api, operator, namespace, seconds, "idle after a restart")


async def _rest(api: Api, operator: Operator, namespace: str, seconds: float, what: str) -> None:
    before, events = await api.writes(), await events_of(api, namespace)
    cpu, start, most = operator.cpu_seconds(), time.monotonic(), 0
    while time.monotonic() - start < seconds:
        most = max(most, operator.resident_bytes())
        await asyncio.sleep(1)
    share = (operator.cpu_seconds() - cpu) / (time.monotonic() - start)
    writes = counted(before, await api.writes(), applied=0) + await events_of(api, namespace) - events
    print(f"{what}, {seconds:.0f} s: at most {most / 1e6:.0f} MB, {most / 150e6:.2f} of the limit; "
          f"{share:.2%} of a core, {share / 0.02:.2f} of the limit; {writes} API writes", flush=True)  # fmt: skip


async def _fill(api: Api, namespace: str, count: int) -> int:
    """Makes suspended BenchmarkJobs until there are `count`. Returns how many existed before, all Complete."""
    path = PARENTS.format(namespace)
    present = (await api.call("GET", path))["items"]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def create(number: int) -> None:
        async with gate:
            await api.call("POST", path, document(f"idle-{number}", 3, 5, suspend=True))

    await asyncio.gather(*(create(number) for number in range(count - len(present))))
    return await settled(api, namespace)


async def _quiet(operator: Operator) -> float:
    """Waits, two minutes at most, until the operator used little CPU for five seconds. Returns the waiting time."""
    start = time.monotonic()
    while time.monotonic() - start < 120:
        cpu = operator.cpu_seconds()
        await asyncio.sleep(5)
        if operator.cpu_seconds() - cpu < 0.25:
            break
    return time.monotonic() - start
