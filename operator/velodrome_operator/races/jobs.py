"""What events and listings show of Jobs, kept with the race that owns each Job."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from velodrome_operator.observation import JobFacts, job_facts, namespace_of, uid_of
from velodrome_operator.ownership import Orphans, parent_uid
from velodrome_operator.races.pods import PodSightings
from velodrome_operator.races.race import Race
from velodrome_operator.races.register import RaceRegister

Raw = Mapping[str, Any]


class JobSightings:
    """Each method that takes a Job returns the uid of the race about which it shows something new, or None.

    Raises:
        OddObject: a Job can't be read.
    """

    def __init__(self, register: RaceRegister, pods: PodSightings) -> None:
        self._register = register
        self._pods = pods
        self._orphans: Orphans[JobFacts] = Orphans()

    def found(self, raw: Raw) -> str | None:
        """A Job exists, as it is now."""
        owner = parent_uid(raw)
        if owner is None:
            return self.lost(raw)  # nobody owns it, or the race owns it no longer
        namespace, race, facts = namespace_of(raw), self._register.get(owner), job_facts(raw)
        if race is None:
            self._orphans.put(namespace, owner, facts.uid, facts)
        elif race.namespace == namespace and race.workload.jobs.get(facts.name) != facts and self._add(race, facts):
            race.logbook.news += 1
            return owner
        return None

    def made(self, raw: Raw) -> None:
        """A Job was just created. This is no news, and the Job's own event shows more."""
        race, facts = self._register.get(parent_uid(raw)), job_facts(raw)
        if race is not None and race.namespace == namespace_of(raw) and facts.name not in race.workload.jobs:
            self._add(race, facts)

    def lost(self, raw: Raw) -> str | None:
        """A Job is gone. Its pods may outlast it, and they stay the race's."""
        uid = uid_of(raw)
        self._orphans.drop(namespace_of(raw), uid)
        race = self._register.owner(uid)
        if race is None:
            return None
        known = next((name for name, job in race.workload.jobs.items() if job.uid == uid), None)
        if known is None:
            return None
        del race.workload.jobs[known]
        race.logbook.news += 1
        return race.uid

    def adopt(self, race: Race) -> None:
        """Takes in the Jobs that were seen before the race's object."""
        for job in self._orphans.take(race.namespace, race.uid):
            self._add(race, job)

    def forget_absent(self, race: Race, absent: AbstractSet[str]) -> None:
        """Forgets those Jobs of the race that the newest full listing lacks."""
        for name in [name for name, job in race.workload.jobs.items() if job.uid in absent]:
            del race.workload.jobs[name]
            race.logbook.news += 1

    def grow_old(self) -> None:
        """Call this after each full listing: drops Jobs without a known race, unless seen since the last call."""
        self._orphans.grow_old()

    def _add(self, race: Race, job: JobFacts) -> bool:
        """Takes in a Job whose owner is the race, if its name is one of the race's, and takes in the Job's pods."""
        if not race.workload.may_own(job.name):
            return False
        race.workload.jobs[job.name] = job
        if self._register.own(race, job.uid, job.name):
            self._pods.adopt(race, job.uid, job.name)
        return True
