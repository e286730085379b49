"""Pods that are deleted by force cost their trial no attempt, and trials that share a node say so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import Kube, race, uid_of
from tests.e2e.faults import administrator, running
from tests.e2e.test_own_code import PROGRAM
from velodrome import keys
from velodrome.store import Store

# Long enough for a pod to be found and deleted before it ends.
SLOW = PROGRAM.replace("trial.result(", "import time; time.sleep(8); trial.result(")


@pytest.fixture
def kube(installed: Kube) -> Kube:
    return installed


def slow(name: str, own_image: str, **spec: Any) -> dict[str, Any]:
    """A race whose trials run for some seconds each, in a pod that starts in one or two."""
    entry = {"name": "slow", "image": own_image, "command": ["python", "-c", SLOW]}
    return race(name, **{"entries": [entry], "trials": {"repeats": 1}, **spec})


def unfinished(kube: Kube) -> list[dict[str, Any]]:
    """The runner pods of all races that have not ended, or are still there though their race was deleted."""
    runners = kube.items("pods", f"{keys.LABEL_ROLE}={keys.ROLE_RUNNER}")
    return [pod for pod in runners if pod["status"]["phase"] not in ("Succeeded", "Failed")]


def delete_by_force(kube: Kube, name: str, times: int) -> None:
    """Deletes the race's running pod, and the one that takes its place, and so on."""
    for _ in range(times):
        (pod, *_) = kube.wait("a pod to run", lambda: running(kube, name), 240)
        kube("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force", "--wait=true")


def test_three_forced_deletions_of_one_index_cost_no_attempt(kube: Kube, name: str, own_image: str) -> None:
    kube.apply(slow(name, own_image))
    delete_by_force(kube, name, 3)
    kube("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=300s")
    trials = kube.get("bmj", name)["status"]["trials"]
    assert (trials["succeeded"], trials["failed"], trials["disrupted"]) == (1, 0, 3)


def test_a_race_that_loses_more_pods_than_it_declares_fails_and_names_the_number(
    kube: Kube, name: str, own_image: str
) -> None:
    kube.apply(slow(name, own_image, execution={"maxDisruptions": 1}))
    delete_by_force(kube, name, 2)
    kube("wait", "--for=condition=Failed", f"bmj/{name}", "--timeout=120s")
    condition = kube.condition(name, "Failed")
    assert condition["reason"] == "TooManyDisruptions"
    assert "2 pods were" in condition["message"]
    assert "spec.execution.maxDisruptions is 1" in condition["message"]


def test_a_suspended_race_is_not_disrupted(kube: Kube, name: str, own_image: str) -> None:
    kube.apply(slow(name, own_image, execution={"maxDisruptions": 0}))
    kube.wait("a pod to run", lambda: running(kube, name), 240)
    kube("patch", "bmj", name, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    kube.wait("its pod to be gone", lambda: not running(kube, name), 120)
    kube("patch", "bmj", name, "--type=merge", "-p", '{"spec":{"suspend":false}}')
    kube("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=300s")
    assert kube.get("bmj", name)["status"]["trials"]["disrupted"] == 0


def test_trials_that_share_a_node_are_recorded_as_such(kube: Kube, name: str, own_image: str) -> None:
    execution = {"parallelism": 2, "isolation": "None"}
    # A pod that meets another race's isolated pod is looked at again by the scheduler after up to five minutes.
    kube.wait("the node to be free", lambda: not unfinished(kube), 120)
    kube.apply(slow(name, own_image, trials={"repeats": 2}, execution=execution))
    kube("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=300s")
    with administrator(kube) as client, Store(client) as store:
        seen = [
            (record.observed.concurrent_trials, record.observed.shared) for record in store.records(uid_of(kube, name))
        ]
    assert [shared for _, shared in seen] == [True, True]
    assert all(number is not None and number >= 2 for number, _ in seen)
