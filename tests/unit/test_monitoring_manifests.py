"""What deploy/monitoring adds to a cluster fits what deploy/ installs: names, ports, labels, addresses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from velodrome import keys
from velodrome.monitoring.telemetry import FAMILIES, LIVE

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
MONITORING = DEPLOY / "monitoring"
COMPONENTS = sorted(MONITORING.rglob("kustomization.yaml"))
DASHBOARDS = sorted(MONITORING.glob("dashboards/*.json"))


def documents(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """By kind and name."""
    found = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


OPERATOR = documents(DEPLOY / "base/operator.yaml")["Deployment", "velodrome-operator"]
GATEWAY = documents(MONITORING / "pushgateway/pushgateway.yaml")
MONITORS = documents(MONITORING / "podmonitors.yaml")
NAMESPACE = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())["namespace"]


@pytest.mark.parametrize("file", COMPONENTS, ids=lambda file: file.parent.name)
def test_a_component_names_what_is_there(file: Path) -> None:
    component = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert component["kind"] == "Component"
    named = [*component.get("components", []), *component.get("resources", [])]
    named += [source.rpartition("=")[2] for one in component.get("configMapGenerator", []) for source in one["files"]]
    assert named
    for name in named:
        assert (file.parent / name).exists(), name


def test_every_component_is_named_in_the_docs() -> None:
    text = (DEPLOY.parent / "docs/monitoring/README.md").read_text(encoding="utf-8")
    for file in COMPONENTS:
        assert f"../deploy/{file.parent.relative_to(DEPLOY)}" in text


@pytest.mark.parametrize("name", ["operator", "pushgateway"])
def test_a_pod_monitor_finds_the_pods_and_their_port(name: str) -> None:
    monitor = MONITORS["PodMonitor", f"velodrome-{name}"]["spec"]
    pods = {"operator": OPERATOR, "pushgateway": GATEWAY["Deployment", "velodrome-pushgateway"]}[name]
    template = pods["spec"]["template"]
    assert monitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    ports = {port["name"] for container in template["spec"]["containers"] for port in container["ports"]}
    assert endpoint["port"] in ports
    assert endpoint["honorLabels"], "else the namespace of a BenchmarkJob becomes exported_namespace"


def test_the_example_scrapes_the_services_that_there_are() -> None:
    config = yaml.safe_load((MONITORING / "examples/prometheus.yaml").read_text(encoding="utf-8"))
    services = {**GATEWAY, **documents(DEPLOY / "base/operator.yaml")}
    addresses = {
        f"{name}.{NAMESPACE}.svc:{service['spec']['ports'][0]['port']}"
        for (kind, name), service in services.items()
        if kind == "Service"
    }
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert {target for job in jobs.values() for one in job["static_configs"] for target in one["targets"]} == addresses
    assert all(job["honor_labels"] for job in jobs.values())
    assert "velodrome-operator" in jobs
    service = services["Service", "velodrome-operator"]["spec"]
    assert service["publishNotReadyAddresses"], "an operator without Redis is not ready, and says so by its metrics"
    assert service["selector"].items() <= OPERATOR["spec"]["template"]["metadata"]["labels"].items()


def test_nothing_but_live_metrics_is_taken_from_the_pushgateway() -> None:
    """A runner may push a verdict in the operator's name: no scrape may believe it."""
    (endpoint,) = MONITORS["PodMonitor", "velodrome-pushgateway"]["spec"]["podMetricsEndpoints"]
    (kept,) = endpoint["metricRelabelings"]
    assert (kept["action"], kept["sourceLabels"]) == ("keep", ["__name__"])
    config = yaml.safe_load((MONITORING / "examples/prometheus.yaml").read_text(encoding="utf-8"))
    (job,) = (one for one in config["scrape_configs"] if one["job_name"] == "velodrome-pushgateway")
    (plain,) = job["metric_relabel_configs"]
    assert plain == {"action": "keep", "source_labels": ["__name__"], "regex": kept["regex"]}
    live = {family.exposed for family in LIVE}
    names = {f"{family.exposed}{end}" for family in FAMILIES for end in ("", "_bucket", "_sum", "_count")} | {"up"}
    assert {name for name in names if re.fullmatch(kept["regex"], name)} == live


