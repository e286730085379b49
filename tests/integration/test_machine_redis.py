"""The own Redis for real: started, shared, killed, recovered, stopped; with every server that this machine has."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis

from velodrome.errors import LocalError
from velodrome.machine.home import Home
from velodrome.machine.redis import server as server_module
from velodrome.machine.redis.program import ServerProgram, ask_version
from velodrome.machine.redis.server import OwnRedis, connect

Program = Callable[[], ServerProgram]


@pytest.fixture
def home() -> Iterator[Home]:
    """A data folder with a short path, so that a Unix socket fits."""
    folder = Path(tempfile.mkdtemp(prefix="vs-"))
    yield Home(folder)
    shutil.rmtree(folder)


@pytest.fixture
def program(redis_binary: str) -> Program:
    found = ask_version(Path(redis_binary))
    assert found is not None
    return lambda: found


def kill(own: OwnRedis) -> None:
    pid = own.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def client(own: OwnRedis) -> contextlib.AbstractContextManager[redis.Redis]:
    return contextlib.closing(connect(own.url))


def test_it_runs_while_it_is_used_and_keeps_what_it_was_given(home: Home, program: Program) -> None:
    with OwnRedis(home, program) as own:
        with client(own) as asked:
            asked.set("key", "value")
            assert asked.config_get("appendonly") == {"appendonly": "yes"}
            assert asked.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert own.pid() is not None
    assert own.pid() is None
    with OwnRedis(home, program) as again, client(again) as asked:
        assert asked.get("key") == b"value"


def test_a_long_path_makes_it_listen_on_loopback_behind_a_password(home: Home, program: Program) -> None:
    far = Home(home.folder / ("long" * 30))
    with OwnRedis(far, program) as own:
        assert own.url.startswith("redis://:")
        with client(own) as asked:
            asked.set("key", "value")
        port = int(own.url.rpartition(":")[2])
        with (
            contextlib.closing(redis.Redis(port=port)) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.get("key")
        before = own.url
        kill(own)
        assert own.ensure()
        assert own.url == before
        with client(own) as asked:
            assert asked.get("key") == b"value"


def test_it_is_shared_and_the_last_user_stops_it(home: Home, program: Program) -> None:
    with OwnRedis(home, program) as first:
        pid = first.pid()
        with OwnRedis(home, program) as second:
            assert second.pid() == pid
        assert first.pid() == pid
        with client(first) as asked:
            assert asked.ping()
    assert first.pid() is None


def test_many_that_start_at_once_share_one_server(home: Home) -> None:
    code = (
        "import sys, time; from pathlib import Path; from velodrome.machine.home import Home\n"
        "from velodrome.machine.redis.server import OwnRedis, connect\n"
        "with OwnRedis(Home(Path(sys.argv[1]))) as own:\n"
        "    print(own.pid(), flush=True); connect(own.url).incr('users'); sys.stdin.read()\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(home.folder)]
    users = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    pids = {user.stdout.readline() for user in users if user.stdout is not None}
    assert len(pids) == 1
    own = OwnRedis(home)
    for user in users:
        assert own.pid() is not None
        user.communicate(timeout=60)
        assert user.returncode == 0
    assert own.pid() is None
    with own, client(own) as asked:
        assert asked.get("users") == b"6"


def test_killed_it_comes_back_with_everything_that_it_had_acknowledged(home: Home, program: Program) -> None:
    with OwnRedis(home, program) as own:
        for number in range(50):
            with client(own) as asked:
                asked.xadd("stream", {"number": number})
            if number % 10 == 9:
                kill(own)
                own.ensure()
        with client(own) as asked:
            assert asked.xlen("stream") == 50
        assert not own.ensure()


def test_a_file_torn_by_a_crash_is_read_up_to_the_tear(home: Home, program: Program) -> None:
    with OwnRedis(home, program) as own:
        with client(own) as asked:
            asked.set("whole", "1")
            asked.set("torn", "x" * 1000)
        kill(own)
        files = [path for path in home.redis.rglob("*.aof") if path.stat().st_size > 1000]
        (written,) = files
        os.truncate(written, written.stat().st_size - 100)
        assert own.ensure()
        with client(own) as asked:
            assert asked.get("whole") == b"1"
            assert asked.get("torn") is None


def test_users_that_were_all_killed_leave_a_server_that_the_next_one_stops(home: Home) -> None:
    code = (
        "import sys, time; from pathlib import Path; from velodrome.machine.home import Home\n"
        "from velodrome.machine.redis.server import OwnRedis\n"
        "own = OwnRedis(Home(Path(sys.argv[1]))).__enter__()\n"
        "print(own.pid(), flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(home.folder)], stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None
        pid = int(user.stdout.readline())
        user.kill()
    own = OwnRedis(home)
    assert own.pid() == pid
    with own:
        assert own.pid() == pid
    assert own.pid() is None


def test_a_stale_socket_and_pid_file_are_no_server(home: Home, program: Program) -> None:
    with OwnRedis(home, program) as own:
        kill(own)
        assert (home.redis / "redis.sock").exists()
        (home.redis / "redis.pid").write_text(str(os.getpid()))
    assert own.pid() is None
    with OwnRedis(home, program) as again:
        assert again.pid() not in (None, os.getpid())


def test_a_server_that_hangs_is_named_and_no_second_one_is_started(
    home: Home, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "START_SECONDS", 0.5)
    monkeypatch.setattr(server_module, "PING_SECONDS", 0.2)
    with OwnRedis(home, program) as own:
        pid = own.pid()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(LocalError, match=rf"process {pid}\) runs but does not answer"):
                own.ensure()
        finally:
            os.kill(pid, signal.SIGCONT)
        assert not own.ensure()
        assert own.pid() == pid


def test_a_server_that_can_not_start_says_why(home: Home, program: Program) -> None:
    with OwnRedis(home, program) as own, client(own) as asked:
        asked.set("key", "value")
    for path in home.redis.rglob("*.aof"):
        path.write_bytes(b"*3\r\nnonsense that no crash makes\r\n" * 10)
    with pytest.raises(LocalError) as caught, OwnRedis(home, program):
        pass
    assert "Bad file format" in str(caught.value)
    assert str(home.redis) in str(caught.value)
    assert OwnRedis(home, program).pid() is None


def test_on_a_full_disk_results_can_be_read_and_nothing_is_written(
    home: Home, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OwnRedis(home, program) as own, client(own) as asked:
        asked.set("key", "value")

    def files() -> dict[Path, bytes]:
        """What there is but for the server's log, and for who holds a lock."""
        kept = (path for path in home.folder.rglob("*") if path.is_file() and path.suffix not in (".log", ".lock"))
        return {path: path.read_bytes() for path in kept}

    before = files()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(LocalError, match="0 MiB left"), OwnRedis(home, program):
        pass
    with OwnRedis(home, program, writes=False) as own, client(own) as asked:
        assert asked.get("key") == b"value"
    assert files() == before


def test_results_of_a_newer_server_are_refused_by_an_older_one(home: Home, redis_binary: str) -> None:
    found = ask_version(Path(redis_binary))
    assert found is not None
    (home.make(home.redis) / "appendonlydir").mkdir()
    if found.version >= (7, 0):
        with OwnRedis(home, lambda: found) as own:
            assert own.pid() is not None
    else:
        with pytest.raises(LocalError, match="7 or newer"), OwnRedis(home, lambda: found):
            pass


def test_ctrl_c_in_the_terminal_is_not_for_the_server(home: Home) -> None:
    """The server has left the terminal's process group, so a SIGINT to the group does not reach it."""
    with OwnRedis(home) as own:
        pid = own.pid()
        assert pid is not None
        assert os.getpgid(pid) != os.getpgrp()
        assert os.getsid(pid) != os.getsid(0)
