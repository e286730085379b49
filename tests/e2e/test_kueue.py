"""Races in the queues of a real Kueue: queued, admitted, preempted, admitted again, and every result once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.kueue import queues
from tests.e2e.conftest import Kube, race

RECIPE = Path(__file__).resolve().parents[2] / "deploy/kueue"
TEAM = "team-a"
LOW, HIGH = "patient", "urgent"


def recipe() -> list[dict[str, Any]]:
    """The recipe's queues, small: each team has one CPU, and shares with nobody."""
    found = list(yaml.safe_load_all((RECIPE / "queues.yaml").read_text(encoding="utf-8")))
    for document in found:
        if document["kind"] == "ClusterQueue":
            del document["spec"]["cohortName"]
            del document["spec"]["preemption"]["reclaimWithinCohort"]
            for flavor in document["spec"]["resourceGroups"][0]["flavors"]:
                for resource in flavor["resources"]:
                    if resource["name"] == "cpu":
                        resource["nominalQuota"] = 1 if flavor["name"] == "cpu" else 0
    return found


@pytest.fixture(scope="module")
def kueue(installed: Kube) -> Iterator[Kube]:
    """Kueue, and the recipe's queues in the recipe's namespaces."""
    if installed.cluster.has_volumes:
        pytest.skip("Kueue is started beside the cluster that is built here")
    with queues(installed.cluster):
        for team in (TEAM, "team-b"):
            installed("create", "namespace", team, check=False)
        installed.apply(*recipe())
        yield installed
        installed("-n", TEAM, "delete", "bmj", "--all", "--wait=true")
        installed("delete", "namespace", TEAM, "team-b", "--wait=true")


def queued(name: str, priority: str | None, **spec: Any) -> dict[str, Any]:
    document = race(name, **spec)
    labels = {"kueue.x-k8s.io/queue-name": "races"}
    if priority is not None:
        labels["kueue.x-k8s.io/priority-class"] = priority
    document["metadata"] |= {"namespace": TEAM, "labels": labels}
    document["spec"]["execution"] = {"isolation": "None", "parallelism": 1}
    requests = {"cpu": "800m", "memory": "512Mi"}
    document["spec"]["runner"] = {**document["spec"].get("runner", {}), "resources": {"requests": requests}}
    return document


def shown(kube: Kube, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kube("-n", TEAM, "get", "bmj", name, "-o", "json"))
    return dict(found.get("status", {}))


def ended(kube: Kube, name: str) -> bool:
    conditions = shown(kube, name).get("conditions", ())
    return any(each["type"] == "Complete" and each["status"] == "True" for each in conditions)


def pods(kube: Kube, name: str) -> list[dict[str, Any]]:
    selector = f"velodrome.dev/job-name={name}"
    found: list[dict[str, Any]] = json.loads(kube("-n", TEAM, "get", "pods", "-l", selector, "-o", "json"))["items"]
    return [pod for pod in found if pod["status"]["phase"] in ("Pending", "Running")]


def done(kube: Kube, name: str) -> int:
    return int(shown(kube, name).get("trials", {}).get("succeeded", 0))


def test_a_race_is_queued_admitted_preempted_and_ends_with_each_result_once(kueue: Kube) -> None:
    kueue.apply(queued(LOW, "nightly", budget={"maxEpochs": 60}, trials={"repeats": 3}))
    kueue.wait("a first result of the patient race", lambda: done(kueue, LOW) >= 1, 300)
    kueue.apply(queued("waits", "nightly", trials={"repeats": 1}))
    said = kueue.wait("that a race waits", lambda: "Kueue" in str(shown(kueue, "waits")) and shown(kueue, "waits"))
    assert "waiting for Kueue to admit the job" in json.dumps(said)
    assert pods(kueue, "waits") == []

    kueue.apply(queued(HIGH, None, trials={"repeats": 1}))
    kueue.wait("the urgent race's pod", lambda: pods(kueue, HIGH), 180)
    assert pods(kueue, LOW) == [], "one CPU for one pod"
    kueue.wait("the urgent race", lambda: ended(kueue, HIGH), 300)
    assert not ended(kueue, LOW), "it came too late to preempt anything: make the patient race longer"
    kueue.wait("the ends", lambda: all(ended(kueue, name) for name in (LOW, "waits")), 900)
    assert done(kueue, LOW) == 6
    assert shown(kueue, LOW)["trials"].get("failed", 0) == 0
