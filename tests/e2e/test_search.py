"""A search in real pods: parts are killed while it goes on, and it gives what the same search gives undisturbed."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest

from tests.e2e.conftest import Kube, race, uid_of
from tests.e2e.faults import NAMESPACE, administrator, running
from tests.e2e.test_race import kill_operator
from velodrome.board.searches import read_search, read_studies
from velodrome.keys import STOP, instructions, run_uid, search_uid
from velodrome.plan import Plan, plan, read_spans
from velodrome.results.searches import Suggestion
from velodrome.search.study import EntryStudy
from velodrome.search.trials import search_of
from velodrome.spec import validate
from velodrome.store import Store
from velodrome.store.access import text_of

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


@pytest.fixture
def kube(installed: Kube) -> Iterator[Kube]:
    installed("delete", "bmj", NAME, "--ignore-not-found", "--wait=true")
    yield installed
    installed("delete", "bmj", NAME, "--wait=true")


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
        here = running(kube, NAME)
        if spent == 3 and here:
            kube("delete", "pod", here[0]["metadata"]["name"], "--grace-period=0", "--force")
        if spent == 4:
            kube("-n", NAMESPACE, "delete", "pod", "velodrome-redis-0", "--grace-period=0", "--force")
    kube("wait", "--for=condition=Complete", f"bmj/{NAME}", "--timeout=20m")
    with administrator(kube) as client, Store(client) as store:
        found = given(store, uid)
        assert [one.number for one in found.values()] == list(range(TRIALS))
        assert [one.values for one in found.values()] == as_optuna_suggests(store, made(document), uid)
        assert list(store.turns(search_uid(uid))["0"]) == list(found)


PROGRAM = """
import math, time
from velodrome import report
trial = report.trial()
trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=90, validation_samples=10, test_samples=30,
              shape=[1, 8, 8], classes=["a", "b"])
place, rate = trial.parameters["place"], trial.parameters["rate"]
loss = 0.01 + (place - 1.5) ** 2 + math.log10(rate / 1e-3) ** 2
for epoch in trial.epochs():
    with trial.training():
        time.sleep(0.3)
    trial.epoch(epoch, train_loss=loss, samples=90, validation={"accuracy": 1 / (1 + loss), "validation_loss": loss})
