"""Finds the trial that a runner process must run. Does not import torch."""

from __future__ import annotations

import json

from velodrome import keys
from velodrome.errors import ConfigurationError, TryAgain, VelodromeError
from velodrome.plan import Plan, Trial, plan
from velodrome.results.searches import Suggestion
from velodrome.search.trials import search_plan, with_winners
from velodrome.spec import parse_jobs
from velodrome_runner.instructions import told
from velodrome_runner.settings import Settings


def planned(settings: Settings) -> tuple[Plan, Trial]:
    """The job's plan, and the trial of it that the settings name.

    Raises:
        ConfigurationError: the file is missing or not a BenchmarkJob, or it has no trial of that index.
        StoreUnavailable: Redis, which has the parameters of a search, does not answer for a while.
    """
    try:
        text = settings.spec.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{keys.ENV_SPEC} names {settings.spec}: {error.strerror or error}") from error
    try:
        (job,) = parse_jobs(text, str(settings.spec))
        made = plan(job)
        if settings.search:
            return _searching(settings, made)
        if job.spec.search is not None:
            made = _confirming(settings, made)
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
    except TryAgain:
        raise
    except (VelodromeError, ValueError, LookupError) as error:
        raise ConfigurationError(str(error)) from error


def _searching(settings: Settings, made: Plan) -> tuple[Plan, Trial]:
    """A search trial, with the parameters that were suggested for it."""
    field = f"{keys.PARAMETERS}{settings.index}"
    tried = search_plan(made, {settings.index: Suggestion.model_validate_json(told(settings, field))})
    return tried, tried.trial(settings.index)


def _confirming(settings: Settings, made: Plan) -> Plan:
    """The plan with the winners of the search that it confirms."""
    return with_winners(made, {entry: json.loads(told(settings, f"{keys.WINNER}{entry}")) for entry in made.configs})
