"""One operator as it runs, but for kopf and the API server: what it answers over HTTP of what it saw."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.apiserver import ApiServer, parent
from tests.monitors import unused_port
from velodrome import __version__
from velodrome.results.marks import Acknowledgement
from velodrome.store import Store
from velodrome_operator.access import Access
from velodrome_operator.cluster import Cluster
from velodrome_operator.service import Options, Service, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.conftest import Race, RedisServer

Run = Callable[..., "Race"]
Series = dict[tuple[str, tuple[str, ...]], float]
SUCCEEDED = "velodrome_trials", ("digits", "team", "Succeeded")


@asynccontextmanager
async def running(options: Options) -> AsyncIterator[Service]:
    """An operator that has listed everything, and works."""
    async with connected(options) as service:
        await service.sweep.list_first()
        tasks = [asyncio.create_task(each) for each in service.workers()]
        try:
            yield service
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def reach(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    """From now on an operator that connects reaches this API server."""

    @asynccontextmanager
    async def connected(*, dry_run: bool = False) -> AsyncIterator[Cluster]:
        yield cluster

    monkeypatch.setattr(Cluster, "connected", connected)
    monkeypatch.setattr(Access, "grant", lambda *_: None)  # users who may only read some keys need Redis 7


async def until(port: int, ready: Callable[[Series], bool]) -> Series:
    """What /metrics says once that is as it should be."""
    deadline = time.monotonic() + 60
    async with aiohttp.ClientSession() as session:
        while True:
            found: Series = {}
            with suppress(aiohttp.ClientConnectionError):
                async with session.get(f"http://127.0.0.1:{port}/metrics") as response:
                    for family in text_string_to_metric_families(await response.text()):
                        for sample in family.samples:
                            found[sample.name, tuple(value for _, value in sorted(sample.labels.items()))] = (
                                sample.value
                            )
            if ready(found):
                return found
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.1)


def test_an_operator_shows_what_it_saw_and_notices_what_people_accept(
    redis_server: RedisServer, store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = run({"cnn": (0.9, 0.010)}), run({"cnn": (0.9, 0.012)})
    going = run({"cnn": (0.9, 0.010)}, done=2)
    port = unused_port()
    cluster = ApiServer(parent(first, "Complete"), parent(second, "Complete"), parent(going, "Reconciling"))
    reach(monkeypatch, cluster)
    monkeypatch.setattr("velodrome.board.exposing.LOOK_BACK", timedelta(days=36_500))
    mark = Acknowledgement(
        board="digits", entry="cnn", metric_key="latency_p50_seconds{batch_size=1}", job_uid=second.uid,
        at=second.info.created_at,
    )  # fmt: skip
    options = Options(redis_server.url, listen=("127.0.0.1", port), leaderboard_url="https://board", series_limit=500)

    def exposes(found: Series, verdict: str) -> bool:
        return any(
            name == "velodrome_result_verdict" and labels[3:] == ("speed", verdict) and value == 1
            for (name, labels), value in found.items()
        )

    async def work() -> tuple[Series, Series, dict[str, Any]]:
        async with running(options) as service:
            before = await until(
                port, lambda found: exposes(found, "Regressed") and found["velodrome_redis_up", ()] == 1
            )
            await asyncio.to_thread(store.mark, mark)
            after = await until(port, lambda found: exposes(found, "Accepted") and found[SUCCEEDED] == 5 + 5 + 2)
            deadline = time.monotonic() + 60
            while not condition(service, second):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
            return before, after, condition(service, second)

    def condition(service: Service, race: Race) -> dict[str, Any]:
        known = service.controller.races.get(race.uid)
        assert known is not None
        return next((one for one in known.parent.status["conditions"] if one["type"] == "Regressed"), {})

    with ThreadPoolExecutor(1) as thread:  # the tests' own may have a loop already, that of a browser
        before, after, said = thread.submit(asyncio.run, work()).result()

    assert before["velodrome_operator_info", ("https://board", __version__)] == 1
    assert before["velodrome_exporter_series_limit", ()] == 500
    states = {labels[0]: labels[2] for (name, labels), value in before.items()
              if name == "velodrome_benchmarkjob_state" and value == 1}  # fmt: skip
    assert states == {"night-1": "Complete", "night-2": "Complete", "night-3": "Running"}
    for name in ("velodrome_operator_swept_timestamp_seconds", "velodrome_operator_collected_timestamp_seconds",
                 "velodrome_exporter_judged_timestamp_seconds", "process_resident_memory_bytes"):  # fmt: skip
        assert after[name, ()] > 0
    assert after["velodrome_operator_pass_duration_seconds_count", ()] >= 3
    assert after["velodrome_operator_api_writes_total", ("delete",)] == 0
    assert (said["status"], said["reason"]) == ("False", "RegressionAccepted")
