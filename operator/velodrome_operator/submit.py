"""`python -m velodrome_operator.submit FILE`: makes the BenchmarkJobs of a file in the namespace of this pod.

For a CronJob that races every night (deploy/nightly): no image has kubectl. It needs the right to create BenchmarkJobs,
and no other. A job with `generateName` gets a new name each time. A job whose name is taken is left as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from velodrome.errors import VelodromeError
from velodrome.spec import parse_jobs
from velodrome_operator import shapes
from velodrome_operator.cluster import Cluster

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def documents(text: str, namespace: str) -> list[dict[str, Any]]:
    """The BenchmarkJobs of a file as they are written, each in the namespace unless it names another.

    Raises:
        SpecError: something is wrong with one of them; each problem has its line.
    """
    parse_jobs(text)
    found = [one for one in yaml.safe_load_all(text) if one]
    return [{**one, "metadata": {"namespace": namespace, **one["metadata"]}} for one in found]


async def submit(cluster: Cluster, jobs: Sequence[Mapping[str, Any]], tell: Callable[[str], None]) -> None:
    """Makes each of them.

    Raises:
        TryAgain, ActionNeeded: as the API server answers.
    """
    for job in jobs:
        made = await cluster.create(dict(job))
        name = shapes.text(shapes.at(made or job, "metadata", "name"))
        tell(f"{job['metadata']['namespace']}/{name} {'made' if made else 'is there already, and stays as it is'}")


async def _run(jobs: Sequence[Mapping[str, Any]]) -> None:
    async with Cluster.connected() as cluster:
        await submit(cluster, jobs, lambda text: print(text, flush=True))  # noqa: T201 - the log of its Job


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 if all are there, 1 if one could not be made, and 2 for bad arguments. The message says why."""
    parser = argparse.ArgumentParser(prog="python -m velodrome_operator.submit", description=__doc__)
    parser.add_argument("file", type=Path, help="YAML with one or more BenchmarkJobs")
    parser.add_argument("--namespace", help="where to make them; the pod's namespace without it")
    given = parser.parse_args(arguments)
    if given.namespace is None and not _POD_NAMESPACE.exists():
        parser.error("--namespace: this is no pod with a service account, so name a namespace")
    try:
        namespace = given.namespace or _POD_NAMESPACE.read_text(encoding="utf-8").strip()
        asyncio.run(_run(documents(given.file.read_text(encoding="utf-8"), namespace)))
    except (VelodromeError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
