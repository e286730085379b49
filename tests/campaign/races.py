"""The races of a campaign: short trials in real pods, with a given number of races at once."""

from __future__ import annotations

import json
from typing import Any

from tests.campaign.history import History
from tests.cluster.control import ClusterError
from tests.e2e.conftest import Kube, race
from velodrome import keys

NAMESPACE = "campaign"
ENTRIES = ("one", "two")
# Half a second to two and a half, which depends only on the seed, as does the result.
_PROGRAM = """
import time
from velodrome import report
trial = report.trial()
time.sleep(0.5 + trial.seed * 7919 % 21 / 10)
trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=9, validation_samples=1, test_samples=3,
              shape=[1, 8, 8], classes=["a", "b"])
trial.result({"accuracy": 0.5 + trial.seed % 100 / 1000})
"""


def document(name: str, image: str, trials: int) -> dict[str, Any]:
    """A race of two programs, each in a Kubernetes Job of its own."""
    entries = [
        {"name": entry, "image": image, "command": ["python", "-c", f"# {entry}{_PROGRAM}"]} for entry in ENTRIES
    ]
    # Pods may wait long for a node whose kubelet was killed, or for a runtime. That is not the race's fault.
    # More disruptions than any campaign makes, because the campaign tests that none costs an attempt.
    execution = {"isolation": "None", "parallelism": 2, "startupDeadlineSeconds": 900, "maxDisruptions": 1000}
    found = race(name, entries=entries, trials={"repeats": trials // len(ENTRIES)}, execution=execution)
    found["metadata"]["namespace"] = NAMESPACE
    return found


class Races:
    """Applies races, and deletes those that have ended, as a person would. Both are in the history."""

    def __init__(self, kube: Kube, history: History, image: str, trials: int) -> None:
        self._kube, self._history = kube, history
        self._image, self._trials = image, trials
        self._applied = 0
        self.going: dict[str, str] = {}
        """The names of the races that have not been deleted, by uid."""
        self.ended = 0

    def apply(self) -> None:
        """One more race.

        Raises:
            ClusterError: the API server does not answer. Nothing happened, or a later call finds the race.
        """
        name = f"race-{self._applied}"
        self._kube.apply(document(name, self._image, self._trials))
        uid = self._kube("-n", NAMESPACE, "get", "bmj", name, "-o", "jsonpath={.metadata.uid}")
        self._applied += 1
        repeats = {entry: self._trials // len(ENTRIES) for entry in ENTRIES}
        self._history.note("race", race=uid, name=name, trials=self._trials, repeats=repeats)
        self.going[uid] = name

    def delete(self, uid: str) -> None:
        """Deletes a race's object."""
        self._kube("-n", NAMESPACE, "delete", "bmj", self.going[uid], "--ignore-not-found", "--wait=false")
        del self.going[uid]
        self.ended += 1


def left_objects(kube: Kube) -> list[str]:
    """Remaining objects of races, by kind and name; none some time after all races were deleted."""
    kinds = "benchmarkjobs,jobs,pods,secrets,configmaps,services"
    listed = json.loads(kube("-n", NAMESPACE, "get", kinds, "-o", "json"))["items"]
    return [
        f"{item['kind']}/{item['metadata']['name']}"
        for item in listed
        if item["kind"] == keys.KIND or keys.LABEL_JOB_UID in item["metadata"].get("labels", {})
    ]


def cleared(kube: Kube) -> None:
    """A namespace for the campaign without objects of an earlier one."""
    kube("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", "--timeout=180s")
    try:
        kube("create", "namespace", NAMESPACE)
    except ClusterError as error:
        raise ClusterError(f"the namespace {NAMESPACE} can't be made afresh: {error}") from error
