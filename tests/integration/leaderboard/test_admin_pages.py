"""What admins do from the pages, what others see of it, and what a leaderboard with Redis' own users may write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from streamlit.testing.v1 import AppTest

from tests.integration.leaderboard.signing import PEOPLE, Guarded, cookie, guarded
from tools.sample_results import CLEAR, finish, race
from tools.screenshot import settle
from velodrome import keys
from velodrome.board.tenancy import ShownBoards
from velodrome.errors import LocalError
from velodrome.results.marks import Baseline
from velodrome.store import Store
from velodrome_leaderboard.access.people import ANYBODY, Person
from velodrome_leaderboard.marking import marks_login

BOSS = Person("boss@example.org", admin=True, session="boss\n1")

AT = datetime.now(UTC) - timedelta(days=1)
BOARD = "team-a-digits"
WHY = "the wrong data were mounted"
ENTRY = next(iter(CLEAR))


@pytest.fixture
def filled_store(store: Store) -> Store:
    for uid, hours in (("first", 0), ("second", 2)):
        finish(store, race(uid, AT + timedelta(hours=hours), board=BOARD, riders=CLEAR))
    return store


@pytest.fixture
def board(filled_store: Store, redis_server: Any, tmp_path: Path) -> Iterator[Guarded]:
    with guarded(tmp_path / "guarded", redis_server.url, "http://127.0.0.1:9") as served:
        yield served


@pytest.fixture
def as_(browser: Browser, board: Guarded) -> Iterator[Callable[[str], Page]]:
    """A tab of a person who signed in just now."""
    made: list[BrowserContext] = []

    def open_as(name: str) -> Page:
        made.append(browser.new_context(viewport={"width": 1400, "height": 900}))
        made[-1].set_default_timeout(60_000)
        claims: Mapping[str, object] = {"sub": name, **PEOPLE[name], "iat": datetime.now(UTC).timestamp()}
        made[-1].add_cookies([{"name": "_streamlit_user", "value": cookie(claims, board.url), "url": board.url}])
        return made[-1].new_page()

    yield open_as
    for one in made:
        one.close()


def look(page: Page, url: str) -> Page:
    page.goto(url)
    settle(page, "Signed in as")
    return page


@pytest.mark.browser
@pytest.mark.timeout(400)
def test_an_admin_hides_a_run_and_everybody_sees_who_and_why(
    board: Guarded, as_: Callable[[str], Page], filled_store: Store
) -> None:
    run, boss = f"{board.url}/run?job=second&trial=0", as_("boss")
    look(boss, run).get_by_role("button", name="Hide this run").click()
    boss.get_by_label("Why?").fill(f"{WHY} <b>x</b>")
    boss.get_by_role("button", name="Hide", exact=True).click()
    expect(boss.get_by_text("This run is hidden: it counts as missing.")).to_be_visible()
    (kept,) = filled_store.hidden(["second"])["second"]
    assert (kept.by, kept.note, kept.index) == ("boss@example.org", f"{WHY} <b>x</b>", 0)

    ann = look(as_("ann"), run)
    expect(ann.get_by_text(f"{WHY} <b>x</b>")).to_be_visible()
    expect(ann.get_by_text("Hidden by boss@example.org")).to_be_visible()
    assert ann.get_by_role("button", name="Show this run again").count() == 0
    look(ann, f"{board.url}/board?name={BOARD}")
    expect(ann.get_by_text("the run of seed 0 is hidden").first).to_be_visible()
    ann.get_by_text("What people did here").click()
    expect(ann.get_by_text("boss@example.org hid run 0")).to_be_visible()
    status, body, _ = board.ask("/api/v1/jobs/second/trials", Cookie=_cookie(ann))
    assert (status, body.count(WHY.encode())) == (200, 1)

    boss.get_by_role("button", name="Show this run again").click()
    expect(boss.get_by_role("button", name="Hide this run")).to_be_visible()
    assert filled_store.hidden(["second"]) == {}
    assert [(deed.by, deed.did) for deed in filled_store.log(BOARD)] == [
        ("boss@example.org", "showed again"),
        ("boss@example.org", "hid"),
    ]
    assert "boss@example.org hid the run of seed 0" in (board.folder / "home" / "leaderboard.log").read_text()


HISTORY = {"board": BOARD, "entry": ENTRY, "objective": "accuracy"}


@pytest.fixture
def drawn_for(
    filled_store: Store, page_of: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AppTest]:
    """Draws a page, without a browser, for somebody who signed in."""

    def draw(person: Person, name_of_page: str, /, **query: str) -> AppTest:
        monkeypatch.setattr("velodrome_leaderboard.data.current", lambda: person)
        return page_of(name_of_page, **query)

    return draw


def texts(page: AppTest) -> str:
    return " ".join(html.body for html in page.html)


def button(page: AppTest, label: str) -> Any:
    return next(one for one in page.button if one.label == label)


def test_an_admin_pins_a_baseline_and_takes_it_back(drawn_for: Callable[..., AppTest], filled_store: Store) -> None:
    page = drawn_for(BOSS, "history", **HISTORY)
    next(one for one in page.text_area if "Pin" in str(one.key)).set_value(" release 1.4 ")
    button(page, "Do it").click().run()
    (mark,) = filled_store.baselines(BOARD)
    assert (mark.by, mark.job_uid, mark.entry, mark.metric_key, mark.note) == (
        BOSS.name, "second", ENTRY, "accuracy", "release 1.4",
    )  # fmt: skip
    assert "release 1.4" in texts(page)
    button(page, "Unpin this job").click().run()
    assert filled_store.baselines(BOARD) == []
    assert [(deed.by, deed.did) for deed in filled_store.log(BOARD)] == [(BOSS.name, "unpinned"), (BOSS.name, "pinned")]
    assert "Nothing was changed" not in texts(page)


def test_of_two_admins_the_second_is_told_that_something_changed(
    drawn_for: Callable[..., AppTest], filled_store: Store
) -> None:
    page = drawn_for(BOSS, "history", **HISTORY)
    filled_store.mark(Baseline(board=BOARD, entry=ENTRY, job_uid="first", at=AT, by="other", note="theirs"))
    button(page, "Do it").click().run()
    assert "Nothing was changed" in texts(page)
    assert "somebody else changed a mark of board" in texts(page)
    assert [mark.note for mark in filled_store.baselines(BOARD)] == ["theirs"]


def test_a_right_that_was_taken_away_counts_when_the_button_is_pressed(
    drawn_for: Callable[..., AppTest], filled_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = drawn_for(BOSS, "history", **HISTORY)
    monkeypatch.setattr("velodrome_leaderboard.data.current", lambda: replace(BOSS, admin=False))
    button(page, "Do it").click().run()
    assert "only admins of this leaderboard set marks" in texts(page)
    assert filled_store.baselines(BOARD) == []


def test_who_is_no_admin_has_no_form_and_others_boards_have_none_either(drawn_for: Callable[..., AppTest]) -> None:
    elsewhere = ShownBoards(("team-b-*",))
    for person in (ANYBODY, replace(BOSS, admin=False), replace(BOSS, shown=elsewhere)):
        for name, query in (("history", HISTORY), ("run", {"job": "second", "trial": "0"})):
            page = drawn_for(person, name, **query)
            assert [one.label for one in page.button if one.label != "Sign out"] == [], (person, name)
            assert list(page.text_area) == []


def test_marks_are_written_as_the_user_for_marks_alone(tmp_path: Path) -> None:
    password = tmp_path / "marks-password"
    password.write_text("secret")
    reading = {keys.ENV_REDIS_USERNAME: "leaderboard", keys.ENV_REDIS_PASSWORD_FILE: str(tmp_path / "other")}
    with pytest.raises(LocalError, match="may only read: set VELODROME_MARKS_PASSWORD_FILE"):
        marks_login(reading)
    found = marks_login(reading | {keys.ENV_MARKS_PASSWORD_FILE: str(password), keys.ENV_REDIS_CA_FILE: "/ca.crt"})
    assert found is not None
    assert (found.username, found.password_file, str(found.ca_file)) == ("marks", password, "/ca.crt")
    assert marks_login({}) is None  # one machine: the URL says who


def _cookie(page: Page) -> str:
    return "; ".join(f"{one['name']}={one['value']}" for one in page.context.cookies())
