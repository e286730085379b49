"""Every page, read by axe-core as by somebody who can't see it well: without serious findings, headings in order."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tools.screenshot import settle

pytestmark = pytest.mark.browser

PATHS = (
    "",
    "board?name=digits",
    "board?name=digits&objective=Trade-offs",
    "board?name=nightly&objective=Noise+floor",
    "board?name=fashion-mnist",
    "board?name=nothing",
    "job?uid=sample-digits",
    "job?uid=sample-digits&entry=cnn",
    "run?job=sample-digits&trial=11",
    "run?job=sample-digits&trial=5",
    "history?board=nightly&entry=cnn&objective=speed",
    "profile?entry=cnn&boards=digits&objective=accuracy",
    "compare?board=digits&entry=cnn&entry=mlp",
    "entry?board=digits&name=cnn",
    "search?uid=tuning",
    "guide",
)
# axe's scale: minor, moderate, serious, critical. These rules are below serious.
GRAVE = ("serious", "critical")
OURS = ("heading-order", "empty-table-header", "page-has-heading-one")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_axe_finds_nothing_serious_on_any_page(
    browser: Browser, filled: str, path: str, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{filled}/{path}")
    page.locator(".vd h1").wait_for(timeout=60_000)
    settle(page)
    violations: list[dict[str, Any]] = Axe().run(page).response["violations"]
    context.close()
    graves = [one for one in violations if one["impact"] in GRAVE or one["id"] in OURS]
    assert [(one["id"], node["html"][:200]) for one in graves for node in one["nodes"]] == []


def test_what_hovering_shows_is_written_out_for_those_without_a_mouse(browser: Browser, filled: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{filled}/job?uid=sample-digits")
    settle(page, "Job digits")
    hint = page.locator(".square[title]").first
    written = "element => getComputedStyle(element, '::after').content"
    assert hint.evaluate(written) == "none"
    more = page.get_by_text("Show every detail")
    more.focus()
    page.keyboard.press("Enter")
    assert hint.evaluate(written).strip('"') == hint.get_attribute("title")
    page.goto(f"{filled}/run?job=sample-digits&trial=11")
    settle(page)
    page.get_by_text("The curves as a table").click()  # three epochs
    expect(page.get_by_role("table", name="Curves by epoch").get_by_role("row")).to_have_count(1 + 3)
    context.close()


def test_a_long_name_leaves_a_phone_room_for_the_plot(browser: Browser, redis_server: Any, serve: Any) -> None:
    from datetime import UTC, datetime

    from tools.sample_results import Rider, finish, race
    from velodrome.store import open_store

    names = (f"{'w' * 58}-{number}" for number in range(3))
    riders = {name: Rider("velodrome/mlp", 0.9 + number / 50, 0.001, 4e8) for number, name in enumerate(names)}
    with open_store(redis_server.url) as store:
        finish(store, race("long", datetime.now(UTC), riders=riders))
    context = browser.new_context(viewport={"width": 400, "height": 900})
    page = context.new_page()
    address = serve(redis_server.url)
    page.goto(f"{address}/board?name=digits")
    settle(page, "As a chart")
    page.get_by_text("As a chart").click()
    plots = []
    for path in ("", "board?name=digits&objective=Trade-offs"):
        if path:
            page.goto(f"{address}/{path}")
            settle(page)
        plot = page.locator("[data-testid=stVegaLiteChart] svg .background, [data-testid=stVegaLiteChart] .mark-group")
        plot.first.wait_for(timeout=60_000)
        settle(page)
        plots.append(max(one.bounding_box()["width"] for one in plot.all() if one.bounding_box()))  # type: ignore[index]
        content, screen = page.evaluate("[document.querySelector('[data-testid=stMain]').scrollWidth, innerWidth]")
        assert content <= screen
    for path in ("run?job=long&trial=0", f"entry?board=digits&name={'w' * 58}-0"):  # with a matrix wider than a phone
        page.goto(f"{address}/{path}")
        settle(page, "Confusion")
        content, screen = page.evaluate("[document.querySelector('[data-testid=stMain]').scrollWidth, innerWidth]")
        assert content <= screen
    page.set_viewport_size({"width": 1400, "height": 900})
    page.goto(f"{address}/board?name=digits")
    settle(page)
    last = page.get_by_role("link", name="Run again").first.bounding_box()
    assert last is not None
    assert last["x"] + last["width"] < 1400
    context.close()
    assert min(plots) > 180
