"""What the chart renders to: safe pods, narrow rights, policies with their holes; and the words of its refusals."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.build import build_helm
from tools import chart, generate
from velodrome import keys
from velodrome.spec import parse_jobs
from velodrome_leaderboard.access.settings import read_sign_in

ROOT = Path(__file__).resolve().parents[2]
Objects = dict[tuple[str, str], dict[str, Any]]

SIGN_IN = {
    "enabled": True,
    "issuer": "https://login.example.org:8443/realms/x",
    "clientId": "velodrome",
    "existingSecret": "sign-in",
    "privateCA": True,
    "viewers": {"claim": "groups", "values": ["team-*"]},
    "admins": {"claim": "groups", "values": ["bosses"]},
    "boards": [{"claim": "groups", "value": "team-*", "boards": ["team-{*}-*"]}],
    "publicBoards": ["demo"],
    "tokens": True,
}
EVERYTHING = {
    "pushgateway": {"enabled": True},
    "backup": {"enabled": True},
    "leaderboard": {
        "replicas": 2,
        "ingress": {"enabled": True, "host": "velodrome.example.org", "tlsSecret": "board"},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["velodrome.example.org"]},
        "signIn": SIGN_IN,
    },
    "networkPolicies": {"leaderboard": {"from": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]}},
    "runner": {
        "namespaces": ["team-a", "team-b"],
        "egress": [{"to": [{"ipBlock": {"cidr": "10.9.0.0/16"}}], "ports": [{"port": 443}]}],
        "quota": {"hard": {"pods": "10"}},
    },
    "redis": {"tls": {"source": "certManager", "issuerRef": {"name": "internal", "kind": "ClusterIssuer"}}},
}
APIS = (
    *chart.MONITORING,
    chart.ADMISSION,
    "gateway.networking.k8s.io/v1/HTTPRoute",
    "cert-manager.io/v1/Certificate",
)
NAMESPACED = {"rbac": {"namespaces": ["team-a", "team-b"]}}
EXTERNAL = {"redis": {"external": {"url": "rediss://redis.example:6380/2", "existingSecret": "own", "privateCA": True}}}


@pytest.fixture(scope="session")
def helm() -> str:
    """Helm. The first time, it is built from its Go module."""
    return str(build_helm())


def merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            both = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
            found[name] = merged(found[name], value) if both else deepcopy(value)
    return found


def objects(helm: str, *values: Mapping[str, Any], **how: Any) -> Objects:
    """What the chart renders to, by kind and name. A namespace that is not the release's stands before the name."""
    given = json.dumps(merged(chart.images(), *values), sort_keys=True)
    return _rendered(helm, given, tuple(sorted(how.pop("apis", ()))), tuple(sorted(how.items())))


@functools.cache
def _rendered(helm: str, values: str, apis: tuple[str, ...], how: tuple[tuple[str, Any], ...]) -> Objects:
    text = chart.template(helm, json.loads(values), hooks=True, apis=apis, **dict(how))
    found: Objects = {}
    for one in yaml.load_all(text, Loader=yaml.CSafeLoader):
        if one is None:
            continue
        space = one["metadata"].get("namespace", "velodrome")
        name = one["metadata"]["name"] if space == "velodrome" else f"{space}/{one['metadata']['name']}"
        assert (one["kind"], name) not in found, "twice"
        found[one["kind"], name] = one
    return found


def refusal(helm: str, *values: Mapping[str, Any], **how: Any) -> str:
    with pytest.raises(chart.HelmRefused) as refused:
        chart.template(helm, merged(chart.images(), *values), **how)
    return str(refused.value)


