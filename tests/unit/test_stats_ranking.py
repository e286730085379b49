from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from velodrome.stats import Direction, Ranking, Sample, compare, mean_interval, rank
from velodrome.stats.correction import shaffer


def race(**entries: Sequence[float]) -> list[Sample]:
    return [Sample(name, dict(enumerate(values))) for name, values in entries.items()]


def ranks(ranking: Ranking) -> dict[str, int]:
    return {entry.name: entry.rank for entry in ranking.entries}


# Integers are exact under the moves and stretches below; few different ones make ties and constant entries common.
numbers = st.one_of(st.integers(-3, 3), st.integers(-(2**20), 2**20))
samples = st.lists(st.dictionaries(st.integers(0, 6), numbers, min_size=1), max_size=6).map(
    lambda entries: [Sample(f"e{index}", values) for index, values in enumerate(entries)]
)
directions: st.SearchStrategy[Direction] = st.sampled_from(["higher", "lower"])


def test_clear_winner_ties_and_last() -> None:
    ranking = rank(
        race(
            slow=[0.70, 0.71, 0.72, 0.71, 0.70],
            good=[0.91, 0.93, 0.92, 0.92, 0.90],
            best=[0.92, 0.92, 0.93, 0.91, 0.92],
        ),
        "higher",
    )
    assert [(entry.name, entry.rank) for entry in ranking.entries] == [("best", 1), ("good", 1), ("slow", 3)]
    assert [entry.shares_rank_with for entry in ranking.entries] == [("good",), ("best",), ()]
    assert [entry.indistinguishable_from for entry in ranking.entries] == [("good",), ("best",), ()]
    assert ranking.entries[0].interval == mean_interval([0.92, 0.92, 0.93, 0.91, 0.92])


def test_lower_is_better_where_the_metric_says_so() -> None:
    ranking = rank(race(fast=[1.0, 1.1, 1.2, 1.1], slow=[9.0, 9.1, 9.3, 9.1]), "lower")
    assert ranks(ranking) == {"fast": 1, "slow": 2}


def test_being_told_apart_is_not_transitive() -> None:
    ranking = rank(
        race(
            top=[10.0, 10.1, 10.2, 10.1, 10.0, 10.1],
            low=[9.0, 9.1, 9.0, 9.2, 9.1, 9.1],
            wild=[9.9, 3.0, 15.0, 2.0, 14.0, 11.0],
        ),
        "higher",
    )
    assert ranks(ranking) == {"top": 1, "wild": 1, "low": 2}
    wild = next(entry for entry in ranking.entries if entry.name == "wild")
    assert wild.shares_rank_with == ("top",)
    assert wild.indistinguishable_from == ("top", "low")


@pytest.mark.parametrize("n", [2, 3, 20])
def test_every_pair_is_tested_as_by_scipy_and_corrected_together(n: int) -> None:
    rng = np.random.default_rng(n)
    values = rng.normal(size=(7, n)) + rng.normal(size=n) + np.arange(7)[:, None]
    ranking = rank(race(**{f"e{row}": values[row].tolist() for row in range(7)}), "higher")

    first, second = np.triu_indices(7, 1)
    raw = np.asarray(scipy_stats.ttest_rel(values[first], values[second], axis=1).pvalue)
    pairs = list(ranking.comparisons)
    assert [(pair.a, pair.b) for pair in pairs] == [(f"e{i}", f"e{j}") for i, j in zip(first, second, strict=True)]
    assert [pair.p_value for pair in pairs] == pytest.approx(raw, rel=1e-9)
    assert [pair.adjusted_p_value for pair in pairs] == pytest.approx(shaffer(raw, 7), rel=1e-9)
    assert len(ranking.comparisons) == len(pairs) == 21


@given(samples, directions)
def test_order_of_entries_and_seeds_does_not_matter(entries: list[Sample], direction: Direction) -> None:
    shuffled = [Sample(entry.name, dict(reversed(list(entry.values.items())))) for entry in reversed(entries)]
    one, other = rank(entries, direction), rank(shuffled, direction)
    assert one == other
    assert list(one.comparisons) == list(other.comparisons)


