"""Checks what a race on GPUs needs of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from velodrome.cli.cluster.installation import Installation
from velodrome.errors import ClusterError
from velodrome.machine.checks import Check
from velodrome.text import counted
from velodrome.vocabulary import GPU_RESOURCES

# Labels by which node feature discovery, NVIDIA's operator and clouds mark a node that has a GPU.
_MARKS: Final = (
    *("feature.node.kubernetes.io/pci-10de.present", "feature.node.kubernetes.io/pci-0302_10de.present"),
    *("nvidia.com/gpu.present", "nvidia.com/gpu.product"),
)
_PLUGIN: Final = "device-plugin"
_DRIVERS: Final = ("gpu.nvidia.com", "gpu.amd.com", "gpu.intel.com")
_RUNTIME: Final = "nvidia"


def gpus(at: Installation) -> Check:
    """How many GPUs the nodes offer, and what is lacking where they offer none."""
    nodes = at.kubectl.items("nodes")
    offered: dict[str, int] = {}
    for node in nodes:
        for name, amount in (node["status"].get("allocatable") or {}).items():
            if name.startswith(GPU_RESOURCES) and str(amount).isdigit() and int(amount):
                offered[name] = offered.get(name, 0) + int(amount)
    slices = [each for each in _listed(at, "resourceslice") if each.get("spec", {}).get("driver") in _DRIVERS]
    if offered or slices:
        words = [f"{amount} {name}" for name, amount in sorted(offered.items())]
        words += [f"{counted(len(slices), 'resource slice')} of {slices[0]['spec']['driver']}"] if slices else []
        return Check("GPUs", "ok", f"{', '.join(words)} on {counted(len(nodes), 'node')}")
    marked = [node["metadata"]["name"] for node in nodes if _is_marked(node)]
    lacking = ["none offers nvidia.com/gpu"]
    if not any(_PLUGIN in each["metadata"]["name"] for each in at.kubectl.items("daemonset", "--all-namespaces")):
        lacking.append("no device plugin and no DRA driver runs")
    if not any(each.get("handler") == _RUNTIME for each in _listed(at, "runtimeclass")):
        lacking.append(f"no RuntimeClass leads to the runtime {_RUNTIME}")
    found = f"{counted(len(nodes), 'node')}, {'; '.join(lacking)}"
    if marked:
        fix = f"{marked[0]} has a GPU: install its driver, the container toolkit, and a device plugin or DRA driver"
        return Check("GPUs", "warning", found, fix)
    fix = "install NVIDIA's GPU operator, if there are GPUs; races on CPUs need none"
    return Check("GPUs", "warning", found, fix)


def _is_marked(node: Mapping[str, Any]) -> bool:
    labels = node["metadata"].get("labels") or {}
    return any(labels.get(mark) not in (None, "false") for mark in _MARKS)


def _listed(at: Installation, kind: str) -> list[dict[str, Any]]:
    """The objects of a kind that the cluster may not serve, or not to this person."""
    try:
        return at.kubectl.items(kind)
    except ClusterError:
        return []