def pods(found: Objects) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pod of each workload, as its spec."""
    for (kind, name), one in found.items():
        if kind in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            yield name, one["spec"]["template"]["spec"]
        elif kind == "CronJob":
            yield name, one["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        elif kind == "Pod":
            yield name, one["spec"]


def containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


VARIANTS = pytest.mark.parametrize(
    ("values", "apis"),
    [({}, ()), (EVERYTHING, APIS), (NAMESPACED, ()), (EXTERNAL, ())],
    ids=["default", "everything", "namespaced", "external"],
)


class TestPods:
    @VARIANTS
    def test_every_pod_is_restricted_and_bounded(
        self, helm: str, values: Mapping[str, Any], apis: tuple[str, ...]
    ) -> None:
        found = dict(pods(objects(helm, values, apis=apis)))
        assert {"velodrome-operator", "velodrome-leaderboard", "velodrome-test"} <= found.keys()
        for name, pod in found.items():
            assert pod["securityContext"]["runAsNonRoot"] is True, name
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
            assert pod["enableServiceLinks"] is False, name
            assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
            for container in containers(pod):
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }, name
                for share in ("requests", "limits"):
                    assert {"cpu", "memory", "ephemeral-storage"} <= container["resources"][share].keys(), name
                assert re.fullmatch(r"[^:]+@sha256:[0-9a-f]{64}", container["image"]), name
            for volume in pod.get("volumes", []):
                assert not {"hostPath"} & volume.keys(), name
                assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"], name

    def test_the_operator_and_the_test_alone_have_a_token(self, helm: str) -> None:
        found = objects(helm, EVERYTHING, apis=APIS)
        tokens = {name for name, pod in pods(found) if pod["automountServiceAccountToken"]}
        assert tokens == {"velodrome-operator", "velodrome-test"}
        for (kind, name), one in found.items():
            assert kind != "ServiceAccount" or one["automountServiceAccountToken"] is False, name

    def test_each_pod_sees_its_own_keys_of_the_secret(self, helm: str) -> None:
        seen = {}
        for name, pod in pods(objects(helm)):
            sources = [volume.get("secret") for volume in pod.get("volumes", [])]
            for volume in pod.get("volumes", []):
                sources += [one.get("secret") for one in volume.get("projected", {}).get("sources", [])]
            given = [source for source in sources if source]
            assert all(source["items"] for source in given), name
            seen[name] = {item["key"] for source in given for item in source["items"]}
        assert seen == {
            "velodrome-operator": {"operator-password", "job-key", "ca.crt"},
            "velodrome-leaderboard": {"leaderboard-password", "ca.crt"},
            "velodrome-test": {"leaderboard-password", "ca.crt"},
            "velodrome-redis": {"users.acl", "ca.crt", "tls.crt", "tls.key"},
        }

    def test_no_environment_holds_a_secret(self, helm: str) -> None:
        for name, pod in pods(objects(helm, EVERYTHING, apis=APIS)):
            for container in containers(pod):
                assert not container.get("envFrom"), name
                assert not [one for one in container.get("env", []) if "secretKeyRef" in one.get("valueFrom", {})], name

    def test_openshift_chooses_the_users(self, helm: str) -> None:
        nobody = {"podSecurity": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}
        for _, pod in pods(objects(helm, nobody)):
            assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}

    def test_redis_refuses_writes_at_its_share_of_the_memory(self, helm: str) -> None:
        def limit(*values: Mapping[str, Any]) -> int:
            (container,) = objects(helm, *values)["StatefulSet", "velodrome-redis"]["spec"]["template"]["spec"][
                "containers"
            ]
            return int(container["args"][container["args"].index("--maxmemory") + 1])

        assert limit() == 2 * 1024**3 * 45 // 100
        assert limit({"redis": {"maxMemoryPercent": 50, "resources": {"limits": {"memory": "600M"}}}}) == 300_000_000

    def test_a_pod_goes_where_it_is_told(self, helm: str) -> None:
        place = {
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "infra", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "priorityClassName": "infra",
        }
        for name in ("operator", "leaderboard", "redis"):
            pod = dict(pods(objects(helm, {name: place})))[f"velodrome-{name}"]
            assert place.items() <= pod.items()


# What the operator asks the API server for, by its code: cluster.py and kopf's watches in handlers.py.
ASKED = {
    ("velodrome.dev", "benchmarkjobs"): {"list", "watch", "create", "delete"},
    ("velodrome.dev", "benchmarkjobs/status"): {"update"},
    ("batch", "jobs"): {"list", "watch", "create", "patch", "delete"},
    ("", "pods"): {"list", "watch"},
    ("", "configmaps"): {"create"},
    ("", "secrets"): {"create"},
    ("", "services"): {"create"},
    ("", "events"): {"list"},
    ("events.k8s.io", "events"): {"create"},
}


def granted(role: Mapping[str, Any]) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


class TestRights:
    def test_the_operator_gets_what_its_code_asks_for_and_nothing_else(self, helm: str) -> None:
        assert granted(objects(helm)["ClusterRole", "velodrome-operator"]) == ASKED

    def test_the_table_above_is_what_the_code_asks_for(self) -> None:
        code = (ROOT / "operator/velodrome_operator/cluster.py").read_text(encoding="utf-8")
        handlers = (ROOT / "operator/velodrome_operator/handlers.py").read_text(encoding="utf-8")
        listed = set(re.findall(r'self\._list\((?:_PARENT|"[^"]+"), (PLURAL|"[a-z]+")', code))
        assert {name.strip('"').replace("PLURAL", "benchmarkjobs") for name in listed} == {
            resource for (_, resource), verbs in ASKED.items() if "list" in verbs
        }
        watched = handlers.count("@kopf.on.event(")
        assert watched == sum("watch" in verbs for verbs in ASKED.values())
        made = set(re.findall(r'"(\w+)": \("apis?/\S+", "(\w+)"\)', code))
        assert {plural for _, plural in made} | {"benchmarkjobs"} == {
            resource for (_, resource), verbs in ASKED.items() if "create" in verbs
        }
        operator = "".join(
            path.read_text(encoding="utf-8")
            for path in (ROOT / "operator/velodrome_operator").rglob("*.py")
            if path.name != "acceptance.py"
        )
        assert not re.search(r"cluster\.(parent|openapi)\(", operator), "reading one BenchmarkJob needs `get`"

    @VARIANTS
    def test_there_is_no_wildcard(self, helm: str, values: Mapping[str, Any], apis: tuple[str, ...]) -> None:
        for (kind, name), one in objects(helm, values, apis=apis).items():
            if kind in ("Role", "ClusterRole"):
                assert "*" not in str(one["rules"]), name

    def test_with_namespaces_it_gets_a_role_in_each_and_none_in_the_cluster(self, helm: str) -> None:
        found = objects(helm, NAMESPACED)
        for team in ("team-a", "team-b"):
            assert granted(found["Role", f"{team}/velodrome-operator"]) == ASKED
            (subject,) = found["RoleBinding", f"{team}/velodrome-operator"]["subjects"]
            assert (subject["name"], subject["namespace"]) == ("velodrome-operator", "velodrome")
        assert granted(found["Role", "velodrome-setup"]) == {("", "secrets"): {"create"}}
        assert not [name for kind, name in found if kind == "ClusterRoleBinding"]
        arguments = dict(pods(found))["velodrome-operator"]["containers"][0]["args"]
        assert {"--namespace=team-a", "--namespace=team-b"} <= set(arguments)
        assert not [one for one in dict(pods(objects(helm)))["velodrome-operator"]["containers"][0]["args"]
                    if one.startswith("--namespace")]  # fmt: skip

    def test_the_test_reaches_its_own_race_alone(self, helm: str) -> None:
        role = objects(helm)["Role", "velodrome-test"]
        assert granted(role) == {("velodrome.dev", "benchmarkjobs"): {"create", "get", "delete"}}
        (named,) = (rule for rule in role["rules"] if "resourceNames" in rule)
        assert named["resourceNames"] == ["velodrome-test"]
        assert set(named["verbs"]) == {"get", "delete"}

    def test_people_of_the_usual_roles_may_race(self, helm: str) -> None:
        edit = objects(helm)["ClusterRole", "velodrome-edit"]
        assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
        assert "create" in granted(edit)["velodrome.dev", "benchmarkjobs"]
        assert ("ClusterRole", "velodrome-edit") not in objects(helm, {"rbac": {"userRoles": False}})

    def test_whoever_makes_the_roles_gets_none(self, helm: str) -> None:
        found = objects(helm, {"rbac": {"create": False}})
        assert [name for kind, name in found if kind in ("Role", "ClusterRole")] == ["velodrome-test"]

    def test_two_installations_share_no_object_of_the_cluster(self, helm: str) -> None:
        def of_the_cluster(namespace: str) -> set[tuple[str, str]]:
            kinds = (
                "ClusterRole",
                "ClusterRoleBinding",
                "ValidatingAdmissionPolicy",
                "ValidatingAdmissionPolicyBinding",
            )
            found = objects(helm, namespace=namespace, apis=[chart.ADMISSION])
            return {key for key in found if key[0] in kinds}

        one, two = of_the_cluster("velodrome"), of_the_cluster("other")
        assert len(one) == len(two) > 5
        assert not one & two


class TestAdmission:
    def test_the_limits_are_for_the_operators_account_alone(self, helm: str) -> None:
        found = objects(helm, apis=[chart.ADMISSION])
        policies = {name: one for (kind, name), one in found.items() if kind == "ValidatingAdmissionPolicy"}
        assert len(policies) == 3
        for name, policy in policies.items():
            first = policy["spec"]["matchConditions"][0]["expression"]
            assert first == "request.userInfo.username == 'system:serviceaccount:velodrome:velodrome-operator'"
            assert policy["spec"]["failurePolicy"] == "Fail"
            binding = found["ValidatingAdmissionPolicyBinding", name]["spec"]
            assert binding == {"policyName": name, "validationActions": ["Deny"]}

    def test_they_look_at_each_container_of_a_runner(self, helm: str) -> None:
        spec = objects(helm, apis=[chart.ADMISSION])["ValidatingAdmissionPolicy", "velodrome-operator-jobs"]["spec"]
        variables = {one["name"]: one["expression"] for one in spec["variables"]}
        assert "initContainers" in variables["containers"]
        (rule,) = (one for one in spec["validations"] if "privileged" in one["expression"])
        assert rule["expression"].startswith("variables.containers.all(")

    def test_they_are_absent_where_nobody_serves_or_wants_them(self, helm: str) -> None:
        off = {"rbac": {"admissionPolicy": {"enabled": False}}}
        assert not [name for kind, name in objects(helm, off, apis=[chart.ADMISSION]) if "Admission" in kind]


def policies(found: Objects) -> dict[str, dict[str, Any]]:
    return {name: one["spec"] for (kind, name), one in found.items() if kind == "NetworkPolicy"}


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector fits: `matchLabels`, and `In`."""
    fits = selector.get("matchLabels", {}).items() <= labels.items()
    return fits and all(labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", []))


def reached(policy: Mapping[str, Any], way: str, peer: Mapping[str, str], port: int, space: str = "velodrome") -> bool:
    """Whether a policy of the release's namespace opens this way to pods with these labels, in that namespace."""
    for rule in policy.get(way, []):
        ports = [one["port"] for one in rule.get("ports", [])]
        if ports and port not in ports:
            continue
        for one in rule.get("to" if way == "egress" else "from", [{"podSelector": {}}]):
            if "ipBlock" in one:
                continue
            name = {"kubernetes.io/metadata.name": space}
            near = selects(one["namespaceSelector"], name) if "namespaceSelector" in one else space == "velodrome"
            if near and selects(one.get("podSelector", {}), peer):
                return True
    return False


def component(name: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "velodrome",
        "app.kubernetes.io/instance": "velodrome",
        "app.kubernetes.io/component": name,
    }


RUNNER = {keys.LABEL_ROLE: keys.ROLE_RUNNER}
PROMETHEUS = {"app.kubernetes.io/name": "prometheus"}
DNS = {"k8s-app": "kube-dns"}


class TestNetwork:
    def test_everything_is_denied_first(self, helm: str) -> None:
        assert policies(objects(helm))["velodrome-default-deny"] == {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
        }
        ours = policies(objects(helm, {"networkPolicies": {"denyWholeNamespace": False}}))["velodrome-default-deny"]
        assert selects(ours["podSelector"], component("redis"))
        assert not selects(ours["podSelector"], {"app.kubernetes.io/name": "other"})

    def test_each_component_has_a_policy_that_selects_its_pods(self, helm: str) -> None:
        found = objects(helm, EVERYTHING, apis=APIS)
        named = policies(found)
        for (kind, name), one in found.items():
            if kind in ("Deployment", "StatefulSet"):
                labels = one["spec"]["template"]["metadata"]["labels"]
                assert selects(named[name]["podSelector"], labels), name
                assert set(named[name]["policyTypes"]) == {"Ingress", "Egress"}, name

    @pytest.mark.parametrize(
        ("who", "component_name", "port", "space", "may"),
        [
            (component("operator"), "redis", 6379, "velodrome", True),
            (component("leaderboard"), "redis", 6379, "velodrome", True),
            (component("test"), "redis", 6379, "velodrome", True),
            (RUNNER, "redis", 6379, "team-a", True),
            (RUNNER, "pushgateway", 9091, "team-a", True),
            (PROMETHEUS, "operator", 8080, "monitoring", True),
            (PROMETHEUS, "pushgateway", 9091, "monitoring", True),
            (RUNNER, "operator", 8080, "team-a", False),
            (RUNNER, "leaderboard", 8501, "team-a", False),
            (PROMETHEUS, "redis", 6379, "monitoring", False),
            (component("pushgateway"), "redis", 6379, "velodrome", False),
            ({"app": "stranger"}, "redis", 6379, "velodrome", False),
            (component("operator"), "redis", 6379, "team-a", False),
        ],
    )
    def test_who_reaches_whom(
        self, helm: str, who: Mapping[str, str], component_name: str, port: int, space: str, *, may: bool
    ) -> None:
        named = policies(objects(helm, EVERYTHING, apis=APIS))
        assert reached(named[f"velodrome-{component_name}"], "ingress", who, port, space) is may

    def test_the_leaderboard_is_closed_until_somebody_is_named(self, helm: str) -> None:
        assert "ingress" not in policies(objects(helm))["velodrome-leaderboard"]

    @pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["default", "everything"])
    def test_a_runner_reaches_redis_the_pushgateway_dns_and_its_like(
        self, helm: str, values: Mapping[str, Any]
    ) -> None:
        name = "team-a/velodrome-runners" if values else "velodrome-runners"
        policy = policies(objects(helm, values, apis=APIS))[name]
        assert selects(policy["podSelector"], RUNNER)
        assert reached(policy, "egress", component("redis"), 6379)
        assert reached(policy, "egress", component("pushgateway"), 9091) is bool(values)
        assert reached(policy, "egress", DNS, 53, "kube-system")
        assert reached(policy, "egress", RUNNER, 29500)
        for other, port in (("operator", 8080), ("leaderboard", 8501), ("redis", 22)):
            assert not reached(policy, "egress", component(other), port), other
        blocks = [one["ipBlock"] for rule in policy["egress"] for one in rule.get("to", []) if "ipBlock" in one]
        assert blocks == ([{"cidr": "10.9.0.0/16"}] if values else []), "the API server has an address, and no labels"

    def test_both_ends_of_each_hole_agree(self, helm: str) -> None:
        """A hole in one policy is useless unless the other side has it too."""
        named = policies(objects(helm, EVERYTHING, apis=APIS))
        pairs = [("operator", "redis", 6379), ("leaderboard", "redis", 6379), ("operator", "pushgateway", 9091)]
        for client, server, port in [*pairs, ("test", "redis", 6379)]:
            assert reached(named[f"velodrome-{client}"], "egress", component(server), port), (client, server)
            assert reached(named[f"velodrome-{server}"], "ingress", component(client), port), (client, server)
        for server in ("redis", "pushgateway"):
            assert not named[f"velodrome-{server}"].get("egress"), "they connect to nobody"

    def test_with_namespaces_runners_of_others_reach_nothing(self, helm: str) -> None:
        redis = policies(objects(helm, NAMESPACED))["velodrome-redis"]
        assert reached(redis, "ingress", RUNNER, 6379, "team-b")
        assert not reached(redis, "ingress", RUNNER, 6379, "team-c")

    def test_no_hole_leads_to_the_metadata_address(self, helm: str) -> None:
        for values in ({}, EVERYTHING, merged(EXTERNAL, {"pushgateway": {"url": "http://gateway.example:9091"}})):
            for name, policy in policies(objects(helm, values, apis=APIS)).items():
                for rule in policy.get("egress", []):
                    assert rule["to"], f"{name}: a rule without `to` opens everything"
                    for one in rule["to"]:
                        if one.get("ipBlock", {}).get("cidr") == "0.0.0.0/0":
                            assert one["ipBlock"]["except"] == ["169.254.0.0/16"], name

    def test_each_hole_says_why(self) -> None:
        lines = (chart.CHART / "templates/networkpolicies.yaml").read_text(encoding="utf-8").splitlines()
        rule = re.compile(r"    (- (ports|from):?|\{\{- (\$dns|include \"velodrome\.(dns|redis)Rule|\. \|))")
        found = [number for number, line in enumerate(lines) if rule.match(line)]
        assert len(found) > 12
        for number in found:
            assert lines[number - 1].lstrip().startswith("#"), lines[number]

    def test_they_can_be_left_out(self, helm: str) -> None:
        assert not policies(objects(helm, {"networkPolicies": {"enabled": False}}))

    def test_an_external_redis_is_reached_on_its_port(self, helm: str) -> None:
        found = objects(helm, EXTERNAL)
        named = policies(found)
        for name in ("velodrome-operator", "velodrome-leaderboard", "velodrome-runners"):
            rules = [
                rule for rule in named[name]["egress"] if {"port": 6380, "protocol": "TCP"} in rule.get("ports", ())
            ]
            assert [rule["to"] for rule in rules] == [
                [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}]
            ]
        assert ("StatefulSet", "velodrome-redis") not in found
        own = merged(EXTERNAL, {"redis": {"external": {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}]}}})
        rules = policies(objects(helm, own))["velodrome-runners"]["egress"]
        assert [{"ipBlock": {"cidr": "10.1.2.3/32"}}] in [rule["to"] for rule in rules]