@given(samples, directions, st.randoms(use_true_random=False))
def test_names_decide_nothing_but_ties_in_the_list(entries: list[Sample], direction: Direction, random: Random) -> None:
    names = [entry.name for entry in entries]
    renamed = dict(zip(names, random.sample(names, len(names)), strict=True))
    before = ranks(rank(entries, direction))
    after = ranks(rank([Sample(renamed[entry.name], entry.values) for entry in entries], direction))
    assert after == {renamed[name]: place for name, place in before.items()}


@given(samples, st.integers(-(2**20), 2**20), st.sampled_from([2.0**-9, 1.0, 2.0**30]), directions)
def test_moving_and_stretching_all_entries_keeps_the_ranks(
    entries: list[Sample], move: int, stretch: float, direction: Direction
) -> None:
    moved = [
        Sample(entry.name, {seed: (value + move) * stretch for seed, value in entry.values.items()})
        for entry in entries
    ]
    before, after = rank(entries, direction), rank(moved, direction)
    # The means are rounded after the move, which may carry a p-value that lies on α across it.
    if all(abs((pair.adjusted_p_value or 0) - 0.05) > 1e-6 for pair in before.comparisons):
        assert ranks(after) == ranks(before)


@given(samples)
def test_the_other_direction_of_mirrored_values_is_the_same_race(entries: list[Sample]) -> None:
    mirrored = [Sample(entry.name, {seed: -value for seed, value in entry.values.items()}) for entry in entries]
    higher, lower = rank(entries, "higher"), rank(mirrored, "lower")
    assert [(e.name, e.rank, e.shares_rank_with, e.indistinguishable_from) for e in higher.entries] == [
        (e.name, e.rank, e.shares_rank_with, e.indistinguishable_from) for e in lower.entries
    ]


@given(samples, directions)
def test_ranks_are_what_they_say(entries: list[Sample], direction: Direction) -> None:
    ranking = rank(entries, direction)
    sign = 1 if direction == "higher" else -1
    assert {entry.name for entry in ranking.entries} == {entry.name for entry in entries}  # nobody is dropped
    better = {
        (a.name, b.name)
        for a in ranking.entries
        for b in ranking.entries
        if a != b
        and sign * (a.interval.mean - b.interval.mean) > 0
        and sign * (pair := ranking.comparisons.between(a.name, b.name)).difference > 0
        and pair.adjusted_p_value is not None
        and pair.adjusted_p_value <= 0.05
    }
    for entry in ranking.entries:
        assert entry.rank == 1 + sum(loser == entry.name for _, loser in better)
        others = [other for other in ranking.entries if other != entry]
        assert entry.shares_rank_with == tuple(other.name for other in others if other.rank == entry.rank)
        assert entry.indistinguishable_from == tuple(
            other.name for other in others if not {(entry.name, other.name), (other.name, entry.name)} & better
        )
    keys = [(entry.rank, -sign * entry.interval.mean, entry.name) for entry in ranking.entries]
    assert keys == sorted(keys)
    if entries:
        best = max(ranking.entries, key=lambda entry: sign * entry.interval.mean)
        assert best.rank == 1


@given(samples.filter(lambda entries: len(entries) > 1), directions)
def test_correction_only_ever_makes_a_claim_weaker(entries: list[Sample], direction: Direction) -> None:
    for pair in rank(entries, direction).comparisons:
        if pair.p_value is not None:
            assert pair.adjusted_p_value is not None
            assert pair.p_value <= pair.adjusted_p_value <= 1
        assert pair.reversed().reversed() == pair


def test_a_race_of_two_is_their_comparison() -> None:
    a, b = race(a=[1, 2, 4, 4], b=[3, 3, 5, 8])
    assert rank([a, b], "higher").comparisons.between("b", "a") == compare(b, a)


def test_deterministic_metrics_are_ranked_exactly() -> None:
    entries = race(a=[300, 300], b=[100, 100], c=[200, 200], d=[100, 100])
    assert ranks(rank(entries, "lower", deterministic=True)) == {"b": 1, "d": 1, "c": 3, "a": 4}
    # Of any other metric, that two seeds agree is no evidence.
    assert ranks(rank(entries, "lower")) == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_constant_entries_of_a_metric_that_varies_are_no_certainty() -> None:
    # Three correct answers of ten on each seed, or four: on three seeds that happens to equal models.
    ranking = rank(race(a=[0.3, 0.3, 0.3], b=[0.4, 0.4, 0.4], c=[0.3, 0.4, 0.3]), "higher")
    assert ranks(ranking) == {"a": 1, "b": 1, "c": 1}
    assert ranks(rank(race(a=[0.3, 0.3, 0.3], b=[0.9, 0.9, 0.9], c=[0.3, 0.4, 0.3]), "higher")) == {
        "b": 1,
        "c": 2,
        "a": 2,
    }


