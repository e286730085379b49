"""Checks what a security review looks at in an installation. What it finds is a warning: races run all the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from velodrome import keys
from velodrome.cli.cluster.forwarding import decoded
from velodrome.cli.cluster.installation import Installation, containers, pod_labels, variables, volumes_of
from velodrome.cli.cluster.kubectl import BENCHMARKJOBS
from velodrome.connections.certificates import ends_at
from velodrome.machine.checks import Check
from velodrome.store.roles import CERTIFICATE
from velodrome.text import command, counted

Raw = Mapping[str, Any]

_COMPONENTS: Final = ("operator", "leaderboard", "redis")
_CHART: Final = "install the chart charts/velodrome, which brings"
_MOST_NAMES: Final = 3
_DAYS_LEFT: Final = 90
# What no operator needs: with one of these rights, whoever takes it over owns more than the races.
_EXCESSIVE: Final = (
    *(("get", "secrets"), ("list", "secrets"), ("create", "pods"), ("create", "pods/exec")),
    *(("create", "rolebindings.rbac.authorization.k8s.io"), ("escalate", "clusterroles.rbac.authorization.k8s.io")),
    *(("impersonate", "users"), ("get", BENCHMARKJOBS)),
)


def network_policies(at: Installation) -> Check:
    """Whether policies say who may connect to each component."""
    policies = at.kubectl.items("networkpolicy", "-n", at.namespace)
    bare = [name for name, found in _workloads(at).items() if not any(_guards(each, found) for each in policies)]
    if bare:
        found = f"any pod of the cluster may connect to: {', '.join(bare)}"
        return Check("network policies", "warning", found, f"{_CHART} them (networkPolicies.enabled)")
    return Check("network policies", "ok", f"{counted(len(policies), 'policy', 'policies')} in {at.namespace}")


def runner_network(at: Installation) -> Check:
    """Whether policies limit what trials may connect to, in the namespaces that have races."""
    bare = []
    for namespace in _racing(at):
        policies = at.kubectl.items("networkpolicy", "-n", namespace)
        if not any(
            "Egress" in _types(each) and _selects(each, {keys.LABEL_ROLE: keys.ROLE_RUNNER}) for each in policies
        ):
            bare.append(namespace)
    if bare:
        found = f"trials may connect to anything, in {_named(bare)}"
        return Check("trials' network", "warning", found, f"{_CHART} policies for them (runner.namespaces)")
    return Check("trials' network", "ok", "policies limit it where there are races")


def redis_users(at: Installation) -> Check:
    """Whether the leaderboard has a user of its own in Redis, and not the operator's password."""
    workloads = _workloads(at)
    shared = _passwords(workloads.get("operator", {})) & _passwords(workloads.get("leaderboard", {}))
    if shared:
        secret, key = min(shared)
        found = f"the leaderboard has the operator's password (key {key} of Secret {secret}): it may delete all results"
        return Check("Redis' users", "warning", found, f"{_CHART} a user that only reads")
    return Check("Redis' users", "ok", "the leaderboard and the operator have passwords of their own")


def encryption(at: Installation) -> Check:
    """Whether the connections to Redis are encrypted."""
    if not at.redis_url:
        return Check("encryption", "warning", "the address of Redis is not in the operator's pod", "look at its Secret")
    if not at.redis_url.startswith("rediss://"):
        found = f"results and passwords travel to {at.redis_host} in clear"
        return Check("encryption", "warning", found, f"{_CHART} Redis over TLS (rediss://)")
    return Check("encryption", "ok", f"{at.redis_host} is reached over TLS")


def certificate(at: Installation) -> Check:
    """Whether Redis' certificate, if it is Velodrome's own, is valid for a while."""
    name = "certificate"
    secret = None if at.workload("redis") is None else at.kubectl.found("secret", at.redis_name, "-n", at.namespace)
    content = decoded(secret or {}).get(CERTIFICATE)
    if content is None:
        return Check(name, "ok", "none of Velodrome's own")
    try:
        left = (ends_at(content) - datetime.now(UTC)).days
    except ImportError:
        return Check(name, "ok", "not looked at: that needs pip install 'velodrome[certificates]'")
    if left < _DAYS_LEFT:
        fix = command("velodrome", "rotate", "--cluster", "--certificate", "-n", at.namespace)
        return Check(name, "warning", f"Redis' certificate is valid for {max(left, 0)} more days", fix)
    return Check(name, "ok", f"Redis' is valid for {left} more days")


def disruption_budgets(at: Installation) -> Check:
    """Whether a drained node takes a component away unasked."""
    budgets = at.kubectl.items("poddisruptionbudget", "-n", at.namespace)
    bare = [
        name for name, found in _workloads(at).items() if not any(_selects(each, pod_labels(found)) for each in budgets)
    ]
    if bare:
        found = f"a drained node may take these away unasked: {', '.join(bare)}"
        return Check("disruption budgets", "warning", found, f"{_CHART} PodDisruptionBudgets")
    return Check("disruption budgets", "ok", f"{counted(len(budgets), 'budget')} in {at.namespace}")


def resources(at: Installation) -> Check:
    """Whether each component asks for what it needs, and has a limit for its memory."""
    bare = [
        name
        for name, found in _workloads(at).items()
        for container in containers(found)
        if not (container.get("resources") or {}).get("requests")
        or not ((container.get("resources") or {}).get("limits") or {}).get("memory")
    ]
    if bare:
        found = f"no requests, or no limit for memory: {', '.join(dict.fromkeys(bare))}"
        return Check("resources", "warning", found, "write both, as the chart charts/velodrome does")
    return Check("resources", "ok", "each component has requests and a limit for its memory")


