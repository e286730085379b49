"""Which cohort is shown, what it is called, and why two of them can't be compared."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from velodrome.board.cohorts import chosen_cohort, cohort_labels
from velodrome.results.conditions import differences, shown
from velodrome.results.objectives import board_objectives
from velodrome.results.records import JobInfo
from velodrome.store.types import CohortSummary

AT = datetime(2026, 5, 4, tzinfo=UTC)


def conditions(**changed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    base: dict[str, dict[str, Any]] = {
        "dataset": {"name": "digits", "digest": "sha256:" + "a" * 64, "samples": [10, 2, 3]},
        "preprocessing": {"normalize": True, "augmentations": [{"name": "RandomCrop", "args": {"padding": 1}}]},
        "hardware": {"cpu_model": "Xeon", "cpu_count": 8, "accelerator": None},
        "software": {"framework": "torch 2.15", "libraries": {"numpy": "2.4"}},
    }
    return {name: {**facts, **changed.get(name, {})} for name, facts in base.items()}


def cohort(name: str, **changed: Mapping[str, Any]) -> CohortSummary:
    return CohortSummary(name, conditions(**changed), f"words of {name}", 2, 10, AT)


def job(*objectives: Mapping[str, Any] | None) -> JobInfo:
    spec = {"objectives": list(objectives)} if objectives else {}
    return JobInfo(
        uid="u", name="j", namespace="default", board="b", created_at=AT, trials=1, repeats=1, entries=("a",),
        document={"spec": spec},
    )  # fmt: skip


def test_objectives_are_united_by_key_and_keep_their_newest_name() -> None:
    newest = job(
        {"name": "quality", "metric": "accuracy"}, {"name": "speed", "metric": "latency_p50_seconds", "batchSize": 1}
    )
    older = job({"name": "accuracy", "metric": "accuracy"}, {"name": "size", "metric": "parameters"})
    found = [(objective.name, str(objective.key)) for objective in board_objectives([newest, older])]
    assert found == [
        ("quality", "accuracy"),
        ("speed", "latency_p50_seconds{batch_size=1}"),
        ("size", "parameters"),
    ]


def test_two_keys_of_one_name_stay_apart() -> None:
    newest = job({"name": "speed", "metric": "latency_p50_seconds", "batchSize": 1})
    older = job({"name": "speed", "metric": "latency_p50_seconds", "batchSize": 64})
    assert [objective.name for objective in board_objectives([newest, older])] == [
        "speed (latency_p50_seconds{batch_size=1})",
        "speed (latency_p50_seconds{batch_size=64})",
    ]


def test_a_job_without_objectives_ranks_accuracy_and_an_unknown_metric_is_left_out() -> None:
    assert [objective.name for objective in board_objectives([job()])] == ["accuracy"]
    assert board_objectives([job({"name": "new", "metric": "not_invented_yet"})]) == ()


def test_the_newest_cohort_is_shown_unless_another_is_asked_for() -> None:
    cohorts = [cohort("new"), cohort("old")]
    assert chosen_cohort(cohorts) == cohorts[0]
    assert chosen_cohort(cohorts, "old") == cohorts[1]
    assert chosen_cohort(cohorts, "gone") == cohorts[0]
    assert chosen_cohort([]) is None


def test_differences_name_every_fact_that_differs_and_no_other() -> None:
    here = conditions()
    there = conditions(
        hardware={"cpu_model": "EPYC"},
        software={"libraries": {"numpy": "2.5"}},
        dataset={"digest": "sha256:" + "b" * 64},
    )
    assert [str(difference) for difference in differences(here, there)] == [
        "data differs: aaaaaaaa here, bbbbbbbb there",
        "CPU differs: Xeon here, EPYC there",
        "numpy differs: 2.4 here, 2.5 there",
    ]
    assert differences(here, conditions()) == ()


def test_a_fact_that_only_one_side_has_differs_too() -> None:
    here, there = conditions(), conditions(hardware={"driver": "550"})
    assert [str(difference) for difference in differences(here, there)] == ["driver differs: none here, 550 there"]


def test_labels_tell_cohorts_apart_by_what_varies_among_them() -> None:
    labels = cohort_labels(
        [cohort("a"), cohort("b", hardware={"cpu_model": "EPYC"}), cohort("c", hardware={"cpu_count": 4})]
    )
    assert labels == {
        "a": "CPU: Xeon · CPUs of the machine: 8",
        "b": "CPU: EPYC · CPUs of the machine: 8",
        "c": "CPU: Xeon · CPUs of the machine: 4",
    }
    assert cohort_labels([cohort("only")]) == {"only": "words of only"}


def test_values_are_shown_in_words() -> None:
    assert shown(None) == "none"
    assert shown([]) == "none"
    assert shown(True) == "on"
    assert shown(1) == "1"
    assert shown(0.5) == "0.5"
    assert shown([{"name": "RandomCrop", "args": {"padding": 1}}, {"name": "RandomHorizontalFlip", "args": {}}]) == (
        "RandomCrop (args padding 1), RandomHorizontalFlip"
    )
