"""Stands in for the operator where there is no cluster: its exporter, over a real store, at its real endpoint.

    python exporter.py REDIS_URL PORT

What the operator knows of races is left empty; Redis is up where the last round said so.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

from velodrome.store import Store
from velodrome.store.edge import connect
from velodrome_operator.endpoint import endpoint
from velodrome_operator.exporter import ROUND_SECONDS, Exporter
from velodrome_operator.families import Exposed
from velodrome_operator.operator_facts import OperatorFacts
from velodrome_operator.page import RaceReport

LIMIT = 20_000


async def serve(redis_url: str, port: int) -> None:
    """Until it is killed."""
    answered = False

    def facts(shown: Exposed) -> OperatorFacts:
        now = datetime.now(UTC)
        return OperatorFacts(
            "0.1.0", "http://leaderboard.example", answered, shown.series, LIMIT, shown.dropped, collected_at=now,
            swept_at=now, judged_at=exporter.judged_at,
        )  # fmt: skip

    exporter = Exporter(Store(connect(redis_url)), RaceReport, facts, lambda _board, _marks: None, LIMIT)
    async with endpoint("127.0.0.1", port, healthz=dict, readyz=dict, scrape=exporter.scrape):
        while True:
            answered = await exporter.round()
            await asyncio.sleep(ROUND_SECONDS)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
