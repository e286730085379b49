"""A trial that your own command trains: `velodrome-runner exec -- COMMAND`. Does not import torch.

The command gets its trial through environment variables and a JSON file, and reports by lines of JSON (`lines`). It
gets no address of Redis or a Pushgateway. This process delivers the result, with the same retries and exit codes as for
Velodrome's own training. The command can't read this process's memory (`privacy`, which `__main__` applies before
anything of the trial runs).
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import velodrome
from velodrome import keys
from velodrome.errors import ConfigurationError, TrialFailed
from velodrome.kernel.limits import memory_kills, signal_name
from velodrome.metrics.catalogue import MetricKey, cost, label_of
from velodrome.own_code import config_code
from velodrome.plan import Plan, Trial, objective_keys
from velodrome.results.bounds import impossible_classes, impossible_metrics, keys_of
from velodrome.results.records import DatasetFacts, Environment, Hardware, Held, Software, TrialResult
from velodrome.results.score_bounds import impossible_scores
from velodrome.results.scores import SampleScores
from velodrome_runner import interruption
from velodrome_runner.causes import printed_place
from velodrome_runner.environment import environment
from velodrome_runner.hardware import cpu_model, nvidia
from velodrome_runner.instructions import stopping
from velodrome_runner.interference import Interference
from velodrome_runner.lines import PredictionsLine, Reported
from velodrome_runner.live import pusher
from velodrome_runner.log import Tail, complain
from velodrome_runner.predictions import kept_of
from velodrome_runner.publish import Publisher, connect
from velodrome_runner.ranks import Ranks
from velodrome_runner.reporting import Failure, Reporter, TrainingState, exit_code, failed, thinned, who
from velodrome_runner.settings import Settings

_POLL_SECONDS = 0.2
# The time between asking a command to end and killing it. A pod has 30 s in all.
_GRACE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How the command ended: its exit code, or minus the signal that ended it, and the end of its output.

    `for_memory` says that the kernel killed a process of this trial meanwhile because its memory ran out. `place` is
    the line of its own code that the last traceback in its log ends in, where it is a program in Python that wrote one.
    """

    code: int
    last_line: str = ""
    for_memory: bool = False
    place: str = ""


def run(
    settings: Settings,
    plan: Plan,
    trial: Trial,
    *,
    threads: int,
    tail: Tail,
    command: Sequence[str] | None = None,
    wall: Callable[[], float] = time.time,
) -> int:
    """Runs the trial's command, or the one given, reports its result, and returns the exit code of `velodrome.keys`.

    Raises:
        ConfigurationError: there is no command.
    """
    line = tuple(command or trial.config.command or ())
    if not line:
        raise ConfigurationError(f"entry {trial.entry} has no command: give one, `velodrome-runner exec -- COMMAND …`")
    started = wall()
    code = config_code(trial.config.model_copy(update={"command": line}))
    client = None if settings.redis_url is None else connect(settings.redis_url, settings.login)
    searching = trial.config.searched is not None
    with (
        Publisher(client, settings.job_uid, settings.report_key) as publisher,
        pusher(settings, plan, trial) as live,
        stopping(settings, wanted=searching) as orders,
    ):
        reporter = Reporter(trial, settings, publisher, live, wall, orders.check)
        reporter("Starting", None)
        reported, killed = Reported(trial.config), memory_kills()
        interference = Interference(concurrent=settings.concurrent, threads=threads)
        with interference.watched("the command"):
            try:
                ended = _train(line, _Files.of(trial, settings, threads), reported, reporter, settings.ranks)
            except TrialFailed as error:
                ended = Failure(error.reason, str(error))
        facts = who(trial, settings, code, started, wall())
        if ended == 0 and not settings.ranks.leads:
            return keys.EXIT_OK
        if isinstance(ended, int):
            log = tail.text()
            written = [line for line in log.splitlines() if line.strip()]
            last = written[-1] if len(written) > 1 else ""
            kills = memory_kills() > killed
            found = conclude(plan, trial, reported, Ended(ended, last, for_memory=kills, place=printed_place(log)))
        else:
            found = ended
        if not isinstance(found, Failure) and trial.config.evaluation.on_interference == "fail":
            found = _undisturbed(interference) or found
        if isinstance(found, Failure):
            complain(f"{found.reason}: {found.message}")
            result = failed(found, tail, facts, reporter.points if searching else ())
        else:
            where = _environment(trial, reported, threads, settings.concurrent, settings.ranks.size)
            held = Held(disturbances=tuple(interference.found))
            result = TrialResult.model_validate(facts | found | {"environment": where, "held": held})
        interruption.check()
        live.end()
        delivered = publisher.deliver(result, settings.spool, deadline=settings.deadline)
    return exit_code(found if isinstance(found, Failure) else None, delivered=delivered)


