"""Measures a thousand trials: as a BenchmarkJob, as a bare Indexed Job, and as single Kubernetes Jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.cluster.api import Api, Kind, condition
from benchmarks.cluster.running import RUNNER_IMAGE, Operator
from benchmarks.cluster.standin import StandIn
from velodrome import keys
from velodrome.plan import plan
from velodrome.spec import validate
from velodrome_operator.children import ChildSettings, children
from velodrome_operator.crd import PLURAL

PARENTS = f"apis/{keys.GROUP}/{keys.VERSION}/namespaces/{{}}/{PLURAL}"
_ENTRIES = 10
_AT_ONCE = 16


def document(name: str, entries: int, repeats: int, **spec: Any) -> dict[str, Any]:
    """A BenchmarkJob. It does not matter what it trains."""
    return {
        "apiVersion": keys.API_VERSION,
        "kind": keys.KIND,
        "metadata": {"name": name},
        "spec": {
            "dataset": {"name": "digits"},
            "objectives": [{"name": "accuracy", "metric": "accuracy"}],
            "entries": [
                {"name": f"entry-{number}", "model": {"name": "velodrome/mlp", "args": {"hidden": 8 + number}}}
                for number in range(entries)
            ],
            "trials": {"repeats": repeats},
            "execution": {"isolation": "None", "parallelism": min(10_000, entries * repeats)},
            **spec,
        },
    }


async def measure(api: Api, operator: Operator, namespace: str, trials: int, *, singles: bool) -> None:
    """Prints the race's figures. The peers run first, without an operator."""
    wanted = document("race", _ENTRIES, trials // _ENTRIES)
    bare = await _jobs(api, namespace, [_bare(wanted, namespace)])
    print(f"bare Indexed Job of {trials} completions: {bare:.1f} s", flush=True)
    alone = await _jobs(api, namespace, _singles(wanted, namespace, trials)) if singles else None
    if alone is not None:
        print(f"{trials} single Jobs: {alone:.1f} s", flush=True)
    await operator.ready()
    before, own, cpu = await api.writes(), operator.health()["writes"], operator.cpu_seconds()
    taken, after_job = await _race(api, wanted, namespace)
    cpu = operator.cpu_seconds() - cpu
    writes = counted(before, await api.writes(), applied=1) + await events_of(api, namespace)
    allowed = 8 + taken
    print(f"BenchmarkJob of {trials} trials: {taken:.1f} s, {taken / bare:.3f} x the bare Job (limit 1.03)")
    if alone is not None:
        print(f"  {alone / taken:.2f} times as fast as single Jobs (at least 2.5)")
    print(f"  Complete {after_job:+.2f} s after its Job (limit +1.5)")
    print(f"  operator: {writes} API writes by the API server's count, {operator.health()['writes'] - own} by its own;")
    print(f"  {writes / allowed:.2f} of the limit of 8 + one a second, {writes / trials:.3f} a trial")
    print(f"  operator: {cpu:.1f} s of CPU, {cpu / taken:.1%} of a core, {operator.resident_bytes() / 1e6:.0f} MB",
          flush=True)  # fmt: skip


def counted(before: Mapping[Kind, int], after: Mapping[Kind, int], *, applied: int) -> int:
    """Writes of kinds that only the operator writes, minus the benchmark's own applies.

    The Job controller writes Jobs' statuses. Events are counted by their reporter.
    """
    kinds = {Kind("", "configmaps"), Kind("", "secrets"), Kind("batch", "jobs")}
    kinds |= {Kind(keys.GROUP, PLURAL), Kind(keys.GROUP, PLURAL, "status")}
    return sum(after.get(kind, 0) - before.get(kind, 0) for kind in kinds) - applied


async def events_of(api: Api, namespace: str) -> int:
    """The number of Events of a namespace that the operator reported."""
    events = await api.call("GET", f"apis/events.k8s.io/v1/namespaces/{namespace}/events")
    return sum(1 for event in events["items"] if event.get("reportingController") == f"{keys.GROUP}/operator")


async def _race(api: Api, wanted: dict[str, Any], namespace: str) -> tuple[float, float]:
    """Seconds from apply to Complete, and from the Job's completion to Complete."""
    standin = asyncio.create_task(StandIn(api, namespace).work())
    jobs = f"apis/batch/v1/namespaces/{namespace}/jobs?labelSelector={keys.LABEL_JOB_UID}"
    job = asyncio.create_task(complete(api, jobs, 1))
    race = asyncio.create_task(complete(api, PARENTS.format(namespace), 1))
    await asyncio.sleep(1)
    start = time.monotonic()
    await api.call("POST", PARENTS.format(namespace), wanted)
    try:
        done, job_done = await asyncio.gather(race, job)
    finally:
        standin.cancel()
    return done - start, done - job_done


async def settled(api: Api, namespace: str, seconds: float = 180) -> int:
    """Waits until every BenchmarkJob is Complete or Suspended. Returns how many are Complete.

    Raises:
        RuntimeError: one failed.
        TimeoutError: they take longer than the time limit.
    """
    deadline = time.monotonic() + seconds
    while True:
        items = (await api.call("GET", PARENTS.format(namespace)))["items"]
        for item in items:
            if condition(item, "Failed"):
                raise RuntimeError(f"{item['metadata']['name']} failed: {item['status']['message']}")
        complete = sum(condition(item, "Complete") for item in items)
        if all(condition(item, "Complete") or condition(item, "Suspended") for item in items):
            return complete
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(items) - complete} of {len(items)} BenchmarkJobs are not settled")
        await asyncio.sleep(1)


