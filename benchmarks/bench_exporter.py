"""Measures a scrape of the operator's /metrics, beside plain gauges of the client library. Prints its figures.

    python benchmarks/bench_exporter.py [--series 10000] [--scrapes 30]

The results are in a real Redis on a Unix socket. Requests use HTTP on the loopback interface, as Prometheus does. The
peer is the simplest solution: gauges of prometheus-client with the same names, labels and values, behind its own HTTP
server. The two take turns, each in a separate process, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from velodrome.board.latest import latest
from velodrome.connections.direct import open_directly
from velodrome.store import Store, open_store
from velodrome_operator.endpoint import endpoint
from velodrome_operator.exporter import Exporter
from velodrome_operator.families import Exposed
from velodrome_operator.operator_facts import OperatorFacts
from velodrome_operator.page import RaceReport

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.fixtures import redis_server
from tools.sample_results import Rider, finish, race

BOARDS, NIGHTS = 10, 60
# For an entry: three objectives, each with its values, its baseline's values, the change and five verdicts.
SERIES_OF_AN_ENTRY = 3 * 16
FORMATS = {
    "text": "text/plain; version=0.0.4",
    "OpenMetrics": "application/openmetrics-text; version=1.0.0, text/plain; version=0.0.4; q=0.5",
}


def fill(store: Store, series: int) -> None:
    """Boards with two jobs each, with enough entries for the number of series; and one board with a long history."""
    now = datetime.now(UTC)
    entries = -(-series // (BOARDS * SERIES_OF_AN_ENTRY))
    riders = {f"entry-{number}": Rider("velodrome/mlp", 0.9, 0.0003, 4e8) for number in range(entries)}
    for board in range(BOARDS):
        for job in range(2):
            at = now - timedelta(days=2 - job)
            finish(store, race(f"bench-{board}-{job}", at, board=f"board-{board}", riders=riders))
    few = dict(list(riders.items())[:4])
    for night in range(NIGHTS):
        finish(store, race(f"bench-night-{night}", now - timedelta(days=NIGHTS - night), board="nightly", riders=few))


def serve_ours(url: str, pipe: Connection) -> None:
    """Judges and serves until a message arrives from the pipe. Sends the port and the durations through it."""
    limit = 1_000_000

    def facts(shown: Exposed) -> OperatorFacts:
        return OperatorFacts("bench", "", True, shown.series, limit, shown.dropped)

    async def serve() -> None:
        with open_store(url) as store:
            exporter = Exporter(store, RaceReport, facts, lambda _board, _times: None, limit)
            await exporter.scrape("")  # from now on both formats are written
            await exporter.scrape(FORMATS["OpenMetrics"])
            began = time.perf_counter()
            await exporter.round()
            first = time.perf_counter() - began
            began = time.perf_counter()
            await exporter.round()
            quiet = time.perf_counter() - began
            async with endpoint("127.0.0.1", 0, healthz=dict, readyz=dict, scrape=exporter.scrape) as port:
                pipe.send((port, first, quiet))
                await asyncio.to_thread(pipe.recv)

    asyncio.run(serve())


def serve_peer(text: str, pipe: Connection) -> None:
    """The same series as plain gauges."""
    registry = CollectorRegistry()
    for family in text_string_to_metric_families(text):
        if not family.name.startswith("velodrome_result_"):
            continue
        names = sorted({name for sample in family.samples for name in sample.labels})
        gauge = Gauge(family.name, family.documentation, names, registry=registry)
        for sample in family.samples:
            gauge.labels(**sample.labels).set(sample.value)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    pipe.send((server.server_port, 0.0, 0.0))
    pipe.recv()
    server.shutdown()
    thread.join()


@contextlib.contextmanager
def process(target: Callable[..., None], what: str) -> Iterator[tuple[int, float, float]]:
    """Runs a server in a separate process. Yields the message that it sends when it is ready."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=target, args=(what, theirs))
    child.start()
    try:
        yield ours.recv()
    finally:
        ours.send("stop")
        child.join()


def scrape(port: int, accept: str) -> tuple[float, bytes]:
    """Seconds from the request to the last byte, and the answer, uncompressed."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    began = time.perf_counter()
    with open_directly(request, timeout=60) as answer:
        body = answer.read()
    return time.perf_counter() - began, body


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--scrapes", type=int, default=30)
    given = parser.parse_args()
    with redis_server() as url:
        with open_store(url) as store:
            fill(store, given.series)
            latest(store, "nightly")
            seconds = []
            for _ in range(5):
                began = time.perf_counter()
                latest(store, "nightly")
                seconds.append(time.perf_counter() - began)
            print(
                f"judging a board of {NIGHTS} jobs, 4 entries, 3 objectives: {1000 * statistics.median(seconds):.0f} ms"
            )
        with process(serve_ours, url) as (port, first, quiet):
            text = scrape(port, FORMATS["text"])[1].decode()
            series = sum(line.startswith("velodrome_result_") for line in text.splitlines())
            print(f"{series:,} series of results on {BOARDS + 1} boards, an answer of {len(text) / 1e6:.1f} MB")
            print(f"judging all of them and writing both formats out: {first:.2f} s")
            print(f"a round when nothing changed: {1000 * quiet:.1f} ms")
            with process(serve_peer, text) as (peer_port, _, _):
                compare(port, peer_port, given.scrapes)


def compare(port: int, peer_port: int, scrapes: int) -> None:
    """Scrapes both in turns."""
    for name, accept in FORMATS.items():
        ours, peers = [], []
        for _ in range(scrapes):
            ours.append(1000 * scrape(port, accept)[0])
            peers.append(1000 * scrape(peer_port, accept)[0])
        print(
            f"a scrape, {name}: median {statistics.median(ours):.1f} ms, slowest {max(ours):.1f} ms; "
            f"plain gauges: median {statistics.median(peers):.1f} ms, slowest {max(peers):.1f} ms"
        )


if __name__ == "__main__":
    main()
