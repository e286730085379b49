"""A test that leaves a socket open in a cycle fails in its own module, and not in one that runs later."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parents[1] / "conftest.py"
LEAK = """
import gc, socket

def test_it_leaves_a_socket_open():
    gc.disable()
    cycle = [socket.socket()]
    cycle.append(cycle)
"""
INNOCENT = """
import gc

def test_it_collects():
    gc.collect()
"""


def test_a_leak_is_reported_in_the_module_that_has_it(tmp_path: Path) -> None:
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "test_first.py").write_text(LEAK)
    (tmp_path / "test_second.py").write_text(INNOCENT)
    command = [sys.executable, "-m", "pytest", "-q", "-rEf", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "ERROR test_first.py::test_it_leaves_a_socket_open" in done.stdout, done.stdout
    assert "2 passed, 1 error" in done.stdout
