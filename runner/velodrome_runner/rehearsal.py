"""A race before it races: its data read once, each model built and stepped once, each program found.

`velodrome validate --deep` asks for it in a process of its own, and reads a line for each entry as it comes.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import torch

from velodrome import keys
from velodrome.plan import Trial, plan
from velodrome.spec import BenchmarkJob
from velodrome_runner import checks
from velodrome_runner.data import OpenedData
from velodrome_runner.measuring import built, libraries, opened, ready, settle
from velodrome_runner.precision import autocast
from velodrome_runner.trial import explain

Read = Callable[[], OpenedData]

_PYTHON = ("python", "python3")


def answer(asked: TextIO, said: TextIO = sys.stdout) -> int:
    """Reads {"job", "folder", "threads", "without"} and writes JSON lines for each entry: see `rehearse`.

    Returns the exit code of `velodrome.keys`.
    """
    question = json.load(asked)
    torch.set_num_threads(question["threads"])
    wrong = False
    job = BenchmarkJob.model_validate(question["job"])
    for found in rehearse(job, Path(question["folder"]), without=frozenset(question["without"])):
        said.write(json.dumps(found) + "\n")
        said.flush()
        wrong = wrong or found["reason"] is not None
    return keys.EXIT_CONFIGURATION if wrong else keys.EXIT_OK


def rehearse(job: BenchmarkJob, folder: Path, without: AbstractSet[str] = frozenset()) -> Iterator[dict[str, Any]]:
    """For each entry that is not in `without`: that it begins, then what a trial of it would meet before it trains.

    The first line of an entry has `begins`; the second has `reason` and `message` (None and a sentence where all is
    well) and `seconds`.
    """
    made = plan(job)
    read = cache(lambda: opened(made.trial(0), folder))  # each entry's first trial has the same data and seed
    for index, name in enumerate(made.configs):
        if name in without:
            continue
        yield {"entry": name, "begins": True, "reason": None}
        started = time.perf_counter()
        reason, message = _entry(made.trial(index), read)
        yield {"entry": name, "reason": reason, "message": message, "seconds": time.perf_counter() - started}


def _entry(trial: Trial, read: Read) -> tuple[str | None, str]:
    command = trial.config.command
    try:
        return _program(command, trial.config.image) if command is not None else (None, _model(trial, read))
    # Whatever a model or a data set raises is this entry's answer; a model may even end the process.
    except (Exception, SystemExit) as error:
        failure = explain(error)
        return failure.reason, failure.message


def _model(trial: Trial, read: Read) -> str:
    """Builds the model for the data, and makes one training step. Returns a sentence."""
    config, device = trial.config, torch.device("cuda" if torch.cuda.is_available() else "cpu")
    assert config.model is not None
    settle(trial)
    for name in libraries(config):
        importlib.import_module(name)
    facts, prepared = ready(trial, read(), device, torch.get_num_threads())
    model = built(config, prepared.task)
    model = model.to(device).to(memory_format=torch.channels_last)
    shown = prepared.shown_to(model)
    try:
        checks.check_model(
            model,
            shown,
            name=config.model.name,
            batch_size=config.training.batch_size,
            seed=trial.seed,
            context=autocast(config.training.precision, device),
        )
    finally:
        shown.close()
    weights = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return f"{config.model.name} learns {facts.name} ({facts.train_samples:,} samples) with {weights:,} parameters"


def _program(command: tuple[str, ...], image: str | None) -> tuple[str | None, str]:
    """Whether a program of one's own is here, as far as its command line tells."""
    if image is not None:
        return None, f"{command[0]} is in {image}, which is not looked into"
    program, *words = command
    found = shutil.which(program)
    if found is None:
        return "CommandNotFound", f"there is no program {program}: correct spec.entries[].command, or install it"
    if Path(program).name in _PYTHON and words:
        missing = _python(words)
        if missing:
            return "CommandNotFound", f"{program} {' '.join(words[:2])}: {missing}"
    return None, f"{found} is there"


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
