"""Measures visits to a large board beside what MLflow's tracking server does for its first page. Prints the figures.

    python benchmarks/bench_mlflow.py [--entries 1000] [--boards 50] [--jobs 4] [--repeats 5] [--visits 5]

One real Redis holds the boards of `bench_scale.py`. A SQLite file with MLflow's own tables holds the trials of the
large board as `velodrome export --mlflow` writes them, without their curves, and has been ANALYZEd. Both servers are
asked in turns, after one question that does not count. A figure is the median of the CPU seconds of a server's
processes.

- The leaderboard: a visit to the large board by a new tab of Chromium, right after a new job whose reading is kept, and
  another visit.
- MLflow: one request for 25 runs of an experiment, as its page sends it: the newest runs, and those with the best
  accuracy. It ranks runs, and no entries. Its page itself is not counted, and its experiment does not change.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.store.tracking.dbmodels import models
from playwright.sync_api import sync_playwright
from sqlalchemy import create_engine, insert, text

from velodrome import keys
from velodrome.board.kept import keep
from velodrome.bridge.runs import LoggedRun, trial_run
from velodrome.connections.direct import open_directly
from velodrome.machine.leaderboard import free_port
from velodrome.store import Store, open_store

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.bench_idle import OURS, cpu_seconds, served, wait_for
from benchmarks.bench_scale import BOARD, Side, add, fill
from benchmarks.fixtures import redis_server
from tools.screenshot import ARGUMENTS, CHROMIUM

_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
_ORDERS = {"newest": "attributes.start_time DESC", "best": "metrics.`accuracy` DESC"}
_ROWS = 25
_PAGE = 1000

Rows = dict[Any, list[dict[str, Any]]]


def export(store: Store, uri: str) -> tuple[str, int]:
    """Writes the trials of the large board into MLflow's tables. Returns the experiment, and the number of runs."""
    experiment = MlflowClient(tracking_uri=uri).create_experiment("benchmark")
    engine, runs = create_engine(uri), 0
    for job in store.jobs(BOARD):
        for start in range(0, job.trials, _PAGE):
            made = [trial_run(job, record) for record in store.records(job.uid, start, _PAGE)]
            rows = _rows(made, runs, int(experiment))
            runs += len(made)
            with engine.begin() as connection:
                for table, found in rows.items():
                    connection.execute(insert(table), found)
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))
    engine.dispose()
    return experiment, runs


def _rows(made: list[LoggedRun], first: int, experiment: int) -> Rows:
    """The rows of runs, by MLflow's table. Runs count from `first`."""
    rows: Rows = {
        table: [] for table in (models.SqlRun, models.SqlMetric, models.SqlLatestMetric, models.SqlParam, models.SqlTag)
    }
    for number, run in enumerate(made, start=first):
        key = {"run_uuid": f"{number:032x}"}
        rows[models.SqlRun].append(
            {
                **key,
                "name": run.name,
                "source_type": "LOCAL",
                "user_id": "team",
                "status": run.status,
                "start_time": run.started,
                "end_time": run.finished,
                "lifecycle_stage": "active",
                "artifact_uri": f"mlflow-artifacts:/{number}",
                "experiment_id": experiment,
            }
        )
        for point in run.points:
            if not point.key.startswith("epoch/"):
                value = {"key": point.key, "value": point.value, "timestamp": point.at, "step": 0, "is_nan": False}
                rows[models.SqlMetric].append(key | value)
                rows[models.SqlLatestMetric].append(key | value)
        rows[models.SqlParam] += [key | {"key": name, "value": value} for name, value in run.params.items()]
        rows[models.SqlTag] += [key | {"key": name, "value": value} for name, value in run.tags.items()]
    return rows


@contextlib.contextmanager
def tracking_server(uri: str, folder: Path) -> Iterator[tuple[str, int]]:
    """The address of a tracking server of MLflow, and the group of its processes."""
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", uri, "--artifacts-destination", str(folder / "kept")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, start_new_session=True, env={**os.environ, **_QUIET}
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/health")
            yield url, process.pid
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # it has nothing to save
            process.wait()


def group_seconds(group: int) -> float:
    """The CPU seconds that the processes of a group have used so far."""
    found = 0.0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getpgid(int(process.name)) == group:
                found += cpu_seconds(int(process.name))
    return found


def searched(url: str, experiment: str, order: str) -> int:
    """Asks MLflow for a page of runs. Returns the bytes of its answer."""
    asked = {"experiment_ids": [experiment], "max_results": _ROWS, "order_by": [order], "run_view_type": "ACTIVE_ONLY"}
    request = urllib.request.Request(  # noqa: S310 - the server of this run
        f"{url}/api/2.0/mlflow/runs/search",
        data=json.dumps(asked).encode(),
        headers={"Content-Type": "application/json"},
    )
    with open_directly(request, timeout=600) as answer:
        content: bytes = answer.read()
    assert len(json.loads(content)["runs"]) == _ROWS
    return len(content)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1000)
    parser.add_argument("--boards", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--visits", type=int, default=5)
    given = parser.parse_args()
    with (
        redis_server() as url,
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        open_store(url) as store,
    ):
        runs = fill(store, given.entries, given.boards, given.jobs, given.repeats)
        database = f"sqlite:///{folder}/mlflow.db"
        experiment, exported = export(store, database)
        with (
            served(OURS, {keys.ENV_REDIS_URL: url}) as (address, pid),
            tracking_server(database, Path(folder)) as (tracking, group),
        ):
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            page = Side("leaderboard", f"{address}/board?name={BOARD}", "[role=tab]:nth-of-type(2)", pid)
            seconds: dict[str, list[float]] = {kind: [] for kind in _ORDERS}
            size = 0
            page.visit(browser, "start", f"{address}/board?name=board-000")
            for order in _ORDERS.values():
                searched(tracking, experiment, order)
            for number in range(given.visits):
                runs += add(store, given.entries, given.repeats, f"kept-{number}")
                keep(store, BOARD)
                for kind in ("kept", "again"):
                    page.visit(browser, kind)
                for kind, order in _ORDERS.items():
                    before = group_seconds(group)
                    size = searched(tracking, experiment, order)
                    seconds[kind].append(group_seconds(group) - before)
            print(f"{runs:,} runs, {exported:,} of them in MLflow, load {os.getloadavg()[0]:.1f}")
            page.tell()
            for kind, times in seconds.items():
                print(f"{'MLflow':12} {kind:16} {1000 * statistics.median(times):8.0f} ms {size / 1000:8.0f} kB")
            browser.close()


if __name__ == "__main__":
    main()