OPTIONAL: dict[str, tuple[str, Mapping[str, Any]]] = {
    "monitoring.coreos.com/v1/PodMonitor": ("PodMonitor", {}),
    "monitoring.coreos.com/v1/ServiceMonitor": (
        "ServiceMonitor",
        {"monitoring": {"monitor": {"kind": "ServiceMonitor"}}},
    ),
    "monitoring.coreos.com/v1/PrometheusRule": ("PrometheusRule", {}),
    "gateway.networking.k8s.io/v1/HTTPRoute": ("HTTPRoute", EVERYTHING),
}


class TestOptionalParts:
    @pytest.mark.parametrize("api", OPTIONAL)
    def test_a_part_appears_only_where_its_api_is_served(self, helm: str, api: str) -> None:
        kind, values = OPTIONAL[api]
        with_cert = ["cert-manager.io/v1/Certificate"]
        assert [key for key in objects(helm, values, apis=[api, *with_cert]) if key[0] == kind]
        assert not [key for key in objects(helm, values, apis=with_cert) if key[0] == kind]

    @pytest.mark.parametrize("api", chart.MONITORING)
    def test_monitoring_can_be_turned_off(self, helm: str, api: str) -> None:
        kind = api.rpartition("/")[2]
        off = {
            "monitoring": {"monitor": {"enabled": False, "kind": "PodMonitor"}, "prometheusRule": {"enabled": False}}
        }
        assert not [key for key in objects(helm, off, apis=[api]) if key[0] == kind]

    def test_the_rules_are_those_of_deploy(self, helm: str) -> None:
        rule = objects(helm, apis=APIS)["PrometheusRule", "velodrome"]
        assert rule["spec"] == yaml.safe_load((ROOT / "deploy/monitoring/rules/velodrome.rules.yaml").read_text())

    def test_the_dashboards_are_those_of_deploy(self, helm: str) -> None:
        data = objects(helm)["ConfigMap", "velodrome-dashboards"]["data"]
        for name in ("operator", "races"):
            text = (ROOT / f"deploy/monitoring/dashboards/{name}.json").read_text(encoding="utf-8")
            assert data[f"velodrome-{name}.json"].strip() == text.strip()

    def test_a_pushgateway_is_told_to_the_operator(self, helm: str) -> None:
        def told(*values: Mapping[str, Any]) -> list[str]:
            arguments = dict(pods(objects(helm, *values)))["velodrome-operator"]["containers"][0]["args"]
            return [one for one in arguments if one.startswith("--pushgateway")]

        assert told() == []
        address = "velodrome-pushgateway.velodrome.svc.cluster.local:9091"
        assert told({"pushgateway": {"enabled": True}}) == [f"--pushgateway=http://{address}"]
        assert told({"pushgateway": {"url": "http://gateway.example"}}) == ["--pushgateway=http://gateway.example"]

    def test_alerts_link_to_where_people_find_the_leaderboard(self, helm: str) -> None:
        for values, url in (
            ({"leaderboard": {"url": "https://own.example"}}, "https://own.example"),
            (EVERYTHING, "https://velodrome.example.org"),
        ):
            arguments = dict(pods(objects(helm, values, apis=APIS)))["velodrome-operator"]["containers"][0]["args"]
            assert f"--leaderboard-url={url}" in arguments

    def test_boards_of_teams(self, helm: str) -> None:
        values = {"operator": {"boards": "owned", "boardRules": [{"boards": "team-a-*", "namespaces": ["a", "b"]}]}}
        arguments = dict(pods(objects(helm, values)))["velodrome-operator"]["containers"][0]["args"]
        assert {"--boards=owned", "--board=team-a-*=a,b"} <= set(arguments)

    def test_a_leaderboard_of_some_boards(self, helm: str) -> None:
        (container,) = dict(pods(objects(helm, {"leaderboard": {"boards": ["a-*", "digits"]}})))[
            "velodrome-leaderboard"
        ]["containers"]
        assert {"name": "VELODROME_BOARDS", "value": "a-*,digits"} in container["env"]

    def test_a_quota_for_each_namespace_of_races(self, helm: str) -> None:
        found = objects(helm, EVERYTHING, apis=APIS)
        assert [name for kind, name in found if kind == "ResourceQuota"] == [
            "team-a/velodrome-races",
            "team-b/velodrome-races",
        ]
        assert not [name for kind, name in objects(helm) if kind == "ResourceQuota"]


