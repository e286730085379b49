"""Races that go on until they are decided: which entries get how many seeds, and why the others stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pytest

from velodrome.metrics.catalogue import MetricKey
from velodrome.stats import Sample
from velodrome.stats.looks import level, look_of, look_sizes, shares
from velodrome.stats.sequential import SeedSchedule, Stopped, Until, schedule

ACCURACY = MetricKey.parse("accuracy")
LATENCY = MetricKey.parse("latency_p50_seconds{batch_size=1}")
PARAMETERS = MetricKey.parse("parameters")
UNTIL = Until(("accuracy",), 5, 20)

Values = Mapping[str, Sequence[float]]


def samples(values: Values, counts: Mapping[str, int]) -> list[Sample]:
    """The first so many values of each entry; an entry without values has no sample."""
    return [
        Sample(name, dict(enumerate(all_[: counts[name]])))
        for name, all_ in values.items()
        if counts[name] and len(all_)
    ]


def race(
    values: Mapping[MetricKey, Values], until: Until, failed: Callable[[Mapping[str, int]], set[str]] = lambda _: set()
) -> list[SeedSchedule]:
    """Every answer of a race from its start to its end; `failed` says who has failed once so many seeds were asked."""
    entries = tuple(next(iter(values.values())))
    counts, answers = dict.fromkeys(entries, 0), []
    while True:
        given = {key: samples(of_key, counts) for key, of_key in values.items()}
        answers.append(schedule(given, until, failed(counts), entries))
        if answers[-1].finished:
            return answers
        assert len(answers) < 20, "the race makes no progress"
        counts = {
            name: min(count, len(next(iter(values.values()))[name])) for name, count in answers[-1].repeats.items()
        }


def noisy(means: Sequence[float], seed: int = 0, spread: float = 0.01, seeds: int = 40) -> dict[str, list[float]]:
    noise = np.random.default_rng(seed).normal(scale=spread, size=(len(means), seeds))
    return {f"e{row}": (mean + noise[row]).tolist() for row, mean in enumerate(means)}


def stops(answer: SeedSchedule) -> dict[str, Stopped]:
    return {one.entry: one for one in answer.stopped}


def test_looks_grow_and_later_ones_may_spend_more() -> None:
    assert look_sizes(UNTIL) == (5, 7, 10, 14, 20)
    assert sum(shares(UNTIL)) == pytest.approx(1)
    assert level(UNTIL, 1) == pytest.approx(0.05 * 5 / 56)
    assert level(UNTIL, 5) == pytest.approx(0.05 * 20 / 56)
    assert [look_of(UNTIL, seeds) for seeds in (0, 4, 5, 6, 7, 20, 99)] == [0, 0, 1, 1, 2, 5, 5]


@pytest.mark.parametrize(("start", "most"), [(2, 2), (2, 3), (3, 4), (5, 6), (2, 10_000), (5, 100), (9_999, 10_000)])
def test_looks_begin_at_the_repeats_and_end_at_the_most(start: int, most: int) -> None:
    until = Until(("accuracy",), start, most)
    sizes = look_sizes(until)
    assert (sizes[0], sizes[-1]) == (start, most)
    assert list(sizes) == sorted(set(sizes))
    assert len(sizes) <= 8
    assert sum(shares(until)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((("accuracy",), 1, 20, 0.05), "trials.repeats"),
        ((("accuracy",), 5, 4, 0.05), "until.maxRepeats"),
        ((("accuracy",), 5, 20, 1.0), "until.alpha"),
        (((), 5, 20, 0.05), "until.decided"),
    ],
)
def test_what_no_race_can_have_is_refused_by_its_field(
    arguments: tuple[tuple[str, ...], int, int, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Until(*arguments)


def test_seeds_go_only_to_entries_that_may_still_lead() -> None:
    answers = race({ACCURACY: noisy([0.98, 0.96, 0.94, 0.92, 0.90])}, UNTIL)
    end = answers[-1]
    why = {entry: one.why for entry, one in stops(end).items()}
    assert why == {"e0": "Decided", "e1": "Beaten", "e2": "Beaten", "e3": "Beaten", "e4": "Beaten"}
    assert end.repeats["e4"] < end.repeats["e1"] == end.repeats["e0"]
    assert sum(end.repeats.values()) < 60
    assert "e0" in stops(end)["e1"].text


def test_targets_never_shrink_while_values_come_in() -> None:
    for seed in range(10):
        answers = race({ACCURACY: noisy([0.98, 0.975, 0.97, 0.97], seed)}, UNTIL)
        for before, after in pairwise(answers):
            assert all(after.repeats[entry] >= count for entry, count in before.repeats.items())
            assert set(before.stopped) <= set(after.stopped)
            assert after.looks > before.looks


def test_the_answer_to_equal_values_is_equal_at_any_moment() -> None:
    values = noisy([0.98, 0.97, 0.96])
    entries = tuple(values)
    answers = race({ACCURACY: values}, UNTIL)
    for before, after in pairwise(answers):
        counts = dict(before.repeats)
        assert schedule({ACCURACY: samples(values, counts)}, UNTIL, entries=entries) == after
        for entry in entries:  # one value is still missing: the targets stay
            fewer = counts | {entry: counts[entry] - 1}
            if before.repeats[entry] in look_sizes(UNTIL)[before.looks :]:
                assert schedule({ACCURACY: samples(values, fewer)}, UNTIL, entries=entries) == before


def test_values_beyond_a_look_change_no_decision() -> None:
    values = noisy([0.98, 0.96, 0.94])
    end = race({ACCURACY: values}, UNTIL)[-1]
    more = {entry: [*of_entry[: end.repeats[entry]], *[0.5] * 20] for entry, of_entry in values.items()}
    assert schedule({ACCURACY: samples(more, dict.fromkeys(values, 99))}, UNTIL) == end


def test_equal_entries_stop_for_futility_with_what_would_have_been_seen() -> None:
    end = race({ACCURACY: noisy([0.9, 0.9], seed=3)}, Until(("accuracy",), 5, 40))[-1]
    assert {one.why for one in end.stopped} == {"Futile"}
    assert all(one.repeats < 40 for one in end.stopped)
    assert "points would have been seen" in end.stopped[0].text


def test_leaders_that_are_still_open_stop_at_the_most() -> None:
    end = race({ACCURACY: {"a": [0.923, 0.897] * 5, "b": [0.9] * 10}}, Until(("accuracy",), 5, 10))[-1]
    assert [(one.why, one.repeats) for one in end.stopped] == [("MaxRepeats", 10)] * 2


def test_with_as_many_repeats_as_the_most_there_is_one_look_at_the_whole_level() -> None:
    until = Until(("accuracy",), 5, 5)
    assert level(until, 1) == 0.05
    end = race({ACCURACY: noisy([0.98, 0.90])}, until)[-1]
    assert (end.looks, [one.why for one in end.stopped]) == (1, ["Decided", "Beaten"])


def test_one_entry_has_no_rival() -> None:
    end = race({ACCURACY: noisy([0.9])}, UNTIL)[-1]
    assert [(one.why, one.repeats, one.text) for one in end.stopped] == [("Decided", 5, "e0 has no rival.")]


def test_lower_is_better_where_the_catalogue_says_so() -> None:
    values = noisy([0.002, 0.001], spread=0.00005)
    end = race({LATENCY: values}, Until((str(LATENCY),), 5, 20))[-1]
    assert {entry: one.why for entry, one in stops(end).items()} == {"e0": "Beaten", "e1": "Decided"}


def test_a_deterministic_metric_is_decided_at_the_first_look() -> None:
    values = {"small": [10.0] * 20, "twin": [10.0] * 20, "large": [11.0] * 20}
    end = race({PARAMETERS: values}, Until(("parameters",), 5, 20))[-1]
    assert end.looks == 1
    assert {entry: one.why for entry, one in stops(end).items()} == {
        "small": "Decided", "twin": "Decided", "large": "Beaten"
    }  # fmt: skip
    assert "same value as twin" in stops(end)["small"].text


def test_equal_values_of_a_coarse_metric_are_no_decision() -> None:
    values = {"a": [0.97, 0.98] * 10, "b": [0.97, 0.98] * 10}
    end = race({ACCURACY: values}, UNTIL)[-1]
    assert {one.why for one in end.stopped} <= {"Futile", "MaxRepeats"}


def test_an_entry_that_failed_holds_up_nobody_and_is_not_asked_for_more() -> None:
    values = noisy([0.98, 0.90, 0.979])
    values["e2"] = values["e2"][:3]
    answers = race({ACCURACY: values}, UNTIL, lambda counts: {"e2"} if counts["e0"] else set())
    assert answers[-1].finished
    assert set(stops(answers[-1])) == {"e0", "e1"}
    assert answers[-1].repeats["e2"] == 5


def test_a_missing_value_of_an_entry_that_did_not_fail_is_waited_for() -> None:
    values = noisy([0.98, 0.90])
    answer = schedule({ACCURACY: samples(values, {"e0": 5, "e1": 4})}, UNTIL)
    assert answer == SeedSchedule(0, {"e0": 5, "e1": 5}, (), finished=False)
    assert schedule({ACCURACY: ()}, UNTIL, entries=("e0", "e1")) == answer


def test_where_the_leader_fails_later_those_that_it_beat_go_on() -> None:
    values = noisy([0.99, 0.90, 0.90, 0.989], seed=5)
    values["e0"] = values["e0"][:8]
    values["e3"] = values["e3"][:8]
    answers = race(
        {ACCURACY: values}, UNTIL, lambda counts: {"e0", "e3"} if counts["e0"] > 7 else set()
    )  # fmt: skip
    assert {"e1", "e2"} <= {one.entry for one in answers[1].stopped}
    end = answers[-1]
    assert set(stops(end)) == {"e1", "e2"}
    assert all(one.repeats > 5 for one in end.stopped)


def test_an_entry_goes_on_while_any_objective_needs_it() -> None:
    until = Until(("accuracy", str(LATENCY)), 5, 20)
    values = {
        ACCURACY: noisy([0.98, 0.90]),
        LATENCY: noisy([0.001, 0.00096], seed=4, spread=0.00003),
    }
    both = race(values, until)[-1]
    alone = race({ACCURACY: values[ACCURACY]}, UNTIL)[-1]
    assert alone.repeats["e1"] == 5
    assert both.repeats["e1"] > 5
    assert "accuracy: " in both.stopped[0].text
    assert "latency_p50_seconds{batch_size=1}: " in both.stopped[0].text


def test_strange_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="no entry of this race"):
        schedule({ACCURACY: [Sample("b", {0: 1.0})]}, UNTIL, entries=("a",))
    with pytest.raises(ValueError, match="there twice"):
        schedule({ACCURACY: ()}, UNTIL, entries=("a", "a"))
    with pytest.raises(ValueError, match="objectives: there are none"):
        schedule({}, UNTIL)
