"""Programs that only burn the CPUs. They are no children of the test, as the programs of others are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_START = f"""
import subprocess, sys
for _ in range({os.cpu_count()}):
    burn = [sys.executable, "-c", "while True: pass"]
    print(subprocess.Popen(burn, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)
"""


@contextmanager
def burning() -> Iterator[None]:
    """One such program for each CPU, until the context ends."""
    started = subprocess.run([sys.executable, "-c", _START], capture_output=True, text=True, check=True)
    try:
        yield
    finally:
        for pid in map(int, started.stdout.split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
