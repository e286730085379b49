"""From results in Redis to a message at a webhook: sent once, resolved once, whatever is killed in between.

All of it is real, but for the operator, whose exporter runs without a cluster (standins/exporter.py).
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import any_redis
from tests.monitors import (
    GATEWAY_JOB,
    OPERATOR_JOB,
    Alertmanager,
    Message,
    Program,
    Prometheus,
    Pushgateway,
    Webhook,
    assert_it_fired_all_the_time,
    until,
    unused_port,
)
from velodrome.store import Store, open_store
from velodrome.trends.regressions import judge
from velodrome_leaderboard import links

if TYPE_CHECKING:
    from tests.integration.conftest import Race, RedisServer

STANDIN = Path(__file__).with_name("standins") / "exporter.py"
LATENCY = "latency_p50_seconds{batch_size=1}"
OBJECTIVES = [
    {"name": "accuracy", "metric": "accuracy"},
    {"name": "speed", "metric": "latency_p50_seconds", "batchSize": 1},
]
# Accuracy and latency of an entry.
Levels = Mapping[str, tuple[float, float]]
GOOD = {"cnn": (0.9, 0.010), "mlp": (0.8, 0.002)}
SLOWER = {**GOOD, "cnn": (0.9, 0.0108)}  # by 8 %
WORSE = {**GOOD, "cnn": (0.87, 0.0108)}  # and 3 points less accurate: 30 % more errors

FORGED = """\
# TYPE velodrome_exporter_judged_timestamp_seconds gauge
velodrome_exporter_judged_timestamp_seconds 33000000000
# TYPE velodrome_result_verdict gauge
velodrome_result_verdict{board="forged",entry="cnn",objective="speed",cohort="c",verdict="Regressed"} 1
# TYPE velodrome_result_change_ratio gauge
velodrome_result_change_ratio{board="forged",entry="cnn",objective="speed",cohort="c"} 0.5
"""


@pytest.fixture(scope="session")
def redis_binary() -> str:
    """One kind of Redis is enough here."""
    return any_redis()


@dataclass
class Setting:
    """Everything that takes part."""

    redis: RedisServer
    exporter: Program
    gateway: Pushgateway
    prometheus: Prometheus
    webhook: Webhook
    make_race: type[Race]
    made: int = 0
    reported: list[Message] = field(init=False)

    def __post_init__(self) -> None:
        self.reported = self.webhook.messages

    @property
    def parts(self) -> dict[str, Any]:
        """What can be killed, by name."""
        return {
            "redis": self.redis,
            "exporter": self.exporter,
            "pushgateway": self.gateway,
            "prometheus": self.prometheus,
        }

    def race(self, levels: Levels, board: str = "nightly") -> Race:
        """Gives a new job its results: entries at these levels, with noise of 0.5 % (accuracy 0.1 %) over six seeds."""
        self.made += 1
        luck = random.Random(self.made)  # noqa: S311 - it opens nothing
        race = self.make_race(
            uid=f"job-{self.made}", name=f"night-{self.made}", board=board, entries=tuple(levels), repeats=6,
            created=_seconds_since_start() + self.made, spec={"objectives": OBJECTIVES, "trials": {"repeats": 6}},
        )  # fmt: skip
        records = []
        for index in range(race.info.trials):
            accuracy, latency = levels[race.plan.trial(index).entry]
            values = {
                "accuracy": accuracy * (1 + 0.001 * luck.gauss(0, 1)),
                LATENCY: latency * (1 + 0.005 * luck.gauss(0, 1)),
            }
            records.append(race.record(index, values=values))
        with self.store() as store:
            store.register(race.info)
            store.accept(race.uid, 1, records)
        return race

    def store(self) -> Store:
        return open_store(self.redis.url)

    def shows(self, race: Race) -> None:
        """Returns when Prometheus has scraped the results of the job."""
        board, at = race.info.board, race.info.created_at.timestamp()
        series = f'velodrome_result_timestamp_seconds{{board="{board}"}} >= {at - 0.01:.3f}'
        until(lambda: len(self.prometheus.query(series)) == 4, f"the results of {race.uid} in Prometheus")

    def forge(self) -> None:
        """Pushes what a runner could push in the operator's name: a regression, read a thousand years hence."""
        self.gateway.push(OPERATOR_JOB, FORGED)
        self.gateway.push("velodrome_trial", "# TYPE velodrome_trial_loss gauge\nvelodrome_trial_loss 0.25\n")
        until(lambda: self.prometheus.query("velodrome_trial_loss"), "what was pushed in Prometheus")

    def upset(self, victim: str, meanwhile: Callable[[], Race] | None = None) -> Race | None:
        """Kills a part for some evaluations and starts it again; a race comes to its end while it is away."""
        if victim == "nobody":
            return meanwhile() if meanwhile else None
        part = self.parts[victim]
        part.kill()
        race = meanwhile() if meanwhile and victim != "redis" else None
        if victim != "prometheus":
            self.prometheus.settle()
        part.start()
        if victim == "pushgateway":
            self.forge()
        if meanwhile and victim == "redis":  # nothing could end while there was nowhere to put it
            race = meanwhile()
        self.prometheus.settle()
        until(lambda: self.prometheus.query(f'up{{job="{OPERATOR_JOB}"}} == 1'), "a scrape of the exporter")
        return race


