"""Signals that fall into code of others: whatever that makes of them, the trial was interrupted, and did not fail."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.test_runner_process import (
    PATIENCE,
    WARM,
    Attempt,
    Process,
    StartRedis,
    names,
    results,
    wait_until,
    write_job,
)
from velodrome import keys

if TYPE_CHECKING:
    from tests.integration.conftest import RedisServer

# A module that has to end in the midst of its import, and makes something else of it.
IMPORTED = """
import pathlib, time
try:
    pathlib.Path({marker!r}).touch()
    time.sleep(600)
except BaseException as error:
    {answer}

from torch import nn

def model(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))
"""


@pytest.fixture(scope="session")
def redis_binary() -> str:
    """One kind of server is enough here."""
    path = shutil.which("redis-server")
    assert path, "install redis-server"
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("interrupted")


@pytest.fixture(scope="module")
def warm(home: Path) -> Iterator[Process]:
    with Process(WARM, home) as server:
        server.event(event="ready")
        yield server


@pytest.fixture
def inbox(start_redis: StartRedis) -> RedisServer:
    return start_redis()


@pytest.mark.parametrize(
    ("module", "answer"),
    [
        ("wraps", "raise ImportError('a native module gave up') from None"),
        ("swallows", "pass"),
        ("leaves", "raise SystemExit(0)"),
    ],
)
def test_a_signal_that_falls_into_an_import_interrupts_the_trial(
    tmp_path: Path, home: Path, warm: Process, inbox: RedisServer, module: str, answer: str
) -> None:
    marker = tmp_path / "importing"
    (home / f"{module}.py").write_text(IMPORTED.format(marker=str(marker), answer=answer))
    write_job(tmp_path, f"{module}:model")
    attempt = Attempt(tmp_path, warm, inbox.url, next(names))
    pid = attempt.start()
    wait_until(marker.exists)
    os.kill(pid, signal.SIGTERM)
    assert attempt.end() == keys.EXIT_INTERRUPTED, attempt.log
    assert not results(inbox)
    assert not attempt.spool.exists()


GUARDED = """
import os, signal, sys, time
from velodrome_runner import interruption
def run():
    {body}
    return 0
sys.exit(interruption.guarded(run, patience={patience}))
"""


def guarded(body: str, patience: float = 600.0) -> tuple[int, str]:
    """How a process ends that got SIGTERM while its `body` ran, and what it printed."""
    program = GUARDED.format(body=body, patience=patience)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, output


def test_a_process_that_loses_the_signal_for_good_is_ended() -> None:
    stubborn = """
    print("ready", flush=True)
    while True:
        try:
            time.sleep(600)
        except BaseException:
            pass
    """
    assert guarded(stubborn, patience=0.1)[0] == keys.EXIT_INTERRUPTED


def test_a_second_signal_does_not_disturb_what_cleans_up() -> None:
    cleaning = """
    try:
        print("ready", flush=True)
        time.sleep(600)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        print("cleaned", flush=True)
    """
    assert guarded(cleaning) == (keys.EXIT_INTERRUPTED, "cleaned\n")


def test_an_error_that_no_signal_caused_stays_one() -> None:
    program = GUARDED.format(body="raise ValueError('mine')", patience=600.0)
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert ended.returncode == 1
    assert "ValueError: mine" in ended.stderr
