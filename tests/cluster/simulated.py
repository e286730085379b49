"""A separate control plane with nodes that kwok simulates: pods start and succeed, and nothing runs in them.

It measures the operator and Kubernetes' controllers with a thousand pods at a time. It runs beside the cluster of
`python -m tests.cluster up`, on other ports and in another folder. It needs no root and no container runtime.
"""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

from tests.cluster.build import build_simulation
from tests.cluster.control import Cluster
from tests.cluster.layout import Layout
from tests.cluster.parts import CONTROL_PLANE, SIMULATED_NODE, SIMULATION

# `isolation: Node` is not used here, so one node can take a thousand pods at once.
NODES = 10
PODS_PER_NODE = 250
TRIAL_SECONDS = 1

_NOW = "{{ Now | Quote }}"


class SimulatedCluster(Cluster):
    """etcd, an API server, the controllers, the scheduler, and nodes that kwok simulates.

    Clusters with different `name` and `offset` do not disturb each other.
    """

    def __init__(self, name: str = "simulated", offset: int = 1000) -> None:
        super().__init__(Layout(Layout.default().home, name, offset))

    def build(self, *, api_only: bool = False) -> None:
        """Makes the missing programs."""
        build_simulation(self.at)

    def up(self, *, api_only: bool = False) -> Path:
        """Starts the cluster and waits until pods can run. Returns the kubeconfig's path."""
        super().up(api_only=True)
        if api_only:
            return self.at.kubeconfig
        (self.at.run / "stages.yaml").write_text("\n---\n".join(json.dumps(stage) for stage in stages()))
        for part in SIMULATION:
            self.start(part)
        nodes = [_node(f"simulated-{number}") for number in range(NODES)]
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes}))
        self._await("kwok", 60, lambda: _schedulable(json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]))
        self._await(
            "controller-manager", 60, lambda: self._succeeds("-n", "default", "get", "serviceaccount", "default")
        )
        return self.at.kubeconfig

    def down(self) -> None:
        """Stops everything and removes its data. Does not touch the other cluster."""
        for part in (*reversed(SIMULATION), *reversed(CONTROL_PLANE)):
            self.kill(part, signal.SIGTERM)
        shutil.rmtree(self.at.run, ignore_errors=True)


def _schedulable(nodes: list[dict[str, Any]]) -> bool:
    """Whether all nodes are ready and have no more taints of a controller."""
    return len(nodes) == NODES and all(
        not node["spec"].get("taints")
        and any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions", ()))
        for node in nodes
    )


def stages() -> list[dict[str, Any]]:
    """kwok's stages: a node becomes ready; a pod runs as soon as it is bound, and succeeds a second later."""
    container = "{name: {{ $c.name | Quote }}, image: {{ $c.image | Quote }}, imageID: simulated, restartCount: 0, "
    each = "{{ range $c := .spec.containers }}- " + container
    conditions = "".join(
        f'- {{type: {kind}, status: "True", lastTransitionTime: {_NOW}}}\n'
        for kind in ("Initialized", "ContainersReady", "Ready")
    )
    running = (
        f"phase: Running\nstartTime: {_NOW}\nhostIP: 127.0.0.1\npodIP: 127.0.0.1\nconditions:\n{conditions}"
        f"containerStatuses:\n{each}ready: true, started: true, state: {{running: {{startedAt: {_NOW}}}}}}}\n"
        "{{ end }}"
    )
    began = "{{ (index $.status.containerStatuses 0).state.running.startedAt | Quote }}"
    ended = f"{{exitCode: 0, reason: Completed, startedAt: {began}, finishedAt: {_NOW}}}"
    succeeded = (
        f"phase: Succeeded\ncontainerStatuses:\n{each}ready: false, started: false, state: {{terminated: {ended}}}}}\n"
        "{{ end }}"
    )
    capacity = f'{{cpu: "1000", memory: 1000Gi, pods: "{PODS_PER_NODE}"}}'
    ready = (
        f"allocatable: {capacity}\ncapacity: {capacity}\nphase: Running\nconditions:\n"
        f'- {{type: Ready, status: "True", reason: Simulated, message: played by kwok, lastHeartbeatTime: {_NOW}, '
        f"lastTransitionTime: {_NOW}}}\n"
    )
    absent = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
    return [
        _stage("node-ready", "Node", [{"key": ".status.phase", "operator": "NotIn", "values": ["Running"]}], ready),
        _stage("pod-runs", "Pod", [absent, {"key": ".status.podIP", "operator": "DoesNotExist"}], running),
        _stage(
            "pod-succeeds",
            "Pod",
            [absent, {"key": ".status.phase", "operator": "In", "values": ["Running"]}],
            succeeded,
            TRIAL_SECONDS,
        ),
        _stage("pod-goes", "Pod", [{"key": ".metadata.deletionTimestamp", "operator": "Exists"}], None),
    ]


def _stage(
    name: str, kind: str, expressions: list[dict[str, Any]], status: str | None, seconds: float = 0
) -> dict[str, Any]:
    following: dict[str, Any] = {"delete": True} if status is None else {"statusTemplate": status}
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": expressions},
            "delay": {"durationMilliseconds": int(seconds * 1000)},
            "next": following,
        },
    }


def _node(name: str) -> dict[str, Any]:
    metadata = {"name": name, "annotations": {SIMULATED_NODE: "true"}, "labels": {"kubernetes.io/hostname": name}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