def quotas(at: Installation) -> Check:
    """Whether the namespaces that have races have a quota, so that no team takes the whole cluster."""
    racing = _racing(at)
    bare = [name for name in racing if not at.kubectl.items("resourcequota", "-n", name)]
    if bare:
        fix = command("kubectl", "create", "quota", "races", "-n", bare[0], "--hard=pods=20,requests.cpu=64")
        return Check("quotas", "warning", f"races may take the whole cluster, in {_named(bare)}", fix)
    each = f"{counted(len(racing), 'namespace')} with races, each has one"
    return Check("quotas", "ok", each if racing else "nobody races yet")


def durability(at: Installation) -> Check:
    """Whether the volume with the results outlives its claim, which is deleted with the namespace."""
    found = at.workload("redis")
    if found is None:
        return Check("results", "ok", "others keep Redis")
    claims = at.kubectl.items("persistentvolumeclaim", "-n", at.namespace)
    prefixes = tuple(
        f"{each['metadata']['name']}-{found['metadata']['name']}-"
        for each in found["spec"].get("volumeClaimTemplates") or ()
    )
    own = [each for each in claims if prefixes and each["metadata"]["name"].startswith(prefixes)]
    if not own:
        fix = "give Redis a volumeClaimTemplate, as deploy/ and the chart do"
        return Check("results", "warning", "Redis has no volume: results end with its pod", fix)
    for claim in own:
        name = claim["spec"].get("volumeName")
        volume = at.kubectl.found("persistentvolume", name) if name else None
        if volume is not None and volume["spec"].get("persistentVolumeReclaimPolicy") != "Retain":
            patch = '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}'
            words = f"all results are deleted with the namespace {at.namespace}, or with {claim['metadata']['name']}"
            return Check(
                "results", "warning", words, command("kubectl", "patch", "persistentvolume", name, "-p", patch)
            )
    return Check("results", "ok", "their volume outlives its claim")


def reach(at: Installation) -> Check:
    """What whoever takes the operator over could do elsewhere."""
    name = "operator's reach"
    if not at.kubectl.may("impersonate", "serviceaccounts"):
        return Check(name, "warning", "you may not ask on its behalf", "ask an administrator to look")
    account = f"--as={at.account}"
    too_much = [
        f"{verb} {what}" for verb, what in _EXCESSIVE if at.kubectl.may(verb, what, account, "--all-namespaces")
    ]
    if too_much:
        fix = "grant the role of this version alone: deploy/base/operator.yaml"
        return Check(name, "warning", f"it needs no right to {', '.join(too_much)}", fix)
    everywhere = [
        what for what in ("jobs.batch", "secrets") if at.kubectl.may("create", what, account, "--all-namespaces")
    ]
    if everywhere and not _is_limited(at):
        found = f"it may create {' and '.join(everywhere)} in every namespace: who takes it over runs any pod"
        fix = f"{_CHART} an admission policy (rbac.admissionPolicy), or roles in the namespaces of rbac.namespaces"
        return Check(name, "warning", found, fix)
    return Check(name, "ok", "it may do what it has to, and nothing that is checked here besides")


HARDENING: Sequence[Callable[[Installation], Check]] = (
    network_policies, runner_network, redis_users, encryption, certificate, disruption_budgets, resources, quotas,
    durability, reach,
)  # fmt: skip


def _workloads(at: Installation) -> dict[str, dict[str, Any]]:
    found = {name: at.workload(name) for name in _COMPONENTS}
    return {name: each for name, each in found.items() if each is not None}


def _racing(at: Installation) -> list[str]:
    """The namespaces that have BenchmarkJobs."""
    return sorted({str(each["metadata"]["namespace"]) for each in at.kubectl.items(BENCHMARKJOBS, "--all-namespaces")})


def _named(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{', '.join(names[:_MOST_NAMES])}{rest}"


def _types(policy: Raw) -> Sequence[str]:
    return policy["spec"].get("policyTypes") or ["Ingress"]


def _guards(policy: Raw, workload: Raw) -> bool:
    return "Ingress" in _types(policy) and _selects(policy, pod_labels(workload))


def _selects(selecting: Raw, labels: Mapping[str, str]) -> bool:
    """Whether the selector of a policy or of a budget covers pods with these labels. Others may have more labels."""
    spec = selecting["spec"]
    selector = spec.get("podSelector") if "podSelector" in spec else spec.get("selector")
    wanted = (selector or {}).get("matchLabels") or {}
    expressions = (selector or {}).get("matchExpressions") or ()
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(each, labels.get(str(each.get("key")))) for each in expressions
    )


def _holds(expression: Raw, value: str | None) -> bool:
    match expression.get("operator"):
        case "In":
            return value in (expression.get("values") or ())
        case "NotIn":
            return value not in (expression.get("values") or ())
        case "Exists":
            return value is not None
    return value is None


def _passwords(workload: Raw) -> set[tuple[str, str]]:
    """The Secrets and keys from which a workload has passwords, as variables and as files."""
    found: set[tuple[str, str]] = set()
    for name, variable in variables(workload).items():
        selector = (variable.get("valueFrom") or {}).get("secretKeyRef")
        if selector is not None and ("PASSWORD" in name or name == keys.ENV_REDIS_URL):
            found.add((str(selector["name"]), str(selector["key"])))
    for volume in volumes_of(workload):
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for source in sources:
            secret = source.get("secret") or {}
            for item in secret.get("items") or ():
                if "password" in str(item.get("key")):
                    found.add((str(secret.get("secretName") or secret.get("name")), str(item["key"])))
    return found


def _is_limited(at: Installation) -> bool:
    """Whether an admission policy of Velodrome's limits what the operator creates."""
    policies = at.kubectl.items("validatingadmissionpolicy")
    return any((each["metadata"].get("labels") or {}).get("app.kubernetes.io/name") == "velodrome" for each in policies)
