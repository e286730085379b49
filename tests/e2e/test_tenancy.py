"""Two teams in two namespaces, each with a quota: their boards are their own, and neither takes the other's room."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Kube, race

TEAMS = ("board-team-a", "board-team-b")
COMMON = "teams-common"
OPERATOR = "deployment/velodrome-operator"
RUNNER = "velodrome.dev/role=runner"


def quota(team: str, pods: int) -> dict[str, Any]:
    """A ResourceQuota that admits this many pods of runners."""
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "velodrome", "namespace": team},
        "spec": {"hard": {"pods": str(pods)}},
    }


@pytest.fixture(scope="module")
def teams(installed: Kube) -> Iterator[Kube]:
    """An operator whose boards belong to the first namespace, and two namespaces with quotas."""
    kube = installed
    for team in TEAMS:
        kube("delete", "namespace", team, "--ignore-not-found", "--wait=true")
        kube("create", "namespace", team)
        kube("label", "namespace", team, "pod-security.kubernetes.io/enforce=restricted")
    kube.apply(quota(TEAMS[0], 2), quota(TEAMS[1], 4))
    before = json.loads(kube("-n", "velodrome", "get", OPERATOR, "-o", "json"))
    given = before["spec"]["template"]["spec"]["containers"][0]["args"]
    started = [*given, "--boards=owned", f"--board={COMMON}={','.join(TEAMS)}"]
    _restart(kube, started)
    yield kube
    _restart(kube, given)
    for team in TEAMS:
        kube("delete", "namespace", team, "--wait=false")


def _restart(kube: Kube, arguments: list[str]) -> None:
    change = [{"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": arguments}]
    kube("-n", "velodrome", "patch", OPERATOR, "--type=json", "-p", json.dumps(change))
    kube("-n", "velodrome", "rollout", "status", OPERATOR, "--timeout=180s")


def apply(kube: Kube, team: str, name: str, **spec: Any) -> None:
    document = race(name, **spec)
    document["metadata"]["namespace"] = team
    kube.apply(document)


def held(kube: Kube, team: str, name: str) -> dict[str, dict[str, Any]]:
    """The conditions of a BenchmarkJob that are True, by type."""
    text = kube("-n", team, "get", "bmj", name, "-o", "json", "--ignore-not-found")
    found = json.loads(text).get("status", {}).get("conditions", []) if text else []
    return {one["type"]: one for one in found if one["status"] == "True"}


def test_a_board_belongs_to_the_team_that_wrote_first(teams: Kube) -> None:
    apply(teams, TEAMS[0], "ours", board="owned-board", trials={"repeats": 1})
    teams("-n", TEAMS[0], "wait", "--for=condition=Complete", "bmj/ours", "--timeout=300s")
    apply(teams, TEAMS[1], "theirs", board="owned-board", trials={"repeats": 1})
    failed = teams.wait("the refusal", lambda: held(teams, TEAMS[1], "theirs").get("Failed"), 60)
    assert failed["reason"] == "BoardRefused"
    assert f"board owned-board is for races of namespace {TEAMS[0]}" in failed["message"]
    assert "--board=owned-board=" in failed["message"]
    assert json.loads(teams("-n", TEAMS[1], "get", "jobs,pods", "-o", "json"))["items"] == [], "it never had a pod"
    apply(teams, TEAMS[0], "again", board="owned-board", trials={"repeats": 1})
    teams("-n", TEAMS[0], "wait", "--for=condition=Complete", "bmj/again", "--timeout=300s")


def test_a_listed_board_is_shared(teams: Kube) -> None:
    for team in TEAMS:
        apply(teams, team, "shared", board=COMMON, trials={"repeats": 1})
    for team in TEAMS:
        teams("-n", team, "wait", "--for=condition=Complete", "bmj/shared", "--timeout=300s")


def test_a_teams_quota_holds_its_own_race_and_no_other(teams: Kube) -> None:
    teams.apply(quota(TEAMS[0], 1))
    execution = {"isolation": "None", "parallelism": 3}
    apply(teams, TEAMS[0], "bound", board="bound-board", execution=execution)
    apply(teams, TEAMS[1], "free", board="free-board", execution=execution)

    def running() -> list[dict[str, Any]]:
        found = json.loads(teams("-n", TEAMS[0], "get", "pods", "-l", RUNNER, "-o", "json"))["items"]
        active = [pod for pod in found if pod["status"]["phase"] in ("Pending", "Running")]
        assert len(active) <= 1, "the quota admits one pod"
        return active

    teams.wait("the first pod", running)
    teams("-n", TEAMS[1], "wait", "--for=condition=Complete", "bmj/free", "--timeout=300s")
    running()
    teams("-n", TEAMS[0], "wait", "--for=condition=Complete", "bmj/bound", "--timeout=600s")


def test_a_race_that_a_quota_shuts_out_says_so(teams: Kube) -> None:
    teams.apply(quota(TEAMS[0], 0))
    execution = {"isolation": "None", "startupDeadlineSeconds": 15}
    apply(teams, TEAMS[0], "shut-out", board="shut-out-board", execution=execution)
    failed = teams.wait("its end", lambda: held(teams, TEAMS[0], "shut-out").get("Failed"), 120)
    assert failed["reason"] == "StartupDeadlineExceeded"
    assert "exceeded quota: velodrome" in failed["message"]
