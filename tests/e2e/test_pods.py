"""Pods that get from a cluster what their job asks for, and what the operator says of a job that asks for too much."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.cluster.control import ClusterError
from tests.e2e.conftest import Kube, race
from tests.e2e.test_cli import velodrome

# Looks at everything that its pod should have, and reports only then.
PROGRAM = """
import os, pathlib
from velodrome import report

def writable(folder):
    try:
        pathlib.Path(folder, "probe").write_text("x")
    except OSError:
        return False
    return True

seen = {
    "token": os.environ["TOKEN"] == "s3cret",
    "prefixed": os.environ["APP_colour"] == "blue",
    "node": os.environ["NODE"] != "",
    "config": pathlib.Path("/etc/tuning/tuning.yaml").read_text() == "rate: 1",
    "config is read-only": not writable("/etc/tuning"),
    "secret": pathlib.Path("/keys/renamed").read_text() == "s3cret",
    "scratch": writable("/fast"),
    "no token of a service account": not pathlib.Path("/var/run/secrets/kubernetes.io").exists(),
    "taken over": os.environ.get("VELODROME_TAKEN_OVER", "") == "",
    "template": os.getcwd() == "/fast" and writable("/spare"),
}
wrong = [name for name, right in seen.items() if not right]
assert not wrong, wrong
trial = report.trial()
trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=9, validation_samples=1, test_samples=3,
              shape=[1, 8, 8], classes=["a", "b"])
