"""Checks what one BenchmarkJob needs of a cluster: each check names what it found, and the fix. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from velodrome.board.tenancy import BoardPolicy, parse_rule, refusal
from velodrome.cli.cluster.checks import api_server
from velodrome.cli.cluster.installation import Installation
from velodrome.cli.cluster.kubectl import BENCHMARKJOBS, Kubectl
from velodrome.cli.cluster.preflight.images import image_checks
from velodrome.cli.cluster.preflight.needs import PodNeeds, init_containers, needs_of
from velodrome.cli.cluster.preflight.objects import (
    class_checks,
    device_claim_checks,
    object_checks,
    queue_checks,
    volume_checks,
)
from velodrome.cli.cluster.preflight.places import node_checks, quota_checks
from velodrome.cli.registry.client import Registries
from velodrome.errors import ClusterError
from velodrome.machine.checks import Check
from velodrome.plan import Plan
from velodrome.results.registration import stored_document
from velodrome.spec import BenchmarkJob
from velodrome.text import command


@dataclass(frozen=True, slots=True)
class Preflight:
    """One job that is to race in a namespace of a cluster, and what asks about it."""

    kubectl: Kubectl
    installation: Installation
    registries: Registries
    plan: Plan
    needs: PodNeeds
    namespace: str

    @property
    def job(self) -> BenchmarkJob:
        """The job."""
        return self.plan.job


Look = Callable[[Preflight], Iterator[Check]]


def examine_job(plan: Plan, kubectl: Kubectl, installed_in: str, registries: Registries) -> list[Check]:
    """The results of all checks of one job, in the order in which its race needs these things.

    If no API server answers, or if the namespace is not there, only what was found so far.
    """
    at = Installation(kubectl, installed_in)
    first = api_server(at)
    if first.status == "missing":
        return [first]
    namespace = kubectl.namespace or plan.job.metadata.namespace or _usual_namespace(kubectl)
    here = Preflight(kubectl, at, registries, plan, needs_of(plan), namespace)
    found = list(_guarded("namespace", namespace_checks, here))
    if found[0].status == "missing":
        return [first, *found]
    looks: Sequence[tuple[str, Look]] = (
        ("object", _object),
        ("operator", _operator),
        ("board", _board),
        ("quota", lambda at: quota_checks(at.kubectl, at.namespace, at.job, at.needs)),
        ("nodes", lambda at: node_checks(at.kubectl, at.job, at.needs)),
        ("volumes", lambda at: volume_checks(at.kubectl, at.namespace, at.job, at.needs)),
        ("ConfigMaps and Secrets", lambda at: object_checks(at.kubectl, at.namespace, at.needs)),
        ("classes", lambda at: class_checks(at.kubectl, at.namespace, at.job)),
        ("device claims", lambda at: device_claim_checks(at.kubectl, at.namespace, at.job)),
        ("queue", lambda at: queue_checks(at.kubectl, at.namespace, at.job, at.needs)),
        ("images", lambda at: image_checks(at.kubectl, at.installation, at.registries, at.job, at.needs)),
    )
    return [first, *found, *(check for name, look in looks for check in _guarded(name, look, here))]


def _guarded(name: str, look: Look, at: Preflight) -> Iterator[Check]:
    try:
        yield from look(at)
    except ClusterError as error:
        yield Check(name, "warning", f"can't be looked at: {error.said}", error.fix)


def _usual_namespace(kubectl: Kubectl) -> str:
    """The namespace in which kubectl would apply a file that names none."""
    return kubectl.text("config", "view", "--minify", "-o", "jsonpath={..namespace}").strip() or "default"


def namespace_checks(at: Preflight) -> Iterator[Check]:
    """Whether the namespace is there, and whether its Pod Security admits the pods."""
    found = at.kubectl.found("namespace", at.namespace)
    if found is None:
        fix = command("kubectl", "create", "namespace", at.namespace)
        yield Check("namespace", "missing", f"there is no namespace {at.namespace}", fix)
        return
    if found.get("status", {}).get("phase") == "Terminating":
        fix = "wait until it is gone, and create it again"
        yield Check("namespace", "missing", f"{at.namespace} is being deleted", fix)
        return
    level = (found["metadata"].get("labels") or {}).get("pod-security.kubernetes.io/enforce") or "nothing"
    yield Check("namespace", "ok", at.namespace)
    yield Check("pod security", "ok", f"{at.namespace} enforces {level}; the pods pass restricted")


def _object(at: Preflight) -> Iterator[Check]:
    """Whether the API server would take the object from this person."""
    lacking = [verb for verb in ("create", "get") if not at.kubectl.may(verb, BENCHMARKJOBS, "-n", at.namespace)]
    if lacking:
        found = f"you may not {' and '.join(lacking)} BenchmarkJobs in {at.namespace}"
        yield Check("your rights", "missing", found, "ask an administrator for them")
        return
    document: dict[str, Any] = stored_document(at.job)
    document["metadata"] |= {"namespace": at.namespace}
    try:
        said = at.kubectl.text(
            "apply", "--dry-run=server", "-n", at.namespace, "-f", "-", "-o", "name", stdin=json.dumps(document)
        )
    except ClusterError as error:
        fix = error.fix or "correct it; velodrome validate names lines, and doctor --cluster looks at the CRD"
        yield Check("object", "missing", f"the API server refuses it: {error.said}", fix)
        return
    yield Check("object", "ok", f"the API server takes {said.strip() or at.job.metadata.name}")


def _operator(at: Preflight) -> Iterator[Check]:
    """Whether an operator runs that watches the namespace and allows what the job wants."""
    found = at.installation.workload("operator")
    if found is None or not found.get("status", {}).get("readyReplicas"):
        where = at.installation.namespace
        fix = "velodrome doctor --cluster says what is wrong; --installed-in names another namespace"
        yield Check("operator", "missing", f"no operator is ready in {where}", fix)
        return
    watched = at.installation.arguments("--namespace")
    if watched and at.namespace not in watched:
        names = ", ".join(watched)
        found_words = f"the operator of {at.installation.namespace} watches {names} alone"
        yield Check("operator", "missing", found_words, f"race in {names}, or have it watch {at.namespace}")
        return
    yield from _allowed(at)


def _allowed(at: Preflight) -> Iterator[Check]:
    """Whether the operator was told to run what the job wants of it."""
    if init_containers(at.job) and at.installation.argument("--allow-init-containers") is None:
        fix = "put what they do into the image, or ask for an operator with --allow-init-containers"
        yield Check("operator", "missing", "it allows no init containers, and the template has some", fix)
    else:
        yield Check("operator", "ok", f"ready in {at.installation.namespace}")


def _board(at: Preflight) -> Iterator[Check]:
    """Whether the operator lets this namespace write to the job's board. Who owns a board, only its Redis knows."""
    try:
        rules = tuple(map(parse_rule, at.installation.arguments("--board")))
    except ValueError as error:  # an operator of another version
        yield Check("board", "warning", f"the operator's rules can't be read: {error}", "look at its arguments")
        return
    owned = at.installation.argument("--boards") == "owned"
    policy = BoardPolicy("owned" if owned else "shared", rules)
    board = at.job.board
    refused = refusal(policy, board, at.namespace, None)
    if refused is not None:
        yield Check("board", "missing", f"board {board} takes no results of {at.namespace}", refused.fix)
        return
    whose = (
        "of the namespace whose race writes to it first" if policy.goes_by_owner(board) else "open to this namespace"
    )
    yield Check("board", "ok", f"{board} is {whose}")