class TestSignIn:
    def test_the_file_is_one_that_the_leaderboard_reads(self, helm: str, tmp_path: Path) -> None:
        found = objects(helm, EVERYTHING, apis=APIS)
        text = found["ConfigMap", "velodrome-sign-in"]["data"]["sign-in.yaml"]
        for name, words in (("sign-in.yaml", text), ("client-secret", "secret"), ("cookie-secret", "c" * 32)):
            (tmp_path / name).write_text(words)
        read = read_sign_in(tmp_path / "sign-in.yaml")
        assert read.rules.issuer == SIGN_IN["issuer"]
        assert read.rules.address == "https://velodrome.example.org"
        assert (read.rules.viewers.values, read.rules.public_boards) == (("team-*",), ("demo",))
        assert read.rules.admins is not None
        assert read.tokens_file == tmp_path / "tokens"

    def test_its_pod_gets_the_secret_and_the_user_for_marks(self, helm: str) -> None:
        pod = dict(pods(objects(helm, EVERYTHING, apis=APIS)))["velodrome-leaderboard"]
        env = {one["name"]: one["value"] for one in pod["containers"][0]["env"]}
        assert env[keys.ENV_SIGN_IN] == "/etc/velodrome-sign-in/sign-in.yaml"
        assert env[keys.ENV_MARKS_USERNAME] == "marks"
        assert env[keys.ENV_MARKS_PASSWORD_FILE] == "/etc/velodrome-redis/marks-password"
        shown = {
            item["path"]
            for volume in pod["volumes"]
            for source in volume.get("projected", {}).get("sources", [])
            for item in (source.get("secret") or source["configMap"])["items"]
        }
        assert shown == {
            *("password", "marks-password", "ca.crt"), *("sign-in.yaml", "client-secret", "cookie-secret", "tokens"),
        }  # fmt: skip

    def test_without_admins_it_may_only_read(self, helm: str) -> None:
        signed = {"leaderboard": {"url": "https://board.example.org", "signIn": {**SIGN_IN, "admins": {"claim": ""}}}}
        pod = dict(pods(objects(helm, signed)))["velodrome-leaderboard"]
        assert "marks" not in json.dumps(pod)

    def test_it_reaches_the_provider_on_its_port_alone(self, helm: str) -> None:
        policy = policies(objects(helm, EVERYTHING, apis=APIS))["velodrome-leaderboard"]
        assert {"port": 8443, "protocol": "TCP"} in [port for rule in policy["egress"] for port in rule["ports"]]
        assert not [
            port for rule in policies(objects(helm))["velodrome-leaderboard"]["egress"] for port in rule["ports"]
            if port["port"] in (443, 8443)
        ]  # fmt: skip

    def test_pods_restart_when_who_may_look_changes(self, helm: str) -> None:
        def mark(values: Mapping[str, Any]) -> str:
            found = objects(helm, EVERYTHING, {"leaderboard": {"signIn": values}}, apis=APIS)
            notes = found["Deployment", "velodrome-leaderboard"]["spec"]["template"]["metadata"]["annotations"]
            return str(notes["velodrome.dev/sign-in"])

        assert mark({}) == mark({}) != mark({"sessionHours": 1})


