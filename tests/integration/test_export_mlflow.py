"""`velodrome export --mlflow`: real stores of MLflow, a real server, read back with MLflow's own client."""

from __future__ import annotations

import json
import os
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

pytestmark = pytest.mark.timeout(600)
CONFUSION = ((3, 1), (0, 4))
# What reads an experiment back, in a process of its own: `import mlflow` warns, and starts threads.
READ = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
found = {}
for experiment in client.search_experiments():
    for run in client.search_runs([experiment.experiment_id], max_results=1000):
        curves = {key: [[one.step, one.value] for one in client.get_metric_history(run.info.run_id, key)]
                  for key in run.data.metrics}
        files = sorted(one.path for one in client.list_artifacts(run.info.run_id))
        name = f"{experiment.name}:{run.data.tags['velodrome.job']}:{run.info.run_name}"
        assert name not in found or run.data.tags["velodrome.result"] not in found[name]["tags"].values(), name
        found[name + ("" if name not in found else "'")] = dict(
            id=run.info.run_id, status=run.info.status, params=run.data.params, tags=run.data.tags, curves=curves,
            files=files, data=[one.dataset.name for one in run.inputs.dataset_inputs],
            span=[run.info.start_time, run.info.end_time],
        )
print(json.dumps(found))
"""


@pytest.fixture(scope="session")
def redis_binary() -> str:
    return any_redis()


def python(*arguments: str, check: bool = True, **environ: str) -> subprocess.CompletedProcess[str]:
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **quiet, **environ}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def export(redis_server: Any, *arguments: str, check: bool = True, **environ: str) -> str:
    done = python("-m", "velodrome", "export", *arguments, check=check, VELODROME_REDIS_URL=redis_server.url, **environ)
    assert check or done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def read(uri: str, **environ: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(python("-c", READ, uri, **environ).stdout.splitlines()[-1])
    return found


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
    raced: Race, store: Store, redis_server: Any, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path}/runs.db"
    assert "velodrome/digits: added 5, completed 0, already there 0" in export(redis_server, "--mlflow", uri)
    first = read(uri)
    check_whole(first, raced)

    assert "added 0, completed 0, already there 5" in export(redis_server, "--mlflow", uri, "--board", "digits")
    assert read(uri) == first

    store.accept(raced.uid, 1, [raced.record(5)])
    assert "added 1, completed 0, already there 5" in export(redis_server, "--mlflow", uri, "--job", "race")
    later = read(uri)
    assert later["velodrome/digits:race:race"]["status"] == "FINISHED"
    assert later["velodrome/digits:race:race"]["id"] == first["velodrome/digits:race:race"]["id"]
    assert {name: later[name] for name in first if not name.endswith(":race")} == {
        name: run for name, run in first.items() if not name.endswith(":race")
    }


# Stops the process at the N-th call of the client, as a kill would.
CUT = """
import os, sys
from mlflow import MlflowClient
left = [int(sys.argv[1])]
for name in ("create_run", "log_batch", "log_inputs", "log_dict", "set_terminated", "set_tag", "update_run"):
    def counted(*a, _was=getattr(MlflowClient, name), **k):
        left[0] -= 1
        if left[0] < 0:
            os._exit(9)
        return _was(*a, **k)
    setattr(MlflowClient, name, counted)
sys.argv = ["velodrome", "export", "--mlflow", sys.argv[2]]
from velodrome.__main__ import main
main()
"""


def test_a_killed_export_is_completed_in_a_store_of_files(raced: Race, redis_server: Any, tmp_path: Path) -> None:
    uri, files = f"file://{tmp_path}/runs", {"MLFLOW_ALLOW_FILE_STORE": "true"}
    for calls in (2, 4, 9):  # within the job's run, and within trials' runs
        cut = python("-c", CUT, str(calls), uri, check=False, VELODROME_REDIS_URL=redis_server.url, **files)
        assert cut.returncode == 9, cut.stderr
    assert "completed 1" in export(redis_server, "--mlflow", uri, **files)
    whole = read(uri, **files)
    check_whole(whole, raced)
    assert "added 0, completed 0, already there 5" in export(redis_server, "--mlflow", uri, **files)
    assert read(uri, **files) == whole


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
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 400
        while True:
            try:
                with open_directly(f"{url}/health", timeout=5):
                    break
            except OSError:
                assert process.poll() is None and time.monotonic() < end, log.read_text()
                time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


DELETE = """
import sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name("velodrome/digits").experiment_id
if sys.argv[2] == "run":
    found = client.search_runs([experiment], "attributes.run_name = 'cnn/0'")
    client.delete_run(found[0].info.run_id)
else:
    client.delete_experiment(experiment)
"""


@pytest.mark.timeout(900)
def test_a_server_gets_the_race_and_what_people_delete_there_stays_deleted(
    raced: Race, redis_server: Any, server: str
) -> None:
    export(redis_server, "--mlflow", server)
    check_whole(read(server), raced)

    python("-c", DELETE, server, "run")
    said = export(redis_server, "--mlflow", server)
    assert "added 0, completed 0, already there 4, deleted in MLflow and left so 1" in said
    assert "velodrome/digits:race:cnn/0" not in read(server)

    python("-c", DELETE, server, "experiment")
    said = export(redis_server, "--mlflow", server, check=False)
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
    raced: Race, store: Store, redis_server: Any, silent: str
) -> None:
    before = redis_server.contents()
    broken = LoopbackServer(_Broken)
    try:
        said = export(redis_server, "--mlflow", broken.url, check=False)
    finally:
        broken.close()
    assert f"MLflow at {broken.url} can't take the results" in said
    assert "500" in said
    said = export(redis_server, "--mlflow", silent, check=False, MLFLOW_HTTP_REQUEST_TIMEOUT="2")
    assert f"MLflow at {silent} can't take the results" in said
    assert "timed out" in said.lower()
    assert "Traceback" not in said
    assert redis_server.contents() == before


def test_addresses_that_mlflow_refuses_are_told_without_their_password(raced: Race, redis_server: Any) -> None:
    for uri in ("nonsense://u:s3cret@host/x", "postgresql://u:s3cret@127.0.0.1:1/x", "file:///proc/nowhere"):
        said = export(redis_server, "--mlflow", uri, check=False)
        assert "can't take the results" in said and "Traceback" not in said, said
        assert "s3cret" not in said
    assert "--mlflow" in export(redis_server, "--mlflow", " ", check=False)
    assert "it takes no FILE" in export(redis_server, "out.jsonl", "--mlflow", "sqlite:///x.db", check=False)
    assert "digits" in export(redis_server, "--mlflow", "sqlite:///x.db", "--board", "digit", check=False)


def test_without_the_library_only_this_option_fails(raced: Race, redis_server: Any, tmp_path: Path) -> None:
    (tmp_path / "mlflow.py").write_text("raise ImportError('No module named mlflow')\n")
    absent = {"PYTHONPATH": str(tmp_path)}
    said = export(redis_server, "--mlflow", f"sqlite:///{tmp_path}/x.db", check=False, **absent)
    assert "pip install 'velodrome[mlflow]'" in said
    assert '"type":"record"' in export(redis_server, **absent)
