"""What breaks around a race in a real cluster: it ends as one that nothing disturbed, each trial counted once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Kube, uid_of
from tests.e2e.faults import (
    NAMESPACE,
    ends_like,
    has_result,
    outcome,
    pods,
    redis_cli,
    reproducible,
    running,
)

# Long enough for whoever depends on a part to notice that it is gone.
AWAY_SECONDS = 8


@pytest.fixture
def kube(installed: Kube) -> Kube:
    return installed


@pytest.fixture(scope="module")
def undisturbed(installed: Kube) -> Iterator[dict[str, Any]]:
    """How the race ends that every test here disturbs."""
    name = "undisturbed"
    installed("delete", "bmj", name, "--ignore-not-found", "--wait=true")
    installed.apply(reproducible(name))
    installed("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=400s")
    found = outcome(installed, name)
    assert (found["trials"]["succeeded"], found["counted"], len(found["results"])) == (4, (4, 0), 4)
    yield found
    installed("delete", "bmj", name, "--wait=false")


def started(kube: Kube, name: str, **spec: Any) -> dict[str, Any]:
    """Applies the race; its first pod that runs."""
    kube.apply(reproducible(name, **spec))
    (pod, *_) = kube.wait("a pod to run", lambda: running(kube, name), 240)
    return dict(pod)


def away(kube: Kube, part: str) -> None:
    """Kills a part of the cluster and starts it again a little later."""
    kube.cluster.kill(part)
    try:
        time.sleep(AWAY_SECONDS)
    finally:
        kube.cluster.start(part)
        kube.cluster.up()


def test_the_api_server_killed_in_a_race(kube: Kube, name: str, undisturbed: dict[str, Any]) -> None:
    started(kube, name)
    away(kube, "apiserver")
    ends_like(kube, name, undisturbed)


def test_etcd_killed_in_a_race(kube: Kube, name: str, undisturbed: dict[str, Any]) -> None:
    started(kube, name)
    away(kube, "etcd")
    ends_like(kube, name, undisturbed)


def test_the_kubelet_killed_in_a_race(kube: Kube, name: str, undisturbed: dict[str, Any]) -> None:
    started(kube, name)
    away(kube, "kubelet")
    ends_like(kube, name, undisturbed)


def test_redis_killed_in_a_race(kube: Kube, name: str, undisturbed: dict[str, Any]) -> None:
    kube.apply(reproducible(name))
    kube.wait("a first result", lambda: has_result(kube, name), 240)
    kube("-n", NAMESPACE, "delete", "pod", "velodrome-redis-0", "--grace-period=0", "--force")
    ends_like(kube, name, undisturbed)


def test_a_runner_pod_deleted(kube: Kube, name: str, undisturbed: dict[str, Any]) -> None:
    pod = started(kube, name)
    kube("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
    ends_like(kube, name, undisturbed)


def test_a_runner_pod_evicted_costs_no_attempt(kube: Kube, name: str, undisturbed: dict[str, Any]) -> None:
    pod = started(kube, name)
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod["metadata"]["name"], "namespace": "default"},
    }
    path = f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}/eviction"
    kube("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    kube.wait("it to be told", lambda: kube.get("bmj", name)["status"]["trials"]["disrupted"] == 1)
    ends_like(kube, name, undisturbed)
    assert kube.get("bmj", name)["status"]["trials"]["disrupted"] == 1
    (job,) = kube.items("jobs", f"velodrome.dev/job-name={name}")
    assert "failed" not in job["status"] or job["status"]["failed"] == 0


def operator(kube: Kube, replicas: int) -> None:
    """Has so many operators run, and waits until it is so."""
    kube("-n", NAMESPACE, "scale", "deployment/velodrome-operator", f"--replicas={replicas}")
    kube("-n", NAMESPACE, "rollout", "status", "deployment/velodrome-operator", "--timeout=120s")


def test_an_object_deleted_while_the_operator_is_down_leaves_nothing(kube: Kube, name: str) -> None:
    started(kube, name)
    own = uid_of(kube, name)
    kube("-n", NAMESPACE, "scale", "deployment/velodrome-operator", "--replicas=0")
    try:
        kube("delete", "bmj", name, "--wait=true", "--timeout=30s")
        kube.wait("its pods to go", lambda: not pods(kube, name))
    finally:
        operator(kube, 1)
    kube.wait("its user to go", lambda: f"velodrome-{own}" not in redis_cli(kube, "ACL", "USERS"), 150)
    assert redis_cli(kube, "EXISTS", f"velodrome:inbox:{own}", f"velodrome:instructions:{own}").strip() == "0"