def _undisturbed(interference: Interference) -> Failure | None:
    """The failure of a trial that something disturbed; None without any disturbance."""
    try:
        interference.refuse()
    except TrialFailed as error:
        return Failure(error.reason, str(error))
    return None


def conclude(  # noqa: C901 - a list of what can be wrong
    plan: Plan, trial: Trial, reported: Reported, ended: Ended
) -> Failure | dict[str, object]:
    """Turns the lines and the command's end into the reason of a failure, or the result's fields. Pure."""
    bad = _ended_badly(ended) or _unreadable(reported)
    if bad is not None:
        return bad
    if reported.result is None:
        return Failure("ResultMissing", "the command reported no result: call trial.result(…) at its end", final=True)
    if reported.dataset is None:
        message = "the command did not say which data it read: call trial.dataset(…), since only equal data compare"
        return Failure("ConditionsMissing", message, final=True)
    wrong = impossible_classes(reported.dataset, trial.config)
    wrong = wrong or impossible_metrics(reported.result.metrics, keys_of(trial.config, reported.dataset))
    if wrong is not None:
        return Failure("ImpossibleValue", f"the command's report can't be: {wrong}", final=True)
    pinned = trial.config.dataset.digest
    if pinned is not None and pinned != reported.dataset.digest:
        message = f"the command read {reported.dataset.digest}, but spec.dataset.digest pins {pinned}"
        return Failure("DatasetDigestMismatch", message, final=True)
    metrics, unavailable = _priced(reported.result.metrics, trial), dict(reported.result.unavailable)
    if trial.config.searched is not None:
        return _of_search(reported, metrics)
    needed = [str(key) for key in objective_keys(plan.job).values() if key.metric.kind == "quality"]
    missing = [key for key in needed if key not in metrics]
    if missing:
        message = (
            f"the command did not report {label_of(missing[0])}, an objective of this race: add it to trial.result(…)"
        )
        return Failure("MetricsMissing", message, final=True)
    for key in _wanted(plan, trial):
        if key not in metrics:
            unavailable.setdefault(key, "the command did not report it")
    scores = _scores(reported.predictions, trial, reported.dataset, metrics)
    if isinstance(scores, Failure):
        return scores
    return {
        "outcome": "Succeeded",
        "metrics": metrics,
        "unavailable": unavailable,
        "scores": scores,
        "curves": thinned(reported.curves, None),
        "dataset": reported.dataset,
        "epochs": reported.result.epochs or (reported.curves[-1].epoch if reported.curves else None),
    }


def _of_search(reported: Reported, metrics: Mapping[str, float]) -> dict[str, object]:
    """The fields of a search trial's result. What it measured on test data is dropped: nothing may be chosen by it."""
    return {
        "outcome": "Succeeded",
        "metrics": {key: value for key, value in metrics.items() if MetricKey.parse(key).metric.kind != "quality"},
        "curves": thinned(reported.curves, None),
        "dataset": reported.dataset,
        "epochs": (reported.result and reported.result.epochs)
        or (reported.curves[-1].epoch if reported.curves else None),
    }


def _scores(
    line: PredictionsLine | None, trial: Trial, facts: DatasetFacts, metrics: Mapping[str, float]
) -> SampleScores | Failure | None:
    """What is kept of the predictions, or why they can't be."""
    try:
        found = None if line is None else kept_of(line, trial.config, facts)
    except ValueError as error:
        return Failure("ImpossibleValue", f"the command's predictions can't be: {error}", final=True)
    wrong = found and next(impossible_scores(found, facts, metrics, None, trial.config.task_name), None)
    return Failure("ImpossibleValue", f"the command's predictions can't be: {wrong}", final=True) if wrong else found


def _priced(metrics: Mapping[str, float], trial: Trial) -> dict[str, float]:
    """The metrics, with the cost of the training time if the race has a price and the command reported none."""
    price, seconds = trial.config.evaluation.price_per_hour, metrics.get("train_seconds")
    return {**({} if price is None or seconds is None else {"cost": cost(seconds, price)}), **metrics}


def _unreadable(reported: Reported) -> Failure | None:
    if reported.problem is None:
        return None
    how = "can't be" if reported.reason == "ImpossibleValue" else "can't be read"
    return Failure(reported.reason, f"the command's report {how}: {reported.problem}", final=True)


def _ended_badly(ended: Ended) -> Failure | None:
    if ended.code != 0 and ended.for_memory:
        return Failure("OutOfMemory", "the command ran out of memory: raise spec.runner.resources.limits.memory")
    if ended.code < 0:
        return Failure("CommandKilled", f"the command was ended by {signal_name(-ended.code)}: {_last(ended)}")
    if ended.code > 0:
        where = f" (at {ended.place})" if ended.place else ""
        return Failure("CommandFailed", f"the command ended with exit code {ended.code}: {_last(ended)}{where}")
    return None


