"""An operator at its edges: a real API server without nodes, a real Redis, the operator's process, and no runner.

What runners and Kubernetes' controllers would do, a test does by hand: so it can do it wrongly too.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.cluster.running import RUNNER_IMAGE, free_port, redis_server
from benchmarks.cluster.standin import _DATASET, _ENVIRONMENT
from tests.cluster.control import Cluster
from tests.cluster.layout import Layout
from tests.e2e.conftest import ROOT, Kube, race
from velodrome import keys
from velodrome.connections.direct import open_directly
from velodrome.plan import Plan, plan
from velodrome.results.records import ResultReport, TrialResult
from velodrome.spec import validate
from velodrome.store import Store
from velodrome_operator.crd import PLURAL

HOME, TEAM, OTHERS = "bystanders", "team", "other-team"
SECONDS = 120.0

Document = dict[str, Any]


class Api:
    """Plain requests to an API server, as its administrator; what it answers, whatever that is."""

    def __init__(self, cluster: Cluster) -> None:
        pki = cluster.at.pki
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        self._connection = http.client.HTTPSConnection("127.0.0.1", cluster.at.port(6443), context=context, timeout=60)

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def __call__(
        self, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> tuple[int, Document]:
        """The status of the answer, and its JSON."""
        data = None if body is None else json.dumps(body)
        self._connection.request(method, f"/{path}", data, {"Content-Type": kind})
        with self._connection.getresponse() as answer:
            text = answer.read()
        try:
            found = json.loads(text)
        except ValueError:
            found = {"message": text.decode(errors="replace")}
        return answer.status, found

    def done(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Document:
        """The JSON of an answer that has to be a success."""
        status, found = self(method, path, body, kind)
        assert status < 300, (method, path, status, found.get("message"))
        return found


def jobs_of(namespace: str) -> str:
    return f"apis/batch/v1/namespaces/{namespace}/jobs"


def pods_of(namespace: str) -> str:
    return f"api/v1/namespaces/{namespace}/pods"


def parents_of(namespace: str) -> str:
    return f"apis/{keys.GROUP}/{keys.VERSION}/namespaces/{namespace}/{PLURAL}"


@dataclass
class Open:
    """A race that the operator has begun: its Job is there, and nothing runs."""

    namespace: str
    name: str
    uid: str
    plan: Plan
    job: Document
    client: redis.Redis
    secrets: dict[str, str]
    pods: dict[int, str] = field(default_factory=dict)
    """The uids of its pods by trial index."""

    @property
    def facts(self) -> dict[str, str]:
        """What a stranger can learn of it, who knows the cluster."""
        metadata = self.job["metadata"]
        return {"uid": self.uid, "name": self.name, "job": metadata["name"], "jobUid": metadata["uid"]}

    def result(self, index: int) -> TrialResult:
        """The result that a runner would report of a trial."""
        trial, now = self.plan.trial(index), datetime.now(UTC)
        return TrialResult(
            job_uid=self.uid, index=index, entry=trial.entry, repeat=trial.repeat, seed=trial.seed, trial_id=trial.id,
            attempt=self.pods[index], outcome="Succeeded", metrics={"accuracy": 0.9 + 0.001 * index},
            dataset=_DATASET, environment=_ENVIRONMENT, started_at=now, finished_at=now,
        )  # fmt: skip

    def report(self, index: int) -> Document:
        """The same, as the JSON that is sent."""
        report = ResultReport(result=self.result(index), proof=self.secrets[f"report-key-0-{index}"])
        found: Document = json.loads(report.model_dump_json())
        return found

    def send(self, *reports: bytes) -> None:
        """Appends reports to the race's inbox, as its own Redis user."""
        for report in reports:
            self.client.rpush(keys.inbox(self.uid), report)


