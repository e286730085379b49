"""The alert rules, by Prometheus' own judgement: promtool parses them and runs the tests in `rules/`."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitors import Prometheus

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/monitoring/rules/velodrome.rules.yaml"
TESTS = sorted(Path(__file__).with_name("rules").glob("*.test.yaml"))


EXAMPLES = ROOT / "deploy/monitoring/examples"


def promtool(*arguments: str | Path) -> str:
    return run("promtool", *arguments)


def run(*arguments: str | Path) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name.removesuffix(".test.yaml"))
def test_alerts_fire_and_clear_as_they_should(file: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", file)


def test_every_alert_is_seen_to_fire_and_to_be_quiet() -> None:
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
              if "alert" in rule}  # fmt: skip
    expected: dict[bool, set[str]] = {True: set(), False: set()}
    for file in TESTS:
        tests: list[dict[str, Any]] = yaml.safe_load(file.read_text())["tests"]
        for case in (case for test in tests for case in test.get("alert_rule_test", [])):
            expected[bool(case["exp_alerts"])].add(case["alertname"])
    assert expected == {True: alerts, False: alerts}


def test_prometheus_takes_the_example_of_its_configuration() -> None:
    assert "SUCCESS" in promtool("check", "config", EXAMPLES / "prometheus.yaml")


def test_alertmanager_takes_the_example_of_its_configuration() -> None:
    assert "SUCCESS" in run("amtool", "check-config", EXAMPLES / "alertmanager.yaml")


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=VelodromeRegression", "severity=warning", "board=b"), "team"),
        (("alertname=VelodromeRegression", "severity=critical", "board=b"), "on-call"),
        (("alertname=VelodromeOperatorDown", "severity=critical"), "on-call"),
        (("alertname=Other", "severity=critical"), "nobody"),
    ],
)
def test_the_example_routes_by_severity(labels: tuple[str, ...], receiver: str) -> None:
    config = f"--config.file={EXAMPLES / 'alertmanager.yaml'}"
    assert run("amtool", "config", "routes", "test", config, *labels).split() == [receiver]


def test_what_the_example_holds_back_are_alerts_of_the_rules() -> None:
    """And none of them is held back by itself, nor any regression."""
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
              if "alert" in rule}  # fmt: skip
    for rule in yaml.safe_load((EXAMPLES / "alertmanager.yaml").read_text())["inhibit_rules"]:
        (source,), (target,) = rule["source_matchers"], rule["target_matchers"]
        sources, targets = named(source, alerts), named(target, alerts)
        assert sources
        assert targets
        assert not sources & targets
        assert "VelodromeRegression" not in targets
        assert rule["equal"] == ["job"]


def named(matcher: str, alerts: set[str]) -> set[str]:
    """The alerts that a matcher of `alertname` matches; each alternative of it matches one."""
    pattern = matcher.partition('"')[2].rstrip('"')
    found = {alert for alert in alerts if re.fullmatch(pattern, alert)}
    assert len(found) == pattern.count("|") + 1
    return found


def test_prometheus_parses_every_query_of_the_dashboards(tmp_path: Path) -> None:
    queries = set()
    for file in (ROOT / "deploy/monitoring/dashboards").glob("*.json"):
        panels = json.loads(file.read_text(encoding="utf-8"))["panels"]
        queries |= {target["expr"] for panel in panels for target in panel.get("targets", [])}
    assert len(queries) > 30
    prometheus = Prometheus.of(tmp_path, {}, "127.0.0.1:9")
    try:
        prometheus.start()
        for query in queries:
            written = query.replace("$__rate_interval", "1m")
            prometheus.query(re.sub(r"\$\w+", ".*", written))
        with pytest.raises(urllib.error.HTTPError, match="400") as caught:
            prometheus.query("sum by (")
        caught.value.close()
    finally:
        prometheus.stop()
