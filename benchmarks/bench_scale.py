"""Measures visits and clicks on a large board, beside a page as people write it in Streamlit. Prints its figures.

    python benchmarks/bench_scale.py [--entries 1000] [--boards 50] [--jobs 10] [--repeats 5] [--visits 5]

One real Redis holds the boards: a large one with so many entries, and others with ten entries each. Both servers are
asked by one Chromium, in turns: a first visit to the large board by a new browser tab, and a click there (another
objective; the peer: its table again). A figure is the median of the CPU seconds of the server's process, and of the
bytes of its stream. Whether anything is kept decides what a first visit costs: it is `cold` right after a result.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Browser, Page, WebSocket, sync_playwright

from velodrome import keys
from velodrome.store import Store, open_store

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.bench_idle import NAIVE, OURS, cpu_seconds, resident_megabytes, served
from benchmarks.fixtures import redis_server
from tools.sample_results import DIGITS, finish, many, race
from tools.screenshot import ARGUMENTS, CHROMIUM, settle

BOARD = "large"
_REST_SECONDS = 2.5  # a page looks once more soon after it was drawn, which belongs to the visit


@dataclass
class Asked:
    """What one kind of question cost a server: CPU seconds and bytes, one for each time."""

    seconds: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{1000 * statistics.median(self.seconds):8.0f} ms {statistics.median(self.sizes) / 1000:8.0f} kB"


class Tab:
    """A new tab of a browser, and the bytes that its page got."""

    def __init__(self, browser: Browser) -> None:
        self.page: Page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
        self.size = 0
        self.page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._count)

    def _count(self, frame: str | bytes) -> None:
        self.size += len(frame)


def fill(store: Store, entries: int, boards: int, jobs: int, repeats: int) -> int:
    """Stores the results. Returns the number of runs."""
    now = datetime.now(UTC)
    runs = 0
    for number in range(boards - 1):
        for job in range(jobs):
            at = now - timedelta(days=jobs - job, minutes=number)
            made = race(f"small-{number}-{job}", at, board=f"board-{number:03}", riders=DIGITS, repeats=repeats)
            finish(store, made)
            runs += len(made.trials)
    for job in range(jobs):
        made = many(now - timedelta(hours=jobs - job), entries, repeats)
        info = made.info.model_copy(update={"uid": f"large-{job}", "board": BOARD})
        made = type(made)(made.plan, info, made.riders)
        finish(store, made)
        runs += len(made.trials)
    return runs


def measured(pid: int, tab: Tab, into: Asked, ask: Callable[[], object]) -> None:
    """Asks, and notes what it cost."""
    before, size = cpu_seconds(pid), tab.size
    ask()
    settle(tab.page, seconds=300)
    time.sleep(_REST_SECONDS)
    into.seconds.append(cpu_seconds(pid) - before)
    into.sizes.append(tab.size - size)


def visit(browser: Browser, address: str, click: str, pid: int, costs: dict[str, Asked], name: str) -> None:
    """A first visit by a new tab, and one click on it."""
    tab = Tab(browser)
    measured(pid, tab, costs[name], lambda: tab.page.goto(address, timeout=300_000))
    measured(pid, tab, costs["click"], lambda: tab.page.locator(click).first.click(timeout=300_000))
    tab.page.context.close()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1000)
    parser.add_argument("--boards", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--visits", type=int, default=5)
    given = parser.parse_args()
    with redis_server() as url, sync_playwright() as playwright:
        with open_store(url) as store:
            runs = fill(store, given.entries, given.boards, given.jobs, given.repeats)
        environ = {keys.ENV_REDIS_URL: url, "NAIVE_BOARD": BOARD, "NAIVE_REFRESH": "0"}
        with served(OURS, environ) as ours, served(NAIVE, environ) as naive:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            sides = {
                "leaderboard": (f"{ours[0]}/board?name={BOARD}", "[role=tab]:nth-of-type(2)", ours[1]),
                "naive page": (naive[0], "button:has-text('Again')", naive[1]),
            }
            costs = {side: {name: Asked() for name in ("cold", "warm", "click")} for side in sides}
            for number in range(given.visits):
                for side, (address, click, pid) in sides.items():
                    visit(browser, address, click, pid, costs[side], "warm" if number else "cold")
            browser.close()
            print(f"{runs:,} runs, {given.entries:,} entries, {given.boards} boards, load {os.getloadavg()[0]:.1f}")
            for side, (_, _, pid) in sides.items():
                for name, cost in costs[side].items():
                    print(f"{side:12} {name:6} {cost}")
                print(f"{side:12} memory {resident_megabytes(pid):8.0f} MB")


if __name__ == "__main__":
    main()
