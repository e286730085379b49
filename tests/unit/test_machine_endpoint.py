"""Where the own Redis listens and how it is configured; which server program is taken."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest
import redis

from velodrome.errors import LocalError
from velodrome.machine.redis.endpoint import (
    LONGEST_SOCKET_PATH,
    choose_endpoint,
    configuration,
    endpoint_of,
    free_port,
    quoted,
)
from velodrome.machine.redis.program import ServerProgram, find_server
from velodrome.machine.redis.server import refuse_newer_data


def long_folder(tmp_path: Path) -> Path:
    folder = tmp_path / ("x" * LONGEST_SOCKET_PATH)
    folder.mkdir()
    return folder


def test_a_socket_where_its_path_fits_and_loopback_with_a_password_where_not(tmp_path: Path) -> None:
    short = Path("/" + "x" * (LONGEST_SOCKET_PATH - len("//redis.sock")))
    assert endpoint_of(short).socket == short / "redis.sock"
    assert endpoint_of(Path(f"{short}x")).socket is None
    settings = configuration(short, endpoint_of(short)).decode()
    assert "port 0\n" in settings
    assert "unixsocketperm 700\n" in settings
    endpoint = choose_endpoint(long_folder(tmp_path))
    settings = configuration(tmp_path, endpoint).decode()
    assert f"bind 127.0.0.1\nport {endpoint.port}\nrequirepass {endpoint.password}\n" in settings
    assert len(endpoint.password) >= 32


def test_every_write_is_kept_and_nothing_is_evicted(tmp_path: Path) -> None:
    lines = configuration(tmp_path, endpoint_of(tmp_path)).decode().splitlines()
    assert {"appendonly yes", "appendfsync always", "aof-load-truncated yes", "maxmemory-policy noeviction"} <= set(
        lines
    )


def test_the_next_server_listens_where_the_last_one_did(tmp_path: Path) -> None:
    folder = long_folder(tmp_path)
    first = choose_endpoint(folder)
    assert choose_endpoint(folder) == first == endpoint_of(folder)
    assert stat.S_IMODE((folder / "endpoint.json").stat().st_mode) == 0o600
    with socket.socket() as other:
        other.bind(("127.0.0.1", first.port))
        other.listen()
        second = choose_endpoint(folder)
        assert second.port != first.port
        assert second.password == first.password
    (folder / "endpoint.json").write_text("torn")
    assert endpoint_of(folder).port == 0


def test_a_port_that_is_taken_is_passed_over() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        assert free_port(taken) != taken


@pytest.mark.parametrize("name", ["plain", "with space", 'quote"and\\slash', "#hash?and%percent", "ünïcode"])
def test_any_folder_name_survives_the_configuration_and_the_url(name: str) -> None:
    folder = Path("/") / name
    pool = redis.ConnectionPool.from_url(endpoint_of(folder).url)
    assert pool.connection_kwargs["path"] == str(folder / "redis.sock")
    assert quoted(folder).startswith(b'"/')
    assert quoted(Path('/a"b\\c\nd')) == b'"/a\\"b\\\\c\\nd"'


def server(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_redis_is_taken_before_valkey_and_either_before_the_wheels(tmp_path: Path) -> None:
    valkey = server(tmp_path, "valkey-server", "Valkey server v=8.1.3 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64")
    assert find_server(str(tmp_path)) == ServerProgram(valkey, (8, 1), "Valkey 8.1.3")
    own = server(tmp_path, "redis-server", "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64")
    assert find_server(str(tmp_path)) == ServerProgram(own, (7, 0), "Redis 7.0.15")


def test_a_newer_server_further_back_is_taken_because_an_older_one_can_not_read_its_results(tmp_path: Path) -> None:
    first, second = tmp_path / "environment", tmp_path / "machine"
    older = server(first, "redis-server", "Redis server v=6.2.14 sha=00000000:0")
    assert find_server(str(first)) == ServerProgram(older, (6, 2), "Redis 6.2.14")
    newer = server(second, "redis-server", "Redis server v=7.0.15 sha=00000000:0")
    assert find_server(f"{first}:{second}") == ServerProgram(newer, (7, 0), "Redis 7.0.15")


def test_what_is_too_old_or_broken_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server(tmp_path, "redis-server", "Redis server v=6.0.16 sha=00000000:0")
    server(tmp_path, "valkey-server", "Segmentation fault")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(LocalError) as caught:
        find_server(str(tmp_path))
    text = str(caught.value)
    assert "6.2 or newer" in text
    assert "redis-server (Redis 6.0.16)" in text
    assert "valkey-server (does not run)" in text
    assert "apt install redis-server" in text
    with pytest.raises(LocalError, match="no Redis or Valkey server"):
        find_server(str(tmp_path / "empty"))


def test_results_of_a_newer_server_are_not_hidden_by_an_older_one(tmp_path: Path) -> None:
    old, new = ServerProgram(Path("r"), (6, 2), "Redis 6.2.14"), ServerProgram(Path("r"), (7, 0), "Redis 7.0.15")
    refuse_newer_data(tmp_path, old)
    (tmp_path / "appendonlydir").mkdir()
    refuse_newer_data(tmp_path, new)
    with pytest.raises(LocalError, match="install redis-server or valkey-server 7"):
        refuse_newer_data(tmp_path, old)
