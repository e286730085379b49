"""One job against the level of the jobs before it: what a level is, what is noise, and what is told when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student
from statsmodels.stats.multitest import multipletests

from velodrome.stats.holm import holm
from velodrome.stats.job_tests import JobRows, JobTests, Rule, Side, critical, visible
from velodrome.stats.levels import LASTS, LEVEL_JOBS, follow, newest
from velodrome.stats.samples import Floats

LEAST = 0.02
RULE = Rule(
    0.01,
    lambda difference, centre: np.abs(difference) / np.abs(centre) / LEAST,
    lambda centre: LEAST * np.abs(centre),
    1,
)


def rows_of(
    means: Floats, noise: float = 0.01, *, accepted: Sequence[int] = (), pinned: int = -1, deterministic: bool = False,
    boards: Sequence[int] | None = None, seeds: Sequence[int] | None = None,
) -> JobRows:  # fmt: skip
    """JobRows of five trials, whose means vary by `noise` (a variance) because of their trials."""
    size, jobs = means.shape
    known = ~np.isnan(means)
    marked = np.zeros((size, jobs), dtype=np.bool_)
    marked[:, list(accepted)] = True
    return JobRows(
        means, np.where(known, noise, np.nan), np.full((size, jobs), np.nan), np.full((size, jobs), 5),
        np.zeros(jobs, dtype=np.int64) if seeds is None else np.array(seeds), marked, np.full(size, pinned),
        np.arange(size) if boards is None else np.array(boards), deterministic,
    )  # fmt: skip


def judged(means: Sequence[float], **given: object) -> list[JobTests]:
    return list(follow(rows_of(np.array([means], dtype=float), **given), RULE))  # type: ignore[arg-type]


def verdicts(means: Sequence[float], **given: object) -> str:
    """A letter for each job: - nothing to compare with, = Unchanged, R Regressed, I Improved; R and I at 1 %."""
    found = ""
    for one in judged(means, **given):
        said = one.said
        large = RULE.size(said.difference, said.centre)[0] >= 1
        worse = said.difference[0] < 0
        called = one.p_value[0] <= RULE.alpha and large
        found += "-" if not one.alone.compared[0] else "=" if not called else "R" if worse else "I"
    return found


def test_a_lucky_job_is_no_baseline() -> None:
    rule = "-" + "=" * 11
    assert verdicts([100, 103, 97, 100, 100.5, 99.5, 100, 101, 99, 100, 100.2, 99.8]) == rule
    one_good_night = verdicts([100.0] * 6 + [130.0] + [100.0] * 6)
    assert one_good_night == "-" + "=" * 5 + "I" + "=" * 6, "it is told, and moves nothing"


def test_a_change_for_the_worse_stays_told_until_it_is_accepted() -> None:
    assert verdicts([100.0] * 6 + [80.0] * 6) == "-" + "=" * 5 + "R" * 6
    assert verdicts([100.0] * 6 + [80.0] * 6, accepted=[8]) == "-" + "=" * 5 + "RRR" + "=" * 3
    assert verdicts([100.0] * 6 + [80.0] * 3 + [100.0] * 3) == "-" + "=" * 5 + "RRR" + "==="


def test_an_improvement_that_lasts_is_the_level() -> None:
    back = verdicts([100.0] * 6 + [120.0] * LASTS + [120.0] * 3 + [100.0] * 2)
    assert back == "-" + "=" * 5 + "I" * LASTS + "===" + "RR"
    assert verdicts([100.0] * 6 + [120.0] * (LASTS - 1) + [100.0] * 3).endswith("===")


@pytest.mark.parametrize("share", [0.019, 0.005])
def test_drift_is_told_though_each_job_is_like_the_one_before(share: float) -> None:
    rng = np.random.default_rng(7)
    steady = 100 + 0.3 * rng.normal(size=9)
    drifting = 100 * (1 - share) ** np.arange(1, 52) + 0.3 * rng.normal(size=51)
    found = list(follow(rows_of(np.concatenate((steady, drifting))[None]), RULE))
    called = [bool(one.p_value[0] <= RULE.alpha and one.said.difference[0] < 0) for one in found]
    assert not any(called[:9])
    assert any(called[9:24]), "within 15 jobs"
    assert all(called[30:])


def test_drift_says_with_which_jobs_it_compares() -> None:
    rng = np.random.default_rng(8)
    means = 100 * (1 - 0.004) ** np.maximum(np.arange(40) - 9, 0) + 0.5 * rng.normal(size=40)
    drifts = [one.said for one in follow(rows_of(means[None]), RULE) if one.said.drift[0] and one.p_value[0] <= 0.01]
    assert drifts
    first = drifts[0]
    assert (int(first.first[0]), int(first.last[0]), int(first.level_jobs[0])) == (0, LEVEL_JOBS - 1, LEVEL_JOBS)
    assert int(first.jobs[0]) == 5


def test_the_test_is_that_of_the_textbook() -> None:
    """Recomputed with loops: the trimmed mean of the level, the variance between jobs, Student's t."""
    rng = np.random.default_rng(3)
    means = (100 + rng.normal(size=12)).tolist()
    noise = 0.04
    last = judged(means, noise=noise)[-1].alone
    level = sorted(means[3:11])
    centre = sum(level[1:-1]) / 6
    squares, jobs = 0.0, 0
    for job in range(1, 11 - 2):  # the two newest jobs don't count yet
        before = means[max(0, job - 4) : job]
        away = (means[job] - sum(before) / len(before)) ** 2 / (1 + 1 / len(before))
        squares, jobs = squares + away - noise, jobs + 1
    # The level at the start is that of the newest eight jobs, or those that there are.
    prior = 6 * 0.5 * (LEAST * centre) ** 2
    between = max((prior + squares) / (6 + jobs), 1.05 * squares / jobs, 0.0)
    between *= 1 + 0.3 * jobs / (jobs + 6)  # no other row shows it
    error = np.sqrt((noise + between) * (1 + 1 / 8))
    assert last.centre[0] == pytest.approx(centre)
    assert last.error[0] == pytest.approx(error)
    assert last.freedom[0] == pytest.approx(6 + jobs)
    ratio = (means[11] - centre) / error
    expected = min(1.0, 2 * student.sf(abs(ratio), 6 + jobs) / float(last.share[0]))
    assert last.p_value[0] == pytest.approx(expected)


