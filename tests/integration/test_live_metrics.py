"""Live metrics with real runners and a real Pushgateway: what is shown while a trial trains, and who removes it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import pytest
from prometheus_client import push_to_gateway

from velodrome import keys
from velodrome.errors import TryAgain
from velodrome.monitoring import telemetry
from velodrome.monitoring.pushgateway import YOUNG_SECONDS, Group, RunningTrials, grouping
from velodrome.results.records import REPORT, ResultReport
from velodrome.spec import BenchmarkJob
from velodrome_operator import pushgateway as cleaning
from velodrome_operator.pushgateway import Cleaner, Gateway
from velodrome_runner.live import LiveState, Readings
from velodrome_runner.usage import Use

if TYPE_CHECKING:
    from tests.integration.conftest import Pushgateway

# Far more than anything here takes: a hang fails, a slow machine does not.
PATIENCE = 100.0
MIB = 1024 * 1024

MODELS = '''
import pathlib
import time

from torch import nn


class Held(nn.Module):
    """Trains for `steps` steps, then no further until a file is there."""

    def __init__(self, shape, classes, gate, steps):
        super().__init__()
        self.gate, self.steps = pathlib.Path(gate), steps
        self.head = nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def forward(self, images):
        if self.training:
            self.steps -= 1
            while self.steps < 0 and not self.gate.exists():
                time.sleep(0.01)
        return self.head(images.flatten(1))
'''
OWN = """
import os, sys, time
from velodrome import report
trial = report.trial()
held = b"x" * {memory}
trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=9, validation_samples=1, test_samples=3,
              shape=[1, 8, 8], classes=["a", "b"])
trial.seconds = 2.0
trial.epoch(1, train_loss=0.75, samples=10)
print("seen", os.environ.get({name!r}))
while not os.path.exists({gate!r}):
    time.sleep(0.01)
