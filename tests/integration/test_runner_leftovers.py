"""What a trial starts ends with it, however it was started and however the trial ends. The processes are real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from tests.integration.test_runner_process import PATIENCE, WARM, Attempt, Process, names, wait_until, write_job
from velodrome import keys
from velodrome.machine.processes.starter import Ready, Started, StarterProcess

# A factory that starts a program which burns a CPU, in the way that `way` names, and says its number in `note`. With
# `held`, the model trains no further afterwards.
MODELS = """
import os, pathlib, subprocess, sys, time
from torch import nn

BURN = '''
import os, pathlib, signal, sys
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
note = pathlib.Path(sys.argv[1])
note.with_suffix(".new").write_text(str(os.getpid()))
note.with_suffix(".new").rename(note)
while True:
    pass
'''

class Net(nn.Module):
    def __init__(self, shape, classes, held):
        super().__init__()
        self.held = held
        self.head = nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def forward(self, images):
        while self.training and self.held:
            time.sleep(0.01)
        return self.head(images.flatten(1))

def leaving(shape, classes, way, note, held=False):
    def burn(**options):
        subprocess.Popen([sys.executable, "-c", BURN, note, way], **options)
        while not os.path.exists(note):
            time.sleep(0.01)

    if way in ("plain", "deaf"):
        burn()
    elif way == "session":
        burn(start_new_session=True)
    elif way == "daemon":
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                burn()
            os._exit(0)
        os.wait()
        while not os.path.exists(note):
            time.sleep(0.01)
    return Net(shape, classes, held)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leftovers")
    (folder / "persons_models.py").write_text(MODELS)
    return folder


@pytest.fixture(scope="module")
def warm(home: Path) -> Iterator[Process]:
    with Process(WARM, home) as server:
        server.event(event="ready")
        yield server


@pytest.fixture
def note(tmp_path: Path) -> Iterator[Path]:
    """Where the burner writes its number. It is ended after the test, if the product did not do so."""
    path = tmp_path / "note"
    yield path
    with suppress(OSError):
        os.kill(int(path.read_text()), signal.SIGKILL)


def runs(note: Path) -> bool:
    with suppress(OSError):
        return Path("/proc", note.read_text(), "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def attempt(folder: Path, server: Process | None, way: str, **args: Any) -> Attempt:
    write_job(folder, "persons_models:leaving", way=way, note=str(folder / "note"), **args)
    return Attempt(folder, cast("Process", server), None, next(names))  # a cold one has no server


@pytest.mark.parametrize("way", ["plain", "session", "daemon", "deaf"])
def test_what_a_trial_leaves_running_has_ended_when_its_exit_is_told(
    tmp_path: Path, warm: Process, note: Path, way: str
) -> None:
    trial = attempt(tmp_path, warm, way)
    trial.start()
    assert trial.end() == keys.EXIT_OK, trial.log
    assert note.exists()
    assert not runs(note)
    assert f"(process {note.read_text()})" in trial.log


def test_it_ends_with_a_trial_that_is_killed_too(tmp_path: Path, warm: Process, note: Path) -> None:
    trial = attempt(tmp_path, warm, "daemon", held=True)
    pid = trial.start()
    wait_until(note.exists)
    assert os.getsid(pid) == pid
    os.kill(pid, signal.SIGKILL)
    assert warm.event(id=trial.name, event="exited")["signal"] == signal.SIGKILL
    assert not runs(note)


def test_a_trial_beside_it_runs_on(tmp_path: Path, warm: Process, note: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    staying = attempt(tmp_path / "first", warm, "plain", held=True)
    pid = staying.start()
    wait_until((tmp_path / "first/note").exists)
    leaving = attempt(tmp_path / "second", warm, "session")
    leaving.start()
    assert leaving.end() == keys.EXIT_OK, leaving.log
    assert runs(tmp_path / "first/note")
    os.kill(pid, signal.SIGTERM)
    assert staying.end() == 128 + signal.SIGTERM
    assert not runs(tmp_path / "first/note")


def test_a_cold_trial_ends_it_as_in_a_pod(tmp_path: Path, home: Path, note: Path) -> None:
    trial = attempt(tmp_path, None, "daemon")
    environ = {**os.environ, **trial.env, "PYTHONPATH": str(home)}
    command = [sys.executable, "-m", "velodrome_runner"]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ran.returncode == keys.EXIT_OK, ran.stderr
    assert note.exists()
    assert not runs(note)


def test_a_program_of_ones_own_leaves_nothing_either(tmp_path: Path, home: Path, note: Path) -> None:
    """Its trial fails, because it reports nothing."""
    program = f"from persons_models import leaving; leaving((1, 8, 8), 10, 'daemon', {str(note)!r})"
    trial = attempt(tmp_path, None, "daemon")
    environ = {**os.environ, **trial.env, "PYTHONPATH": str(home)}
    command = [sys.executable, "-m", "velodrome_runner", "exec", "--", sys.executable, "-c", program]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ran.returncode == keys.EXIT_CONFIGURATION, ran.stderr
    assert note.exists()
    assert not runs(note)


@pytest.mark.parametrize("starter_is", ["alive", "killed before"])
def test_killing_a_starter_leaves_nothing_of_its_trials(
    tmp_path: Path, home: Path, note: Path, starter_is: str
) -> None:
    trial = attempt(tmp_path, None, "daemon", held=True)
    environ = {**os.environ, "PYTHONPATH": str(home)}
    starter = StarterProcess(WARM, environ, tmp_path / "errors")
    assert starter.next_event(PATIENCE) == Ready(), starter.last_words()
    starter.launch(trial.name, trial.env, tmp_path / "log")
    started = starter.next_event(PATIENCE)
    assert isinstance(started, Started)
    wait_until(note.exists)
    if starter_is == "killed before":
        os.kill(starter.pid, signal.SIGKILL)
        wait_until(lambda: not runs(note))  # the trial was sent SIGTERM, and has ended it
    starter.close(0)
    wait_until(lambda: not Path("/proc", str(started.pid)).exists())
    assert not runs(note)
