"""`velodrome run` as a person runs it: real processes, the real runner, the own Redis, real signals."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from velodrome.connections.direct import open_directly
from velodrome.machine.home import Home
from velodrome.machine.redis.server import OwnRedis
from velodrome.store import open_store

JOB = """\
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata: {name: NAME}
spec:
  objectives:
    - {name: accuracy, metric: accuracy}
    - {name: speed, metric: latency_p50_seconds, batchSize: 1}
  dataset: {name: digits}
  budget: {maxEpochs: EPOCHS}
  evaluation: {metrics: [accuracy], inference: {batchSizes: [1], minRunSeconds: 0.02}}
  entries:
    - {name: small, model: {name: velodrome/mlp, args: {hidden: 8}}}
    - {name: large, model: {name: velodrome/mlp, args: {hidden: 64}}}
  trials: {repeats: 2, maxFailed: 1}
"""
FOREVER = "100000"

# A program of one's own, whose accuracy is what the file says, but for a little that each seed adds.
OWN = """\
apiVersion: velodrome.dev/v1alpha1
kind: BenchmarkJob
metadata: {name: NAME}
spec:
  board: nightly
  objectives: [{name: accuracy, metric: accuracy}]
  dataset: {name: digits}
  entries:
    - name: own
      command:
        - PYTHON
        - -c
        - |
          from velodrome import report
          trial = report.trial()
          trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=9, validation_samples=1, test_samples=3,
                        shape=[1, 8, 8], classes=["a", "b"])
          trial.result({"accuracy": LEVEL + trial.seed / 10_000})
  trials: {repeats: 3}
  regression: {confirm: true}
