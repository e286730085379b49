"""The runner as the process that it is: real trials, a real Redis, and what goes wrong between them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
import redis

from velodrome import keys
from velodrome.plan import plan
from velodrome.results.records import REPORT, Progress, ProgressReport, ResultReport, TrialResult
from velodrome.spec import BenchmarkJob

if TYPE_CHECKING:
    from tests.integration.conftest import RedisServer

StartRedis = Callable[..., "RedisServer"]

# Far more than anything here takes: a hang fails, a slow machine does not.
PATIENCE = 60.0
UID = "uid-1"

# The server as it is, and one that imports nothing beforehand: it is ready at once, and its trials start slowly.
WARM = [sys.executable, "-m", "velodrome_runner", "serve"]
BARE = [
    sys.executable,
    "-c",
    "import sys\nfrom velodrome_runner import serve\nserve._WARM = ()\nsys.exit(serve.serve())",
]

MODELS = '''
import pathlib
import time

import torch
from torch import nn


class Held(nn.Module):
    """Trains no further until a file is there."""

    def __init__(self, shape, classes, gate):
        super().__init__()
        self.gate = pathlib.Path(gate)
        self.head = nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def forward(self, images):
        while self.training and not self.gate.exists():
            time.sleep(0.01)
        return self.head(images.flatten(1))


def narrow(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes - 7))


def raising(shape, classes):
    print("about to go wrong")
    raise ValueError("no such thing \\udcff")


def chatty(shape, classes):
    import os, sys

    print("started as", sys.orig_argv[1:], os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK"))
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))


class Deep(nn.Module):
    """Fails far inside, when the runner does what `stage` names: a function of the runner on the way here."""

    def __init__(self, shape, classes, stage):
        super().__init__()
        self.stage = stage
        self.head = nn.Linear(shape[0] * shape[1] * shape[2], classes)
        self.perhaps()

    def forward(self, images):
        self.perhaps()
        return self.head(images.flatten(1))

    def to(self, *args, **kwargs):
        self.perhaps()
        return super().to(*args, **kwargs)

    def parameters(self, recurse=True):
        self.perhaps()
        return super().parameters(recurse)

    def perhaps(self):
        import traceback

        if self.stage in {frame.name for frame in traceback.extract_stack()}:
            max([{}], key=look_up)


def look_up(table):
    return table["missing"]


class Leaving(Held):
    def forward(self, images):
        if self.training:
            raise SystemExit("I give up")
        return self.head(images.flatten(1))


class Unreadable(Held):
    def forward(self, images):
        class Mute(Exception):
            def __str__(self):
                raise KeyError("no words")

        raise Mute


class Exploding(Held):
    def forward(self, images):
        if self.training:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 EiB")
        return self.head(images.flatten(1))
'''


def write_job(folder: Path, model: str = "velodrome/mlp", dataset: dict[str, Any] | None = None, **args: Any) -> Path:
    spec = {
        "dataset": dataset or {"name": "digits"},
        "budget": {"maxEpochs": 1},
        "evaluation": {"inference": {"batchSizes": [1], "minRunSeconds": 0.01, "measure": "always"}},
        "entries": [{"name": "one", "model": {"name": model, "args": args}}],
        "trials": {"repeats": 2},
    }
    job = BenchmarkJob.model_validate(
        {"apiVersion": "velodrome.dev/v1alpha1", "kind": "BenchmarkJob", "metadata": {"name": "j"}, "spec": spec}
    )
    path = folder / "job.json"
    path.write_text(job.model_dump_json(), encoding="utf-8")
    return path


def wait_until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


class Process:
    """A server for trials, and what it says."""

    def __init__(self, command: list[str], folder: Path, patience: float = PATIENCE) -> None:
        self._patience = patience
        environ = {name: value for name, value in os.environ.items() if not name.startswith("VELODROME_")}
        environ["PYTHONPATH"] = str(folder)
        self._errors = folder / "errors"
        with self._errors.open("ab") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environ
            )
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._seen: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it, its children with it, if it has not ended."""
        assert self.process.stdin
        assert self.process.stdout
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._events.put(json.loads(line))
        self._events.put(None)

    def say(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()

    def event(self, **fields: object) -> dict[str, Any]:
        """The first event that has these fields."""
        for event in self._seen:
            if fields.items() <= event.items():
                return event
        while True:
            found = self._events.get(timeout=self._patience)
            assert found is not None, f"the server ended: {self._errors.read_text()}"
            self._seen.append(found)
            if fields.items() <= found.items():
                return found

    def ended(self) -> list[dict[str, Any]]:
        """All that it said, once nobody can say more."""
        while (found := self._events.get(timeout=self._patience)) is not None:
            self._seen.append(found)
        return self._seen


@dataclass
class Attempt:
    """A trial of a job in a folder of its own."""

    folder: Path
    server: Process
    redis_url: str | None
    name: str
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def spool(self) -> Path:
        return self.folder / "scratch" / f"result-0-{self.name}.json"

    @property
    def spooled(self) -> TrialResult:
        return ResultReport.model_validate_json(self.spool.read_text()).result

    @property
    def env(self) -> dict[str, str]:
        given = {
            keys.ENV_SPEC: str(self.folder / "job.json"),
            keys.ENV_INDEX: "0",
            keys.ENV_JOB_UID: UID,
            keys.ENV_ATTEMPT: self.name,
            keys.ENV_SCRATCH: str(self.folder / "scratch"),
            keys.ENV_DATA: str(self.folder),
            keys.ENV_CPUS: "1",
            **({} if self.redis_url is None else {keys.ENV_REDIS_URL: self.redis_url}),
        }
        return {**given, **self.environ}

    def start(self) -> int:
        """Has the server start it, and returns its process id."""
        self.server.say(json.dumps({"id": self.name, "env": self.env, "log": str(self.folder / "log")}))
        return int(self.server.event(id=self.name, event="started")["pid"])

    def end(self) -> int | None:
        """Waits for its end, and returns the exit code; None after a signal."""
        return self.server.event(id=self.name, event="exited").get("code")


@pytest.fixture(scope="session")
def redis_binary() -> str:
    """One kind of server is enough here: the store's tests ask every kind."""
    path = shutil.which("redis-server")
    assert path, "install redis-server"
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runner")
    (folder / "persons_models.py").write_text(MODELS)
    return folder


@pytest.fixture(scope="module")
def warm(home: Path) -> Iterator[Process]:
    with Process(WARM, home) as server:
        server.event(event="ready")
        yield server


names = (f"attempt-{number}" for number in itertools.count())


@pytest.fixture
def inbox(start_redis: StartRedis) -> RedisServer:
    return start_redis()


def reports(server: RedisServer) -> list[Progress | TrialResult]:
    """What is in the job's inbox, in its order."""
    with contextlib.closing(server.client()) as client:
        found: Any = client.lrange(keys.inbox(UID), 0, -1)
    parsed = [REPORT.validate_json(report) for report in found]
    return [report.progress if isinstance(report, ProgressReport) else report.result for report in parsed]


def results(server: RedisServer) -> list[TrialResult]:
    return [report for report in reports(server) if isinstance(report, TrialResult)]


def is_training(server: RedisServer) -> bool:
    """Whether a trial has said that it loads; a held one goes on to its first step and no further."""
    return any(isinstance(report, Progress) and report.phase == "Loading" for report in reports(server))


def held(folder: Path, server: Process, redis_url: str | None, **environ: str) -> Attempt:
    """A trial that trains until `folder/gate` is there."""
    write_job(folder, "persons_models:Held", gate=str(folder / "gate"))
    return Attempt(folder, server, redis_url, next(names), environ)


def test_a_cold_process_runs_a_trial_and_delivers_it_with_a_full_disk_too(
    home: Path, warm: Process, tmp_path: Path, inbox: RedisServer
) -> None:
    write_job(tmp_path)
    attempt = Attempt(tmp_path, warm, inbox.url, next(names))
    # A file may have a KiB, which a result exceeds: to the runner that is a disk that is full.
    command = ["bash", "-c", 'ulimit -f 1 && exec "$@"', "bash", sys.executable, "-m", "velodrome_runner"]
    environ = {**os.environ, **attempt.env, "PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ran.returncode == keys.EXIT_OK, ran.stderr
    assert "Starting: one, seed 0" in ran.stdout
    assert f"the result can't be kept in {attempt.spool}: File too large" in ran.stderr
    assert [result.outcome for result in results(inbox)] == ["Succeeded"]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_trial_is_delivered_as_it_was_planned(tmp_path: Path, warm: Process, inbox: RedisServer) -> None:
    path = write_job(tmp_path)
    attempt = Attempt(tmp_path, warm, inbox.url, next(names), {keys.ENV_INDEX: "1", keys.ENV_CONCURRENT: "2"})
    attempt.start()
    assert attempt.end() == keys.EXIT_OK, attempt.log
    (result,) = results(inbox)
    trial = plan(BenchmarkJob.model_validate_json(path.read_text())).trial(1)
    assert (result.index, result.entry, result.seed, result.trial_id) == (1, "one", trial.seed, trial.id)
    assert (result.outcome, result.attempt, result.job_uid) == ("Succeeded", attempt.name, UID)
    assert result.metrics["accuracy"] > 0.3
    assert result.metrics["train_seconds"] > 0
    assert result.phases is not None
    assert list(result.phases) == ["Starting", "Loading", "Training", "Evaluating", "Timing"]
    assert result.phases["Training"] >= result.metrics["train_seconds"]
    assert sum(result.phases.values()) <= (result.finished_at - result.started_at).total_seconds() + 1
    assert result.metrics["parameters"] == (64 * 256 + 256) + (256 * 256 + 256) + (256 * 10 + 10)
    assert [point.epoch for point in result.curves] == [1]
    assert result.dataset
    assert result.dataset.shape == (1, 8, 8)
    assert result.environment
    assert (result.environment.resources.cpus, result.environment.resources.concurrent_trials) == (1, 2)
    assert "2 trials share the machine" in result.unavailable["energy_joules"]
    assert list((tmp_path / "scratch").iterdir()) == []
    assert isinstance(reports(inbox)[0], Progress)
    assert "epoch 1/1: loss " in attempt.log


def test_the_same_trial_again_has_the_same_quality(tmp_path: Path, warm: Process) -> None:
    write_job(tmp_path)
    attempts = [Attempt(tmp_path, warm, None, next(names)) for _ in range(2)]
    for attempt in attempts:
        attempt.start()
    assert [attempt.end() for attempt in attempts] == [keys.EXIT_OK] * 2
    first, second = (attempt.spooled for attempt in attempts)
    for key in ("accuracy", "parameters", "flops"):
        assert first.metrics[key] == second.metrics[key]
    assert first.curves[0].train_loss == second.curves[0].train_loss


def test_a_fork_in_which_cuda_cannot_start_becomes_a_cold_process(home: Path, tmp_path: Path) -> None:
    """No fork of a machine without a GPU is ever spoilt, so it is said to be."""
    write_job(tmp_path, "persons_models:chatty")
    program = BARE[-1].replace("serve._WARM", "serve._cuda_is_spoilt = lambda: True\nserve._WARM")
    with Process([*BARE[:-1], program], home) as server:
        attempt = Attempt(tmp_path, server, None, next(names))
        attempt.start()
        assert attempt.end() == keys.EXIT_OK, attempt.log
    assert "started as ['-m', 'velodrome_runner'] 1" in attempt.log
    assert attempt.spooled.outcome == "Succeeded"


def test_a_killed_trial_reports_nothing(tmp_path: Path, warm: Process, inbox: RedisServer) -> None:
    attempt = held(tmp_path, warm, inbox.url)
    pid = attempt.start()
    wait_until(lambda: is_training(inbox))
    os.kill(pid, signal.SIGKILL)
    assert warm.event(id=attempt.name, event="exited")["signal"] == signal.SIGKILL
    assert results(inbox) == []
    assert not attempt.spool.exists()


def test_an_interrupted_trial_reports_nothing_and_says_so(tmp_path: Path, warm: Process, inbox: RedisServer) -> None:
    attempt = held(tmp_path, warm, inbox.url)
    pid = attempt.start()
    wait_until(lambda: is_training(inbox))
    os.kill(pid, signal.SIGTERM)
    assert attempt.end() == 128 + signal.SIGTERM
    assert results(inbox) == []
    assert not attempt.spool.exists()


def test_a_redis_that_dies_meanwhile_gets_the_result_when_it_is_back(
    tmp_path: Path, warm: Process, inbox: RedisServer
) -> None:
    attempt = held(tmp_path, warm, inbox.url)
    attempt.start()
    wait_until(lambda: is_training(inbox))
    inbox.kill()
    (tmp_path / "gate").touch()
    wait_until(lambda: "the result is not delivered yet" in attempt.log)
    assert attempt.spooled.outcome == "Succeeded"
    inbox.start()
    assert attempt.end() == keys.EXIT_OK
    assert [result.attempt for result in results(inbox)] == [attempt.name]
    assert not attempt.spool.exists()


def test_a_redis_that_stays_away_leaves_the_result_in_the_spool(tmp_path: Path, warm: Process) -> None:
    write_job(tmp_path)
    url = f"unix://{tmp_path}/nobody.sock"
    attempt = Attempt(tmp_path, warm, url, next(names), {keys.ENV_DEADLINE: "0.2"})
    attempt.start()
    assert attempt.end() == keys.EXIT_UNDELIVERED
    assert "the deadline is over" in attempt.log
    assert attempt.spooled.outcome == "Succeeded"
    assert list((tmp_path / "scratch").iterdir()) == [attempt.spool]


def test_a_result_that_can_be_put_nowhere_is_undelivered(tmp_path: Path, warm: Process) -> None:
    write_job(tmp_path)
    (tmp_path / "scratch").touch()
    attempt = Attempt(tmp_path, warm, None, next(names))
    attempt.start()
    assert attempt.end() == keys.EXIT_UNDELIVERED
    assert f"the result can't be kept in {attempt.spool}" in attempt.log


def test_progress_waits_while_an_inbox_is_full_and_results_do_not(
    tmp_path: Path, warm: Process, inbox: RedisServer
) -> None:
    with contextlib.closing(inbox.client()) as client, client.pipeline() as pipe:
        for _ in range(keys.INBOX_MAXIMUM):
            pipe.rpush(keys.inbox(UID), "x")
        pipe.execute()
    write_job(tmp_path)
    attempt = Attempt(tmp_path, warm, inbox.url, next(names))
    attempt.start()
    assert attempt.end() == keys.EXIT_OK
    with contextlib.closing(inbox.client()) as client:
        assert client.llen(keys.inbox(UID)) == keys.INBOX_MAXIMUM + 1
        newest: Any = client.lindex(keys.inbox(UID), -1)
    assert isinstance(REPORT.validate_json(newest), ResultReport)


@pytest.mark.parametrize(("outcome", "code"), [("Succeeded", keys.EXIT_OK), ("Failed", keys.EXIT_FAILED)])
def test_a_trial_that_has_a_result_is_not_run_again(
    tmp_path: Path, warm: Process, inbox: RedisServer, outcome: str, code: int
) -> None:
    """As cold processes are in pods, and where importing torch would end this one."""
    write_job(tmp_path)
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    with contextlib.closing(inbox.client()) as client:
        client.hset(keys.instructions(UID), "0", outcome)
    attempt = Attempt(tmp_path, warm, inbox.url, next(names))

    def ran(index: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, **attempt.env, keys.ENV_INDEX: index, "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-m", "velodrome_runner"]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)

    reported = ran("0")
    assert reported.returncode == code, reported.stderr
    assert f"trial 0 has an accepted result already ({outcome})" in reported.stdout
    assert reports(inbox) == []
    assert "torch was imported" in ran("1").stderr, "a trial without a result runs"


def test_a_user_that_may_only_append_can_report(tmp_path: Path, warm: Process, inbox: RedisServer) -> None:
    with contextlib.closing(inbox.client()) as client:
        acl = ["on", ">secret", f"%W~{keys.inbox(UID)}", "+rpush", "+hello", "+auth", "+client|setname"]
        client.execute_command("ACL", "SETUSER", "job", "reset", *acl)
    write_job(tmp_path)
    url = inbox.url.replace("unix://", "unix://job:secret@")
    attempt = Attempt(tmp_path, warm, url, next(names))
    attempt.start()
    assert attempt.end() == keys.EXIT_OK, attempt.log
    assert len(results(inbox)) == 1
    assert len(reports(inbox)) > 1


@pytest.mark.parametrize(
    ("model", "code", "reason", "words"),
    [
        ("persons_models:narrow", keys.EXIT_CONFIGURATION, "ModelOutputShape", "10"),
        ("persons_models:raising", keys.EXIT_CONFIGURATION, "ModelFactoryFailed", "no such thing"),
        ("persons_models:missing", keys.EXIT_CONFIGURATION, "ModelNotFound", "missing"),
        ("persons_models:Exploding", keys.EXIT_FAILED, "OutOfMemory", "batchSize"),
    ],
)
def test_a_model_that_is_no_good_is_a_failed_result(
    tmp_path: Path, warm: Process, model: str, code: int, reason: str, words: str
) -> None:
    args: dict[str, Any] = {"gate": "/"} if model.endswith("Exploding") else {}
    write_job(tmp_path, model, **args)
    attempt = Attempt(tmp_path, warm, None, next(names))
    attempt.start()
    assert attempt.end() == code, attempt.log
    result = attempt.spooled
    assert (result.outcome, result.reason) == ("Failed", reason)
    assert words in (result.message or "")
    assert result.log_tail
    assert f"{reason}: " in result.log_tail
    assert ("about to go wrong" in result.log_tail) == model.endswith("raising")


DEEP = next(number for number, line in enumerate(MODELS.splitlines(), 1) if 'table["missing"]' in line)


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        ("run_factory", "ModelFactoryFailed"),
        ("_outputs", "ModelForwardFailed"),
        ("to", "UnexpectedError"),
        ("train", "UnexpectedError"),
        ("measured", "UnexpectedError"),
        ("time_inference", "UnexpectedError"),
        ("model_bytes", "UnexpectedError"),
    ],
)
def test_what_an_entrys_code_raises_deep_inside_is_shown_with_its_place(
    tmp_path: Path, warm: Process, stage: str, reason: str
) -> None:
    write_job(tmp_path, "persons_models:Deep", stage=stage)
    attempt = Attempt(tmp_path, warm, None, next(names))
    attempt.start()
    attempt.end()
    result = attempt.spooled
    assert result.reason == reason
    assert "KeyError: 'missing'" in (result.message or "")
    assert (result.message or "").endswith(f"(at persons_models.py:{DEEP})")
    for log in (attempt.log, result.log_tail or ""):
        assert "Traceback (most recent call last):" in log
        assert f'persons_models.py", line {DEEP}, in look_up' in log


