"""One trial as a process: from its instructions to a delivered result and an exit code."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from velodrome import keys
from velodrome.errors import ConfigurationError, TrialFailed
from velodrome.own_code import config_code
from velodrome.plan import Plan, Trial, times_inference
from velodrome.results.bounds import TEXT_LIMIT
from velodrome.results.records import TrialResult
from velodrome_runner import causes, interruption
from velodrome_runner.artifacts import check_writable
from velodrome_runner.checkpoints import forget
from velodrome_runner.data.fetching import FULL
from velodrome_runner.instructions import stopping
from velodrome_runner.live import pusher
from velodrome_runner.log import Tail, complain, first_line, words
from velodrome_runner.measuring import Measured, measure, own_module
from velodrome_runner.memory import ran_out
from velodrome_runner.publish import Publisher, connect
from velodrome_runner.ranks import PeerLost
from velodrome_runner.reporting import Failure, Reporter, exit_code, failed, thinned, who
from velodrome_runner.settings import Settings
from velodrome_runner.variants import own_folder


def run(
    settings: Settings,
    plan: Plan,
    trial: Trial,
    *,
    threads: int,
    tail: Tail,
    wall: Callable[[], float] = time.time,
) -> int:
    """Runs the trial, reports it, and returns the exit code of `velodrome.keys`.

    Every error in the trial becomes its result.
    """
    started, code = wall(), config_code(trial.config)
    client = None if settings.redis_url is None else connect(settings.redis_url, settings.login)
    searching = trial.config.searched is not None
    with (
        own_folder(trial.config),
        Publisher(client, settings.job_uid, settings.report_key) as publisher,
        pusher(settings, plan, trial) as live,
        stopping(settings, wanted=searching) as orders,
    ):
        reporter = Reporter(trial, settings, publisher, live, wall, orders.check)
        failure: Failure | None = None
        reporter("Starting", None)
        try:
            if plan.job.spec.artifacts is not None and settings.ranks.leads:
                check_writable(settings.kept(trial.index))
            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            measured = measure(
                trial,
                settings,
                threads=threads,
                device=device,
                on_phase=reporter,
                timed=times_inference(plan.job),
                artifacts=plan.job.spec.artifacts,
            )
            if measured is None:
                return keys.EXIT_OK
            result = _succeeded(measured, who(trial, settings, code, started, wall()))
            interruption.check()
        except PeerLost as error:
            complain(f"{error.reason}: {error}")
            return keys.EXIT_PEER_LOST
        # Whatever a model, a data set or torch raises is this trial's result; a model may even end the process.
        except (Exception, SystemExit) as error:
            interruption.check()
            failure = explain(error).at(causes.record(error, own_module(trial.config)))
            complain(f"{failure.reason}: {failure.message}")
            points = reporter.points if searching else ()
            result = failed(failure, tail, who(trial, settings, code, started, wall()), points)
        live.end()
        result = result.model_copy(update={"phases": reporter.phases()})
        delivered = publisher.deliver(result, settings.spool, deadline=settings.deadline)
    if delivered:
        forget(settings.kept(trial.index))
    return exit_code(failure, delivered=delivered)


def explain(error: BaseException) -> Failure:
    """The reason for the trial's record, from its exception."""
    if isinstance(error, ConfigurationError):
        return Failure(error.reason, words(error), final=True)
    if isinstance(error, TrialFailed):
        return Failure(error.reason, words(error))
    if ran_out(error):
        return Failure(
            "OutOfMemory", f"memory ran out: use a smaller training.batchSize or model ({first_line(error)})"
        )
    if isinstance(error, OSError) and error.errno in FULL:
        place = f" in {error.filename}" if error.filename else ""
        return Failure("OutOfDisk", f"the disk is full{place}: make room there ({error.strerror})")
    if isinstance(error, RuntimeError) and "deterministic" in words(error):
        return Failure(
            "DeterminismUnsupported",
            f"an operation of this model has no deterministic form: set training.deterministic to false "
            f"({first_line(error)})",
            final=True,
        )
    return Failure("UnexpectedError", f"{type(error).__name__}: {first_line(error)}")


def _succeeded(measured: Measured, who: dict[str, object]) -> TrialResult:
    trained = measured.trained
    return TrialResult.model_validate(
        who
        | {
            "outcome": "Succeeded",
            "metrics": measured.metrics,
            "unavailable": {key: why[:TEXT_LIMIT] for key, why in measured.unavailable.items()},
            "confusion": measured.confusion,
            "scores": measured.scores,
            "curves": thinned(trained.curves, trained.best_epoch),
            "dataset": measured.dataset,
            "environment": measured.environment,
            "held": measured.held,
            "optimized": measured.optimized,
            "checkpoints": measured.checkpoints,
            "artifacts": measured.files or None,
            "epochs": trained.epochs,
            "best_epoch": trained.best_epoch,
            "stopped_by": trained.stopped_by,
        }
    )