def _last(ended: Ended) -> str:
    return f"its last line was {ended.last_line[:300]!r}" if ended.last_line else "it wrote nothing"


def _wanted(plan: Plan, trial: Trial) -> tuple[str, ...]:
    """Keys of everything that the race ranks or shows, each once."""
    objectives = map(str, objective_keys(plan.job).values())
    return tuple(dict.fromkeys((*trial.config.quality, *objectives)))


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of the trial: what the command reads, and where it reports."""

    trial: Path
    report: Path

    @classmethod
    def of(cls, trial: Trial, settings: Settings, threads: int) -> _Files:
        settings.scratch.mkdir(parents=True, exist_ok=True)
        name = f"{settings.index}-{settings.attempt}"
        files = cls(settings.scratch / f"trial-{name}.json", settings.scratch / f"report-{name}.jsonl")
        config = trial.config.model_dump(mode="json", by_alias=True)
        conditions = ("dataset", "preprocessing", "budget", "training", "evaluation")
        document = {
            "entry": trial.entry,
            "index": trial.index,
            "repeat": trial.repeat,
            "seed": trial.seed,
            "cpus": threads,
            "data": str(settings.data),
            "metrics": [label_of(key) for key in trial.config.quality if MetricKey.parse(key).metric.kind == "quality"],
            "declared": list(trial.config.declared or ()),
            "conditions": {name: config[name] for name in conditions},
            "parameters": dict(trial.config.parameters or {}),
        }
        files.trial.write_text(json.dumps(document, indent=2), encoding="utf-8")
        files.report.write_text("", encoding="utf-8")
        return files

    def remove(self) -> None:
        self.trial.unlink(missing_ok=True)
        self.report.unlink(missing_ok=True)


def _train(line: Sequence[str], files: _Files, reported: Reported, reporter: Reporter, ranks: Ranks) -> int | Failure:
    """Runs the command to its end and passes its epochs on meanwhile. Returns its code, as in subprocess."""
    variables = {**os.environ, **ranks.environment()}
    variables |= {keys.ENV_TRIAL: str(files.trial), keys.ENV_REPORT: str(files.report)}
    sys.stdout.flush()
    try:
        process = subprocess.Popen(
            line, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            process_group=0,
        )  # fmt: skip
    except OSError as error:
        return Failure("CommandNotFound", f"{line[0]} can't be run: {error.strerror or error}", final=True)
    assert process.stdout is not None
    pump = threading.Thread(target=_pump, args=(process.stdout,), daemon=True)
    pump.start()
    try:
        with files.report.open(encoding="utf-8", errors="replace") as lines:
            rest = ""
            while True:
                interruption.check()
                code = process.poll()
                rest = _follow(rest + lines.read(), reported, reporter)
                if code is not None:
                    break
                time.sleep(_POLL_SECONDS)
        if rest:
            _follow(f"{rest}\n", reported, reporter)
        return code
    finally:
        _end(process)
        pump.join(_GRACE_SECONDS)
        files.remove()


def _follow(text: str, reported: Reported, reporter: Reporter) -> str:
    """Takes the complete lines of a text, and returns the rest."""
    *whole, rest = text.split("\n")
    for line in whole:
        point = reported.take(line)
        if point is not None:
            reporter("Training", TrainingState.at(point, reporter.epochs))
    return rest


def _pump(stream: IO[bytes]) -> None:
    """Passes the command's output on to its end; this process's streams remember the last of it."""
    with stream:
        for line in stream:
            sys.stdout.write(line.decode("utf-8", "backslashreplace"))
            sys.stdout.flush()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the command's processes: asks first, and kills later."""
    for number, seconds in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, _GRACE_SECONDS)):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            return
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue


def _environment(trial: Trial, reported: Reported, threads: int, concurrent: int, nodes: int) -> Environment:
    """The environment as this process sees it, with the framework that the command reported."""
    accelerators = nvidia()
    first = accelerators[0] if accelerators else None
    software = reported.software
    return environment(
        Hardware(
            cpu_model=cpu_model(),
            cpu_count=os.cpu_count() or 1,
            accelerator=first.name if first else None,
            accelerator_memory_bytes=first.memory_bytes if first else None,
            driver=first.driver if first else None,
        ),
        Software(
            velodrome=velodrome.__version__,
            python=platform.python_version(),
            framework=software.framework if software else "own code",
            libraries=software.libraries if software else {},
        ),
        accelerators=len(accelerators),
        threads=threads,
        concurrent=concurrent,
        nodes=nodes,
        training=trial.config.training,
    )
