"""Finds the trial that a runner process must run. Does not import torch."""

from __future__ import annotations

from velodrome import keys
from velodrome.errors import ConfigurationError, VelodromeError
from velodrome.plan import Plan, Trial, plan
from velodrome.spec import parse_jobs
from velodrome_runner.settings import Settings


def planned(settings: Settings) -> tuple[Plan, Trial]:
    """The job's plan, and the trial of it that the settings name.

    Raises:
        ConfigurationError: the file is missing or not a BenchmarkJob, or it has no trial of that index.
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
        indexes = made.instructed(settings.entries, settings.taken_over, settings.repeats)
        if settings.index >= len(indexes):
            raise ConfigurationError(
                f"{keys.ENV_INDEX} is {settings.index}, but there are {len(indexes)} trials: "
                f"use 0 to {len(indexes) - 1}"
            )
        return made, made.trial(indexes[settings.index])
    except (VelodromeError, ValueError) as error:
        raise ConfigurationError(str(error)) from error
