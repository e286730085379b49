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

# Bytes that the kernel takes for a socket's path, its final NUL not counted.
LONGEST_SOCKET_PATH = 103 if sys.platform == "darwin" else 107


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A socket that only its owner reaches, or, where its path is too long, loopback with a password."""

    socket: Path | None = None
    port: int = 0
    password: str = ""

    @property
    def url(self) -> str:
        """Where clients connect, the password inside."""
        if self.socket is not None:
            return f"unix://{quote(str(self.socket))}"
        return f"redis://:{quote(self.password)}@127.0.0.1:{self.port}"


def endpoint_of(folder: Path) -> Endpoint:
    """Where the server of this folder listens, if one runs."""
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return Endpoint(socket=path)
    try:
        noted = json.loads((folder / "endpoint.json").read_text())
        return Endpoint(port=int(noted["port"]), password=str(noted["password"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Endpoint()


def choose_endpoint(folder: Path) -> Endpoint:
    """Where a server that is about to start shall listen: the noted port while it is free, so that clients of the
    last one find it again.

    Raises:
        LocalError: there is no free port, or it can't be noted.
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
    """A redis.conf: every write is appended to a file, nothing is ever evicted, nobody else gets in."""
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
        # With everysec, a reply can come before the write while the disk is slow: then a kill loses what was accepted.
        b"appendfsync always",
        b"aof-load-truncated yes",
        b'save ""',
        b"maxmemory-policy noeviction",
    ]
    return b"\n".join(lines) + b"\n"


def quoted(path: Path) -> bytes:
    """A path as redis.conf takes it, whatever characters it has."""
    plain = os.fsencode(path)
    return b'"' + plain.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'


def free_port(wanted: int) -> int:
    """A loopback port that nobody listens on: the wanted one where that is so.

    Raises:
        LocalError: there is none.
    """
    for port in (wanted, 0):
        with socket.socket() as probe:
            # A port that a server has just left is free for the next server.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LocalError("127.0.0.1 has no free port: end some programs that listen, and try again")
