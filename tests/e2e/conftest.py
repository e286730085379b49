"""A real Kubernetes for a whole run of the tests, with Velodrome installed in it as a user installs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.control import Cluster
from tests.cluster.foreign import choose

ROOT = Path(__file__).resolve().parents[2]
NETWORK = ROOT / "tests/e2e/network"


@dataclass(frozen=True)
class Kube:
    """kubectl, and waiting for what it shows."""

    cluster: Cluster

    def __call__(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        return self.cluster.kubectl(*arguments, stdin=stdin, check=check)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """An object, empty where there is none."""
        text = self("get", kind, name, "-o", "json", "--ignore-not-found")
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    def items(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """The objects that a selector finds."""
        found: list[dict[str, Any]] = json.loads(self("get", kind, "-l", selector, "-o", "json"))["items"]
        return found

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """Applies objects as a user does, strictly checked."""
        self("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))

    def refused(self, document: Mapping[str, Any]) -> str:
        """What the API server says of an object that it does not take."""
        line = [str(self.cluster.at.bin / "kubectl"), f"--kubeconfig={self.cluster.at.kubeconfig}", "apply", "-f", "-"]
        done = subprocess.run(line, input=yaml.safe_dump(document), text=True, capture_output=True, check=False)
        assert done.returncode != 0, f"it was taken: {done.stdout}"
        return done.stderr

    def wait(self, what: str, ready: Callable[[], Any], seconds: float = 120) -> Any:
        """What `ready` answers once that is true."""
        deadline = time.monotonic() + seconds
        while True:
            answer = ready()
            if answer:
                return answer
            assert time.monotonic() < deadline, (
                f"waited {seconds:.0f} s for {what}\n{self('get', 'bmj,job,pod', check=False)}"
            )
            time.sleep(0.5)

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """A condition of a BenchmarkJob, empty where it has none or is not True."""
        conditions = self.get("bmj", name).get("status", {}).get("conditions", [])
        return next((item for item in conditions if item["type"] == kind and item["status"] == "True"), {})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test may have to build Kubernetes and the images; what kills parts of the cluster comes last."""
    for item in items:
        item.add_marker(pytest.mark.timeout(2700))
    items.sort(key=lambda item: item.path.name == "test_campaign.py")


@pytest.fixture(scope="session")
def api(request: pytest.FixtureRequest) -> Iterator[Kube]:
    """An API server that knows the CRD; no pods run in it unless the whole cluster is up.

    The images of tests that need some are built while the tests before them need none.
    """
    cluster = choose()
    found = cluster.pid("apiserver") is not None
    kube = Kube(cluster)
    wanted = {name for item in request.session.items if isinstance(item, pytest.Function) for name in item.fixturenames}
    if "installed" in wanted:
        cluster.begin_images(*(("numpy",) if "own_image" in wanted else ()))
    serve(kube)
    yield kube
    if not found and "VELODROME_KEEP_CLUSTER" not in os.environ:
        cluster.down()


def serve(kube: Kube) -> None:
    """Starts at least an API server, and has it serve BenchmarkJobs."""
    cluster = kube.cluster
    cluster.build(api_only=True)
    cluster.up(api_only=not _nodes_run(cluster))
    kube("apply", "--server-side", "-f", str(ROOT / "deploy/crd/benchmarkjobs.yaml"))
    cluster.established("crd/benchmarkjobs.velodrome.dev")
    kube.wait("the kind to be served", lambda: kube("get", "bmj", check=False) is not None)


def _nodes_run(cluster: Cluster) -> bool:
    return cluster.pid("kubelet") is not None


@pytest.fixture(scope="session")
def installed(api: Kube) -> Kube:
    """Velodrome, installed from the project's own manifests and images."""
    install(api)
    return api


def install(kube: Kube) -> None:
    """Starts the whole cluster and installs Velodrome in it, built from here; returns when it is ready."""
    cluster = kube.cluster
    cluster.build()
    cluster.up()
    references = cluster.load_images()
    if not cluster.has_volumes:
        volume = Path("/var/tmp/velodrome-redis")  # noqa: S108 - as in storage.yaml
        if not kube("get", "persistentvolume", "velodrome-redis", "--ignore-not-found"):
            shutil.rmtree(volume, ignore_errors=True)  # results of a cluster that is no more
        volume.mkdir(exist_ok=True)
        os.chown(volume, 65532, 65532)
        kube("apply", "-f", str(ROOT / "tests/e2e/storage.yaml"))
    overlay = cluster.at.run / "overlay"
    overlay.mkdir(exist_ok=True)
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(overlay_of(references, overlay)))
    kube("apply", "-f", str(ROOT / "deploy/namespace.yaml"))
    kube("apply", "-k", str(overlay))
    for workload in (
        "deployment/velodrome-operator",
        "statefulset/velodrome-redis",
        "deployment/velodrome-leaderboard",
    ):
        kube("-n", "velodrome", "rollout", "status", workload, "--timeout=180s")


@pytest.fixture
def own_image(installed: Kube) -> str:
    """An image by digest that has `velodrome-runner` and no torch: its pods start in a second or two."""
    return installed.cluster.load_image("numpy")


def overlay_of(references: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """The project's kustomization with the images that were built here."""
    images = []
    for component, reference in references.items():
        name, _, digest = reference.partition("@")
        if component != "runner":
            images.append({"name": f"velodrome-{component}", "newName": name, "digest": digest})
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "velodrome",
        "resources": [os.path.relpath(path, folder.resolve()) for path in (ROOT / "deploy", NETWORK)],
        "images": images,
        "configMapGenerator": [
            {"name": "velodrome-images", "behavior": "merge", "literals": [f"runner={references['runner']}"]}
        ],
    }


@pytest.fixture
def name(request: pytest.FixtureRequest, api: Kube) -> Iterator[str]:
    """A name for this test's BenchmarkJob, which is deleted after it."""
    chosen = request.node.name.split("[")[0].removeprefix("test_").replace("_", "-")[:50].strip("-")
    api("delete", "bmj", chosen, "--ignore-not-found", "--wait=true")
    yield chosen
    api("delete", "bmj", chosen, "--ignore-not-found", "--wait=false")


def uid_of(kube: Kube, name: str) -> str:
    """The uid of a BenchmarkJob."""
    return str(kube.get("bmj", name)["metadata"]["uid"])


def race(name: str, **spec: Any) -> dict[str, Any]:
    """A small BenchmarkJob: two entries, two seeds, an epoch each."""
    document: dict[str, Any] = {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": name},
        "spec": {
            "board": name,
            "dataset": {"name": "digits"},
            "objectives": [{"name": "accuracy", "metric": "accuracy"}],
            "budget": {"maxEpochs": 1},
            "evaluation": {"inference": {"batchSizes": [1], "minRunSeconds": 0.05}},
            "entries": [
                {"name": "mlp", "model": {"name": "velodrome/mlp"}},
                {"name": "cnn", "model": {"name": "velodrome/cnn"}},
            ],
            "trials": {"repeats": 2},
            "execution": {"isolation": "None"},
        },
    }
    document["spec"] |= spec
    return document
