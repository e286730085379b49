"""What the tests of faults share: Redis of the installation, and how a race ended, to compare with others."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from tests.e2e.conftest import Kube, race, uid_of
from tests.e2e.redis_access import RedisAccess, of_runners
from velodrome import keys
from velodrome.store import Store
from velodrome.store.edge import connect

NAMESPACE = "velodrome"


def pods(kube: Kube, name: str) -> list[dict[str, Any]]:
    """The pods of a race."""
    return kube.items("pods", f"velodrome.dev/job-name={name}")


def running(kube: Kube, name: str) -> list[dict[str, Any]]:
    """Those of its pods that run and are not being deleted."""
    return [
        pod
        for pod in pods(kube, name)
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
    ]


def redis_cli(kube: Kube, *words: str, user: str | None = None, password: str | None = None) -> str:
    """What redis-cli prints, run in Redis' own pod; as the administrator, or as the user given."""
    line, told = RedisAccess.of(kube).cli(*words, user=user, password=password)
    answer = kube(*line, stdin=told)
    return answer.removeprefix("OK\n")  # the answer to AUTH


@contextmanager
def forwarded(kube: Kube, target: str, port: int) -> Iterator[str]:
    """host:port of a Service or pod of the installation, by way of kubectl port-forward."""
    at = kube.cluster.at
    line = [f"{at.bin}/kubectl", f"--kubeconfig={at.kubeconfig}", "-n", NAMESPACE, "port-forward", target, f":{port}"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            local = process.stdout.readline().split("127.0.0.1:")[1].split()[0]
            yield f"127.0.0.1:{local}"
        finally:
            process.terminate()


@contextmanager
def administrator(kube: Kube) -> Iterator[redis.Redis]:
    """Redis of the installation, as the operator sees it."""
    with forwarded(kube, "pod/velodrome-redis-0", 6379) as address:
        host, _, port = address.partition(":")
        with redis.Redis.from_url(RedisAccess.of(kube).url(host, int(port)), socket_timeout=60) as client:
            yield client


def credentials(kube: Kube, name: str) -> tuple[str, str]:
    """User and password of a job's runners, as their Secret has them."""
    return of_runners(_secret_with(kube, name, keys.ENV_REDIS_URL))


def report_key(kube: Kube, name: str, completion: int = 0, group: int = 0) -> str:
    """What reports of the pods with that completion index of a job's Kubernetes Job of that number must show."""
    key = f"report-key-{group}-{completion}"
    return base64.b64decode(_secret_with(kube, name, key)[key]).decode()


def _secret_with(kube: Kube, name: str, key: str) -> dict[str, str]:
    """The content of that of a job's Secrets which has this key."""

    def found() -> dict[str, str] | None:
        secrets = kube.items("secrets", f"velodrome.dev/job-name={name}")
        return next((each["data"] for each in secrets if key in each["data"]), None)

    data: dict[str, str] = kube.wait(f"the job's secret with {key}", found)
    return data


@contextmanager
def as_a_runner(kube: Kube, name: str) -> Iterator[redis.Redis]:
    """Redis of the installation, as the runners of a race see it."""
    user, password = credentials(kube, name)
    with (
        forwarded(kube, "pod/velodrome-redis-0", 6379) as address,
        connect(RedisAccess.of(kube).url("127.0.0.1", int(address.rpartition(":")[2]), user, password)) as client,
    ):
        yield client


def reproducible(name: str, **spec: Any) -> dict[str, Any]:
    """A race whose trials come out alike each time: two entries, two seeds, an epoch each."""
    return race(name, **{"training": {"deterministic": True}, **spec})


def outcome(kube: Kube, name: str) -> dict[str, Any]:
    """How a race ended, without what differs between equal races: times, attempts, names of pods."""
    status, uid = kube.get("bmj", name)["status"], uid_of(kube, name)
    with administrator(kube) as client, Store(client) as store:
        records, counts = store.records(uid), store.counts(uid)
        rows = {row.entry: dict(row.samples) for row in store.ranking_rows(name, "accuracy", status["cohort"])}
    return {
        # What is said of regressions depends on the races before on the board: here it counts that it is said.
        "conditions": {item["type"]: item["type"] == "Regressed" or item["status"] for item in status["conditions"]},
        "trials": {key: value for key, value in status["trials"].items() if key != "disrupted"},
        "entries": status["entries"],
        "leaders": status.get("leaders"),
        "results": {
            (record.result.index, record.result.entry, record.result.seed): record.result.metrics.get("accuracy")
            for record in records
        },
        "counted": (counts.succeeded, counts.failed),
        "ranked": rows,
    }


def ends_like(kube: Kube, name: str, undisturbed: dict[str, Any]) -> None:
    """Holds a disturbed race to the end state of the one that ran in peace."""
    kube("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=400s")
    found = outcome(kube, name)
    assert len(found["results"]) == found["trials"]["total"], "each trial is counted once"
    assert found == undisturbed


def has_result(kube: Kube, name: str) -> Any:
    """Whether the race is on: a trial is done, and others are still to come."""
    return kube.get("bmj", name).get("status", {}).get("trials", {}).get("succeeded")