def _seconds_since_start() -> int:
    """How long ago the start of all test races was."""
    return int(time.time() - datetime(2026, 1, 1, tzinfo=UTC).timestamp()) - 3600


@pytest.fixture
def setting(
    start_redis: Callable[..., RedisServer], make_race: type[Race], tmp_path: Path
) -> Iterator[Setting]:  # fmt: skip
    def folder(name: str) -> Path:
        (tmp_path / name).mkdir()
        return tmp_path / name

    redis = start_redis("--appendonly", "yes", "--appendfsync", "always")
    webhook = Webhook().start()
    port = unused_port()
    exporter = Program([sys.executable, STANDIN, redis.url, str(port)], folder("exporter"), port, "/metrics")
    gateway = Pushgateway.of(folder("pushgateway"))
    alertmanager = Alertmanager.of(folder("alertmanager"), webhook.url)
    targets = {OPERATOR_JOB: f"127.0.0.1:{port}", GATEWAY_JOB: f"127.0.0.1:{gateway.port}"}
    prometheus = Prometheus.of(folder("prometheus"), targets, f"127.0.0.1:{alertmanager.port}")
    started: list[Program] = [exporter, gateway, alertmanager, prometheus]
    try:
        for one in started:
            one.start()
        yield Setting(redis, exporter, gateway, prometheus, webhook, make_race)
    finally:
        for one in reversed(started):
            one.stop()
        webhook.stop()


def labels_of(setting: Setting, race: Race, objective: str, severity: str = "warning") -> dict[str, str]:
    """The labels that the alert of cnn's objective must have, and no other."""
    with setting.store() as store:
        (found,) = (one for one in judge(store, race.uid) if (one.entry, one.objective) == ("cnn", objective))
    return {
        "alertname": "VelodromeRegression", "severity": severity, "job": OPERATOR_JOB, "board": "nightly",
        "entry": "cnn", "objective": objective, "cohort": found.cohort_id,
    }  # fmt: skip


@pytest.mark.parametrize("victim", ["nobody", "exporter", "redis", "prometheus", "pushgateway"])
def test_each_regression_is_sent_once_and_resolved_whatever_is_killed(setting: Setting, victim: str) -> None:
    reported = setting.reported
    setting.forge()
    for _ in range(5):  # a level knows how much jobs differ
        setting.race(GOOD)
    setting.shows(setting.race(GOOD))
    setting.shows(setting.race(GOOD, board="harmless"))
    assert not reported

    slower = setting.upset(victim, lambda: setting.race(SLOWER))
    until(lambda: reported, "the first alert")
    worse = setting.upset(victim, lambda: setting.race(WORSE))
    until(lambda: len(reported) > 1, "the second alert")
    assert slower is not None
    assert worse is not None
    speed, accuracy = labels_of(setting, slower, "speed"), labels_of(setting, worse, "accuracy", "critical")
    assert [(one.status, one.labels) for one in reported] == [("firing", speed), ("firing", accuracy)]

    setting.shows(setting.race(WORSE))  # as bad as before, and no worse
    setting.shows(setting.race(GOOD, board="harmless"))
    setting.upset(victim)
    assert len(reported) == 2

    setting.upset(victim, lambda: setting.race(GOOD))
    until(lambda: len(reported) > 3, "both to resolve")
    setting.upset(victim)
    assert {one.status for one in reported[2:]} == {"resolved"}
    assert sorted(one.labels["objective"] for one in reported[2:]) == ["accuracy", "speed"]
    assert {one.labels["objective"]: one.labels for one in reported[2:]} == {"speed": speed, "accuracy": accuracy}
    assert setting.prometheus.firing() == []
    for labels in (speed, accuracy):
        assert_it_fired_all_the_time(setting.prometheus, labels)
    _assert_the_message_says_all(reported[0], slower, "speed", r"\+[789]\.\d+%")
    _assert_the_message_says_all(reported[1], worse, "accuracy", r"-[23]\d\.\d+% relative to its errors")


def _assert_the_message_says_all(message: Message, race: Race, objective: str, change: str) -> None:
    texts = message.annotations
    assert texts["runbook_url"] == "docs/runbooks/VelodromeRegression.md"
    assert f"cnn got worse at {objective} on nightly" in texts["summary"]
    assert re.search(rf"That is {change}, surely between .+% and .+%", texts["description"])
    page = links.history("nightly", "cnn", objective, round(race.info.created_at.timestamp()))
    assert texts["link"] == f"http://leaderboard.example/{page}"
