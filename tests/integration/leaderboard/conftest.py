"""A Redis with made-up results, the pages without a browser, and the pages in a real one."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import streamlit as st
from playwright.sync_api import Browser, Page, sync_playwright
from streamlit.testing.v1 import AppTest

from tests.integration.conftest import any_redis
from velodrome import keys
from velodrome.machine.home import Home
from velodrome.machine.leaderboard import Leaderboard
from velodrome.store import Store, open_store

ROOT = Path(__file__).parents[3]
sys.path.append(str(ROOT))  # the tests fill Redis as a person does who wants to look at the pages: with tools/

from tools.screenshot import ARGUMENTS, CHROMIUM  # noqa: E402

if TYPE_CHECKING:
    RedisServer = Any

NOW = datetime.now(UTC)


@pytest.fixture(scope="session")
def redis_binary() -> str:
    """One kind of Redis is enough here: how kinds differ is the store's affair, and tested there."""
    return any_redis()


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[Store]:
    """An empty store."""
    with open_store(redis_server.url) as opened:
        yield opened


@pytest.fixture
def page_of(store: Store, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Draws a page by Streamlit's own test runner: `page_of("board", name="digits")`."""
    monkeypatch.setenv(keys.ENV_REDIS_URL, redis_server.url)

    def draw(name_of_page: str, /, **query: str | list[str]) -> AppTest:
        st.cache_resource.clear()
        app = AppTest.from_function(_script, kwargs={"page": name_of_page}, default_timeout=60)
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        assert not app.exception
        return app

    return draw


def _script(page: str) -> None:
    from velodrome_leaderboard.shell import PAGES, show

    show(PAGES[page][1])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """An empty browser tab, as a new visitor has it."""
    context = browser.new_context(
        viewport={"width": 1400, "height": 900}, timezone_id="Asia/Tokyo", accept_downloads=True
    )
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


def _unused_port() -> int:
    """A port that the system picks, so that a leaderboard which somebody else serves is not in the way."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Starts the leaderboard as `velodrome leaderboard` does, on the Redis at a URL; gives its own address."""
    started: list[Leaderboard] = []

    def start(redis_url: str) -> str:
        board = Leaderboard(Home(tmp_path), redis_url, _unused_port())
        started.append(board)
        board.await_up()
        return board.url

    yield start
    for board in started:
        board.__exit__()


@pytest.fixture(scope="module")
def filled(_shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a leaderboard on made-up results, for tests that only look."""
    from tools.sample_results import fill

    with _shared_redis.client() as client:
        client.flushall()
    with open_store(_shared_redis.url) as store:
        fill(store, NOW)
    with Leaderboard(Home(tmp_path_factory.mktemp("home")), _shared_redis.url, _unused_port()) as board:
        board.await_up()
        yield board.url
