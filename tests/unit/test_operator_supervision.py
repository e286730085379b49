"""Tasks that end are logged, counted and started again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from velodrome_operator.supervision import GOOD_SECONDS, LONGEST_WAIT_SECONDS, Supervision


class Time:
    """A clock that only sleeping moves on; what was slept is in `waits`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def run(work: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as thread:  # the tests' own may have a loop already, that of a browser
        return thread.submit(asyncio.run, work()).result()


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    found = Time()
    monkeypatch.setattr("velodrome_operator.supervision.asyncio.sleep", found.sleep)
    return found


class Enough(BaseException):
    """Ends the test's task, as nothing that is an `Exception` may."""


def kept(time: Time, lasts: list[float], error: Exception | None) -> Supervision:
    """A task that runs so long each time before it ends; what its supervision says after each end is in `reported`."""
    tasks = Supervision(("sweep",), time)
    left = list(lasts)

    async def work() -> None:
        if not left:
            raise Enough
        time.now += left.pop(0)
        if error is not None:
            raise error

    async def keep() -> None:
        with pytest.raises(Enough):
            await tasks.keep("sweep", work)

    run(keep)
    return tasks


def test_a_task_that_ends_is_logged_with_its_traceback_counted_and_started_again(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        tasks = kept(time, [0.0] * 3, KeyError("race-0"))
    assert tasks.failures == {"sweep": 3}
    assert "KeyError: 'race-0'" in caplog.text
    assert "Traceback" in caplog.text


def test_a_task_that_returns_has_ended_too(time: Time) -> None:
    assert kept(time, [0.0] * 2, None).failures == {"sweep": 2}


def test_it_waits_longer_each_time_and_not_too_long_and_anew_after_it_was_well(time: Time) -> None:
    kept(time, [0.0] * 9 + [GOOD_SECONDS], ValueError("x"))
    assert time.waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, *[LONGEST_WAIT_SECONDS] * 3, 0.5]


@pytest.mark.parametrize(
    ("lasts", "ill"),
    [([0.0, 0.0], False), ([0.0] * 3, True), ([60.0] * 3, True), ([GOOD_SECONDS] * 9, False),
     ([0.0, 0.0, GOOD_SECONDS, 0.0], False)],
)  # fmt: skip
def test_a_task_that_keeps_ending_is_a_problem_until_it_runs_well(time: Time, lasts: list[float], *, ill: bool) -> None:
    tasks = Supervision(("sweep",), time)
    left, reported = list(lasts), list[str | None]()

    async def work() -> None:
        if not left:
            reported.append(tasks.problem())
            time.now += GOOD_SECONDS
            reported.append(tasks.problem())
            raise Enough
        time.now += left.pop(0)
        raise ValueError("x")

    async def keep() -> None:
        with pytest.raises(Enough):
            await tasks.keep("sweep", work)

    run(keep)
    assert reported == [f"task sweep has ended {len(lasts)} times in a row: ValueError: x" if ill else None, None]
    assert tasks.problem() is None, "it is there no more"


def test_a_task_that_is_cancelled_ends() -> None:
    tasks = Supervision(("sweep",))

    async def work() -> None:
        task = asyncio.create_task(tasks.keep("sweep", asyncio.Event().wait))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work)
    assert tasks.failures == {"sweep": 0}
