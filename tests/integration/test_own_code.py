"""Programs of one's own as the processes that they are: run by `velodrome-runner exec`, collected from a real Redis."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from velodrome import keys
from velodrome.results.records import REPORT, ProgressReport, ResultReport, TrialResult
from velodrome.spec import BenchmarkJob

if TYPE_CHECKING:
    from tests.integration.conftest import RedisServer

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
PASSWORD = hashlib.sha256(b"a job's").hexdigest()
HEAD = """
import os, sys, time, json
from velodrome import report
trial = report.trial()
def dataset():
    trial.dataset("digits", digest="sha256:" + "a" * 64, train_samples=9, validation_samples=1, test_samples=3,
                  shape=[1, 8, 8], classes=["a", "b"])
"""
GOOD = (
    HEAD
    + """
dataset()
for epoch in trial.epochs():
    with trial.training():
        time.sleep(0.01)
    trial.epoch(epoch, train_loss=0.5, samples=10, validation={"accuracy": 0.8})
print("seed", trial.seed)
trial.result({"accuracy": 0.9})
"""
)

IMPOSSIBLE = """
dataset()
with open(trial.path, "a") as file:  # as a program in another language does
    file.write('{"type": "result", "metrics": {"accuracy": 1.7}}\\n')
"""


class Own:
    """One trial of an entry with a command, in a folder of its own."""

    def __init__(self, folder: Path, server: RedisServer, program: str) -> None:
        self.folder, self.server = folder, server
        (folder / "program.py").write_text(program)
        spec = {
            "dataset": {"name": "digits"},
            "budget": {"maxEpochs": 2},
            "entries": [{"name": "own", "command": [sys.executable, str(folder / "program.py")]}],
            "trials": {"repeats": 2, "baseSeed": 40},
        }
        job = BenchmarkJob.model_validate(
            {"apiVersion": keys.API_VERSION, "kind": keys.KIND, "metadata": {"name": "j"}, "spec": spec}
        )
        (folder / "job.json").write_text(job.model_dump_json(by_alias=True))

    def start(
        self, *arguments: str, redis_url: str | None = None, before: Sequence[str] = (), **environ: str
    ) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("VELODROME_")}
        variables = {
            keys.ENV_SPEC: str(self.folder / "job.json"),
            keys.ENV_INDEX: "1",
            keys.ENV_JOB_UID: "uid",
            keys.ENV_ATTEMPT: "a1",
            keys.ENV_SCRATCH: str(self.folder / "scratch"),
            keys.ENV_REDIS_URL: redis_url or self.server.url,
        }
        line = [sys.executable, *before, "-m", "velodrome_runner", *arguments]
        return subprocess.Popen(
            line, env=clean | variables | environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, *arguments: str, before: Sequence[str] = (), **environ: str) -> tuple[int, str]:
        process = self.start(*(arguments or ("exec",)), before=before, **environ)
        output, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, output

    def reports(self) -> list[ProgressReport | ResultReport]:
        found: Any = self.server.client().lrange(keys.inbox("uid"), 0, -1)
        return [REPORT.validate_json(report) for report in found]

    def result(self) -> TrialResult:
        (found,) = [report.result for report in self.reports() if isinstance(report, ResultReport)]
        return found


def test_a_program_gets_its_trial_and_its_result_is_delivered(tmp_path: Path, redis_server: RedisServer) -> None:
    own = Own(tmp_path, redis_server, GOOD)
    code, output = own.run(VELODROME_CPUS="1")
    assert code == keys.EXIT_OK, output
    result = own.result()
    assert (result.outcome, result.seed, result.index, result.entry) == ("Succeeded", 41, 1, "own")
    assert result.metrics["accuracy"] == 0.9
    assert result.metrics["train_seconds"] > 0
    assert [point.epoch for point in result.curves] == [1, 2]
    assert result.environment is not None
    assert result.environment.resources.cpus == 1
    assert result.environment.software.framework == "own code"
    assert "seed 41" in output
    assert not list((tmp_path / "scratch").iterdir())


def test_its_epochs_are_seen_while_it_runs(tmp_path: Path, redis_server: RedisServer) -> None:
    gate = tmp_path / "gate"
    program = (
        HEAD
        + f"""
dataset()
trial.seconds = 1.0
trial.epoch(1, train_loss=0.5, samples=10)
while not os.path.exists({str(gate)!r}):
    time.sleep(0.01)
trial.result({{"accuracy": 0.9}})
"""
    )
    own = Own(tmp_path, redis_server, program)
    process = own.start("exec")
    end = time.monotonic() + PATIENCE
    while not any(isinstance(report, ProgressReport) and report.progress.point for report in own.reports()):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.05)
    gate.touch()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == keys.EXIT_OK


def test_it_learns_nothing_of_redis(tmp_path: Path, redis_server: RedisServer) -> None:
    own = Own(tmp_path, redis_server, HEAD + f"print('seen', os.environ.get({keys.ENV_REDIS_URL!r}))\nsys.exit(4)\n")
    code, output = own.run()
    assert code == keys.EXIT_FAILED
    assert "seen None" in output
    result = own.result()
    assert result.reason == "CommandFailed"
    assert "exit code 4" in str(result.message)
    assert "seen None" in str(result.log_tail)


# Looks for a password of Redis in all that the kernel shows of the process above, and writes down where it found one.
THIEF = """
import os, re, sys
from pathlib import Path

