"""Redis as deploy/base/redis.yaml starts it: filled, it refuses and goes on, within its container's memory.

It is filled with a quarter of the memory that the manifest gives it, which takes a quarter of the time.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from redis.backoff import NoBackoff
from redis.retry import Retry

from velodrome import keys
from velodrome.errors import StoreRefused
from velodrome.store import open_store
from velodrome_operator.poison import inbox_bytes

MANIFEST = Path(__file__).parents[2] / "deploy" / "base" / "redis.yaml"
MIB = 2**20
PATIENCE = 120.0
PASSWORD = "as-shipped"


def container() -> dict[str, Any]:
    (found,) = [
        each
        for document in yaml.safe_load_all(MANIFEST.read_text())
        if document["kind"] == "StatefulSet"
        for each in document["spec"]["template"]["spec"]["containers"]
    ]
    return dict(found)


def bytes_of(quantity: str) -> int:
    match = re.fullmatch(r"(\d+)([MG])i", quantity)
    assert match is not None
    return int(match[1]) * {"M": MIB, "G": 1024 * MIB}[match[2]]


@pytest.fixture(scope="module")
def limit() -> int:
    """The memory that the container may have, in bytes."""
    return bytes_of(container()["resources"]["limits"]["memory"]) // 4


@pytest.fixture
def shipped(tmp_path: Path, limit: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The process as the manifest has it, but on this machine's loopback interface and a folder of this test's."""
    if shutil.which("redis-server") is None:
        pytest.fail("the manifest starts redis-server: install it")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    made, reported = container(), {"$(REDIS_PASSWORD)": PASSWORD, "/data": str(tmp_path)}
    words = [reported.get(word, word) for word in made["args"]]
    line = [*made["command"], *words, "--bind", "127.0.0.1", "--port", str(port)]
    environ = {**os.environ, "MEMORY_LIMIT": str(limit), "LC_ALL": "C"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(line, env=environ, stdout=log, stderr=log)
    yield process, f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    process.kill()
    process.wait()


def answering(url: str) -> redis.Redis:
    client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0))
    end = time.monotonic() + PATIENCE
    while True:
        try:
            client.ping()
        except redis.RedisError:
            assert time.monotonic() < end
            time.sleep(0.05)
        else:
            return client


def resident(process: subprocess.Popen[bytes]) -> int:
    """Memory of the server and of the child that rewrites its file, in bytes: what they share counts once."""
    pids = [str(process.pid)]
    with contextlib.suppress(OSError):
        pids += Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # the child ended meanwhile
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += 1024 * sum(int(match[1]) for match in re.finditer(r"^Pss:\s+(\d+) kB", text, re.MULTILINE))
    return total


def fill(client: redis.Redis, key: str) -> int:
    """Appends megabytes until one is refused, or until they are far too many; how many were taken."""
    for taken in range(600):
        try:
            client.rpush(key, os.urandom(MIB))
        except redis.exceptions.OutOfMemoryError:
            return taken
    raise AssertionError("it takes whatever it is given")


def test_the_limit_follows_the_containers_and_leaves_half_of_it(
    shipped: tuple[subprocess.Popen[bytes], str], limit: int
) -> None:
    _, url = shipped
    (reported,) = [item for item in container()["env"] if item["name"] == "MEMORY_LIMIT"]
    assert reported["valueFrom"]["resourceFieldRef"] == {"containerName": "redis", "resource": "limits.memory"}
    with answering(url) as client:
        config = client.config_get("*")
    assert 0.40 * limit < int(config["maxmemory"]) < 0.5 * limit
    assert (config["maxmemory-policy"], config["appendfsync"], config["appendonly"]) == ("noeviction", "always", "yes")
    assert config["maxmemory-clients"] == "20%"
    assert int(config["client-query-buffer-limit"]) == 64 * MIB


def test_filled_it_refuses_says_by_what_and_lives_while_its_file_is_rewritten(
    shipped: tuple[subprocess.Popen[bytes], str], limit: int
) -> None:
    process, url = shipped
    with answering(url) as client, open_store(url) as store:
        room = store.room()
        assert room.most is not None
        assert 4 * inbox_bytes(room) <= room.most, "it takes several inboxes at their quota to fill it"
        client.config_set("appendfsync", "no")  # the disk's time is not what is tried here
        taken = fill(client, keys.inbox("loud"))
        assert taken > 0.35 * limit / MIB
        client.config_set("appendfsync", "always")
        with pytest.raises(StoreRefused, match=r"is full .*the inbox of job loud"):
            store._redis.ask("RPUSH", keys.inbox("other"), "x" * MIB)
        most, written, end = resident(process), 0, time.monotonic() + PATIENCE
        while client.info("persistence")["aof_rewrite_in_progress"]:  # by itself, as the file grew
            assert time.monotonic() < end
            time.sleep(0.05)
        client.bgrewriteaof()
        while client.info("persistence")["aof_rewrite_in_progress"] or written == 0:
            # Pages that are written to meanwhile are there twice.
            client.execute_command("LPOP", keys.inbox("loud"), taken // 10)
            written += fill(client, keys.inbox("loud"))
            most = max(most, resident(process))
            assert time.monotonic() < end
        assert client.info("persistence")["aof_last_bgrewrite_status"] == "ok"
        assert most < 0.95 * limit
        assert process.poll() is None
        client.delete(keys.inbox("loud"))
        assert client.rpush(keys.inbox("other"), "x") == 1, "with room again it goes on"


def test_no_clients_commands_and_unread_answers_fill_it(
    shipped: tuple[subprocess.Popen[bytes], str], limit: int
) -> None:
    process, url = shipped
    with answering(url) as client:
        host, port = url.rpartition("@")[2].removesuffix("/0").split(":")
        senders = [socket.create_connection((host, int(port)), timeout=10) for _ in range(24)]
        half = b"*2\r\n$4\r\nPING\r\n$%d\r\n" % (30 * MIB) + b"x" * (29 * MIB)
        for sender in senders:
            with contextlib.suppress(OSError):  # it is cut off, as it should be
                sender.sendall(b"AUTH %s\r\n" % PASSWORD.encode() + half)
        assert client.set("key", "value")
        assert client.info("memory")["used_memory"] < 0.45 * limit
        assert client.info("stats")["evicted_clients"] > 0
        for sender in senders:
            sender.close()
        assert process.poll() is None
