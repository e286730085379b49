from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from velodrome.stats import Direction, Ranking, Sample, compare, mean_interval, rank, superiority
from velodrome.stats.correction import adjusted
from velodrome.stats.detectable import detectable


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
    assert [entry.worst_rank for entry in ranking.entries] == [2, 2, 3]
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
    assert [entry.name for entry in ranking.entries] == ["top", "wild", "low"]  # in order of the means
    assert [(entry.rank, entry.worst_rank) for entry in ranking.entries] == [(1, 2), (1, 3), (2, 3)]
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
    assert [pair.adjusted_p_value for pair in pairs] == pytest.approx(adjusted(raw, 7), rel=1e-9)
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
    assert [(e.name, e.rank, e.worst_rank, e.indistinguishable_from) for e in higher.entries] == [
        (e.name, e.rank, e.worst_rank, e.indistinguishable_from) for e in lower.entries
    ]


@given(samples, directions)
def test_ranks_are_what_they_say(entries: list[Sample], direction: Direction) -> None:
    ranking = rank(entries, direction)
    sign = 1 if direction == "higher" else -1
    alone = {entry.name for entry in entries if len(entry.values) == 1}
    assert set(ranking.alone) == alone
    assert {entry.name for entry in ranking.entries} == {entry.name for entry in entries} - alone  # nobody is dropped
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
        assert entry.worst_rank == len(ranking.entries) - sum(winner == entry.name for winner, _ in better)
        assert entry.rank <= ranking.entries.index(entry) + 1 <= entry.worst_rank
        assert entry.indistinguishable_from == tuple(
            other.name for other in others if not {(entry.name, other.name), (other.name, entry.name)} & better
        )
    keys = [(-sign * entry.interval.mean, entry.name) for entry in ranking.entries]
    assert keys == sorted(keys)
    if ranking.entries:
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


def test_a_lone_value_is_not_ranked_and_changes_nothing() -> None:
    pair = race(a=[1.0, 1.1, 1.2, 1.15], b=[1.5, 1.45, 1.7, 1.75])
    alone = rank(pair, "higher")
    assert [(e.name, e.rank, e.worst_rank) for e in alone.entries] == [("b", 1, 1), ("a", 2, 2)]
    with_lone = rank([*pair, Sample("lone", {0: 99.0})], "higher")
    assert with_lone.alone == ("lone",)
    assert with_lone.entries == alone.entries
    assert with_lone.comparisons.between("a", "b") == alone.comparisons.between("a", "b")
    # A deterministic metric has no spread that further values could show.
    exact = rank(race(a=[3], b=[1], c=[2], d=[1]), "lower", deterministic=True)
    assert [(e.name, e.rank, e.worst_rank) for e in exact.entries] == [
        ("b", 1, 2),
        ("d", 1, 2),
        ("c", 3, 3),
        ("a", 4, 4),
    ]


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


def test_a_ratio_scale_is_compared_by_logarithms() -> None:
    rng = np.random.default_rng(3)
    values = np.exp(rng.normal(size=(4, 6)) + np.arange(4)[:, None])
    ranking = rank(race(**{f"e{row}": values[row].tolist() for row in range(4)}), "lower", scale="ratio")
    first, second = np.triu_indices(4, 1)
    expected = scipy_stats.ttest_rel(np.log(values[first]), np.log(values[second]), axis=1)
    pairs = list(ranking.comparisons)
    assert ranking.logs
    assert all(pair.logs for pair in pairs)
    assert [pair.p_value for pair in pairs] == pytest.approx(np.asarray(expected.pvalue), rel=1e-9)
    assert [entry.interval.mean for entry in ranking.entries] == pytest.approx(
        sorted(scipy_stats.gmean(values, axis=1)), rel=1e-12
    )


