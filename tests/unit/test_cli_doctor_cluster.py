"""`velodrome doctor --cluster`: what it says of recorded installations, and of what a security review looks at."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tests.unit.recorded import World
from velodrome.cli.app import app
from velodrome.cli.cluster import kubectl
from velodrome.connections import certificates

Objects = list[dict[str, Any]]
Checks = dict[str, dict[str, str]]
RUNNER = "registry.example/runner@sha256:" + "a" * 64
DEPLOY = Path(__file__).parents[2] / "deploy"
REVIEWED = {
    "network policies", "trials' network", "Redis' users", "encryption", "disruption budgets", "resources", "quotas",
    "results", "operator's reach",
}  # fmt: skip
ACCOUNT = "system:serviceaccount:velodrome:race-operator"
RIGHTS = (
    "update benchmarkjobs.velodrome.dev", "watch benchmarkjobs.velodrome.dev", "create jobs.batch", "patch jobs.batch",
    "watch pods", "create configmaps", "create secrets", "create services", "create events.events.k8s.io",
)  # fmt: skip


def thing(kind: str, name: str, namespace: str | None = "velodrome", **parts: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, **parts}


def workload(kind: str, component: str, pod: dict[str, Any], container: dict[str, Any]) -> dict[str, Any]:
    resources = {"requests": {"cpu": "50m"}, "limits": {"memory": "512Mi"}}
    template = {
        "metadata": {"labels": {"app.kubernetes.io/component": component, "app.kubernetes.io/instance": "race"}},
        "spec": {**pod, "containers": [{"image": component, "resources": resources, **container}]},
    }
    spec: dict[str, Any] = {"replicas": 1, "template": template}
    if component == "redis":
        spec["volumeClaimTemplates"] = [{"metadata": {"name": "data"}}]
    return thing(kind, f"race-{component}", spec=spec, status={"readyReplicas": 1})


def password(user: str) -> dict[str, Any]:
    secret = {"name": "race-redis", "items": [{"key": f"{user}-password", "path": "password"}]}
    return {"volumes": [{"name": "access", "projected": {"sources": [{"secret": secret}]}}]}


def policy(name: str, namespace: str, labels: dict[str, str], *types: str) -> dict[str, Any]:
    return thing(
        "NetworkPolicy", name, namespace, spec={"podSelector": {"matchLabels": labels}, "policyTypes": [*types]}
    )


def installation() -> Objects:
    """An installation with which a security review is content."""
    account = {"serviceAccountName": "race-operator"}
    all_pods = {"selector": {"matchLabels": {"app.kubernetes.io/instance": "race"}}}
    url = [{"name": "VELODROME_REDIS_URL", "value": "rediss://race-redis:6379/0"}]
    arguments = {"args": [f"--runner-image={RUNNER}"], "env": url}
    served = {"versions": [{"name": "v1alpha1", "served": True}]}
    established = {"conditions": [{"type": "Established", "status": "True"}]}
    guard = thing("ValidatingAdmissionPolicy", "race", None)
    guard["metadata"]["labels"] = {"app.kubernetes.io/name": "velodrome"}
    namespace = thing("Namespace", "velodrome", None)
    namespace["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "restricted"}
    return copy.deepcopy(
        [
            thing("CRD", "benchmarkjobs.velodrome.dev", None, spec=served, status=established),
            namespace,
            guard,
            workload("Deployment", "operator", {**account, **password("operator")}, arguments),
            workload("Deployment", "leaderboard", password("leaderboard"), {"env": url}),
            workload("StatefulSet", "redis", {}, {}),
            thing("Service", "race-redis"),
            policy("all", "velodrome", {}, "Ingress", "Egress"),
            policy("trials", "team", {"velodrome.dev/role": "runner"}, "Egress"),
            thing("PodDisruptionBudget", "all", spec=all_pods),
            thing("BenchmarkJob", "digits", "team"),
            thing("ResourceQuota", "team", "team"),
            thing("PersistentVolumeClaim", "data-race-redis-0", spec={"volumeName": "pv1"}, status={"phase": "Bound"}),
            thing("PersistentVolume", "pv1", None, spec={"persistentVolumeReclaimPolicy": "Retain"}),
            thing("Node", "n1", None, status={"allocatable": {"nvidia.com/gpu": "8"}}),
        ]
    )  # fmt: skip


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Checks]:
    def one(
        objects: Objects, *more: str, rights: tuple[str, ...] = RIGHTS, account: str = ACCOUNT, **options: Any
    ) -> Checks:
        allowed = {account: [each for right in rights for each in (right, f"{right} -A")] + list(more)}
        monkeypatch.setattr(kubectl, "Kubectl", World(objects, may_as=allowed, **options).kubectl)
        done = CliRunner().invoke(app, ["doctor", "--cluster", "--json"])
        assert done.exit_code in (0, 3), (done.output, done.exception)
        found = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
        for each in found.values():
            assert bool(each["fix"]) == (each["status"] != "ok"), each
        return found

    return one


Doctor = Callable[..., Checks]


def of(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    return next(each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name))


def container(objects: Objects, kind: str, name: str) -> Any:
    return of(objects, kind, name)["spec"]["template"]["spec"]["containers"][0]


def without(objects: Objects, kind: str) -> Objects:
    return [each for each in objects if each["kind"] != kind]


def test_an_installation_that_is_hardened_is_all_ok(doctor: Doctor) -> None:
    found = doctor(installation())
    assert {name: each for name, each in found.items() if each["status"] != "ok"} == {}
    assert {*REVIEWED, "certificate", "GPUs", "pod security"} <= found.keys()


def test_what_the_project_ships_is_hardened(doctor: Doctor) -> None:
    """The doctor and the manifests are held to the same list."""
    objects = [each for each in yaml.safe_load_all((DEPLOY / "install.yaml").read_text(encoding="utf-8")) if each]
    for each in objects:
        if each["kind"] in ("Deployment", "StatefulSet"):
            each["status"] = {"readyReplicas": 1}
    volume = {"persistentVolumeReclaimPolicy": "Retain"}
    name = "data-velodrome-redis-0"
    objects += [
        thing("Namespace", "velodrome", None),
        thing("PersistentVolumeClaim", name, spec={"volumeName": "pv1"}, status={"phase": "Bound"}),
        thing("PersistentVolume", "pv1", None, spec=volume),
    ]
    found = doctor(objects, account="system:serviceaccount:velodrome:velodrome-operator")
    assert {name: found[name]["found"] for name in REVIEWED if found[name]["status"] != "ok"} == {}
    assert found["Redis' users"]["found"] == "the leaderboard and the operator have passwords of their own"


def only(found: Checks, name: str, says: str) -> None:
    """That one warning was found, in these words."""
    assert [each["name"] for each in found.values() if each["status"] != "ok"] == [name]
    assert found[name]["status"] == "warning"
    assert says in found[name]["found"]


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("PodDisruptionBudget", "disruption budgets", "operator, leaderboard, redis"),
        ("ResourceQuota", "quotas", "races may take the whole cluster, in team"),
        ("ValidatingAdmissionPolicy", "operator's reach", "may create jobs.batch and secrets in every namespace"),
        ("Node", "GPUs", "no device plugin and no DRA driver runs; no RuntimeClass leads to the runtime nvidia"),
    ],
)
def test_what_is_not_there_is_a_warning(doctor: Doctor, kind: str, name: str, says: str) -> None:
    only(doctor(without(installation(), kind)), name, says)


def test_a_component_without_a_policy_is_named(doctor: Doctor) -> None:
    objects = installation()
    of(objects, "NetworkPolicy", "all")["spec"]["podSelector"] = {
        "matchExpressions": [{"key": "app.kubernetes.io/component", "operator": "NotIn", "values": ["redis"]}]
    }
    only(doctor(objects), "network policies", "may connect to: redis")
    of(objects, "NetworkPolicy", "all")["spec"] = {"podSelector": {}, "policyTypes": ["Egress"]}
    only(doctor(objects), "network policies", "may connect to: operator, leaderboard, redis")


def test_trials_that_may_connect_to_anything_are_told(doctor: Doctor) -> None:
    objects = installation()
    of(objects, "NetworkPolicy", "trials")["spec"]["policyTypes"] = ["Ingress"]
    only(doctor(objects), "trials' network", "trials may connect to anything, in team")


def test_a_password_that_two_components_share_is_told(doctor: Doctor) -> None:
    objects = installation()
    for name in ("race-operator", "race-leaderboard"):
        secret = {"valueFrom": {"secretKeyRef": {"name": "race-redis", "key": "password"}}}
        container(objects, "Deployment", name)["env"].append({"name": "REDIS_PASSWORD", **secret})
    only(doctor(objects), "Redis' users", "key password of Secret race-redis")
    again = installation()
    leaderboard = of(again, "Deployment", "race-leaderboard")["spec"]["template"]["spec"]
    leaderboard["volumes"] = password("operator")["volumes"]
    only(doctor(again), "Redis' users", "key operator-password")


def test_a_redis_without_tls_is_told(doctor: Doctor) -> None:
    objects = installation()
    container(objects, "Deployment", "race-operator")["env"][0]["value"] = "redis://:$(PASSWORD)@race-redis:6379/0"
    only(doctor(objects), "encryption", "travel to race-redis in clear")


@pytest.mark.parametrize(("age", "warned"), [(0, False), (3500, False), (3600, True), (4000, True)])
def test_a_certificate_that_ends_soon_is_told_in_time(doctor: Doctor, age: int, *, warned: bool) -> None:
    made = certificates.make(("race-redis",), datetime.now(UTC) - timedelta(days=age))
    content = {"tls.crt": base64.b64encode(made.certificate.encode()).decode()}
    found = doctor([*installation(), thing("Secret", "race-redis", data=content)])
    if warned:
        only(found, "certificate", "is valid for")
        assert "velodrome rotate --cluster --certificate" in found["certificate"]["fix"]
    else:
        assert found["certificate"]["status"] == "ok"


def test_a_component_without_a_limit_is_told(doctor: Doctor) -> None:
    objects = installation()
    container(objects, "StatefulSet", "race-redis")["resources"] = {"requests": {"cpu": "1"}}
    only(doctor(objects), "resources", "no limit for memory: redis")


def test_results_that_go_with_the_namespace_are_told(doctor: Doctor) -> None:
    objects = installation()
    of(objects, "PersistentVolume", "pv1")["spec"]["persistentVolumeReclaimPolicy"] = "Delete"
    found = doctor(objects)
    only(found, "results", "all results are deleted with the namespace velodrome")
    assert "kubectl patch persistentvolume pv1" in found["results"]["fix"]


def test_rights_that_no_operator_needs_are_told(doctor: Doctor) -> None:
    only(doctor(installation(), "list secrets -A", "create pods -A"), "operator's reach", "list secrets, create pods")


def test_an_operator_of_some_namespaces_needs_rights_there_alone(doctor: Doctor) -> None:
    objects = without(installation(), "ValidatingAdmissionPolicy")
    container(objects, "Deployment", "race-operator")["args"] += ["--namespace=a", "--namespace=b"]
    found = doctor(objects, *RIGHTS, rights=())
    assert found["operator's rights"]["status"] == "ok"
    assert found["operator's reach"]["status"] == "ok"
    lacking = doctor(objects, *RIGHTS[1:], rights=())
    assert lacking["operator's rights"]["status"] == "missing"


def test_a_redis_that_others_run_is_taken_for_one(doctor: Doctor) -> None:
    objects = without(without(installation(), "StatefulSet"), "Service")
    container(objects, "Deployment", "race-operator")["env"][0]["value"] = "rediss://redis.example:6379/0"
    found = doctor(objects)
    assert found["Redis"]["found"] == "redis.example, which others run"
    gone = doctor(without(installation(), "StatefulSet"))
    assert gone["Redis"]["status"] == "missing"


def test_nodes_with_gpus_that_nothing_offers_are_told_apart(doctor: Doctor) -> None:
    objects = installation()
    node = of(objects, "Node", "n1")
    node["status"]["allocatable"] = {"cpu": "8"}
    node["metadata"]["labels"] = {"nvidia.com/gpu.present": "true"}
    objects.append(thing("DaemonSet", "nvidia-device-plugin", "kube-system"))
    objects.append(thing("RuntimeClass", "nvidia", None, handler="nvidia"))
    found = doctor(objects)
    only(found, "GPUs", "1 node, none offers nvidia.com/gpu")
    assert "device plugin" not in found["GPUs"]["found"]
    assert "n1 has a GPU" in found["GPUs"]["fix"]


def test_gpus_of_a_dra_driver_and_parts_of_gpus_count(doctor: Doctor) -> None:
    objects = without(installation(), "Node")
    objects.append(thing("Node", "n1", None, status={"allocatable": {"nvidia.com/mig-1g.10gb": "7"}}))
    objects.append(thing("ResourceSlice", "s1", None, spec={"driver": "gpu.nvidia.com"}))
    found = doctor(objects)
    assert found["GPUs"]["found"] == "7 nvidia.com/mig-1g.10gb, 1 resource slice of gpu.nvidia.com on 1 node"


def test_what_a_person_may_not_look_at_is_a_warning(doctor: Doctor) -> None:
    found = doctor(installation(), forbidden=["networkpolicy"], refused=["impersonate serviceaccounts"])
    assert found["network policies"]["status"] == "warning"
    assert found["operator's reach"]["found"] == "you may not ask on its behalf"