@pytest.mark.parametrize(
    ("model", "reason", "words"),
    [
        ("persons_models:Leaving", "ModelForwardFailed", "SystemExit: I give up"),
        ("persons_models:Unreadable", "ModelForwardFailed", "Mute: Mute"),
    ],
)
def test_a_model_that_ends_the_process_or_has_no_words_is_a_failed_result(
    tmp_path: Path, warm: Process, model: str, reason: str, words: str
) -> None:
    write_job(tmp_path, model, gate="/")
    attempt = Attempt(tmp_path, warm, None, next(names))
    attempt.start()
    attempt.end()
    result = attempt.spooled
    assert result.reason == reason
    assert words in (result.message or "")


def test_a_place_is_given_where_one_figure_alone_fails(tmp_path: Path, warm: Process) -> None:
    write_job(tmp_path, "persons_models:Deep", stage="count_flops")
    attempt = Attempt(tmp_path, warm, None, next(names))
    attempt.start()
    assert attempt.end() == keys.EXIT_OK, attempt.log
    why = attempt.spooled.unavailable["flops"]
    assert why.endswith(f"KeyError: 'missing' (at persons_models.py:{DEEP})")
    assert f'persons_models.py", line {DEEP}, in look_up' in attempt.log


def test_data_that_are_not_there_are_a_failed_result(tmp_path: Path, warm: Process, inbox: RedisServer) -> None:
    write_job(tmp_path, dataset={"name": "CIFAR10", "source": {"path": "nowhere"}})
    attempt = Attempt(tmp_path, warm, inbox.url, next(names))
    attempt.start()
    assert attempt.end() == keys.EXIT_CONFIGURATION
    (result,) = results(inbox)
    assert (result.outcome, result.reason) == ("Failed", "DatasetMissing")
    assert str(tmp_path / "nowhere") in (result.message or "")


