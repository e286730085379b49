"""Objects of strangers: labels, owners and fields as anybody may write them, on the real API server.

The operator is a process of this machine that watches the whole cluster; no pod has to run for any of this, so the API
server is enough. After each case the operator is the same process, well, and starts what is applied.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, Kube, race
from tests.monitors import unused_port
from tests.owned import by_job, by_parent
from velodrome import keys
from velodrome.connections.direct import open_directly
from velodrome_operator.races import Race

pytestmark = pytest.mark.smoke
TEAM, OTHERS = "strangers", "strangers-others"
DEADLINE = 3  # seconds in which a pod has to start


@dataclass
class Process:
    """The operator; its log is in `folder`."""

    folder: Path
    kubeconfig: Path
    redis_port: int
    port: int = field(default_factory=unused_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        line = [sys.executable, "-m", "velodrome_operator", "--runner-image", "localhost/none@sha256:" + "0" * 64,
                "--listen", f"127.0.0.1:{self.port}"]  # fmt: skip
        environment = os.environ | {
            "KUBECONFIG": str(self.kubeconfig),
            "VELODROME_REDIS_URL": f"redis://127.0.0.1:{self.redis_port}/0",
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(line, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(60) == 0, self.log()
            self.process = None

    def log(self) -> str:
        return (self.folder / "log").read_text()[-6000:]

    def ask(self, path: str) -> tuple[int, str]:
        """Status and body of an answer; 0 where there is none."""
        try:
            with open_directly(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def counted(self, series: str) -> float:
        """The sum of a counter's series whose line begins so."""
        lines = self.ask("/metrics")[1].splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))


@dataclass
class Team:
    """kubectl in one namespace, and the operator."""

    kube: Kube
    operator: Process
    namespace: str = TEAM

    def __call__(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        return self.kube("-n", self.namespace, *arguments, stdin=stdin, check=check)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        text = self("get", kind, name, "-o", "json", "--ignore-not-found")
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    def make(self, document: dict[str, Any]) -> None:
        self.kube("create", "-f", "-", stdin=json.dumps(document))

    def race(self, name: str, **execution: Any) -> dict[str, Any]:
        """A race that was applied, as it is now. Kueue is to admit its Job, which nobody does: it makes no pod."""
        document = race(name, execution={"isolation": "None", **execution})
        document["metadata"] |= {"namespace": self.namespace, "labels": {"kueue.x-k8s.io/queue-name": "none"}}
        self.make(document)
        return self.get("bmj", name)

    def job(self, parent: dict[str, Any]) -> dict[str, Any]:
        """The race's Job once it is there."""
        (name,) = names(parent)
        found: dict[str, Any] = self.wait(f"Job {name}", lambda: self.get("job", name))
        return found

    def wait(self, what: str, ready: Any, seconds: float = 90) -> Any:
        try:
            return self.kube.wait(what, ready, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.operator.log()}") from error

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """A condition of a race, whether it holds or not."""
        conditions = self.get("bmj", name).get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})

    def is_served(self, name: str) -> None:
        """The operator is well and starts what is applied, and nothing in it ended."""
        self.job(self.race(name))
        assert self.operator.ask("/healthz")[0] == 200, self.operator.log()
        assert self.operator.process is not None
        assert self.operator.process.poll() is None
        assert self.operator.counted("velodrome_operator_task_failures_total") == 0
        assert self.operator.counted('velodrome_operator_passes_total{outcome="Unexpected"}') == 0


def names(parent: dict[str, Any]) -> list[str]:
    """What the Jobs of a race are called."""
    found = Race.of(parent)
    found.planned()
    return list(found.indexes)


@contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    port = unused_port()
    line = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(line, stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def team(api: Kube) -> Iterator[Team]:
    """An operator of its own beside the cluster; one that is installed rests meanwhile."""
    installed = api("-n", "velodrome", "get", "deployment", "velodrome-operator", "--ignore-not-found", check=False)
    if installed:
        api("-n", "velodrome", "scale", "deployment/velodrome-operator", "--replicas=0")
        of_it = ("-n", "velodrome", "pods", "-l", "app.kubernetes.io/component=operator")
        api("wait", "--for=delete", *of_it, "--timeout=60s")
    for namespace in (TEAM, OTHERS):
        api("create", "namespace", namespace, check=False)
        api("-n", namespace, "create", "serviceaccount", "default", check=False)  # pods need it, and nobody makes it
        clear(api, namespace)
    with tempfile.TemporaryDirectory(prefix="velodrome-strangers-") as name, redis_server(Path(name)) as port:
        operator = Process(Path(name), api.cluster.at.kubeconfig, port)
        operator.start()
        found = Team(api, operator)
        try:
            found.wait("the operator", lambda: operator.ask("/readyz")[0] == 200)
            yield found
        finally:
            if operator.process is not None:
                operator.process.kill()
                operator.process.wait(30)
    for namespace in (TEAM, OTHERS):
        clear(api, namespace)
        api("delete", "namespace", namespace, "--wait=false")
    if installed:
        api("-n", "velodrome", "scale", "deployment/velodrome-operator", "--replicas=1")
        api("-n", "velodrome", "rollout", "status", "deployment/velodrome-operator", "--timeout=120s")


def clear(api: Kube, namespace: str) -> None:
    """Deletes what tests made there, without waiting for parts that this cluster may not have."""
    for pod in api("-n", namespace, "get", "pod", "-o", "name").split():
        api("-n", namespace, "patch", pod, "--type=merge", "-p", '{"metadata":{"finalizers":null}}', check=False)
    api("-n", namespace, "delete", "bmj,job,pod,configmap,secret", "--all", "--wait=false", "--force", check=False)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that no other test of this module has."""
    return f"r{abs(hash(request.node.name)) % 10**10}"


def copied(job: dict[str, Any], name: str, namespace: str, **changes: Any) -> dict[str, Any]:
    """What `kubectl get -o yaml | sed | kubectl create` makes of a Job."""
    metadata = {"name": name, "namespace": namespace, "labels": job["metadata"]["labels"],
                "ownerReferences": job["metadata"]["ownerReferences"], **changes}  # fmt: skip
    spec = {key: value for key, value in job["spec"].items() if key not in ("selector", "manualSelector")}
    labels = {key: value for key, value in spec["template"]["metadata"]["labels"].items() if "velodrome" in key}
    template = {"metadata": {"labels": labels}, "spec": spec["template"]["spec"]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {**spec, "template": template}}


def pod(name: str, namespace: str, labels: dict[str, str], **metadata: Any) -> dict[str, Any]:
    """A pod that no node takes, and that stays whoever deletes it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels,
                     "finalizers": ["velodrome.test/stays"], **metadata},
        "spec": {"nodeSelector": {"velodrome.test/no": "node"},
                 "containers": [{"name": "runner", "image": "localhost/none"}]},
    }  # fmt: skip


def made_and_changed(team: Team, job: dict[str, Any], times: int) -> None:
    """A Job that is made, and changed so often. A garbage collector may take it, whose owner lies elsewhere: again."""
    where, name = ("-n", job["metadata"]["namespace"]), job["metadata"]["name"]
    for number in range(times):
        if not team.kube(*where, "get", "job", name, "--ignore-not-found"):
            team.make(job)
        patch = {"spec": {"parallelism": number}, "metadata": {"annotations": {"turn": str(number)}}}
        team.kube(*where, "patch", "job", name, "--type=merge", "-p", json.dumps(patch), check=False)


@pytest.mark.parametrize("owner", ["owned", "nobody's"])
def test_a_copy_of_a_job_in_another_namespace_counts_for_nothing(team: Team, name: str, owner: str) -> None:
    job = team.job(team.race(name))
    changes: dict[str, Any] = {} if owner == "owned" else {"ownerReferences": []}
    made_and_changed(team, copied(job, f"{name}-copy", OTHERS, **changes), 10)
    team.is_served(f"{name}-next")


