"""A search in real pods: parts are killed while it goes on, and it gives what the same search gives undisturbed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.e2e.conftest import Kube, race, uid_of
from tests.e2e.faults import NAMESPACE, administrator, pods
from tests.e2e.test_race import kill_operator
from velodrome.board.searches import read_search, read_studies
from velodrome.keys import search_uid
from velodrome.plan import Plan, plan
from velodrome.results.searches import Suggestion
from velodrome.search.study import EntryStudy
from velodrome.search.trials import search_of
from velodrome.spec import validate
from velodrome.store import Store

NAME = "searching"
TRIALS = 6


def search(parallelism: int, pruner: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One entry that is tuned, and one that is not."""
    rate = {"name": "training.optimizer.learningRate", "type": "LogFloat", "low": 1e-4, "high": 0.3, "entries": ["mlp"]}
    return race(
        NAME,
        budget={"maxEpochs": 3},
        execution={"isolation": "None", "parallelism": parallelism},
        evaluation={"metrics": ["accuracy"], "inference": {"batchSizes": [1], "minRunSeconds": 0.05}},
        search={
            "maxTrials": TRIALS,
            "objectives": [{"metric": "validation_loss"}],
            "parameters": [rate],
            "confirm": {"repeats": 2},
            **({"pruner": dict(pruner)} if pruner else {}),
        },
        trials={},
    )


@pytest.fixture(scope="module")
def searching(installed: Kube) -> Iterator[Kube]:
    """An operator that was told to run searches."""
    operator = ("-n", NAMESPACE, "deployment/velodrome-operator")
    before = json.loads(installed("get", *operator, "-o", "jsonpath={..containers[0].args}"))
    _restart_with(installed, [*before, "--allow-searches"])
    yield installed
    _restart_with(installed, before)


def _restart_with(kube: Kube, arguments: list[str]) -> None:
    change = [{"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": arguments}]
    kube("-n", NAMESPACE, "patch", "deployment/velodrome-operator", "--type=json", "-p", json.dumps(change))
    kube("-n", NAMESPACE, "rollout", "status", "deployment/velodrome-operator", "--timeout=120s")


@pytest.fixture
def kube(searching: Kube) -> Iterator[Kube]:
    searching("delete", "bmj", NAME, "--ignore-not-found", "--wait=true")
    yield searching
    searching("delete", "bmj", NAME, "--wait=true")


def made(document: Mapping[str, Any]) -> Plan:
    return plan(validate(dict(document), source=NAME))


def as_optuna_suggests(store: Store, planned: Plan, uid: str) -> list[Mapping[str, Any]]:
    """The suggestions of a plain loop over Optuna, which is told the recorded results in the order of the trials."""
    state = read_studies(store, planned, uid)
    study, found = EntryStudy(search_of(planned.job), "mlp", ["minimize"]), list[Mapping[str, Any]]()
    for number, outcome in sorted(state.outcomes_of("mlp").items()):
        found.append(study.suggest().values)
        study.tell(number, outcome.told)
    return found


def given(store: Store, uid: str) -> dict[int, Suggestion]:
    return store.suggestions(search_uid(uid))


@pytest.mark.smoke
def test_a_search_finds_and_confirms_winners_with_two_jobs(kube: Kube) -> None:
    document = search(parallelism=2, pruner={"name": "Median", "startupTrials": 2})
    kube.apply(document)
    kube("wait", "--for=condition=Complete", f"bmj/{NAME}", "--timeout=20m")
    status, uid = kube.get("bmj", NAME)["status"], uid_of(kube, NAME)
    assert status["search"]["done"] == f"{TRIALS}/{TRIALS}"
    assert status["trials"] | {"disrupted": 0} == status["trials"] | {"total": 4, "succeeded": 4, "disrupted": 0}
    jobs = kube.items("jobs", f"velodrome.dev/job-name={NAME}")
    assert sorted(job["spec"]["completions"] for job in jobs) == [4, TRIALS]
    with administrator(kube) as client, Store(client) as store:
        info = store.job(uid)
        assert info is not None
        assert info.searched is not None
        reading = read_search(store, info)
        assert len(given(store, uid)) == TRIALS
        assert sorted(store.turns(search_uid(uid))["0"]) == sorted(given(store, uid))
    assert reading is not None
    tuned, plain = reading.entries
    assert (tuned.tuned, tuned.spent.trials, tuned.confirming) == (True, TRIALS, 2)
    assert (plain.tuned, plain.confirming) == (False, 2)


def test_whatever_is_killed_the_suggestions_are_those_of_optuna(kube: Kube) -> None:
    document = search(parallelism=1)
    kube.apply(document)
    uid = uid_of(kube, NAME)
    for spent in (1, 3, 4):
        kube.wait("the search to go on", lambda: spent_trials(kube) >= spent, 600)  # noqa: B023 - asked at once
        kill_operator(kube)
        running = [one for one in pods(kube, NAME) if one["status"].get("phase") == "Running"]
        if spent == 3 and running:
            kube("delete", "pod", running[0]["metadata"]["name"], "--grace-period=0", "--force")
        if spent == 4:
            kube("-n", NAMESPACE, "delete", "pod", "velodrome-redis-0", "--grace-period=0", "--force")
    kube("wait", "--for=condition=Complete", f"bmj/{NAME}", "--timeout=20m")
    with administrator(kube) as client, Store(client) as store:
        found = given(store, uid)
        assert [one.number for one in found.values()] == list(range(TRIALS))
        assert [one.values for one in found.values()] == as_optuna_suggests(store, made(document), uid)
        assert list(store.turns(search_uid(uid))["0"]) == list(found)


def spent_trials(kube: Kube) -> int:
    return int(kube.get("bmj", NAME).get("status", {}).get("search", {}).get("trials", 0))
