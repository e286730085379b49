"""Everything that one pass over a BenchmarkJob decides by. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from velodrome.plan import Plan
from velodrome_operator import shapes
from velodrome_operator.observation import JobFacts, PodFacts
from velodrome_operator.poison import Poison


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that a pass decides by.

    `finished` holds the indexes of trials with an accepted result, by whether they succeeded; `status` is the object's
    present one; `first_failure` is what the failed trial of the lowest index said; `collected_at` is when the inbox was
    last found to hold no more, and `trouble` why it can't be read or results can't be accepted; `refused` says, by Job
    name, why the API server did not let it have a pod; `gone` are pods that are there no more, and `disrupted` counts
    the pods that were lost to a disruption; `poison` is why its inbox ends it. `unseen_ends` is, by trial, when it was
    first seen that its index had ended of which no pod is there.
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

    @property
    def lost(self) -> int:
        """How many pods were lost to disruptions, with those that an operator before this one counted."""
        return max(self.disrupted, shapes.count(shapes.at(self.status, "trials", "disrupted")))