trial.result({"accuracy": 0.5 + trial.seed / 100})
"""


def settings(name: str) -> dict[str, Any]:
    """A `runner` that uses what a cluster has, in every way."""
    return {
        "env": [
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": name, "key": "token"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
        "envFrom": [
            {"prefix": "APP_", "configMapRef": {"name": name}},
            {"secretRef": {"name": "nobody-made-it", "optional": True}},
        ],
        "volumes": [
            {"name": "tuning", "mountPath": "/etc/tuning", "configMap": {"name": name}},
            {
                "name": "keys",
                "mountPath": "/keys",
                "secret": {"secretName": name, "items": [{"key": "token", "path": "renamed"}]},
            },
            {"name": "fast", "mountPath": "/fast", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
        ],
        "labels": {"team": "vision"},
        "annotations": {"example.com/ticket": "7"},
        "serviceAccountName": name,
        "shmSize": "32Mi",
        "scratchSize": "64Mi",
        "template": {
            "spec": {
                "terminationGracePeriodSeconds": 5,
                "volumes": [{"name": "spare", "emptyDir": {"sizeLimit": "8Mi"}}],
                "containers": [
                    {
                        "name": "runner",
                        "workingDir": "/fast",
                        "volumeMounts": [{"name": "spare", "mountPath": "/spare"}],
                    }
                ],
            }
        },
    }


@pytest.fixture
def kube(installed: Kube, name: str) -> Iterator[Kube]:
    """A cluster with a Secret, a ConfigMap and a service account, all called as the job."""
    installed("create", "secret", "generic", name, "--from-literal=token=s3cret")
    installed("create", "configmap", name, "--from-literal=tuning.yaml=rate: 1", "--from-literal=colour=blue")
    installed("create", "serviceaccount", name)
    yield installed
    for kind in ("secret", "configmap", "serviceaccount"):
        installed("delete", kind, name, "--ignore-not-found")


def own(name: str, image: str, **spec: Any) -> dict[str, Any]:
    entries = [{"name": "own", "image": image, "command": ["python", "-c", PROGRAM]}]
    return race(name, entries=entries, **{"runner": settings(name), **spec})


@pytest.mark.smoke
def test_a_race_gets_what_it_asks_of_its_cluster(kube: Kube, name: str, own_image: str) -> None:
    kube.apply(own(name, own_image))
    kube("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=180s")
    (job,) = kube.items("jobs", f"velodrome.dev/job-name={name}")
    template = job["spec"]["template"]
    assert template["metadata"]["labels"]["team"] == "vision"
    assert template["metadata"]["annotations"]["example.com/ticket"] == "7"
    assert template["spec"]["serviceAccountName"] == name
    assert template["spec"]["automountServiceAccountToken"] is False
    assert template["spec"]["terminationGracePeriodSeconds"] == 5
    container = template["spec"]["containers"][0]
    assert container["resources"]["limits"]["memory"] == "16Gi"
    sizes = {volume["name"]: volume.get("emptyDir", {}).get("sizeLimit") for volume in template["spec"]["volumes"]}
    assert (sizes["shm"], sizes["scratch"], sizes["tmp"]) == ("32Mi", "64Mi", "64Mi")


def test_the_preflight_finds_everything_and_then_what_is_gone(
    kube: Kube, name: str, own_image: str, tmp_path: Any
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(own(name, own_image)))
    code, said = velodrome(kube, "check", str(path), "--cluster", "--json")
    checks = json.loads(said)["jobs"][name]
    assert code == 0, said
    assert {each["name"] for each in checks if each["status"] == "missing"} == set()
    assert {"object", "operator", "nodes", "ConfigMaps", "Secrets", "service account", "images"} <= {
        each["name"] for each in checks
    }
    assert "s3cret" not in said
    kube("delete", "secret", name)
    code, said = velodrome(kube, "check", str(path), "--cluster")
    assert code == 3
    assert f"there is no Secret {name} in default (spec.runner.env[0])" in said


def test_the_api_server_refuses_what_velodrome_keeps_for_itself(kube: Kube, name: str, own_image: str) -> None:
    for runner, words in (
        ({"env": [{"name": "VELODROME_JOB_UID", "value": "forged"}]}, "set by Velodrome"),
        ({"volumes": [{"name": "a", "mountPath": "/dev/shm", "emptyDir": {}}]}, "would hide"),  # noqa: S108
        ({"labels": {"velodrome.dev/role": "runner"}}, "set by Velodrome"),
        ({"template": {"spec": {"restartPolicy": "Always"}}}, "unknown field"),
    ):
        assert words in kube.refused(own(name, own_image, runner=runner))


def test_a_template_that_is_not_restricted_fails_with_the_field_and_the_fix(
    kube: Kube, name: str, own_image: str
) -> None:
    container = {"name": "runner", "securityContext": {"allowPrivilegeEscalation": True}}
    volumes = [{"name": "host", "hostPath": {"path": "/"}}]
    template = {"spec": {"containers": [container], "volumes": volumes}}
    kube.apply(own(name, own_image, runner={"template": template}))
    failed = kube.wait("Failed", lambda: kube.condition(name, "Failed"))
    assert failed["reason"] == "InvalidSpec"
    field = "spec.runner.template.spec.containers[0].securityContext.allowPrivilegeEscalation"
    assert f"{field}: must be false (Pod Security restricted) (leave it out)" in failed["message"]
    assert "spec.runner.template.spec.volumes[0].hostPath" in failed["message"]
    assert kube.items("jobs", f"velodrome.dev/job-name={name}") == []


def with_init_container(name: str, image: str) -> dict[str, Any]:
    command = ["python", "-c", "import pathlib; pathlib.Path('/spare/made').write_text('x')"]
    mounts = [{"name": "spare", "mountPath": "/spare"}]
    runner = settings(name)
    runner["template"]["spec"]["initContainers"] = [
        {"name": "fetch", "image": image, "command": command, "volumeMounts": mounts}
    ]
    return own(name, image, runner=runner)


def test_init_containers_are_refused_with_words(kube: Kube, name: str, own_image: str) -> None:
    kube.apply(with_init_container(name, own_image))
    failed = kube.wait("Failed", lambda: kube.condition(name, "Failed"))
    assert failed["reason"] == "InvalidSpec"
    assert "spec.runner.template.spec.initContainers: this operator allows no init containers" in failed["message"]
    assert "--allow-init-containers" in failed["message"]


def test_an_operator_that_was_told_to_allows_init_containers(kube: Kube, name: str, own_image: str) -> None:
    add = json.dumps(
        [{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--allow-init-containers"}]
    )
    before = kube("-n", "velodrome", "get", "deployment/velodrome-operator", "-o", "jsonpath={..containers[0].args}")
    kube("-n", "velodrome", "patch", "deployment/velodrome-operator", "--type=json", "-p", add)
    try:
        kube("-n", "velodrome", "rollout", "status", "deployment/velodrome-operator", "--timeout=120s")
        kube.apply(with_init_container(name, own_image))
        kube("wait", "--for=condition=Complete", f"bmj/{name}", "--timeout=180s")
    finally:
        back = [{"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": json.loads(before)}]
        kube("-n", "velodrome", "patch", "deployment/velodrome-operator", "--type=json", "-p", json.dumps(back))
        kube("-n", "velodrome", "rollout", "status", "deployment/velodrome-operator", "--timeout=120s")


def test_a_secret_that_is_not_there_is_told_while_the_race_waits(kube: Kube, name: str, own_image: str) -> None:
    runner = {"env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "nobody-made-it", "key": "token"}}}]}
    kube.apply(own(name, own_image, runner=runner))

    def told() -> bool:
        return "nobody-made-it" in kube.get("bmj", name).get("status", {}).get("message", "")

    kube.wait("the status to say so", told)


def test_what_pods_need_cannot_change(kube: Kube, name: str, own_image: str) -> None:
    made = own(name, own_image, suspend=True)
    kube.apply(made)
    made["spec"]["runner"]["volumes"][2]["emptyDir"]["sizeLimit"] = "32Mi"
    with pytest.raises(ClusterError, match=r"spec\.runner can't change"):
        kube.apply(made)
