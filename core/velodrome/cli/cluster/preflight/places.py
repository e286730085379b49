"""Checks whether there is room for a job's pods: quotas, nodes and devices."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from velodrome.cli.cluster.kubectl import Kubectl
from velodrome.cli.cluster.preflight.needs import PodNeeds
from velodrome.cli.cluster.preflight.nodes import fitting
from velodrome.cli.cluster.preflight.quantities import amounts, shown
from velodrome.cli.cluster.preflight.quota import findings
from velodrome.machine.checks import Check
from velodrome.spec import BenchmarkJob
from velodrome.text import counted

_MOST_REASONS = 4


def quota_checks(kubectl: Kubectl, namespace: str, job: BenchmarkJob, needs: PodNeeds) -> Iterator[Check]:
    """Whether the namespace's quotas and limit ranges admit the pods."""
    quotas = kubectl.items("resourcequota", "-n", namespace)
    ranges = kubectl.items("limitrange", "-n", namespace)
    found = list(findings(needs, quotas, ranges, job.spec.runner.priority_class_name))
    for finding in found:
        yield Check("quota", "missing" if finding.fatal else "warning", finding.found, finding.fix)
    if not found:
        here = f"{counted(len(quotas), 'quota')} and {counted(len(ranges), 'limit range')}"
        pods = counted(needs.pods, "pod")
        yield Check("quota", "ok", f"{here} admit {pods} at once" if quotas or ranges else f"{namespace} has none")


def node_checks(kubectl: Kubectl, job: BenchmarkJob, needs: PodNeeds) -> Iterator[Check]:
    """Whether nodes offer the devices that pods ask for, and whether a node may run a pod."""
    nodes = kubectl.items("nodes")
    for name, wanted in needs.devices.items():
        offered = [amounts(node.get("status", {}).get("allocatable")).get(name, Decimal(0)) for node in nodes]
        kinds = sorted({key for node in nodes for key in node["status"].get("allocatable") or {} if "/" in key})
        if not any(offered):
            have = f"they offer {', '.join(kinds)}" if kinds else "they offer no devices"
            fix = "ask for what they offer, or velodrome doctor --cluster says what such nodes lack"
            yield Check("devices", "missing", f"no node offers {name}; {have}", fix)
        elif max(offered) < wanted:
            found = f"a pod needs {shown(wanted)} of {name}, no node has more than {shown(max(offered))}"
            fix = "ask for less of it; spec.runner.nodes trains one model on several nodes"
            yield Check("devices", "missing", found, fix)
        else:
            yield Check(
                "devices", "ok", f"{shown(sum(offered, Decimal(0)))} of {name} on {counted(len(nodes), 'node')}"
            )
    fit, why = fitting(nodes, job.spec.runner, needs.requests)
    if not fit:
        reasons = "; ".join(f"{count} {reason}" for reason, count in why.most_common(_MOST_REASONS))
        found = f"none of {counted(len(nodes), 'node')} may run a pod: {reasons}"
        yield Check("nodes", "missing", found, "change what the reasons name, or add such a node")
    elif needs.alone and len(fit) < needs.per_trial:
        found = f"a trial needs {needs.per_trial} nodes of its own, and {len(fit)} may run its pods"
        yield Check("nodes", "missing", found, "write a smaller spec.runner.nodes, or execution.isolation: None")
    elif needs.alone and len(fit) < needs.pods:
        most = counted(len(fit) // needs.per_trial, "trial runs", "trials run")
        found = f"{counted(len(fit), 'node')} may run pods: {most} at once, {job.spec.execution.parallelism} are wanted"
        yield Check("nodes", "warning", found, "the others wait; or write execution.isolation: None")
    else:
        yield Check("nodes", "ok", f"{len(fit)} of {counted(len(nodes), 'node')} may run a pod")