def test_a_lone_value_is_ranked_with_all_and_costs_the_others_nothing() -> None:
    pair = race(a=[1.0, 1.1, 1.2, 1.15], b=[1.5, 1.45, 1.7, 1.75])
    alone = rank(pair, "higher")
    assert ranks(alone) == {"b": 1, "a": 2}
    with_lone = rank([*pair, Sample("lone", {0: -9.0})], "higher")
    assert ranks(with_lone) == {"b": 1, "lone": 1, "a": 2}
    assert with_lone.comparisons.between("a", "b") == alone.comparisons.between("a", "b")
    lone = with_lone.entries[1]
    assert (lone.name, lone.interval.low, lone.indistinguishable_from) == ("lone", None, ("b", "a"))


def test_where_common_seeds_and_means_disagree_nobody_is_better() -> None:
    # At the common seeds a is better, surely; its lone last seed makes its mean the worse one.
    a = Sample("a", {0: 2.0, 1: 2.1, 2: 2.2, 3: 2.3, 4: -50.0})
    b = Sample("b", {0: 1.0, 1: 1.11, 2: 1.2, 3: 1.31})
    ranking = rank([a, b], "higher")
    comparison = ranking.comparisons.between("a", "b")
    assert comparison.difference > 0
    assert comparison.adjusted_p_value is not None
    assert comparison.adjusted_p_value < 0.001
    assert ranks(ranking) == {"a": 1, "b": 1}


def test_stricter_alpha_keeps_more_together_and_widens_intervals() -> None:
    entries = race(a=[1.0, 1.1, 1.2, 1.1], b=[1.3, 1.2, 1.4, 1.35])
    loose, strict = rank(entries, "higher", alpha=0.1), rank(entries, "higher", alpha=0.001)
    assert ranks(loose) == {"b": 1, "a": 2}
    assert ranks(strict) == {"b": 1, "a": 1}
    assert strict.entries[0].interval == mean_interval([1.3, 1.2, 1.4, 1.35], 0.999)


def test_few_entries() -> None:
    assert rank([], "higher").entries == ()
    assert list(rank([], "higher").comparisons) == []
    assert ranks(rank(race(only=[1, 2]), "lower")) == {"only": 1}


def test_bad_calls_are_refused_by_name() -> None:
    entries = race(a=[1, 2], b=[1, 3])
    with pytest.raises(ValueError, match="entry 'a' is there more than once"):
        rank([*entries, *race(a=[3])], "higher")
    with pytest.raises(ValueError, match="direction: 'up'"):
        rank(entries, "up")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="alpha: 5 "):
        rank(entries, "higher", alpha=5)
    with pytest.raises(ValueError, match="entry 'z' took no part"):
        rank(entries, "higher").comparisons.between("a", "z")
    with pytest.raises(ValueError, match="entry 'a' can't be compared with itself"):
        rank(entries, "higher").comparisons.between("a", "a")


def test_many_entries_equal_the_same_race_pair_by_pair() -> None:
    # Large enough for several chunks, with failures: every pair must be that of the two entries alone.
    rng = np.random.default_rng(0)
    entries = [
        Sample(f"e{row:03}", {seed: rng.normal(row / 40) for seed in range(20) if rng.random() < 0.9})
        for row in range(220)
    ]
    ranking = rank(entries, "higher")
    by_name = {entry.name: entry for entry in entries}
    for i, j in rng.integers(220, size=(300, 2)).tolist():
        if i != j:
            pair = ranking.comparisons.between(entries[i].name, entries[j].name)
            alone = compare(by_name[pair.a], by_name[pair.b])
            assert (pair.a, pair.b, pair.n, pair.method) == (alone.a, alone.b, alone.n, alone.method)
            assert (pair.difference, pair.p_value) == pytest.approx((alone.difference, alone.p_value), rel=1e-9)
