"""Runs the operator as a process of this machine with its own Redis, and reads its resources from the kernel."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from velodrome.connections.direct import open_directly

RUNNER_IMAGE = "localhost/simulated@sha256:" + "0" * 64
_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The URL of a Redis with the same persistence settings as in the project's manifests."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        raise FileNotFoundError("no redis-server on PATH: apt-get install redis-server")
    port, password = free_port(), secrets.token_hex(16)
    options = ("--port", str(port), "--bind", "127.0.0.1", "--requirepass", password, "--dir", str(folder),
               "--appendonly", "yes", "--appendfsync", "always", "--save", "")  # fmt: skip
    process = subprocess.Popen((binary, *options), stdout=subprocess.DEVNULL)
    try:
        await_port(port)
        yield f"redis://:{password}@127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


@dataclass
class Operator:
    """`python -m velodrome_operator`, which can be started and stopped repeatedly.

    `bytecode` is a folder for compiled modules. The operator's image contains them, but an environment may not.
    Compiling takes a second and fragments 10 MiB of a process' memory.
    """

    kubeconfig: Path
    redis_url: str
    log: Path
    namespace: str
    bytecode: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def compile(self) -> None:
        """Compiles the modules that an operator imports, at its start and when it ranks."""
        code = "import velodrome_operator.__main__, velodrome.ranking.places"
        subprocess.run([sys.executable, "-c", code], env=os.environ | self._compiled, check=True)

    @property
    def _compiled(self) -> dict[str, str]:
        return {"PYTHONPYCACHEPREFIX": str(self.bytecode), "PYTHONDONTWRITEBYTECODE": ""}

    def start(self) -> float:
        """Starts it. Returns the start time by the monotonic clock."""
        self.port = self.port or free_port()
        line = [
            *(sys.executable, "-m", "velodrome_operator", "--namespace", self.namespace),
            *("--runner-image", RUNNER_IMAGE, "--listen", f"127.0.0.1:{self.port}"),
        ]
        own = {"KUBECONFIG": str(self.kubeconfig), "VELODROME_REDIS_URL": self.redis_url, **self._compiled}
        at = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(line, env=os.environ | own, stdout=log, stderr=log)
        return at

    async def ready(self) -> None:
        """Starts it if it does not run, and waits until its probe answers."""
        if self.process is None:
            self.start()
        while not self.health():  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.2)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stops it, and waits until it has ended."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def health(self) -> dict[str, Any]:
        """The answer of its probe; empty while it does not answer or is not healthy."""
        try:
            with open_directly(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as answer:
                found = json.loads(answer.read())
        except (urllib.error.URLError, OSError, ValueError):
            return {}
        inner = found.get("progress", found)
        return inner if isinstance(inner, dict) else {}

    def cpu_seconds(self) -> float:
        """CPU time that it has used since it started."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_bytes(self) -> int:
        """Its resident memory now."""
        lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))

    @property
    def _pid(self) -> int:
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"the operator does not run: see {self.log}")
        return self.process.pid


def free_port() -> int:
    """A free port of the loopback interface."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def await_port(port: int, seconds: float = 10) -> None:
    """Waits until a server listens there.

    Raises:
        TimeoutError: no server does.
    """
    deadline = time.monotonic() + seconds
    while True:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing listens on port {port} after {seconds:.0f} s")
        time.sleep(0.02)
