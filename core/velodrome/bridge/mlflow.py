"""Writes results to MLflow: the only module that knows its library, which it imports when it is asked to.

An export may be killed and repeated. A run says by its tags which result it is of, and the last tag that is written
says that all of it is there. So a repetition leaves what is whole, and completes the rest. Nothing is deleted.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from velodrome.bridge.runs import (
    DIGEST,
    INDEX,
    JOB_UID,
    PARENT,
    RESULT,
    SUPERSEDED,
    LoggedData,
    LoggedPoint,
    LoggedRun,
    experiment_name,
    job_run,
    trial_run,
)
from velodrome.errors import BridgeFailed, LocalError, VelodromeError
from velodrome.store import Reader
from velodrome.text import line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as Kept

    from velodrome.results.records import JobInfo

# MLflow's own defaults retry a server that is away for minutes, and send its maker what was called.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_MOST_METRICS, _MOST_PARAMS = 500, 100  # of one request
_PAGE = 100
_SEARCHED = 1000


@dataclass(slots=True)
class Exported:
    """What an export did: how many trials' runs it added, completed, and found as they are, or deleted in MLflow.

    `artifacts` are the places of the experiments' files, as MLflow names them.
    """

    experiments: list[str] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    jobs: int = 0
    added: int = 0
    completed: int = 0
    there: int = 0
    deleted: int = 0


def export_runs(store: Reader, uri: str, jobs: Sequence[JobInfo], note: Callable[[Exported], None]) -> Exported:
    """Writes the jobs and the results that they have to MLflow. `note` is told the state after each job.

    Raises:
        LocalError: MLflow's library is not installed.
        BridgeFailed: MLflow refuses or does not answer. What was written stays, and a repetition carries on.
        As the store does.
    """
    done = Exported()
    with _explained(uri):
        client = _client(uri)
        boards = sorted({job.board for job in jobs})
        experiments = {board: _experiment(client, board) for board in boards}  # all, before anything is written
        for board in boards:
            experiments[board] = experiments[board] or client.create_experiment(experiment_name(board))
            done.experiments.append(experiment_name(board))
            done.artifacts.append(shown(str(client.get_experiment(str(experiments[board])).artifact_location)))
        for job in reversed(jobs):
            _export_job(client, store, str(experiments[job.board]), job, done)
            done.jobs += 1
            note(done)
    return done


def _client(uri: str) -> MlflowClient:
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise LocalError(
            f"MLflow's library can't be imported ({line(error)}): pip install 'velodrome[mlflow]'"
        ) from error
    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(uri)


def _experiment(client: MlflowClient, board: str) -> str | None:
    """The id of the board's experiment, or None if MLflow has none."""
    found = client.get_experiment_by_name(experiment_name(board))
    if found is None:
        return None
    if found.lifecycle_stage != "active":
        raise BridgeFailed(
            f"MLflow has the experiment {experiment_name(board)} among the deleted ones: restore it with "
            f"`mlflow experiments restore --experiment-id {found.experiment_id}`, or remove it for good with "
            f"`mlflow gc --experiment-ids {found.experiment_id}`. Nothing was written"
        )
    return str(found.experiment_id)


def _export_job(client: MlflowClient, store: Reader, experiment: str, job: JobInfo, done: Exported) -> None:
    kept = list(_kept_runs(client, experiment, job.uid))
    trials = {(run.data.tags[INDEX], run.data.tags.get(RESULT)): run for run in kept if INDEX in run.data.tags}
    parent = next((run for run in kept if INDEX not in run.data.tags), None)
    whole = job_run(job, store.result_counts([job.uid])[0])
    parent_id = _begin(client, experiment, whole) if parent is None else str(parent.info.run_id)
    if parent is None or parent.info.lifecycle_stage == "active":
        _tell(client, parent_id, whole, parent)
    for start in range(0, job.trials, _PAGE):
        for record in store.records(job.uid, start, _PAGE):
            run = trial_run(job, record)
            run = replace(run, tags={**run.tags, PARENT: parent_id})
            _export_trial(client, experiment, run, trials, done)


