"""The leaderboard as a person meets it: in a real Chromium, from a real server, over a real Redis."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, WebSocket, expect

from tools.sample_results import CLEAR, Race, accept, finish, race
from tools.screenshot import settle
from velodrome.store import Store, open_store

pytestmark = pytest.mark.browser

RANKING = "Ranking by accuracy"

expect.set_options(timeout=60_000)  # only a page that never gets there waits that long


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.evaluate("location.href")).query)


def cells(page: Page, label: str) -> list[list[str]]:
    rows = page.get_by_role("table", name=label, exact=True).locator("tbody tr")
    return [row.locator("td").all_inner_texts() for row in rows.all()]


def test_from_the_boards_to_a_run_and_back(tab: Page, filled: str) -> None:
    tab.goto(filled)
    tab.get_by_role("link", name="digits", exact=True).click()
    expect(tab.get_by_role("heading", name="digits", level=1)).to_be_visible()
    expect(tab).to_have_title("digits · Velodrome")
    tab.get_by_role("tab", name="speed").click()
    label = "Ranking by latency_p50_seconds{batch_size=1}"
    expect(tab.get_by_role("table", name=label)).to_be_visible()
    settle(tab)
    assert cells(tab, label)[0][1] == "mlp"
    here = tab.evaluate("location.href")
    tab.get_by_role("table", name=label).get_by_role("link", name="mlp").click()
    expect(tab.get_by_role("heading", name="mlp", level=1)).to_be_visible()
    tab.get_by_role("table", name="Jobs").get_by_role("link").first.click()
    tab.get_by_role("link", name="seed 3").click()
    expect(tab.get_by_role("heading", name="mlp · seed 3", level=1)).to_be_visible()
    expect(tab.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg")).to_have_count(4)
    for _ in range(3):
        tab.go_back()
    expect(tab.get_by_role("table", name=label)).to_be_visible()
    assert tab.evaluate("location.href") == here


def test_run_again_leads_to_the_file(tab: Page, filled: str) -> None:
    tab.goto(f"{filled}/board?name=digits")
    tab.get_by_role("table", name=RANKING).get_by_role("link", name="Run again").first.click()
    heading = tab.get_by_role("heading", name="Run this again")
    expect(heading).to_be_in_viewport()
    with tab.expect_download() as saved:
        tab.get_by_role("button", name="Save the file").click()
    assert saved.value.suggested_filename.startswith("digits-")
    assert "kind: BenchmarkJob" in Path(saved.value.path()).read_text()


def test_the_address_holds_all_that_was_chosen(tab: Page, filled: str) -> None:
    tab.goto(f"{filled}/board?name=digits")
    tab.get_by_role("tab", name="speed").click()
    tab.get_by_role("combobox", name="Conditions").click()
    tab.get_by_role("option", name=re.compile("laptop")).click()
    label = "Ranking by latency_p50_seconds{batch_size=1}"
    expect(tab.get_by_text(re.compile("Measured under: .*Sample laptop CPU"))).to_be_visible()
    settle(tab)
    before = cells(tab, label)
    assert len(before) == 5
    chosen = query(tab)
    assert chosen["objective"] == ["speed"]
    tab.reload()
    expect(tab.get_by_text(re.compile("Measured under: .*Sample laptop CPU"))).to_be_visible()
    settle(tab)
    assert [row[:5] for row in cells(tab, label)] == [row[:5] for row in before]
    assert query(tab) == chosen
    tab.go_back()
    expect(tab.get_by_text(re.compile("Measured under: .*Sample CPU"))).to_be_visible()
    tab.get_by_role("button", name="Why not all together?").click()
    expect(tab.get_by_text("CPU differs: Sample CPU @ 2.00GHz here, Sample laptop CPU there")).to_be_visible()


def test_a_long_ranking_turns_pages(tab: Page, filled: str) -> None:
    tab.goto(f"{filled}/board?name=sweep-120")
    expect(tab.get_by_role("table", name=RANKING)).to_be_visible()
    settle(tab)
    first = cells(tab, RANKING)
    assert len(first) == 25
    tab.get_by_role("button", name="Page 5").click()
    tab.wait_for_function("location.search.includes('page=5')")
    settle(tab)
    last = cells(tab, RANKING)
    assert len(last) == 20
    assert not {row[1] for row in first} & {row[1] for row in last}
    tab.reload()
    settle(tab, last[0][1])
    assert [row[1] for row in cells(tab, RANKING)] == [row[1] for row in last]


def test_times_are_shown_in_the_viewers_zone_on_hover(tab: Page, filled: str) -> None:
    tab.goto(f"{filled}/job?uid=sample-digits")
    settle(tab, "Job digits")
    hint = tab.locator(".meta [title]").first.get_attribute("title")
    assert hint is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\+09:00", hint)


def test_results_can_be_taken_away(tab: Page, filled: str) -> None:
    tab.goto(f"{filled}/job?uid=sample-digits")
    with tab.expect_download() as saved:
        tab.get_by_role("button", name="CSV, a line for each trial").click()
    lines = Path(saved.value.path()).read_text().splitlines()
    assert len(lines) == 1 + 30
    assert "latency_p50_seconds{batch_size=1}" in lines[0]
    with tab.expect_download() as saved:
        tab.get_by_role("button", name="JSON lines, everything").click()
    assert Path(saved.value.path()).read_text().count('"type":"record"') == 30


PATHS = (
    "",
    "board?name=digits&objective=speed",
    "board?name=sweep-120",
    "board?name=digits&objective=Trade-offs",
    "job?uid=sample-digits",
    "run?job=sample-digits&trial=11",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_phone_and_its_text_stands_out(
    browser: Browser, filled: str, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    for path in PATHS:
        page.goto(f"{filled}/{path}")
        page.locator(".vd h1").wait_for(timeout=60_000)
        settle(page)
        content, screen = page.evaluate("[document.querySelector('[data-testid=stMain]').scrollWidth, innerWidth]")
        assert content <= screen, path
        assert _contrast(page) >= 4.5, path
    context.close()


def _contrast(page: Page) -> float:
    """The least contrast of this package's text to the page behind it, as WCAG 2.1 counts it."""
    return float(
        page.evaluate(
            """() => {
            const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
            const over = (colour, behind) => {
                canvas.fillStyle = behind; canvas.fillRect(0, 0, 1, 1);
                canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
                return `rgb(${[...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).join(',')})`;
            };
            const light = colour => {
                const [r, g, b] = colour.match(/\\d+/g).map(v => v / 255)
                    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const behind = element => {
                const own = getComputedStyle(element).backgroundColor;
                return element.parentElement ? over(own, behind(element.parentElement)) : over(own, 'white');
            };
            let least = 21;
            for (const element of document.querySelectorAll('.vd *')) {
                const text = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
                if (!text || element.classList.contains('dot') || !element.getClientRects().length) continue;
                if (element.tagName === 'SPAN' && element.textContent === '/') continue;
                const ground = behind(element);
                const [a, b] = [light(over(getComputedStyle(element).color, ground)), light(ground)];
                least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
            }
            return least;
        }"""
        )
    )


