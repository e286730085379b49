"""Which jobs are past a retention."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome.board.retention import Retention, overdue
from velodrome.results.records import JobInfo

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def job(days: int, baseline: str | None = None) -> JobInfo:
    """A job that many days old, called after them."""
    document: dict[str, Any] = {"spec": {"regression": {"baseline": baseline}}} if baseline else {}
    return JobInfo(
        uid=f"uid-{days}", name=f"night-{days}", namespace="default", board="digits",
        created_at=NOW - timedelta(days=days), trials=1, repeats=1, entries=("cnn",), document=document,
    )  # fmt: skip


JOBS = [job(days) for days in (1, 5, 10, 20, 40)]
LIMITS = st.builds(
    Retention,
    st.none() | st.integers(1, 8),
    st.none() | st.integers(0, 50).map(lambda days: timedelta(days=days, hours=1)),
)


@pytest.mark.parametrize(
    ("rules", "stays", "goes"),
    [
        (Retention(), (), []),
        (Retention(jobs=5), (), []),
        (Retention(jobs=3), (), [40, 20]),
        (Retention(jobs=3), ("uid-40",), [20]),
        (Retention(age=timedelta(days=10)), (), [40, 20]),
        (Retention(jobs=4, age=timedelta(days=10)), (), [40, 20]),
        (Retention(jobs=2, age=timedelta(days=10)), (), [40, 20, 10]),
        (Retention(age=timedelta(0)), (), [40, 20, 10, 5]),  # the newest stays, however old
    ],
)
def test_what_is_past_a_limit_goes_oldest_first(rules: Retention, stays: tuple[str, ...], goes: list[int]) -> None:
    assert [one.uid for one in overdue(JOBS, rules, stays, NOW)] == [f"uid-{days}" for days in goes]


@pytest.mark.parametrize("named", ["night-20", "uid-20"])
def test_what_a_job_that_stays_compares_with_stays_too(named: str) -> None:
    jobs = [job(1, named), job(5), job(20, "uid-40"), job(30, "night-50"), job(40), job(50)]

    gone = overdue(jobs, Retention(jobs=1), (), NOW)

    # The newest names the job of day 20, which names that of day 40; what a job that goes names, goes.
    assert [one.uid for one in gone] == ["uid-50", "uid-30", "uid-5"]


@given(st.lists(st.integers(0, 60), min_size=1, unique=True).map(sorted), LIMITS, st.sets(st.integers(0, 60)))
def test_whatever_the_limits_what_stays_is_what_it_says(days: list[int], rules: Retention, kept: set[int]) -> None:
    jobs = [job(day) for day in days]
    stays = {f"uid-{day}" for day in kept}

    gone = overdue(jobs, rules, stays, NOW)
    left = [one for one in jobs if one not in gone]

    assert left[0] == jobs[0]
    assert not stays & {one.uid for one in gone}
    assert all(rules.past(jobs.index(one), one.created_at, NOW) for one in gone)
    for place, one in enumerate(jobs[1:], 1):
        assert one in gone or one.uid in stays or not rules.past(place, one.created_at, NOW)
