"""What a search has suggested, and what became of it, as it is stored. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from velodrome.results.base import Data, absent

TrialState = Literal["Complete", "Pruned", "Failed"]


class Suggestion(Data):
    """The parameters of one search trial. It is written once, before a runner can read it.

    `number` counts the trials of its entry from 0. `known` are the numbers of those that were finished when it was
    made, as `velodrome.plan.write_spans` writes them. `attributes` and `of_study` are what Optuna's algorithm remembers
    of this trial, and of the study after it. `seconds` is the CPU time that it took.
    """

    entry: str
    number: int = Field(ge=0)
    values: Mapping[str, Any]
    known: str = ""
    attributes: Mapping[str, Any] = {}
    of_study: Mapping[str, Any] = {}
    seconds: float = Field(default=0.0, ge=0)
    made_at: AwareDatetime | None = None


class Spent(Data):
    """What the search trials of one entry took: their number, epochs, seconds of training, and energy if it is known.

    `gpu_seconds` is the time of training times the number of GPUs.
    """

    trials: int = Field(default=0, ge=0)
    failed: int = Field(default=0, ge=0)
    pruned: int = Field(default=0, ge=0)
    epochs: int = Field(default=0, ge=0)
    seconds: float = Field(default=0.0, ge=0)
    gpu_seconds: float = Field(default=0.0, ge=0)
    joules: float | None = None
    reasons: Mapping[str, int] = Field(default={}, description="How many trials failed, by reason.")


class Winner(Data):
    """The winner of one entry: the number of its trial, its parameters, and what they gave on validation data.

    An entry without parameters has no `number`. `front` has the numbers of the trials that no other beats in all
    objectives.
    """

    number: int | None = Field(default=None, ge=0)
    values: Mapping[str, Any] = {}
    objectives: Mapping[str, float] = Field(default={}, description="By metric key, on the validation split.")
    front: tuple[int, ...] = ()
    spent: Spent = Spent()
    importances: Mapping[str, float] = Field(
        default={}, description="How much each parameter mattered, by PED-ANOVA, as shares; empty after few trials."
    )


class Searched(Data):
    """How the search of a job ended, with the winner of each entry. It is stored once, before winners are confirmed."""

    entries: Mapping[str, Winner]
    ended: Mapping[str, str] = Field(default={}, description="Why the search of an entry ended, in words.")
    optuna: str | None = Field(default=None, description="The version that chose.", exclude_if=absent)


UNTUNED = "untuned, beside entries that a search tuned"


def is_tuned(searched: Searched | None, entry: str) -> bool:
    """Whether a search found the parameters of this entry."""
    return searched is not None and entry in searched.entries and searched.entries[entry].number is not None


def tuned_note(searched: Searched | None, entry: str) -> str:
    """What a reader of a ranking should know of an entry's search, such as `tuned: the best of 60 search trials (412
    epochs)`. Of an entry that was not tuned beside others that were, it says so. Empty without a search.
    """
    if searched is None or entry not in searched.entries:
        return ""
    chosen = searched.entries[entry]
    if chosen.number is None:
        return UNTUNED
    energy = "" if chosen.spent.joules is None else f", {chosen.spent.joules:,.0f} J"
    return f"tuned: the best of {chosen.spent.trials} search trials ({chosen.spent.epochs:,} epochs{energy})"