class TestRedis:
    def test_it_speaks_tls_alone_to_users_of_its_file(self, helm: str) -> None:
        (container,) = dict(pods(objects(helm)))["velodrome-redis"]["containers"]
        line = " ".join(container["args"])
        assert "--port 0 --tls-port 6379" in line
        assert "--aclfile /etc/redis-users/users.acl" in line
        assert "--appendonly yes --appendfsync always" in line
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert "--tls" in container[probe]["exec"]["command"], probe

    @pytest.mark.parametrize(
        ("tls", "secret"),
        [
            ({"source": "generated"}, "velodrome-redis"),
            ({"source": "secret", "existingSecret": "mine"}, "mine"),
            ({"source": "certManager", "issuerRef": {"name": "x"}}, "velodrome-redis-tls"),
        ],
    )
    def test_its_certificate_and_what_others_trust_are_of_one_source(
        self, helm: str, tls: Mapping[str, Any], secret: str
    ) -> None:
        found = objects(helm, {"redis": {"tls": tls}}, apis=APIS)
        by_name = dict(pods(found))
        (mounted,) = (one["secret"] for one in by_name["velodrome-redis"]["volumes"] if one["name"] == "tls")
        assert mounted["secretName"] == secret
        for name in ("velodrome-operator", "velodrome-leaderboard"):
            (volume,) = (one["projected"] for one in by_name[name]["volumes"] if one["name"] == "redis-access")
            (trusted,) = (one["secret"] for one in volume["sources"] if one["secret"]["items"][0]["key"] == "ca.crt")
            assert trusted["name"] == secret
        certificates = [one for (kind, _), one in found.items() if kind == "Certificate"]
        assert len(certificates) == (tls["source"] == "certManager")
        for one in certificates:
            assert one["spec"]["secretName"] == secret
            assert "velodrome-redis.velodrome.svc.cluster.local" in one["spec"]["dnsNames"]

    def test_its_names_are_in_the_certificate_that_setup_makes(self, helm: str) -> None:
        pod = dict(pods(objects(helm)))["velodrome-operator"]
        (setup,) = pod["initContainers"]
        hosts = {word.removeprefix("--host=") for word in setup["command"] if word.startswith("--host=")}
        environment = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
        assert environment["VELODROME_REDIS_URL"] == "rediss://velodrome-redis:6379/0"
        (told,) = (one for one in pod["containers"][0]["args"] if one.startswith("--redis-address="))
        assert {"velodrome-redis", told.removeprefix("--redis-address=").removesuffix(":6379")} <= hosts

    def test_its_results_stay_unless_told(self, helm: str) -> None:
        def retention(*, keep: bool) -> Any:
            found = objects(helm, {"redis": {"persistence": {"keep": keep}}})
            return found["StatefulSet", "velodrome-redis"]["spec"]["persistentVolumeClaimRetentionPolicy"][
                "whenDeleted"
            ]

        assert (retention(keep=True), retention(keep=False)) == ("Retain", "Delete")

    def test_an_external_one_needs_no_setup(self, helm: str) -> None:
        found = objects(helm, EXTERNAL)
        pod = dict(pods(found))["velodrome-operator"]
        assert "initContainers" not in pod
        assert ("Role", "velodrome-setup") not in found
        environment = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
        assert environment["VELODROME_REDIS_URL"] == "rediss://redis.example:6380/2"
        assert "--redis-address=redis.example:6380" in pod["containers"][0]["args"]
        (volume,) = pod["volumes"]
        assert {one["secret"]["name"] for one in volume["projected"]["sources"]} == {"own"}
        assert not any(one["secret"].get("optional") for one in volume["projected"]["sources"])


