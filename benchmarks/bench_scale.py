"""Measures visits and clicks on a large board, beside a page as people write it in Streamlit. Prints its figures.

    python benchmarks/bench_scale.py [--entries 1000] [--boards 50] [--jobs 10] [--repeats 5] [--visits 3]

One real Redis holds the boards: a large one with so many entries, and others with ten entries each. Both servers are
asked by one Chromium, in turns: a visit to the large board by a new browser tab, and a click there (another objective;
the peer: its table again). A figure is the median of the CPU seconds of the server's process, and of the bytes of its
stream.

- `start`: the first visit of a new process, to a small board (the peer has no other board than the large one).
- `kept`: a visit right after a new job, whose collector has kept the board's reading, as an operator does.
- `again`: another visit; nothing has changed.
- `computed`: a visit right after a new job whose reading nobody has kept. The server has it made by another process,
  whose CPU seconds stand behind its own.
- The time of a round trip is that of the store for one page of ranking data, as the server asks for it, beside a PING.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Browser, Page, WebSocket, sync_playwright

from velodrome import keys
from velodrome.board.kept import keep, kept_objectives, kept_page
from velodrome.store import Store, open_store

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.bench_idle import NAIVE, OURS, cpu_seconds, helper_seconds, resident_megabytes, served
from benchmarks.fixtures import redis_server
from tools.sample_results import DIGITS, finish, many, race
from tools.screenshot import ARGUMENTS, CHROMIUM, settle

BOARD = "large"
_REST_SECONDS = 2.5  # a page looks once more soon after it was drawn, which belongs to the visit


@dataclass
class Asked:
    """What one kind of question cost a server: CPU seconds and bytes, one for each time. `beside` are the CPU seconds
    of its own processes.
    """

    seconds: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        more = statistics.median(self.beside)
        others = f"   another process {1000 * more:.0f} ms" if more else ""
        return (
            f"{1000 * statistics.median(self.seconds):8.0f} ms {statistics.median(self.sizes) / 1000:8.0f} kB{others}"
        )


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
            made = race(f"small-{number}-{job}", at, board=_small(number), riders=DIGITS, repeats=repeats)
            finish(store, made)
            runs += len(made.trials)
    return runs + sum(add(store, entries, repeats, f"large-{job}", jobs - job) for job in range(jobs))


def add(store: Store, entries: int, repeats: int, uid: str, hours: int = 0) -> int:
    """Stores one more job of the large board. Returns the number of its runs."""
    made = many(datetime.now(UTC) - timedelta(hours=hours), entries, repeats)
    info = made.info.model_copy(update={"uid": uid, "board": BOARD})
    finish(store, type(made)(made.plan, info, made.riders))
    return len(made.trials)


def _small(number: int) -> str:
    return f"board-{number:03}"


def measured(pid: int, tab: Tab, into: Asked, ask: Callable[[], object]) -> None:
    """Asks, and notes what it cost."""
    before, others, size = cpu_seconds(pid), helper_seconds(pid), tab.size
    ask()
    settle(tab.page, seconds=300)
    time.sleep(_REST_SECONDS)
    into.seconds.append(cpu_seconds(pid) - before)
    into.sizes.append(tab.size - size)
    into.beside.append(helper_seconds(pid) - others)


def round_trips(store: Store, boards: Sequence[str]) -> tuple[float, float]:
    """The median seconds of a page of ranking data of these boards, and of a PING."""
    times: dict[bool, list[float]] = {True: [], False: []}
    asked = [(board, objective.key) for board in boards for objective in kept_objectives(store, board) or ()]
    for _ in range(5):
        for board, key in asked:
            for ranking in (True, False):
                start = time.perf_counter()
                if ranking:
                    kept_page(store, board, str(key))
                else:
                    store.ping()
                times[ranking].append(time.perf_counter() - start)
    return statistics.median(times[True]), statistics.median(times[False])


@dataclass
class Side:
    """A server, the page of its large board, what to click there, and what its answers cost, by kind."""

    name: str
    address: str
    click: str
    pid: int
    costs: dict[str, Asked] = field(default_factory=lambda: defaultdict(Asked))

    def visit(self, browser: Browser, kind: str, address: str = "") -> None:
        """A first visit by a new tab, and one click on it."""
        tab = Tab(browser)
        measured(self.pid, tab, self.costs[kind], lambda: tab.page.goto(address or self.address, timeout=300_000))
        click = tab.page.locator(self.click).first
        measured(self.pid, tab, self.costs[f"{kind}, click"], lambda: click.click(timeout=300_000))
        tab.page.context.close()

    def tell(self) -> None:
        """Prints the figures."""
        for kind, cost in self.costs.items():
            print(f"{self.name:12} {kind:16} {cost}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1000)
    parser.add_argument("--boards", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--visits", type=int, default=3)
    given = parser.parse_args()
    with redis_server() as url, sync_playwright() as playwright, open_store(url) as store:
        runs = fill(store, given.entries, given.boards, given.jobs, given.repeats)
        environ = {keys.ENV_REDIS_URL: url, "NAIVE_BOARD": BOARD, "NAIVE_REFRESH": "0"}
        with served(OURS, environ) as ours, served(NAIVE, environ) as naive:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            page = Side("leaderboard", f"{ours[0]}/board?name={BOARD}", "[role=tab]:nth-of-type(2)", ours[1])
            peer = Side("naive page", naive[0], "button:has-text('Again')", naive[1])
            page.visit(browser, "start", f"{ours[0]}/board?name={_small(0)}")
            peer.visit(browser, "start")
            for number in range(given.visits):
                runs += add(store, given.entries, given.repeats, f"kept-{number}")
                keep(store, BOARD)
                for side in (page, peer):
                    side.visit(browser, "kept")
                    side.visit(browser, "again")
            for number in range(given.boards - 1):
                keep(store, _small(number))
            large, small = (
                round_trips(store, boards) for boards in ([BOARD], [_small(n) for n in range(given.boards - 1)])
            )
            memory = resident_megabytes(page.pid), resident_megabytes(peer.pid)
            for number in range(given.visits):
                runs += add(store, given.entries, given.repeats, f"computed-{number}")
                page.visit(browser, "computed")
            print(f"{runs:,} runs, {given.entries:,} entries, {given.boards} boards, load {os.getloadavg()[0]:.1f}")
            page.tell()
            peer.tell()
            for name, (ranking, ping) in (("the large board", large), ("a small board", small)):
                print(f"ranking data of {name}: {1000 * ranking:.2f} ms, a PING {1000 * ping:.2f} ms")
            print(f"memory: leaderboard {memory[0]:.0f} MB, naive page {memory[1]:.0f} MB")
            print(f"memory after ranking by itself: leaderboard {resident_megabytes(page.pid):.0f} MB")
            browser.close()


if __name__ == "__main__":
    main()
