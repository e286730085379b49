"""`velodrome export --mlflow`: real stores of MLflow, a real server, read back with MLflow's own client."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Race, any_redis
from tests.loopback import LoopbackServer
from velodrome.connections.direct import open_directly
from velodrome.store import Store

pytestmark = pytest.mark.timeout(900)
CONFUSION = ((3, 1), (0, 4))
# A process that has imported MLflow once, which takes seconds, and does what a line of JSON asks: `velodrome`, which
# may be killed at its N-th call of MLflow's client, or the reading of all that a store of MLflow's has.
DRIVER = """
import io, json, os, sys
import mlflow
from mlflow import MlflowClient
from velodrome.__main__ import main

CALLS = ("create_run", "log_batch", "log_inputs", "log_dict", "set_terminated", "set_tag", "update_run")
out = sys.stdout

def velodrome(arguments):
    sys.argv = ["velodrome", *arguments]
    sys.stdout = sys.stderr = said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    code = 0
    try:
        main()
    except SystemExit as error:
        code = error.code or 0
    finally:
        sys.stdout, sys.stderr = out, sys.__stderr__
    return [code, said.buffer.getvalue().decode()]

def killed(arguments, left):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    calls = [left]
    for name in CALLS:
        def counted(*a, _was=getattr(MlflowClient, name), **k):
            calls[0] -= 1
            if calls[0] < 0:
                os.kill(os.getpid(), 9)
            return _was(*a, **k)
        setattr(MlflowClient, name, counted)
    velodrome(arguments)
    os._exit(0)

def read(uri):
    client, found = MlflowClient(uri), {}
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id], max_results=1000):
            name = f"{experiment.name}:{run.data.tags['velodrome.job']}:{run.info.run_name}"
            assert name not in found, name
            found[name] = dict(
                id=run.info.run_id, status=run.info.status, params=run.data.params, tags=run.data.tags,
                curves={key: [[one.step, one.value] for one in client.get_metric_history(run.info.run_id, key)]
                        for key in run.data.metrics},
                files=sorted(one.path for one in client.list_artifacts(run.info.run_id)),
                data=[one.dataset.name for one in run.inputs.dataset_inputs],
                span=[run.info.start_time, run.info.end_time],
            )
    return found

def delete(uri, run):
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("velodrome/digits").experiment_id
    if run is None:
        return client.delete_experiment(experiment)
    (found,) = client.search_runs([experiment], f"attributes.run_name = '{run}'")
    client.delete_run(found.info.run_id)

for line in sys.stdin:
    name, arguments, environ = json.loads(line)
    os.environ.update(environ)
    answer = globals()[name](*arguments)
    print(json.dumps(answer), file=out, flush=True)