def test_orders_that_name_no_trial_report_nothing(tmp_path: Path, warm: Process, inbox: RedisServer) -> None:
    write_job(tmp_path)
    attempt = Attempt(tmp_path, warm, inbox.url, next(names), {keys.ENV_INDEX: "2"})
    attempt.start()
    assert attempt.end() == keys.EXIT_CONFIGURATION
    assert f"{keys.ENV_INDEX} is 2, but there are 2 trials: use 0 to 1" in attempt.log
    assert reports(inbox) == []


@pytest.mark.parametrize(
    ("line", "id_", "words"),
    [
        ("not JSON", None, "no JSON document"),
        ("[]", None, '"id"'),
        ('{"id": "x", "env": {"A": 1}, "log": "/dev/null"}', "x", '"env" must map names to text'),
        ('{"id": "x"}', "x", '"log" must be the path'),
        ('{"id": "x", "log": "/dev/null/log"}', "x", "/dev/null"),
    ],
)
def test_a_line_that_makes_no_sense_is_refused(home: Path, line: str, id_: str | None, words: str) -> None:
    with Process(BARE, home) as server:
        server.say(line)
        refusal = server.event(event="refused")
        assert refusal["id"] == id_
        assert words in refusal["message"]


def test_the_end_of_input_lets_trials_finish(tmp_path: Path, home: Path) -> None:
    # The log is a pipe that is full, so the trial, whose orders are no good, waits before it can say so and end.
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    with open(reader, "rb") as pipe, Process(BARE, home) as server:  # noqa: PTH123 - a descriptor, not a path
        writer = os.open(tmp_path / "log", os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(1024))
        os.close(writer)
        attempt = Attempt(tmp_path, server, None, next(names), {keys.ENV_INDEX: "none"})
        attempt.start()
        server.close()
        assert server.process.poll() is None
        pipe.read()
        assert attempt.end() == keys.EXIT_CONFIGURATION
        assert server.process.wait(PATIENCE) == 0


