"""A real OIDC provider on this machine, leaderboards that let its people in, and cookies as Streamlit signs them."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from playwright.sync_api import Page, expect
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

from tools.screenshot import settle
from velodrome.connections.direct import open_directly
from velodrome.machine.home import Home
from velodrome.machine.leaderboard import Leaderboard

expect.set_options(timeout=60_000)  # this machine may be busy
COOKIE_SECRET = "0123456789abcdef" * 3
PEOPLE: Mapping[str, Mapping[str, object]] = {
    "ann": {"email": "ann@example.org", "email_verified": True, "groups": ["team-a"]},
    "bob": {"email": "bob@example.org", "email_verified": True, "groups": ["team-b"]},
    "boss": {"email": "boss@example.org", "email_verified": True, "groups": ["bosses"]},
    "second": {"email": "second@example.org", "email_verified": True, "groups": ["bosses"]},
    "guest": {"email": "guest@example.org", "email_verified": True, "groups": ["visitors"]},
}


def unused_port() -> int:
    """A port that the system picks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def provider(log: Path) -> Iterator[str]:
    """A provider that knows `PEOPLE`; gives its address."""
    port = unused_port()
    people = [f"--user-claims={json.dumps({'sub': name, **claims})}" for name, claims in PEOPLE.items()]
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), *people]
    with log.open("wb") as words:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=words, stderr=words)
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while True:
            try:
                with open_directly(f"{address}/.well-known/openid-configuration", timeout=2):
                    break
            except (urllib.error.URLError, OSError):
                if process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(log.read_text()) from None
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(10)


@dataclass(frozen=True)
class Guarded:
    """A leaderboard that lets people in."""

    url: str
    folder: Path

    def ask(self, path: str, **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
        """The answer to a request without a browser. Redirections are answers too."""
        request = urllib.request.Request(f"{self.url}{path}", headers=headers)  # noqa: S310 - the address is ours
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())
        try:
            with opener.open(request, timeout=30) as reply:
                return reply.status, reply.read(), dict(reply.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), {name.lower(): value for name, value in error.headers.items()}


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@contextlib.contextmanager
def guarded(folder: Path, redis_url: str, issuer: str, **changed: object) -> Iterator[Guarded]:
    """A leaderboard with a sign-in file; `changed` are other fields of that file."""
    port = unused_port()
    url = f"http://127.0.0.1:{port}"
    folder.mkdir(exist_ok=True)
    (folder / "client").write_text("a client's secret\n")
    (folder / "cookie").write_text(COOKIE_SECRET)
    file = {
        "issuer": issuer,
        "clientId": "velodrome",
        "clientSecretFile": "client",
        "cookieSecretFile": "cookie",
        "address": url,
        "viewers": {"claim": "groups", "values": ["team-*"]},
        "admins": {"claim": "groups", "values": ["bosses"]},
        "boards": [{"claim": "groups", "value": "team-*", "boards": ["team-{*}-*", "common"]}],
        "publicBoards": ["common"],
        "tokensFile": "tokens",
        **changed,
    }
    (folder / "sign-in.yaml").write_text(yaml.safe_dump(file))
    with Leaderboard(Home(folder / "home"), redis_url, port, sign_in=folder / "sign-in.yaml") as board:
        board.await_up()
        yield Guarded(board.url, folder)


def sign_in(page: Page, name: str) -> None:
    """Signs in as a person of the provider, from a page that asks for that."""
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("button", name=name, exact=True).click()
    page.get_by_text("Signed in as").or_(page.get_by_text("You may not look")).first.wait_for()
    settle(page)


def cookie(claims: Mapping[str, object], url: str, secret: str = COOKIE_SECRET) -> str:
    """The cookie of a person who signed in with these claims."""
    text = json.dumps({**claims, "origin": url, "is_logged_in": True, "provider": "default"})
    return create_signed_value(secret, "_streamlit_user", text).decode()
