"""Why Jobs get no pod: one question for all that wonder at about the same time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import cast

from velodrome_operator.cluster import Cluster, Refusal
from velodrome_operator.refusals import Refusals

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class RefusingServer:
    """An API server that reports one refused pod; `asked` are the namespaces of the questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusals = {"digits-0": Refusal(NOW, "exceeded quota: none")}

    async def pod_refusals(self, namespace: str) -> dict[str, Refusal]:
        self.asked.append(namespace)
        await asyncio.sleep(0)
        return dict(self.refusals)


def test_races_that_wonder_together_ask_once_and_a_later_one_again() -> None:
    server, clock = RefusingServer(), [100.0]

    async def ask() -> list[dict[str, str]]:
        refusals = Refusals(cast("Cluster", server), lambda: clock[0])
        waiting = {"digits-0": NOW - SECOND, "other-0": NOW}
        together = await asyncio.gather(*(refusals.of("team", waiting) for _ in range(5)))
        clock[0] += 2.9
        server.refusals = {}
        still = await refusals.of("team", waiting)
        clock[0] += 0.2
        return [*together, still, await refusals.of("team", waiting), await refusals.of("other", waiting)]

    *same, later, elsewhere = asyncio.run(ask())
    assert same == [{"digits-0": "exceeded quota: none"}] * 6
    assert (later, elsewhere) == ({}, {})
    assert server.asked == ["team", "team", "other"]


def test_a_pod_that_was_refused_before_the_job_had_its_last_one_means_nothing() -> None:
    server = RefusingServer()

    async def ask(since: datetime) -> dict[str, str]:
        return await Refusals(cast("Cluster", server)).of("team", {"digits-0": since})

    assert asyncio.run(ask(NOW)) == {"digits-0": "exceeded quota: none"}
    assert asyncio.run(ask(NOW + SECOND)) == {}


def test_nobody_is_asked_where_no_job_waits() -> None:
    server = RefusingServer()
    assert asyncio.run(Refusals(cast("Cluster", server)).of("team", {})) == {}
    assert server.asked == []
