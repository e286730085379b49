"""Checks what races need of a cluster. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from velodrome.cli.cluster.devices import gpus
from velodrome.cli.cluster.hardening import HARDENING
from velodrome.cli.cluster.installation import KINDS, Installation, containers
from velodrome.cli.cluster.kubectl import BENCHMARKJOBS, Kubectl
from velodrome.errors import ClusterError
from velodrome.keys import VERSION
from velodrome.machine.checks import Check
from velodrome.text import command, counted

_INSTALL = "install Velodrome: docs/install.md"
# The rights that a person needs to race, besides reading.
_RIGHTS = (("create", BENCHMARKJOBS), ("delete", BENCHMARKJOBS), ("get", "pods/log"), ("list", "pods"))
# The rights that the operator needs, as deploy/base/operator.yaml grants them.
_OPERATORS_RIGHTS = (
    ("update", f"{BENCHMARKJOBS} --subresource=status"),
    ("watch", BENCHMARKJOBS),
    ("create", "jobs.batch"),
    ("patch", "jobs.batch"),
    ("watch", "pods"),
    ("create", "configmaps"),
    ("create", "secrets"),
    ("create", "services"),
    ("create", "events.events.k8s.io"),
)


def examine(kubectl: Kubectl, namespace: str = "velodrome") -> list[Check]:
    """The results of all checks, in the order in which a race needs these things.

    If no API server answers, only the result of that first check.
    """
    at = Installation(kubectl, namespace)
    first = api_server(at)
    if first.status == "missing":
        return [first]
    looks: Sequence[Callable[[Installation], Check]] = (
        definition, rights, operator, operators_rights, images, redis, leaderboard, restricted, *HARDENING, gpus,
    )  # fmt: skip
    return [first, *(_guarded(look, at) for look in looks)]


def _guarded(look: Callable[[Installation], Check], at: Installation) -> Check:
    try:
        return look(at)
    except ClusterError as error:
        return Check(look.__name__.replace("_", " "), "warning", f"can't be looked at: {error.said}", error.fix)


def api_server(at: Installation) -> Check:
    """Whether the API server answers."""
    try:
        found = json.loads(at.kubectl.text("version", "-o", "json"))
    except ClusterError as error:
        return Check("API server", "missing", error.said, error.fix)
    return Check("API server", "ok", f"Kubernetes {found['serverVersion']['gitVersion']}")


def definition(at: Installation) -> Check:
    """Whether the cluster knows BenchmarkJobs of this version."""
    found = at.kubectl.found("crd", BENCHMARKJOBS)
    if found is None:
        return Check("CRD", "missing", "the cluster knows no BenchmarkJob", "kubectl apply --server-side -k deploy/crd")
    served = [version["name"] for version in found["spec"]["versions"] if version["served"]]
    if VERSION not in served:
        return Check("CRD", "missing", f"it serves {', '.join(served)}, not {VERSION}", "install this version's CRD")
    conditions = {c["type"]: c["status"] for c in found.get("status", {}).get("conditions", ())}
    if conditions.get("Established") != "True":
        return Check("CRD", "missing", "it is not established", f"kubectl describe crd {BENCHMARKJOBS}")
    return Check("CRD", "ok", f"{BENCHMARKJOBS} {VERSION}")


def rights(at: Installation) -> Check:
    """Whether this person may race."""
    lacking = [f"{verb} {what}" for verb, what in _RIGHTS if not at.kubectl.may(verb, what)]
    if lacking:
        return Check("your rights", "missing", f"you may not {', '.join(lacking)}", "ask an administrator for them")
    return Check("your rights", "ok", "you may create, watch and delete races")


def operator(at: Installation) -> Check:
    """Whether the operator runs and reports that it is ready."""
    return _workload(at, "operator", "operator")


def operators_rights(at: Installation) -> Check:
    """Whether the operator's account has all rights that it needs, wherever it watches."""
    account = f"--as={at.account}"
    if not at.kubectl.may("impersonate", "serviceaccounts"):
        return Check("operator's rights", "warning", "you may not ask on its behalf", "ask an administrator to look")
    named = at.arguments("--namespace")
    places: list[tuple[str, ...]] = [("-n", name) for name in named] or [("--all-namespaces",)]
    lacking = [
        f"{verb} {what}"
        for verb, what in _OPERATORS_RIGHTS
        if not all(at.kubectl.may(verb, *what.split(), account, *place) for place in places)
    ]
    if lacking:
        fix = "apply deploy/ of this version: its ClusterRole grants them"
        return Check("operator's rights", "missing", f"it may not {', '.join(lacking)}", fix)
    return Check("operator's rights", "ok", "it may do what it has to")


