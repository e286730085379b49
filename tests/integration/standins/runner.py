"""Stands in for `python -m velodrome_runner serve` where a trial must go wrong on demand, and without torch's weight.

The protocol, the environment and the reports are the runner's. What each trial does is read from the JSON file that
STANDIN_SCRIPT names, `{"INDEX": ["what the first try does", "what the second does", …]}`; the last word stays valid,
and a trial without a line succeeds:

    succeed       reports progress and a result
    accuracy:X    reports a result with that accuracy
    twice         delivers its result two times
    differently   delivers a second result, which differs
    kill, segv    ends by that signal, with words on its log
    saved:N       leaves a checkpoint of step N, and ends by SIGKILL
    terminated    ends as a process that was sent SIGTERM
    code:N        exits with N and reports nothing
    fail          reports a failure, LossNotFinite
    impossible    delivers a result with an accuracy of 1.7
    stepped       delivers a result of the year 9999, since its clock stepped
    spool         leaves its result in the spool
    torn          leaves half a result in the spool
    hang          runs until it is ended; `deaf` ignores SIGTERM at that
    orphan        kills the starter, then runs on until it is ended

Of a job with a search, "search" has the words of search trials by number of the trial, and "" those of all others:

    searched      reports a loss that its parameters make, epoch after epoch, and ends early if it is told so
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from velodrome import keys
from velodrome.errors import TrialFailed
from velodrome.plan import Trial
from velodrome.results.records import (
    DatasetFacts,
    Environment,
    EpochPoint,
    GrantedResources,
    Hardware,
    Progress,
    ProgressReport,
    ResultReport,
    Software,
    TrialResult,
    utc,
)
from velodrome.store import Store, open_store
from velodrome_runner.instructions import stopping
from velodrome_runner.orders import planned
from velodrome_runner.settings import Settings


def main() -> int:
    """Forks a child for each line until standard input ends."""
    script = json.loads(Path(os.environ["STANDIN_SCRIPT"]).read_text())
    if script.get("starter") == "broken":
        sys.stderr.write("ModuleNotFoundError: No module named 'torch'\n")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    say(event="ready")
    running: dict[int, str] = {}
    os.set_blocking(0, False)
    rest = b""
    while True:
        chunk = read()
        if chunk == b"" and not running:
            return 0
        *lines, rest = (rest + (chunk or b"")).split(b"\n")
        for line in lines:
            order = json.loads(line)
            pid = os.fork()
            if pid == 0:
                os._exit(child(order, script))
            running[pid] = order["id"]
            say(id=order["id"], event="started", pid=pid)
        reap(running)
        time.sleep(0.01)


def read() -> bytes | None:
    try:
        return os.read(0, 65536)
    except BlockingIOError:
        return None


def reap(running: dict[int, str]) -> None:
    for pid in tuple(running):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            end = {"signal": -code} if code < 0 else {"code": code}
            say(id=running.pop(pid), event="exited", **end)


def say(**event: Any) -> None:
    os.write(1, json.dumps(event).encode() + b"\n")


def child(order: dict[str, Any], script: dict[str, Any]) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setsid()
    parent = os.getppid()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    environ = order["env"]
    index = int(environ[keys.ENV_INDEX])
    _, trial = planned(Settings.read(environ))
    words = script.get(str(index), ["succeed"])
    if trial.config.searched is not None:
        of_search = script.get("search", {})
        words = of_search.get(str(trial.repeat), of_search.get("", ["searched"]))
    tried = int(environ[keys.ENV_ATTEMPT].split("-")[1])
    os.write(2, f"trial {index}, try {tried}\n".encode())
    with open_store(environ[keys.ENV_REDIS_URL]) as store:
        return act(words[min(tried, len(words) - 1)], trial, environ, store, parent)


def act(word: str, trial: Trial, environ: dict[str, str], store: Store, parent: int) -> int:  # noqa: C901, PLR0912 - a line a word
    uid = environ[keys.ENV_JOB_UID]
    match word.split(":"):
        case ["succeed"]:
            store.append(uid, ProgressReport(progress=progress(trial, environ)))
            store.append(uid, ResultReport(result=result(trial, environ)))
        case ["accuracy", value]:
            store.append(uid, ResultReport(result=result(trial, environ, accuracy=float(value) - trial.seed / 1000)))
        case ["searched"]:
            return searched(trial, environ, store)
        case ["twice"]:
            report = ResultReport(result=result(trial, environ))
            store.append(uid, report)
            store.append(uid, report)
        case ["differently"]:
            store.append(uid, ResultReport(result=result(trial, environ)))
            store.append(uid, ResultReport(result=result(trial, environ, accuracy=0.1)))
        case ["impossible"]:
            store.append(uid, ResultReport(result=result(trial, environ, accuracy=1.7)))
        case ["stepped"]:
            late = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
            store.append(uid, ResultReport(result=result(trial, environ).model_copy(update={"finished_at": late})))
        case ["fail"]:
            store.append(uid, ResultReport(result=failure(trial, environ)))
            return keys.EXIT_FAILED
        case ["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["saved", step]:
            folder = Settings.read(environ).kept(trial.index)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / keys.CHECKPOINT_FILE).write_text(json.dumps({keys.CHECKPOINT_STEPS: int(step)}))
            os.kill(os.getpid(), signal.SIGKILL)
        case ["segv"]:
            os.kill(os.getpid(), signal.SIGSEGV)
        case ["terminated"]:
            return 143
        case ["code", number]:
            return int(number)
        case ["spool" | "torn"]:
            text = ResultReport(result=result(trial, environ)).model_dump_json()
            name = f"result-{trial.index}-{environ[keys.ENV_ATTEMPT]}.json"
            half = text if word == "spool" else text[: len(text) // 2]
            Path(environ[keys.ENV_SCRATCH], name).write_text(half)
            return keys.EXIT_UNDELIVERED
        case ["hang" | "deaf"]:
            if word == "deaf":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            store.append(uid, ProgressReport(progress=progress(trial, environ)))
            time.sleep(600)
        case ["orphan"]:
            os.kill(parent, signal.SIGKILL)
            time.sleep(600)
        case _:
            raise ValueError(word)
    return 0


def searched(trial: Trial, environ: dict[str, str], store: Store) -> int:
    """The loss of its learning rate and batch size after each epoch. Told to end early, it says what it had."""
    training, settings, points = trial.config.training, Settings.read(environ), list[EpochPoint]()
    size = math.log2(training.batch_size)
    loss = (math.log10(training.optimizer.learning_rate) + 2) ** 2 + (size - 6) ** 2 / 4 + 0.1
    with stopping(settings, wanted=True) as orders:
        for epoch in range(1, trial.config.budget.max_epochs + 1):
            named = {"validation_loss": loss * (1 + 1 / epoch)}
            points.append(point(epoch).model_copy(update={"validation": named}))
            moment = progress(trial, environ).model_copy(update={"epoch": epoch, "point": points[-1]})
            store.append(settings.job_uid, ProgressReport(progress=moment))
            try:
                deadline = time.monotonic() + float(os.environ.get("STANDIN_EPOCH_SECONDS", "0"))
                while time.monotonic() < deadline:
                    orders.check()
                    time.sleep(0.05)
            except TrialFailed as error:
                said = {"reason": error.reason, "message": str(error), "curves": tuple(points), "epochs": epoch}
                ended = failure(trial, environ).model_copy(update=said)
                store.append(settings.job_uid, ResultReport(result=ended))
                return keys.EXIT_FAILED
    own = {"metrics": {"train_seconds": 0.1 * len(points), "parameters": training.batch_size}, "curves": tuple(points)}
    more = {"epochs": len(points), "best_epoch": None}
    store.append(settings.job_uid, ResultReport(result=result(trial, environ).model_copy(update=own | more)))
    return 0


def progress(trial: Trial, environ: dict[str, str]) -> Progress:
    return Progress(
        job_uid=environ[keys.ENV_JOB_UID],
        index=trial.index,
        attempt=environ[keys.ENV_ATTEMPT],
        phase="Training",
        epoch=1,
        epochs=2,
        fraction=0.5,
        loss=0.5,
        samples_per_second=1000.0,
        at=utc(time.time()),
        point=point(1),
    )


def point(epoch: int) -> EpochPoint:
    return EpochPoint(
        epoch=epoch,
        seconds=0.1 * epoch,
        train_loss=1 / epoch,
        learning_rate=0.1,
        samples_per_second=1000.0,
        validation={"validation_loss": 2 / epoch, "accuracy": 0.5},
    )


def failure(trial: Trial, environ: dict[str, str]) -> TrialResult:
    now = utc(time.time())
    return TrialResult(
        job_uid=environ[keys.ENV_JOB_UID],
        index=trial.index,
        entry=trial.entry,
        repeat=trial.repeat,
        seed=trial.seed,
        trial_id=trial.id,
        attempt=environ[keys.ENV_ATTEMPT],
        outcome="Failed",
        reason="LossNotFinite",
        message="the loss became nan in epoch 1",
        log_tail="epoch 1: loss nan",
        started_at=now,
        finished_at=now,
    )


def result(trial: Trial, environ: dict[str, str], accuracy: float = 0.9) -> TrialResult:
    now = utc(time.time())
    facts = DatasetFacts(
        name="digits",
        digest="sha256:" + "0" * 64,
        train_samples=10,
        validation_samples=2,
        test_samples=4,
        shape=(1, 8, 8),
        classes=("0", "1"),
    )
    environment = Environment(
        hardware=Hardware(cpu_model="stand-in", cpu_count=2),
        software=Software(velodrome="0", python="3", framework="none"),
        resources=GrantedResources(
            cpus=float(environ[keys.ENV_CPUS]), concurrent_trials=int(environ[keys.ENV_CONCURRENT])
        ),
    )
    return TrialResult(
        job_uid=environ[keys.ENV_JOB_UID],
        index=trial.index,
        entry=trial.entry,
        repeat=trial.repeat,
        seed=trial.seed,
        trial_id=trial.id,
        attempt=environ[keys.ENV_ATTEMPT],
        outcome="Succeeded",
        metrics={"accuracy": accuracy + trial.seed / 1000},
        curves=(point(1), point(2)),
        dataset=facts,
        environment=environment,
        epochs=2,
        best_epoch=2,
        stopped_by="maxEpochs",
        started_at=now,
        finished_at=now,
    )


if __name__ == "__main__":
    sys.exit(main())
