"""Kueue beside the test cluster: its CRDs and webhooks, from the module that it is built from.

Kueue is a process of the node, as the cluster's other parts are. So the API server finds its webhooks at an address and
not at a Service, and trusts the cluster's own authority.
"""

from __future__ import annotations

import base64
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.build import build_queue
from tests.cluster.control import Cluster, ClusterError
from tests.cluster.layout import GATEWAY
from tests.cluster.parts import QUEUE, QUEUE_PORT

_GROUPS = {"kueue.x-k8s.io", "batch"}
_START_SECONDS = 60.0
_METRICS = Path("/etc/kueue/metrics/certs")  # Kueue 0.17 reads a certificate from there, however it is configured


@contextmanager
def queues(cluster: Cluster) -> Iterator[None]:
    """Kueue runs inside this context. Its webhooks go with it: without Kueue they would refuse every Job.

    Raises:
        BuildError: Go is missing.
        ClusterError: Kueue did not start; the message names its log.
    """
    module = build_queue(cluster.at)
    cluster.up()
    for folder in (cluster.at.run / "kueue", _METRICS):
        folder.mkdir(parents=True, exist_ok=True)
        for ending in ("crt", "key"):
            shutil.copy(cluster.at.pki / f"kueue.{ending}", folder / f"tls.{ending}")
    kinds = str(module / "config/components/crd/bases")
    cluster.kubectl("apply", "--server-side", "-f", kinds)
    # Kueue ends if the API server does not serve all of its kinds yet.
    cluster.established("-f", kinds)
    _await_kind(cluster, "workloads.v1beta2.kueue.x-k8s.io")
    hooks = webhooks(module, (cluster.at.pki / "ca.crt").read_bytes(), cluster.at.port(QUEUE_PORT))
    cluster.start(QUEUE)
    try:
        _await_port(cluster)
        cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(hooks))
        yield
    finally:
        for hook in hooks:
            cluster.kubectl("delete", hook["kind"], hook["metadata"]["name"], "--ignore-not-found", check=False)
        cluster.kill(QUEUE)


def webhooks(module: Path, authority: bytes, port: int) -> list[dict[str, Any]]:
    """Kueue's webhooks for its own objects and for Jobs, at the node's address."""
    file = module / "config/components/webhook/manifests.yaml"
    found = []
    for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
        document["metadata"]["name"] = f"kueue-{document['metadata']['name']}"
        document["webhooks"] = [
            hook | {"clientConfig": _at(hook["clientConfig"]["service"]["path"], authority, port)}
            for hook in document["webhooks"]
            if all(set(rule["apiGroups"]) <= _GROUPS for rule in hook["rules"])
        ]
        found.append(document)
    return found


def _at(path: str, authority: bytes, port: int) -> dict[str, str]:
    return {"url": f"https://{GATEWAY}:{port}{path}", "caBundle": base64.b64encode(authority).decode()}


def _await_kind(cluster: Cluster, kind: str) -> None:
    """Waits until the API server lists a kind: some time passes between its definition and its discovery."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            cluster.kubectl("get", kind, "--all-namespaces")
        except ClusterError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
        else:
            return


def _await_port(cluster: Cluster) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection((GATEWAY, cluster.at.port(QUEUE_PORT)), timeout=1).close()
        except OSError as error:
            if time.monotonic() > deadline or cluster.pid(QUEUE) is None:
                raise ClusterError(f"Kueue does not answer: see {cluster.at.logs / QUEUE}") from error
            time.sleep(0.3)
        else:
            return
