"""Measures what open pages cost while nothing changes, beside a page that polls. Prints its figures.

    python benchmarks/bench_idle.py [--pages 10] [--seconds 60] [--entries 30]

Both servers show the same board from one real Redis, each with its pages open in a Chromium. They are measured over the
same seconds: the CPU seconds of each server's process, as the kernel counts them. The peer (`naive_page.py`) asks every
two seconds for new results, as a fragment of Streamlit with `run_every` does.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import sync_playwright

from velodrome import keys
from velodrome.connections.direct import open_directly
from velodrome.machine.leaderboard import free_port
from velodrome.store import open_store

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.fixtures import redis_server
from tools.sample_results import finish, many
from tools.screenshot import ARGUMENTS, CHROMIUM, settle

ROOT = Path(__file__).parents[1]
OURS = ROOT / "leaderboard" / "velodrome_leaderboard" / "app.py"
NAIVE = ROOT / "benchmarks" / "naive_page.py"
_TICKS = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def served(script: Path, environ: dict[str, str]) -> Iterator[tuple[str, int]]:
    """The address and the process id of a Streamlit server of this script."""
    port = free_port("127.0.0.1")
    options = [f"--server.port={port}", "--server.address=127.0.0.1", "--server.headless=true"]
    options += ["--server.fileWatcherType=none", "--browser.gatherUsageStats=false"]
    command = [sys.executable, "-m", "streamlit", "run", str(script), *options]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env={**os.environ, **environ}, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/_stcore/health")
            yield url, process.pid
        finally:
            process.terminate()
            process.wait()


def wait_for(url: str) -> None:
    """Returns once a server that starts answers there, or after some minutes."""
    for _ in range(600):
        with contextlib.suppress(OSError), open_directly(url, timeout=5):
            return
        time.sleep(0.2)


def cpu_seconds(pid: int) -> float:
    """The CPU seconds that the process has used so far."""
    return _seconds(pid, 11)


def helper_seconds(pid: int) -> float:
    """The CPU seconds of the process's own processes that have ended."""
    return _seconds(pid, 13)


def _seconds(pid: int, first: int) -> float:
    """The sum of a field of the process's status, counted after its name, and the next one: user and system time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[first : first + 2])) / _TICKS


def resident_megabytes(pid: int) -> float:
    """The memory that the process has in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--entries", type=int, default=30)
    given = parser.parse_args()
    board = f"sweep-{given.entries}"
    with redis_server() as url, sync_playwright() as playwright:
        with open_store(url) as store:
            finish(store, many(datetime.now(UTC), given.entries))
        environ = {keys.ENV_REDIS_URL: url, "NAIVE_BOARD": board}
        with served(OURS, environ) as (ours, our_pid), served(NAIVE, environ) as (naive, naive_pid):
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            for address in (f"{ours}/board?name={board}", naive):
                for _ in range(given.pages):
                    page = browser.new_page()
                    page.goto(address, timeout=120_000)
                    settle(page, seconds=120)
            time.sleep(5)
            pids = (our_pid, naive_pid)
            start, before = time.monotonic(), [cpu_seconds(pid) for pid in pids]
            time.sleep(given.seconds)
            took = time.monotonic() - start
            ours_share, naive_share = ((cpu_seconds(pid) - one) / took for pid, one in zip(pids, before, strict=True))
            print(f"{given.pages} open pages of {given.entries} entries, {took:.0f} s, load {os.getloadavg()[0]:.1f}")
            print(f"leaderboard  {100 * ours_share:6.2f} % of a core, {resident_megabytes(our_pid):.0f} MB (limit 1 %)")
            print(f"polling page {100 * naive_share:6.2f} % of a core, {resident_megabytes(naive_pid):.0f} MB")
            print(f"ratio        {naive_share / max(ours_share, 1e-6):6.1f} x less")
            browser.close()


if __name__ == "__main__":
    main()
