"""Signing in with a real OIDC provider and a real browser: who gets in, what they see, and when that ends."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.integration.leaderboard.signing import COOKIE_SECRET, PEOPLE, Guarded, cookie, guarded, provider, sign_in
from tools.sample_results import CLEAR, finish, race
from tools.screenshot import settle
from velodrome.store import open_store

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

AT = datetime.now(UTC) - timedelta(minutes=10)
OURS, THEIRS, COMMON = "team-a-digits", "team-b-secret", "common"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with provider(tmp_path_factory.mktemp("provider") / "log") as address:
        yield address


@pytest.fixture(scope="module")
def results(_shared_redis: Any) -> str:
    with _shared_redis.client() as client:
        client.flushall()
    with open_store(_shared_redis.url) as store:
        for board, uid in ((OURS, "ours"), (THEIRS, "theirs"), (COMMON, "all")):
            finish(store, race(uid, AT, board=board, riders=CLEAR))
    return str(_shared_redis.url)


@pytest.fixture(scope="module")
def board(results: str, issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("guarded"), results, issuer) as served:
        yield served


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Callable[[], BrowserContext]]:
    """Makes browsers of different people: none has a cookie of another."""
    made: list[BrowserContext] = []

    def make() -> BrowserContext:
        made.append(browser.new_context(viewport={"width": 1400, "height": 900}))
        made[-1].set_default_timeout(60_000)
        return made[-1]

    yield make
    for one in made:
        one.close()


def opened(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(url)
    settle(page)
    return page


def test_nobody_sees_anything_before_signing_in_and_then_their_own_boards(
    board: Guarded, visitor: Callable[[], BrowserContext]
) -> None:
    page = opened(visitor(), f"{board.url}/board?name={OURS}&objective=speed")
    expect(page.get_by_text("Sign in to look at this leaderboard.")).to_be_visible()
    assert OURS not in page.content()
    sign_in(page, "ann")
    expect(page.get_by_text("Signed in as ann@example.org")).to_be_visible()
    assert page.url == f"{board.url}/board?name={OURS}&objective=speed"  # back where the link pointed
    expect(page.get_by_role("heading", name=OURS)).to_be_visible()
    page.goto(board.url)
    settle(page, COMMON)
    assert THEIRS not in page.content()
    page.goto(f"{board.url}/board?name={THEIRS}")
    settle(page)
    assert "theirs" not in page.content()
    page.goto(f"{board.url}/job?uid=theirs")
    settle(page)
    assert all(entry not in page.inner_text("body") for entry in CLEAR)


def test_who_lacks_the_claim_may_not_look_and_is_told_which_it_is(
    board: Guarded, visitor: Callable[[], BrowserContext]
) -> None:
    page = opened(visitor(), f"{board.url}/board?name={OURS}")
    sign_in(page, "guest")
    expect(page.get_by_text("You may not look at this leaderboard.")).to_be_visible()
    expect(page.get_by_text("the claim groups of your sign-in")).to_be_visible()
    assert all(entry not in page.inner_text("body") for entry in CLEAR)
    status, _, _ = board.ask("/api/v1/boards", Cookie=_cookies(page))
    assert status == 403


def test_an_admin_sees_all_boards(board: Guarded, visitor: Callable[[], BrowserContext]) -> None:
    page = opened(visitor(), board.url)
    sign_in(page, "boss")
    for name in (OURS, THEIRS, COMMON):
        expect(page.get_by_text(name).first).to_be_visible()


def test_signing_out_ends_the_session_in_every_tab_and_for_a_copied_cookie(
    board: Guarded, visitor: Callable[[], BrowserContext]
) -> None:
    context = visitor()
    page = opened(context, board.url)
    sign_in(page, "ann")
    other = opened(context, f"{board.url}/board?name={OURS}")
    expect(other.get_by_role("heading", name=OURS)).to_be_visible()
    copied = _cookies(page)
    assert board.ask("/api/v1/boards", Cookie=copied)[0] == 200
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="End session").click()  # the provider's own page
    expect(page.get_by_text("Sign in to look at this leaderboard.")).to_be_visible()
    assert board.ask("/api/v1/boards", Cookie=copied)[0] == 401
    # The other tab ends by itself: nobody has to click there.
    expect(other.get_by_text("Sign in to look at this leaderboard.")).to_be_visible(timeout=60_000)
    assert all(entry not in other.inner_text("body") for entry in CLEAR)


def test_a_page_that_stays_open_ends_with_its_session(
    results: str, issuer: str, tmp_path: Any, visitor: Callable[[], BrowserContext]
) -> None:
    with guarded(tmp_path / "short", results, issuer, sessionHours=12 / 3600) as short:
        page = opened(visitor(), f"{short.url}/board?name={OURS}")
        sign_in(page, "ann")
        expect(page.get_by_role("heading", name=OURS)).to_be_visible()
        kept = _cookies(page)
        # A part of the page that draws itself again meets the end by itself.
        over = page.get_by_text("Your session is over.").or_(page.get_by_text("Sign in to look at this leaderboard."))
        expect(over.first).to_be_visible(timeout=60_000)
        page.reload()
        settle(page, "Sign in to look at this leaderboard.")
        assert short.ask("/api/v1/boards", Cookie=kept)[0] == 401


NOW: dict[str, object] = {"sub": "boss", **PEOPLE["boss"], "iat": time.time()}
BAD = {
    "another secret": (NOW, "another secret, as long as the right one is: 48.."),
    "an old session": (NOW | {"iat": time.time() - 11 * 3600}, COOKIE_SECRET),
    "no time": ({name: value for name, value in NOW.items() if name != "iat"}, COOKIE_SECRET),
    "text for a time": (NOW | {"iat": "now"}, COOKIE_SECRET),
    "nobody": (NOW | {"sub": ""}, COOKIE_SECRET),
}


def test_a_cookie_that_is_forged_or_old_opens_nothing(board: Guarded, visitor: Callable[[], BrowserContext]) -> None:
    assert board.ask("/api/v1/boards", Cookie=f"_streamlit_user={cookie(NOW, board.url)}")[0] == 200
    for what, (claims, secret) in BAD.items():
        bad = cookie(claims, board.url, secret)
        assert board.ask("/api/v1/boards", Cookie=f"_streamlit_user={bad}")[0] == 401, what
        context = visitor()
        context.add_cookies([{"name": "_streamlit_user", "value": bad, "url": board.url}])
        page = opened(context, f"{board.url}/board?name={OURS}")
        expect(page.get_by_text("Sign in to look at this leaderboard.")).to_be_visible()
        assert all(entry not in page.inner_text("body") for entry in CLEAR), what
        context.close()


def test_what_the_provider_sends_back_counts_once_and_in_its_own_browser(
    board: Guarded, visitor: Callable[[], BrowserContext]
) -> None:
    context = visitor()
    page = opened(context, board.url)
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    sign_in(page, "ann")
    (callback,) = [url for url in seen if "/oauth2callback?" in url]
    begun = next(url for url in seen if "/oauth2/authorize?" in url)
    asked = parse_qs(urlsplit(begun).query)
    assert asked["state"][0]
    assert asked["nonce"][0]
    page.goto(callback)  # again, in the same browser
    settle(page)
    assert board.ask(callback.removeprefix(board.url))[2].get("set-cookie", "").count("_streamlit_user=ey") == 0
    stranger = opened(visitor(), callback)
    expect(stranger.get_by_text("Sign in to look at this leaderboard.")).to_be_visible()
    forged = callback.replace(f"state={asked['state'][0]}", "state=guessed")
    assert forged != callback
    stranger.goto(forged)
    expect(stranger.get_by_text("Sign in to look at this leaderboard.")).to_be_visible()


@pytest.mark.parametrize(
    "wanted", ["https:%2F%2Fevil.example%2F", "%2F%2Fevil.example", "%2Fboard%3Fname=x%0D%0ASet-Cookie"]
)
def test_nothing_leads_to_another_site_after_signing_in(
    board: Guarded, visitor: Callable[[], BrowserContext], wanted: str
) -> None:
    page = opened(visitor(), board.url)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("button", name="ann", exact=True).wait_for()
    page.context.add_cookies([{"name": "velodrome_back", "value": wanted, "url": board.url}])
    page.get_by_role("button", name="ann", exact=True).click()
    page.get_by_text("Signed in as").wait_for()
    assert page.url.rstrip("/") == board.url


def test_a_token_reads_its_boards_and_public_badges_need_none(board: Guarded) -> None:
    (board.folder / "tokens").write_text(
        f"ci {hashlib.sha256(b'ours').hexdigest()} team-a-*\nall {hashlib.sha256(b'everything').hexdigest()}\n"
    )

    def ask(path: str, token: str = "") -> int:
        status, body, headers = board.ask(path, **({"Authorization": f"Bearer {token}"} if token else {}))
        assert status == 200 or not any(entry.encode() in body for entry in CLEAR)
        if status == 401:
            assert headers["www-authenticate"] == "Bearer"
        return status

    badge = "/api/v1/boards/{}/objectives/accuracy/badge.svg"
    for token, mine, others, public in (("", 401, 401, 401), ("ours", 200, 404, 404), ("everything", 200, 200, 200)):
        got = [ask(f"/api/v1/boards/{name}/objectives/accuracy", token) for name in (OURS, THEIRS, COMMON)]
        assert got == [mine, others, public], token
    assert ask("/api/v1/boards", "wrong") == 401
    assert [ask(badge.format(name)) for name in (OURS, THEIRS, COMMON)] == [401, 401, 200]
    assert ask("/api/v1/boards/common/objectives/accuracy/history?entry=slow") == 401
    assert [ask("/_stcore/metrics", token) for token in ("", "ours", "everything")] == [401, 403, 200]
    assert [ask(path) for path in ("/media/0.csv", "/api/v1/openapi.json", "/metrics")] == [401, 401, 401]
    assert [ask(path) for path in ("/", "/_stcore/health", "/board")] == [200, 200, 200]
    (board.folder / "tokens").write_text("ci\n")  # a list that can't be read opens nothing
    assert ask("/api/v1/boards", "ours") == 401


def _cookies(page: Page) -> str:
    return "; ".join(f"{one['name']}={one['value']}" for one in page.context.cookies())
