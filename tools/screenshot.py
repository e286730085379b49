"""Photographs a page in headless Chromium: screenshot.py URL OUT.png [--wait-for TEXT] [--width 390] [--dark]."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Error, Page, sync_playwright

CHROMIUM = shutil.which("chromium")  # without a path, Playwright uses the browser that it has installed itself
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--force-color-profile=srgb",
)

# Streamlit marks the app while its script runs. Drawing takes a moment longer.
_IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'
_SETTLE_MS = 700


def settle(page: Page, text: str | None = None, seconds: float = 60.0) -> None:
    """Returns when the app has drawn the page, and shows the given text, if any."""
    page.locator(_IDLE).wait_for(timeout=1000 * seconds)
    if text is not None:
        page.get_by_text(text).first.wait_for(timeout=1000 * seconds)
    page.wait_for_timeout(_SETTLE_MS)


def whole_height(page: Page) -> int:
    """The height that shows the whole page, because the app scrolls inside itself."""
    return int(
        page.evaluate("document.querySelector('[data-testid=stMain]')?.scrollHeight ?? document.body.scrollHeight")
    )


def main() -> int:
    """Takes the picture that the arguments describe. Returns 1 if the page never came."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=1400)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--wait-for", metavar="TEXT", help="text that the page must show first")
    parser.add_argument("--dark", action="store_true", help="as in a browser that prefers dark pages")
    parser.add_argument("--whole", action="store_true", help="as high as the page is")
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        size = {"width": given.width, "height": given.height}
        page = browser.new_page(viewport=size, color_scheme="dark" if given.dark else "light")  # type: ignore[arg-type]
        try:
            page.goto(given.url)
            settle(page, given.wait_for)
            if given.whole:
                page.set_viewport_size({"width": given.width, "height": max(given.height, whole_height(page))})
                settle(page)
            page.screenshot(path=given.out)
        except Error as error:
            print(f"{given.url}: {error}", file=sys.stderr)
            return 1
        finally:
            browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