@dataclass
class Edge:
    """The operator with everything that it talks to; `start` it again after `stop`."""

    kube: Kube
    api: Api
    redis_url: str
    log: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    made: int = 0
    clients: list[redis.Redis] = field(default_factory=list)

    def close(self) -> None:
        """Ends the operator and all connections."""
        self.stop()
        self.api.close()
        for client in self.clients:
            client.close()

    def client(self, url: str) -> redis.Redis:
        """A client of Redis that is there as long as this is."""
        made = redis.Redis.from_url(url)
        self.clients.append(made)
        return made

    def start(self) -> None:
        """Starts the operator for all namespaces, and waits until it is ready."""
        line = [sys.executable, "-m", "velodrome_operator", "--runner-image", RUNNER_IMAGE,
                "--listen", f"127.0.0.1:{self.port}"]  # fmt: skip
        own = {"KUBECONFIG": str(self.kube.cluster.at.kubeconfig), "VELODROME_REDIS_URL": self.redis_url}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(line, cwd=ROOT, env=os.environ | own, stdout=log, stderr=log)
        self.until("the operator to be ready", lambda: self.probe("/readyz")[0] == 200)

    def stop(self) -> None:
        """Ends it in order."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def until(self, what: str, ready: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """What `ready` answers once that is true."""
        deadline = time.monotonic() + seconds
        while not (found := ready()):
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}\n{self.complaints()}"
            assert self.process is not None
            assert self.process.poll() is None, f"the operator ended\n{self.complaints()}"
            time.sleep(0.1)
        return found

    def complaints(self) -> str:
        """The end of what it has logged above information."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join([line for line in lines if '"info"' not in line][-20:])

    def probe(self, path: str) -> tuple[int, str]:
        """The status and the text that it answers over HTTP; 0 where it does not answer."""
        try:
            with open_directly(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError:
            return 0, ""

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        status, text = self.probe("/metrics")
        assert status == 200, text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def is_well(self) -> None:
        """Holds the operator to it that nothing has ended any of its tasks, nor a pass by an error nobody expected."""
        status, text = self.probe("/healthz")
        assert status == 200, f"{text}\n{self.complaints()}"
        assert self.metric("velodrome_operator_task_failures_total") == 0, self.complaints()
        assert self.metric("velodrome_operator_passes_total", outcome="Unexpected") == 0, self.complaints()

    # -- races ------------------------------------------------------------------------------------------------------

    def begun(self, namespace: str, *, trials: int = 2, bears: int = 0) -> Open:
        """A new race whose Job is there; it bears so many failed trials."""
        self.made += 1
        name = f"race-{self.made}"
        entries = [{"name": "mlp", "model": {"name": "velodrome/mlp"}}]
        document = race(name, entries=entries, trials={"repeats": trials, "maxFailed": bears})
        made = self.api.done("POST", parents_of(namespace), document)
        uid = made["metadata"]["uid"]
        job = self.until(f"the Job of {name}", lambda: self._job(namespace, uid))
        listed = self.api.done("GET", f"api/v1/namespaces/{namespace}/secrets")["items"]
        content = {name: base64.b64decode(text).decode() for item in listed if _owned(item, uid)
                   for name, text in item["data"].items()}  # fmt: skip
        url = content[keys.ENV_REDIS_URL]
        made = {key: value for key, value in made.items() if key != "status"}
        return Open(namespace, name, uid, plan(validate(made, source=name)), job, self.client(url), content)

    def _job(self, namespace: str, uid: str) -> Document | None:
        listed = self.api.done("GET", jobs_of(namespace))["items"]
        return next((item for item in listed if _owned(item, uid)), None)

    def run_pods(self, opened: Open) -> None:
        """Makes the pods that the Job controller and a kubelet would, running."""
        metadata = opened.job["metadata"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"],
                 "controller": True}  # fmt: skip
        template = opened.job["spec"]["template"]
        for index in range(len(opened.plan)):
            own = {
                "generateName": f"{metadata['name']}-{index}-",
                "labels": {
                    **template["metadata"]["labels"],
                    "batch.kubernetes.io/job-name": metadata["name"],
                    "batch.kubernetes.io/job-completion-index": str(index),
                    "batch.kubernetes.io/controller-uid": metadata["uid"],
                },
                "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
                "ownerReferences": [owner],
            }
            document = {"apiVersion": "v1", "kind": "Pod", "metadata": own, "spec": template["spec"]}
            made = self.api.done("POST", pods_of(opened.namespace), document)["metadata"]
            opened.pods[index] = made["uid"]
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            running = {"name": "runner", "state": {"running": {"startedAt": now}}, "image": "x", "imageID": "x",
                       "ready": True, "restartCount": 0}  # fmt: skip
            status = {"status": {"phase": "Running", "startTime": now, "containerStatuses": [running]}}
            path = f"{pods_of(opened.namespace)}/{made['name']}/status"
            self.api.done("PATCH", path, status, "application/strategic-merge-patch+json")

    def parent(self, opened: Open) -> Document:
        """The race's object as it is now."""
        return self.api.done("GET", f"{parents_of(opened.namespace)}/{opened.name}")

    def finishes(self, opened: Open) -> None:
        """Has the race's runners report, and holds it to ending as ever: Complete, each trial counted once."""
        if not opened.pods:
            self.run_pods(opened)
        opened.send(*(json.dumps(opened.report(index)).encode() for index in opened.pods))
        self.until(f"the end of {opened.name}", lambda: ended(self.parent(opened)))
        status = self.parent(opened)["status"]
        assert ended({"status": status}) == "Complete", status
        trials = status["trials"]
        assert (trials["total"], trials["succeeded"], trials["failed"]) == (len(opened.plan), len(opened.plan), 0)
        assert trials.get("disrupted", 0) == 0, status
        with self.store() as store:
            assert {record.result.index for record in store.records(opened.uid)} == set(range(len(opened.plan)))

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        """The results, as the operator has them."""
        with redis.Redis.from_url(self.redis_url, socket_timeout=60) as client, Store(client) as store:
            yield store


def ended(document: Mapping[str, Any]) -> str:
    """How a race has ended: Complete, Failed, or not yet."""
    conditions = document.get("status", {}).get("conditions", [])
    return next((c["type"] for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), "")


def _owned(item: Mapping[str, Any], uid: str) -> bool:
    owners = item["metadata"].get("ownerReferences", [])
    return any(owner["uid"] == uid and owner.get("controller") for owner in owners)


@contextlib.contextmanager
def edge(folder: Path) -> Iterator[Edge]:
    """An operator with an API server and a Redis of its own, which all go at the end.

    No controller runs but the operator, so nothing is cleaned up, and nothing comes between.
    """
    cluster = Cluster(Layout(Layout.default().home, "fuzz", 5000))
    cluster.build(api_only=True)
    cluster.down()
    cluster.up(api_only=True)
    kube = Kube(cluster)
    try:
        kube("apply", "--server-side", "-f", str(ROOT / "deploy/crd/benchmarkjobs.yaml"))
        kinds = ("api-resources", "--api-group=velodrome.dev")
        kube.wait("the kind to be served", lambda: "bmj" in kube(*kinds, check=False))
        kube.wait("namespaces", lambda: kube("get", "namespace", "default", "--ignore-not-found"))
        for namespace in (HOME, TEAM, OTHERS):
            kube("create", "namespace", namespace)
            kube("-n", namespace, "create", "serviceaccount", "default")  # its controller does not run
        with redis_server(folder) as url:
            found = Edge(kube, Api(cluster), url, folder / "log")
            try:
                found.start()
                yield found
            finally:
                found.close()
    finally:
        cluster.down()