def test_the_bounds_agree_with_the_p_value() -> None:
    for one in judged([100.0, 101.0, 99.0, 100.0, 102.0, 94.0, 93.0, 93.0])[1:]:
        p_value = float(one.said.p_value[0])
        if p_value < 1:
            assert critical(one.said, p_value)[0] == pytest.approx(abs(one.said.difference[0]))


def test_what_would_have_been_seen_is_seen_in_four_of_five_jobs() -> None:
    rng = np.random.default_rng(11)
    means = 100 + 1.4 * rng.normal(size=(4000, 16))
    size = visible(list(follow(rows_of(means, 1e-6), RULE))[-1].alone, 0.01, RULE)
    means[:, -1] -= size
    last = list(follow(rows_of(means, 1e-6), RULE))[-1].alone
    seen = (last.p_value <= 0.01) & (RULE.size(last.difference, last.centre) >= 1) & (last.difference < 0)
    assert 0.72 < seen.mean() < 0.9


def test_noise_of_its_own_trials_excuses_a_job() -> None:
    means = np.array([[100.0] * 8 + [90.0]])
    quiet = list(follow(rows_of(means), RULE))[-1]
    own = np.full((1, 9), 0.01)
    own[0, 8] = 25.0  # one of its trials was very slow
    rows = rows_of(means)
    noisy = JobRows(rows.means, own, rows.paired, rows.count, rows.seeds, rows.accepted, rows.pinned, rows.boards)
    assert quiet.p_value[0] < 0.001
    assert list(follow(noisy, RULE))[-1].p_value[0] > 0.1


def test_a_pinned_job_is_compared_with_and_the_spread_comes_from_the_others() -> None:
    rng = np.random.default_rng(5)
    means = 100 + 3 * rng.normal(size=(1, 20))
    means[0, 4] = 130.0  # all others are far from it
    pinned = list(follow(rows_of(means, pinned=4), RULE))[-1]
    free = list(follow(rows_of(means), RULE))[-1]
    assert pinned.alone.centre[0] == 130.0
    assert pinned.alone.level_jobs[0] == 1
    assert pinned.spread[0] == free.spread[0]
    assert 2 < pinned.spread[0] < 4.5


