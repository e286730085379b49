"""`doctor` and `leaderboard`: what this machine has, and the rankings in a browser."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from velodrome.cli.app import app
from velodrome.connections.direct import open_directly
from velodrome.errors import LocalError
from velodrome.machine import checks, leaderboard
from velodrome.machine.checks import Check
from velodrome.machine.home import Home
from velodrome.machine.leaderboard import Leaderboard
from velodrome.machine.redis.server import OwnRedis


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    folder = Path(tempfile.mkdtemp(prefix="vm-"))
    monkeypatch.setenv("VELODROME_HOME", str(folder))
    monkeypatch.delenv("VELODROME_REDIS_URL", raising=False)
    yield Home(folder)
    shutil.rmtree(folder)


def test_the_doctor_finds_everything_that_this_machine_has(home: Home) -> None:
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 0, done.output
    checks = {check["name"]: check for check in json.loads(done.output)["checks"]}
    assert list(checks) == [
        "Python", "torch", "runner", "CPUs", "other programs", "Redis", "data folder", "free disk", "leaderboard",
    ]  # fmt: skip
    assert {check["status"] for check in checks.values()} <= {"ok", "warning"}
    assert "computing on the CPU" in checks["torch"]["found"] or "with CUDA" in checks["torch"]["found"]
    assert str(home.folder) in checks["data folder"]["found"]


def test_what_is_missing_comes_with_its_fix_and_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(_: str | None) -> list[Check]:
        return [Check("Python", "ok", "3.12"), Check("torch", "missing", "not installed", "pip install it")]

    monkeypatch.setattr(checks, "examine", found)
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 3
    assert done.output.splitlines() == [
        "OK       Python  3.12",
        "MISSING  torch   not installed",
        "                 fix: pip install it",
    ]


def test_a_torch_that_is_broken_differs_from_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    check = checks.torch()
    assert check.status == "missing"
    assert "libcudart.so.13" in check.found
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert checks.torch().found == "not installed"
    assert checks.runner().status == "missing"
    assert checks.leaderboard().status == "warning"  # a race does without


def test_on_a_machine_without_a_redis_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    check = checks.own_redis()
    assert check.status == "missing"
    assert "apt install redis-server" in check.fix


def test_a_named_redis_is_asked(home: Home) -> None:
    with OwnRedis(home) as own:
        assert checks.named_redis(own.url).status == "ok"
    check = checks.named_redis(own.url)
    assert check.status == "missing"
    assert str(home.redis) in check.found
    assert checks.named_redis("http://example.org").status == "missing"
    assert "secret" not in checks.named_redis("redis://:secret@127.0.0.1:1").found


def test_a_folder_or_disk_that_is_no_good_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VELODROME_HOME", str(tmp_path / "file" / "below"))
    assert checks.data_folder().status == "missing"
    assert checks.disk().status in ("ok", "warning")  # the nearest folder that is there
    disk = shutil.disk_usage(tmp_path)
    for left, status in ((10, "missing"), (500, "warning"), (5000, "ok")):
        usage = disk._replace(free=left * 2**20)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        assert checks.disk().status == status


# The leaderboard


def test_it_is_served_beside_the_own_redis_until_ctrl_c(home: Home) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "velodrome", "leaderboard"],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    assert "(Ctrl-C ends it)" in said
    url = said.split()[4]
    with open_directly(url, timeout=30) as page:
        assert page.status == 200
    assert OwnRedis(home).pid() is not None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert errors == ""
    assert OwnRedis(home).pid() is None
    with pytest.raises(OSError, match="refused"):
        open_directly(url, timeout=5)


def test_a_port_that_is_taken_is_reported_and_otherwise_the_next_one_is_used(home: Home) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        done = CliRunner().invoke(app, ["leaderboard", "--port", str(taken)])
        assert f"port {taken} on 127.0.0.1 is taken" in str(done.exception)
    assert OwnRedis(home).pid() is None


@pytest.mark.parametrize(
    ("address", "port", "says"),
    [
        ("192.0.2.7", (), "192.0.2.7 is not an address of this machine"),
        ("192.0.2.7", ("--port", "8600"), "192.0.2.7 is not an address of this machine"),
        ("2001:db8::7", (), "2001:db8::7 is not an address of this machine"),
        ("no.such.name.invalid", (), "--address no.such.name.invalid is no address, and no name of one"),
    ],
)
def test_an_address_that_is_not_of_this_machine_is_no_port_that_is_taken(
    home: Home, address: str, port: tuple[str, ...], says: str
) -> None:
    done = CliRunner().invoke(app, ["leaderboard", "--address", address, *port])
    assert says in str(done.exception)
    assert "taken" not in str(done.exception)
    assert OwnRedis(home).pid() is None


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9"),
        ("0.0.0.0", "http://127.0.0.1:9"),  # noqa: S104 -- nothing listens
        ("::1", "http://[::1]:9"),
        ("::", "http://[::1]:9"),
        ("fe80::1%eth0", "http://[fe80::1%25eth0]:9"),
        ("localhost", "http://localhost:9"),
    ],
)
def test_the_address_in_a_browser(address: str, url: str) -> None:
    assert leaderboard.url_of(address, 9) == url


@pytest.mark.parametrize("address", ["::1", "[::1]"])
def test_ipv6_is_served_or_the_machine_has_none(home: Home, address: str) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            with pytest.raises(LocalError, match="not an address of this machine"):
                Leaderboard(home, "redis://127.0.0.1:1", address=address)
            return
        probe.listen()
        with pytest.raises(LocalError, match="is taken"):
            Leaderboard(home, "redis://127.0.0.1:1", port=probe.getsockname()[1], address=address)
    with Leaderboard(home, "redis://127.0.0.1:1", address=address) as board:
        board.await_up()
        assert board.url.startswith("http://[::1]:")
        with open_directly(board.url, timeout=30) as answer:
            assert answer.status == 200


def test_the_first_free_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "is_free", lambda _, port: port > leaderboard.USUAL_PORT + 1)
    assert leaderboard.free_port("127.0.0.1") == leaderboard.USUAL_PORT + 2
    monkeypatch.setattr(leaderboard, "is_free", lambda *_: False)
    with pytest.raises(LocalError, match="--port"):
        leaderboard.free_port("127.0.0.1")


def test_where_it_is_not_installed_the_fix_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(LocalError, match=r"velodrome\[leaderboard\]"):
        Leaderboard(home, "redis://127.0.0.1:1")


def test_one_that_can_not_start_says_why(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "_options", lambda *_: ["--no.such.option=1"])
    with Leaderboard(home, "redis://127.0.0.1:1") as board, pytest.raises(LocalError, match=r"no\.such\.option"):
        board.await_up()