def test_from_ten_values_on_the_means_of_a_ratio_scale_are_trimmed() -> None:
    rng = np.random.default_rng(3)
    x, y = np.exp(rng.normal(size=(2, 20)))
    x[[3, 4, 5]] *= 1e6  # three of twenty, which is what is left out at each end
    ranking = rank(race(x=x.tolist(), y=y.tolist()), "lower", scale="ratio")
    (pair,) = ranking.comparisons
    differences = np.sort(np.log(x) - np.log(y))
    # Tukey and McLaughlin's test, with Yuen's variance and two degrees of freedom less, by hand.
    winsorized = np.array([*[differences[3]] * 3, *differences[3:17], *[differences[16]] * 3])
    error = np.sqrt(((winsorized - winsorized.mean()) ** 2).sum() / (14 * 13))
    centre = scipy_stats.trim_mean(differences, 0.15)
    assert pair.difference == pytest.approx(centre, rel=1e-12)
    assert pair.p_value == pytest.approx(2 * scipy_stats.t.sf(abs(centre) / error, 11), rel=1e-9)
    by_name = {entry.name: entry.interval.mean for entry in ranking.entries}
    assert by_name["y"] == pytest.approx(np.exp(scipy_stats.trim_mean(np.log(y), 0.15)), rel=1e-12)


def test_a_value_of_0_has_no_logarithm_so_the_race_is_compared_as_it_is() -> None:
    entries = race(a=[0.0, 1.0, 2.0], b=[5.0, 6.0, 7.5])
    ranking = rank(entries, "lower", scale="ratio", limits=(0.0, 1e15))
    assert not ranking.logs
    assert ranking.entries[0].interval.mean == 1.0
    assert ranking.entries[0].interval.low == 0.0
    assert ranking.comparisons.between("a", "b") == rank(entries, "lower").comparisons.between("a", "b")


@pytest.mark.parametrize("size", [1e80, 1e-80])
@pytest.mark.parametrize("shift", [0, 10])
def test_huge_and_tiny_values_get_the_same_answer(size: float, shift: int) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(10, 1, size=(3, 5))
    power = 2.0 ** round(np.log2(size))

    def p_values(scaled: float) -> list[float | None]:
        samples = [Sample(f"e{row}", dict(enumerate((values[row] * scaled).tolist(), row * shift))) for row in range(3)]
        return [pair.adjusted_p_value for pair in rank(samples, "higher").comparisons]

    assert p_values(power) == p_values(1.0)


def test_a_tie_says_what_would_have_been_found() -> None:
    a, b, c = [1.0, 1.2, 1.1, 1.3, 1.15], [1.05, 1.1, 1.2, 1.2, 1.25], [9.0, 9.1, 9.3, 9.2, 9.1]
    first, second, third = rank(race(a=a, b=b, c=c), "lower").entries
    # Both pairs with c are refuted, so one equality is left: its own p-value may be 5 %.
    error = scipy_stats.sem(np.array(a) - np.array(b))
    expected = float(detectable(error, 4, 0.05))
    assert first.name == "a"
    assert first.detectable == pytest.approx(expected, rel=1e-9)
    assert (second.detectable, third.detectable) == (None, None)  # told apart, and no next one
    by_ratio = rank(race(a=a, b=b, c=c), "lower", scale="ratio").entries[0].detectable
    error = scipy_stats.sem(np.log(a) - np.log(b))
    assert by_ratio == pytest.approx(np.expm1(detectable(error, 4, 0.05)), rel=1e-9)


@given(samples, directions)
def test_superiority_is_what_the_ranks_say(entries: list[Sample], direction: Direction) -> None:
    ranking = rank(entries, direction)
    (better,) = superiority(entries, direction, [0.05])
    for place, entry in enumerate(entries):
        found = next((one for one in ranking.entries if one.name == entry.name), None)
        assert (found.rank if found else 1) == 1 + better[:, place].sum()


def test_two_wild_trials_of_many_entries_would_find_no_factor() -> None:
    entries = [Sample(f"e{row:02}", {0: 1.0 + row, 1: 50.0 - row / 2}) for row in range(40)]
    assert {entry.detectable for entry in rank(entries, "lower", scale="ratio").entries} == {None}
