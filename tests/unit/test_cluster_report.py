"""What the command line says of races on a cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from velodrome.cli.cluster.kubectl import explained
from velodrome.cli.cluster.report import (
    age,
    attempts,
    bar,
    chosen,
    has_come,
    regression,
    row,
    state,
    turns,
    values,
    will_never_come,
)
from velodrome.plan import plan
from velodrome.spec import BenchmarkJob

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def raw(*held: str, **status: Any) -> dict[str, Any]:
    conditions = [{"type": kind, "status": "True"} for kind in held] + [{"type": "Stalled", "status": "False"}]
    metadata = {"name": "r", "namespace": "ns", "creationTimestamp": "2026-03-01T11:00:00Z"}
    return {"metadata": metadata, "status": {"conditions": conditions, **status}}


@pytest.mark.parametrize(
    ("held", "word"),
    [((), "Pending"), (("Reconciling",), "Running"), (("Complete",), "Complete"), (("Failed", "Stalled"), "Failed"),
     (("Suspended",), "Suspended")],
)  # fmt: skip
def test_the_state_is_one_word(held: tuple[str, ...], word: str) -> None:
    assert state(raw(*held)) == word


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [("True", "SignificantlyWorse", "Regressed (SignificantlyWorse): cnn is slower"),
     ("Unknown", "NoBaseline", "Regression unknown (NoBaseline): cnn is slower"), ("False", "NoRegression", ""),
     ("False", "RegressionAccepted", "No regression (RegressionAccepted): cnn is slower")],
)  # fmt: skip
def test_what_is_known_of_regressions_is_reported(status: str, reason: str, words: str) -> None:
    condition = {"type": "Regressed", "status": status, "reason": reason, "message": "cnn is slower"}
    assert regression({"status": {"conditions": [condition]}}) == words
    assert regression(raw("Reconciling")) == ""


def test_a_row_has_what_a_person_looks_for() -> None:
    job = raw("Reconciling", trials={"done": "3/9"}, leader="cnn", message="3 of 9 trials finished")
    assert row(job, NOW) == ("ns", "r", "Running", "3/9", "cnn", "3 of 9 trials finished", "60m")


def test_an_object_that_no_operator_has_seen_has_a_row_too() -> None:
    job = raw()
    del job["status"]
    assert row(job, NOW)[2:4] == ("Pending", "")


@pytest.mark.parametrize(
    ("since", "text"),
    [("2026-03-01T11:59:15Z", "45s"), ("2026-03-01T11:58:15Z", "105s"), ("2026-03-01T11:00:00Z", "60m"),
     ("2026-02-20T12:00:00Z", "9d"), ("2026-03-01T12:00:09Z", "0s")],
)  # fmt: skip
def test_ages_are_short(since: str, text: str) -> None:
    assert age(since, NOW) == text


def test_a_bar_shows_each_kind_of_trial() -> None:
    assert bar({"total": 10, "succeeded": 5, "failed": 1, "active": 2}, 10) == "#####x>>.."
    assert bar({}, 4) == "...."


def test_waiting_ends_at_either_end_or_never() -> None:
    assert has_come("done", raw("Failed"))
    assert has_come("complete", raw("Complete"))
    assert will_never_come("complete", raw("Failed"))
    assert not will_never_come("complete", raw("Suspended"))


def job(nodes: int = 1) -> BenchmarkJob:
    spec = {
        "dataset": {"name": "digits"},
        "objectives": [{"name": "speed", "metric": "latency_p50_seconds", "batchSize": 1}],
        "entries": [
            {"name": "a", "model": {"name": "velodrome/mlp"}},
            {"name": "b", "model": {"name": "velodrome/cnn"}},
        ],
        "trials": {"repeats": 2, "baseSeed": 7},
        "runner": {"nodes": nodes},
    }
    document = {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "r"}, "spec": spec}
    return BenchmarkJob.model_validate(document)


def pod(index: int, entries: str, nodes: int = 1, created: str = "2026-03-01T11:00:00Z") -> dict[str, Any]:
    env = [{"name": "VELODROME_ENTRIES", "value": entries}, {"name": "VELODROME_NODES", "value": str(nodes)}]
    labels = {"batch.kubernetes.io/job-completion-index": str(index)}
    metadata = {"name": f"pod-{index}-{created}", "labels": labels, "creationTimestamp": created}
    return {"metadata": metadata, "spec": {"containers": [{"env": env}]}, "status": {"phase": "Running"}}


def test_pods_are_named_by_the_trial_that_they_run() -> None:
    found = attempts(plan(job()), [pod(1, "1"), pod(0, "0"), pod(0, "1")])
    assert [(attempt.trial.entry, attempt.trial.repeat) for attempt in found] == [("a", 0), ("b", 0), ("b", 1)]
    assert [attempt.trial.seed for attempt in chosen(found, "b", 1)] == [8]


def test_pods_of_a_search_are_of_no_trial_of_the_race() -> None:
    pods = [of_search(pod(7, "0,1")), pod(0, "0,1"), of_search(pod(2, "0,1"))]
    assert [one.trial.index for one in attempts(plan(job()), pods)] == [0]
    assert [one.who for one in turns(pods)] == ["run 1, lane 3, turn 2", "run 1, lane 3, turn 7"]


def test_pods_of_a_search_are_in_the_order_of_its_runs_lanes_and_turns() -> None:
    """A stretch that began at turn 8 counts on, and lane 10 comes after lane 3."""
    wanted = [("u", "3", 7), ("u", "3-8", 0), ("u", "10", 0), ("u.2", "3", 0), ("u.10", "3", 0)]
    made = [of_search(pod(index, "0,1"), f"{uid}.search", lane) for uid, lane, index in wanted]
    found = turns(made[::-1])
    assert [(one.run, one.lane, one.turn) for one in found] == [(1, 3, 7), (1, 3, 8), (1, 10, 0), (2, 3, 0), (10, 3, 0)]
    odd = of_search(pod(0, "0,1"), "u.x.search", "a-b")
    assert [one.who for one in turns([odd])] == ["run 1, lane 0, turn 0"]


def test_the_log_of_a_search_trial_says_which_one_it_is() -> None:
    (found,) = turns([of_search(pod(7, "0,1"))])
    assert found.said_by("Starting: b, seed twelve", job()) is found
    known = found.said_by("Starting: b, seed 21", job())
    assert known.who == "run 1, lane 3, turn 7, trial b/12", "base seed 7, and 2 repeats"
    assert (known.is_of("b", 12), known.is_of("b", None), known.is_of("a", 12), known.is_of("b", 1)) == (
        True, True, False, False,
    )  # fmt: skip
    assert found.is_of(None, None)
    assert not found.is_of("b", None), "which trial it is was not said yet"


def of_search(found: dict[str, Any], uid: str = "u.search", lane: str = "3") -> dict[str, Any]:
    variables = {"VELODROME_SEARCH": "1", "VELODROME_LANE": lane, "VELODROME_JOB_UID": uid}
    found["spec"]["containers"][0]["env"] += [{"name": name, "value": value} for name, value in variables.items()]
    return found


def test_pods_that_train_together_are_of_one_trial() -> None:
    found = attempts(plan(job(2)), [pod(index, "0,1", 2) for index in range(4)])
    assert [(attempt.trial.entry, attempt.rank) for attempt in found] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_values_have_their_unit_and_the_ranks_they_may_have() -> None:
    first = {"name": "speed", "mean": 0.00125, "samples": 1}
    second = {"name": "speed", "mean": 0.002, "low": 0.001, "high": 0.003, "samples": 2, "ranks": "1-2"}
    entries = [{"name": "a", "objectives": [first]}, {"name": "b", "objectives": [second]}]
    found = list(values(job(), raw(entries=entries)))
    assert found == [
        ("speed", "a", "1.250 ms", "", "1", ""),
        ("speed", "b", "2 ms", "1 ms to 3 ms", "2", "1-2"),
    ]


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ('error: the server doesn\'t have a resource type "benchmarkjobs"', "install Velodrome"),
        ("The connection to the server localhost:8080 was refused - connection refused", "is the cluster up"),
        ('Error from server (Forbidden): pods is forbidden: User "x" cannot list', "ask for that right"),
        ("error: You must be logged in to the server (Unauthorized)", "sign in again"),
    ],
)
def test_complaints_come_with_a_fix(words: str, fix: str) -> None:
    assert fix in str(explained(words))