PASSWORD = re.compile(rb"//[^:@/\\s\\0]+:[0-9a-f]{64}@")
above = Path(f"/proc/{os.getppid()}")

def memory():
    with (above / "mem").open("rb", buffering=0) as file:
        for line in (above / "maps").read_text().splitlines():
            span, rights = line.split()[:2]
            start, end = (int(part, 16) for part in span.split("-"))
            if rights.startswith("rw"):
                file.seek(start)
                yield file.read(end - start)

def files():
    for file in (above / "fd").iterdir():
        yield os.readlink(file).encode()

places = {
    "own environment": lambda: [Path("/proc/self/environ").read_bytes()],
    "environment": lambda: [(above / "environ").read_bytes()],
    "command line": lambda: [(above / "cmdline").read_bytes()],
    "memory": memory,
    "files": files,
}
for place, read in places.items():
    try:
        print("thief", place, any(PASSWORD.search(piece) for piece in read()))
    except OSError as error:
        print("thief", place, "refused", error.strerror)
"""
# Becomes a program as an ordinary user runs it: without root's right to see into every process.
ORDINARY = """
import ctypes, os, sys
for capability in range(64):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.fixture
def secret_url(redis_server: RedisServer) -> str:
    """The URL of a Redis user with a password."""
    with contextlib.closing(redis_server.client()) as client:
        client.execute_command("ACL", "SETUSER", "runner", "on", f">{PASSWORD}", "~*", "+@all")
    return redis_server.url.replace("unix://", f"unix://runner:{PASSWORD}@")


def test_it_finds_no_password_of_redis(tmp_path: Path, redis_server: RedisServer, secret_url: str) -> None:
    own = Own(tmp_path, redis_server, THIEF + GOOD)
    variables = {keys.ENV_REDIS_URL: secret_url, keys.ENV_PUSHGATEWAY: secret_url.replace("unix", "http")}
    code, output = own.run("exec", before=("-c", ORDINARY), **variables)
    assert code == keys.EXIT_OK, output
    assert own.result().outcome == "Succeeded"
    found = [line for line in output.splitlines() if line.startswith("thief")]
    assert found == [
        "thief own environment False",
        "thief environment refused Permission denied",
        "thief command line False",
        "thief memory refused Permission denied",
        "thief files refused Permission denied",
    ]


def test_the_same_thief_finds_it_in_a_process_that_keeps_nothing_from_it(tmp_path: Path, secret_url: str) -> None:
    (tmp_path / "thief.py").write_text(THIEF)
    careless = "import os, subprocess, sys; subprocess.run([sys.executable, sys.argv[1]])"
    line = [sys.executable, "-c", ORDINARY, "-c", careless, str(tmp_path / "thief.py")]
    environ = os.environ | {keys.ENV_REDIS_URL: secret_url}
    done = subprocess.run(line, env=environ, capture_output=True, text=True, check=True, timeout=PATIENCE)
    for place in ("own environment", "environment", "memory"):
        assert f"thief {place} True" in done.stdout, done.stdout + done.stderr


def test_no_environment_of_the_runner_has_the_password(
    tmp_path: Path, redis_server: RedisServer, secret_url: str
) -> None:
    """Even root, who may look, finds none in what the runner was started with."""
    seen = "import os; print('environ', open(f'/proc/{os.getppid()}/environ', 'rb').read())\n"
    own = Own(tmp_path, redis_server, seen + GOOD)
    code, output = own.run("exec", **{keys.ENV_REDIS_URL: secret_url})
    if os.geteuid() != 0:
        assert "PermissionError" in output
        return
    assert code == keys.EXIT_OK, output
    assert keys.ENV_SPEC in output
    assert PASSWORD not in output


@pytest.mark.parametrize(
    ("program", "reason", "code"),
    [
        ("import os; os.kill(os.getpid(), 9)", "CommandKilled", keys.EXIT_FAILED),
        ("", "ResultMissing", keys.EXIT_CONFIGURATION),
        (HEAD + "trial.result({'accuracy': 0.5})", "ConditionsMissing", keys.EXIT_CONFIGURATION),
        (HEAD + "open(trial.path, 'a').write('junk')", "InvalidReport", keys.EXIT_CONFIGURATION),
        (HEAD + "dataset(); trial.result({'f1': 0.5})", "MetricsMissing", keys.EXIT_CONFIGURATION),
        (HEAD + "dataset(); trial.result({'accuracy': float('nan')})", "CommandFailed", keys.EXIT_FAILED),
        (HEAD + "dataset(); trial.result({'accuracy': 1.7})", "CommandFailed", keys.EXIT_FAILED),
        (HEAD + IMPOSSIBLE, "ImpossibleValue", keys.EXIT_CONFIGURATION),
    ],
)
def test_what_goes_wrong_is_the_result(
    tmp_path: Path, redis_server: RedisServer, program: str, reason: str, code: int
) -> None:
    own = Own(tmp_path, redis_server, program)
    ended, output = own.run()
    assert own.result().reason == reason, output
    assert ended == code