"""


@pytest.fixture(scope="session")
def redis_binary() -> str:
    return any_redis()


QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "NO_PROXY": "127.0.0.1"}


class Driver:
    """The process, and what it answers."""

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env={**os.environ, **QUIET}, cwd=folder,
        )  # fmt: skip
        self.environ: dict[str, str] = {}

    def ask(self, name: str, *arguments: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, arguments, self.environ]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._log.seek(0)
            raise AssertionError(self._log.read())
        return json.loads(answer)

    def export(self, *arguments: str, fails: bool = False) -> str:
        code, said = self.ask("velodrome", ["export", *arguments])
        assert bool(code) == fails, said
        return str(said)

    def read(self, uri: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.ask("read", uri)
        return found

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            assert pipe is not None
            pipe.close()
        self._process.wait(30)


@pytest.fixture(scope="module")
def _driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    made = Driver(tmp_path_factory.mktemp("driver"))
    yield made
    made.close()


@pytest.fixture
def driver(_driver: Driver, redis_server: Any) -> Driver:
    _driver.environ = {"VELODROME_REDIS_URL": redis_server.url, "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
    return _driver


@pytest.fixture
def raced(store: Store) -> Race:
    """A race of six trials, five with results: one failed, and one has a confusion matrix."""
    race = Race()
    store.register(race.info)
    records = [race.record(index) for index in range(4)] + [race.record(4, failed="LossNotFinite")]
    result = records[0].result
    facts = result.dataset
    assert facts is not None
    result = result.model_copy(
        update={"confusion": CONFUSION, "dataset": facts.model_copy(update={"classes": ("cat", "dog")})}
    )
    records[0] = records[0].model_copy(update={"result": result})
    store.accept(race.uid, len(records), records)
    return race


def check_whole(found: Mapping[str, Mapping[str, Any]], race: Race) -> None:
    assert set(found) == {
        f"velodrome/digits:race:{name}" for name in ("race", "cnn/0", "mlp/0", "gru/0", "cnn/1", "mlp/1")
    }
    parent, trial = found["velodrome/digits:race:race"], found["velodrome/digits:race:cnn/0"]
    assert parent["status"] == "RUNNING"
    assert parent["files"] == ["job.json"]
    assert found["velodrome/digits:race:mlp/1"]["status"] == "FAILED"
    assert trial["status"] == "FINISHED"
    assert trial["tags"]["mlflow.parentRunId"] == parent["id"]
    assert trial["params"]["entry"] == "cnn"
    assert trial["params"]["model.name"] == "velodrome/mlp"
    assert trial["curves"]["epoch/train_loss"] == [[1, pytest.approx(1 / 3)], [2, pytest.approx(1 / 6)]]
    assert trial["curves"]["accuracy"] == [[0, race.record(0).result.metrics["accuracy"]]]
    assert trial["files"] == ["confusion.json", "record.json"]
    assert trial["data"] == ["digits"]
    assert trial["span"][1] - trial["span"][0] == 60_000


def test_a_database_gets_all_of_a_race_and_a_repetition_adds_nothing(
    raced: Race, store: Store, driver: Driver, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path}/runs.db"
    said = driver.export("--mlflow", uri)
    assert "velodrome/digits: added 5, completed 0, already there 0" in said
    files = Path(said.partition("Files: ")[2].strip())
    assert sorted(one.name for one in files.glob("*/artifacts/record.json")) == ["record.json"] * 5
    first = driver.read(uri)
    check_whole(first, raced)

    assert "added 0, completed 0, already there 5" in driver.export("--mlflow", uri, "--board", "digits")
    assert driver.read(uri) == first

    store.accept(raced.uid, 1, [raced.record(5)])
    assert "added 1, completed 0, already there 5" in driver.export("--mlflow", uri, "--job", "race")
    later = driver.read(uri)
    parent = "velodrome/digits:race:race"
    assert later[parent]["status"] == "FINISHED"
    assert later[parent]["id"] == first[parent]["id"]
    assert {name: run for name, run in later.items() if name in first and name != parent} == {
        name: run for name, run in first.items() if name != parent
    }


def test_a_killed_export_is_completed_in_a_store_of_files(raced: Race, driver: Driver, tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/runs"
    driver.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    for calls in (2, 4, 9):  # within the job's run, and within trials' runs
        assert driver.ask("killed", ["export", "--mlflow", uri], calls) == -9
    assert "completed 1" in driver.export("--mlflow", uri)
    whole = driver.read(uri)
    check_whole(whole, raced)
    assert "added 0, completed 0, already there 5" in driver.export("--mlflow", uri)
    assert driver.read(uri) == whole


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A tracking server of MLflow on the loopback interface."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    log = tmp_path / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
             "--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", f"{tmp_path}/kept"],
            stdout=stream, stderr=stream, cwd=tmp_path, start_new_session=True,
            env={**os.environ, **QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 500
        while True:
            try:
                with open_directly(f"{url}/health", timeout=5):
                    break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # it has nothing to save, and workers that a SIGTERM may outlive
        process.wait()


def test_a_server_gets_the_race_and_what_people_delete_there_stays_deleted(
    raced: Race, driver: Driver, server: str
) -> None:
    driver.export("--mlflow", server)
    check_whole(driver.read(server), raced)

    driver.ask("delete", server, "cnn/0")
    said = driver.export("--mlflow", server)
    assert "added 0, completed 0, already there 4, deleted in MLflow and left so 1" in said
    assert "velodrome/digits:race:cnn/0" not in driver.read(server)

    driver.ask("delete", server, None)
    said = driver.export("--mlflow", server, fails=True)
    assert "velodrome/digits" in said
    assert "mlflow experiments restore" in said


class _Broken(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(500)
        self.end_headers()
        self.wfile.write(b"no room")

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        pass


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_server_that_fails_or_is_silent_is_told_and_results_stay(
    raced: Race, driver: Driver, redis_server: Any, silent: str
) -> None:
    before = redis_server.contents()
    driver.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "2"
    broken = LoopbackServer(_Broken)
    try:
        said = driver.export("--mlflow", broken.url, fails=True)
    finally:
        broken.close()
    assert f"MLflow at {broken.url} can't take the results" in said
    assert "500" in said
    said = driver.export("--mlflow", silent, fails=True)
    assert f"MLflow at {silent} can't take the results" in said
    assert "timed out" in said.lower()
    assert "Traceback" not in said
    assert redis_server.contents() == before


def test_addresses_that_mlflow_refuses_are_told_without_their_password(raced: Race, driver: Driver) -> None:
    for uri in ("nonsense://u:s3cret@host/x", "postgresql://u:s3cret@127.0.0.1:1/x", "file:///proc/nowhere"):
        said = driver.export("--mlflow", uri, fails=True)
        assert "can't take the results" in said, said
        assert "Traceback" not in said
        assert "s3cret" not in said
    assert "--mlflow" in driver.export("--mlflow", " ", fails=True)
    assert "it takes no FILE" in driver.export("out.jsonl", "--mlflow", "sqlite:///x.db", fails=True)
    assert "digits" in driver.export("--mlflow", "sqlite:///x.db", "--board", "digit", fails=True)


def test_without_the_library_only_this_option_fails(raced: Race, redis_server: Any, tmp_path: Path) -> None:
    (tmp_path / "mlflow.py").write_text("raise ImportError('No module named mlflow')\n")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "VELODROME_REDIS_URL": redis_server.url}

    def export(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "velodrome", "export", *arguments]
        return subprocess.run(line, env=environ, capture_output=True, text=True, timeout=200, check=False)

    refused, written = export("--mlflow", f"sqlite:///{tmp_path}/x.db"), export()
    assert refused.returncode == 3
    assert "pip install 'velodrome[mlflow]'" in refused.stderr
    assert '"type":"record"' in written.stdout
