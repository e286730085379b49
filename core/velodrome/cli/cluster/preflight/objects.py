"""Checks the objects that a job names: claims, ConfigMaps, Secrets, classes, a service account, a queue."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from velodrome.cli.cluster.kubectl import Kubectl
from velodrome.cli.cluster.preflight.needs import QUEUE_LABEL, ClaimedVolume, NamedObject, PodNeeds
from velodrome.cli.cluster.preflight.quantities import quantity, shown
from velodrome.machine.checks import Check
from velodrome.spec import BenchmarkJob
from velodrome.spec.volumes import ARTIFACTS_FOLDER
from velodrome.text import command

Raw = Mapping[str, Any]

# The versions of Kubernetes that have image volumes behind a feature gate, and without.
_GATED, _USUAL = (1, 33), (1, 35)
_NAMES = {"configmap": "ConfigMap", "secret": "Secret"}  # the names of kinds # nosec B105
# Prints the names of the keys alone: no value of a Secret is shown or kept.
_KEYS_OF = '{{range $key, $value := .PART}}{{$key}}{{"\\n"}}{{end}}'
_KEYS = "".join(_KEYS_OF.replace("PART", part) for part in ("data", "binaryData"))


def volume_checks(kubectl: Kubectl, namespace: str, job: BenchmarkJob, needs: PodNeeds) -> Iterator[Check]:
    """Whether the claims are there and bound, whether all pods may mount them at once, whether images may be volumes,
    and whether what trials keep outlives their pods.
    """
    if any(volume.image is not None for volume in job.spec.runner.volumes or ()):
        yield _image_volumes(kubectl)
    for claim in needs.claims:
        found = kubectl.found("persistentvolumeclaim", claim.name, "-n", namespace)
        if found is None:
            words = f"there is no PersistentVolumeClaim {claim.name} in {namespace} ({claim.field})"
            yield Check("volumes", "missing", words, "create it, or correct the name")
        else:
            yield _claim(kubectl, claim, found, needs)
    if _lost_with_pods(job):
        words = "spec.artifacts has no claimName: checkpoints and kept files are lost with their pod"
        yield Check("volumes", "warning", words, "write spec.artifacts.claimName")


def _lost_with_pods(job: BenchmarkJob) -> bool:
    """Whether trials keep files where only their own pods can see them."""
    artifacts = job.spec.artifacts
    if artifacts is None or artifacts.claim_name is not None:
        return False
    lasting = (volume.mount_path for volume in job.spec.runner.volumes or () if volume.empty_dir is None)
    return not any(f"{ARTIFACTS_FOLDER}/".startswith(f"{path}/") for path in lasting)


def _image_volumes(kubectl: Kubectl) -> Check:
    version = json.loads(kubectl.text("version", "-o", "json"))["serverVersion"]
    numbers = tuple(int("".join(filter(str.isdigit, str(version.get(part))))) for part in ("major", "minor"))
    said = f"Kubernetes {version['gitVersion']}"
    if numbers < _GATED:
        fix = "upgrade it, or put the files into the runner's image"
        return Check("volumes", "missing", f"{said} has no image volumes", fix)
    if numbers < _USUAL:
        fix = "turn on the feature gate ImageVolume, or put the files into the runner's image"
        return Check("volumes", "warning", f"{said} has image volumes only behind a feature gate", fix)
    return Check("volumes", "ok", f"{said} has image volumes")


def _claim(kubectl: Kubectl, claim: ClaimedVolume, found: Raw, needs: PodNeeds) -> Check:
    modes = found.get("status", {}).get("accessModes") or found["spec"].get("accessModes") or []
    if found.get("status", {}).get("phase") != "Bound":
        name = found["spec"].get("storageClassName") or ""
        storage = kubectl.found("storageclass", name) if name else None
        if storage is None or storage.get("volumeBindingMode") != "WaitForFirstConsumer":
            fix = command(
                "kubectl", "describe", "persistentvolumeclaim", claim.name, "-n", found["metadata"]["namespace"]
            )
            phase = found.get("status", {}).get("phase")
            return Check("volumes", "missing", f"{claim.name} is {phase} and not bound ({claim.field})", fix)
    if claim.written and set(modes) == {"ReadOnlyMany"}:
        fix = "leave readOnly out, or use a claim of another access mode"
        return Check("volumes", "missing", f"{claim.name} can only be read ({claim.field})", fix)
    fix = f"use a claim of {'' if claim.written else 'ReadOnlyMany or '}ReadWriteMany, or write {_alone(needs)}"
    if needs.pods > 1 and set(modes) == {"ReadWriteOncePod"}:
        return Check("volumes", "missing", f"one pod at a time may mount {claim.name} ({claim.field})", fix)
    if needs.pods > 1 and set(modes) <= {"ReadWriteOnce", "ReadWriteOncePod"}:
        return Check("volumes", "warning", f"one node at a time may mount {claim.name}: the other pods wait", fix)
    phase = "bound" if found["status"].get("phase") == "Bound" else "bound when the first pod starts"
    return Check("volumes", "ok", f"{claim.name} is {phase}, {', '.join(modes)}")


def _alone(needs: PodNeeds) -> str:
    """What to write so that one pod runs at a time."""
    return "spec.execution.parallelism: 1" + (" and spec.runner.nodes: 1" if needs.per_trial > 1 else "")


def object_checks(kubectl: Kubectl, namespace: str, needs: PodNeeds) -> Iterator[Check]:
    """Whether the ConfigMaps and Secrets are there, with the keys that pods read. Values are not looked at."""
    for each in needs.objects:
        yield _object(kubectl, namespace, each)


def _object(kubectl: Kubectl, namespace: str, each: NamedObject) -> Check:
    name = f"{_NAMES[each.kind]}s"
    if not kubectl.may("get", f"{each.kind}/{each.name}", "-n", namespace):
        words = f"you may not look at {_NAMES[each.kind]} {each.name}, which {each.field} names"
        return Check(name, "warning", words, "ask somebody who may whether it is there")
    found = kubectl.found_text("get", each.kind, each.name, "-n", namespace, "-o", f"go-template={_KEYS}")
    if found is None:
        fix = command("kubectl", "create", *_creation(each), "-n", namespace)
        return Check(name, "missing", f"there is no {_NAMES[each.kind]} {each.name} in {namespace} ({each.field})", fix)
    lacking = sorted(each.keys - set(found.split("\n")))
    if lacking:
        fix = command("kubectl", "edit", each.kind, each.name, "-n", namespace)
        return Check(name, "missing", f"{each.name} has no key {', '.join(lacking)} ({each.field})", fix)
    return Check(name, "ok", f"{each.name} is there")


def _creation(each: NamedObject) -> tuple[str, ...]:
    keys = [f"--from-literal={key}=…" for key in sorted(each.keys)]
    if each.field.startswith("spec.runner.imagePullSecrets"):
        return (
            "secret",
            "docker-registry",
            each.name,
            "--docker-server=…",
            "--docker-username=…",
            "--docker-password=…",
        )
    return (each.kind, *(["generic"] if each.kind == "secret" else []), each.name, *keys)


def class_checks(kubectl: Kubectl, namespace: str, job: BenchmarkJob) -> Iterator[Check]:
    """Whether the priority class, the runtime class and the service account are there."""
    runner = job.spec.runner
    for name, kind, wanted, field, where in (
        ("priority class", "priorityclass", runner.priority_class_name, "priorityClassName", ()),
        ("runtime class", "runtimeclass", runner.runtime_class_name, "runtimeClassName", ()),
        ("service account", "serviceaccount", runner.service_account_name, "serviceAccountName", ("-n", namespace)),
    ):
        if wanted is None:
            continue
        if kubectl.found(kind, wanted, *where) is None:
            have = [str(item["metadata"]["name"]) for item in kubectl.items(kind, *where)]
            fix = (
                f"one of: {', '.join(sorted(have)[:10])}; or create it" if have else "create it, or leave the field out"
            )
            yield Check(name, "missing", f"there is no {name} {wanted} (spec.runner.{field})", fix)
        else:
            yield Check(name, "ok", wanted)


def device_claim_checks(kubectl: Kubectl, namespace: str, job: BenchmarkJob) -> Iterator[Check]:
    """Whether the claims of Dynamic Resource Allocation are there, and their device classes."""
    for index, claim in enumerate(job.spec.runner.resource_claims or ()):
        shared = claim.resource_claim_name
        kind = "resourceclaim" if shared is not None else "resourceclaimtemplate"
        wanted = shared or claim.resource_claim_template_name or ""
        found = kubectl.found(kind, wanted, "-n", namespace)
        if found is None:
            words = f"there is no {kind} {wanted} in {namespace} (spec.runner.resourceClaims[{index}])"
            fix = "create it; a cluster needs Dynamic Resource Allocation and a driver: velodrome doctor --cluster"
            yield Check("device claims", "missing", words, fix)
            continue
        spec = found["spec"] if shared is not None else found["spec"].get("spec", {})
        lacking = [name for name in _device_classes(spec) if kubectl.found("deviceclass", name) is None]
        if lacking:
            fix = "install the driver that brings it, or name another class in the claim"
            yield Check(
                "device claims", "missing", f"{wanted} wants the device class {lacking[0]}, which is not there", fix
            )
        else:
            yield Check("device claims", "ok", f"{wanted} is there")


def _device_classes(spec: Raw) -> list[str]:
    """The device classes that a claim names. A newer API has them one level deeper."""
    requests = (spec.get("devices") or {}).get("requests") or []
    options = [
        each
        for request in requests
        for each in (request, request.get("exactly") or {}, *(request.get("firstAvailable") or ()))
    ]
    return sorted({str(each["deviceClassName"]) for each in options if each.get("deviceClassName")})


def queue_checks(kubectl: Kubectl, namespace: str, job: BenchmarkJob, needs: PodNeeds) -> Iterator[Check]:
    """Whether Kueue's queue is there and active, and whether it could ever admit a trial."""
    queue = job.metadata.labels.get(QUEUE_LABEL)
    if queue is None:
        return
    found = kubectl.found("localqueues.kueue.x-k8s.io", queue, "-n", namespace)
    if found is None:
        fix = f"create it, correct the label {QUEUE_LABEL}, or install Kueue"
        yield Check(
            "queue", "missing", f"there is no LocalQueue {queue} in {namespace}: the race would wait forever", fix
        )
        return
    name = str(found["spec"].get("clusterQueue"))
    cluster = kubectl.found("clusterqueues.kueue.x-k8s.io", name)
    if cluster is None:
        yield Check(
            "queue", "missing", f"LocalQueue {queue} leads to ClusterQueue {name}, which is not there", "create it"
        )
        return
    for kind, each in ((f"LocalQueue {queue}", found), (f"ClusterQueue {name}", cluster)):
        active = next((c for c in each.get("status", {}).get("conditions") or () if c["type"] == "Active"), None)
        if active is None or active["status"] != "True":
            said = (active or {}).get("message") or "it reports no condition Active"
            yield Check(
                "queue", "missing", f"{kind} is not active: {said}", f"kubectl describe {kind.split()[0].lower()}"
            )
            return
    yield _admission(queue, name, cluster, needs)


