"""Ranks and intervals of entries that looks at their values stopped."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from velodrome.metrics.catalogue import MetricKey
from velodrome.stats import Sample, mean_interval, rank
from velodrome.stats.looks import Until, look_sizes, shares
from velodrome.stats.sequential import schedule
from velodrome.stats.stopping import Stopping, gathered

ACCURACY = MetricKey.parse("accuracy")
UNTIL = Until(("accuracy",), 5, 20)
SHARES = shares(UNTIL)


def stopped(repeats: int, race: str = "one", base_seed: int = 0) -> Stopping:
    return Stopping(race, UNTIL, base_seed, repeats)


def sample(name: str, values: np.ndarray, count: int, base_seed: int = 0) -> Sample:
    return Sample(name, dict(enumerate(values[:count].tolist(), base_seed)))


def rows(seed: int, *means: float) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [mean + rng.normal(size=20) for mean in means]


def test_a_pair_of_one_race_is_tested_with_its_common_seeds_and_their_share() -> None:
    high, low = rows(1, 1.0, 0.0)
    for look, size in enumerate(look_sizes(UNTIL), 1):
        samples = [sample("a", high, 20), sample("b", low, size)]
        pair = rank(samples, "higher", stopping={"a": stopped(20), "b": stopped(size)}).comparisons.between("a", "b")
        tests = [ttest_rel(high[:n], low[:n]) for n in look_sizes(UNTIL)[:look]]
        assert {np.sign(test.statistic) for test in tests} == {1}, "the looks agree on which one is better"
        assert pair.p_value == pytest.approx(min(1.0, *(t.pvalue / w for t, w in zip(tests, SHARES, strict=False))))
        assert (pair.n, pair.method) == (size, "paired")
        interval = tests[-1].confidence_interval(1 - 0.05 * SHARES[look - 1])
        assert (pair.low, pair.high) == pytest.approx((interval.low, interval.high))


def test_what_was_seen_before_the_sides_changed_places_is_dropped() -> None:
    before, favoured = np.array([0.01, 0.01, 1.0]), np.array([1.0, -1.0, 0.0])
    now = gathered(before, favoured, np.array([0.5, 0.5, 2.0]), np.array([1.0, 1.0, 1.0]))
    assert now.tolist() == [0.01, 0.5, 1.0]


def test_a_pair_of_two_races_spends_the_shares_of_both() -> None:
    high, low = rows(2, 1.0, 0.0)
    samples = [sample("a", high, 10), sample("b", low, 20, base_seed=100)]
    p_value = ttest_ind(high[:10], low, equal_var=False).pvalue
    for stopping, share in (
        ({"a": stopped(10)}, SHARES[2]),
        ({"a": stopped(10), "b": stopped(20, "other", 100)}, SHARES[2] * SHARES[4]),
    ):
        pair = rank(samples, "higher", stopping=stopping).comparisons.between("a", "b")
        assert pair.p_value == pytest.approx(min(1.0, p_value / share))
        assert pair.method == "welch"


def test_an_interval_holds_for_all_looks_together() -> None:
    (values,) = rows(3, 0.0)
    (entry,) = rank([sample("a", values, 7)], "higher", stopping={"a": stopped(7)}).entries
    assert entry.interval == mean_interval(values[:7].tolist(), 1 - 0.05 * SHARES[1])


def test_seeds_that_a_person_added_count_for_no_test_of_the_race() -> None:
    high, low = rows(4, 0.5, 0.0)
    stopping = {"a": stopped(7), "b": stopped(7)}
    asked = rank([sample("a", high, 7), sample("b", low, 7)], "higher", stopping=stopping)
    added = rank([sample("a", high, 20), sample("b", low, 20)], "higher", stopping=stopping)
    pair, same = asked.comparisons.between("a", "b"), added.comparisons.between("a", "b")
    assert (pair.p_value, pair.difference, pair.n) == (same.p_value, same.difference, same.n)


def test_a_deterministic_metric_needs_no_share() -> None:
    samples = [Sample("a", dict.fromkeys(range(5), 1.0)), Sample("b", dict.fromkeys(range(20), 2.0))]
    found = rank(samples, "higher", deterministic=True, stopping={"a": stopped(5), "b": stopped(20)})
    assert [entry.rank for entry in found.entries] == [1, 2]
    assert found.entries[0].interval.low == 2.0


def test_entries_that_no_look_stopped_are_ranked_as_before() -> None:
    samples = [sample(f"e{row}", values, 20) for row, values in enumerate(rows(5, 1.0, 0.5, 0.0))]
    assert rank(samples, "higher", stopping={}) == rank(samples, "higher")
    with_other = rank(samples, "higher", stopping={"e0": stopped(20)})
    plain = rank(samples, "higher").comparisons.between("e1", "e2")
    assert with_other.comparisons.between("e1", "e2").p_value == plain.p_value


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_the_ranking_says_what_the_race_decided(direction: str) -> None:
    metric = ACCURACY if direction == "higher" else MetricKey.parse("latency_p50_seconds{batch_size=1}")
    until = Until((str(metric),), 5, 20)
    for seed in range(15):
        values = dict(zip("abcd", rows(seed, 10, 11, 11.5, 13), strict=True))
        full = [sample(name, own, 20) for name, own in values.items()]
        end = schedule({metric: full}, until)
        raced = [sample(name, own, end.repeats[name]) for name, own in values.items()]
        stopping = {name: Stopping("one", until, 0, end.repeats[name]) for name in values}
        own = metric.metric
        places = rank(raced, own.direction, scale=own.scale, stopping=stopping).entries
        found = {one.name: one.rank for one in places}
        why = {one.entry: one.why for one in end.stopped}
        assert {name for name, place in found.items() if place > 1} == {n for n, w in why.items() if w == "Beaten"}


def races_with_a_claim(stopping: Mapping[str, Stopping] | None, races: int) -> float:
    """The share of races of two equal entries in which some look calls them different."""
    rng, claims = np.random.default_rng(0), 0
    for _ in range(races):
        a, b = rng.normal(size=(2, 20))
        for size in look_sizes(UNTIL):
            samples = [sample("a", a, size), sample("b", b, size)]
            own = stopping and {name: stopped(size) for name in stopping}
            if rank(samples, "higher", stopping=own).entries[1].rank == 2:
                claims += 1
                break
    return claims / races


def test_looks_that_share_the_error_are_seldom_wrong_and_others_often() -> None:
    assert races_with_a_claim({"a": stopped(5), "b": stopped(5)}, 250) < 0.08  # 5 % + 2.2 standard errors
    assert races_with_a_claim(None, 250) > 0.1