def test_the_rules_ask_for_the_job_that_the_pod_monitor_gives() -> None:
    (endpoint,) = MONITORS["PodMonitor", "velodrome-operator"]["spec"]["podMetricsEndpoints"]
    given = {relabeling["targetLabel"]: relabeling["replacement"] for relabeling in endpoint["relabelings"]}
    rules = (MONITORING / "rules/velodrome.rules.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r'up\{job="([^"]+)"\}', rules)) == {given["job"]}


def test_the_operator_gets_the_gateways_address() -> None:
    component = yaml.safe_load((MONITORING / "pushgateway/kustomization.yaml").read_text(encoding="utf-8"))
    (patch,) = component["patches"]
    assert (patch["target"]["kind"], patch["target"]["name"]) == (OPERATOR["kind"], OPERATOR["metadata"]["name"])
    (operation,) = yaml.safe_load(patch["patch"])
    assert (operation["op"], operation["path"]) == ("add", "/spec/template/spec/containers/0/args/-")
    assert OPERATOR["spec"]["template"]["spec"]["containers"][0]["args"]
    (service,) = (one for (kind, _), one in GATEWAY.items() if kind == "Service")
    address = f"{service['metadata']['name']}.{NAMESPACE}.svc.cluster.local:{service['spec']['ports'][0]['port']}"
    assert operation["value"] == f"--pushgateway=http://{address}"


def test_the_gateways_pod_is_restricted_and_bounded() -> None:
    pod = GATEWAY["Deployment", "velodrome-pushgateway"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    assert {"livenessProbe", "readinessProbe"} <= container.keys()
    assert (
        DEPLOY / "images" / f"{container['image'].partition('@')[0].removeprefix('velodrome-')}.Dockerfile"
    ).is_file()


def test_runners_the_operator_and_prometheus_alone_reach_the_gateway() -> None:
    policy = GATEWAY["NetworkPolicy", "velodrome-pushgateway"]["spec"]
    template = GATEWAY["Deployment", "velodrome-pushgateway"]["spec"]["template"]
    assert policy["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (rule,) = policy["ingress"]
    allowed = [source["podSelector"]["matchLabels"] for source in rule["from"]]
    assert allowed == [
        {keys.LABEL_ROLE: keys.ROLE_RUNNER},
        OPERATOR["spec"]["selector"]["matchLabels"],
        {"app.kubernetes.io/name": "prometheus"},
    ]
    assert [source.get("namespaceSelector") for source in rule["from"]] == [{}, None, {}]


def queries(document: Any) -> Iterator[str]:
    """The expressions and the variables' queries of a dashboard."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name in ("expr", "query") and isinstance(value, str) and value != "prometheus":
                yield value
            else:
                yield from queries(value)
    elif isinstance(document, list):
        for value in document:
            yield from queries(value)


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_asks_for_series_that_there_are(file: Path) -> None:
    known = {family.exposed for family in FAMILIES}
    known |= {f"{family.name}_bucket" for family in FAMILIES if family.type == "histogram"}
    known |= set(re.findall(r"record: (\S+)", (MONITORING / "rules/velodrome.rules.yaml").read_text(encoding="utf-8")))
    found = list(queries(json.loads(file.read_text(encoding="utf-8"))))
    assert len(found) > 10
    for query in found:
        asked = set(re.findall(r"\b(?:velodrome|ALERTS)[a-zA-Z_:]*", re.sub(r'"[^"]*"', "", query)))
        assert asked, query
        assert asked <= known | {"ALERTS"}, query


def test_the_dashboards_show_every_series_that_is_exposed() -> None:
    """But for a few that alerts alone need."""
    text = "".join(query for file in DASHBOARDS for query in queries(json.loads(file.read_text(encoding="utf-8"))))
    alerts_alone = {
        "velodrome_benchmarkjob_progress_timestamp_seconds",
        "velodrome_benchmarkjob_results_waiting_since_timestamp_seconds",
        "velodrome_benchmarkjob_state",
        "velodrome_operator_collected_timestamp_seconds",
        "velodrome_result_baseline_samples",
        "velodrome_result_change_high_ratio",
        "velodrome_result_change_low_ratio",
        "velodrome_result_change_ratio",
        "velodrome_result_last_success_timestamp_seconds",
        "velodrome_result_samples",
        "velodrome_result_timestamp_seconds",
    }
    assert {family.exposed for family in FAMILIES if family.exposed not in text} == alerts_alone


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_is_of_grafanas_schema(file: Path) -> None:
    """Read by the classes that Grafana generates from its schema, and written again, it loses nothing."""
    document = json.loads(file.read_text(encoding="utf-8"))
    again = json.loads(json.dumps(Dashboard.from_json(document), cls=JSONEncoder))
    assert again == document
    panels = [panel for panel in document["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    spots = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(spots) == len(panels), "panels lie on each other"
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
