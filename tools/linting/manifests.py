"""What the linters of manifests read: the rendered chart, and what the operator makes for several BenchmarkJobs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tools.linting.programs import ROOT, go_program
from velodrome.plan import plan
from velodrome.spec import BenchmarkJob, parse_jobs
from velodrome_operator.children import ChildSettings, children

Manifest = dict[str, Any]

CHART = ROOT / "charts" / "velodrome"
_DIGEST = "sha256:" + "0123456789abcdef" * 4
_IMAGE = f"registry.example/velodrome-runner@{_DIGEST}"
_UID = "3f1c2d54-0000-4000-8000-000000000001"
_REDIS = "redis://user:password@velodrome-redis.velodrome.svc.cluster.local:6379/0"  # as the operator writes it

# Each optional part of the chart is rendered once: what is off by default is linted too.
_APIS = (
    "monitoring.coreos.com/v1", "monitoring.coreos.com/v1/PodMonitor", "monitoring.coreos.com/v1/ServiceMonitor",
    "monitoring.coreos.com/v1/PrometheusRule", "cert-manager.io/v1", "cert-manager.io/v1/Certificate",
    "gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1/HTTPRoute",
)  # fmt: skip
_NAMED_IMAGES = ("operator", "leaderboard", "redis", "runner", "pushgateway")


def installation() -> dict[str, list[Manifest]]:
    """The objects of an installation, by the values that the chart is given."""
    found = {"chart with its defaults": _rendered({})}
    for path in sorted((CHART / "ci").glob("*-values.yaml")):
        found[f"chart with {path.name}"] = _rendered({}, str(path))
    found["chart with a Pushgateway"] = _rendered({"pushgateway.enabled": "true"})
    return found


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
        path = folder / f"{name.replace(' ', '-')}.yaml"
        path.write_text(yaml.safe_dump_all(manifests, sort_keys=False))
        yield path


def _children(job: BenchmarkJob) -> list[Manifest]:
    made = children(job, plan(job), _UID, _REDIS, ChildSettings(_IMAGE))
    return [{**child, "metadata": {**child["metadata"], "namespace": "team"}} for child in made]


def _rendered(values: dict[str, str], *files: str) -> list[Manifest]:
    named = {f"images.{name}.digest": _DIGEST for name in _NAMED_IMAGES} | {"images.registry": "registry.example"}
    line = [
        go_program("helm"), "template", "velodrome", str(CHART), "--namespace", "velodrome",
        *_each("--api-versions", _APIS), *_each("--values", files),
        *_each("--set", (f"{key}={value}" for key, value in (named | values).items())),
    ]  # fmt: skip
    return list(_loaded(subprocess.run(line, check=True, text=True, stdout=subprocess.PIPE).stdout))


def _each(option: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def _loaded(text: str) -> Iterator[Manifest]:
    yield from (document for document in yaml.safe_load_all(text) if document)
