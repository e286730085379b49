"""`velodrome check --cluster`: what it says of recorded clusters, each without one thing that the job needs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tests.unit.recorded import World
from velodrome.cli.app import app
from velodrome.cli.cluster import kubectl
from velodrome.cli.cluster.preflight.quantities import quantity, shown

DIGEST = "sha256:" + "a" * 64
RUNNER = f"registry.example/runner@{DIGEST}"

JOB: dict[str, Any] = {
    "apiVersion": "velodrome.dev/v1alpha1",
    "kind": "BenchmarkJob",
    "metadata": {"name": "race", "namespace": "team", "labels": {"kueue.x-k8s.io/queue-name": "gpu"}},
    "spec": {
        "dataset": {"name": "MNIST", "source": {"persistentVolumeClaim": {"claimName": "datasets"}}},
        "entries": [{"name": "a", "model": {"name": "velodrome/mlp"}}],
        "execution": {"parallelism": 2},
        "runner": {
            "resources": {"requests": {"cpu": 2, "memory": "4Gi"}, "limits": {"nvidia.com/gpu": 1, "memory": "8Gi"}},
            "nodeSelector": {"gpu": "h200"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "priorityClassName": "batch",
            "runtimeClassName": "nvidia",
            "serviceAccountName": "trainer",
            "imagePullSecrets": [{"name": "pull"}],
            "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}],
            "envFrom": [{"configMapRef": {"name": "tuning"}}, {"secretRef": {"name": "never", "optional": True}}],
            "volumes": [
                {"name": "out", "mountPath": "/out", "readOnly": False, "persistentVolumeClaim": {"claimName": "out"}},
                {
                    "name": "files",
                    "mountPath": "/files",
                    "configMap": {"name": "tuning", "items": [{"key": "a.yaml", "path": "a.yaml"}]},
                },
            ],
            "resourceClaims": [{"name": "link", "resourceClaimTemplateName": "fabric"}],
        },
    },
}


def thing(kind: str, name: str, namespace: str | None = None, **parts: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, **parts}


def claim(name: str, mode: str, phase: str = "Bound", storage: str = "fast") -> dict[str, Any]:
    spec = {"accessModes": [mode], "storageClassName": storage}
    return thing("PersistentVolumeClaim", name, "team", spec=spec, status={"phase": phase, "accessModes": [mode]})


def node(name: str, gpus: int = 8) -> dict[str, Any]:
    made = thing(
        "Node",
        name,
        spec={"taints": [{"key": "gpu", "effect": "NoSchedule"}]},
        status={
            "allocatable": {"cpu": "64", "memory": "512Gi", "nvidia.com/gpu": str(gpus)},
            "conditions": [{"type": "Ready", "status": "True"}],
            "images": [{"names": [f"registry.example/runner:v1@{DIGEST}", "registry.example/runner:v1"]}],
        },
    )
    made["metadata"]["labels"] = {"gpu": "h200"}
    return made


ACTIVE = {"conditions": [{"type": "Active", "status": "True"}]}
FLAVORS = [
    {"name": "cpu", "nominalQuota": 100},
    {"name": "memory", "nominalQuota": "1Ti"},
    {"name": "nvidia.com/gpu", "nominalQuota": 8},
]
OPERATOR = thing(
    "Deployment",
    "some-release",
    "velodrome",
    spec={
        "template": {
            "metadata": {"labels": {"app.kubernetes.io/component": "operator"}},
            "spec": {
                "containers": [
                    {
                        "args": ["--runner-image=$(RUNNER_IMAGE)"],
                        "env": [
                            {"name": "RUNNER_IMAGE", "valueFrom": {"configMapKeyRef": {"name": "images", "key": "r"}}}
                        ],
                    }
                ]
            },
        }
    },
    status={"readyReplicas": 1},
)


def world() -> list[dict[str, Any]]:
    """A cluster that has everything."""
    return copy.deepcopy(
        [
            thing("Namespace", "team", status={"phase": "Active"}),
            OPERATOR,
            thing("ConfigMap", "images", "velodrome", data={"r": RUNNER}),
            thing("ResourceQuota", "team", "team", status={"hard": {"pods": "10"}, "used": {"pods": "1"}}),
            node("n1"),
            node("n2"),
            claim("datasets", "ReadOnlyMany"),
            claim("out", "ReadWriteMany"),
            thing("StorageClass", "fast", volumeBindingMode="Immediate"),
            thing("StorageClass", "late", volumeBindingMode="WaitForFirstConsumer"),
            thing("Secret", "hub", "team", data={"token": "c2VjcmV0"}),
            thing("Secret", "pull", "team", data={".dockerconfigjson": "e30="}),
            thing("ConfigMap", "tuning", "team", data={"a.yaml": "", "B": "2"}),
            thing("PriorityClass", "batch", value=1),
            thing("RuntimeClass", "nvidia", handler="nvidia"),
            thing("ServiceAccount", "trainer", "team"),
            thing(
                "ResourceClaimTemplate",
                "fabric",
                "team",
                spec={"spec": {"devices": {"requests": [{"exactly": {"deviceClassName": "link.example"}}]}}},
            ),
            thing("DeviceClass", "link.example"),
            thing("LocalQueue", "gpu", "team", spec={"clusterQueue": "all"}, status=ACTIVE),
            thing(
                "ClusterQueue",
                "all",
                spec={"resourceGroups": [{"flavors": [{"name": "default", "resources": FLAVORS}]}]},
                status=ACTIVE,
            ),
        ]
    )


Found = dict[str, list[dict[str, str]]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Found]:
    """Checks a job against recorded objects; the exit code must be what the checks say. By check, what was found."""

    def one(objects: list[dict[str, Any]], job: Any = JOB, **options: Any) -> Found:
        monkeypatch.setattr(kubectl, "Kubectl", World(objects, **options).kubectl)
        path = tmp_path / "job.yaml"
        path.write_text(yaml.safe_dump(job))
        done = CliRunner().invoke(app, ["check", str(path), "--cluster", "--json"])
        assert done.exit_code in (0, 3), (done.output, done.exception)
        (checks,) = json.loads(done.stdout)["jobs"].values()
        assert (done.exit_code == 3) == any(each["status"] == "missing" for each in checks)
        assert "c2VjcmV0" not in done.output, "the value of a Secret"
        found: Found = {}
        for each in checks:
            assert bool(each["fix"]) == (each["status"] != "ok"), each
            found.setdefault(each["name"], []).append(each)
        return found

    return one


Checker = Callable[..., Found]


def test_a_cluster_that_has_everything_is_ok(check: Checker) -> None:
    found = check(world())
    assert [each for checks in found.values() for each in checks if each["status"] != "ok"] == []
    assert set(found) == {
        "API server", "namespace", "pod security", "object", "operator", "board", "quota", "devices", "nodes",
        "volumes", "ConfigMaps", "Secrets", "priority class", "runtime class", "service account", "device claims",
        "queue", "images",
    }  # fmt: skip
    assert found["images"][0]["found"] == f"{RUNNER}: on 2 nodes"
    assert found["devices"][0]["found"] == "16 of nvidia.com/gpu on 2 nodes"


def without(kind: str, name: str) -> Callable[[list[dict[str, Any]]], None]:
    def change(objects: list[dict[str, Any]]) -> None:
        before = len(objects)
        objects[:] = [each for each in objects if (each["kind"], each["metadata"]["name"]) != (kind, name)]
        assert len(objects) == before - 1

    return change


def instead(made: dict[str, Any]) -> Callable[[list[dict[str, Any]]], None]:
    def change(objects: list[dict[str, Any]]) -> None:
        metadata = made["metadata"]
        objects[:] = [
            each for each in objects if (each["kind"], each["metadata"]["name"]) != (made["kind"], metadata["name"])
        ]
        objects.append(made)

    return change


def nodes(**change: Any) -> Callable[[list[dict[str, Any]]], None]:
    def changed(objects: list[dict[str, Any]]) -> None:
        for each in objects:
            if each["kind"] == "Node":
                for path, value in change.items():
                    first, _, second = path.partition("__")
                    each[first][second] = value

    return changed


QUOTA = ("ResourceQuota", "team", "team")
INACTIVE = {"conditions": [{"type": "Active", "status": "False", "message": "its flavor is not there"}]}


@pytest.mark.parametrize(
    ("change", "name", "status", "says"),
    [
        (without("Namespace", "team"), "namespace", "missing", "there is no namespace team"),
        (
            instead(thing("Namespace", "team", status={"phase": "Terminating"})),
            "namespace", "missing", "is being deleted",
        ),
        (without("Deployment", "some-release"), "operator", "missing", "no operator is ready in velodrome"),
        (
            instead(thing(*QUOTA, status={"hard": {"requests.nvidia.com/gpu": "0"}})),
            "quota", "missing", "a trial needs 1 of requests.nvidia.com/gpu, the quota has 0",
        ),
        (
            instead(thing(*QUOTA, status={"hard": {"memory": "8Gi"}, "used": {"memory": "6Gi"}})),
            "quota", "warning", "a trial needs 4Gi of memory, 2Gi are free: it waits",
        ),
        (
            instead(thing(*QUOTA, status={"hard": {"pods": "2"}, "used": {"pods": "1"}})),
            "quota", "warning", "a trial needs 1 of pods: 1 trial runs at once",
        ),
        (
            instead(thing(*QUOTA, status={"hard": {"limits.cpu": "100"}})),
            "quota", "missing", "demands limits.cpu of every pod",
        ),
        (
            instead(thing("LimitRange", "r", "team", spec={"limits": [{"type": "Pod", "max": {"memory": "1Gi"}}]})),
            "quota", "missing", "allows 1Gi of memory, a pod asks for 8Gi",
        ),
        (
            nodes(status__allocatable={"cpu": "64", "memory": "512Gi", "amd.com/gpu": "8"}),
            "devices", "missing", "no node offers nvidia.com/gpu; they offer amd.com/gpu",
        ),
        (nodes(metadata__labels={}), "nodes", "missing", "2 without the label gpu=h200 (spec.runner.nodeSelector)"),
        (
            nodes(spec__taints=[{"key": "dedicated", "value": "a", "effect": "NoExecute"}]),
            "nodes", "missing", "2 with the taint dedicated=a:NoExecute (spec.runner.tolerations)",
        ),
        (
            nodes(status__allocatable={"cpu": "1", "memory": "512Gi", "nvidia.com/gpu": "8"}),
            "nodes", "missing", "2 with less than 2 of cpu (it has 1)",
        ),
        (nodes(status__conditions=[{"type": "Ready", "status": "Unknown"}]), "nodes", "missing", "2 not ready"),
        (without("Node", "n2"), "nodes", "warning", "1 node may run pods: 1 trial runs at once, 2 are wanted"),
        (without("PersistentVolumeClaim", "datasets"), "volumes", "missing", "no PersistentVolumeClaim datasets"),
        (
            instead(claim("datasets", "ReadOnlyMany", "Pending")),
            "volumes", "missing", "datasets is Pending and not bound (spec.dataset.source.persistentVolumeClaim)",
        ),
        (instead(claim("out", "ReadWriteOnce")), "volumes", "warning", "one node at a time may mount out"),
        (instead(claim("out", "ReadWriteOncePod")), "volumes", "missing", "one pod at a time may mount out"),
        (instead(claim("out", "ReadOnlyMany")), "volumes", "missing", "out can only be read"),
        (without("Secret", "hub"), "Secrets", "missing", "there is no Secret hub in team (spec.runner.env[0])"),
        (
            instead(thing("Secret", "hub", "team", data={"other": ""})),
            "Secrets", "missing", "hub has no key token",
        ),
        (
            instead(thing("ConfigMap", "tuning", "team", binaryData={"b.yaml": ""})),
            "ConfigMaps", "missing", "tuning has no key a.yaml",
        ),
        (without("PriorityClass", "batch"), "priority class", "missing", "there is no priority class batch"),
        (without("RuntimeClass", "nvidia"), "runtime class", "missing", "(spec.runner.runtimeClassName)"),
        (without("ServiceAccount", "trainer"), "service account", "missing", "there is no service account trainer"),
        (without("ResourceClaimTemplate", "fabric"), "device claims", "missing", "(spec.runner.resourceClaims[0])"),
        (without("DeviceClass", "link.example"), "device claims", "missing", "the device class link.example"),
        (without("LocalQueue", "gpu"), "queue", "missing", "there is no LocalQueue gpu in team"),
        (without("ClusterQueue", "all"), "queue", "missing", "leads to ClusterQueue all, which is not there"),
        (
            instead(thing("LocalQueue", "gpu", "team", spec={"clusterQueue": "all"}, status=INACTIVE)),
            "queue", "missing", "LocalQueue gpu is not active: its flavor is not there",
        ),
        (
            instead(thing("ClusterQueue", "all", status=ACTIVE, spec={"resourceGroups": [
                {"flavors": [{"name": "default", "resources": FLAVORS[:2]}]}]})),
            "queue", "missing", "has no quota for nvidia.com/gpu",
        ),
        (
            instead(thing("ClusterQueue", "all", status=ACTIVE, spec={"resourceGroups": [{"flavors": [
                {"name": "default", "resources": [*FLAVORS[:2], {"name": "nvidia.com/gpu", "nominalQuota": 1}]}]}]})),
            "queue", "missing", "has 1 of nvidia.com/gpu, the race needs 2 at once",
        ),
        (without("ConfigMap", "images"), "images", "missing", "the operator has none"),
        (nodes(status__images=[]), "images", "warning", "registry.example does not answer"),
    ],
)  # fmt: skip
def test_what_a_cluster_lacks_is_named_with_its_fix(
    check: Checker, change: Callable[[list[dict[str, Any]]], None], name: str, status: str, says: str
) -> None:
    objects = world()
    change(objects)
    found = check(objects)
    told = [each for each in found[name] if each["status"] == status]
    assert len(told) == 1, found[name]
    assert says in told[0]["found"]


@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteOncePod"])
def test_pods_of_one_trial_need_a_claim_that_all_may_mount(check: Checker, mode: str) -> None:
    job = json.loads(json.dumps(JOB))
    job["spec"] |= {"artifacts": {"claimName": "runs", "checkpointSeconds": 60}, "execution": {"parallelism": 1}}
    job["spec"]["runner"]["nodes"] = 2
    (found,) = [each for each in check([*world(), claim("runs", mode)], job)["volumes"] if "runs" in each["found"]]
    assert found["status"] == ("missing" if mode == "ReadWriteOncePod" else "warning")
    words = "use a claim of ReadWriteMany, or write spec.execution.parallelism: 1 and spec.runner.nodes: 1"
    assert found["fix"] == words


@pytest.mark.parametrize(
    ("artifacts", "volume", "warned"),
    [
        ({"checkpointSeconds": 60}, None, True),
        ({"weights": True}, {"mountPath": "/scratch/artifacts", "emptyDir": {}}, True),
        ({"weights": True}, {"mountPath": "/scratch/artifacts", "persistentVolumeClaim": {"claimName": "out"}}, False),
        ({"checkpointSeconds": 60, "claimName": "out"}, None, False),
    ],
)
def test_what_is_lost_with_its_pod_is_told(
    check: Checker, artifacts: dict[str, Any], volume: dict[str, Any] | None, *, warned: bool
) -> None:
    job = json.loads(json.dumps(JOB))
    job["spec"]["artifacts"] = artifacts
    if volume is not None:
        job["spec"]["runner"]["volumes"].append({"name": "kept", **volume})
    told = [each for each in check(world(), job)["volumes"] if "lost with their pod" in each["found"]]
    assert [each["fix"] for each in told] == ["write spec.artifacts.claimName"] * warned


def test_a_claim_that_waits_for_its_first_pod_is_ok(check: Checker) -> None:
    objects = world()
    instead(claim("datasets", "ReadOnlyMany", "Pending", "late"))(objects)
    assert "bound when the first pod starts" in check(objects)["volumes"][0]["found"]


def test_a_quota_that_counts_other_pods_says_nothing(check: Checker) -> None:
    hard = {"hard": {"pods": "0"}}
    priority = {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}
    for spec in ({"scopes": ["BestEffort"]}, {"scopes": ["NotTerminating"]}, {"scopeSelector": priority}):
        objects = world()
        instead(thing(*QUOTA, spec=spec, status=hard))(objects)
        assert check(objects)["quota"][0]["status"] == "ok"


def test_a_limit_range_gives_what_a_quota_demands(check: Checker) -> None:
    objects = world()
    instead(thing(*QUOTA, status={"hard": {"limits.cpu": "100"}}))(objects)
    limits = [{"type": "Container", "default": {"cpu": "4"}}]
    objects.append(thing("LimitRange", "r", "team", spec={"limits": limits}))
    assert check(objects)["quota"][0]["status"] == "ok"


@pytest.mark.parametrize(("version", "status"), [("v1.32.1", "missing"), ("v1.34.0", "warning"), ("v1.35.4", "ok")])
def test_image_volumes_need_a_cluster_that_has_them(check: Checker, version: str, status: str) -> None:
    job = copy.deepcopy(JOB)
    image = {"reference": RUNNER}
    job["spec"]["runner"]["volumes"].append({"name": "weights", "mountPath": "/weights", "image": image})
    assert check(world(), job, version=version)["volumes"][0]["status"] == status


def test_node_affinity_counts(check: Checker) -> None:
    job = copy.deepcopy(JOB)
    terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    job["spec"]["runner"]["affinity"] = {"nodeAffinity": required}
    assert "2 outside of spec.runner.affinity" in check(world(), job)["nodes"][0]["found"]
    terms[0]["matchExpressions"][0] = {"key": "zone", "operator": "DoesNotExist"}
    assert check(world(), job)["nodes"][0]["status"] == "ok"


def test_init_containers_need_an_operator_that_allows_them(check: Checker) -> None:
    job = copy.deepcopy(JOB)
    job["spec"]["runner"]["template"] = {"spec": {"initContainers": [{"name": "fetch", "image": RUNNER}]}}
    assert "allows no init containers" in check(world(), job)["operator"][0]["found"]
    objects = world()
    allowing = copy.deepcopy(OPERATOR)
    allowing["spec"]["template"]["spec"]["containers"][0]["args"].append("--allow-init-containers")
    instead(allowing)(objects)
    assert check(objects, job)["operator"][0]["status"] == "ok"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], "ok", "open to this namespace"),
        (["--boards=owned"], "ok", "of the namespace whose race writes to it first"),
        (["--boards=owned", "--board=*=team"], "ok", "open to this namespace"),
        (["--board=*=other"], "missing", "takes no results of team"),
        (["--board=of a later version"], "warning", "can't be read"),
    ],
)
def test_the_board_is_one_that_the_namespace_may_write_to(
    check: Checker, arguments: list[str], status: str, says: str
) -> None:
    objects = world()
    operator = copy.deepcopy(OPERATOR)
    operator["spec"]["template"]["spec"]["containers"][0]["args"] += arguments
    instead(operator)(objects)
    (found,) = check(objects)["board"]
    assert found["status"] == status
    assert says in found["found"]


def test_an_operator_that_watches_another_namespace_is_told(check: Checker) -> None:
    objects = world()
    other = copy.deepcopy(OPERATOR)
    other["spec"]["template"]["spec"]["containers"][0]["args"].append("--namespace=races")
    instead(other)(objects)
    assert "watches races alone" in check(objects)["operator"][0]["found"]


def test_what_a_person_may_not_look_at_is_a_warning(check: Checker) -> None:
    found = check(world(), forbidden=["node"], refused=["get secret/hub"])
    assert found["nodes"][0]["status"] == "warning"
    assert "can't be looked at" in found["nodes"][0]["found"]
    assert [each["status"] for each in found["Secrets"]] == ["warning", "ok"]


def test_a_person_who_may_not_race_is_told(check: Checker) -> None:
    found = check(world(), refused=["create benchmarkjobs.velodrome.dev"])
    assert found["your rights"][0]["found"] == "you may not create BenchmarkJobs in team"


def test_an_object_that_the_api_server_refuses_is_told_in_its_words(check: Checker) -> None:
    found = check(world(), says='error: unknown field "spec.runner.volumes"')
    assert 'unknown field "spec.runner.volumes"' in found["object"][0]["found"]


def test_a_cluster_without_the_kind_of_a_queue_has_no_such_queue(check: Checker) -> None:
    found = check(world(), unserved=["localqueue"])
    assert "install Kueue" in found["queue"][0]["fix"]


def test_a_file_without_a_namespace_goes_where_kubectl_is(check: Checker) -> None:
    job = copy.deepcopy(JOB)
    del job["metadata"]["namespace"]
    assert check(world(), job, namespace="team")["namespace"][0]["found"] == "team"
    assert "no namespace default" in check(world(), job)["namespace"][0]["found"]


def test_a_file_that_is_wrong_ends_before_any_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubectl, "Kubectl", World([]).kubectl)
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump({**JOB, "spec": {}}))
    done = CliRunner().invoke(app, ["check", str(path), "--cluster"])
    assert "SpecError" in type(done.exception).__name__
    path.write_text(yaml.safe_dump(JOB))
    assert CliRunner().invoke(app, ["check", str(path)]).exit_code == 0


@pytest.mark.parametrize(
    ("written", "number", "back"),
    [("500m", "0.5", "0.5"), ("4Gi", str(4 * 2**30), "4Gi"), (2, "2", "2"), ("1e3", "1000", "1000"), ("odd", "0", "0"),
     ("1536Mi", str(1536 * 2**20), "1.5Gi"), ("24731708Ki", str(24731708 * 2**10), "23.6Gi"), ("3k", "3000", "3000"),
     ("2Ei", str(2**61), ""), ("7M", "7000000", ""), ("9n", "9e-9", ""), ("5u", "5e-6", "")],
)  # fmt: skip
def test_quantities(written: Any, number: str, back: str) -> None:
    assert quantity(written) == quantity(number)
    if back.endswith("Gi"):
        assert shown(quantity(written), "memory") == back
