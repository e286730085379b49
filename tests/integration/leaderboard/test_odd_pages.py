"""Whatever lies in a store, every page is drawn: values and times that no trial has, put there past all that judges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.integration import odd
from velodrome.store import Store

Draw = Callable[..., AppTest]
OBJECTIVES = ("accuracy", "speed", "efficiency")


@pytest.fixture
def drawn(store: Store, redis_server: Any, page_of: Draw) -> Draw:
    with redis_server.client() as client:
        odd.fill(store, client)

    def draw(page: str, **query: str | list[str]) -> AppTest:
        app = page_of(page, **query)
        assert not any("can't be read" in html.body or "could not be shown" in html.body for html in app.html)
        return app

    return draw


def test_the_boards_and_each_ranking_are_drawn(drawn: Draw) -> None:
    drawn("boards")
    for objective in OBJECTIVES:
        drawn("board", name="odd", objective=objective)
    drawn("board", name="odd", objective="accuracy", view="trade-offs")
    drawn("board", name="odd", objective="Noise floor")


def test_each_profile_is_drawn(drawn: Draw) -> None:
    for entry in odd.VALUES:
        drawn("profile", entry=entry, boards="odd", objective="accuracy")
        drawn("profile", entry=entry, boards="odd", objective="speed", reference="plain")


def test_comparisons_and_entries_are_drawn(drawn: Draw) -> None:
    drawn("compare", board="odd", entry=[*odd.VALUES])
    for axis in ("seconds", "samples"):
        drawn("compare", board="odd", entry=[*odd.VALUES], axis=axis)
    for entry in odd.VALUES:
        drawn("entry", board="odd", name=entry)


def test_each_job_and_its_entries_are_drawn(drawn: Draw) -> None:
    for uid in (odd.UID, odd.UNMEASURED, "odd-running"):
        drawn("job", uid=uid)
    for entry in ("huge", "percent"):
        drawn("job", uid=odd.UID, entry=entry)


def test_each_run_is_drawn(drawn: Draw) -> None:
    for trial in (*range(len(odd.VALUES)), 15):  # one of each entry, and one that failed
        drawn("run", job=odd.UID, trial=str(trial))
    drawn("run", job="odd-running", trial="0")
    drawn("run", job=odd.UNMEASURED, trial="3")


def test_each_history_is_drawn(drawn: Draw) -> None:
    for entry in odd.VALUES:
        drawn("history", board="odd", entry=entry, objective="accuracy")
