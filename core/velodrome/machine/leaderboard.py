"""The leaderboard as a child process: Streamlit on this machine, reading the same Redis."""

from __future__ import annotations

import errno
import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
from contextlib import suppress
from pathlib import Path
from typing import Self

from velodrome import keys
from velodrome.connections.direct import open_directly
from velodrome.errors import LocalError
from velodrome.machine.files import tail
from velodrome.machine.home import ENV_HOME, Home, cannot_write

USUAL_PORT = 8501
_PORTS_TO_TRY = 100
_START_SECONDS = 120.0
# The leaderboard has a lower priority than the trials that are measured.
_NICENESS = 10


class Leaderboard:
    """The leaderboard's process. Create it in the main thread. Leaving the context ends the process.

    `boards` has patterns of the boards that it shows, with commas; "" shows all boards. `sign_in` is the file that says
    how people sign in. What is left out, the environment says.
    """

    def __init__(
        self,
        home: Home,
        redis_url: str,
        port: int | None = None,
        address: str = "127.0.0.1",
        boards: str | None = None,
        sign_in: Path | None = None,
    ) -> None:
        app = _app()
        self._log = home.make(home.folder) / "leaderboard.log"
        self._address = address = address.removeprefix("[").removesuffix("]")
        self.port = free_port(address) if port is None else port
        if port is not None and not is_free(address, port):
            raise LocalError(f"port {port} on {address} is taken: choose another with --port, or leave it out")
        command = [sys.executable, "-m", "streamlit", "run", str(app), *_options(self.port, address)]
        environ = {**os.environ, keys.ENV_REDIS_URL: redis_url, ENV_HOME: str(home.folder)}
        if boards is not None:
            environ[keys.ENV_BOARDS] = boards
        if sign_in is not None:
            environ[keys.ENV_SIGN_IN] = str(sign_in)
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environ,
                    start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the child
                )
        except OSError as error:
            raise cannot_write(self._log, error) from error
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICENESS)

    @property
    def url(self) -> str:
        """The URL to open in a browser."""
        return url_of(self._address, self.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def is_running(self) -> bool:
        return self._process.poll() is None

    def is_up(self) -> bool:
        """Whether the leaderboard serves pages."""
        try:
            with open_directly(f"{self.url}/_stcore/health", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def await_up(self) -> None:
        """Returns once the leaderboard serves pages.

        Raises:
            LocalError: its process ended, or it does not serve pages in time.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not self.is_up():
            if not self.is_running() or time.monotonic() > deadline:
                raise LocalError(f"the leaderboard did not start. Its last words ({self._log}):\n{tail(self._log)}")
            time.sleep(0.1)


def url_of(address: str, port: int) -> str:
    """The URL for a browser on this machine, if the leaderboard listens on `address`. IPv6 is put in brackets."""
    everywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- compared, not bound # nosec B104
    host = everywhere.get(address, address)
    return f"http://[{host.replace('%', '%25')}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_free(address: str, port: int) -> bool:
    """Whether the port is free at that address.

    Raises:
        LocalError: no program could listen there: the address is not this machine's, or the port needs more rights.
    """
    try:
        found = socket.getaddrinfo(address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise LocalError(f"--address {address} is no address, and no name of one: {_reason(error)}") from error
    trouble: OSError | None = None
    usable = 0
    for family, kind, protocol, _, where in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(where)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            trouble = error
        else:
            usable += 1
    if trouble is not None and not usable:  # one usable address of a host name is enough
        raise _no_place(address, port, trouble) from trouble
    return True


def _no_place(address: str, port: int, error: OSError) -> LocalError:
    match error.errno:
        case errno.EADDRNOTAVAIL:
            fix = "127.0.0.1 is for this machine alone, 0.0.0.0 lets other machines in"
            return LocalError(f"{address} is not an address of this machine, so nothing can listen there: {fix}")
        case errno.EACCES | errno.EPERM:
            return LocalError(f"port {port} on {address} is not for this user: choose one from 1024 on with --port")
        case _:
            return LocalError(f"nothing can listen on {address}: {_reason(error)}: choose another with --address")


def _reason(error: OSError | UnicodeError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def free_port(address: str) -> int:
    """Streamlit's usual port, or the next free port.

    Raises:
        LocalError: all of a hundred ports are taken.
    """
    for port in range(USUAL_PORT, USUAL_PORT + _PORTS_TO_TRY):
        if is_free(address, port):
            return port
    raise LocalError(f"no port from {USUAL_PORT} on is free on {address}: choose one with --port")


def _app() -> Path:
    """The path of the leaderboard's program, found without importing it.

    Raises:
        LocalError: the leaderboard is not installed.
    """
    package = importlib.util.find_spec("velodrome_leaderboard")
    if package is None or not package.submodule_search_locations or importlib.util.find_spec("streamlit") is None:
        raise LocalError("the leaderboard is not installed here: pip install 'velodrome[leaderboard]'")
    return Path(package.submodule_search_locations[0]) / "app.py"


def _options(port: int, address: str) -> list[str]:
    return [
        f"--server.port={port}",
        f"--server.address={address}",
        "--server.headless=true",
        "--server.fileWatcherType=none",
        "--browser.gatherUsageStats=false",
    ]
