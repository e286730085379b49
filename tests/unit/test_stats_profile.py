"""Profiles over boards: definitions beside scipy's, and the bootstrap beside one that is written the plain way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from velodrome.stats.profile import interquartile_mean, probability_of_improvement, shares_above

SCORES = st.floats(-100, 100, allow_subnormal=False)
FEW = 20  # resamples, where the interval is not looked at


def boards(seed: int, *runs: int) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    return [rng.normal(board, 1 + board, size=count).tolist() for board, count in enumerate(runs)]


# The interquartile mean


@given(st.integers(1, 12).flatmap(lambda n: st.lists(st.lists(SCORES, min_size=n, max_size=n), min_size=1, max_size=5)))
@settings(max_examples=100, deadline=None)
def test_with_equally_many_runs_it_is_scipys_trimmed_mean(scores: list[list[float]]) -> None:
    expected = stats.trim_mean(np.concatenate(scores), 0.25)
    assert interquartile_mean(scores, resamples=FEW).value == pytest.approx(expected, abs=1e-9)


def test_a_board_with_more_runs_counts_no_more_than_the_others() -> None:
    few, many = [1.0, 2.0, 3.0, 4.0], [11.0, 12.0, 13.0, 14.0]
    once = interquartile_mean([few, many], resamples=FEW).value
    assert interquartile_mean([few, many * 5], resamples=FEW).value == pytest.approx(once)
    assert stats.trim_mean(np.concatenate([few, many * 5]), 0.25) > 12


def test_wild_runs_do_not_move_it() -> None:
    scores = boards(1, 10, 10)
    wild = [[*scores[0][:-1], 1e6], scores[1]]
    assert abs(interquartile_mean(wild, resamples=FEW).value - interquartile_mean(scores, resamples=FEW).value) < 0.5


@pytest.mark.parametrize("runs", [(5, 5, 5), (10, 10), (4, 4, 4, 4, 4, 4)])
def test_its_interval_is_that_of_scipys_bootstrap(runs: Sequence[int]) -> None:
    scores = boards(2, *runs)

    def statistic(*drawn: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(stats.trim_mean(np.concatenate(drawn, axis=axis), 0.25, axis=axis))

    plain = stats.bootstrap(
        scores, statistic, n_resamples=20_000, method="percentile", rng=np.random.default_rng(7), vectorized=True
    ).confidence_interval
    found = interquartile_mean(scores, resamples=20_000)
    width = plain.high - plain.low
    assert found.low == pytest.approx(plain.low, abs=0.03 * width)
    assert found.high == pytest.approx(plain.high, abs=0.03 * width)


def test_equal_input_gives_equal_output_and_another_seed_another_interval() -> None:
    scores = boards(3, 5, 6)
    assert interquartile_mean(scores) == interquartile_mean(scores)
    other = interquartile_mean(scores, seed=1)
    assert other.value == interquartile_mean(scores).value
    assert other.low != interquartile_mean(scores).low


@pytest.mark.parametrize("scores", [[], [[]], [[1.0], []]])
def test_a_board_without_runs_is_refused(scores: list[list[float]]) -> None:
    for function in (interquartile_mean, lambda given: shares_above(given, [0.0])):
        with pytest.raises(ValueError, match="each board needs a run"):
            function(scores)


# The performance profile


def test_the_profile_is_the_share_of_runs_above_each_level_averaged_over_boards() -> None:
    scores = [[1.0, 2.0, 3.0, 4.0], [3.0, 5.0]]
    found = shares_above(scores, [0.0, 2.0, 3.0, 4.5, 5.0], resamples=FEW)
    assert [one.value for one in found] == pytest.approx([1.0, 0.75, 0.375, 0.25, 0.0])


def test_the_band_of_a_profile_is_that_of_drawing_runs_board_by_board() -> None:
    scores, level = boards(4, 6, 9), 0.5
    rng = np.random.default_rng(8)
    drawn = [np.mean([np.mean(rng.choice(board, size=len(board)) > level) for board in scores]) for _ in range(4000)]
    (found,) = shares_above(scores, [level], resamples=20_000)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.06)


# The probability of improvement


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.lists(st.integers(0, 9), min_size=1, max_size=9))
@settings(max_examples=100, deadline=None)
def test_on_one_board_it_is_mann_and_whitneys_u(own: list[int], other: list[int]) -> None:
    expected = stats.mannwhitneyu(own, other).statistic / len(own) / len(other)
    assert probability_of_improvement([own], [other], resamples=FEW).value == pytest.approx(expected)


def test_over_boards_it_is_the_mean_and_its_opposite_is_that_of_the_other() -> None:
    own, other = boards(5, 5, 4), boards(6, 7, 3)
    each = [probability_of_improvement([a], [b], resamples=FEW).value for a, b in zip(own, other, strict=True)]
    found = probability_of_improvement(own, other, resamples=FEW).value
    assert found == pytest.approx(np.mean(each))
    assert probability_of_improvement(other, own, resamples=FEW).value == pytest.approx(1 - found)


def test_its_interval_is_that_of_drawing_the_runs_of_both() -> None:
    own, other = boards(7, 5, 8), boards(8, 6, 7)
    rng = np.random.default_rng(9)
    drawn = []
    for _ in range(3000):
        pairs = [(rng.choice(a, len(a)), rng.choice(b, len(b))) for a, b in zip(own, other, strict=True)]
        drawn.append(np.mean([np.mean(a[:, None] > b) for a, b in pairs]))
    found = probability_of_improvement(own, other, resamples=20_000)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.02)


def test_different_boards_are_refused() -> None:
    with pytest.raises(ValueError, match="the same boards"):
        probability_of_improvement([[1.0]], [[1.0], [2.0]])
