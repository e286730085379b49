"""What the entries of a job have in common, and what an entry did beyond it."""

from __future__ import annotations

import numpy as np
import pytest

from velodrome.stats.job_tests import JobRows, Rule
from velodrome.stats.levels import newest
from velodrome.stats.samples import Floats
from velodrome.trends.common import Common, common
from velodrome.trends.scales import ChangeScale

LOGS = ChangeScale("log")
RULE = Rule(
    0.01,
    lambda difference, _: np.abs(np.expm1(difference)) / 0.02,
    lambda centre: np.full(np.shape(centre), np.log1p(0.02)),
    -1,
)


def judged(means: Floats) -> tuple[Common, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """What the last job's entries have in common, and which significant changes it explains. Trials vary by 0.3 %."""
    size, jobs = means.shape
    rows = JobRows(
        means, np.full(means.shape, 0.003**2), np.full(means.shape, np.nan), np.full(means.shape, 5),
        np.zeros(jobs, dtype=np.int64), np.zeros(means.shape, dtype=np.bool_), np.full(size, -1),
        np.zeros(size, dtype=np.int64),
    )  # fmt: skip
    tests = newest(rows, RULE)
    found = common(rows, RULE, LOGS, tests.alone)
    assert found is not None
    return found, found.explains(rows, RULE, tests.said) & (tests.p_value <= RULE.alpha)


def history(between: float, size: int = 5, jobs: int = 25) -> Floats:
    """Entries that differ by 0.3 % on their own, and by `between` together."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(size, 1)) + between * rng.normal(size=jobs) + 0.003 * rng.normal(size=(size, jobs))


def test_what_all_entries_did_explains_each_of_them() -> None:
    means = history(0.02)
    means[:, -1] = means[:, :-1].mean(axis=1) + 0.16
    found, explained = judged(means)
    assert found.change == pytest.approx(0.16, abs=0.02)
    assert explained.all()


def test_what_an_entry_did_beyond_the_others_is_its_own() -> None:
    means = history(0.02)
    means[:, -1] = means[:, :-1].mean(axis=1) + 0.16
    means[2, -1] += 0.08
    _, explained = judged(means)
    assert explained.tolist() == [True, True, False, True, True]


def test_the_other_direction_is_its_own() -> None:
    means = history(0.003)
    means[:, -1] = means[:, :-1].mean(axis=1)
    means[0, -1] += 0.1
    _, explained = judged(means)
    assert not explained[0]


def test_a_job_that_lacks_an_entry_shows_nothing_in_common() -> None:
    means = history(0.02)
    means[0, 3] = np.nan
    found, _ = judged(means)
    assert np.isnan(found.part[1, 3])
    assert not np.isnan(found.part[1, 4])
