"""Measures how long clicks take while several people click at once. Prints its figures.

    python benchmarks/bench_viewers.py [--people 5] [--clicks 10] [--peer-clicks 2] [--entries 1000]

Each person is a session of Streamlit over a websocket of its own, as a browser opens it, but draws nothing. All of them
click at the same moments: they open another objective of a large board, whose reading is kept. A click lasts from the
message that a browser would send until the server says that it has drawn the page. The same number of people ask the
naive page (`naive_page.py`) for its table again, in turns with ours. One person alone is measured in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from velodrome import keys
from velodrome.board.kept import keep
from velodrome.store import open_store

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.bench_idle import NAIVE, OURS, cpu_seconds, resident_megabytes, served
from benchmarks.bench_scale import BOARD, add
from benchmarks.fixtures import redis_server

_OBJECTIVES = ("accuracy", "speed", "efficiency")


class Viewer:
    """A person with a page open. `page` is its path below the address; `name` is the board's."""

    def __init__(self, socket: websockets.ClientConnection, page: str, name: str) -> None:
        self._socket, self._page, self._name = socket, page, name

    async def click(self, objective: str) -> float:
        """Opens the page with this objective. Returns the seconds until it was drawn."""
        message = BackMsg()
        message.rerun_script.page_name = self._page
        message.rerun_script.query_string = urlencode({"name": self._name, "objective": objective})
        start = time.perf_counter()
        await self._socket.send(message.SerializeToString())
        while True:
            answer = ForwardMsg()
            answer.ParseFromString(bytes(await self._socket.recv(decode=False)))
            if answer.WhichOneof("type") == "script_finished":
                return time.perf_counter() - start


async def clicked(address: str, page: str, people: int, clicks: int) -> list[list[float]]:
    """The seconds of each click of each person, after each has opened the page once."""
    url = address.replace("http://", "ws://") + "/_stcore/stream"
    sockets = [
        await websockets.connect(url, subprotocols=[websockets.Subprotocol("streamlit")], max_size=None)
        for _ in range(people)
    ]
    viewers = [Viewer(socket, page, BOARD) for socket in sockets]
    for objective in _OBJECTIVES:
        for viewer in viewers:
            await viewer.click(objective)
    rounds = [
        await asyncio.gather(
            *(viewer.click(_OBJECTIVES[(number + at) % len(_OBJECTIVES)]) for at, viewer in enumerate(viewers))
        )
        for number in range(clicks)
    ]
    for socket in sockets:
        await socket.close()
    return [list(times) for times in rounds]


def tell(name: str, rounds: Sequence[Sequence[float]], seconds: float) -> None:
    """Prints the figures of one server, which used so many seconds of CPU for these clicks and the visits before."""
    times = sorted(one for times in rounds for one in times)
    p95 = times[math.ceil(0.95 * len(times)) - 1]
    print(
        f"{name:24} p50 {1000 * statistics.median(times):6.0f} ms   p95 {1000 * p95:6.0f} ms   "
        f"{len(times)} clicks   CPU {seconds:.2f} s in all"
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--peer-clicks", type=int, default=2)
    parser.add_argument("--entries", type=int, default=1000)
    given = parser.parse_args()
    with redis_server() as url:
        with open_store(url) as store:
            for job in range(3):
                add(store, given.entries, 5, f"large-{job}", 3 - job)
            keep(store, BOARD)
        environ = {keys.ENV_REDIS_URL: url, "NAIVE_BOARD": BOARD, "NAIVE_REFRESH": "0"}
        with served(OURS, environ) as ours, served(NAIVE, environ) as naive:
            print(f"{datetime.now(UTC):%Y-%m-%d}, {given.entries} entries, load {os.getloadavg()[0]:.1f}")
            for people in (1, given.people):
                for name, (address, pid), page, clicks in (
                    ("leaderboard", ours, "board", given.clicks),
                    ("naive page", naive, "", given.peer_clicks),
                ):
                    before = cpu_seconds(pid)
                    rounds = asyncio.run(clicked(address, page, people, clicks))
                    tell(f"{name}, {people} at once", rounds, cpu_seconds(pid) - before)
            print(f"memory: {resident_megabytes(ours[1]):.0f} MB, naive {resident_megabytes(naive[1]):.0f} MB")


if __name__ == "__main__":
    main()