class TestRefusals:
    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"images": {"redis": {"digest": "", "tag": "7"}}}, r"images\.redis\.tag: a tag can move.*crane digest"),
            ({"images": {"runner": {"digest": ""}}}, r"images\.runner\.digest is empty.*make images push"),
            ({"images": {"operator": {"repository": "x/operator:1"}}}, r"images\.operator\.repository is x/operator:1"),
            ({"images": {"operator": {"digest": "sha256:12"}}}, r"/images/operator/digest"),
            ({"redis": {"external": {"url": "redis+sentinel://a:5000/mymaster", "existingSecret": "s"}}},
             r"address of Sentinel.*address of the server itself"),
            ({"redis": {"external": {"url": "rediss://sentinel:26379", "existingSecret": "s"}}}, r"of Sentinel"),
            ({"redis": {"external": {"url": "rediss://a:6379,b:6379", "existingSecret": "s"}}}, r"cluster mode"),
            ({"redis": {"external": {"url": "redis+cluster://a:6379", "existingSecret": "s"}}}, r"cluster mode"),
            ({"redis": {"external": {"url": "rediss://u:p@a:6379", "existingSecret": "s"}}}, r"a user or a password"),
            ({"redis": {"external": {"url": "http://a", "existingSecret": "s"}}}, r"write rediss://HOST:PORT/0"),
            ({"redis": {"external": {"url": "rediss://a:6379"}}}, r"redis\.external\.existingSecret is empty"),
            ({"redis": {"external": {"existingSecret": "s"}}}, r"without redis\.external\.url"),
            ({"redis": {"tls": {"source": "secret"}}}, r"redis\.tls\.existingSecret is empty"),
            ({"redis": {"tls": {"source": "certManager"}}}, r"redis\.tls\.issuerRef is empty"),
            ({"redis": {"tls": {"source": "certManager", "issuerRef": {"name": "x"}}}}, r"serves no cert-manager"),
            ({"pushgateway": {"enabled": True, "url": "http://x"}}, r"use your own, or have one installed"),
            ({"leaderboard": {"ingress": {"enabled": True}}}, r"leaderboard\.ingress\.host is empty"),
            ({"leaderboard": {"ingress": {"enabled": True, "host": "x"}}}, r"leaderboard\.from is empty"),
            ({"leaderboard": {"ingress": {"enabled": True, "host": "x"}}}, r"signIn\.enabled is false.*board\.open"),
            ({"leaderboard": {"signIn": {"enabled": True}}}, r"signIn\.issuer is empty.*viewers names nobody"),
            ({"leaderboard": {"url": "http://board.example.org", "signIn": SIGN_IN}}, r"is http://board.*over TLS"),
            ({"leaderboard": {"signIn": SIGN_IN}}, r"leaderboard\.url is empty: with leaderboard\.signIn"),
            ({"leaderboard": {"signIn": {"sessionHours": 0}}}, r"/leaderboard/signIn/sessionHours"),
            ({"leaderboard": {"httpRoute": {"enabled": True}}}, r"leaderboard\.httpRoute\.parentRefs is empty"),
            ({"rbac": {"namespaces": ["a"]}, "test": {"namespace": "b"}}, r"is b, where.*rbac\.namespaces \(a\)"),
            ({"runner": {"egress": [{"ports": [{"port": 443}]}]}}, r"runner\.egress has a rule without `to`"),
            ({"runner": {"egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]}}, r"contains the metadata address"),
            ({"runner": {"egress": [{"to": [{"ipBlock": {"cidr": "169.254.169.254/32"}}]}]}}, r"the metadata address"),
            ({"runner": {"egress": [{"to": [{"ipBlock": {"cidr": "::/0"}}]}]}}, r"except: \[fd00:ec2::254/128\]"),
            ({"replicas": 2}, r"additional properties 'replicas' not allowed"),
            ({"operator": {"replicas": 2}}, r"additional properties 'replicas' not allowed"),
            ({"redis": {"persistence": {"size": "much"}}}, r"/redis/persistence/size"),
            ({"operator": {"logLevel": "LOUD"}}, r"/operator/logLevel.*one of 'DEBUG'"),
        ],
        ids=str,
    )  # fmt: skip
    def test_what_can_not_work_is_refused_with_the_fix(self, helm: str, values: Mapping[str, Any], words: str) -> None:
        assert re.search(words, refusal(helm, values), re.DOTALL)

    def test_all_problems_are_told_at_once(self, helm: str) -> None:
        said = refusal(
            helm,
            {
                "images": {"operator": {"digest": ""}, "runner": {"digest": ""}},
                "pushgateway": {"enabled": True, "url": "http://x"},
            },
        )
        assert said.count("\n  - ") == 3

    def test_a_wide_range_without_the_metadata_address_is_allowed(self, helm: str) -> None:
        block = {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}
        objects(helm, {"runner": {"egress": [{"to": [{"ipBlock": block}]}]}})
        objects(helm, {"runner": {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}})
        block = {"cidr": "::/0", "except": ["fd00:ec2::254/128"]}
        objects(helm, {"runner": {"egress": [{"to": [{"ipBlock": block}]}]}})

    def test_every_object_of_the_schema_is_closed(self) -> None:
        schema = json.loads((chart.CHART / "values.schema.json").read_text(encoding="utf-8"))

        def open_ones(at: str, part: Any) -> Iterator[str]:
            if isinstance(part, dict):
                if "properties" in part and part.get("additionalProperties") is None:
                    yield at
                for name, value in part.items():
                    yield from open_ones(f"{at}/{name}", value)

        assert list(open_ones("", schema)) == []

    def test_the_schema_knows_every_value_and_no_other(self) -> None:
        schema = json.loads((chart.CHART / "values.schema.json").read_text(encoding="utf-8"))

        def field(path: tuple[str, ...]) -> Any:
            part = schema
            for name in path:
                part = part["properties"][name]
                if "$ref" in part:
                    part = schema["$defs"][part["$ref"].rpartition("/")[2]]
            return part

        known = {value.path for value in chart.values()}
        for path in known:
            assert field(path) is not None, path

        def leaves(part: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
            if "$ref" in part:
                part = schema["$defs"][part["$ref"].rpartition("/")[2]]
            yield path
            for name, inner in part.get("properties", {}).items():
                yield from leaves(inner, (*path, name))

        free = {
            ("global",),
            ("redis", "tls", "issuerRef"),
            ("operator", "boardRules"),
            ("leaderboard", "signIn", "boards"),
        }
        for path in leaves(schema, ()):
            inside = path[-1:] == ("tag",) or any(path[: len(one)] == one for one in free) or "resources" in path[:-1]
            assert not path or inside or path in known, f"values.yaml does not show {'.'.join(path)}"


class TestNotes:
    def notes(self, helm: str, *values: Mapping[str, Any]) -> str:
        return chart.template(helm, merged(chart.images(), *values), notes=True).partition("NOTES:")[2]

    def test_they_begin_with_a_first_job_that_is_valid(self, helm: str) -> None:
        text = self.notes(helm)
        found = re.search(r"<<'END'\n(.*?)    END", text, re.DOTALL)
        assert found
        (job,) = parse_jobs(re.sub(r"^ {4}", "", found[1], flags=re.MULTILINE))
        assert job.metadata.name == "first-race"
        assert "port-forward service/velodrome-leaderboard" in text

    def test_they_tell_what_was_left_out_and_what_is_risky(self, helm: str) -> None:
        text = self.notes(helm, {"redis": {"external": {"url": "redis://a:6379", "existingSecret": "s"}}})
        assert re.search(r"Left out.*PodMonitor, PrometheusRule", text)
        assert "has no TLS" in text
        assert "deletes all results" in self.notes(helm, {"redis": {"persistence": {"keep": False}}})

    def test_they_say_who_may_look(self, helm: str) -> None:
        assert "no sign-in: whoever may forward its port" in self.notes(helm)
        shown = {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}, "open": True}
        reached: Mapping[str, Any] = {"leaderboard": {"from": [{"podSelector": {}}]}}
        assert "no sign-in (leaderboard.open)" in self.notes(helm, {"leaderboard": shown, "networkPolicies": reached})
        signed = {"leaderboard": {"url": "https://board.example.org", "signIn": SIGN_IN}}
        assert "sign in with https://login.example.org" in self.notes(helm, signed)


def owned(release: str, namespace: str) -> dict[str, Any]:
    """The metadata of an object that a release has."""
    notes = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace}
    return {"metadata": {"annotations": notes, "labels": {"app.kubernetes.io/managed-by": "Helm"}}}


