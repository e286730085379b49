"""A trial whose pods are lost goes on from its checkpoint in a claim, and ends as one that nobody disturbed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Kube, race, uid_of
from tests.e2e.faults import administrator, running
from tests.e2e.volumes import bound
from velodrome import keys
from velodrome.results.records import TrialResult
from velodrome.store import Store

_RUNS = Path("/var/tmp/velodrome-runs")  # noqa: S108 - what the volume of this test shows
EPOCHS = 20
LOSSES = 3
OBJECTS = (("persistentvolumeclaim", "runs"), ("persistentvolume", "velodrome-runs"))
COMPLETION = "batch.kubernetes.io/job-completion-index"


@pytest.fixture
def claim(installed: Kube) -> Iterator[str]:
    """A claim in which pods may write, as they may in one of a cluster's own storage."""
    if installed.cluster.has_volumes:
        pytest.skip("this cluster's volumes can't be looked into from here")
    _RUNS.mkdir(exist_ok=True)
    os.chown(_RUNS, 65532, 65532)
    _RUNS.chmod(0o2775)  # as `fsGroup` makes the root of a volume: folders that are made in it have its group
    for kind, each in OBJECTS:  # that of the test before may be on its way out, and would be taken for a new one
        installed("delete", kind, each, "--ignore-not-found", "--wait=true", "--timeout=120s")
    installed.apply(*bound("velodrome-runs", "runs", _RUNS, "ReadWriteMany"))
    yield "runs"
    for kind, each in OBJECTS:
        installed("delete", kind, each, "--wait=false")
    shutil.rmtree(_RUNS)


def trained(name: str, claim: str) -> dict[str, Any]:
    """A race of one trial that draws at random and keeps its weights."""
    return race(
        name,
        board="resuming",
        entries=[{"name": "cnn", "model": {"name": "velodrome/cnn"}}],
        trials={"repeats": 1},
        budget={"maxEpochs": EPOCHS},
        training={"batchSize": 16, "regularization": {"dropout": 0.2}},
        artifacts={"claimName": claim, "checkpointSeconds": 0.2, "weights": True},
    )


def result(kube: Kube, name: str) -> TrialResult:
    (found,) = results(kube, name).values()
    return found


def results(kube: Kube, name: str) -> dict[str, TrialResult]:
    """The results of a race that has one trial for each entry."""
    kube("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=10m")
    with administrator(kube) as client, Store(client) as store:
        return {record.result.entry: record.result for record in store.records(uid_of(kube, name))}


def lose_a_pod(kube: Kube, name: str, folder: Path, lost: list[str], index: int = 0) -> None:
    """Deletes the race's pod of that completion index without any grace when its trial has a checkpoint of its own."""

    def saved() -> str | None:
        try:
            noted = json.loads((folder / keys.CHECKPOINT_FILE).read_text())
        except FileNotFoundError:
            return None
        own = noted["attempt"] not in lost and noted["attempt"][-40:] in noted["file"]
        return noted["attempt"] if own else None

    lost.append(kube.wait("a checkpoint of a pod that runs", saved, 240))
    (pod,) = [each for each in running(kube, name) if each["metadata"]["labels"][COMPLETION] == str(index)]
    kube("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")


def test_a_trial_that_loses_its_pods_ends_with_the_weights_of_an_undisturbed_one(
    installed: Kube, name: str, claim: str
) -> None:
    installed("delete", "bmj", "undisturbed", "--ignore-not-found", "--wait=true")
    installed.apply(trained("undisturbed", claim))
    whole = result(installed, "undisturbed")
    installed("delete", "bmj", "undisturbed", "--wait=false")

    installed.apply(trained(name, claim))
    folder = _RUNS / "velodrome" / uid_of(installed, name) / keys.KEPT_TRIALS / "0"
    lost: list[str] = []
    for _ in range(LOSSES):
        lose_a_pod(installed, name, folder, lost)
    found = result(installed, name)

    assert found.held is not None
    assert whole.held is not None
    assert found.held.trained_weights == whole.held.trained_weights
    assert found.metrics["accuracy"] == whole.metrics["accuracy"]
    assert [point.train_loss for point in found.curves] == [point.train_loss for point in whole.curves]
    assert found.checkpoints is not None
    assert [each.attempt for each in found.checkpoints.resumed] == lost
    assert all(each.step > 0 for each in found.checkpoints.resumed), "each went on, and none began again"
    assert found.checkpoints.problem is None
    assert found.metrics["train_seconds"] > 0
    (kept,) = found.artifacts or ()
    assert [file.name for file in folder.iterdir()] == [kept.name], "the checkpoint went with the result"
    assert hashlib.sha256((folder / kept.name).read_bytes()).hexdigest() == kept.sha256
    trials = installed.get("bmj", name)["status"]["trials"]
    assert (trials["succeeded"], trials.get("failed", 0)) == (1, 0)


def test_pods_that_train_together_go_on_from_the_same_checkpoint_whichever_is_lost(
    installed: Kube, name: str, claim: str
) -> None:
    """Two entries are the same network with the same seed, and only pods of the first one are lost."""
    document = trained(name, claim)
    document["spec"] |= {
        "entries": [{"name": each, "model": {"name": "velodrome/cnn"}} for each in ("disturbed", "undisturbed")],
        "runner": {"nodes": 2},
        "execution": {"isolation": "None", "parallelism": 1},
    }
    installed.apply(document)
    folder = _RUNS / "velodrome" / uid_of(installed, name) / keys.KEPT_TRIALS / "0"
    lost: list[str] = []
    for index in (1, 0):
        lose_a_pod(installed, name, folder, lost, index)
    found = results(installed, name)

    disturbed, undisturbed = found["disturbed"], found["undisturbed"]
    assert disturbed.held is not None
    assert undisturbed.held is not None
    assert disturbed.held.trained_weights == undisturbed.held.trained_weights
    assert disturbed.seed == undisturbed.seed
    assert disturbed.checkpoints is not None
    assert [each.attempt for each in disturbed.checkpoints.resumed] == lost
    assert all(each.step > 0 for each in disturbed.checkpoints.resumed), "each went on, and none began again"
    assert disturbed.checkpoints.problem is None
    assert undisturbed.checkpoints is not None
    assert undisturbed.checkpoints.resumed == ()
    trials = installed.get("bmj", name)["status"]["trials"]
    assert (trials["succeeded"], trials.get("failed", 0)) == (2, 0)


def test_a_claim_that_pods_may_not_write_to_fails_the_race_with_the_fix(installed: Kube, name: str, claim: str) -> None:
    os.chown(_RUNS, 0, 0)
    installed.apply(trained(name, claim))
    failed = installed.wait("the race to fail", lambda: installed.condition(name, "Failed"), 240)
    assert "ArtifactsUnwritable" in failed["message"]
    assert "claimName" in failed["message"]
