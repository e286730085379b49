"""What breaks around a race in a real cluster: it ends as one that nothing disturbed, each trial counted once."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Kube, race, uid_of
from tests.e2e.faults import (
    NAMESPACE,
    administrator,
    ends_like,
    has_result,
    outcome,
    pods,
    redis_cli,
    reproducible,
    running,
)
from tests.e2e.test_own_code import PROGRAM
from velodrome.store import Store

# Long enough for whoever depends on a part to notice that it is gone.
AWAY_SECONDS = 8
OPERATORS = "app.kubernetes.io/component=operator"


@pytest.fixture
def kube(installed: Kube) -> Kube:
    return installed


@pytest.fixture(scope="module")
def undisturbed(installed: Kube) -> Iterator[dict[str, Any]]:
    """How the race ends that every test here disturbs."""
    name = "at-peace"
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


def test_containerd_killed_in_a_race(kube: Kube, name: str, undisturbed: dict[str, Any]) -> None:
    started(kube, name)
    away(kube, "containerd")
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
    kube.wait("it to be reported", lambda: kube.get("bmj", name)["status"]["trials"]["disrupted"] == 1)
    ends_like(kube, name, undisturbed)
    assert kube.get("bmj", name)["status"]["trials"]["disrupted"] == 1
    (job,) = kube.items("jobs", f"velodrome.dev/job-name={name}")
    assert "failed" not in job["status"] or job["status"]["failed"] == 0


def test_a_node_drained_in_a_race(kube: Kube, name: str, undisturbed: dict[str, Any]) -> None:
    """The only node: the operator and Redis have to leave it too, and are back when it is given back."""
    if kube.cluster.has_volumes:
        pytest.skip("others' pods run in this cluster")
    kube.apply(reproducible(name))
    kube.wait("a first result", lambda: has_result(kube, name), 240)
    (pod, *_) = kube.wait("the next pod to run", lambda: running(kube, name), 120)
    node = pod["spec"]["nodeName"]
    try:
        kube("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s")
        assert not running(kube, name)
    finally:
        kube("uncordon", node)
    for workload in (
        "statefulset/velodrome-redis",
        "deployment/velodrome-operator",
        "deployment/velodrome-leaderboard",
    ):
        kube("-n", NAMESPACE, "rollout", "status", workload, "--timeout=180s")
    ends_like(kube, name, undisturbed)


@pytest.mark.parametrize(("bears", "verdict", "reason"), [(0, "Failed", "TooManyFailedTrials"),
                                                          (1, "Complete", "AllTrialsFinished")])  # fmt: skip
def test_a_runner_pod_killed_for_memory(
    kube: Kube, name: str, own_image: str, bears: int, verdict: str, reason: str
) -> None:
    """PyTorch alone needs more than the limit; a program of one's own does not."""
    entries = [
        {"name": "large", "model": {"name": "velodrome/mlp"}},
        {"name": "small", "image": own_image, "command": ["python", "-c", PROGRAM]},
    ]
    runner = {"resources": {"limits": {"memory": "100Mi"}}}
    kube.apply(race(name, entries=entries, runner=runner, trials={"repeats": 1, "maxFailed": bears}))
    found = kube.wait("the race's end", lambda: kube.condition(name, verdict), 400)
    assert found["reason"] == reason
    with administrator(kube) as client, Store(client) as store:
        (failed,) = [record.result for record in store.records(uid_of(kube, name)) if record.result.outcome == "Failed"]
    assert (failed.entry, failed.reason) == ("large", "OutOfMemory")
    assert failed.message is not None
    assert "raise spec.runner.resources.limits.memory" in failed.message
    status = kube.get("bmj", name)["status"]
    assert status["trials"]["failed"] == 1
    if verdict == "Failed":  # it ends at once: this may stop the other trial, and takes the pods away
        assert failed.message in status["message"]
        return
    killed = [
        pod
        for pod in pods(kube, name)
        for state in pod["status"].get("containerStatuses", ())
        if state["state"].get("terminated", {}).get("reason") == "OOMKilled"
    ]
    assert killed, "the kernel ended it, not the runner itself"
    assert status["trials"]["succeeded"] == 1
    assert [entry["name"] for entry in status["entries"]] == ["small"]


@contextlib.contextmanager
def redis_set(kube: Kube, setting: str, value: str, back: str) -> Iterator[None]:
    """Redis with another setting for a while."""
    redis_cli(kube, "CONFIG", "SET", setting, value)
    try:
        yield
    finally:
        redis_cli(kube, "CONFIG", "SET", setting, back)


