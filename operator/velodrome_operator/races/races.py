"""All BenchmarkJobs that the operator knows, kept up to date by events and listings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from velodrome_operator.observation import OddObject, uid_of, version_of
from velodrome_operator.occupancy import Occupancy
from velodrome_operator.races.jobs import JobSightings
from velodrome_operator.races.parent import ParentObject
from velodrome_operator.races.pods import PodSightings
from velodrome_operator.races.race import Race
from velodrome_operator.races.register import RaceRegister

Raw = Mapping[str, Any]
KINDS = ("BenchmarkJob", "Job", "Pod")

log = logging.getLogger("velodrome.operator")


class Races:
    """All BenchmarkJobs by uid, kept up to date by events.

    `saw_*` return the uid of the race about which an event showed something new, or None. They never raise: an object
    that can't be read is logged, counted in `unreadable` by its kind, and changes nothing.

    A Job belongs to a race if it lies in the race's namespace, the race's object controls it, and its name is one that
    the race gives to its Jobs. A pod belongs to a race if such a Job controls it. Labels don't matter.
    """

    def __init__(self) -> None:
        self.unreadable = dict.fromkeys(KINDS, 0)
        self._register = RaceRegister()
        self._occupancy = Occupancy()
        self._pods = PodSightings(self._register, self._occupancy)
        self._jobs = JobSightings(self._register, self._pods)

    def __iter__(self) -> Iterator[Race]:
        return iter(self._register)

    def __len__(self) -> int:
        return len(self._register)

    def get(self, uid: str) -> Race | None:
        """The race of that uid, if its object is there."""
        return self._register.get(uid)

    def saw_parent(self, raw: Raw, *, gone: bool = False) -> str | None:
        """An event of a BenchmarkJob. A version that is older than the known one changes nothing."""
        return self._read("BenchmarkJob", raw, self._lost_parent if gone else self._found_parent)

    def saw_job(self, raw: Raw, *, gone: bool = False) -> str | None:
        """An event of a Job."""
        return self._read("Job", raw, self._jobs.lost if gone else self._jobs.found)

    def saw_pod(self, raw: Raw, *, gone: bool = False) -> str | None:
        """An event of a pod."""
        return self._read("Pod", raw, self._pods.lost if gone else self._pods.found)

    def made_job(self, raw: Raw) -> None:
        """A Job was just created: a pass before its first event must not make it again. That event shows more."""
        self._read("Job", raw, self._jobs.made)

    def children(self) -> tuple[frozenset[str], frozenset[str]]:
        """The uids of all known Jobs and of all known pods."""
        loads = [race.workload for race in self]
        jobs = frozenset(job.uid for load in loads for job in load.jobs.values())
        return jobs, frozenset(uid for load in loads for uid in load.pods)

    def forget_absent(self, jobs: AbstractSet[str], pods: AbstractSet[str]) -> None:
        """Drops the Jobs and pods of these uids, which the newest full listing lacks: nobody saw their end."""
        for race in self:
            self._jobs.forget_absent(race, jobs)
            self._pods.forget_absent(race, pods)
        self._jobs.grow_old()
        self._pods.grow_old()

    def _read(self, kind: str, raw: Raw, read: Callable[[Raw], str | None]) -> str | None:
        try:
            return read(raw)
        except OddObject as error:
            log.warning("%s", error, extra={"kind": kind})
        except Exception:  # an odd object must not hold up the others
            log.exception("a %s can't be read", kind, extra={"kind": kind})
        self.unreadable[kind] += 1
        return None

    def _found_parent(self, raw: Raw) -> str | None:
        uid = uid_of(raw)
        race = self._register.get(uid)
        if race is None:
            race = Race.of(raw)
            race.occupancy = self._occupancy
            self._register.add(race)
            self._jobs.adopt(race)
        elif version_of(raw) > race.parent.version:
            race.parent = ParentObject.read(raw)
            race.logbook.news += 1
        else:
            return None
        return uid

    def _lost_parent(self, raw: Raw) -> str:
        uid = uid_of(raw)
        self._register.drop(uid)
        return uid
