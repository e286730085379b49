"""One trial as a process: from its orders to a delivered result and an exit code."""

from __future__ import annotations

import errno
import math
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from velodrome import keys
from velodrome.errors import ConfigurationError, TrialFailed, VelodromeError
from velodrome.plan import Trial, plan
from velodrome.results import LOG_TAIL_LIMIT, EpochPoint, Phase, Progress, TrialResult, utc
from velodrome.spec import parse_jobs
from velodrome_runner.log import Tail, complain, say
from velodrome_runner.measuring import Measured, measure
from velodrome_runner.publish import Publisher, connect
from velodrome_runner.settings import Settings
from velodrome_runner.training import Moment

# Epochs of a result's curves: well below what the collector takes, and more than a screen has pixels.
MOST_POINTS = 2000


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a trial failed, in the words of its record; `final` says that running it again can't help."""

    reason: str
    message: str
    final: bool = False


def run(settings: Settings, *, threads: int, tail: Tail, wall: Callable[[], float] = time.time) -> int:
    """Runs the trial that the settings name, reports it, and returns the exit code of `velodrome.keys`.

    Whatever goes wrong in the trial becomes its result.

    Raises:
        ConfigurationError: there is no such trial, so that there is nothing to report a result of.
    """
    trial = ordered(settings)
    started = wall()
    client = None if settings.redis_url is None else connect(settings.redis_url)
    with Publisher(client, settings.job_uid) as publisher:
        reporter = Reporter(trial, settings, publisher, wall)
        failure: Failure | None = None
        reporter("Starting", None)
        try:
            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            measured = measure(trial, settings, threads=threads, device=device, on_phase=reporter)
            result = _succeeded(measured, _who(trial, settings, started, wall()))
        except Exception as error:  # whatever a model, a data set or torch raises is this trial's result
            failure = explain(error)
            if not isinstance(error, VelodromeError):
                traceback.print_exc()
            complain(f"{failure.reason}: {failure.message}")
            result = _failed(failure, tail, _who(trial, settings, started, wall()))
        spool = settings.scratch / f"result-{settings.index}-{settings.attempt}.json"
        delivered = publisher.deliver(result, spool, deadline=settings.deadline)
    if not delivered:
        return keys.EXIT_UNDELIVERED
    if failure is None:
        return keys.EXIT_OK
    return keys.EXIT_CONFIGURATION if failure.final else keys.EXIT_FAILED


def ordered(settings: Settings) -> Trial:
    """The trial that the settings name.

    Raises:
        ConfigurationError: the file is missing or no BenchmarkJob, or it has no trial of that index.
    """
    try:
        text = settings.spec.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{keys.ENV_SPEC} names {settings.spec}: {error.strerror or error}") from error
    try:
        (job,) = parse_jobs(text, str(settings.spec))
        made = plan(job)
        foreign = [position for position in settings.entries if position >= len(made.configs)]
        if foreign:
            raise ConfigurationError(
                f"{keys.ENV_ENTRIES} names position {foreign[0]}, but the job has {len(made.configs)} entries: "
                f"use 0 to {len(made.configs) - 1}"
            )
        indexes = made.indexes(settings.entries) if settings.entries else range(len(made))
        if settings.index >= len(indexes):
            raise ConfigurationError(
                f"{keys.ENV_INDEX} is {settings.index}, but there are {len(indexes)} trials: "
                f"use 0 to {len(indexes) - 1}"
            )
        return made.trial(indexes[settings.index])
    except (VelodromeError, ValueError) as error:
        raise ConfigurationError(str(error)) from error


