"""The alert rules, by Prometheus' own judgement: promtool parses them and runs the tests in `rules/`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/monitoring/rules/velodrome.rules.yaml"
TESTS = sorted(Path(__file__).with_name("rules").glob("*.test.yaml"))


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
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
