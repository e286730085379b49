"""What this machine grants to a race."""

from __future__ import annotations

import socket


def cpus_for_each(cpus: int, parallel: int) -> int:
    """The threads of each of `parallel` trials that share `cpus`; at least 1."""
    return max(1, cpus // parallel)


def host() -> str:
    """The machine's name, as records note it."""
    return socket.gethostname()
