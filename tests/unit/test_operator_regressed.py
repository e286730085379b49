"""What a BenchmarkJob says of regressions, and the job that confirms one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from velodrome.plan import plan
from velodrome.spec import read_jobs, validate
from velodrome.trends.regressions import Comparison
from velodrome_operator.regressed import confirming, confirms, regressed

(JOB,) = read_jobs(Path(__file__).parents[2] / "deploy/examples/digits.yaml")

UNCHANGED = Comparison(
    board="digits", entry="cnn", objective="speed", metric_key="latency_p50_seconds{batch_size=1}", cohort_id="c",
    verdict="Unchanged", reason="NotSignificant", relative_change=0.001, low=-0.01, high=0.01, p_value=0.8, samples=5,
    baseline_samples=5, mean=0.01, baseline_mean=0.01, baseline_uid="b", job_uid="j", sentence="cnn, speed: as before.",
    acknowledged=False,
)  # fmt: skip
FIRST = replace(UNCHANGED, verdict="Unknown", reason="NoBaseline", relative_change=None, sentence="cnn: the first.")
AWAITING = replace(UNCHANGED, verdict="Unknown", reason="AwaitingConfirmation", relative_change=0.2,
                   sentence="cnn, speed: looks worse.")  # fmt: skip


def worse(entry: str, change: float, *, acknowledged: bool = False) -> Comparison:
    return replace(
        UNCHANGED, entry=entry, verdict="Regressed", reason="SignificantlyWorse", relative_change=change,
        sentence=f"{entry}, speed: worse.", acknowledged=acknowledged,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "status", "reason"),
    [
        ([UNCHANGED], "False", "NoRegression"),
        ([UNCHANGED, FIRST], "False", "NoRegression"),
        ([UNCHANGED, worse("cnn", 0.1)], "True", "SignificantlyWorse"),
        ([AWAITING, worse("cnn", 0.1)], "True", "SignificantlyWorse"),
        ([UNCHANGED, AWAITING], "Unknown", "AwaitingConfirmation"),
        ([UNCHANGED, replace(AWAITING, acknowledged=True)], "False", "NoRegression"),
        ([worse("cnn", 0.1, acknowledged=True), FIRST], "False", "RegressionAccepted"),
        ([worse("cnn", 0.1, acknowledged=True), worse("mlp", 0.1)], "True", "SignificantlyWorse"),
        ([FIRST, FIRST, replace(FIRST, reason="NewCohort")], "Unknown", "NoBaseline"),
        ([], "Unknown", "NothingMeasured"),
    ],
)
def test_what_the_condition_is(found: list[Comparison], status: str, reason: str) -> None:
    condition = regressed(found)
    assert (condition.status, condition.reason) == (status, reason)
    assert condition.message


def test_the_worst_are_named_and_no_more_than_a_message_bears() -> None:
    changes = {"a": 0.1, "b": -0.4, "c": 0.3, "d": 0.2, "e": 0.05}
    message = regressed([worse(entry, change) for entry, change in changes.items()]).message
    assert message == "b, speed: worse. c, speed: worse. d, speed: worse. And 2 more."
    long = [replace(worse(entry, 0.1), sentence="x" * 5000) for entry in "abcde"]
    assert len(regressed(long).message) < 1000
    assert regressed(long).message.endswith("… And 2 more.")


def test_what_entries_have_in_common_is_said_once() -> None:
    words = "speed: all 3 entries became worse together."
    along = [replace(worse(entry, 0.1), reason="MovedTogether", together=words) for entry in "abc"]
    condition = regressed(along)
    assert (condition.status, condition.reason, condition.message) == ("True", "MovedTogether", words)
    both = regressed([*along, worse("d", 0.5)])
    assert (both.reason, both.message) == ("SignificantlyWorse", f"{words} d, speed: worse.")


def test_no_regression_says_what_would_have_been_seen() -> None:
    seen = [replace(UNCHANGED, visible=size) for size in (0.018, 0.03, 0.2)]
    words = (
        "3 of 3 comparisons show no regression. A change for the worse of 3 % would have been seen in half of them, and"
    )
    assert regressed(seen).message == f"{words} one of 20 % in all"
    alone = regressed(seen[:1]).message
    assert alone.endswith("no regression. A change for the worse of 1.8 % would have been seen")


def test_what_confirms_is_reported() -> None:
    assert regressed([AWAITING], "BenchmarkJob x runs.").message == "cnn, speed: looks worse. BenchmarkJob x runs."


def raw(name: str = "night", **spec: Any) -> dict[str, Any]:
    document = JOB.model_dump(mode="json", by_alias=True, exclude_unset=True)
    metadata = {
        "name": name, "namespace": "team", "uid": "u-1", "labels": {"kueue.x-k8s.io/queue-name": "gpu"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}, "resourceVersion": "7",
    }  # fmt: skip
    return {**document, "metadata": metadata, "spec": {**document["spec"], **spec}, "status": {"message": "done"}}


def made(parent: dict[str, Any]) -> dict[str, Any]:
    job = validate({key: value for key, value in parent.items() if key != "status"})
    return confirming(parent, job, parent["metadata"]["uid"])


def test_the_confirming_job_is_the_same_race_with_seeds_of_its_own() -> None:
    parent = raw(trials={"repeats": 4, "baseSeed": 3}, regression={"confirm": True})
    found = made(parent)
    before, after = (plan(validate({k: v for k, v in one.items() if k != "status"})) for one in (parent, found))
    assert {trial.seed for trial in after.trials} == {7, 8, 9, 10}
    assert {trial.seed for trial in before.trials}.isdisjoint(trial.seed for trial in after.trials)
    assert found["metadata"]["labels"] == parent["metadata"]["labels"]
    assert found["metadata"]["annotations"] == {"velodrome.dev/confirms": "u-1"}
    assert confirms(found["metadata"]["annotations"]) == "u-1"
    assert confirms(parent["metadata"]["annotations"]) is None
    assert "status" not in found
    without_seeds = [{**one["spec"], "trials": None} for one in (parent, found)]
    assert without_seeds[0] == without_seeds[1]


def test_seeds_do_not_run_out() -> None:
    found = made(raw(trials={"repeats": 5, "baseSeed": 2**31 - 1}))
    assert found["spec"]["trials"] == {"repeats": 5, "baseSeed": 2**31 - 6}


@pytest.mark.parametrize("name", ["n", "night", "a" * 63, "a" * 45 + "-" + "b" * 17])
def test_the_confirming_jobs_name_follows_from_the_job_and_is_a_dns_label(name: str) -> None:
    parent = raw(name)
    found = made(parent)["metadata"]["name"]
    assert found == made(parent)["metadata"]["name"]
    parent["metadata"]["uid"] = "u-2"
    assert made(parent)["metadata"]["name"] != found, "a job of the same name that is made later has another"
    assert found.startswith(name[:40])
    assert len(found) <= 63
    assert "--" not in found.replace(name, "")