trial.result({"accuracy": 1 / (1 + loss)})
"""
MANY = 200


def many_trials(kube: Kube, trials: int = MANY, epochs: int = 2, **search: Any) -> dict[str, Any]:
    """A search whose trials are short, so that many of them run while parts are killed."""
    image = kube.cluster.load_image("numpy")
    names = [
        {"name": "place", "type": "Float", "low": -5, "high": 5},
        {"name": "rate", "type": "LogFloat", "low": 1e-6, "high": 1},
    ]
    return race(
        NAME,
        entries=[{"name": "tuned", "image": image, "command": ["python", "-c", PROGRAM]}],
        budget={"maxEpochs": epochs},
        # Pods may wait for a runtime that has much to do. Each kill may meet the same trial.
        execution={"isolation": "None", "parallelism": 4, "startupDeadlineSeconds": 900, "maxDisruptions": 1000},
        search={
            "maxTrials": trials,
            "objectives": [{"metric": "validation_loss"}],
            "parameters": [{**name, "entries": ["tuned"]} for name in names],
            "confirm": {"repeats": 2},
            **search,
        },
        trials={},
    )


def test_random_kills_lose_and_double_no_suggestion_of_two_hundred_trials(kube: Kube) -> None:
    document, chance = many_trials(kube), random.Random(200)  # noqa: S311 - the same strokes each time
    kube.apply(document)
    uid, kills = uid_of(kube, NAME), Counter[str]()
    end = time.monotonic() + 3000
    while not finished(kube) and time.monotonic() < end:
        time.sleep(chance.uniform(2, 15))
        kills[strike(kube, chance)] += 1
    kube("wait", "--for=condition=Complete", f"bmj/{NAME}", "--timeout=5m")
    logging.getLogger("tests").info("killed: %s", dict(kills))
    assert min(kills[part] for part in ("operator", "redis", "runner")) >= 3
    with administrator(kube) as client, Store(client) as store:
        found = given(store, uid)
        assert [one.number for one in found.values()] == list(range(MANY))
        assert sorted(store.turns(search_uid(uid))["0"]) == sorted(found)
        assert store.trials(search_uid(uid)).keys() == found.keys()
        assert [one.values for one in found.values()] == as_optuna_suggests_beside(store, made(document), uid)


def more(kube: Kube, trials: int) -> None:
    kube("patch", "bmj", NAME, "--type=merge", "-p", f'{{"spec": {{"search": {{"maxTrials": {trials}}}}}}}')


def test_a_search_that_is_raised_goes_on_under_way_and_after_its_end(kube: Kube) -> None:
    """The operator is killed each time when it has just seen that."""
    slow = 20  # epochs: no trial ends before the number is raised
    kube.apply(many_trials(kube, 4, slow))
    uid = uid_of(kube, NAME)
    with administrator(kube) as client, Store(client) as store:
        kube.wait("its trials to be suggested", lambda: len(given(store, uid)) == 4, 600)
    more(kube, 7)
    kill_operator(kube)
    kube("wait", "--for=condition=Complete", f"bmj/{NAME}", "--timeout=10m")
    assert kube.get("bmj", NAME)["status"]["search"]["done"] == "7/7"
    jobs = kube.items("jobs", f"velodrome.dev/job-name={NAME}")
    assert sorted(job["spec"]["completions"] for job in jobs) == [2, 3, 4]
    with administrator(kube) as client, Store(client) as store:
        assert {lane: len(trials) for lane, trials in store.turns(search_uid(uid)).items()} == {"0": 4, "0-4": 3}
        before, first = store.job(uid), given(store, uid)
        assert [one.values for one in first.values()] == as_optuna_suggests_beside(
            store, made(many_trials(kube, 7, slow)), uid
        )
    refused = kube("patch", "bmj", NAME, "--type=merge", "-p", '{"spec": {"search": {"maxTrials": 5}}}', check=False)
    assert kube.get("bmj", NAME)["spec"]["search"]["maxTrials"] == 7, refused

    more(kube, 10)
    kill_operator(kube)
    kube.wait("the race to go on", lambda: kube.condition(NAME, "Reconciling"))
    kube("wait", "--for=condition=Complete", f"bmj/{NAME}", "--timeout=10m")
    status, again = kube.get("bmj", NAME)["status"], run_uid(uid, 2)
    assert (status["search"]["done"], status["search"]["run"], status["trials"]["succeeded"]) == ("10/10", 2, 2)
    jobs = kube.items("jobs", f"velodrome.dev/job-name={NAME}")
    taken = status["takenOver"]["count"]
    assert taken in (0, 2), "what confirmed the winner stays, if that is the same"
    confirming = [] if taken else [2]
    assert sorted(job["spec"]["completions"] for job in jobs) == sorted([2, 3, 3, 4, *confirming]), "a Job more"
    with administrator(kube) as client, Store(client) as store:
        assert store.job(uid) == before, "what was confirmed before stays on record"
        found, info = given(store, again), store.job(again)
        assert info is not None
        assert [found[number] for number in first] == list(first.values())
        assert [one.number for one in found.values()] == list(range(10))
        assert [one.values for one in found.values()] == as_optuna_suggests_beside(
            store, made(many_trials(kube, 10, slow)), again
        )
        reading = read_search(store, info)
        assert store.trials(search_uid(again)).keys() == found.keys()
    assert reading is not None
    assert [(one.spent.trials, one.confirming) for one in reading.entries] == [(10, 2)]


def test_a_trial_that_falls_behind_frees_its_pod(kube: Kube) -> None:
    """The time from the decision to the end of the pod is only logged: this machine has other things to do."""
    kube.apply(many_trials(kube, trials=8, epochs=20, pruner={"name": "Median", "startupTrials": 1, "warmupEpochs": 3}))
    uid, told = uid_of(kube, NAME), dict[str, float]()
    with administrator(kube) as client, Store(client) as store:
        while spent_trials(kube) < 8:
            for _ in range(50):
                for field in map(text_of, client.hkeys(instructions(search_uid(uid)))):
                    if field.startswith(STOP):
                        told.setdefault(field.rpartition(":")[2], time.time())
                time.sleep(0.02)
        results = [record.result for record in store.records(search_uid(uid), 0, 8)]
    pruned = [one.attempt for one in results if one.reason == "Pruned"]
    assert pruned, "the first trial decides what is behind"
    assert told.keys() >= set(pruned), "whoever is told in its last epoch is not cut off"
    ends = {
        pod["metadata"]["uid"]: datetime.fromisoformat(state["finishedAt"]).timestamp()
        for pod in kube.items("pods", f"velodrome.dev/job-name={NAME}")
        if (state := pod["status"]["containerStatuses"][0]["state"].get("terminated"))
    }
    took = sorted(round(ends[attempt] - told[attempt], 1) for attempt in pruned)
    logging.getLogger("tests").info("seconds from a decision to the end of the pod, cut to whole ones: %s", took)
    kube("wait", "--for=condition=Complete", f"bmj/{NAME}", "--timeout=10m")


def strike(kube: Kube, chance: random.Random) -> str:
    """Kills the operator, Redis, or a pod of the search; half of the kills are of a pod."""
    part = chance.choice(("operator", "redis", "runner", "runner"))
    if part == "operator":
        kill_operator(kube)
    elif part == "redis":
        kube("-n", NAMESPACE, "delete", "pod", "velodrome-redis-0", "--grace-period=0", "--force")
    else:
        here = running(kube, NAME)
        if not here:
            return "nothing"
        name = chance.choice(here)["metadata"]["name"]
        kube("delete", "pod", name, "--ignore-not-found", *chance.choice(((), ("--grace-period=0", "--force"))))
    return part


def finished(kube: Kube) -> bool:
    status = kube.get("bmj", NAME).get("status", {})
    held = {one["type"]: one.get("message") for one in status.get("conditions", ()) if one["status"] == "True"}
    assert "Failed" not in held, held["Failed"]
    return spent_trials(kube) >= MANY


def as_optuna_suggests_beside(store: Store, planned: Plan, uid: str) -> list[Mapping[str, Any]]:
    """The suggestions of a plain loop over Optuna, which is told before each one the results that were known then."""
    state = read_studies(store, planned, uid)
    study, outcomes, given_ = EntryStudy(search_of(planned.job), "tuned", ["minimize"]), state.outcomes_of("tuned"), []
    told: set[int] = set()
    for one in given(store, uid).values():
        for number in sorted(read_spans(one.known, MANY) - told):
            study.tell(number, outcomes[number].told)
            told.add(number)
        given_.append(study.suggest().values)
    return given_


def spent_trials(kube: Kube) -> int:
    return int(kube.get("bmj", NAME).get("status", {}).get("search", {}).get("trials", 0))