def waits_and_says(kube: Kube, name: str, words: str) -> None:
    """The status says what holds the results up, in words that say what to do."""
    reported = kube.wait("the status to say it", lambda: words in kube.get("bmj", name)["status"]["message"], 180)
    assert reported


def logs(kube: Kube, name: str) -> list[str]:
    """What its running pods have written."""
    return [kube("logs", pod["metadata"]["name"], check=False) for pod in running(kube, name)]


def test_a_full_redis_holds_results_up_and_loses_none(kube: Kube, name: str, undisturbed: dict[str, Any]) -> None:
    kube.apply(reproducible(name))
    kube.wait("a first result", lambda: has_result(kube, name), 240)
    assert "noeviction" in redis_cli(kube, "CONFIG", "GET", "maxmemory-policy")
    with redis_set(kube, "maxmemory", "1", "0"):
        waits_and_says(kube, name, "raise its maxmemory")
        kube.wait("a runner to be refused", lambda: any("not delivered" in log for log in logs(kube, name)), 240)
        assert not kube.condition(name, "Failed")
    ends_like(kube, name, undisturbed)


def operator(kube: Kube, replicas: int) -> None:
    """Has so many operators run, and waits until it is so."""
    kube("-n", NAMESPACE, "scale", "deployment/velodrome-operator", f"--replicas={replicas}")
    kube("-n", NAMESPACE, "rollout", "status", "deployment/velodrome-operator", "--timeout=120s")


def test_a_redis_without_its_replicas_takes_the_results_later(
    kube: Kube, name: str, undisturbed: dict[str, Any]
) -> None:
    kube.apply(reproducible(name))
    kube.wait("a first result", lambda: has_result(kube, name), 240)
    with redis_set(kube, "min-replicas-to-write", "1", "0"):
        waits_and_says(kube, name, "too few replicas")
        assert not kube.condition(name, "Failed")
    ends_like(kube, name, undisturbed)


def test_a_redis_that_turned_read_only_takes_the_results_later(
    kube: Kube, name: str, undisturbed: dict[str, Any]
) -> None:
    """As after a failover that its clients did not hear of: it follows a primary that can't be reached."""
    kube.apply(reproducible(name))
    kube.wait("a first result", lambda: has_result(kube, name), 240)
    redis_cli(kube, "REPLICAOF", "127.0.0.1", "1")
    try:
        waits_and_says(kube, name, "read-only replica")
        assert not kube.condition(name, "Failed")
    finally:
        redis_cli(kube, "REPLICAOF", "NO", "ONE")
    ends_like(kube, name, undisturbed)


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
    assert redis_cli(kube, "EXISTS", f"velodrome:reports:{own}", f"velodrome:instructions:{own}").strip() == "0"


def test_a_pod_that_came_reported_and_went_while_the_operator_was_down_counts(
    kube: Kube, name: str, undisturbed: dict[str, Any]
) -> None:
    started(kube, name)
    kube("-n", NAMESPACE, "scale", "deployment/velodrome-operator", "--replicas=0")
    try:
        kube("-n", NAMESPACE, "wait", "--for=delete", "pods", "-l", OPERATORS, "--timeout=60s")
        seen = {pod["metadata"]["uid"] for pod in pods(kube, name)}

        def unseen() -> list[str]:
            ended = [pod["metadata"] for pod in pods(kube, name) if pod["status"]["phase"] == "Succeeded"]
            return [metadata["name"] for metadata in ended if metadata["uid"] not in seen]

        (late, *_) = kube.wait("a pod that no operator saw to end", unseen, 240)
        kube("delete", "pod", late, "--wait=true", "--timeout=60s")
    finally:
        operator(kube, 1)
    ends_like(kube, name, undisturbed)


def test_an_edit_of_the_spec_in_a_race_is_refused(kube: Kube, name: str, undisturbed: dict[str, Any]) -> None:
    started(kube, name)
    refused = kube.refused(reproducible(name, budget={"maxEpochs": 2}))
    assert "spec.budget can't change once the job exists" in refused
    assert "Apply a job of another name" in refused
    assert "spec.entries can't change" in kube.refused(
        reproducible(name, entries=[{"name": "mlp", "model": {"name": "velodrome/cnn"}}])
    )
    ends_like(kube, name, undisturbed)
