"""What a ranking says of conditions that did not hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from velodrome.metrics.catalogue import MetricKey
from velodrome.ranking.places import rank_objective
from velodrome.ranking.remarks import remarks
from velodrome.results.records import JobInfo
from velodrome.results.searches import UNTUNED, Searched, Spent, Winner
from velodrome.store.types import Row, TrialSummary

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACCURACY, SPEED, SIZE = map(MetricKey.parse, ("accuracy", "train_seconds", "parameters"))
ROWS = [Row("a", "id-a", "uid", "job", 3, {0: 0.9, 1: 0.8, 2: 0.7}, NOW)]


def trials(**each: Any) -> dict[str, list[TrialSummary]]:
    """Three trials of entry `a`; each argument has a value for each of them."""
    made = []
    for seed in range(3):
        values = {name: value[seed] for name, value in each.items()}
        made.append(TrialSummary(seed, "a", seed, "Succeeded", None, 1.0, 0, **values))
    return {"uid": made}


def said(key: MetricKey, **each: Any) -> str:
    found = remarks(key, ROWS, trials(**each))
    assert set(found) <= {("uid", "a")}
    return found.get(("uid", "a"), "")


def test_weights_that_start_equal_are_said_with_their_reason() -> None:
    assert said(ACCURACY, initial_weights="xyz") == ""
    assert said(ACCURACY, initial_weights=[None, None, None]) == ""
    assert (
        said(ACCURACY, initial_weights="xxx")
        == "all 3 seeds started from the same weights: if its code sets a seed, the interval is too narrow"
    )
    assert said(ACCURACY, initial_weights="xyx").startswith("2 of 3 seeds started from the same weights")
    pretrained = said(ACCURACY, initial_weights="xxx", pretrained=[True] * 3)
    assert pretrained == "all 3 seeds started from the same pretrained weights, and the interval holds for these"
    assert said(SIZE, initial_weights="xxx") == ""


def test_a_variant_that_trained_other_weights_than_its_base_is_noted_with_its_seeds() -> None:
    def noted(base: list[str | None], variant: list[str | None], of: str | None = "base") -> str:
        weights = [("base", seed, each) for seed, each in enumerate(base)]
        weights += [("a", seed, each) for seed, each in enumerate(variant)]
        all_ = [
            TrialSummary(index, entry, seed, "Succeeded", None, 1.0, 0, trained_weights=each)
            for index, (entry, seed, each) in enumerate(weights)
        ]
        entries = [{"name": "base"}, {"name": "a"} | ({"variantOf": of} if of else {})]
        job = JobInfo(uid="uid", name="job", namespace="default", board="board", created_at=NOW, trials=6,
                      repeats=3, entries=("base", "a"), document={"spec": {"entries": entries}})  # fmt: skip
        return remarks(ACCURACY, ROWS, {"uid": all_}, {"uid": job}).get(("uid", "a"), "")

    same: list[str | None] = ["x", "y", "z"]
    assert noted(same, same) == ""
    assert noted(same, ["x", None, "z"]) == noted([None, "y", "z"], same) == noted(same[:2], same) == ""
    assert noted(same, ["x", "other", "z"]) == (
        "seed 1 trained other weights than those of base, so more than its optimize makes it differ"
    )
    assert noted(same, ["o", "y", "o"]).startswith("seeds 0,2 trained other weights")
    assert noted(same, ["o", "y", "o"], of=None) == ""


def test_test_samples_that_train_are_said_where_quality_is_ranked() -> None:
    words = "1,200 test samples train too, so a model may remember the answers: remove them from a split"
    assert said(ACCURACY, shared_samples=[0, 1200, 1200]) == words
    assert said(ACCURACY, shared_samples=[1, 1, 1]).startswith("1 test sample trains too")
    assert said(ACCURACY, shared_samples=[0, 0, 0]) == said(SPEED, shared_samples=[9, 9, 9]) == ""


def test_a_disturbance_is_said_where_the_value_depends_on_speed() -> None:
    disturbed = ["", "the CPU was waited for", "another"]
    words = "2 of 3 trials were disturbed while they were measured: the CPU was waited for"
    assert said(SPEED, disturbed=disturbed) == words
    assert said(ACCURACY, disturbed=disturbed) == ""
    assert said(SPEED) == ""


def test_a_remark_stands_in_the_ranks_note() -> None:
    ranking = rank_objective(ACCURACY, ROWS, remarks={("uid", "a"): "mind this", ("other", "a"): "not this"})
    assert ranking.ranked[0].note == "mind this"


def test_an_untuned_row_beside_a_tuned_one_says_so_also_where_its_job_has_no_search() -> None:
    rows = [*ROWS, Row("b", "id-b", "other", "job", 3, {0: 0.9}, NOW)]
    info = {"name": "job", "board": "b", "created_at": NOW, "trials": 3, "repeats": 3, "namespace": "n", "document": {}}
    other = JobInfo.model_validate({**info, "uid": "other", "entries": ["b"]})
    winner = Winner(number=3, spent=Spent(trials=8, epochs=40))
    searched = JobInfo.model_validate(
        {**info, "uid": "uid", "entries": ["a"], "searched": Searched(entries={"a": winner})}
    )
    wanted = {("uid", "a"): "tuned: the best of 8 search trials (40 epochs)", ("other", "b"): UNTUNED}
    for key in (ACCURACY, SIZE):
        assert remarks(key, rows, {}, {"uid": searched, "other": other}) == wanted
        assert remarks(key, rows[1:], {}, {"other": other}) == {}


def grouped(key: MetricKey, *values: float) -> str:
    row = Row("a", "id-a", "uid", "job", len(values), dict(enumerate(values)), NOW)
    return remarks(key, [row], {}).get(("uid", "a"), "")


def test_values_in_two_groups_are_said_with_what_they_do_to_ranks() -> None:
    words = "its values lie in two groups, 2 low and 3 high ones"
    assert grouped(ACCURACY, 0.97, 0.11, 0.96, 0.10, 0.965).startswith(words)
    assert grouped(ACCURACY, 0.97, 0.94, 0.96, 0.95, 0.965) == ""
    assert grouped(SIZE, 1.0, 1.1, 9.0, 9.1, 9.2) == ""


def test_times_are_grouped_by_factors() -> None:
    assert grouped(SPEED, 0.01, 0.011, 10.0, 11.0, 12.0).startswith("its values lie in two groups, 2 low")
    assert grouped(SPEED, 1.0, 2.0, 10.0, 10.1, 10.2) == "", "the lower two differ by a factor of 2"
