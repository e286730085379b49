"""Which entries a trade-off calls dominated, and which it leaves to the reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from velodrome.ranking.places import rank_objective
from velodrome.ranking.trade_offs import TradeOff, pareto
from velodrome.stats.looks import Until
from velodrome.stats.stopping import Stopping
from velodrome.store.types import Row

AT = datetime(2026, 5, 4, tzinfo=UTC)


def row(entry: str, *values: float, job: str = "job-1") -> Row:
    return Row(entry, f"id-{entry}", job, f"name-{job}", len(values), dict(enumerate(values)), AT)


def trade_off_rows(values: Mapping[str, tuple[float, float]], job: str = "job-1") -> tuple[list[Row], list[Row]]:
    """Accuracy and latency rows whose means are the given values."""
    return (
        [row(name, a - 0.001, a + 0.001, job=job) for name, (a, _) in values.items()],
        [row(name, s * 0.99, s * 1.01, job=job) for name, (_, s) in values.items()],
    )


def test_the_front_holds_the_entries_that_none_beats_at_everything() -> None:
    accuracy, speed = trade_off_rows(
        {"accurate": (0.99, 0.9), "quick": (0.8, 0.1), "fair": (0.9, 0.5), "poor": (0.7, 0.6)}
    )
    found = pareto([rank_objective("accuracy", accuracy), rank_objective("train_seconds", speed)])
    assert found.front == ("accurate", "fair", "quick")
    assert [(point.entry, point.standing) for point in found.points[3:]] == [("poor", "dominated")]
    assert found.points[0].intervals[0].mean == pytest.approx(0.99)
    assert found.left_out == {}


def test_a_trade_off_never_combines_values_of_two_jobs() -> None:
    accuracy, speed = trade_off_rows({"a": (0.9, 0.5)})
    other, _ = trade_off_rows({"b": (0.99, 0.1)}, job="job-1")
    _, elsewhere = trade_off_rows({"b": (0.99, 0.1)}, job="job-2")
    found = pareto([rank_objective("accuracy", accuracy + other), rank_objective("train_seconds", speed + elsewhere)])
    assert [point.entry for point in found.points] == ["a"]
    assert found.left_out == {"b": "its values come from different jobs"}


def test_an_entry_that_one_objective_does_not_rank_has_no_point() -> None:
    accuracy, speed = trade_off_rows({"a": (0.9, 0.5), "b": (0.8, 0.6)})
    found = pareto([rank_objective("accuracy", accuracy), rank_objective("train_seconds", speed[:1])])
    assert found.left_out == {"b": "not ranked by train_seconds"}


def test_a_trade_off_needs_two_or_three_different_objectives() -> None:
    one = rank_objective("accuracy", [row("a", 0.7, 0.71), row("b", 0.9, 0.91)])
    for given_rankings in ([one], [one, one], [one] * 4):
        with pytest.raises(ValueError, match="two or three different objectives"):
            pareto(given_rankings)


def trade_off(accuracy: Mapping[str, tuple[float, ...]], seconds: Mapping[str, tuple[float, ...]]) -> TradeOff:
    return pareto(
        [
            rank_objective("accuracy", [row(name, *values) for name, values in accuracy.items()]),
            rank_objective("train_seconds", [row(name, *values) for name, values in seconds.items()]),
        ]
    )


CLOSE = (1.0, 1.2, 1.1, 1.3)


def test_worse_by_the_means_alone_is_maybe() -> None:
    found = trade_off(
        {"a": (0.9, 0.8, 0.7, 0.85), "b": (0.89, 0.8, 0.71, 0.8)}, {"a": CLOSE, "b": (1.1, 1.2, 1.2, 1.3)}
    )
    assert [(point.entry, point.standing) for point in found.points] == [("a", "front"), ("b", "maybe")]


def test_worse_in_one_and_as_far_as_is_known_better_in_none_is_dominated() -> None:
    surely = {"a": (0.90, 0.91, 0.92, 0.90), "b": (0.50, 0.51, 0.52, 0.51)}
    found = trade_off(surely, {"a": (1.3, 1.1, 1.2, 1.1), "b": CLOSE})  # b has the better mean, by chance
    assert [(point.entry, point.standing) for point in found.points] == [("a", "front"), ("b", "dominated")]


def test_whoever_a_rank_calls_better_is_not_dominated() -> None:
    surely = {"a": (0.90, 0.91, 0.92, 0.90), "b": (0.50, 0.51, 0.52, 0.51)}
    found = trade_off(surely, {"a": (9.3, 9.1, 9.2, 9.1), "b": CLOSE})
    assert found.front == ("a", "b")


def test_the_rival_must_be_one_and_the_same() -> None:
    # c is beaten by a at accuracy and by b at seconds, but beats b at accuracy and a at seconds.
    accuracy = {"a": (0.90, 0.91, 0.92, 0.90), "b": (0.50, 0.51, 0.52, 0.51), "c": (0.70, 0.71, 0.72, 0.71)}
    seconds = {"a": (9.3, 9.1, 9.2, 9.1), "b": (1.0, 1.01, 1.02, 1.01), "c": (4.0, 4.1, 4.2, 4.1)}
    assert set(trade_off(accuracy, seconds).front) == {"a", "b", "c"}


def test_of_five_equal_entries_one_is_called_dominated_in_at_most_5_per_cent_of_races() -> None:
    rng = np.random.default_rng(5)
    races, beaten = 400, 0
    for _ in range(races):
        accuracy = 0.9 + 0.01 * rng.normal(size=(5, 5))
        seconds = np.exp(0.1 * rng.normal(size=(5, 5)))
        found = trade_off(
            {f"e{k}": tuple(accuracy[k].tolist()) for k in range(5)},
            {f"e{k}": tuple(seconds[k].tolist()) for k in range(5)},
        )
        beaten += bool(found.standing("dominated"))
    assert beaten <= 33  # what a rate of 5 % stays below in 999 of 1,000 simulations


# A race until decided: entry a stopped at 20 seeds, and b at 5.
UNTIL = Until(("accuracy",), 5, 20)
KEPT = {"a": Stopping("race", UNTIL, 0, 20), "b": Stopping("race", UNTIL, 0, 5)}


def stopped_trade_off(accuracy: Mapping[str, Sequence[float]], stopping: Mapping[str, Stopping] | None) -> TradeOff:
    """The trade-off with seconds that nobody can tell apart."""
    seconds = {name: [1.0 + (seed * 7 + place) % 5 / 10 for seed in range(len(own))]
               for place, (name, own) in enumerate(accuracy.items())}  # fmt: skip
    return pareto(
        [
            rank_objective(key, [row(name, *own) for name, own in values.items()], stopping=stopping)
            for key, values in (("accuracy", accuracy), ("train_seconds", seconds))
        ]
    )


def test_an_entry_that_a_look_stopped_is_dominated_only_by_what_the_look_may_claim() -> None:
    noise = [0.000, 0.004, -0.003, 0.002, -0.002]
    close = {"a": [0.9] * 4 + [0.905] + [0.9] * 15, "b": [0.892 + one for one in noise]}
    wide = {"a": close["a"], "b": [0.8 + one for one in noise]}
    plain = stopped_trade_off({name: own[:5] for name, own in close.items()}, None)
    assert plain.standing("dominated") == ("b",), "five seeds of a race with a fixed number tell them apart"
    assert stopped_trade_off(close, KEPT).standing("dominated") == (), "the first look may spend 1/11 of the error"
    assert stopped_trade_off(wide, KEPT).standing("dominated") == ("b",)


def test_seeds_of_one_side_alone_change_no_trade_off() -> None:
    wide = {"a": [0.9, 0.91, 0.9, 0.905, 0.9] + [0.1] * 15, "b": [0.8, 0.8, 0.81, 0.8, 0.805]}
    found = stopped_trade_off(wide, KEPT)
    assert found.standing("dominated") == (), "by the visible means b is better"
    higher = wide | {"a": [*wide["a"][:5], *[0.99] * 15]}
    assert stopped_trade_off(higher, KEPT).standing("dominated") == ("b",)
