"""A person who decides on a board: filter, sort, compare, share the address, export. In a real Chromium."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tools.screenshot import settle

pytestmark = pytest.mark.browser

RANKING = "Ranking by accuracy"

expect.set_options(timeout=60_000)  # only a page that never gets there waits that long


def entries(page: Page, label: str = RANKING) -> list[str]:
    rows = page.get_by_role("table", name=label, exact=True).locator("tbody tr")
    return [row.locator("td").nth(1).inner_text() for row in rows.all()]


def test_filter_sort_share_and_export(browser: Browser, tab: Page, filled: str) -> None:
    tab.goto(f"{filled}/board?name=digits")
    field = tab.get_by_role("textbox", name="Find entries")
    field.fill("optimizer = AdamW, params < 45000")
    field.press("Enter")
    expect(tab.get_by_text("3 of 6 entries")).to_be_visible()
    settle(tab)
    assert sorted(entries(tab)) == ["gru", "lstm", "mlp"]

    tab.get_by_role("button", name="Columns and order").click()
    tab.get_by_role("combobox", name="Sort by").fill("speed")  # a long list shows few of its options at once
    tab.get_by_role("option", name="speed", exact=True).click()
    tab.wait_for_function("location.search.includes('sort=speed')")
    tab.keyboard.press("Escape")
    settle(tab)
    assert entries(tab) == ["mlp", "gru", "lstm"]

    context = browser.new_context(viewport={"width": 1400, "height": 900})
    colleague = context.new_page()
    colleague.goto(tab.evaluate("location.href"))
    expect(colleague.get_by_text("3 of 6 entries")).to_be_visible(timeout=60_000)
    settle(colleague)
    assert entries(colleague) == ["mlp", "gru", "lstm"]
    context.close()

    tab.get_by_role("button", name="Export").click()
    with tab.expect_download() as saved:
        tab.get_by_role("button", name="CSV", exact=True).click()
    text = Path(saved.value.path()).read_text()
    assert [row["entry"] for row in csv.DictReader(text.splitlines())] == ["mlp", "gru", "lstm"]
    with tab.expect_download() as saved:
        tab.get_by_role("button", name="JSON", exact=True).click()
    document = json.loads(Path(saved.value.path()).read_text())
    assert [row["entry"] for row in document["objective"]["ranked"]] == ["mlp", "gru", "lstm"]
    expect(tab.get_by_text("/api/v1/boards/digits/objectives/accuracy/badge.svg")).to_be_visible()


def test_what_was_looked_for_stays_on_the_next_tab(tab: Page, filled: str) -> None:
    tab.goto(f"{filled}/board?name=digits")
    field = tab.get_by_role("textbox", name="Find entries")
    field.fill("cnn")
    field.press("Enter")
    expect(tab.get_by_text("2 of 6 entries")).to_be_visible()
    tab.get_by_role("tab", name="speed").click()
    label = "Ranking by latency_p50_seconds{batch_size=1}"
    expect(tab.get_by_role("table", name=label)).to_be_visible()
    settle(tab)
    assert sorted(entries(tab, label)) == ["cnn", "cnn-l1"]
    assert tab.get_by_role("textbox", name="Find entries").input_value() == "cnn"


def test_compare_from_the_board(tab: Page, filled: str) -> None:
    tab.goto(f"{filled}/board?name=digits")
    tab.get_by_role("button", name="Compare").click()
    tab.get_by_role("link", name="Compare these 2").click()
    expect(tab.get_by_role("heading", name="Compare entries", level=1)).to_be_visible()
    expect(tab.get_by_role("table", name="Differences by accuracy")).to_be_visible()
    tab.get_by_text("seconds", exact=True).click()
    tab.wait_for_function("location.search.includes('axis=seconds')")
    tab.reload()
    expect(tab.get_by_role("table", name="Differences by accuracy")).to_be_visible()
    assert "axis=seconds" in tab.evaluate("location.search")


def test_a_lost_connection_is_told_in_this_projects_words(tab: Page, filled: str) -> None:
    scripts: list[str] = []
    tab.on("response", lambda answer: scripts.append(answer.text()) if "/static/js/index." in answer.url else None)
    tab.goto(filled)
    settle(tab, "Leaderboards")
    assert any("The leaderboard does not answer." in text for text in scripts)
    assert not any("connected to the internet" in text for text in scripts)
