"""What the second reader of a board pays, beside working the same out anew. Prints its figures.

    python benchmarks/bench_board.py [--entries 10,1000] [--runs 21]

A real Redis on a Unix socket holds a board of two jobs. The collector's side reads and keeps it once; then, by turns,
one page of one objective is read as it was kept, all of the objective is, and the same is worked out from the results.
Round trips are what Redis counts, questions for that number left out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis

from velodrome import keys
from velodrome.board.kept import keep, kept_objective
from velodrome.board.reading import BoardReader, ObjectiveReading
from velodrome.board.viewing import read_page
from velodrome.metrics.catalogue import MetricKey
from velodrome.results.objectives import BoardObjective
from velodrome.store import Store, decoding, open_store

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.fixtures import redis_server
from tools.sample_results import finish, many, race

KEY = "accuracy"
OBJECTIVE = BoardObjective(KEY, MetricKey.parse(KEY))


def anew(store: Store, board: str) -> object:
    """The objective with its verdicts, by a reader that remembers nothing."""
    decoding.forget()
    reader = BoardReader(store, board)
    objective = next(one for one in reader.objectives if str(one.key) == KEY)
    return reader.judged(reader.objective(objective))


def nothing_kept() -> ObjectiveReading:
    """Ends the benchmark, which measures pages that were kept."""
    sys.exit("nothing was kept")


def kept_size(client: redis.Redis, board: str) -> int:
    """Bytes of Redis' memory for what is kept of a board."""
    size: Any = client.memory_usage(keys.board_reading(board), samples=0)
    return int(size or 0)


def trips(client: redis.Redis, work: Callable[[], object]) -> int:
    """How often Redis had something to read, this question left out."""
    before: Any = client.info("stats")
    work()
    after: Any = client.info("stats")
    return int(after["total_reads_processed"]) - int(before["total_reads_processed"]) - 1


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", default="10,1000", help="sizes of the boards, with commas between")
    parser.add_argument("--runs", type=int, default=21, help="how often each is done")
    given = parser.parse_args()
    with redis_server() as url, open_store(url) as store, closing(redis.Redis.from_url(url)) as client:
        for size in map(int, given.entries.split(",")):
            measure(store, client, size, given.runs)


def measure(store: Store, client: redis.Redis, size: int, runs: int) -> None:
    """Fills a board of so many entries, and prints what each way of reading it takes."""
    now = datetime.now(UTC)
    first = many(now - timedelta(days=1), size)
    finish(store, first)
    finish(store, race(f"again-{size}", now, name=f"sweep-{size}", riders=first.riders, repeats=5))
    board = f"sweep-{size}"
    began = time.perf_counter()
    keep(store, board)
    keeping = time.perf_counter() - began
    ways: dict[str, Callable[[], object]] = {
        "one page, kept": lambda: read_page(store, board, OBJECTIVE, None, (1, 1), nothing_kept),
        "the objective, kept": lambda: kept_objective(store, board, KEY),
        "the objective, anew": lambda: anew(store, board),
    }
    taken: dict[str, list[float]] = defaultdict(list)
    for _ in range(runs):
        for name, way in ways.items():
            began = time.perf_counter()
            if way() is None:
                sys.exit(f"{name}: nothing was kept")
            taken[name].append(time.perf_counter() - began)
    print(
        f"{size} entries, median of {runs}; keeping the board took {keeping:.2f} s and {kept_size(client, board)} bytes"
    )
    slowest = statistics.median(taken["the objective, anew"])
    for name, way in ways.items():
        middle = statistics.median(taken[name])
        print(f"  {name:22}{1000 * middle:9.2f} ms  {trips(client, way):4} round trips  1 / {slowest / middle:.0f}")


if __name__ == "__main__":
    main()
