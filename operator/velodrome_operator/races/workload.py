"""The Jobs and pods of one race, as they were last seen."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from velodrome_operator import shapes
from velodrome_operator.disruptions import disruptions
from velodrome_operator.observation import JobFacts, PodFacts, started_facts

# The most Jobs to keep while their names can't be checked yet. The next sweep shows the others again.
_MOST_UNPLANNED = 1_000


@dataclass(slots=True)
class Workload:
    """Jobs by name and pods by uid. `gone` keeps the pods that were deleted, to attribute their reports.

    `names` are the names that the race gives to its Jobs, or None until there was a plan. `owned` has, by uid, the
    names of the Jobs that were seen to be the race's own. `unseen_ends` has trials whose index has ended and whose pod
    is no longer there: by trial, when this was first seen.
    """

    jobs: dict[str, JobFacts] = field(default_factory=dict)
    pods: dict[str, PodFacts] = field(default_factory=dict)
    gone: dict[str, PodFacts] = field(default_factory=dict)
    names: frozenset[str] | None = None
    owned: dict[str, str] = field(default_factory=dict)
    unseen_ends: dict[int, datetime] = field(default_factory=dict)

    @property
    def at_rest(self) -> bool:
        """Whether all of its Jobs are suspended, and no pod was ever seen."""
        jobs = self.jobs.values()
        return bool(jobs) and all(job.suspended for job in jobs) and not self.pods and not self.gone

    def pod(self, uid: str) -> PodFacts | None:
        """The pod of that uid, whether it is gone or not. None if no such pod was seen."""
        return self.pods.get(uid) or self.gone.get(uid)

    def may_own(self, name: str) -> bool:
        """Whether a Job of that name can be the race's own. The Job's owner is already known to be the race.

        Without a plan the names are not known yet. Until there is one, any name may be right.
        """
        if self.names is not None:
            return name in self.names
        return name in self.jobs or len(self.jobs) < _MOST_UNPLANNED

    def call(self, names: frozenset[str]) -> None:
        """Sets the names of the race's Jobs. Drops the Jobs of other names, with their pods."""
        self.names = names
        self.jobs = {name: job for name, job in self.jobs.items() if name in names}
        self.owned = {uid: name for uid, name in self.owned.items() if name in names}
        self.pods = {uid: pod for uid, pod in self.pods.items() if pod.job in names}
        self.gone = {uid: pod for uid, pod in self.gone.items() if pod.job in names}

    def disrupted(self, jobs: Container[str]) -> int:
        """How many pods of these Jobs were lost to a disruption, as far as this operator can know."""
        pods, gone = ([pod for pod in found.values() if pod.job in jobs] for found in (self.pods, self.gone))
        return disruptions(pods, gone)

    def saw_started(self, event: Mapping[str, Any], indexes: Mapping[str, object]) -> None:
        """Keeps a pod that no operator saw while it existed, if the Event is about a pod of one of these Jobs."""
        facts = started_facts(event, indexes)
        if facts is not None and facts.uid not in self.pods:
            self.gone.setdefault(facts.uid, facts)

    def let_go(self) -> None:
        """Forgets what only a race that goes on needs."""
        self.gone, self.unseen_ends = {}, {}


def starts_in(event: Mapping[str, Any], namespace: str) -> bool:
    """Whether an Event can be about a pod in that namespace."""
    return shapes.at(event, "involvedObject", "namespace") in (None, namespace)