def has_ended(pidfd: int) -> bool:
    ready, _, _ = select.select([pidfd], [], [], PATIENCE)
    return bool(ready)


@contextlib.contextmanager
def watching(pid: int) -> Iterator[int]:
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def endless(folder: Path, server: Process) -> Attempt:
    """A trial that waits for its job for ever."""
    os.mkfifo(folder / "job.json")
    return Attempt(folder, server, None, next(names))


def test_a_terminated_server_ends_its_trials(tmp_path: Path, home: Path) -> None:
    with Process(BARE, home) as server:
        attempt = endless(tmp_path, server)
        with watching(attempt.start()) as trial:
            server.process.terminate()
            assert has_ended(trial)
        assert server.process.wait(PATIENCE) == 128 + signal.SIGTERM
        assert attempt.end() == 128 + signal.SIGTERM


def test_a_killed_server_takes_its_trials_with_it(tmp_path: Path, home: Path) -> None:
    with Process(BARE, home) as server, watching(endless(tmp_path, server).start()) as trial:
        server.process.kill()
        assert has_ended(trial)


def test_a_server_ends_with_the_process_that_started_it(tmp_path: Path, home: Path) -> None:
    between = (
        "import json, subprocess, sys\n"
        "server = subprocess.Popen(json.loads(sys.argv[1]), stdin=subprocess.PIPE)\n"
        "server.stdin.write(sys.argv[2].encode() + b'\\n')\n"
        "server.stdin.flush()\n"
        "print(json.dumps({'event': 'between', 'pid': server.pid}), flush=True)\n"
        "server.wait()\n"
    )
    os.mkfifo(tmp_path / "job.json")
    order = Attempt(tmp_path, None, None, "x")  # type: ignore[arg-type]
    line = json.dumps({"id": "x", "env": order.env, "log": str(tmp_path / "log")})
    with Process([sys.executable, "-c", between, json.dumps(BARE), line], home) as parent:
        with (
            watching(parent.event(event="between")["pid"]) as server,
            watching(parent.event(event="started")["pid"]) as trial,
        ):
            parent.process.kill()
            assert has_ended(trial)
            assert has_ended(server)
        codes = [event.get("code") for event in parent.ended() if event["event"] == "exited"]
        assert codes == [128 + signal.SIGTERM]


def test_a_wrong_argument_shows_the_usage() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "velodrome_runner", "sevre"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "unknown arguments: sevre" in ran.stderr
    assert keys.ENV_SPEC in ran.stderr


def test_redis_needs_a_password_that_is_right(tmp_path: Path, warm: Process, start_redis: StartRedis) -> None:
    server = start_redis("--requirepass", "secret")
    write_job(tmp_path)
    attempt = Attempt(tmp_path, warm, server.url, next(names), {keys.ENV_DEADLINE: "0.2"})
    attempt.start()
    assert attempt.end() == keys.EXIT_UNDELIVERED
    assert "AuthenticationError" in attempt.log
    with contextlib.closing(redis.Redis.from_url(server.url, password="secret")) as client:
        assert client.dbsize() == 0