def images(at: Installation) -> Check:
    """Whether the runner's image is pinned, and whether nodes can pull the images that races use."""
    image = at.argument("--runner-image") or ""
    if "@sha256:" not in image:
        fix = f"name it by digest in the ConfigMap velodrome-images of {at.namespace}: docs/install.md"
        return Check("images", "missing", "no runner's image by digest", fix)
    pods = at.kubectl.items("pods", "--all-namespaces", "-l", "velodrome.dev/role=runner")
    stuck = [pod for pod in pods if any(map(_cannot_pull, pod.get("status", {}).get("containerStatuses") or ()))]
    if stuck:
        name = stuck[0]["metadata"]["name"]
        fix = f"kubectl -n {stuck[0]['metadata']['namespace']} describe pod {name}: the image's name, or a pull secret"
        others = f" and {counted(len(stuck) - 1, 'other pod')}" if len(stuck) > 1 else ""
        return Check("images", "warning", f"no image can be pulled for pod {name}{others}", fix)
    return Check("images", "ok", image)


def _cannot_pull(container: Mapping[str, Any]) -> bool:
    return container.get("state", {}).get("waiting", {}).get("reason") in ("ErrImagePull", "ImagePullBackOff")


def redis(at: Installation) -> Check:
    """Whether Redis runs and its volume is bound. One that others run is left to the operator, which is not ready
    without it.
    """
    if at.workload("redis") is None and at.redis_host and at.redis_host.partition(".")[0] not in at.services():
        return Check("Redis", "ok", f"{at.redis_host}, which others run")
    found = _workload(at, "Redis", "redis")
    if found.status != "ok":
        return found
    claims = at.kubectl.items("persistentvolumeclaim", "-n", at.namespace)
    unbound = [claim["metadata"]["name"] for claim in claims if claim["status"].get("phase") != "Bound"]
    if unbound:
        return Check(
            "Redis", "missing", f"{unbound[0]} is not bound", "set a default StorageClass, or storageClassName"
        )
    return found


def leaderboard(at: Installation) -> Check:
    """Whether the leaderboard runs."""
    return _workload(at, "leaderboard", "leaderboard")


def restricted(at: Installation) -> Check:
    """Whether the namespace enforces Pod Security's restricted profile."""
    found = at.kubectl.json("get", "namespace", at.namespace)
    level = found["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce")
    if level != "restricted":
        fix = command("kubectl", "label", "namespace", at.namespace, "pod-security.kubernetes.io/enforce=restricted")
        return Check("pod security", "warning", f"{at.namespace} enforces {level or 'nothing'}", fix)
    return Check("pod security", "ok", f"{at.namespace} enforces restricted")


def _workload(at: Installation, name: str, component: str) -> Check:
    found, kind = at.workload(component), KINDS[component]
    if found is None:
        return Check(name, "missing", f"there is no {kind} of the {component} in {at.namespace}", _INSTALL)
    workload = found["metadata"]["name"]
    ready, wanted = found.get("status", {}).get("readyReplicas", 0), found["spec"].get("replicas", 1)
    if not ready:
        why = "it is scaled to 0" if not wanted else "none of its pods is ready"
        fix = f"kubectl -n {at.namespace} describe {kind} {workload}, and the log of its pod"
        return Check(name, "missing", why, fix)
    return Check(name, "ok", containers(found)[0]["image"])