def explain(error: Exception) -> Failure:
    """A trial's exception as the reason of its record."""
    if isinstance(error, ConfigurationError):
        return Failure(error.reason, str(error), final=True)
    if isinstance(error, TrialFailed):
        return Failure(error.reason, str(error))
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return Failure(
            "OutOfMemory", f"memory ran out: use a smaller training.batchSize or model ({_first_line(error)})"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = f" in {error.filename}" if error.filename else ""
        return Failure("OutOfDisk", f"the disk is full{place}: make room there ({error.strerror})")
    if isinstance(error, RuntimeError) and "deterministic" in str(error):
        return Failure(
            "DeterminismUnsupported",
            f"an operation of this model has no deterministic form: set training.deterministic to false "
            f"({_first_line(error)})",
            final=True,
        )
    return Failure("UnexpectedError", f"{type(error).__name__}: {_first_line(error)}")


class Reporter:
    """Writes each step of a trial to the log and hands it to the publisher."""

    def __init__(self, trial: Trial, settings: Settings, publisher: Publisher, wall: Callable[[], float]) -> None:
        self._trial = trial
        self._settings = settings
        self._publisher = publisher
        self._wall = wall

    def __call__(self, phase: Phase, moment: Moment | None) -> None:
        epochs = self._trial.config.budget.max_epochs
        say(self._line(phase, moment, epochs))
        done = phase in ("Evaluating", "Timing", "Finished")
        self._publisher.progress(
            Progress(
                job_uid=self._settings.job_uid,
                index=self._trial.index,
                attempt=self._settings.attempt,
                phase=phase,
                epoch=moment.epoch if moment else 0,
                epochs=epochs,
                fraction=min(1.0, moment.fraction) if moment else float(done),
                loss=moment.loss if moment else None,
                samples_per_second=moment.samples_per_second if moment else None,
                at=utc(self._wall()),
                point=moment.point if moment else None,
            )
        )

    def _line(self, phase: Phase, moment: Moment | None, epochs: int) -> str:
        if moment is None:
            trial = self._trial
            return f"{phase}: {trial.entry}, seed {trial.seed}" if phase == "Starting" else f"{phase}"
        line = f"epoch {moment.epoch}/{epochs}: loss {moment.loss:.4f}, {moment.samples_per_second:,.0f} samples/s"
        if moment.point is not None:
            line += "".join(f", {name} {value:.4f}" for name, value in sorted(moment.point.validation.items()))
        return line


def _who(trial: Trial, settings: Settings, started: float, finished: float) -> dict[str, object]:
    """What a result says of its trial, however it ended."""
    return {
        "job_uid": settings.job_uid,
        "index": trial.index,
        "entry": trial.entry,
        "repeat": trial.repeat,
        "seed": trial.seed,
        "trial_id": trial.id,
        "attempt": settings.attempt,
        "started_at": utc(started),
        "finished_at": utc(finished),
    }


def thinned(curves: Sequence[EpochPoint], best_epoch: int | None, most: int = MOST_POINTS) -> tuple[EpochPoint, ...]:
    """The points of at most about `most` epochs, evenly spread; the first, the last and the best are among them.

    A long training would else make a report that is too large to be accepted.
    """
    if len(curves) <= most:
        return tuple(curves)
    step = math.ceil(len(curves) / most)
    kept = {1, len(curves), best_epoch or 1, *range(1, len(curves) + 1, step)}
    return tuple(point for point in curves if point.epoch in kept)


def _succeeded(measured: Measured, who: dict[str, object]) -> TrialResult:
    trained = measured.trained
    return TrialResult.model_validate(
        who
        | {
            "outcome": "Succeeded",
            "metrics": measured.metrics,
            "unavailable": measured.unavailable,
            "curves": thinned(trained.curves, trained.best_epoch),
            "dataset": measured.dataset,
            "environment": measured.environment,
            "epochs": trained.epochs,
            "best_epoch": trained.best_epoch,
            "stopped_by": trained.stopped_by,
        }
    )


def _failed(failure: Failure, tail: Tail, who: dict[str, object]) -> TrialResult:
    return TrialResult.model_validate(
        who
        | {
            "outcome": "Failed",
            "reason": failure.reason,
            "message": _writable(failure.message),
            "log_tail": _writable(tail.text())[-2 * LOG_TAIL_LIMIT :],
        }
    )


def _writable(text: str) -> str:
    """The text with escapes for what UTF-8 can't write, such as the odd bytes of a file's name."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
