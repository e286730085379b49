"""Answers to three questions about scores of test samples: reference numbers, bad input, and samples without spread."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, t, ttest_1samp, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar

from velodrome.stats import Sample, compare
from velodrome.stats.persample import Answer, EntryScores, PairedAnswers, compare_samples


def scores(name: str, rows: Any, first_seed: int = 0) -> EntryScores:
    return EntryScores(name, {first_seed + place: np.array(row, dtype=float) for place, row in enumerate(rows)})


def drawn(seed: int, shape: tuple[int, int], share: float) -> Any:
    return (np.random.default_rng(seed).random(shape) < share).astype(float)


def answered(answer: Answer) -> tuple[float, float, float]:
    assert answer.low is not None
    assert answer.high is not None
    assert answer.p_value is not None
    return answer.low, answer.high, answer.p_value


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (5, 0), (6, 0), (12, 3), (3, 12), (40, 41), (300, 200)])
def test_one_seed_is_mcnemars_exact_test(only_a: int, only_b: int) -> None:
    both, neither = 500, 20
    a = [1] * (both + only_a) + [0] * (only_b + neither)
    b = [1] * both + [0] * only_a + [1] * only_b + [0] * neither
    found = compare_samples(scores("a", [a]), scores("b", [b]), binary=True).weights
    _, _, p_value = answered(found)
    table = [[both, only_a], [only_b, neither]]
    assert p_value == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-9)
    if only_a + only_b:
        assert p_value == pytest.approx(binomtest(only_a, only_a + only_b).pvalue, rel=1e-9)
    assert found.difference == pytest.approx((only_a - only_b) / len(a))


def test_the_interval_of_one_seed_is_bonett_and_prices() -> None:
    """Computed by hand: 12 and 3 of 100 differ, so the adjusted shares are 13 and 4 of 102."""
    a = [1] * 12 + [0] * 3 + [1] * 85
    b = [0] * 12 + [1] * 3 + [1] * 85
    low, high, _ = answered(compare_samples(scores("a", [a]), scores("b", [b]), binary=True).weights)
    first, second, n = 13 / 102, 4 / 102, 102
    variance = (first + second - (first - second) ** 2) * n / (n - 1)  # the divisor of a sample's variance
    margin = t.ppf(0.975, n - 1) * math.sqrt(variance / n)
    assert (low, high) == pytest.approx((first - second - margin, first - second + margin))


def test_the_interval_ends_at_0_where_the_exact_test_says_so() -> None:
    a, b = [1] * 5 + [1] * 20, [0] * 5 + [1] * 20
    low, high, p_value = answered(compare_samples(scores("a", [a]), scores("b", [b]), binary=True).weights)
    assert p_value == pytest.approx(0.0625)
    assert low <= 0 < high


@given(seed=st.integers(0, 2**31), seeds=st.integers(2, 4), samples=st.integers(2, 9), grouped=st.booleans())
def test_the_exact_test_is_that_of_all_signs(seed: int, seeds: int, samples: int, *, grouped: bool) -> None:
    a, b = drawn(seed, (seeds, samples), 0.7), drawn(seed + 1, (seeds, samples), 0.5)
    groups = np.arange(samples) // 2 if grouped else None
    found = compare_samples(scores("a", a), scores("b", b), groups, binary=True).weights
    if found.p_value is None:
        return
    each = np.rint((a - b).sum(axis=0))
    sums = each if groups is None else np.bincount(groups, weights=each)
    signed = [abs(float(np.dot(signs, sums))) for signs in itertools.product((-1, 1), repeat=len(sums))]
    expected = np.mean([one >= abs(sums.sum()) - 1e-9 for one in signed])
    assert found.p_value == pytest.approx(min(1.0, expected))


def test_many_differing_samples_have_the_p_value_of_students_test() -> None:
    a, b = drawn(1, (3, 9000), 0.70), drawn(2, (3, 9000), 0.68)
    _, _, p_value = answered(compare_samples(scores("a", a), scores("b", b), binary=True).weights)
    assert p_value == pytest.approx(ttest_1samp(a.mean(axis=0) - b.mean(axis=0), 0).pvalue, rel=0.02)


def test_losses_of_one_seed_are_students_paired_test() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.exponential(size=200), rng.exponential(1.2, size=200)
    found = compare_samples(scores("a", [a]), scores("b", [b]), binary=False).weights
    low, high, p_value = answered(found)
    reference = ttest_rel(a, b)
    assert p_value == pytest.approx(reference.pvalue)
    assert (low, high) == pytest.approx(tuple(reference.confidence_interval()))


def test_the_last_question_is_that_of_a_ranking() -> None:
    a, b = drawn(4, (5, 300), 0.9), drawn(5, (5, 300), 0.88)
    found = compare_samples(scores("a", a), scores("b", b), binary=True)
    of_a, of_b = (dict(enumerate(side.mean(axis=1).tolist())) for side in (a, b))
    ranked = compare(Sample("a", of_a), Sample("b", of_b))
    assert found.paired
    assert (found.test_set.difference, *answered(found.test_set)) == pytest.approx(
        (ranked.difference, ranked.low, ranked.high, ranked.p_value)
    )


def by_hand(differences: Any) -> tuple[float, float]:
    """The mean and the 95 % margin of the recipe's question, from sums of squares of a two-way table."""
    seeds, samples = differences.shape
    mean = differences.mean()
    rows, columns = differences.mean(axis=1), differences.mean(axis=0)
    of_rows = samples * ((rows - mean) ** 2).sum() / (seeds - 1)
    of_columns = seeds * ((columns - mean) ** 2).sum() / (samples - 1)
    rest = ((differences - rows[:, None] - columns + mean) ** 2).sum() / (seeds - 1) / (samples - 1)
    v_seeds, v_samples, v_rest = (one / seeds / samples for one in (of_rows, of_columns, rest))
    over_seeds, over_samples = t.ppf(0.975, seeds - 1) ** 2, t.ppf(0.975, samples - 1) ** 2
    square = over_seeds * v_seeds + over_samples * max(v_samples - v_rest, 0)
    return float(mean), math.sqrt(max(square, over_samples * v_samples))


