"""A race before it races: its data read once, each model built and stepped once, each program found.

A process of the warm starter does it for `velodrome run` and `velodrome validate --deep`
(`velodrome.machine.race.rehearsal`), and writes a line for each entry as it comes.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import torch

from velodrome import keys
from velodrome.errors import ConfigurationError, VelodromeError
from velodrome.plan import Plan, Trial, plan
from velodrome.spec import parse_jobs
from velodrome_runner import checks, models, threads
from velodrome_runner.data import OpenedData
from velodrome_runner.footprint import parameters
from velodrome_runner.measuring import built, libraries, opened, own_module, placed, ready, settle
from velodrome_runner.precision import autocast
from velodrome_runner.trial import explain
from velodrome_runner.variants import REASONS, optimize

_PYTHON = ("python", "python3")


def answer(environ: Mapping[str, str]) -> int:
    """Rehearses the entries that `environ` names, as `rehearse` does. Appends to the file `VELODROME_REHEARSAL`.

    Of the instructions of a trial, these count: the job, the positions of its entries, the data folder and the CPUs.
    Returns the exit code of `velodrome.keys`.

    Raises:
        ConfigurationError: the job can't be read.
    """
    count = threads.thread_count(environ)
    threads.use(count)
    spec = Path(environ[keys.ENV_SPEC])
    try:
        (job,) = parse_jobs(spec.read_text(encoding="utf-8"), str(spec))
    except (OSError, ValueError, VelodromeError) as error:
        raise ConfigurationError(f"{spec}: {error}") from error
    positions = [int(one) for one in environ[keys.ENV_ENTRIES].split(",")]
    wrong = False
    with Path(environ[keys.ENV_REHEARSAL]).open("a", encoding="utf-8") as said:
        for found in rehearse(plan(job), positions, Path(environ.get(keys.ENV_DATA) or "."), count):
            _write(said, found)
            wrong = wrong or bool(found.get("problems"))
    return keys.EXIT_CONFIGURATION if wrong else keys.EXIT_OK


def _write(said: TextIO, found: dict[str, Any]) -> None:
    said.write(json.dumps(found) + "\n")
    said.flush()


def rehearse(made: Plan, positions: Iterable[int], folder: Path, count: int) -> Iterator[dict[str, Any]]:
    """For the entry at each position: that it begins, then what a trial of it would meet before it trains.

    The first line of an entry has only its name. The second has `problems` (each with its `path`, `reason` and
    `message`), `message` (a sentence; empty if there are problems) and `seconds`. `count` threads compute.
    """
    read = _Data(lambda: opened(made.trial(0), folder))  # each entry's first trial has the same data and seed
    for position in positions:
        trial = made.trial(position)
        yield {"entry": trial.entry}
        started = time.perf_counter()
        message, problems = _entry(trial, f"spec.entries[{position}]", read, count)
        yield {
            "entry": trial.entry,
            "message": message,
            "problems": problems,
            "seconds": time.perf_counter() - started,
        }


class _Data:
    """The data of all entries, which are read at most once, also if they can't be read."""

    def __init__(self, read: Callable[[], OpenedData]) -> None:
        self.read = cache(read)
        self._problem: dict[str, str] | None = None

    def problem(self) -> dict[str, str] | None:
        """Why the data can't be read; None if they were read."""
        if self._problem is None:
            self._problem = _problem_of("spec", "dataset", self.read)
        return self._problem


def _entry(trial: Trial, where: str, data: _Data, count: int) -> tuple[str, list[dict[str, str]]]:
    """A sentence about the entry, and what is wrong with it."""
    sentence: list[str] = []
    config = trial.config
    if config.command is not None:
        command = config.command
        found = [_problem_of(where, "command", lambda: sentence.append(_program(command)))]
    elif (unread := data.problem()) is not None:
        name = config.model.name if config.model is not None and own_module(config) else None
        found = [unread, _problem_of(where, "model", lambda: name and models.find(name))]
    else:
        found = [_problem_of(where, "model", lambda: sentence.append(_model(trial, data.read(), count)))]
    return "".join(sentence), [one for one in found if one is not None]


def _problem_of(where: str, field: str, step: Callable[[], object]) -> dict[str, str] | None:
    """What `step` raised, at the field of `where` that decides about it; None if it raised nothing."""
    try:
        step()
    # Whatever a model or a data set raises is the answer; a model may even end the process.
    except (Exception, SystemExit) as error:
        failure = explain(error)
        decides = "optimize" if failure.reason in REASONS else field
        return {"path": f"{where}.{decides}", "reason": failure.reason, "message": failure.message}
    return None


def _model(trial: Trial, read: OpenedData, count: int) -> str:
    """Builds the model for the data, and makes one training step. Returns a sentence."""
    config, device = trial.config, torch.device("cuda" if torch.cuda.is_available() else "cpu")
    assert config.model is not None
    settle(trial)
    for name in libraries(config):
        importlib.import_module(name)
    facts, prepared = ready(trial, read, device, count)
    model = placed(built(config, prepared.task), device)
    shown = prepared.shown_to(model)
    context = autocast(config.training.precision, device)
    try:
        checks.check_model(
            model,
            shown,
            name=config.model.name,
            batch_size=config.training.batch_size,
            seed=trial.seed,
            context=context,
        )
        weights = parameters(model)
        optimize(config, model, shown, context=context, clock=time.perf_counter, rehearsed=True)
    finally:
        shown.close()
    return f"{config.model.name} learns {facts.name} ({facts.train_samples:,} samples) with {weights:,} parameters"


def _program(command: tuple[str, ...]) -> str:
    """A sentence about a program of one's own, which is looked for, and is not run.

    Raises:
        ConfigurationError: it is not here, as far as its command line tells.
    """
    program, *words = command
    found = shutil.which(program)
    if found is None:
        raise ConfigurationError(f"there is no program {program}: correct its name, or install it", "CommandNotFound")
    missing = _python(words) if Path(program).name in _PYTHON and words else ""
    if missing:
        raise ConfigurationError(f"{program} {' '.join(words[:2])}: {missing}", "CommandNotFound")
    return f"{found} is there"


def _python(words: list[str]) -> str:
    """What a Python command line names and is not here; empty if all is."""
    if words[0] == "-m" and len(words) > 1:
        try:
            there = importlib.util.find_spec(words[1]) is not None
        except (ImportError, ValueError):
            there = False
        return "" if there else f"there is no module {words[1]}: put its folder on PYTHONPATH"
    if not words[0].startswith("-") and not Path(words[0]).exists():
        return f"there is no file {words[0]} in {Path.cwd()}"
    return ""
