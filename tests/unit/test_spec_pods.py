"""What a job may say about its pods, and what Pod Security restricted makes of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome.errors import SpecError
from velodrome.spec import BenchmarkJob, validate
from velodrome.spec.pod_rules import pod_rules
from velodrome.spec.pods import DEFAULT_LIMITS, DEFAULT_REQUESTS, Resources
from velodrome.spec.restricted import violations
from velodrome.spec.volumes import CLOSED_FOLDERS, KEPT_FOLDERS, hides

IMAGE = "registry.example/a@sha256:" + "a" * 64


def job(runner: dict[str, Any], **spec: Any) -> BenchmarkJob:
    document = {
        "apiVersion": "velodrome.dev/v1alpha1",
        "kind": "BenchmarkJob",
        "metadata": {"name": "pods"},
        "spec": {
            "dataset": {"name": "digits"},
            "entries": [{"name": "a", "model": {"name": "velodrome/mlp"}}],
            "runner": runner,
            **spec,
        },
    }
    return validate(document)


def problems(runner: dict[str, Any], **spec: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        job(runner, **spec)
    return [problem.path for problem in caught.value.problems]


def mounted(path: str) -> dict[str, Any]:
    return {"volumes": [{"name": "mine", "mountPath": path, "emptyDir": {}}]}


@pytest.mark.parametrize("folder", [*KEPT_FOLDERS, *CLOSED_FOLDERS])
def test_no_mount_hides_what_the_runner_needs(folder: str) -> None:
    assert problems(mounted(folder)) == ["spec.runner.volumes[0].mountPath"]
    above = folder.rpartition("/")[0]
    if above:
        assert problems(mounted(above)) == ["spec.runner.volumes[0].mountPath"]


@pytest.mark.parametrize(
    "path", ["/models", "/scratch/a/b", "/scratch/a", "/etc/tuning", "/database", "/devices", "/usr/share/d"]
)
def test_a_mount_beside_it_does_no_harm(path: str) -> None:
    assert hides(path) is None
    assert job(mounted(path)).spec.runner.volumes is not None


def test_nothing_is_mounted_inside_a_read_only_data_set() -> None:
    claim = {"name": "MNIST", "source": {"persistentVolumeClaim": {"claimName": "d"}}}
    assert problems(mounted("/data/more"), dataset=claim) == ["spec.runner.volumes[0].mountPath"]
    job(mounted("/data/more"), dataset={"name": "MNIST", "source": {"path": "more"}})


def test_a_pod_has_defaults_for_what_its_job_does_not_name_at_all() -> None:
    assert Resources().effective() == {"requests": dict(DEFAULT_REQUESTS), "limits": dict(DEFAULT_LIMITS)}
    large = Resources(requests={"memory": "64Gi"}).effective()
    assert large == {"requests": {"cpu": DEFAULT_REQUESTS["cpu"], "memory": "64Gi"}}
    limited = Resources(limits={"cpu": 4, "memory": "1Gi"}).effective()
    assert limited == {"limits": {"cpu": 4, "memory": "1Gi"}}


def test_a_claim_is_used_unless_the_resources_say_which() -> None:
    claims = [{"name": "gpu", "resourceClaimTemplateName": "half"}, {"name": "link", "resourceClaimName": "fabric"}]
    assert [use.name for use in job({"resourceClaims": claims}).spec.runner.claims] == ["gpu", "link"]
    some = {"resourceClaims": claims, "resources": {"claims": [{"name": "gpu", "request": "a"}]}}
    assert [(use.name, use.request) for use in job(some).spec.runner.claims] == [("gpu", "a")]


def test_a_job_that_is_made_in_python_keeps_to_the_same_rules() -> None:
    good = job({"volumes": [{"name": "mine", "mountPath": "/a", "secret": {"secretName": "s"}}]})
    document = good.model_dump()
    BenchmarkJob.model_validate(document)
    document["spec"]["runner"]["volumes"][0]["mountPath"] = "/dev"
    with pytest.raises(ValueError, match="would hide /dev"):
        BenchmarkJob.model_validate(document)


RESTRICTED: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [{"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}],
}


def changed(place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    pod = copy.deepcopy(RESTRICTED)
    holder: Any = pod
    for step in place[:-1]:
        holder = holder[step]
    if value is None:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return pod


CONTAINER = ("containers", 0, "securityContext")


@pytest.mark.parametrize(
    ("place", "value", "field"),
    [
        (("hostNetwork",), True, "hostNetwork"),
        (("securityContext", "runAsNonRoot"), None, "containers.0.securityContext.runAsNonRoot"),
        (("securityContext", "runAsUser"), 0, "securityContext.runAsUser"),
        (("securityContext", "seccompProfile"), None, "containers.0.securityContext.seccompProfile"),
        (("securityContext", "sysctls"), [{"name": "kernel.sem"}], "securityContext.sysctls.0.name"),
        (("volumes",), [{"name": "a", "nfs": {}}], "volumes.0.nfs"),
        ((*CONTAINER, "allowPrivilegeEscalation"), None, "containers.0.securityContext.allowPrivilegeEscalation"),
        ((*CONTAINER, "capabilities"), None, "containers.0.securityContext.capabilities.drop"),
        ((*CONTAINER, "privileged"), True, "containers.0.securityContext.privileged"),
        ((*CONTAINER, "runAsNonRoot"), False, "containers.0.securityContext.runAsNonRoot"),
        (
            ("containers", 0, "lifecycle"),
            {"preStop": {"tcpSocket": {"host": "a", "port": 1}}},
            "containers.0.lifecycle.preStop.tcpSocket.host",
        ),
    ],
)
def test_a_whole_pod_that_is_not_restricted_is_told_where(place: tuple[str | int, ...], value: Any, field: str) -> None:
    assert list(violations(RESTRICTED, (), whole=True)) == []
    found = {".".join(map(str, broken.location)) for broken in violations(changed(place, value), (), whole=True)}
    assert field in found


def test_of_a_part_of_a_pod_only_what_is_written_counts() -> None:
    assert list(violations({"containers": [{"name": "runner", "securityContext": {}}]}, ())) == []


@pytest.mark.parametrize("source", ["csi", "downwardAPI", "ephemeral", "image", "projected"])
def test_volumes_that_restricted_allows_are_allowed(source: str) -> None:
    assert list(violations({"volumes": [{"name": "a", source: {}}]}, ())) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 1) | st.sampled_from(["", "/", "a", "runner", "..", "/dev"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "env",
                    "volumes",
                    "labels",
                    "template",
                    "spec",
                    "securityContext",
                    "containers",
                    "capabilities",
                    "drop",
                    "add",
                    "volumeMounts",
                    "mountPath",
                    "initContainers",
                    "projected",
                    "sources",
                    "lifecycle",
                    "ports",
                    "resources",
                    "claims",
                    "seccompProfile",
                    "type",
                    "valueFrom",
                    "configMap",
                    "items",
                    "path",
                    "subPath",
                    "sysctls",
                    "image",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=30,
)


@given(JSON, JSON)
def test_rules_never_fail_on_what_they_read(runner: Any, pod: Any) -> None:
    list(pod_rules({"runner": runner}))
    list(pod_rules({"runner": {"template": {"spec": pod}, "volumes": runner, "env": pod}}))
    list(violations(pod if isinstance(pod, dict) else {}, (), whole=True))
