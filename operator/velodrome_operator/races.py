"""All BenchmarkJobs that the operator knows, with the Jobs and pods that are theirs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from velodrome import keys
from velodrome_operator import shapes
from velodrome_operator.observation import (
    JobFacts,
    OddObject,
    PodFacts,
    job_facts,
    namespace_of,
    pod_facts,
    uid_of,
    version_of,
)
from velodrome_operator.occupancy import Occupancy
from velodrome_operator.ownership import Orphans, job_uid, parent_uid
from velodrome_operator.race import Race

Raw = Mapping[str, Any]
KINDS = ("BenchmarkJob", "Job", "Pod")

log = logging.getLogger("velodrome.operator")


class Races:
    """All BenchmarkJobs by uid, kept up to date by events.

    `saw_*` return the uid of the race of which an event told something new, None where nothing is. They never raise:
    an object that can't be read is logged, counted in `unreadable` by its kind, and changes nothing.

    A Job is a race's where it lies in the race's namespace, the race's object controls it, and it has a name that the
    race gives to its Jobs; a pod is one where such a Job controls it. Labels don't matter.
    """

    def __init__(self) -> None:
        self.unreadable = dict.fromkeys(KINDS, 0)
        self._races: dict[str, Race] = {}
        self._owners: dict[str, str] = {}
        self._occupancy = Occupancy()
        self._jobs: Orphans[JobFacts] = Orphans()
        self._pods: Orphans[PodFacts] = Orphans()

    def __iter__(self) -> Iterator[Race]:
        return iter(list(self._races.values()))

    def __len__(self) -> int:
        return len(self._races)

    def get(self, uid: str) -> Race | None:
        """The race of that uid, if its object is there."""
        return self._races.get(uid)

    def saw_parent(self, raw: Raw, *, gone: bool = False) -> str | None:
        """An event of a BenchmarkJob; an older version than the one that is known changes nothing."""
        return self._read("BenchmarkJob", raw, self._lost_parent if gone else self._found_parent)

    def saw_job(self, raw: Raw, *, gone: bool = False) -> str | None:
        """An event of a Job."""
        return self._read("Job", raw, self._lost_job if gone else self._found_job)

    def saw_pod(self, raw: Raw, *, gone: bool = False) -> str | None:
        """An event of a pod."""
        return self._read("Pod", raw, self._lost_pod if gone else self._found_pod)

    def made_job(self, raw: Raw) -> None:
        """A Job that was just created: a pass before its first event must not make it again. The event knows more."""
        self._read("Job", raw, self._made_job)

    def children(self) -> tuple[frozenset[str], frozenset[str]]:
        """The uids of all Jobs and of all pods that are known."""
        races = self._races.values()
        jobs = frozenset(job.uid for race in races for job in race.jobs.values())
        return jobs, frozenset(uid for race in races for uid in race.pods)

    def forget_absent(self, jobs: AbstractSet[str], pods: AbstractSet[str]) -> None:
        """Lets go of children (uids of Jobs and pods) that a full listing no longer had: their end went unseen."""
        for race in self._races.values():
            for name in [name for name, job in race.jobs.items() if job.uid in jobs]:
                del race.jobs[name]
                race.news += 1
            for uid in race.pods.keys() & pods:
                race.gone[uid] = race.pods.pop(uid)
                self._occupancy.left(race.gone[uid])
                race.news += 1
        self._jobs.grow_old()
        self._pods.grow_old()

    def _read(self, kind: str, raw: Raw, read: Callable[[Raw], str | None]) -> str | None:
        try:
            return read(raw)
        except OddObject as error:
            log.warning("%s", error, extra={"kind": kind})
        except Exception:  # whatever an object is like, it stands in no other's way
            log.exception("a %s can't be read", kind, extra={"kind": kind})
        self.unreadable[kind] += 1
        return None

    def _found_parent(self, raw: Raw) -> str | None:
        uid = uid_of(raw)
        race = self._races.get(uid)
        if race is None:
            self._races[uid] = race = Race.of(raw)
            race.occupancy = self._occupancy
            for job in self._jobs.take(race.namespace, uid):
                self._add_job(race, job)
        elif version_of(raw) > race.version:
            race.saw(raw)
            race.news += 1
        else:
            return None
        return uid

    def _lost_parent(self, raw: Raw) -> str:
        uid = uid_of(raw)
        race = self._races.pop(uid, None)
        for job in race.owned if race is not None else ():
            self._owners.pop(job, None)
        return uid

    def _found_job(self, raw: Raw) -> str | None:
        owner = parent_uid(raw)
        if owner is None:
            return self._lost_job(raw)  # nobody's, or no longer the race's
        namespace, race, facts = namespace_of(raw), self._races.get(owner), job_facts(raw)
        if race is None:
            self._jobs.put(namespace, owner, facts.uid, facts)
        elif race.namespace == namespace and race.jobs.get(facts.name) != facts and self._add_job(race, facts):
            race.news += 1
            return owner
        return None

    def _made_job(self, raw: Raw) -> None:
        race, facts = self._races.get(parent_uid(raw) or ""), job_facts(raw)
        if race is not None and race.namespace == namespace_of(raw) and facts.name not in race.jobs:
            self._add_job(race, facts)

    def _add_job(self, race: Race, job: JobFacts) -> bool:
        """Takes in a Job that its owner says is the race's, if it has one of its names; and its pods."""
        if not race.may_own(job.name):
            return False
        race.jobs[job.name] = job
        if job.uid not in race.owned:
            race.owned[job.uid] = job.name
            self._owners[job.uid] = race.uid
            for pod in self._pods.take(race.namespace, job.uid):
                self._keep_pod(race, replace(pod, job=job.name))
        return True

    def _lost_job(self, raw: Raw) -> str | None:
        """Its pods may outlast it, and stay the race's."""
        uid = uid_of(raw)
        self._jobs.drop(namespace_of(raw), uid)
        race = self._races.get(self._owners.get(uid, ""))
        if race is None:
            return None
        if uid not in race.owned:
            del self._owners[uid]
        known = next((name for name, job in race.jobs.items() if job.uid == uid), None)
        if known is None:
            return None
        del race.jobs[known]
        race.news += 1
        return race.uid

    def _owner(self, raw: Raw) -> tuple[Race, str] | None:
        """The race that a pod is of, and the name of its Job; None where it is of none that is known."""
        job = job_uid(raw) or ""
        race = self._races.get(self._owners.get(job, ""))
        if race is None or race.namespace != namespace_of(raw) or job not in race.owned:
            return None
        return race, race.owned[job]

    def _found_pod(self, raw: Raw) -> str | None:
        found, job = self._owner(raw), job_uid(raw)
        if found is None:
            if job is not None and job not in self._owners:
                self._pods.put(namespace_of(raw), job, uid_of(raw), pod_facts(raw, ""))
            return self._released(raw)
        race, pod = found[0], pod_facts(raw, found[1])
        return race.uid if self._keep_pod(race, pod) else None

    def _keep_pod(self, race: Race, pod: PodFacts) -> bool:
        """Whether the pod is another than it was."""
        pod = _as_first_released(pod, race.pods.get(pod.uid))
        if race.pods.get(pod.uid) == pod:
            return False
        race.pods[pod.uid] = pod
        race.news += 1
        self._occupancy.saw(race.uid, pod)
        return True

    def _released(self, raw: Raw) -> str | None:
        """A pod that its Job let go, as when somebody changes its labels to look into it: the trial runs in another."""
        race = self._races.get(shapes.text(shapes.at(raw, "metadata", "labels", keys.LABEL_JOB_UID)))
        if race is None or uid_of(raw) not in race.pods:
            return None
        race.gone[uid_of(raw)] = race.pods.pop(uid_of(raw))
        self._occupancy.left(race.gone[uid_of(raw)])
        race.news += 1
        return race.uid

    def _lost_pod(self, raw: Raw) -> str | None:
        uid = uid_of(raw)
        self._pods.drop(namespace_of(raw), uid)
        found = self._owner(raw)
        if found is None:
            return None
        race = found[0]
        known = race.pods.pop(uid, None)
        race.news += 1
        if known is not None:
            race.gone[uid] = known
            self._occupancy.left(known)
        race.gone[uid] = _as_first_released(pod_facts(raw, found[1]), known)
        self._occupancy.saw(race.uid, race.gone[uid], gone=True)
        return race.uid


def _as_first_released(pod: PodFacts, known: PodFacts | None) -> PodFacts:
    """The pod, released or not as it was when it was first seen to be deleted: later its controller lets go of any."""
    return replace(pod, released=known.released) if known is not None and known.deleting else pod