class TestCrd:
    def test_it_is_the_one_of_deploy(self, helm: str) -> None:
        made = objects(helm)["CustomResourceDefinition", "benchmarkjobs.velodrome.dev"]
        assert (
            made["spec"] == yaml.safe_load((ROOT / "deploy/crd/benchmarkjobs.yaml").read_text(encoding="utf-8"))["spec"]
        )
        assert made["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}

    def test_it_can_be_left_to_others_or_go_with_the_release(self, helm: str) -> None:
        assert not [name for kind, name in objects(helm, {"crds": {"enabled": False}}) if kind.startswith("Custom")]
        made = objects(helm, {"crds": {"keep": False}})["CustomResourceDefinition", "benchmarkjobs.velodrome.dev"]
        assert "annotations" not in made["metadata"]

    @pytest.mark.parametrize(
        ("found", "words"),
        [
            ({}, ""),
            (
                {"metadata": {}},
                "was installed without Helm.*kubectl label .*managed-by=Helm && kubectl annotate .*=velodrome",
            ),
            (owned("velodrome", "velodrome"), ""),
            (owned("old", "velodrome"), "belongs to the release old in the namespace velodrome.*crds.enabled=false"),
            (owned("velodrome", "other"), "belongs to the release velodrome in the namespace other.*kubectl annotate"),
        ],
    )
    def test_one_of_another_release_is_told_with_the_way_out(
        self, helm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: Mapping[str, Any], words: str
    ) -> None:
        """Without a cluster, `lookup` finds nothing: here a value stands for what it finds."""
        copied = tmp_path / "velodrome"
        shutil.copytree(chart.CHART, copied)
        checks = copied / "templates/_checks.tpl"
        asked = re.compile(r'lookup "apiextensions\.k8s\.io/v1" "CustomResourceDefinition" "" "\S+"')
        text, replaced = asked.subn(".Values.global.found", checks.read_text(encoding="utf-8"))
        assert replaced == 1
        checks.write_text(text, encoding="utf-8")
        monkeypatch.setattr(chart, "CHART", copied)
        if words:
            assert re.search(words, refusal(helm, {"global": {"found": found}}))
            assert refusal(helm, {"global": {"found": found}}).count("\n  - ") == 1
            chart.template(helm, merged(chart.images(), {"global": {"found": found}, "crds": {"enabled": False}}))
        else:
            chart.template(helm, merged(chart.images(), {"global": {"found": found}}))


class TestLabels:
    @VARIANTS
    def test_every_object_has_the_usual_labels(
        self, helm: str, values: Mapping[str, Any], apis: tuple[str, ...]
    ) -> None:
        version = yaml.safe_load((chart.CHART / "Chart.yaml").read_text(encoding="utf-8"))
        mine = {"commonLabels": {"team": "ml"}}
        for (_, name), one in objects(helm, values, mine, apis=apis).items():
            labels = one["metadata"]["labels"]
            assert labels["app.kubernetes.io/component"], name
            assert labels.items() >= {
                "app.kubernetes.io/name": "velodrome",
                "app.kubernetes.io/instance": "velodrome",
                "app.kubernetes.io/part-of": "velodrome",
                "app.kubernetes.io/version": version["appVersion"],
                "app.kubernetes.io/managed-by": "Helm",
                "helm.sh/chart": f"velodrome-{version['version']}",
                "team": "ml",
            }.items(), name  # fmt: skip


class TestUpgrades:
    # What may never change: an upgrade would be refused, or would leave the old object, or the results, behind.
    def test_names_selectors_and_claims_stay(self, helm: str) -> None:
        found = objects(helm, EVERYTHING, apis=APIS)
        for kind, name in (("Deployment", "operator"), ("Deployment", "leaderboard"), ("Deployment", "pushgateway"),
                           ("StatefulSet", "redis")):  # fmt: skip
            spec = found[kind, f"velodrome-{name}"]["spec"]
            assert spec["selector"] == {"matchLabels": component(name)}
        redis = found["StatefulSet", "velodrome-redis"]["spec"]
        assert redis["serviceName"] == "velodrome-redis"
        (claim,) = redis["volumeClaimTemplates"]
        assert claim == {
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
        }

    def test_another_release_name_finds_the_same_objects(self, helm: str) -> None:
        assert objects(helm).keys() == objects(helm, release="another").keys()

    def test_pods_restart_for_a_reason_alone(self, helm: str) -> None:
        """A chart of a newer version, or a label, an alert or a board's address, leaves Redis and its pods alone."""
        before, after = (
            objects(helm),
            objects(helm, {"leaderboard": {"url": "https://x"}, "operator": {"logLevel": "DEBUG"}}),
        )
        for key in (("StatefulSet", "velodrome-redis"), ("Deployment", "velodrome-leaderboard")):
            assert before[key] == after[key]
        for one in before.values():
            template = one.get("spec", {}).get("template", {}) if one["kind"] in ("Deployment", "StatefulSet") else {}
            assert (
                not {"helm.sh/chart", "app.kubernetes.io/version"}
                & template.get("metadata", {}).get("labels", {}).keys()
            )
        operator = before["Deployment", "velodrome-operator"]["spec"]["template"]["metadata"]["annotations"]
        other = objects(helm, {"images": {"runner": {"digest": "sha256:" + "1" * 64}}})
        assert operator != other["Deployment", "velodrome-operator"]["spec"]["template"]["metadata"]["annotations"]


class TestGenerated:
    def test_deploy_is_what_the_chart_renders_to(self, helm: str) -> None:
        for path, text in chart.deploy(helm).items():
            assert path.read_text(encoding="utf-8") == text, f"{path.relative_to(ROOT)}: run make generate"

    def test_the_chart_has_the_newest_copies_and_readme(self) -> None:
        for path, text in {**chart.copies(), chart.CHART / "README.md": chart.readme()}.items():
            assert path.read_text(encoding="utf-8") == text, f"{path.relative_to(ROOT)}: run make generate"
        assert {path for path in (chart.CHART / "files").rglob("*") if path.is_file()} == chart.copies().keys()

    def test_a_comment_explains_each_value(self) -> None:
        found = list(chart.values())
        assert len(found) > 100
        for value in found:
            assert value.comment.endswith((".", ":", "`")), value.path
        defaults = yaml.safe_load((chart.CHART / "values.yaml").read_text(encoding="utf-8"))
        for value in found:
            part = defaults
            for name in value.path:
                part = part[name]
            assert value.default is None or yaml.safe_load(value.default) == part, value.path

    def test_a_check_finds_what_differs(self, helm: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chart, "program", lambda: helm)
        monkeypatch.setattr(generate, "pages", dict)
        assert generate.main(["--check"]) == 0
        monkeypatch.setattr(chart, "readme", lambda: "another")
        assert generate.main(["--check"]) == 1

    def test_without_helm_it_says_what_is_missing(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setattr(generate, "pages", dict)
        assert generate.main(["--check"]) == 0
        assert "there is none: install Helm" in capsys.readouterr().out

    def test_kustomize_names_what_is_there(self) -> None:
        for file in sorted((ROOT / "deploy").rglob("kustomization.yaml")):
            for name in yaml.safe_load(file.read_text(encoding="utf-8")).get("resources", []):
                assert (file.parent / name).exists(), f"{file}: {name}"
        named = yaml.safe_load((ROOT / "deploy/kustomization.yaml").read_text(encoding="utf-8"))["resources"]
        assert {f"base/{path.name}" for path in (ROOT / "deploy/base").glob("*.yaml")} <= set(named)

    def test_whoever_deletes_what_kustomize_applied_keeps_the_results(self) -> None:
        kinds = set()
        for name in ("install.yaml", *(f"base/{path.name}" for path in (ROOT / "deploy/base").glob("*.yaml"))):
            kinds |= {one["kind"] for one in yaml.safe_load_all((ROOT / "deploy" / name).read_text()) if one}
        assert not {"Namespace", "PersistentVolumeClaim", "Secret"} & kinds

    def test_helm_packages_it(self, helm: str, tmp_path: Path) -> None:
        done = subprocess.run(
            [helm, "package", str(chart.CHART), "-d", str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        listed = subprocess.run(
            ["tar", "tzf", str(next(tmp_path.glob("*.tgz")))], capture_output=True, text=True, check=True
        )
        assert "velodrome/files/crd.yaml" in listed.stdout
        assert "digests.yaml" not in listed.stdout

    def test_helm_lints_it(self, helm: str) -> None:
        sets = [word for name in chart.COMPONENTS for word in ("--set", f"images.{name}.digest={chart.ZEROS}")]
        done = subprocess.run(
            [helm, "lint", "--strict", str(chart.CHART), *sets], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout
