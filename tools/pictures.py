"""Photographs every page of the leaderboard into docs/images/pages: light, dark, and as a phone shows it.

    python tools/pictures.py [--only board,run]

The results are made up (`sample_results.py`), in a Redis that ends with this program.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from velodrome.machine.home import Home
from velodrome.machine.leaderboard import Leaderboard, free_port
from velodrome.machine.redis.server import OwnRedis
from velodrome.store import open_store

sys.path.append(str(Path(__file__).parents[1]))

from tools.sample_results import fill
from tools.screenshot import ARGUMENTS, CHROMIUM, settle, whole_height

FOLDER = Path(__file__).parents[1] / "docs" / "images" / "pages"
PAGES = {
    "boards": "",
    "board": "board?name=digits",
    "many-entries": "board?name=sweep-120",
    "trade-offs": "board?name=digits&objective=Trade-offs",
    "noise-floor": "board?name=nightly&objective=Noise+floor",
    "race": "board?name=fashion-mnist",
    "history": "history?board=nightly&entry=cnn&objective=speed",
    "compare": "compare?board=digits&entry=cnn&entry=mlp",
    "entry": "entry?board=digits&name=cnn",
    "job": "job?uid=sample-digits",
    "search": "search?uid=tuning",
    "run": "run?job=sample-digits&trial=11",
    "guide": "guide",
    "profile": "profile?entry=cnn&boards=digits&objective=accuracy",
}
_COLOURS = 256
_HIGHEST = 1500


class Look(NamedTuple):
    """How a page is looked at."""

    name: str
    width: int
    scheme: Literal["light", "dark"]


LOOKS = (Look("light", 1200, "light"), Look("dark", 1200, "dark"), Look("narrow", 390, "light"))


def photograph(browser: Browser, address: str, look: Look) -> bytes:
    """A small PNG of the page."""
    context = browser.new_context(viewport={"width": look.width, "height": 700}, color_scheme=look.scheme)
    page = context.new_page()
    page.goto(address, timeout=120_000)
    page.locator(".vd h1").first.wait_for(timeout=120_000)
    settle(page, seconds=120)
    page.set_viewport_size({"width": look.width, "height": max(500, min(whole_height(page), _HIGHEST))})
    settle(page, seconds=120)
    taken = Image.open(io.BytesIO(page.screenshot()))
    context.close()
    small = io.BytesIO()
    taken.convert("RGB").quantize(_COLOURS, kmeans=2, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


def main() -> int:
    """Takes the pictures. Prints their sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PAGES), help="pages, with commas between")
    wanted = parser.parse_args().only.split(",")
    FOLDER.mkdir(parents=True, exist_ok=True)
    size = 0
    with tempfile.TemporaryDirectory(prefix="vd-") as folder, sync_playwright() as playwright:
        home = Home(Path(folder))
        with OwnRedis(home) as redis, Leaderboard(home, redis.url, free_port("127.0.0.1")) as board:
            with open_store(redis.url) as store:
                fill(store, datetime.now(UTC))
            board.await_up()
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            for name in wanted:
                for look in LOOKS:
                    taken = photograph(browser, f"{board.url}/{PAGES[name]}", look)
                    (FOLDER / f"{name}-{look.name}.png").write_bytes(taken)
                    size += len(taken)
                    print(f"{name}-{look.name}.png  {len(taken) / 1000:.0f} kB", flush=True)
            browser.close()
    print(f"{size / 1e6:.2f} MB together")
    return 0


if __name__ == "__main__":
    sys.exit(main())
