"""Where Velodrome's own Redis listens, and the configuration that it runs with."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from velodrome.errors import LocalError
from velodrome.machine.files import write_private

# The most bytes that the kernel accepts for a socket's path, without its final NUL.
LONGEST_SOCKET_PATH = 103 if sys.platform == "darwin" else 107


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A socket that only its owner can use, or, if the socket's path is too long, a loopback port with a password."""

    socket: Path | None = None
    port: int = 0
    password: str = ""

    @property
    def url(self) -> str:
        """The URL for clients, with the password in it."""
        if self.socket is not None:
            return f"unix://{quote(str(self.socket))}"
        return f"redis://:{quote(self.password)}@127.0.0.1:{self.port}"


def endpoint_of(folder: Path) -> Endpoint:
    """The endpoint at which this folder's server listens, if one runs."""
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return Endpoint(socket=path)
    try:
        noted = json.loads((folder / "endpoint.json").read_text())
        return Endpoint(port=int(noted["port"]), password=str(noted["password"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Endpoint()


def choose_endpoint(folder: Path) -> Endpoint:
    """Chooses the endpoint for a server that is about to start. It keeps the noted port if that is free, so that
    clients of the last server find the new one.

    Raises:
        LocalError: there is no free port, or the port can't be noted.
    """
    endpoint = endpoint_of(folder)
    if endpoint.socket is not None:
        return endpoint
    chosen = Endpoint(port=free_port(endpoint.port), password=endpoint.password or secrets.token_urlsafe(32))
    if chosen != endpoint:
        noted = {"port": chosen.port, "password": chosen.password}
        write_private(folder / "endpoint.json", json.dumps(noted).encode())
    return chosen


def configuration(folder: Path, endpoint: Endpoint) -> bytes:
    """A redis.conf: every write is appended to a file, nothing is evicted, and only the owner has access."""
    if endpoint.socket is not None:
        listen = [b"port 0", b"unixsocket " + quoted(endpoint.socket), b"unixsocketperm 700"]
    else:
        listen = [b"bind 127.0.0.1", b"port %d" % endpoint.port, b"requirepass " + endpoint.password.encode()]
    lines = [
        *listen,
        b"daemonize yes",
        b"pidfile " + quoted(folder / "redis.pid"),
        b"logfile " + quoted(folder / "redis.log"),
        b"dir " + quoted(folder),
        b"databases 1",
        b"appendonly yes",
        # With everysec and a slow disk, the reply can come before the write. Then a kill loses accepted results.
        b"appendfsync always",
        b"aof-load-truncated yes",
        b'save ""',
        b"maxmemory-policy noeviction",
    ]
    return b"\n".join(lines) + b"\n"


def quoted(path: Path) -> bytes:
    """A path as redis.conf needs it, with any character."""
    plain = os.fsencode(path)
    return b'"' + plain.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'


def free_port(wanted: int) -> int:
    """A free loopback port; the wanted one if that is free.

    Raises:
        LocalError: no port is free.
    """
    for port in (wanted, 0):
        with socket.socket() as probe:
            # A port that a server has just closed counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LocalError("127.0.0.1 has no free port: end some programs that listen, and try again")
