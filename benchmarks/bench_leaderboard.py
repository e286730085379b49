"""Measures how long the leaderboard draws its pages, with 10 and 1,000 entries on a board. Prints its figures.

    python benchmarks/bench_leaderboard.py [--entries 10,1000] [--repeats 5] [--runs 7]

Streamlit's own test runner draws each page from a real Redis on a Unix socket. Cold means that nothing is cached, as
after a new result. Warm means that another viewer has just opened the page. The sizes take turns, so that a busy
machine slows all of them. The browser's time is additional and does not grow, because a page has at most 25 rows.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import streamlit as st
from streamlit.testing.v1 import AppTest

from velodrome import keys
from velodrome.store import open_store

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.fixtures import redis_server
from tools.sample_results import finish, many


def script(page: str) -> None:
    """The test runner's script: one page, as the app shows it."""
    from velodrome_leaderboard.shell import PAGES, show

    show(PAGES[page][1])


def drawn(page: str, query: dict[str, str]) -> float:
    """Seconds to draw the page."""
    app = AppTest.from_function(script, kwargs={"page": page}, default_timeout=300)
    for name, value in query.items():
        app.query_params[name] = value
    start = time.perf_counter()
    app.run()
    seconds = time.perf_counter() - start
    if app.exception or not app.html:
        sys.exit(f"{page} {query} could not be drawn: {app.exception}")
    return seconds


def pages(entries: int) -> dict[str, tuple[str, dict[str, str]]]:
    """The pages to draw, by their names here."""
    board, uid = f"sweep-{entries}", f"sample-many-{entries}"
    return {
        "board, accuracy": ("board", {"name": board}),
        "board, speed, last page": ("board", {"name": board, "objective": "speed", "page": "999"}),
        "board, trade-offs": ("board", {"name": board, "objective": "Trade-offs"}),
        "job": ("job", {"uid": uid}),
        "one entry's runs": ("job", {"uid": uid, "entry": "sweep-0003"}),
        "run": ("run", {"job": uid, "trial": "3"}),
        "all boards": ("boards", {}),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", default="10,1000", help="sizes of the boards, with commas between")
    parser.add_argument("--repeats", type=int, default=5, help="trials of each entry")
    parser.add_argument("--runs", type=int, default=7, help="how often each page is drawn")
    given = parser.parse_args()
    sizes = [int(size) for size in given.entries.split(",")]
    logging.disable(logging.WARNING)  # the test runner's messages about running without a server
    with redis_server() as url:
        os.environ[keys.ENV_REDIS_URL] = url
        with open_store(url) as store:
            for size in sizes:
                finish(store, many(datetime.now(UTC), size, given.repeats))
        drawn("boards", {})  # for imports and so on
        measure(sizes, given.runs)


def measure(sizes: list[int], runs: int) -> None:
    """Draws every page of every size in turns, and prints the medians."""
    cold: dict[tuple[str, int], list[float]] = defaultdict(list)
    warm: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(runs):
        for size in sizes:
            for name, (page, query) in pages(size).items():
                st.cache_resource.clear()
                cold[name, size].append(drawn(page, query))
                warm[name, size].append(drawn(page, query))
    print(f"{'milliseconds, median of ' + str(runs):28}" + "".join(f"{f'{size} entries':>22}" for size in sizes))
    print(" " * 28 + "".join(f"{'cold':>13}{'warm':>9}" for _ in sizes))
    for name in pages(sizes[0]):
        figures = ((statistics.median(cold[name, size]), statistics.median(warm[name, size])) for size in sizes)
        print(f"{name:28}" + "".join(f"{1000 * first:13.0f}{1000 * second:9.0f}" for first, second in figures))


if __name__ == "__main__":
    main()
