"""A large board whose reading nobody has kept: another process ranks it, and the pages show the same as ever."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tools.sample_results import finish, race
from velodrome.board.kept import keep, kept_objective, kept_page
from velodrome.results.marks import Hiding
from velodrome.store import Store
from velodrome_leaderboard import beside
from velodrome_leaderboard.beside import PageStore, open_pages

NOW = datetime(2026, 11, 1, tzinfo=UTC)
KEY = "accuracy"


@pytest.fixture
def pages(store: Store, redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[PageStore]:
    """A board of five entries, which counts as large here."""
    monkeypatch.setattr(beside, "LARGE", 5)
    for number in range(3):
        finish(store, race(f"large-{number}", NOW + timedelta(days=number), board="large"))
    with open_pages(redis_server.url) as opened:
        yield opened


def test_another_process_reads_what_would_be_kept(store: Store, pages: PageStore) -> None:
    assert kept_page(store, "large", KEY) is None
    made, whole = kept_page(pages, "large", KEY), kept_objective(pages, "large", KEY)

    keep(store, "large")

    assert made is not None
    assert made.verdicts
    assert made == kept_page(store, "large", KEY)
    assert whole == kept_objective(store, "large", KEY)


def test_it_is_read_again_when_the_board_has_changed(store: Store, pages: PageStore) -> None:
    before = kept_page(pages, "large", KEY)
    run = Hiding(board="large", job_uid="large-2", index=0, entry="cnn", seed=0, note="a wrong cable", at=NOW)
    store.mark(run)
    after = kept_page(pages, "large", KEY)

    assert before is not None
    assert after is not None
    assert len(after.ranked) == len(before.ranked) - 1
    assert [row.entry for row in after.unranked] == ["cnn"]


def test_a_small_board_is_read_here(store: Store, pages: PageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "LARGE", 6)
    assert kept_page(pages, "large", KEY) is None
    keep(store, "large")
    assert kept_page(pages, "large", KEY) == kept_page(store, "large", KEY)


def test_without_another_process_this_one_ranks(
    pages: PageStore,
    page_of: Callable[..., AppTest],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with caplog.at_level(logging.WARNING, "velodrome.leaderboard"):
        assert kept_page(pages, "large", KEY) is None
        page = page_of("board", name="large")
    assert "no other process could rank board large" in caplog.text
    assert any("cnn" in html.body for html in page.html)