@pytest.mark.parametrize(("seeds", "samples", "binary"), [(5, 300, True), (2, 50, True), (3, 40, False)])
def test_the_recipes_margin_is_that_of_a_two_way_table(seeds: int, samples: int, *, binary: bool) -> None:
    rng = np.random.default_rng(6)
    a, b = drawn(6, (seeds, samples), 0.8), drawn(7, (seeds, samples), 0.6)
    if not binary:
        a, b = rng.exponential(size=a.shape), rng.exponential(size=b.shape)
    low, high, p_value = answered(compare_samples(scores("a", a), scores("b", b), binary=binary).recipe)
    mean, margin = by_hand(a - b)
    assert (low, high) == pytest.approx((mean - margin, mean + margin))
    assert (p_value < 0.05) == (abs(mean) > margin)


def test_the_p_value_is_the_level_at_which_the_interval_reaches_0() -> None:
    a, b = drawn(8, (4, 200), 0.85), drawn(9, (4, 200), 0.78)
    _, _, p_value = answered(compare_samples(scores("a", a), scores("b", b), binary=True).recipe)
    low, high, _ = answered(compare_samples(scores("a", a), scores("b", b), confidence=1 - p_value, binary=True).recipe)
    assert min(abs(low), abs(high)) == pytest.approx(0, abs=1e-9)


def test_samples_of_a_group_count_as_a_group() -> None:
    """Each sample ten times over is no more evidence than once, if it is said that they are one group."""
    a, b = drawn(10, (3, 40), 0.8), drawn(11, (3, 40), 0.6)
    once = compare_samples(scores("a", a), scores("b", b), binary=False)
    groups = np.repeat(np.arange(40), 10)
    many = scores("a", np.repeat(a, 10, axis=1)), scores("b", np.repeat(b, 10, axis=1))
    grouped, alone = (compare_samples(*many, of, binary=False) for of in (groups, None))
    assert answered(grouped.weights) == pytest.approx(answered(once.weights))
    assert answered(grouped.recipe) == pytest.approx(answered(once.recipe))
    assert grouped.groups == 40
    assert answered(alone.weights)[2] < answered(once.weights)[2] / 100


def test_seeds_of_their_own_are_not_paired() -> None:
    a, b = drawn(12, (4, 200), 0.8), drawn(13, (3, 200), 0.7)
    found = compare_samples(scores("a", a), scores("b", b, first_seed=10), binary=True)
    assert not found.paired
    assert (len(found.seeds_a), len(found.seeds_b)) == (4, 3)
    assert found.recipe.p_value is not None
    assert found.weights.difference == pytest.approx(a.mean() - b.mean())


