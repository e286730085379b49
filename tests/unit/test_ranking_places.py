"""Who is ranked, who is not and why, and the sentence that a person reads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome.ranking.places import rank_objective
from velodrome.ranking.sentences import about_means, seen, summary, would_see
from velodrome.results.records import JobInfo
from velodrome.store.types import EntryState, Row
from velodrome.text import listed

AT = datetime(2026, 5, 4, tzinfo=UTC)


def row(entry: str, *values: float, planned: int | None = None, job: str = "job-1") -> Row:
    return Row(entry, f"id-{entry}", job, f"name-{job}", planned or len(values), dict(enumerate(values)), AT)


def state(
    entry: str,
    planned: int = 3,
    succeeded: int = 0,
    failed: int = 0,
    reasons: Mapping[str, int] | None = None,
    job: str = "job-1",
) -> tuple[JobInfo, EntryState]:
    info = JobInfo(
        uid=job,
        name=f"name-{job}",
        namespace="default",
        board="b",
        created_at=AT,
        trials=9,
        repeats=3,
        entries=(entry,),
        document={"spec": {}},
    )
    return info, EntryState(entry, None, planned, succeeded, failed, 0, reasons or {})


CLEAR = (row("slow", 0.70, 0.71, 0.72), row("best", 0.90, 0.91, 0.92), row("middle", 0.80, 0.81, 0.82))


def test_higher_is_better_for_accuracy_and_lower_for_latency() -> None:
    assert [r.entry for r in rank_objective("accuracy", CLEAR).ranked] == ["best", "middle", "slow"]
    ranking = rank_objective("latency_p50_seconds{batch_size=1}", CLEAR)
    assert [r.entry for r in ranking.ranked] == ["slow", "middle", "best"]
    assert ranking.unit == "seconds"
    assert ranking.direction == "lower"


def test_entries_that_cannot_be_told_apart_may_have_each_others_rank() -> None:
    ranking = rank_objective("accuracy", [row("a", 0.9, 0.8, 0.7), row("b", 0.81, 0.89, 0.7), row("c", 0.1, 0.12, 0.1)])
    assert [(r.entry, r.place, r.rank, r.worst_rank) for r in ranking.ranked] == [
        ("a", "1-2", 1, 2),
        ("b", "1-2", 1, 2),
        ("c", "3", 3, 3),
    ]
    assert ranking.leaders == ("a", "b")
    assert ranking.ranked[0].indistinguishable_from == ("b",)
    assert ranking.ranked[0].interval.n == 3
    assert ranking.ranked[0].samples == {0: 0.9, 1: 0.8, 2: 0.7}


def test_an_incomplete_entry_is_never_ranked_however_good() -> None:
    ranking = rank_objective("accuracy", [*CLEAR, row("star", 1.0, 1.0, planned=5)], [state("star", 5, 2)])
    assert "star" not in ranking.leaders
    (unranked,) = ranking.unranked
    assert (unranked.entry, unranked.why, unranked.reason) == ("star", "Incomplete", "2 of 5 trials done")
    assert (unranked.samples, unranked.planned) == ({0: 1.0, 1: 1.0}, 5)


@pytest.mark.parametrize(
    ("states", "elsewhere", "why", "reason"),
    [
        (state("x", 5, 3, 2, {"LossNotFinite": 2}), "", "Failed", "2 of 5 trials failed: LossNotFinite"),
        (
            state("x", 5, 1, 4, {"OutOfMemory": 1, "LossNotFinite": 3}), "", "Failed",
            "4 of 5 trials failed: LossNotFinite × 3, OutOfMemory × 1",
        ),
        (state("x", 1, 0, 1, {}), "", "Failed", "1 of 1 trial failed"),
        (state("x", 5, 0), "", "Incomplete", "0 of 5 trials done"),
        (state("x", 5, 2), "", "Incomplete", "2 of 5 trials done"),
        (state("x", 5, 5), "elsewhere", "OtherConditions", "has no result under these conditions"),
        (state("x", 5, 5), "", "NotMeasured", "accuracy was not measured"),
    ],
)  # fmt: skip
def test_an_entry_without_values_says_why(
    states: tuple[JobInfo, EntryState], elsewhere: str, why: str, reason: str
) -> None:
    ranking = rank_objective("accuracy", CLEAR, [states], other_cohorts=bool(elsewhere))
    assert [(r.entry, r.why, r.reason) for r in ranking.unranked] == [("x", why, reason)]


def test_a_metric_that_could_not_be_measured_gives_the_runners_own_reason() -> None:
    states = [state("x", 2, 2)]
    ranking = rank_objective(
        "energy_joules", [], states, unavailable={"x": "energy_joules: this device has no counter"}
    )
    assert ranking.unranked[0].reason == "energy_joules: this device has no counter"


def test_values_of_an_older_job_are_named_after_it() -> None:
    newest = state("x", 3, 0, 1, {"OutOfMemory": 1}, job="job-2")
    ranking = rank_objective("accuracy", [*CLEAR, row("x", 0.9, planned=3)], [newest])
    assert ranking.unranked[0].reason == "1 of 3 trials of name-job-1 have a value"


def test_values_under_several_conditions_are_not_mixed_to_fill_up_an_entry() -> None:
    ranking = rank_objective("accuracy", [*CLEAR, row("x", 0.9, planned=3)], [state("x", 3, 3)], other_cohorts=True)
    assert ranking.unranked[0].reason == "only 1 of 3 trials ran under these conditions"


def test_failures_are_listed_before_what_is_merely_unfinished() -> None:
    states = [state("a", 3, 1), state("b", 3, 3), state("c", 3, 0, 1, {"OutOfMemory": 1})]
    assert [r.entry for r in rank_objective("accuracy", [], states).unranked] == ["c", "a", "b"]


def test_a_ranked_entry_notes_that_a_newer_job_of_it_went_wrong() -> None:
    states = [state("best", 3, 0, 1, {"LossNotFinite": 1}, job="job-2"), state("middle", 3, 3)]
    first, second, _ = rank_objective("accuracy", CLEAR, states).ranked
    assert "name-job-2" in first.note
    assert "1 of 3 trials failed: LossNotFinite" in first.note
    assert second.note == ""


def test_a_value_without_a_mean_is_held_back_and_not_a_crash() -> None:
    ranking = rank_objective("loss", [row("diverged", 1e200, 1e201), row("fine", 0.5, 0.6)])
    assert ranking.leaders == ("fine",)
    assert "1e+200" in ranking.unranked[0].reason


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="accurracy"):
        rank_objective("accurracy", [])


@given(st.permutations(range(5)))
def test_the_order_of_the_rows_does_not_matter(order: list[int]) -> None:
    rows = [*CLEAR, row("x", 0.9, planned=2), row("y", 0.8, 0.9, 0.7)]
    states = [state("x", 2, 1), state("z", 2, 0)]
    expected = rank_objective("accuracy", rows, states)
    assert rank_objective("accuracy", [rows[i] for i in order], states[::-1]) == expected


def test_the_summary_claims_no_more_than_the_tests_do() -> None:
    def sentence(*rows: Row) -> str:
        return summary(rank_objective("accuracy", rows))

    assert sentence() == "Nothing can be ranked yet."
    assert sentence(row("a", 0.9, 0.8)) == "a is the only ranked entry."
    assert sentence(*CLEAR) == "best is best: significantly better than each of the other 2 entries at 95 %."
    assert sentence(*CLEAR[:2]) == "best is best: significantly better than slow at 95 %."
    tie = row("a", 0.91, 0.8, 0.7), row("b", 0.81, 0.89, 0.7)
    assert sentence(*tie) == "a has the best mean; b can't be told apart from it at 95 %."
    assert sentence(*tie, row("c", 0.1, 0.12, 0.1)) == "a has the best mean; b can't be told apart from it at 95 %."
    assert (
        sentence(*tie, row("c", 0.9, 0.7, 0.75))
        == "a has the best mean, but no other entry can be told apart from it at 95 %."
    )
    assert (
        sentence(row("a", 0.9), row("b", 0.5))
        == "One trial of an entry shows no spread, so no entry is ranked: set trials.repeats to 2 or more."
    )


def test_equal_means_have_no_best_one() -> None:
    def sentence(*rows: Row, key: str = "accuracy") -> str:
        return summary(rank_objective(key, rows))

    a, b = row("a", 0.7, 0.8, 0.9), row("b", 0.9, 0.8, 0.7)
    assert sentence(a, b) == "a and b have the same mean."
    assert sentence(a, b, row("c", 0.8, 0.7, 0.75)) == (
        "a and b have the same mean, the best one; c might be as good at 95 %."
    )
    assert sentence(row("a", 0.81, 0.8, 0.8), row("b", 0.8, 0.8, 0.81), row("c", 0.1, 0.11, 0.1)) == (
        "a and b have the same mean, and are significantly better than c at 95 %."
    )
    assert sentence(row("a", 30, 30), row("b", 30, 30), row("c", 40, 40), key="parameters") == (
        "a and b share the best value."
    )
    assert sentence(row("a", 30), row("c", 40), key="parameters") == "a has the best value."


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "a"), (2, "a and b"), (3, "a, b and c"), (4, "a, b, c and 1 more"), (7, "a, b, c and 4 more")],
)
def test_a_list_of_names_stays_short(count: int, text: str) -> None:
    assert listed("abcdefg"[:count]) == text


def test_one_trial_has_no_rank_and_takes_none_from_others() -> None:
    lucky = row("lucky", 0.08)
    ranking = rank_objective("accuracy", [*CLEAR, lucky])
    assert [(r.entry, r.place) for r in ranking.ranked] == [("best", "1"), ("middle", "2"), ("slow", "3")]
    (held,) = ranking.unranked
    assert (held.entry, held.why) == ("lucky", "OneTrial")
    assert held.reason == "one trial shows no spread: set trials.repeats to 2 or more"
    assert summary(ranking) == summary(rank_objective("accuracy", CLEAR))


@pytest.mark.parametrize(("key", "order"), [("accuracy", ["b", "c", "a"]), ("train_seconds", ["a", "c", "b"])])
def test_entries_of_one_trial_each_are_listed_by_value(key: str, order: list[str]) -> None:
    ranking = rank_objective(key, [row("a", 0.1), row("b", 0.9), row("c", 0.5)])
    assert ranking.ranked == ()
    assert ranking.leaders == ()
    assert [r.entry for r in ranking.unranked] == order


def test_a_deterministic_metric_needs_no_second_trial() -> None:
    ranking = rank_objective("parameters", [row("a", 300), row("b", 100), row("c", 100)])
    assert [(r.entry, r.place) for r in ranking.ranked] == [("b", "1-2"), ("c", "1-2"), ("a", "3")]


def test_rows_stand_in_order_of_the_mean_whatever_their_noise() -> None:
    wild = row("wild", 0.95, 0.30, 0.99, 0.20, 0.9)
    ranking = rank_objective(
        "accuracy", [row("top", 0.91, 0.92, 0.93, 0.92, 0.91), row("low", 0.81, 0.82, 0.81, 0.8, 0.82), wild]
    )
    assert [(r.entry, r.place) for r in ranking.ranked] == [("top", "1-2"), ("low", "2-3"), ("wild", "1-3")]
    assert ranking.leaders == ("top", "wild")


@pytest.mark.parametrize(
    ("key", "values", "least", "most"),
    [
        ("latency_p50_seconds{batch_size=1}", (157e-6, 190e-6, 3473e-6), 0.0, float("inf")),
        ("accuracy", (0.99, 0.7, 0.6), 0.0, 1.0),
        ("mcc", (0.99, -0.7, 0.6), -1.0, 1.0),
        ("r2", (0.99, -0.7, 0.6), -float("inf"), 1.0),
        ("energy_joules", (0.0, 1.0, 50.0), 0.0, float("inf")),
        ("own_points{better=higher,high=10,kind=quality,low=-5,scale=interval,unit=points}", (9.0, -4.0, 9.9), -5, 10),
        ("own_errors{better=lower,high=100,kind=quality,low=0,unit=percent}", (99.0, 10.0, 3.0), 0, 100),
    ],
)
def test_an_interval_holds_only_values_that_are_possible(
    key: str, values: tuple[float, ...], least: float, most: float
) -> None:
    (found,) = rank_objective(key, [row("a", *values)]).ranked
    assert found.interval.low is not None
    assert found.interval.high is not None
    assert least <= found.interval.low <= found.interval.mean <= found.interval.high <= most


def test_seconds_have_geometric_means_and_ties_in_per_cent() -> None:
    ranking = rank_objective("train_seconds", [row("a", 1.0, 2.0, 4.0), row("b", 1.5, 2.0, 4.5)])
    assert ranking.logs
    assert ranking.ranked[0].interval.mean == pytest.approx(2.0)
    assert seen(ranking.metric, ranking.logs, ranking.ranked[0]).endswith(" %")
    assert about_means(ranking) == "Means are geometric: entries differ by factors."
    assert "15 %" in about_means(rank_objective("train_seconds", [row("a", *range(1, 11))]))
    assert about_means(rank_objective("accuracy", CLEAR)) == ""
    zero = rank_objective("energy_joules", [row("a", 0.0, 2.0), row("b", 1.5, 2.0)])
    assert not zero.logs
    assert about_means(zero).startswith("A value is 0")


@pytest.mark.parametrize("key", ["parameters", "model_bytes", "flops"])
def test_the_catalogue_says_what_is_deterministic(key: str) -> None:
    rows = [row("large", 19_210, 19_210), row("small", 310, 310), row("same", 310, 310)]
    places = {r.entry: r.rank for r in rank_objective(key, rows).ranked}
    assert places == {"small": 1, "same": 1, "large": 3}


@pytest.mark.parametrize("key", ["accuracy", "f1", "train_seconds"])
def test_values_that_happen_to_be_constant_are_no_certainty(key: str) -> None:
    rows = [row("a", 35 / 355, 35 / 355), row("b", 36 / 355, 36 / 355)]
    assert {r.rank for r in rank_objective(key, rows).ranked} == {1}


def test_two_entries_with_the_same_counts_are_tied() -> None:
    rows = [row("torch", *[35 / 355] * 5), row("own", *[35 / 355] * 5)]
    assert [r.place for r in rank_objective("accuracy", rows).ranked] == ["1-2", "1-2"]


def test_each_tie_of_neighbours_says_what_would_have_been_found() -> None:
    tied = [row("a", 0.9, 0.8, 0.7), row("b", 0.81, 0.85, 0.7), row("c", 0.1, 0.12, 0.1)]
    ranking = rank_objective("accuracy", tied)
    size = ranking.ranked[0].detectable
    assert size is not None
    assert would_see(ranking) == f"Such a race finds these differences in 80 % of cases: a and b {100 * size:.2g} %."
    assert would_see(rank_objective("accuracy", CLEAR)) == ""
    many = rank_objective("accuracy", [row(name, 0.9, 0.8, 0.7 + place / 100) for place, name in enumerate("abcdefg")])
    assert would_see(many).endswith("; 2 more in --json.")


def test_no_difference_is_named_that_a_metric_can_not_have() -> None:
    vague = rank_objective("accuracy", [row("a", 0.9, 0.1), row("b", 0.85, 0.2), row("c", 0.2, 0.8)])
    assert would_see(vague) == "With so few trials, such a race tells no neighbours apart: give it more seeds."
    close = rank_objective(
        "accuracy", [row("a", 0.9, 0.1), row("b", 0.5, 0.1), row("c", 0.1, 0.11), row("d", 0.1, 0.1)]
    )
    assert all(float(words.split()[-2]) <= 100 for words in would_see(close).removesuffix(".").split(";"))
