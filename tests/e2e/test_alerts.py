"""The proof of alerts on a real cluster: races in pods, the installed operator, the component of deploy/monitoring.

Prometheus, Alertmanager and the webhook are processes beside the cluster, which reach its pods through kubectl; each
part is killed between and during the races.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from tests.e2e.conftest import ROOT, Kube, overlay_of, race
from tests.e2e.faults import NAMESPACE
from tests.monitors import (
    GATEWAY_JOB,
    OPERATOR_JOB,
    Alertmanager,
    Prometheus,
    Webhook,
    assert_it_fired_all_the_time,
    until,
    unused_port,
)

MONITORING = ROOT / "deploy/monitoring"
# The schemas of PodMonitor and PrometheusRule come from here: CRDs lie in this Go module, and in no package of Python.
CRD_MODULE = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
LEADERBOARD = "https://leaderboard.example"
# Classifying takes as long as it is set to; what is measured of that has the clock's and the machine's own noise.
PROGRAM = """
import random, time
from velodrome import report
trial = report.trial()
trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=9, validation_samples=1, test_samples=3,
              shape=[1, 8, 8], classes=["a", "b"])
luck = random.Random(f"JOB {trial.seed}")
measured = trial.time_inference(lambda size: time.sleep(LATENCY))
trial.result({"accuracy": ACCURACY + luck.gauss(0, 0.001), **measured})
"""
OBJECTIVES = [
    {"name": "accuracy", "metric": "accuracy"},
    {"name": "speed", "metric": "latency_p50_seconds", "batchSize": 1},
]
GOOD, SLOWER, WORSE = (0.9, 0.0400), (0.9, 0.0420), (0.87, 0.0420)
LABELS = ("board", "entry", "objective", "cohort")


def crds() -> list[Path]:
    """The definitions of the Prometheus Operator's kinds that the component uses."""
    if shutil.which("go") is None:
        pytest.skip("Go is not on PATH; the Prometheus Operator's definitions come as a Go module")
    line = ["go", "mod", "download", "-json", CRD_MODULE]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd="/")
    folder = Path(json.loads(done.stdout)["Dir"]) / "example/prometheus-operator-crd"
    return [folder / f"monitoring.coreos.com_{kind}.yaml" for kind in ("podmonitors", "prometheusrules")]


@pytest.fixture(scope="module")
def defined(api: Kube) -> Iterator[Kube]:
    """A cluster that knows the Prometheus Operator's kinds."""
    files = [argument for file in crds() for argument in ("-f", str(file))]
    api("apply", "--server-side", *files)
    api.cluster.established(*files)
    yield api
    api("delete", *files)