def test_a_copy_of_a_job_beside_it_counts_for_nothing(team: Team, name: str) -> None:
    job = team.job(team.race(name))
    copies: list[dict[str, Any]] = [{}, {"ownerReferences": []}, {"labels": {keys.LABEL_JOB_UID: "other"}}]
    for number, changes in enumerate(copies):
        made_and_changed(team, copied(job, f"{name}-copy{number}", TEAM, **changes), 3)
    team("delete", "job", f"{name}-copy0", "--wait=false")
    team.is_served(f"{name}-next")
    assert team.get("job", job["metadata"]["name"])["metadata"]["uid"] == job["metadata"]["uid"]


def test_a_pod_that_only_has_a_races_labels_fails_no_race(team: Team, name: str) -> None:
    victim = team.race(name, startupDeadlineSeconds=DEADLINE)
    job = team.job(victim)
    labels = {
        keys.LABEL_JOB_UID: victim["metadata"]["uid"],
        "batch.kubernetes.io/job-name": job["metadata"]["name"],
        "batch.kubernetes.io/job-completion-index": "0",
    }
    own = by_job(job["metadata"]["uid"], job["metadata"]["name"])
    team.make(pod(f"{name}-a", OTHERS, labels))
    team.make(pod(f"{name}-b", OTHERS, labels, ownerReferences=own))
    team.make(pod(f"{name}-c", TEAM, labels))
    team.make(pod(f"{name}-d", TEAM, labels, ownerReferences=by_job("00000000-0000-4000-8000-000000000000")))
    team.make(pod(f"{name}-e", TEAM, labels, ownerReferences=by_parent(victim["metadata"]["uid"], name)))
    created = datetime.fromisoformat(team.get("pod", f"{name}-e")["metadata"]["creationTimestamp"])
    late = created + timedelta(seconds=DEADLINE + 2)
    team.wait("the startup deadline", lambda: datetime.now(UTC) > late)
    # A pass that finds the race failed does not see to its Job any more.
    team("patch", "bmj", name, "--type=merge", "-p", '{"spec":{"execution":{"parallelism":2}}}')
    team.wait("a pass", lambda: team.get("job", job["metadata"]["name"])["spec"]["parallelism"] == 2)
    assert team.condition(name, "Failed")["status"] == "False"
    team.is_served(f"{name}-next")


def test_an_operator_starts_though_there_are_pods_that_it_cannot_read(team: Team, name: str) -> None:
    victim = team.race(name)
    job = team.job(victim)
    own = by_job(job["metadata"]["uid"], job["metadata"]["name"])
    labels = job["spec"]["template"]["metadata"]["labels"]  # a Job's controller lets go of pods that lack them
    for number, index in enumerate(("abc", "1e3", "", "9" * 63, "1.5")):
        labelled = {**labels, "batch.kubernetes.io/job-completion-index": index}
        team.make(pod(f"{name}-{number}", TEAM, labelled, ownerReferences=own))
        team.make(pod(f"{name}-{number}", OTHERS, labelled))
    team.make(pod(f"{name}-none", TEAM, labels, annotations={"a": "b"}, ownerReferences=own))
    team.operator.stop()
    team.operator.start()
    team.wait("the operator", lambda: team.operator.ask("/readyz")[0] == 200)
    team.is_served(f"{name}-next")
    assert team.operator.counted('velodrome_operator_objects_unreadable_total{kind="Pod"}') >= 6


def test_a_name_that_is_taken_is_reported_and_used_when_it_is_free(team: Team, name: str) -> None:
    like = team.job(team.race(f"{name}-like"))
    team.operator.stop()
    parent = team.race(name)
    (taken,) = names(parent)
    team.make(copied(like, taken, TEAM, ownerReferences=[]))
    team.operator.start()
    reported = team.wait("the race to say so", lambda: stalled(team, name))
    assert (reported["reason"], taken in reported["message"]) == ("NameTaken", True)
    assert team.get("job", taken)["metadata"].get("ownerReferences") is None, "it is left as it is"
    team.is_served(f"{name}-next")
    team("delete", "job", taken)
    team.wait("its own Job", lambda: (team.get("job", taken).get("metadata") or {}).get("ownerReferences"))
    team.wait("the race to go on", lambda: team.condition(name, "Stalled")["status"] == "False")