trial.result({{"accuracy": 0.9}})
"""


class Starter:
    """The warm starter, as races on one machine use it: importing torch for each trial would take most of the time."""

    def __init__(self, errors: IO[bytes]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "velodrome_runner", "serve"],
            env=_clean_environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        self._seen: list[dict[str, Any]] = []

    def say(self, **line: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        self._process.stdin.flush()

    def event(self, **fields: object) -> dict[str, Any]:
        """The first event that has these fields."""
        assert self._process.stdout
        while True:
            for event in self._seen:
                if fields.items() <= event.items():
                    return event
            self._seen.append(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate()


def _clean_environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("VELODROME_")}


@dataclass
class Trial:
    """A trial of the job in `folder`. It reports to its spool alone."""

    folder: Path
    index: int
    url: str | None

    @property
    def environ(self) -> dict[str, str]:
        return {
            keys.ENV_SPEC: str(self.folder / "job.json"),
            keys.ENV_INDEX: str(self.index),
            keys.ENV_JOB_UID: "uid",
            keys.ENV_ATTEMPT: f"try{self.index}",
            keys.ENV_SCRATCH: str(self.folder / "scratch"),
            keys.ENV_CPUS: "1",
            **({} if self.url is None else {keys.ENV_PUSHGATEWAY: self.url}),
        }

    @property
    def outcome(self) -> str:
        spool = self.folder / "scratch" / f"result-{self.index}-try{self.index}.json"
        report = REPORT.validate_json(spool.read_text())
        assert isinstance(report, ResultReport)
        return report.result.outcome


class Warm(Trial):
    """One that trains with torch, forked from the starter."""

    def begin(self, starter: Starter) -> Self:
        self._starter = starter
        self._name = f"{self.folder}-{self.index}"
        starter.say(id=self._name, env=self.environ, log=str(self._log))
        self.pid = int(starter.event(id=self._name, event="started")["pid"])
        return self

    def end(self) -> tuple[int, str]:
        event = self._starter.event(id=self._name, event="exited")
        return int(event.get("code", -event.get("signal", 0))), self._log.read_text()

    @property
    def _log(self) -> Path:
        return self.folder / f"log{self.index}"


_begun: list[subprocess.Popen[str]] = []


class Own(Trial):
    """One whose program is one's own."""

    def begin(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "velodrome_runner", "exec"],
            env=_clean_environ() | self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        _begun.append(self.process)
        return self

    def end(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, output


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    """Ends what a test that failed has left."""
    yield
    while _begun:
        process = _begun.pop()
        if process.poll() is None:
            process.terminate()  # and the runner ends its program
            process.communicate()


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """A starter that is warm, whose trials find the models of this module."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "persons_models.py").write_text(MODELS)
    with (folder / "errors").open("wb") as errors, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        starter = Starter(errors)
        try:
            starter.event(event="ready")
            yield starter
        finally:
            starter.close()


def write_job(folder: Path, entry: dict[str, Any] | None = None, steps: int = 100, name: str = "race") -> Path:
    """A race of one entry, whose model waits in its third epoch of 42 steps each; gives the file that it waits for."""
    (folder / "persons_models.py").write_text(MODELS)
    gate = folder / "gate"
    held = {"name": "persons_models:Held", "args": {"gate": str(gate), "steps": steps}}
    spec = {
        "dataset": {"name": "digits"},
        "budget": {"maxEpochs": 4},
        "training": {"batchSize": 32},
        "evaluation": {"inference": {"batchSizes": [1], "minRunSeconds": 0.01}},
        "entries": [entry or {"name": "held.v2", "model": held}],
        "trials": {"repeats": 2, "maxFailed": 2},
    }
    metadata = {"name": name, "namespace": "team"}
    document = {"apiVersion": keys.API_VERSION, "kind": keys.KIND, "metadata": metadata, "spec": spec}
    job = BenchmarkJob.model_validate(document)
    (folder / "job.json").write_text(job.model_dump_json(by_alias=True, exclude_unset=True))
    return gate


# A Pushgateway answers before it has done what it was asked: what it shows is waited for.
def wait_until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.05)


def epoch(gateway: Pushgateway, repeat: int = 0, entry: str = "held.v2") -> float:
    shown = gateway.groups().get(("team", "race", entry, str(repeat)), {})
    return shown.get(telemetry.TRIAL_EPOCH.exposed, {}).get("", -1.0)


def push(gateway: Pushgateway, *key: Any) -> None:
    """Pushes as a runner does, for any trial."""
    labels = grouping(*key) if len(key) == len(telemetry.GROUPING) else {}
    push_to_gateway(gateway.url, telemetry.PUSH_JOB, Readings(LiveState(), [Use("cpu", 1)]), labels)


def in_a_loop(what: Any) -> Any:
    with ThreadPoolExecutor(1) as thread:  # the tests' own may have a loop already, that of a browser
        return thread.submit(asyncio.run, what).result()


async def cleaned(gateway: Pushgateway, running: RunningTrials, namespace: str | None = None) -> float | None:
    async with Gateway(gateway.url) as edge:
        return await Cleaner(edge, lambda: running, {namespace} if namespace else set()).clean()


def test_trials_are_seen_while_they_train_and_leave_nothing(
    tmp_path: Path, pushgateway: Pushgateway, warm: Starter
) -> None:
    gate = write_job(tmp_path)
    trials = [Warm(tmp_path, index, pushgateway.url).begin(warm) for index in (0, 1)]
    wait_until(lambda: epoch(pushgateway, 0) == epoch(pushgateway, 1) == 2)
    found = pushgateway.groups()
    assert found.keys() == {("team", "race", "held.v2", repeat) for repeat in ("0", "1")}
    for shown in found.values():
        assert shown[telemetry.TRIAL_FRACTION.exposed] == {"": 0.5}
        assert 0 < shown[telemetry.TRIAL_LOSS.exposed][""] < 10
        assert shown[telemetry.TRIAL_THROUGHPUT.exposed][""] > 0
        assert 50 * MIB < shown[telemetry.TRIAL_MEMORY.exposed]["cpu"] < 64 * 1024 * MIB
        assert shown.keys() <= {family.exposed for family in telemetry.LIVE}
    losses = {shown[telemetry.TRIAL_LOSS.exposed][""] for shown in found.values()}
    assert len(losses) == 2, "they have seeds of their own"

    page = pushgateway.get("/metrics").splitlines(keepends=True)
    ours = "".join(
        line for line in page if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith("velodrome_")
    )
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=ours, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")

    gate.touch()
    for trial in trials:
        code, output = trial.end()
        assert code == keys.EXIT_OK, output
        assert "live metrics" not in output, "nothing went wrong"
        assert trial.outcome == "Succeeded"
    wait_until(lambda: pushgateway.groups() == {})


def test_what_a_killed_runner_left_is_deleted_by_the_operator(
    tmp_path: Path, pushgateway: Pushgateway, warm: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_job(tmp_path)
    trial = Warm(tmp_path, 0, pushgateway.url).begin(warm)
    wait_until(lambda: epoch(pushgateway) == 2)
    os.kill(trial.pid, signal.SIGKILL)
    assert trial.end()[0] == -signal.SIGKILL
    key = ("team", "race", "held.v2", "0")
    assert list(pushgateway.groups()) == [key]

    again = in_a_loop(cleaned(pushgateway, RunningTrials()))
    assert again is not None, "it was pushed just now, its pod may have to be seen yet"
    assert 0 < again < YOUNG_SECONDS + 2, "the gateway gives its time in whole seconds"
    monkeypatch.setattr("velodrome.monitoring.pushgateway.YOUNG_SECONDS", 0.0)
    for running, namespace in (
        (RunningTrials({key}), None),
        (RunningTrials(jobs={key[:2]}), None),
        (RunningTrials(), "others"),
    ):
        assert in_a_loop(cleaned(pushgateway, running, namespace)) is None
        assert list(pushgateway.groups()) == [key], "it runs, or is not ours"
    assert in_a_loop(cleaned(pushgateway, RunningTrials())) is None
    wait_until(lambda: pushgateway.groups() == {})


def own(folder: Path, memory: int = 0) -> Path:
    """A race of a program that trains an epoch, then waits for the file that this gives. It starts soon: no torch."""
    gate = write_job(folder, {"name": "own", "command": [sys.executable, str(folder / "program.py")]})
    (folder / "program.py").write_text(OWN.format(memory=memory, name=keys.ENV_PUSHGATEWAY, gate=str(gate)))
    return gate


def test_an_interrupted_runner_deletes_its_group(tmp_path: Path, pushgateway: Pushgateway) -> None:
    own(tmp_path)
    trial = Own(tmp_path, 0, pushgateway.url).begin()
    wait_until(lambda: epoch(pushgateway, 0, "own") == 1)
    trial.process.send_signal(signal.SIGTERM)
    assert trial.end()[0] == 128 + signal.SIGTERM
    wait_until(lambda: pushgateway.groups() == {})


def test_a_gateway_that_was_away_is_pushed_to_when_it_is_back(tmp_path: Path, pushgateway: Pushgateway) -> None:
    gate = own(tmp_path)
    pushgateway.kill()
    trial = Own(tmp_path, 0, pushgateway.url).begin()
    assert trial.process.stdout
    for line in trial.process.stdout:
        if "live metrics are not pushed, the trial goes on: URLError" in line:
            break
    pushgateway.start()
    wait_until(lambda: epoch(pushgateway, 0, "own") == 1)
    gate.touch()
    code, output = trial.end()
    assert code == keys.EXIT_OK
    assert "live metrics are not pushed" not in output, "it is logged once"
    wait_until(lambda: pushgateway.groups() == {})


@pytest.fixture
def deaf() -> Iterator[str]:
    """The URL of a gateway that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("entry", ["own", "mlp"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "deaf"])
def test_no_trial_fails_by_a_gateway(tmp_path: Path, deaf: str, warm: Starter, url: str, entry: str) -> None:
    url = deaf if url == "deaf" else url
    trial: Warm | Own
    if entry == "own":
        own(tmp_path).touch()
        trial = Own(tmp_path, 0, url).begin()
    else:
        write_job(tmp_path, {"name": "mlp", "model": {"name": "velodrome/mlp"}})
        trial = Warm(tmp_path, 0, url).begin(warm)
    code, output = trial.end()
    assert code == keys.EXIT_OK, output
    assert trial.outcome == "Succeeded"
    assert output.count("live metrics are not pushed") == 1
    assert "Traceback" not in output


def test_a_program_of_ones_own_is_seen_too(tmp_path: Path, pushgateway: Pushgateway) -> None:
    gate = own(tmp_path, memory=300 * MIB)
    trial = Own(tmp_path, 1, pushgateway.url).begin()
    wait_until(lambda: epoch(pushgateway, 1, "own") == 1)
    (shown,) = pushgateway.groups().values()
    assert shown[telemetry.TRIAL_FRACTION.exposed] == {"": 0.25}
    assert shown[telemetry.TRIAL_LOSS.exposed] == {"": 0.75}
    assert shown[telemetry.TRIAL_THROUGHPUT.exposed] == {"": 5.0}
    assert shown[telemetry.TRIAL_MEMORY.exposed]["cpu"] > 300 * MIB, (
        "the program's memory counts, not the runner's alone"
    )
    gate.touch()
    code, output = trial.end()
    assert code == keys.EXIT_OK, output
    assert "seen None" in output
    wait_until(lambda: pushgateway.groups() == {})


def test_the_operator_deletes_what_a_restarted_gateway_had_on_its_disk(
    pushgateway: Pushgateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And forged and odd keys with it, while groups of other jobs stay; a gateway that is away is logged once."""
    monkeypatch.setattr("velodrome.monitoring.pushgateway.YOUNG_SECONDS", 0.0)
    monkeypatch.setattr(cleaning, "_REST_SECONDS", 0.01)
    push(pushgateway, "team", "race", "runs", 0)
    push(pushgateway, "team", "race", "ended", 0)
    push(pushgateway, "team", "race", "odd/ name ü", 1)
    push(pushgateway)

    def kept() -> bool:
        # A write that falls on the start of a save is saved with the next write only.
        push_to_gateway(pushgateway.url, "backup", Readings(LiveState(), []))
        data = pushgateway.folder / "data"
        return data.exists() and b"backup" in data.read_bytes()

    wait_until(kept)
    pushgateway.kill()

    def jobs() -> list[tuple[str, str | None]]:
        listed = json.loads(pushgateway.get("/api/v1/metrics"))["data"]
        return [(group["labels"]["job"], group["labels"].get("entry")) for group in listed]

    async def watched() -> None:
        asked = asyncio.Event()

        class Asked(Gateway):
            async def groups(self) -> tuple[list[Group], float]:
                asked.set()
                return await super().groups()

        cleaner = Cleaner(Asked(pushgateway.url), lambda: RunningTrials({("team", "race", "runs", "0")}), period=0.05)
        work = asyncio.create_task(cleaner.work())
        for _ in range(3):  # it has asked, been refused and begun to ask again, so often
            asked.clear()
            await asyncio.wait_for(asked.wait(), PATIENCE)
        await asyncio.to_thread(pushgateway.start)
        await asyncio.to_thread(wait_until, lambda: cleaner.deleted >= 3)
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work

    with caplog.at_level(logging.WARNING, "velodrome"):
        in_a_loop(watched())
    wait_until(lambda: sorted(jobs(), key=str) == [("backup", None), (telemetry.PUSH_JOB, "runs")])
    assert len(caplog.records) == 1
    assert "the Pushgateway can't be cleaned up" in caplog.text


def test_a_gateway_that_lists_without_end_is_read_no_further(
    pushgateway: Pushgateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "_LIST_BYTES", 100)
    push(pushgateway, "team", "race", "a", 0)
    with pytest.raises(TryAgain, match="it lists more than"):
        in_a_loop(cleaned(pushgateway, RunningTrials()))


@pytest.mark.timeout(300)  # a race, from importing torch on
def test_a_race_on_one_machine_is_seen_and_leaves_nothing(tmp_path: Path, pushgateway: Pushgateway) -> None:
    """Nothing of a race before it that was killed either; the groups of other jobs are not its own."""
    gate = write_job(tmp_path)
    push(pushgateway, "team", "race", "of-a-race-that-was-killed", 7)
    push(pushgateway, "team", "another", "held.v2", 0)
    with tempfile.TemporaryDirectory(prefix="vl-") as home:  # the path of a Unix socket is short
        environ = {
            **_clean_environ(),
            "VELODROME_HOME": home,
            keys.ENV_PUSHGATEWAY: pushgateway.url,
            "PYTHONPATH": str(tmp_path),
        }
        command = [sys.executable, "-m", "velodrome", "run", str(tmp_path / "job.json"), "--json", "--cpus", "1"]
        with subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as race:
            try:
                wait_until(lambda: race.poll() is not None or epoch(pushgateway) == 2)
                assert race.poll() is None, race.communicate()[0]
                wait_until(lambda: ("team", "race", "of-a-race-that-was-killed", "7") not in pushgateway.groups())
                assert race.stdout
                started = next(line for line in race.stdout if '"pid"' in line)
                found = re.search(r'"pid": ?(\d+)', started)
                assert found
                os.kill(int(found.group(1)), signal.SIGKILL)
                # The first trial is recorded as failed; the second has the track.
                wait_until(lambda: epoch(pushgateway, 1) == 2)
                wait_until(lambda: epoch(pushgateway, 0) == -1)
                gate.touch()
                output, _ = race.communicate(timeout=PATIENCE)
            finally:
                race.terminate()
    assert "RunnerKilled" in output
    wait_until(lambda: list(pushgateway.groups()) == [("team", "another", "held.v2", "0")])
