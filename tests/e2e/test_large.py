"""Large races and many of them: an object of a thousand entries, one of a thousand trials, two hundred at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cluster.api import Api
from benchmarks.cluster.race import PARENTS, document, settled
from benchmarks.cluster.running import Operator, redis_server
from benchmarks.cluster.standin import StandIn
from tests.cluster.simulated import SimulatedCluster
from tests.e2e.conftest import ROOT, Kube, uid_of
from tests.e2e.faults import administrator, pods, redis_cli
from tests.e2e.test_own_code import own
from velodrome.store import Store

ENTRIES = 1000
RACES = 200
MEBIBYTE = 1 << 20

# The race's own number is in its seed, so that a result in the wrong inbox would show.
TELLS_ITS_SEED = """
from velodrome import report
trial = report.trial()
trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=9, validation_samples=1, test_samples=3,
              shape=[1, 8, 8], classes=["a", "b"])
trial.result({"accuracy": trial.seed / 1000})
"""


@pytest.fixture
def simulated(api: Kube) -> Iterator[Kube]:
    """A cluster whose nodes are only played: a thousand pods take a minute or two there, and no memory."""
    if api.cluster.has_volumes:
        pytest.skip("nodes can be played in a cluster of one's own only")
    cluster = SimulatedCluster("large", offset=3000)  # a benchmark may use the usual one meanwhile
    cluster.build()
    cluster.down()
    cluster.up()
    kube = Kube(cluster)
    kube("apply", "--server-side", "-f", str(ROOT / "deploy/crd/benchmarkjobs.yaml"))
    kube.wait("the kind to be served", lambda: "bmj" in kube("api-resources", "--api-group=velodrome.dev", check=False))
    yield kube
    cluster.down()


def raced(kube: Kube, wanted: dict[str, Any], folder: Path) -> None:
    """Has it run to its end by a real operator and a real Redis."""

    async def run() -> None:
        with redis_server(folder) as url:
            operator = Operator(kube.cluster.at.kubeconfig, url, folder / "log", "default", folder / "bytecode")
            async with Api.connected(kube.cluster.at.kubeconfig.read_text()) as api:
                await operator.ready()
                reporting = asyncio.create_task(StandIn(api, "default").work())
                await api.call("POST", PARENTS.format("default"), wanted)
                try:
                    assert await settled(api, "default", 900) == 1
                finally:
                    operator.stop()
                    reporting.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await reporting

    asyncio.run(run())


def test_an_object_of_a_thousand_entries_races_to_its_end(simulated: Kube, tmp_path: Path) -> None:
    raced(simulated, document("large", ENTRIES, 1), tmp_path)
    found = simulated.get("bmj", "large")
    status = found["status"]
    assert (status["trials"]["done"], status["trials"]["failed"]) == (f"{ENTRIES}/{ENTRIES}", 0)
    assert len(status["entries"]) + status.get("entriesOmitted", 0) == ENTRIES
    assert status["leader"] == f"entry-{ENTRIES - 1}", "the last entry's stand-in reports the highest accuracy"
    # The race is over with its last result; Kubernetes may still be counting its pods.
    simulated.wait("the Job's own count", lambda: simulated.items("jobs")[0]["status"].get("succeeded") == ENTRIES)
    (job,) = simulated.items("jobs")
    assert job["spec"]["completions"] == ENTRIES
    (config,) = simulated.items("configmaps", "velodrome.dev/job-name=large")
    assert len(config["data"]["job.json"]) < MEBIBYTE, "more than that the API server takes in no ConfigMap"
    assert len(json.dumps(found)) < 1.5 * MEBIBYTE, "more than that etcd takes in no object"


def test_an_object_of_a_thousand_trials_races_and_is_cancelled(installed: Kube, name: str, own_image: str) -> None:
    """In real pods, as many as there is time for."""
    wanted = own(name, own_image, "python", "-c", TELLS_ITS_SEED, trials={"repeats": 1000},
                 execution={"isolation": "None", "parallelism": 4})  # fmt: skip
    installed.apply(wanted)
    (job,) = installed.wait("its Job", lambda: installed.items("jobs", f"velodrome.dev/job-name={name}"))
    assert job["spec"]["completions"] == 1000
    uid = uid_of(installed, name)

    def status() -> Any:
        return installed.get("bmj", name).get("status", {})

    installed.wait("some of its trials to finish", lambda: status().get("trials", {}).get("succeeded", 0) >= 10, 180)
    assert status()["trials"]["total"] == 1000
    assert "entries" not in status(), "an entry has no value before all of its trials have"
    installed("delete", "bmj", name, "--wait=true")
    installed.wait("its pods to go", lambda: not pods(installed, name))
    installed.wait("its user to go", lambda: f"velodrome-{uid}" not in redis_cli(installed, "ACL", "USERS"), 150)
    with administrator(installed) as client, Store(client) as store:
        assert store.counts(uid).succeeded >= 10, "what was raced is kept"
        assert store.counts(uid).rejected == {}


def test_two_hundred_races_at_once_all_end(installed: Kube, own_image: str) -> None:
    """As many pods at a time as the node has CPU for; the rest wait for theirs."""
    label = "velodrome.test/many=yes"
    installed("delete", "bmj", "-l", label, "--wait=true")
    wanted = []
    for number in range(RACES):
        one = own(
            f"many-{number:03d}", own_image, "python", "-c", TELLS_ITS_SEED,
            board="many",
            trials={"repeats": 1, "baseSeed": number},
            runner={"resources": {"requests": {"cpu": "150m"}}},
            execution={"isolation": "None", "startupDeadlineSeconds": 3600},
        )  # fmt: skip
        one["metadata"]["labels"] = dict([label.split("=")])
        wanted.append(one)
    before = restarts(installed)
    try:
        installed.apply(*wanted)

        def finished() -> list[dict[str, Any]]:
            found = installed.items("bmj", label)
            ended = [item for item in found if "completionTime" in item.get("status", {})]
            return found if len(ended) == RACES else []

        found = installed.wait("all races to end", finished, 1800)
        uids = {item["metadata"]["uid"] for item in found}
        for number, item in enumerate(sorted(found, key=lambda item: str(item["metadata"]["name"]))):
            conditions = {one["type"]: one["status"] for one in item["status"]["conditions"]}
            assert (conditions["Complete"], item["status"]["trials"]["done"]) == ("True", "1/1"), item["metadata"][
                "name"
            ]
            (entry,) = item["status"]["entries"]
            assert entry["objectives"][0]["mean"] == number / 1000
        assert len(installed.items("jobs", "velodrome.dev/job-uid")) >= RACES
        with administrator(installed) as client, Store(client) as store:
            counts = [store.counts(uid) for uid in uids]
        assert {(each.succeeded, each.failed, each.conflicts, len(each.rejected)) for each in counts} == {(1, 0, 0, 0)}
        assert restarts(installed) == before, "the operator bears it"
        users = redis_cli(installed, "ACL", "USERS")
        assert not any(f"velodrome-{uid}" in users for uid in uids)
    finally:
        installed("delete", "bmj", "-l", label, "--wait=false")


def restarts(kube: Kube) -> list[int]:
    """How often each container of the operator was started again."""
    listed = kube("-n", "velodrome", "get", "pods", "-l", "app.kubernetes.io/component=operator", "-o", "json")
    return [
        state["restartCount"] for pod in json.loads(listed)["items"] for state in pod["status"]["containerStatuses"]
    ]
