"""Redis as deploy/base/redis.yaml starts it: filled, it refuses and goes on, within its container's memory.

It is filled with a quarter of the memory that the manifest gives it, which takes a quarter of the time.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import redis
import yaml
from redis.backoff import NoBackoff
from redis.retry import Retry

from velodrome import keys
from velodrome.errors import StoreRefused
from velodrome.results.records import ResultReport
from velodrome.store import open_store, roles
from velodrome_operator.poison import inbox_bytes

if TYPE_CHECKING:
    from tests.integration.conftest import Race

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


def placed(word: str, folders: Mapping[str, Path]) -> str:
    """The argument with a folder of this test in place of the container's."""
    start = next((start for start in folders if word.startswith(start)), None)
    return word if start is None else str(folders[start] / word.removeprefix(start))


def memory_share(made: Mapping[str, Any]) -> int:
    """The bytes above which the manifest has Redis refuse writes."""
    return int(made["args"][made["args"].index("--maxmemory") + 1])


def certificate(folder: Path) -> None:
    """A certificate for the loopback address that is its own authority: ca.crt, tls.crt and tls.key."""
    names = "subjectAltName=IP:127.0.0.1"
    line = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    line += ["-subj", "/CN=redis", "-addext", names, "-days", "2", "-keyout", str(folder / "tls.key")]
    subprocess.run([*line, "-out", str(folder / "tls.crt")], check=True, capture_output=True)
    shutil.copy(folder / "tls.crt", folder / "ca.crt")


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
    users = dict.fromkeys(roles.ROLES, (roles.hashed(PASSWORD),))
    (tmp_path / "users.acl").write_text(roles.acl_file(users), encoding="utf-8")
    certificate(tmp_path)
    folders = {"/data": tmp_path, "/etc/redis-users/": tmp_path, "/etc/redis-tls/": tmp_path}
    made = container()
    words = [placed(word, folders) for word in made["args"]]
    quarter = ["--maxmemory", str(memory_share(made) // 4)]
    line = [*made["command"], *words, "--bind", "127.0.0.1", "--tls-port", str(port), *quarter]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(line, env={**os.environ, "LC_ALL": "C"}, stdout=log, stderr=log)
    yield process, f"rediss://operator:{PASSWORD}@127.0.0.1:{port}/0?ssl_ca_certs={tmp_path}/ca.crt"
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
    with answering(url) as client:
        config = client.config_get("*")
    assert 0.40 * limit < int(config["maxmemory"]) < 0.5 * limit
    assert (config["maxmemory-policy"], config["appendfsync"], config["appendonly"]) == ("noeviction", "always", "yes")
    assert config["maxmemory-clients"] == "20%"
    assert int(config["client-query-buffer-limit"]) == 64 * MIB


def test_filled_it_refuses_says_by_what_and_lives_while_its_file_is_rewritten(
    shipped: tuple[subprocess.Popen[bytes], str], limit: int, make_race: type[Race]
) -> None:
    process, url = shipped
    large = make_race(uid="other").result(0).model_copy(update={"message": "x" * MIB})
    with answering(url) as client, open_store(url) as store:
        room = store.room()
        assert room.most is not None
        assert 4 * inbox_bytes(room) <= room.most, "it takes several inboxes at their quota to fill it"
        client.config_set("appendfsync", "no")  # the disk's time is not what is tried here
        taken = fill(client, keys.inbox("loud"))
        assert taken > 0.35 * limit / MIB
        client.config_set("appendfsync", "always")
        with pytest.raises(StoreRefused, match=r"is full .*the inbox of job loud"):
            store.append("other", ResultReport(result=large))
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
        where = urlsplit(url)
        assert where.hostname
        assert where.port
        context = ssl.create_default_context(cafile=where.query.partition("=")[2])
        plain = [socket.create_connection((where.hostname, where.port), timeout=10) for _ in range(24)]
        senders = [context.wrap_socket(one, server_hostname=where.hostname) for one in plain]
        half = b"*2\r\n$4\r\nPING\r\n$%d\r\n" % (30 * MIB) + b"x" * (29 * MIB)
        for sender in senders:
            with contextlib.suppress(OSError):  # it is cut off, as it should be
                sender.sendall(b"AUTH operator %s\r\n" % PASSWORD.encode() + half)
        assert client.set("key", "value")
        assert client.info("memory")["used_memory"] < 0.45 * limit
        assert client.info("stats")["evicted_clients"] > 0
        for sender in senders:
            sender.close()
        assert process.poll() is None


def test_its_probes_answer_while_strangers_learn_nothing(
    shipped: tuple[subprocess.Popen[bytes], str], tmp_path: Path
) -> None:
    _, url = shipped
    with answering(url):
        port = str(urlsplit(url).port)
    made = container()
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        words = [placed(word, {"/etc/redis-tls/": tmp_path}) for word in made[probe]["exec"]["command"]]
        done = subprocess.run([words[0], "-p", port, *words[1:]], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "PONG\n"), done.stderr
        for asked in (["info"], ["acl", "list"], ["get", "x"], ["flushall"]):
            line = [words[0], "-p", port, *words[1:-1], *asked]
            refused = subprocess.run(line, capture_output=True, text=True, check=False)
            assert refused.returncode != 0, asked
    plain = subprocess.run(["redis-cli", "-e", "-p", port, "ping"], capture_output=True, text=True, check=False)
    assert plain.returncode != 0, "without TLS"


def test_what_transactions_and_scripts_wrote_is_there_after_a_kill(
    shipped: tuple[subprocess.Popen[bytes], str],
) -> None:
    """Redis reads its file with the rights of the default user, whom nobody may be."""
    process, url = shipped
    with answering(url) as client:
        with client.pipeline(transaction=True) as both:
            both.set("one", "1").rpush("list", "a", "b").execute()
        client.eval("redis.call('SET', KEYS[1], '1') redis.call('RPUSH', KEYS[2], 'c')", 2, "two", "list")
    process.kill()
    process.wait()
    again = subprocess.Popen(process.args, env={**os.environ, "LC_ALL": "C"}, stdout=subprocess.DEVNULL)
    try:
        with answering(url) as client:
            assert [client.get("one"), client.get("two")] == [b"1", b"1"]
            assert client.lrange("list", 0, -1) == [b"a", b"b", b"c"]
        nobody = re.sub(r"operator:[^@]*@", "", url)
        with redis.Redis.from_url(nobody) as client, pytest.raises(redis.exceptions.AuthenticationError):
            client.get("one")
    finally:
        again.kill()
        again.wait()