def stalled(team: Team, name: str) -> dict[str, Any]:
    """The condition Stalled where it holds."""
    found = team.condition(name, "Stalled")
    return found if found.get("status") == "True" else {}


def test_a_status_of_nonsense_is_replaced(team: Team, name: str) -> None:
    team.job(team.race(name))
    team.wait("a status", lambda: team.condition(name, "Reconciling"))
    before = team.get("bmj", name)["status"]["startTime"]
    nonsense = {
        "conditions": [{"type": "Complete", "status": "True", "reason": "", "message": "",
                        "lastTransitionTime": "9999-12-31T23:59:59-14:00"}],
        "trials": {"total": 0, "disrupted": 2**62}, "message": "\x00\x1b]0;x\x07", "leaders": {"": ""},
        "startTime": "0001-01-01T00:00:00+14:00", "completionTime": None,
    }  # fmt: skip
    patch = json.dumps({"status": nonsense})
    team("patch", "bmj", name, "--subresource=status", "--type=merge", "-p", patch)
    team.wait("the operator's own status", lambda: team.condition(name, "Reconciling").get("status") == "True")
    status = team.get("bmj", name)["status"]
    assert (status["startTime"], status["trials"]["total"]) == (before, 4)
    assert "disrupted" not in status["trials"] or status["trials"]["disrupted"] == 0
    team.is_served(f"{name}-next")


def test_whatever_a_stranger_makes_up_ends_nothing(team: Team, name: str) -> None:
    """Objects of random labels, owners and fields, in both namespaces; what the API server refuses is not there."""
    victim = team.race(name)
    job = team.job(victim)
    choose = random.Random(18).choice  # noqa: S311 - it opens nothing
    made = []
    for number in range(30):
        uid = choose([victim["metadata"]["uid"], job["metadata"]["uid"], "x", "00000000-0000-4000-8000-000000000000"])
        labels = {
            keys.LABEL_JOB_UID: choose([victim["metadata"]["uid"], "", "x"]),
            keys.LABEL_JOB_NAME: choose([name, ""]),
            "batch.kubernetes.io/job-completion-index": choose(["0", "3", "abc", "99999999999", ""]),
        }
        owners = choose([[], by_job(uid), by_parent(uid), job["metadata"]["ownerReferences"]])
        if choose([True, False]):
            made.append(pod(f"{name}-{number}", choose([TEAM, OTHERS]), labels, ownerReferences=owners))
        else:
            changes = {"labels": labels, "ownerReferences": owners}
            one = copied(job, f"{name}-{number}", choose([TEAM, OTHERS]), **changes)
            one["spec"] |= choose([{}, {"suspend": False}, {"parallelism": 0}, {"backoffLimit": 0}])
            made.append(one)
    team.kube("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": made}), check=False)
    statuses: list[dict[str, Any]] = [
        {"phase": "Failed", "reason": "x" * 500, "containerStatuses": []},
        {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False"}]},
        {"active": 2**31 - 1, "completedIndexes": "0-99999999999", "failedIndexes": "a,,-"},
        {"startTime": "9999-12-31T23:59:59Z", "active": 1},
    ]
    for one in made[::2]:
        where = ("-n", one["metadata"]["namespace"], "patch", one["kind"], one["metadata"]["name"])
        patch = json.dumps({"status": choose(statuses)})
        team.kube(*where, "--subresource=status", "--type=merge", "-p", patch, check=False)
    assert len(team.kube("get", "job,pod", "-A", "-o", "name").split()) > 15, "the API server took most of them"
    team.is_served(f"{name}-next")
    assert team.condition(name, "Failed").get("status", "False") == "False"
    team.operator.stop()
    team.operator.start()
    team.wait("the operator", lambda: team.operator.ask("/readyz")[0] == 200)
    team.is_served(f"{name}-last")
