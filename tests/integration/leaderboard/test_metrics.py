"""/metrics beside the pages: a real Prometheus with the shipped rules alerts for races on one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.monitors import OPERATOR_JOB, Prometheus, fetch, until
from tools.sample_results import finish, nights
from velodrome.monitoring import telemetry
from velodrome.results.marks import Acknowledgement

if TYPE_CHECKING:
    from velodrome.store import Store

    RedisServer = Any

NOW = datetime.now(UTC)


@pytest.fixture
def address(store: Store, redis_server: RedisServer, serve: Callable[[str], str]) -> str:
    """A leaderboard on a board whose entry cnn became slower for good."""
    for made in nights(NOW, 20):
        finish(store, made)
    return serve(redis_server.url)


def series(address: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """By name, the samples that a scrape gives."""
    families = text_string_to_metric_families(fetch(f"{address}/metrics").decode())
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_a_scrape_has_the_clusters_families_of_results(address: str) -> None:
    found = series(address)
    told = {family.exposed for family in (*telemetry.RESULTS, telemetry.JUDGED_AT, telemetry.REDIS_UP)}
    assert told <= found.keys() | {telemetry.VISIBLE.exposed}
    of_cnn = [labels["verdict"] for labels, value in found["velodrome_result_verdict"]
              if value == 1 and (labels["entry"], labels["objective"]) == ("cnn", "speed")]  # fmt: skip
    assert of_cnn == ["Regressed"]
    assert found["velodrome_redis_up"] == [({}, 1)]
    assert found["velodrome_exporter_series"][0][1] == sum(len(found.get(one.exposed, [])) for one in telemetry.RESULTS)


@pytest.fixture
def prometheus(address: str, tmp_path: Path) -> Iterator[Prometheus]:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    nobody = "127.0.0.1:1"  # alerts are read from Prometheus itself
    program = Prometheus.of(folder, {OPERATOR_JOB: urlsplit(address).netloc}, nobody, "2s").start()
    yield program
    program.stop()


def test_prometheus_alerts_for_one_machine_until_somebody_accepts_the_change(
    prometheus: Prometheus, store: Store, redis_server: RedisServer, address: str
) -> None:
    (alert,) = until(lambda: prometheus.firing("VelodromeRegression"), "the alert")
    assert (alert["board"], alert["entry"], alert["objective"]) == ("nightly", "cnn", "speed")
    found = prometheus.query(f'velodrome_operator_info{{job="{OPERATOR_JOB}"}}')
    assert [labels["leaderboard"] for labels, _ in found] == [address]
    job = store.jobs("nightly", limit=1)[0]
    key = "latency_p50_seconds{batch_size=1}"
    store.mark(
        Acknowledgement(board="nightly", entry="cnn", metric_key=key, job_uid=job.uid, at=NOW, note="a new lens")
    )
    until(lambda: not prometheus.firing("VelodromeRegression"), "the end of the alert")
    redis_server.kill()
    until(lambda: series(address)["velodrome_redis_up"] == [({}, 0)], "a scrape that says that Redis is away")
    until(lambda: prometheus.firing("VelodromeRedisDown") or prometheus.query("velodrome_redis_up == 0"), "its sample")
    assert series(address)["velodrome_result_mean"], "what was known stays"
