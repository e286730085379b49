"""All input of one pass over a BenchmarkJob. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from velodrome.plan import Plan
from velodrome.results.records import Rounds
from velodrome.results.searches import Searched
from velodrome_operator import shapes
from velodrome_operator.lanes import SearchLook
from velodrome_operator.observation import JobFacts, PodFacts
from velodrome_operator.poison import Poison


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that a pass decides by.

    `finished` has, by index, the trials with an accepted result, and whether they succeeded. `status` is the object's
    present status. `first_failure` is the message of the failed trial with the lowest index. `collected_at` is when the
    inbox was last found empty. `trouble` is why it can't be read, or why results can't be accepted. `refused` is, by
    Job name, why the API server refused it a pod. `gone` are pods that no longer exist, and `disrupted` counts the pods
    that were lost to a disruption. `poison` is why its inbox ends the race. `unseen_ends` has trials whose index has
    ended and whose pod is no longer there: by trial, when this was first seen.

    Of a race until decided, `rounds` says what it asks for, if that is known, `job_rounds` has the number of each Job's
    round, by Job name, and `asked` counts the trials of all rounds so far.

    While a race searches, `search` says how far that is, and everything else is of its search trials, except `asked`.
    `searched` has its winners, once they are known. `run` is the number of its run.
    """

    plan: Plan
    uid: str
    generation: int
    suspended: bool
    jobs: Mapping[str, JobFacts]
    pods: Sequence[PodFacts]
    finished: Mapping[int, bool]
    status: Mapping[str, Any]
    now: datetime
    kueue: bool = False
    first_failure: str | None = None
    collected_at: datetime | None = None
    trouble: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    disrupted: int = 0
    poison: Poison | None = None
    gone: Sequence[PodFacts] = ()
    unseen_ends: Mapping[int, datetime] = field(default_factory=dict)
    rounds: Rounds | None = None
    job_rounds: Mapping[str, int] = field(default_factory=dict)
    asked: int | None = None
    search: SearchLook | None = None
    searched: Searched | None = None
    run: int = 1

    @property
    def total(self) -> int:
        """How many trials the race asks for so far."""
        return len(self.plan) if self.asked is None else self.asked

    @property
    def until_decided(self) -> bool:
        """Whether the race looks at its values, and may ask for more trials then."""
        return self.plan.job.spec.trials.until is not None

    @property
    def lost(self) -> int:
        """How many pods were lost to disruptions, with those that an earlier operator counted."""
        return max(self.disrupted, shapes.count(shapes.at(self.status, "trials", "disrupted")))