async def complete(api: Api, path: str, count: int) -> float:
    """The time at which the last of `count` objects was seen as Complete."""
    done: set[str] = set()
    async for at, _, item in api.watch(path):
        if condition(item, "Failed"):
            raise RuntimeError(f"{item['metadata']['name']} failed: {item['status']}")
        if condition(item, "Complete"):
            done.add(item["metadata"]["uid"])
        if len(done) == count:
            return at
    raise AssertionError("a watch has no end")


async def _jobs(api: Api, namespace: str, manifests: list[dict[str, Any]]) -> float:
    """Creates Jobs, waits for all of them, and deletes them. Returns the seconds until all were done."""
    path = f"apis/batch/v1/namespaces/{namespace}/jobs"
    done = asyncio.create_task(complete(api, path, len(manifests)))
    await asyncio.sleep(1)
    start = time.monotonic()
    gate = asyncio.Semaphore(_AT_ONCE)

    async def create(manifest: dict[str, Any]) -> None:
        async with gate:
            await api.call("POST", path, manifest)

    await asyncio.gather(*(create(manifest) for manifest in manifests))
    taken = await done - start
    await api.call("DELETE", f"{path}?propagationPolicy=Background")
    while (await api.call("GET", f"api/v1/namespaces/{namespace}/pods?limit=1"))["items"]:  # noqa: ASYNC110 - theirs
        await asyncio.sleep(1)
    return taken


def _bare(wanted: dict[str, Any], namespace: str) -> dict[str, Any]:
    """The Job that the operator would make, without an owner and without its labels."""
    job = validate({**wanted, "metadata": {"name": "bare", "namespace": namespace}}, source="bare")
    manifest = children(job, plan(job), "bare", "", ChildSettings(runner_image=RUNNER_IMAGE))[-1]
    spec = {**manifest["spec"], "template": {"metadata": {}, "spec": manifest["spec"]["template"]["spec"]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "bare"}, "spec": spec}


def _singles(wanted: dict[str, Any], namespace: str, count: int) -> list[dict[str, Any]]:
    """One Job for each trial, of the same pod template."""
    bare = _bare(wanted, namespace)
    spec = {"template": bare["spec"]["template"]}
    return [{**bare, "metadata": {"name": f"single-{number}"}, "spec": spec} for number in range(count)]
