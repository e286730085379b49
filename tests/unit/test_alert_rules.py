"""What the alert rules may rely on: series that are exposed, runbooks that exist, labels that outlast a restart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from velodrome.monitoring.telemetry import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/monitoring/rules/velodrome.rules.yaml"
TESTS = sorted((ROOT / "tests/integration/rules").glob("*.test.yaml"))
EXPOSED = {family.exposed: family for family in FAMILIES}


def rules() -> Iterator[Mapping[str, Any]]:
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        yield from group["rules"]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}


def names(text: str) -> set[str]:
    """The series that a rule's texts ask for, those that `__name__=~` picks among them."""
    found = set(re.findall(r"\bvelodrome[a-z_]*(?::[a-z_]+)*\b(?=[{\[\s)>]|$)", re.sub(r'"[^"]*"', '""', text)))
    for pattern in re.findall(r'__name__=~"([^"]+)"', text):
        for part in _alternatives(pattern):
            assert part in EXPOSED, f"{pattern} asks for {part}"
            found.add(part)
    return found


def _alternatives(pattern: str) -> Iterator[str]:
    before, _, rest = pattern.partition("(")
    inner, _, after = rest.partition(")")
    for one in inner.split("|"):
        yield before + one + after


@pytest.mark.parametrize("rule", list(rules()), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_series_that_are_exposed(rule: Mapping[str, Any]) -> None:
    queried = re.findall(r'query (?:\(printf )?"((?:[^"\\]|\\.)*)"', " ".join(rule.get("annotations", {}).values()))
    asked = names(rule["expr"]) | {name for text in queried for name in names(text.replace('\\"', '"') + " ")}
    assert asked or rule["expr"].find("up{") >= 0, "found no name: is the expression read rightly?"
    assert asked <= EXPOSED.keys() | RECORDED


def test_names_are_found() -> None:
    text = 'max by (job) (velodrome_odd{a="velodrome_text"}) or velodrome:x:facts or {__name__=~"velodrome_redis_(up)"}'
    assert names(text) == {"velodrome_odd", "velodrome:x:facts", "velodrome_redis_up"}


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_it_means_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    page = ROOT / rule["annotations"]["runbook_url"]
    assert page == ROOT / f"docs/runbooks/{alert}.md"
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    assert headings == [alert, "What it means", "What to look at", "What to do", "How it clears"]
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"]
    assert rule["labels"]["severity"]


def test_every_runbook_is_of_an_alert() -> None:
    assert {page.stem for page in (ROOT / "docs/runbooks").glob("*.md")} == ALERTS.keys()


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alerts_labels_outlast_a_restart(alert: str) -> None:
    """A label of a pod, or of the address that it has, would make another alert of the same trouble."""
    kept = re.match(r"\W*(?:time\(\) - )?(?:(?:max|min|sum) by \(([^)]*)\)|absent\(up\{job=)", ALERTS[alert]["expr"])
    assert kept, "the outermost aggregation says which labels are kept"
    labels = {label.strip() for label in (kept[1] or "job").split(",")}
    allowed = {"job", "board", "entry", "objective", "cohort", "namespace", "benchmarkjob", "reason", "task"}
    assert labels <= allowed


@pytest.mark.parametrize(
    "file", sorted((ROOT / "tests/integration/rules").glob("*.test.yaml")), ids=lambda file: file.stem
)
def test_the_rules_tests_feed_series_that_are_exposed(file: Path) -> None:
    """Else a test could show an alert of a series that nobody exposes, or with labels that it does not have."""
    target = {"job", "instance", "pod"}
    for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]:
        for series in test["input_series"]:
            name, _, braces = series["series"].partition("{")
            labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', braces))
            if name == "up":
                continue
            family = EXPOSED[name]
            own = {"verdict", "state"} & labels.keys() if family.type == "stateset" else set()
            assert labels.keys() - target == {*family.labels} | own, series["series"]