def test_nothing_leaves_the_machine(tab: Page, filled: str) -> None:
    hosts: set[str | None] = set()
    tab.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    tab.goto(f"{filled}/board?name=digits")
    settle(tab, "cnn")
    tab.goto(f"{filled}/run?job=sample-digits&trial=1")
    settle(tab, "seed 0")
    assert {host for host in hosts if host} == {"127.0.0.1"}


def test_what_a_runner_writes_is_never_run_in_the_browser(
    tab: Page, store: Store, redis_server: Any, serve: Callable[[str], str]
) -> None:
    attack = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script> **bold** :red[x]"
    made = race("hostile", datetime.now(UTC))
    made = Race(made.plan, made.info.model_copy(update={"name": attack}), made.riders)
    with patch("velodrome.store.encoding.check_names"):  # as a store that let it in has it
        finish(store, made, {"cnn": ("LossNotFinite", attack)})
    url = serve(redis_server.url)
    for path in ("board?name=digits", "job?uid=hostile", "job?uid=hostile&entry=cnn", "run?job=hostile&trial=5"):
        tab.goto(f"{url}/{path}")
        tab.locator(".vd h1").wait_for()
        settle(tab)
        assert tab.get_by_text("**bold** :red[x]").count() >= 1
        assert tab.locator(".vd img, .vd script").count() == 0
        assert tab.title() != "taken"


def test_while_redis_is_away_the_last_results_stay_and_a_first_visit_says_so(
    tab: Page, start_redis: Callable[..., Any], serve: Callable[[str], str]
) -> None:
    server = start_redis("--requirepass", "sesame", "--appendonly", "yes", "--appendfsync", "always")
    url = server.url.replace("unix://", "unix://:sesame@")
    with open_store(url) as store:
        finish(store, race("done", datetime.now(UTC), riders=CLEAR))
    address = serve(url)
    past = f"{address}/history?board=digits&entry={next(iter(CLEAR))}&objective=accuracy"
    tab.goto(past)
    history = tab.get_by_role("table", name="Jobs, newest first")
    expect(history).to_be_visible()
    tab.goto(f"{address}/board?name=digits")
    ranking = tab.get_by_role("table", name=RANKING)
    expect(ranking).to_be_visible()
    server.kill()
    notice = tab.get_by_text("Redis does not answer right now.")
    expect(notice).to_be_visible()
    expect(tab.get_by_text("These are the last results that were read")).to_be_visible()
    assert str(server.folder) in tab.inner_text("body")
    assert "sesame" not in tab.content()
    expect(ranking).to_be_visible()
    tab.reload()
    expect(ranking).to_be_visible()
    expect(notice).to_be_visible()
    tab.goto(past)
    expect(notice).to_be_visible()
    expect(history).to_be_visible()
    tab.goto(f"{address}/job?uid=done")  # nobody has asked for this page yet
    expect(tab.get_by_text("The results can't be read right now.")).to_be_visible()
    server.start()
    expect(tab.get_by_role("table", name="Trials by entry and repeat")).to_be_visible()
    tab.goto(f"{address}/board?name=digits")
    expect(ranking).to_be_visible()
    expect(notice).not_to_be_visible()