def test_a_value_that_can_not_be_is_reported_with_its_field(tmp_path: Path, redis_server: RedisServer) -> None:
    for program in (HEAD + IMPOSSIBLE, HEAD + "dataset(); trial.result({'accuracy': 1.7})"):
        redis_server.client().flushall()
        own = Own(tmp_path, redis_server, program)
        own.run()
        assert "metrics.accuracy: 1.7 is not between 0 and 1" in str(own.result().message)


def test_a_command_that_is_not_there_is_named(tmp_path: Path, redis_server: RedisServer) -> None:
    own = Own(tmp_path, redis_server, GOOD)
    code, _ = own.run("exec", "--", "no-such-program")
    assert code == keys.EXIT_CONFIGURATION
    assert own.result().reason == "CommandNotFound"


def test_sigterm_ends_the_program_and_reports_nothing(tmp_path: Path, redis_server: RedisServer) -> None:
    marker = tmp_path / "ended"
    program = f"""
import pathlib, signal, sys, time
def leave(*_):
    pathlib.Path({str(marker)!r}).touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
time.sleep(600)
"""
    own = Own(tmp_path, redis_server, program)
    process = own.start("exec")
    assert process.stdout is not None
    while "ready" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM
    assert marker.exists()
    assert not [report for report in own.reports() if isinstance(report, ResultReport)]


def test_a_result_waits_on_the_disk_while_redis_is_away(tmp_path: Path, redis_server: RedisServer) -> None:
    own = Own(tmp_path, redis_server, GOOD)
    environ = {keys.ENV_DEADLINE: "0.5"}
    process = own.start("exec", redis_url="redis://127.0.0.1:1/0", **environ)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == keys.EXIT_UNDELIVERED, output
    (spooled,) = (tmp_path / "scratch").glob("result-*.json")
    assert json.loads(spooled.read_text())["result"]["metrics"]["accuracy"] == 0.9


def race(example: str, folder: Path, environ: dict[str, str]) -> dict[str, Any]:
    """Races an example's file, shortened, by the command line; its results."""
    document = yaml.safe_load((ROOT / f"deploy/examples/{example}.yaml").read_text(encoding="utf-8"))
    document["spec"]["trials"] = {"repeats": 2}
    document["spec"]["budget"] = {"maxEpochs": 8}
    (folder / "race.yaml").write_text(yaml.safe_dump(document))
    whole = os.environ | {"VELODROME_HOME": str(folder / "home")} | environ
    line = [sys.executable, "-m", "velodrome"]
    done = subprocess.run(
        [*line, "run", str(folder / "race.yaml")],
        env=whole, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    shown = subprocess.run(
        [*line, "results", "--json"], env=whole, cwd=ROOT, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def ranked(found: dict[str, Any], objective: str) -> dict[str, int]:
    """How many values rank each entry."""
    (part,) = [part for part in found["objectives"] if part["name"] == objective]
    assert not part["unranked"]
    return {row["entry"]: row["n"] for row in part["ranked"]}


def test_the_numpy_example_is_ranked_beside_velodromes_own_model(tmp_path: Path) -> None:
    found = race("numpy", tmp_path, {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})
    assert ranked(found, "accuracy") == {"numpy": 2, "mlp": 2}
    assert ranked(found, "size").keys() == {"numpy", "mlp"}


@pytest.fixture(scope="module")
def tensorflow() -> Path:
    """An environment with what the example's requirements name, and nothing of Velodrome's; kept between runs."""
    wanted = ROOT / "deploy/examples/tensorflow/requirements.txt"
    key = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / f"velodrome-tests/tensorflow-{key}"
    if not (home / "complete").exists():
        uv = str(ROOT / "tools/uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)], check=True)
        python = str(home / "bin/python")
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "-r", str(wanted)], check=True)
        (home / "complete").touch()
    return home


@pytest.mark.timeout(900)  # TensorFlow is installed at first
def test_two_frameworks_race_under_the_same_rules(tmp_path: Path, tensorflow: Path) -> None:
    path = f"{tensorflow / 'bin'}:{os.environ['PATH']}"
    found = race("tensorflow", tmp_path, {"PATH": path, "PYTHONPATH": str(ROOT / "core")})
    assert ranked(found, "accuracy") == {"keras-cnn": 2, "torch-cnn": 2}
    (size,) = [part for part in found["objectives"] if part["name"] == "size"]
    means = {row["mean"] for row in size["ranked"]}
    assert len(means) == 1, "the same network has the same number of parameters in both"
