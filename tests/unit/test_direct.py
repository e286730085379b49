"""What goes by no proxy, with a real listener in the proxy's place that must not be asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.loopback import LoopbackServer
from velodrome.connections.direct import is_loopback, open_directly
from velodrome.machine.home import Home
from velodrome.machine.leaderboard import Leaderboard

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


class Server(LoopbackServer):
    """Answers every request, each with a path of its own in `asked`; as a proxy too, which is asked by full URLs."""

    def __init__(self, code: int) -> None:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(code)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None: ...

        self.asked = asked
        super().__init__(Handler)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A proxy that the environment names for everything, and that refuses."""
    server = Server(503)
    for name in PROXIES:
        monkeypatch.setenv(name, server.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.close()


@pytest.fixture
def other() -> Iterator[Server]:
    server = Server(200)
    yield server
    server.close()


def test_a_server_of_this_machine_is_asked_by_no_proxy(proxy: Server, other: Server) -> None:
    with open_directly(f"{other.url}/here", timeout=30) as answer:
        assert json.load(answer) == {}
    assert other.asked == ["/here"]
    assert proxy.asked == []


def test_what_is_no_success_is_an_error(proxy: Server) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        open_directly(proxy.url, timeout=30)
    caught.value.close()
    assert caught.value.code == 503


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:80/x", "127.0.0.1:9091", "http://127.9.8.7", "https://[::1]:6443", "http://localhost:1",
     "http://LOCALHOST", "http://me.localhost", "http://[::ffff:127.0.0.1]:1", "user:word@127.0.0.1"],
)  # fmt: skip
def test_loopback_addresses_are_known(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.1", "http://128.0.0.1", "https://[fe80::1]", "http://localhost.example.com", "http://example.com",
     "http://127.0.0.1.example.com", "http://127.0.0.1@example.com", ""],
)  # fmt: skip
def test_other_addresses_are_not_taken_for_it(url: str) -> None:
    assert not is_loopback(url)


def test_the_leaderboard_is_up_behind_a_proxy(proxy: Server, tmp_path: Path) -> None:
    with Leaderboard(Home(tmp_path), "redis://127.0.0.1:1") as board:
        board.await_up()
        assert board.is_up()
    assert proxy.asked == []


def test_the_api_server_of_this_machine_is_asked_by_no_proxy(proxy: Server, other: Server, tmp_path: Path) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": other.url}}],
        "users": [{"name": "me", "user": {"token": "x"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    code = (
        "import asyncio\n"
        "from velodrome_operator.cluster import Cluster\n"
        "async def main():\n"
        "    async with Cluster.connected() as cluster:\n"
        "        assert await cluster.parent('default', 'none') == {}\n"
        "asyncio.run(main())\n"
    )
    environ = {**os.environ, "KUBECONFIG": str(path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(other.asked) == 1
    assert proxy.asked == []