"""


class Machine:
    """A data folder, and the command in it. Its processes are ended with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder / "home")
        self.environ = {**os.environ, "VELODROME_HOME": str(self.home.folder), "PYTHONUNBUFFERED": "1"}
        self.environ.pop("VELODROME_REDIS_URL", None)
        self.started: list[subprocess.Popen[str]] = []

    def job(self, name: str = "tiny", epochs: str = "1") -> str:
        path = self.folder / f"{name}.yaml"
        path.write_text(JOB.replace("NAME", name).replace("EPOCHS", epochs))
        return str(path)

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "velodrome", *arguments]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A race that reports as JSON lines; `events` reads them."""
        process = subprocess.Popen(
            [sys.executable, "-m", "velodrome", "run", "--json", *arguments],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()
        with OwnRedis(self.home):  # its last user stops the server, which a killed one could not
            pass


def events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def until(process: subprocess.Popen[str], kind: str, **facts: Any) -> dict[str, Any]:
    """Reads on until such an event comes."""
    for event in events(process):
        if event["event"] == kind and all(event.get(name) == value for name, value in facts.items()):
            return event
    raise AssertionError(f"it ended without {kind} {facts}: {process.communicate()[1]}")


@pytest.fixture
def machine() -> Iterator[Machine]:
    folder = Path(tempfile.mkdtemp(prefix="vc-"))
    made = Machine(folder)
    yield made
    made.close()
    shutil.rmtree(folder)


@pytest.mark.timeout(300)
def test_one_command_races_and_the_results_stay(machine: Machine, tmp_path: Path) -> None:
    file = machine.job()
    done = machine.run("run", file)
    assert "tiny: 4 of 4 trials to run" in done.stderr
    for entry in ("small", "large"):
        assert re.search(rf"\[\d/4[^]]*\] {entry} seed 1 +[\d.]+ s  accuracy [\d.]+ %, speed [\d.]+ µs", done.stderr)
    assert "tiny: 4 of 4 trials succeeded." in done.stderr
    assert "board digits" in done.stdout
    assert OwnRedis(machine.home).pid() is None

    again = machine.run("run", file)
    assert "all 4 trials are finished already" in again.stderr
    results = json.loads(machine.run("results", "--json").stdout)
    assert [one["name"] for one in results["objectives"]] == ["accuracy", "speed"]
    assert {row["entry"] for row in results["objectives"][0]["ranked"]} == {"small", "large"}
    assert "curves, 1 epoch\n" in machine.run("show", "tiny/large/1").stdout
    assert machine.run("validate", file).returncode == 0
    exported = machine.run("export").stdout
    assert len(exported.splitlines()) == 5  # the job and its trials
    with OwnRedis(machine.home) as redis, open_store(redis.url) as store:
        assert store.kept_reading("digits", ()).current, "a page need not rank by itself"
    assert not list(machine.home.folder.rglob("result-*.json"))


@pytest.mark.timeout(300)
def test_a_regression_is_reported_and_what_would_confirm_it(machine: Machine) -> None:
    def night(name: str, level: float) -> str:
        path = machine.folder / f"{name}.yaml"
        text = OWN.replace("PYTHON", sys.executable).replace("NAME", name)
        path.write_text(text.replace("LEVEL", str(level)))
        return str(path)

    first = machine.run("run", night("one", 0.9))
    assert "own, accuracy" not in first.stderr, "nothing got worse"
    second = machine.run("run", night("two", 0.8))
    assert "own, accuracy: looks worse, which a second job has to confirm: 90.01 % in job one" in second.stderr
    assert "set spec.trials.baseSeed to 3 in" in second.stderr
    machine.run("regressions", "two")


def test_ctrl_c_keeps_what_is_finished_and_running_again_carries_on(machine: Machine) -> None:
    slow = machine.job(epochs=FOREVER)
    process = machine.start(slow)
    started = until(process, "started", index=0)
    until(process, "progress", index=0, phase="Training")
    process.send_signal(signal.SIGINT)
    rest = list(events(process))
    assert process.wait(60) == 130
    withdrawn = {"event": "withdrawn", "index": 0, "entry": "small", "repeat": 0, "seed": 0}
    assert any(withdrawn.items() <= event.items() for event in rest)
    assert process.stderr is not None
    said = process.stderr.read()
    assert "0 of 4 trials succeeded, 4 are left" in said
    assert f"Carry on: velodrome run {slow}" in said
    assert not Path(f"/proc/{started['pid']}").exists()
    assert OwnRedis(machine.home).pid() is None


@pytest.mark.timeout(300)
def test_a_killed_runner_is_a_failed_trial_and_a_killed_command_is_resumed(machine: Machine) -> None:
    file = machine.job(epochs="100")
    process = machine.start(file)
    until(process, "finished", index=0)
    victim = until(process, "started", index=1)
    until(process, "progress", index=1, phase="Training")
    os.kill(victim["pid"], signal.SIGKILL)
    failed = until(process, "finished", index=1)
    assert (failed["outcome"], failed["reason"]) == ("Failed", "RunnerKilled")
    last = until(process, "started", index=2)
    process.kill()  # and with it goes everything that it had started, but for Redis
    process.wait()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{last['pid']}").exists() and state_of(last["pid"]) != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    resumed = machine.start(file)
    opened = until(resumed, "opened")
    assert opened["remaining"] in (1, 2)  # the third trial may have ended before its end reached it
    until(resumed, "finished", index=3)
    assert resumed.wait(60) == 0  # one failure is what trials.maxFailed allows
    shown = machine.run("show", "tiny/large/0").stdout
    assert "RunnerKilled: the trial's process was ended from outside by SIGKILL" in shown
    assert "end of the log" in shown


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("lost", "code"), [("pipe", 141), ("full", 74)])
def test_output_that_can_not_be_written_ends_no_race(machine: Machine, lost: str, code: int) -> None:
    arguments = [sys.executable, "-m", "velodrome", "run", "--json", machine.job()]
    if lost == "full":
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(arguments, env=machine.environ, stdout=full, stderr=subprocess.PIPE, check=False)
        said = done.stderr.decode()
        assert done.returncode == code
        assert "standard output can't be written (No space left on device)" in said
    else:
        process = machine.start(machine.job())
        until(process, "started", index=0)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(60) == code
        assert "standard output" not in said
    assert "tiny: 4 of 4 trials succeeded." in said
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    (job,) = json.loads(machine.run("jobs", "--json").stdout)["jobs"]
    assert (job["succeeded"], job["failed"]) == (4, 0)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("narrow", [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_a_terminal_that_lacks_characters_sees_a_race_to_its_end(
    machine: Machine, in_terminal: Callable[[list[str]], str], narrow: dict[str, str]
) -> None:
    machine.environ |= {**narrow, "PYTHONCOERCECLOCALE": "0"}
    screen = in_terminal(["run", machine.job()])
    assert screen.count("\\u2713") == 4  # the check mark
    assert "tiny: 4 of 4 trials succeeded." in screen
    assert "can't be told apart from" in screen


@pytest.mark.timeout(300)
def test_redis_killed_in_mid_race_is_started_again_and_nothing_is_lost(machine: Machine) -> None:
    process = machine.start(machine.job(epochs="50"))
    until(process, "finished", index=1)
    until(process, "started", index=2)
    pid = OwnRedis(machine.home).pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(process, "waiting")
    rankings = until(process, "rankings")
    assert process.wait(60) == 0
    assert [row["n"] for row in rankings["objectives"][0]["ranked"]] == [2, 2]
    (job,) = json.loads(machine.run("jobs", "--json").stdout)["jobs"]
    assert (job["succeeded"], job["failed"]) == (4, 0)


@pytest.mark.timeout(300)
def test_the_same_job_is_refused_and_another_one_waits_its_turn(machine: Machine) -> None:
    file = machine.job("one", epochs=FOREVER)
    first = machine.start(file)
    until(first, "started", index=0)
    drained = threading.Thread(target=lambda: list(events(first)))
    drained.start()
    refused = machine.run("run", file, code=3)
    assert f"one is being raced by process {first.pid} right now" in refused.stderr
    second = machine.start(machine.job("two"))
    waiting = until(second, "waiting")
    assert f"one (process {first.pid}) has the track" in waiting["why"]
    first.send_signal(signal.SIGINT)
    until(second, "finished", index=3)
    assert second.wait(60) == 0
    assert first.wait(60) == 130
    drained.join()


@pytest.mark.timeout(300)
def test_the_leaderboard_is_up_while_the_race_runs_and_until_ctrl_c(machine: Machine) -> None:
    process = machine.start(machine.job(), "--serve")
    assert process.stderr is not None
    address = process.stderr.readline()
    assert address.startswith("The leaderboard is at http://127.0.0.1:")
    until(process, "started", index=0)
    url = address.split()[-1]
    with open_directly(f"{url}/_stcore/health", timeout=30) as answer:
        assert answer.status == 200
    until(process, "rankings")
    while "(Ctrl-C ends it)" not in process.stderr.readline():
        pass
    with open_directly(url, timeout=30) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert OwnRedis(machine.home).pid() is None


@pytest.mark.timeout(300)
def test_what_the_person_sees_in_a_terminal(machine: Machine, in_terminal: Callable[[list[str]], str]) -> None:
    screen = in_terminal(["run", machine.job()])
    assert "tiny: 4 of 4 trials to run" in screen
    assert "the runner is warming up" in screen
    assert "about" in screen
    assert screen.count("✓") == 4
    assert "tiny: 4 of 4 trials succeeded." in screen
    assert "can't be told apart from" in screen
    assert "\x1b[?25h" in screen.partition("succeeded.")[0]  # the cursor is back


@pytest.fixture
def in_terminal(machine: Machine) -> Callable[[list[str]], str]:
    """Runs a command on a terminal of its own; gives everything that was written to it."""

    def run(arguments: list[str]) -> str:
        ours, theirs = pty.openpty()
        environ = {**machine.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
        process = subprocess.Popen(
            [sys.executable, "-m", "velodrome", *arguments], env=environ, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        written = b""
        while process.poll() is None or select.select([ours], [], [], 0)[0]:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    written += os.read(ours, 65536)
                except OSError:  # the other side is closed
                    break
        os.close(ours)
        assert process.wait() == 0
        return written.decode(errors="backslashreplace")

    return run