def test_pages_that_had_nothing_to_show_are_drawn_when_there_is(
    tab: Page, store: Store, redis_server: Any, serve: Callable[[str], str]
) -> None:
    address = serve(redis_server.url)
    tab.goto(f"{address}/board?name=digits")
    expect(tab.get_by_text("There is no such board.")).to_be_visible()
    finish(store, race("first", datetime.now(UTC) - timedelta(hours=1), riders=CLEAR))
    expect(tab.get_by_role("table", name=RANKING)).to_be_visible()
    tab.goto(f"{address}/history?board=digits&entry={next(iter(CLEAR))}&objective=accuracy")
    jobs = tab.get_by_role("table", name="Jobs, newest first").get_by_role("row")
    expect(jobs).to_have_count(2)
    finish(store, race("second", datetime.now(UTC), board="digits", riders=CLEAR))
    expect(jobs).to_have_count(3, timeout=30_000)


def test_an_unforeseen_error_of_a_part_that_redraws_itself_has_a_reference(
    tab: Page,
    store: Store,
    redis_server: Any,
    serve: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import velodrome_leaderboard.views.live as live\n"
        "def unfinished(*_): raise KeyError('from the inside')\n"
        "live.unfinished = unfinished\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(broken))
    finish(store, race("done", datetime.now(UTC), riders=CLEAR))
    tab.goto(f"{serve(redis_server.url)}/board?name=digits")
    expect(tab.get_by_role("table", name=RANKING)).to_be_visible()
    expect(tab.get_by_text("This part of the page could not be shown.")).to_be_visible()
    assert "from the inside" not in tab.content()
    assert "from the inside" in (tmp_path / "leaderboard.log").read_text()


def test_an_open_page_says_nothing_to_its_server_while_nothing_changes(
    tab: Page, store: Store, redis_server: Any, serve: Callable[[str], str]
) -> None:
    made = race("done", datetime.now(UTC), riders=CLEAR)
    store.register(made.info)
    accept(store, made, [made.record(trial) for trial in made.trials[1:]])  # it was stopped before its end
    address = serve(redis_server.url)
    frames: Counter[str] = Counter()
    paths = ("", "board?name=digits", "job?uid=done", "run?job=done&trial=1")
    for path in paths:
        page = tab.context.new_page()
        page.on("websocket", partial(_count, frames, path))
        page.goto(f"{address}/{path}")
        page.locator(".vd h1").wait_for()
        settle(page)
    tab.wait_for_timeout(4000)  # a page looks once more soon after it was drawn
    before = frames.copy()
    assert set(before) == set(paths)
    tab.wait_for_timeout(6000)
    assert frames == before


def _count(frames: Counter[str], path: str, socket: WebSocket) -> None:
    """Counts what is said on a page's connection."""
    for event in ("framereceived", "framesent"):
        socket.on(event, lambda _: frames.update([path]))


def test_a_race_is_seen_while_it_runs(tab: Page, store: Store, redis_server: Any, serve: Callable[[str], str]) -> None:
    url = serve(redis_server.url)
    tab.goto(url)
    expect(tab.get_by_text("velodrome run deploy/examples/digits.yaml")).to_be_visible()

    made = race("live", datetime.now(UTC) - timedelta(seconds=5), riders=CLEAR, repeats=2)
    store.register(made.info)
    link = tab.get_by_role("link", name="digits", exact=True)
    expect(link).to_be_visible()
    link.click()
    expect(tab.get_by_text("Nothing can be ranked yet.")).to_be_visible()

    accept(store, made, [], [made.progress(made.trials[0], 0.2, datetime.now(UTC))])
    running = tab.get_by_role("table", name="Running trials of digits")
    expect(running.get_by_text("3 / 15")).to_be_visible()
    accept(store, made, [], [made.progress(made.trials[0], 0.8, datetime.now(UTC))])
    expect(running.get_by_text("12 / 15")).to_be_visible()

    accept(store, made, [made.record(trial) for trial in made.trials])
    expect(tab.get_by_role("table", name=RANKING)).to_be_visible()
    expect(running).not_to_be_visible()
    settle(tab)
    assert {row[1] for row in cells(tab, RANKING)} == set(CLEAR)