def _export_trial(
    client: MlflowClient, experiment: str, run: LoggedRun, kept: Mapping[tuple[str, str | None], Kept], done: Exported
) -> None:
    index = run.tags[INDEX]
    there = kept.get((index, run.tags[RESULT]))
    if there is not None and there.info.lifecycle_stage != "active":
        done.deleted += 1
        return
    if there is not None and _is_whole(there, run):
        done.there += 1
        return
    run_id = _begin(client, experiment, run) if there is None else str(there.info.run_id)
    _tell(client, run_id, run, there)
    for (other, result), old in kept.items():
        if other == index and result != run.tags[RESULT] and old.info.lifecycle_stage == "active":
            client.set_tag(old.info.run_id, SUPERSEDED, run_id)
    if there is None:
        done.added += 1
    else:
        done.completed += 1


def _begin(client: MlflowClient, experiment: str, run: LoggedRun) -> str:
    """A run that has begun, with the tags by which it is found again."""
    begun = client.create_run(experiment, start_time=run.started, tags=dict(run.tags), run_name=run.name)
    return str(begun.info.run_id)


def _is_whole(kept: Kept, run: LoggedRun) -> bool:
    return bool(kept.data.tags.get(DIGEST) == run.digest)


def _tell(client: MlflowClient, run_id: str, run: LoggedRun, kept: Kept | None) -> None:
    """Writes what the run lacks, and last that it is whole. `kept` is the run as MLflow has it, None if it is new."""
    from mlflow.entities import Metric, Param, RunTag

    if kept is not None and _is_whole(kept, run):
        return
    params = run.params if kept is None else {name: run.params[name] for name in run.params.keys() - kept.data.params}
    for some in _batches(params.items(), _MOST_PARAMS):
        client.log_batch(run_id, params=[Param(name, value) for name, value in some])
    for points in _batches(_missing(client, run_id, run, kept), _MOST_METRICS):
        client.log_batch(run_id, metrics=[Metric(one.key, one.value, one.at, one.step) for one in points])
    if run.data is not None and (kept is None or kept.inputs is None or not kept.inputs.dataset_inputs):
        client.log_inputs(run_id, [_input(run.data)])
    for name, document in run.documents.items():
        client.log_dict(run_id, document, name)
    if kept is not None:
        client.log_batch(run_id, tags=[RunTag(name, value) for name, value in run.tags.items()])
    if run.status == "RUNNING":
        client.update_run(run_id, status=run.status)
    else:
        client.set_terminated(run_id, run.status, run.finished)
    client.set_tag(run_id, DIGEST, run.digest)


def _missing(client: MlflowClient, run_id: str, run: LoggedRun, kept: Kept | None) -> Iterator[LoggedPoint]:
    """The points that MLflow does not have yet: some stores would keep a second copy."""
    begun = () if kept is None else kept.data.metrics
    there = {
        LoggedPoint(one.key, one.value, one.timestamp, one.step)
        for key in sorted({point.key for point in run.points}.intersection(begun))
        for one in client.get_metric_history(run_id, key)
    }
    return (point for point in run.points if point not in there)


def _input(data: LoggedData) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(data.name, data.digest, "velodrome", data.source, profile=data.profile)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _kept_runs(client: MlflowClient, experiment: str, uid: str) -> Iterator[Kept]:
    """Every run of the job in MLflow, also the deleted ones."""
    from mlflow.entities import ViewType

    token = None
    while True:
        found = client.search_runs(
            [experiment], f"tags.`{JOB_UID}` = '{uid}'", ViewType.ALL, _SEARCHED, page_token=token
        )
        yield from found
        token = found.token
        if not token:
            return


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Whatever MLflow, its database or its storage of artifacts raises becomes one error, without passwords."""
    try:
        yield
    except VelodromeError:
        raise
    except Exception as error:
        words = line(_without_password(str(error) or type(error).__name__, uri), 600)
        raise BridgeFailed(
            f"MLflow at {shown(uri)} can't take the results: {words}\n  What was written is kept, and the same command "
            "carries on with the rest."
        ) from error


def shown(uri: str) -> str:
    """The URI without its password, on one line."""
    return line(_without_password(uri, uri), 300)


def _without_password(text: str, uri: str) -> str:
    try:
        password = urlsplit(uri).password
    except ValueError:
        password = None
    for secret in {password, unquote(password or "")} - {None, ""}:
        text = text.replace(str(secret), "***")
    return text