def test_common_seeds_alone_are_compared_where_they_are_paired() -> None:
    a, b = drawn(14, (5, 100), 0.8), drawn(15, (5, 100), 0.7)
    found = compare_samples(scores("a", a), scores("b", b, first_seed=1), binary=True)
    assert found.seeds_a == found.seeds_b == (1, 2, 3, 4)
    assert found.weights.difference == found.recipe.difference == pytest.approx(found.test_set.difference)


def reasons(found: PairedAnswers) -> list[str]:
    return [answer.why_not for answer in (found.weights, found.recipe, found.test_set)]


def test_what_one_seed_one_sample_and_one_group_can_not_say() -> None:
    one_seed = compare_samples(scores("a", [[1, 0, 1]]), scores("b", [[1, 1, 1]]), binary=True)
    assert reasons(one_seed) == ["", "each side needs two seeds or more", "each side needs two seeds or more"]
    one_sample = compare_samples(scores("a", [[1], [1]]), scores("b", [[0], [1]]), binary=True)
    assert reasons(one_sample) == ["there is one sample, so nothing is known of another"] * 2 + [""]
    sides = scores("a", drawn(1, (2, 9), 0.5)), scores("b", drawn(2, (2, 9), 0.5))
    one_group = compare_samples(*sides, np.zeros(9, dtype=np.int64), binary=True)
    assert reasons(one_group) == ["all samples are of one group, so nothing is known of another"] * 2 + [""]


@pytest.mark.parametrize("binary", [True, False])
def test_equal_scores_are_no_difference(*, binary: bool) -> None:
    side = drawn(16, (3, 50), 0.9)
    found = compare_samples(scores("a", side), scores("b", side), binary=binary)
    for answer in (found.weights, found.recipe, found.test_set):
        low, high, p_value = answered(answer)
        assert (answer.difference, p_value) == (0, 1)
        assert low <= 0 <= high


def test_the_same_difference_everywhere_has_no_spread() -> None:
    found = compare_samples(scores("a", np.ones((2, 9))), scores("b", np.full((2, 9), 0.5)), binary=False)
    assert found.weights.why_not == found.recipe.why_not != ""


def test_bad_scores_are_refused_by_name() -> None:
    good = scores("good", [[1.0, 0.0]])
    with pytest.raises(ValueError, match="'none' has no scores"):
        EntryScores("none", {})
    with pytest.raises(ValueError, match="'empty' needs a score for each sample"):
        scores("empty", [[]])
    with pytest.raises(ValueError, match="'uneven' needs a score for each sample"):
        scores("uneven", [[1, 0], [1]])
    with pytest.raises(ValueError, match="'odd', seed 0: a score is not finite"):
        scores("odd", [[float("nan"), 0]])
    with pytest.raises(ValueError, match="'good' has scores of 2 samples, and 'short' of 3"):
        compare_samples(good, scores("short", [[1, 0, 1]]), binary=True)
    with pytest.raises(ValueError, match="confidence"):
        compare_samples(good, good, confidence=1.5, binary=True)
    with pytest.raises(ValueError, match="groups"):
        compare_samples(good, good, np.array([1]), binary=True)


def test_a_claim_about_recipes_is_one_about_seeds_and_about_samples_too() -> None:
    """The margin over both is never smaller than that over seeds alone or over samples alone."""
    for seed in range(40):
        a, b = drawn(2 * seed, (4, 60), 0.8), drawn(2 * seed + 1, (4, 60), 0.6)
        found = compare_samples(scores("a", a), scores("b", b), binary=False)
        recipe = answered(found.recipe)[2]
        assert recipe >= answered(found.weights)[2] - 1e-9
        assert recipe >= answered(found.test_set)[2] - 1e-9


def test_equal_recipes_are_seldom_called_different() -> None:
    """500 races in which seeds differ and each recipe suits samples of its own: the t test over seeds errs in 15 %."""
    rng = np.random.default_rng(1)
    wrong = {"recipe": 0, "test_set": 0}
    for _ in range(500):
        asks, suits = rng.normal(0, 3, 200), rng.normal(0, 1.5, (2, 1, 200))
        right = 2 + suits + rng.normal(0, 0.1, (2, 6, 1)) + rng.logistic(size=(2, 6, 200)) > asks
        found = compare_samples(scores("a", right[0]), scores("b", right[1]), binary=True)
        for name in wrong:
            p_value = getattr(found, name).p_value
            wrong[name] += p_value <= 0.05
    assert wrong["recipe"] <= 35
    assert wrong["test_set"] >= 50