def _admission(queue: str, name: str, cluster: Raw, needs: PodNeeds) -> Check:
    """Whether the flavors of a ClusterQueue have as much of each resource as the pods that run at once need."""
    most: dict[str, Decimal] = {}
    for group in cluster["spec"].get("resourceGroups") or ():
        for flavor in group.get("flavors") or ():
            for resource in flavor.get("resources") or ():
                amount = quantity(resource.get("nominalQuota", 0)) + quantity(resource.get("borrowingLimit") or 0)
                most[resource["name"]] = max(amount, most.get(resource["name"], Decimal(0)))
    lends = bool(cluster["spec"].get("cohortName") or cluster["spec"].get("cohort"))
    for resource, amount in needs.requests.items():
        wanted = amount * needs.pods
        if resource not in most:
            fix = "add it to the resourceGroups of the ClusterQueue, or don't ask for it"
            return Check("queue", "missing", f"ClusterQueue {name} has no quota for {resource}", fix)
        if wanted > most[resource] and not lends:
            found = f"ClusterQueue {name} has {shown(most[resource], resource)} of {resource}, the race needs"
            fix = "write a smaller spec.execution.parallelism, ask for less, or raise the quota"
            return Check("queue", "missing", f"{found} {shown(wanted, resource)} at once", fix)
    return Check("queue", "ok", f"LocalQueue {queue} is active, ClusterQueue {name} can admit the race")