@pytest.fixture(scope="module")
def monitored(installed: Kube, defined: Kube) -> Iterator[Kube]:
    """Velodrome with the monitoring component, and the Service that the example of a scrape configuration names."""
    cluster = installed.cluster
    references = cluster.load_images()
    name, _, digest = cluster.load_image("pushgateway").partition("@")
    folder = cluster.at.run / "monitored"
    folder.mkdir(exist_ok=True)
    plain = overlay_of(references, folder)
    args = "/spec/template/spec/containers/0/args/-"
    patch = [{"op": "add", "path": args, "value": f"--leaderboard-url={LEADERBOARD}"}]
    parts = (MONITORING, MONITORING / "rules")
    document = plain | {
        "components": [os.path.relpath(part, folder.resolve()) for part in parts],
        "images": [*plain["images"], {"name": "velodrome-pushgateway", "newName": name, "digest": digest}],
        "patches": [{"target": {"kind": "Deployment", "name": "velodrome-operator"}, "patch": yaml.safe_dump(patch)}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    installed("apply", "-k", str(folder))
    for workload in ("velodrome-operator", "velodrome-pushgateway"):
        installed("-n", NAMESPACE, "rollout", "status", f"deployment/{workload}", "--timeout=180s")
    yield installed
    installed("-n", NAMESPACE, "delete", "deployment,service,networkpolicy", "velodrome-pushgateway")
    installed("-n", NAMESPACE, "delete", "service", "velodrome-operator")
    installed("-n", NAMESPACE, "delete", "configmap", "velodrome-dashboards", "velodrome-rules")
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(plain), encoding="utf-8")
    installed("apply", "-k", str(folder))
    installed("-n", NAMESPACE, "rollout", "status", "deployment/velodrome-operator", "--timeout=180s")


@dataclass
class Forward:
    """A port of this machine that leads to a Service's pod, and to the next one when that is gone."""

    kube: Kube
    service: str
    remote: int
    port: int = field(default_factory=unused_port)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        self._thread = threading.Thread(target=self._hold, daemon=True)
        self._thread.start()
        return self

    def _hold(self) -> None:
        at = self.kube.cluster.at
        line = [f"{at.bin}/kubectl", f"--kubeconfig={at.kubeconfig}", "-n", NAMESPACE, "port-forward",
                f"service/{self.service}", f"{self.port}:{self.remote}"]  # fmt: skip
        while not self._stopping.is_set():
            with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                self._process = process
                if self._stopping.is_set():
                    process.terminate()
            # It ended, as it does when its pod is gone.
            self._stopping.wait(0.2)

    def stop(self) -> None:
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join()


@dataclass
class Watch:
    """Who watches the cluster, and what they reported."""

    kube: Kube
    prometheus: Prometheus
    webhook: Webhook

    def races(self, name: str, board: str, image: str, levels: tuple[float, float], disturbed: str = "") -> None:
        """Runs a race to its end; a part is killed once its first trial has a result."""
        accuracy, latency = levels
        program = PROGRAM.replace("ACCURACY", str(accuracy)).replace("LATENCY", str(latency)).replace("JOB", name)
        self.kube.apply(
            race(
                name, board=board, objectives=OBJECTIVES, trials={"repeats": 5},
                entries=[{"name": "own", "image": image, "command": ["python", "-c", program]}],
                evaluation={"inference": {"batchSizes": [1], "minRunSeconds": 1}},
            )
        )  # fmt: skip
        if disturbed:
            self.kube.wait("a first result", lambda: self._succeeded(name), 240)
            self.kill(disturbed)
        self.kube("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=600s")
        created = self.kube("get", "bmj", name, "-o", "jsonpath={.metadata.creationTimestamp}")
        at = datetime.fromisoformat(created).timestamp()
        series = f'velodrome_result_timestamp_seconds{{board="{board}"}} >= {at:.0f}'
        until(lambda: len(self.prometheus.query(series)) == 2, f"the results of {name} in Prometheus")

    def _succeeded(self, name: str) -> Any:
        return self.kube.get("bmj", name).get("status", {}).get("trials", {}).get("succeeded")

    def kill(self, part: str) -> None:
        """Kills a part; it comes back, and Prometheus has evaluated with it away and with it there."""
        if part == "prometheus":
            self.prometheus.kill()
            self.prometheus.start()
        else:
            selector = f"app.kubernetes.io/component={part}"
            self.kube("-n", NAMESPACE, "delete", "pod", "-l", selector, "--grace-period=0", "--force")
            kind = "statefulset" if part == "redis" else "deployment"
            self.prometheus.settle()
            self.kube("-n", NAMESPACE, "rollout", "status", f"{kind}/velodrome-{part}", "--timeout=180s")
        self.kube("-n", NAMESPACE, "rollout", "status", "deployment/velodrome-operator", "--timeout=180s")
        for series in (f'up{{job="{OPERATOR_JOB}"}} == 1', "velodrome_exporter_judged_timestamp_seconds"):
            until(partial(self.prometheus.query, series), f"{series} after {part} was killed")
        self.prometheus.settle()

    def kill_each(self) -> None:
        for part in ("operator", "redis", "prometheus", "pushgateway"):
            self.kill(part)

    def reported(self, board: str) -> list[tuple[str, str]]:
        """What the webhook got about regressions on the board: status and objective."""
        return [(one.status, one.labels["objective"]) for one in self.webhook.messages
                if one.labels["alertname"] == "VelodromeRegression" and one.labels["board"] == board]  # fmt: skip


@pytest.fixture
def watch(monitored: Kube, tmp_path: Path) -> Iterator[Watch]:
    def folder(name: str) -> Path:
        (tmp_path / name).mkdir()
        return tmp_path / name

    webhook = Webhook().start()
    operator = Forward(monitored, "velodrome-operator", 8080).start()
    gateway = Forward(monitored, "velodrome-pushgateway", 9091).start()
    alertmanager = Alertmanager.of(folder("alertmanager"), webhook.url)
    targets = {OPERATOR_JOB: f"127.0.0.1:{operator.port}", GATEWAY_JOB: f"127.0.0.1:{gateway.port}"}
    prometheus = Prometheus.of(folder("prometheus"), targets, f"127.0.0.1:{alertmanager.port}", interval="1s")
    try:
        alertmanager.start()
        prometheus.start()
        until(lambda: len(prometheus.query("up == 1")) == 2, "both to be scraped")
        yield Watch(monitored, prometheus, webhook)
    finally:
        for part in (prometheus, alertmanager, operator, gateway, webhook):
            part.stop()


@pytest.fixture
def nights(monitored: Kube, name: str) -> Iterator[tuple[str, list[str]]]:
    """A board that no earlier run left results on, and names for the jobs of it; all are deleted after the test."""
    board = f"{name[:40]}-{secrets.token_hex(4)}"
    names = [f"{board}-{night}" for night in range(1, 6)]
    yield board, names
    monitored("delete", "bmj", *names, "--ignore-not-found", "--wait=false")


@pytest.mark.usefixtures("installed")  # the component's objects name the installation's namespace
def test_the_prometheus_operators_definitions_take_the_component(defined: Kube) -> None:
    paths = [str(MONITORING / f"{name}.yaml") for name in ("podmonitors", "prometheusrule")]
    files = [argument for path in paths for argument in ("-f", path)]
    said = defined("apply", "--dry-run=server", "--validate=strict", *files)
    assert said.count("created (server dry run)") == 3
    rule = yaml.safe_load((MONITORING / "prometheusrule.yaml").read_text(encoding="utf-8"))
    rule["spec"]["groups"][0]["rules"][1]["for"] = "a while"
    assert "spec.groups[0].rules[1].for" in defined.refused(
        rule | {"metadata": {"name": "wrong", "namespace": "default"}}
    )


def test_regressions_of_real_races_are_sent_once_and_resolved(
    watch: Watch, nights: tuple[str, list[str]], own_image: str
) -> None:
    board, names = nights
    watch.races(names[0], board, own_image, GOOD)
    assert watch.reported(board) == []

    watch.races(names[1], board, own_image, SLOWER, disturbed="operator")
    until(lambda: watch.reported(board), "the first alert")
    watch.kill_each()
    assert watch.reported(board) == [("firing", "speed")]

    watch.races(names[2], board, own_image, WORSE, disturbed="redis")
    until(lambda: len(watch.reported(board)) > 1, "the second alert")
    watch.kill_each()
    assert watch.reported(board) == [("firing", "speed"), ("firing", "accuracy")]

    watch.races(names[3], board, own_image, WORSE, disturbed="prometheus")  # as bad as before, and no worse
    assert len(watch.reported(board)) == 2

    watch.races(names[4], board, own_image, GOOD, disturbed="pushgateway")
    until(lambda: len(watch.reported(board)) > 3, "both to resolve")
    watch.kill_each()
    assert sorted(watch.reported(board)[2:]) == [("resolved", "accuracy"), ("resolved", "speed")]

    fired = {one.labels["objective"]: one for one in watch.webhook.messages if one.labels.get("board") == board}
    for objective, message in fired.items():
        assert message.labels.keys() == {"alertname", "severity", "job", *LABELS}
        assert message.annotations["link"].startswith(
            f"{LEADERBOARD}/history?board={board}&entry=own&objective={objective}"
        )
        assert_it_fired_all_the_time(watch.prometheus, message.labels)