def test_values_that_do_not_vary_differ_by_any_difference() -> None:
    assert verdicts([100.0, 100.0, 97.0], noise=0.0, deterministic=True) == "-=R"
    assert verdicts([100.0, 100.0, 99.0], noise=0.0, deterministic=True) == "-==", "too small to matter"


def test_jobs_without_values_are_passed_over() -> None:
    holes = [100.0, np.nan, 100.0, 101.0, np.nan, np.nan, 99.0, 80.0]
    full = [value for value in holes if not np.isnan(value)]
    assert verdicts(holes).replace("-", "") == verdicts(full).replace("-", "") == "===R"


@pytest.mark.parametrize("between", [0.0, 0.5, 1.0, 2.0])
def test_unchanged_jobs_are_seldom_called_worse(between: float) -> None:
    """Single comparisons at 1 %, two-sided, in which the shares of the error rate leave room."""
    rng = np.random.default_rng(int(10 * between))
    means = 100 + between * rng.normal(size=(400, 40)) + 0.1 * rng.normal(size=(400, 40))
    found = list(follow(rows_of(means, boards=[row // 5 for row in range(400)]), RULE))[8:]
    worse = [
        (one.p_value <= 0.01) & (one.said.difference < 0) & (RULE.size(one.said.difference, one.said.centre) >= 1)
        for one in found
    ]
    assert np.mean(worse) < 0.005


@settings(max_examples=20, deadline=None)  # the peer takes a tenth of a second
@given(st.lists(st.floats(0, 1), max_size=30))
def test_the_correction_is_holms(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1].tolist() if p_values else []
    assert holm(p_values) == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(90, 110), min_size=3, max_size=15), st.floats(0.001, 1000))
def test_the_unit_does_not_matter(means: list[float], scale: float) -> None:
    plain = judged(means)[-1].alone
    scaled = judged([scale * mean for mean in means], noise=0.01 * scale**2)[-1].alone
    assert scaled.p_value[0] == pytest.approx(plain.p_value[0], rel=1e-4, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), between=st.sampled_from([0.3, 2.0, 6.0]), pins=st.booleans())
def test_what_is_passed_over_could_not_have_been_called(seed: int, between: float, *, pins: bool) -> None:
    """The newest job's tests are those of the slow form, which tests each row in each job."""
    rng = np.random.default_rng(seed)
    size, jobs = int(rng.integers(1, 30)), int(rng.integers(2, 30))
    means = 100 + between * rng.normal(size=(size, jobs)) + between * rng.normal(size=jobs) * rng.integers(0, 2)
    means[0, rng.integers(jobs) :] *= rng.choice([0.9, 1.0, 1.1])
    means[:, :-1][rng.random((size, jobs - 1)) < rng.choice([0.0, 0.2])] = np.nan
    known = ~np.isnan(means)
    pinned = np.full(size, -1)
    if pins:
        pinned[:] = np.where(known[:, 0], 0, -1)
    rows = JobRows(
        means, np.where(known, rng.chisquare(4, size=(size, jobs)) / 20, np.nan), np.full((size, jobs), np.nan),
        np.full((size, jobs), 5), rng.integers(0, rng.integers(1, 3), size=jobs), rng.random((size, jobs)) < 0.02,
        pinned, np.sort(rng.integers(0, 3, size=size)),
    )  # fmt: skip

    *_, slow = follow(rows, RULE)
    quick = newest(rows, RULE)

    for side in ("said", "alone"):
        for name in Side.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(getattr(quick, side), name), getattr(getattr(slow, side), name), name)
    np.testing.assert_array_equal(quick.spread, slow.spread)
    np.testing.assert_array_equal(quick.pending, slow.pending)


def test_rounding_is_no_difference() -> None:
    values = [0.1 + 0.2] * 12
    assert set(judged([*values, 0.3], noise=0.0, deterministic=True)[-1].said.difference) == {0.0}
