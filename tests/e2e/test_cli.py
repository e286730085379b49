"""The command line on a cluster: every verb, through the real kubectl, and what it says when something is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Kube, race
from tests.e2e.test_own_code import PROGRAM, own

BIN = Path(sys.executable).parent


def velodrome(
    kube: Kube, *arguments: str, stdin: str = "", program: tuple[str, ...] = ("velodrome",)
) -> tuple[int, str]:
    """The exit code of a command of the command line, and what it prints."""
    at = kube.cluster.at
    environment = os.environ | {"KUBECONFIG": str(at.kubeconfig), "PATH": f"{at.bin}:{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        [*program, *arguments], env=environment, input=stdin, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_a_race_is_watched_read_and_deleted(installed: Kube, name: str, own_image: str) -> None:
    installed.apply(own(name, own_image, "python", "-c", PROGRAM, trials={"repeats": 2}))
    code, said = velodrome(installed, "wait", name, "--timeout", "200")
    assert code == 0, said
    assert f"{name} is Complete" in said
    code, said = velodrome(installed, "get")
    assert f" {name} " in said
    assert "2/2" in said
    code, said = velodrome(installed, "status", name, program=("kubectl", "velodrome"))
    assert code == 0, said
    for words in (f"{name}: Complete", "2/2 trials: 2 succeeded", "50.50 %", "leads", "AllTrialsFinished"):
        assert words in said
    code, said = velodrome(installed, "get", name, "--json")
    assert json.loads(said)["jobs"][0]["metadata"]["name"] == name
    code, said = velodrome(installed, "logs", name, "own/1")
    assert code == 0, said
    assert "== own/1  seed 1" in said
    assert "own/0" not in said
    code, said = velodrome(installed, "wait", name, "--for", "failed", "--timeout", "5")
    assert code == 4, "it has ended otherwise"
    code, said = velodrome(installed, "delete", name, stdin="n\n")
    assert code != 0
    assert installed.get("bmj", name)
    code, said = velodrome(installed, "delete", name, "--yes")
    assert code == 0, said
    assert not installed.get("bmj", name)


def test_waiting_ends_when_the_time_is_over(installed: Kube, name: str) -> None:
    installed.apply(race(name, suspend=True))
    code, said = velodrome(installed, "wait", name, "--timeout", "3")
    assert code == 5, said
    assert "after 3 s" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("status", "no-such-race"), "not found"),
        (("logs", "no-such-race"), "not found"),
        (("get", "--context", "nowhere"), "get-contexts"),
        (("get", "--kubeconfig", "/dev/null"), "API server"),
    ],
)
def test_what_is_not_there_is_reported(installed: Kube, arguments: tuple[str, ...], words: str) -> None:
    code, said = velodrome(installed, *arguments)
    assert code == 3, said
    assert words in said


def test_an_entry_that_is_not_there_is_reported(installed: Kube, name: str) -> None:
    installed.apply(race(name, suspend=True))
    code, said = velodrome(installed, "logs", name, "cnm")
    assert code == 2
    assert "there are mlp, cnn" in said


# What a security review looks at: whether it is content depends on how the installation was made.
REVIEWED = {
    "network policies", "trials' network", "Redis' users", "encryption", "certificate", "disruption budgets",
    "resources", "quotas", "results", "operator's reach",
}  # fmt: skip


def test_doctor_finds_a_healthy_installation(installed: Kube) -> None:
    code, said = velodrome(installed, "doctor", "--cluster", "--json")
    checks = {check["name"]: check for check in json.loads(said)["checks"]}
    assert code == 0, said
    bad = {name: check["found"] for name, check in checks.items() if check["status"] != "ok"}
    assert bad.keys() <= {"GPUs", *REVIEWED}, bad
    assert {"API server", "CRD", "your rights", "operator", "operator's rights", "images", "Redis"} <= checks.keys()


def test_doctor_names_an_operator_that_is_not_there_and_the_fix(installed: Kube) -> None:
    installed("-n", "velodrome", "scale", "deployment/velodrome-operator", "--replicas=0")
    try:
        installed.wait("the operator to go", lambda: velodrome(installed, "doctor", "--cluster")[0] == 3, 60)
        _, said = velodrome(installed, "doctor", "--cluster")
        assert "MISSING  operator" in said
        assert "scaled to 0" in said
        assert "fix:" in said
    finally:
        installed("-n", "velodrome", "scale", "deployment/velodrome-operator", "--replicas=1")
        installed("-n", "velodrome", "rollout", "status", "deployment/velodrome-operator", "--timeout=120s")


def test_doctor_names_rights_that_the_operator_lacks(installed: Kube) -> None:
    (path,) = (index for index, rule in enumerate(
        json.loads(installed("get", "clusterrole", "velodrome-operator", "-o", "json"))["rules"]
    ) if "jobs" in rule["resources"])  # fmt: skip
    before = installed("get", "clusterrole", "velodrome-operator", "-o", "json")
    patch = json.dumps([{"op": "replace", "path": f"/rules/{path}/verbs", "value": ["list", "watch"]}])
    installed("patch", "clusterrole", "velodrome-operator", "--type=json", "-p", patch)
    try:
        code, said = velodrome(installed, "doctor", "--cluster")
        assert code == 3
        assert "create jobs.batch" in said
    finally:
        installed("replace", "-f", "-", stdin=before, check=False)
        installed("auth", "reconcile", "-f", "-", stdin=before)
