"""`python -m velodrome_operator.acceptance`: races a small BenchmarkJob to a row of the leaderboard.

It says what is wrong if anything is. `helm test` runs it in a pod. The pod's service account may make, see and delete
this one BenchmarkJob, and its Redis user may read.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from velodrome import keys
from velodrome.board.viewing import objectives_of, read_objectives
from velodrome.errors import ActionNeeded, TryAgain, VelodromeError
from velodrome.store import Reader, Store
from velodrome.store.edge import connect
from velodrome_operator import shapes
from velodrome_operator.children import Manifest
from velodrome_operator.cluster import Cluster
from velodrome_operator.crd import spec_schema

_LOOK_SECONDS = 1.0
_ENTRY = "mlp"


class InstallationFaulty(ActionNeeded):
    """The installation does not do what it must. The message says what, and where to look."""

    reason = "InstallationFaulty"


def small_race(namespace: str, name: str) -> Manifest:
    """A BenchmarkJob of one trial that takes seconds once its pod runs."""
    return {
        "apiVersion": keys.API_VERSION,
        "kind": keys.KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "board": name,
            "dataset": {"name": "digits"},
            "objectives": [{"name": "accuracy", "metric": "accuracy"}],
            "budget": {"maxEpochs": 2},
            "evaluation": {"inference": {"batchSizes": [1], "minRunSeconds": 0.05}},
            "entries": [{"name": _ENTRY, "model": {"name": "velodrome/mlp"}}],
            "trials": {"repeats": 1},
            "execution": {"isolation": "None"},
        },
    }


def fields_missing(served: Mapping[str, Any], wanted: Mapping[str, Any], at: str = "spec") -> Iterator[str]:
    """The fields of the `wanted` schema that the `served` one lacks. An API server drops such fields without a word."""
    have, want = served.get("properties") or {}, wanted.get("properties") or {}
    for name, field in want.items():
        if name in have:
            yield from fields_missing(have[name], field, f"{at}.{name}")
        else:
            yield f"{at}.{name}"
    items = wanted.get("items")
    if isinstance(items, Mapping):
        yield from fields_missing(served.get("items") or {}, items, f"{at}[]")


def check_schema(document: Mapping[str, Any] | None) -> None:
    """Checks what the API server says of the kind BenchmarkJob.

    Raises:
        InstallationFaulty: it does not know the kind, or only an older version of it.
    """
    schemas = shapes.at(document or {}, "components", "schemas")
    found = [schema for name, schema in dict(schemas or {}).items() if name.endswith(f".{keys.KIND}")]
    if not found:
        raise InstallationFaulty(
            "the API server knows no BenchmarkJob: install the CRD: crds.enabled=true, or deploy/crd"
        )
    missing = list(fields_missing(shapes.at(found[0], "properties", "spec") or {}, spec_schema()))
    if missing:
        raise InstallationFaulty(
            f"the CRD is older than the operator: it lacks {', '.join(missing[:5])}. Upgrade it: helm upgrade with "
            "crds.enabled=true, or kubectl apply --server-side -f deploy/crd/benchmarkjobs.yaml"
        )


def ended(found: Mapping[str, Any] | None) -> bool:
    """Whether the race is complete.

    Raises:
        InstallationFaulty: the race failed, or is gone.
    """
    if found is None:
        raise InstallationFaulty("somebody deleted the BenchmarkJob of this test: run the test again")
    for condition in shapes.items(shapes.at(found, "status", "conditions")):
        kind, status = shapes.text(shapes.at(condition, "type")), shapes.text(shapes.at(condition, "status"))
        if kind == "Failed" and status == "True":
            raise InstallationFaulty(f"the race failed: {shapes.text(shapes.at(condition, 'message'))}")
        if kind == "Complete" and status == "True":
            return True
    return False


def row(reader: Reader, board: str, uid: str) -> str:
    """The row of this race on the leaderboard, in words; empty while there is none."""
    for reading in read_objectives(reader, board, objectives_of(reader, board)):
        for one in reading.ranking.ranked:
            if one.job_uid == uid and one.entry == _ENTRY:
                return f"{one.entry}: {reading.objective.key} {one.interval.mean:.4f}, rank {one.place}"
        for held in reading.ranking.unranked:
            if held.job_uid == uid and held.entry == _ENTRY and held.why == "OneTrial":
                (value,) = held.samples.values()
                return f"{held.entry}: {reading.objective.key} {value:.4f} by one trial"
    return ""


async def accept(
    cluster: Cluster, reader: Reader, namespace: str, name: str, seconds: float, tell: Callable[[str], None]
) -> None:
    """Checks the CRD, races, and looks for the row. Deletes the BenchmarkJob at the end; its results stay.

    Raises:
        InstallationFaulty: the installation does not do what it must.
        VelodromeError: as the API server or Redis answers.
    """
    deadline = time.monotonic() + seconds
    check_schema(await cluster.openapi())
    tell("the API server knows BenchmarkJobs of this version")
    made = await _fresh(cluster, namespace, name)
    uid = shapes.text(shapes.at(made, "metadata", "uid"))
    tell(f"made the BenchmarkJob {namespace}/{name}")
    try:
        await _until_complete(cluster, namespace, name, deadline, tell)
        await _until_shown(reader, name, uid, deadline, tell)
    finally:
        await cluster.delete_parent(namespace, name, uid)


async def _fresh(cluster: Cluster, namespace: str, name: str) -> Mapping[str, Any]:
    """Makes the BenchmarkJob, in place of one that an earlier test left."""
    manifest = small_race(namespace, name)
    for _ in range(30):
        made = await cluster.create(manifest)
        if made is not None:
            return made
        old = await cluster.parent(namespace, name)
        if old is not None:
            await cluster.delete_parent(namespace, name, shapes.text(shapes.at(old, "metadata", "uid")))
        await asyncio.sleep(_LOOK_SECONDS)
    raise InstallationFaulty(
        f"the BenchmarkJob {namespace}/{name} of an earlier test can't be deleted: kubectl delete bmj {name}"
    )


async def _until_complete(
    cluster: Cluster, namespace: str, name: str, deadline: float, tell: Callable[[str], None]
) -> None:
    said = ""
    while True:
        found = await cluster.parent(namespace, name)
        if ended(found):
            tell("the race is complete")
            return
        now = shapes.text(shapes.at(found or {}, "status", "message"))
        if now and now != said:
            said = now
            tell(said)
        if time.monotonic() > deadline:
            raise InstallationFaulty(
                f"the race did not end in time. Its status says: {said or 'nothing, so no operator looks at it'}. "
                f"kubectl -n {namespace} describe bmj,pod -l velodrome.dev/job-name={name} says more"
            )
        await asyncio.sleep(_LOOK_SECONDS)


async def _until_shown(reader: Reader, board: str, uid: str, deadline: float, tell: Callable[[str], None]) -> None:
    while True:
        found = await asyncio.to_thread(row, reader, board, uid)
        if found:
            tell(f"the leaderboard shows {found}")
            return
        if time.monotonic() > deadline:
            raise InstallationFaulty("the race is complete, and the leaderboard's reading of Redis shows no row of it")
        await asyncio.sleep(_LOOK_SECONDS)


async def _run(given: argparse.Namespace) -> None:
    def tell(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    with Store(connect(os.environ[keys.ENV_REDIS_URL])) as store:
        async with Cluster.connected() as cluster:
            await accept(cluster, store, given.namespace, given.name, given.timeout, tell)


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 if the row is there, 1 if something is wrong, and 2 for bad arguments. The message says what."""
    parser = argparse.ArgumentParser(prog="python -m velodrome_operator.acceptance", description=__doc__)
    parser.add_argument("--namespace", required=True, help="where to race")
    parser.add_argument("--name", default="velodrome-test", help="name of the BenchmarkJob and of its board")
    parser.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="how long it may take")
    given = parser.parse_args(arguments)
    if keys.ENV_REDIS_URL not in os.environ:
        parser.error(f"set {keys.ENV_REDIS_URL}, for example rediss://velodrome-redis:6379/0")
    try:
        asyncio.run(_run(given))
    except TryAgain as error:
        sys.stderr.write(f"{error}\nThis may pass by itself: run the test again.\n")
        return 1
    except VelodromeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
