"""What the linters of manifests read: the rendered chart, and what the operator makes for several BenchmarkJobs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tools import chart
from tools.linting.programs import ROOT, go_program
from velodrome.plan import plan
from velodrome.spec import BenchmarkJob, parse_jobs
from velodrome_operator.children import ChildSettings, children

Manifest = dict[str, Any]

_DIGEST = "sha256:" + "0123456789abcdef" * 4
_IMAGE = f"registry.example/velodrome-runner@{_DIGEST}"
_UID = "3f1c2d54-0000-4000-8000-000000000001"
_REDIS = "redis://user:password@velodrome-redis.velodrome.svc.cluster.local:6379/0"  # as the operator writes it

# Each optional part of the chart is rendered once: what is off by default is linted too.
_APIS = (
    "monitoring.coreos.com/v1", "monitoring.coreos.com/v1/PodMonitor", "monitoring.coreos.com/v1/ServiceMonitor",
    "monitoring.coreos.com/v1/PrometheusRule", "cert-manager.io/v1", "cert-manager.io/v1/Certificate",
    "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy", "gateway.networking.k8s.io/v1",
    "gateway.networking.k8s.io/v1/HTTPRoute",
)  # fmt: skip
_GATEWAY = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateways"}}}
_VALUES: dict[str, dict[str, Any]] = {
    "chart with its defaults": {},
    "chart with every part": {
        "pushgateway": {"enabled": True},
        "backup": {"enabled": True},
        "leaderboard": {
            "url": "https://velodrome.registry.example",
            "signIn": {
                "enabled": True, "issuer": "https://login.registry.example", "clientId": "velodrome",
                "existingSecret": "sign-in", "viewers": {"claim": "groups", "values": ["*"]},
            },
            "ingress": {"enabled": True, "host": "velodrome.registry.example", "tlsSecret": "tls"},
            "httpRoute": {
                "enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["velodrome.registry.example"],
            },
        },
        "monitoring": {"monitor": {"kind": "ServiceMonitor"}},
        "networkPolicies": {"leaderboard": {"from": [_GATEWAY]}},
        "redis": {"tls": {"source": "certManager", "issuerRef": {"name": "internal", "kind": "ClusterIssuer"}}},
        "runner": {"namespaces": ["team"], "quota": {"hard": {"pods": "100"}}},
    },
    "chart for one namespace and a Redis of one's own": {
        "rbac": {"namespaces": ["team"]},
        "redis": {"external": {"url": "rediss://redis.registry.example:6379/0", "existingSecret": "redis"}},
    },
}  # fmt: skip


def installation() -> dict[str, list[Manifest]]:
    """The objects of an installation, by the values that the chart is given."""
    return {name: _rendered(values) for name, values in _VALUES.items()}


def races() -> dict[str, list[Manifest]]:
    """The objects that the operator makes for the examples and for races of other kinds, by the race."""
    given = {path.stem: path.read_text() for path in sorted((ROOT / "deploy" / "examples").glob("*.yaml"))}
    found = {}
    for name, text in given.items():
        for job in parse_jobs(text):
            found[f"race {name}"] = _children(job)
    digits = yaml.safe_load((ROOT / "deploy" / "examples" / "digits.yaml").read_text())
    for name, runner in {
        "on a GPU": {
            "resources": {
                "requests": {"cpu": "4", "memory": "16Gi"},
                "limits": {"memory": "16Gi", "nvidia.com/gpu": "1"},
            }
        },
        "distributed": {
            "nodes": 2,
            "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}},
        },
    }.items():
        (job,) = parse_jobs(json.dumps({**digits, "spec": {**digits["spec"], "runner": runner}}))
        found[f"race {name}"] = _children(job)
    return found


def crd() -> Manifest:
    """The CRD."""
    loaded: Manifest = yaml.safe_load((ROOT / "deploy" / "crd" / "benchmarkjobs.yaml").read_text())
    return loaded


def written(sources: dict[str, list[Manifest]], folder: Path) -> Iterator[Path]:
    """Writes each source as one file, and returns the files."""
    for name, manifests in sources.items():
        path = folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.yaml"
        path.write_text(yaml.safe_dump_all(manifests, sort_keys=False))
        yield path


def _children(job: BenchmarkJob) -> list[Manifest]:
    made = children(job, plan(job), _UID, _REDIS, ChildSettings(_IMAGE))
    return [{**child, "metadata": {**child["metadata"], "namespace": "team"}} for child in made]


def _rendered(values: dict[str, Any]) -> list[Manifest]:
    images = {"registry": "registry.example", **{name: {"digest": _DIGEST} for name in chart.COMPONENTS}}
    text = chart.template(go_program("helm"), {**values, "images": images}, apis=_APIS, hooks=True)
    return [document for document in yaml.safe_load_all(text) if document]
