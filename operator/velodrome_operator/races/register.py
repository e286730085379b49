"""Which races exist, and to which of them a Job or a pod belongs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from velodrome.keys import object_uid
from velodrome_operator.observation import namespace_of
from velodrome_operator.ownership import job_uid
from velodrome_operator.races.race import Race


class RaceRegister:
    """The races, by their uid and by the uid of each Job that was seen to be theirs."""

    def __init__(self) -> None:
        self._races: dict[str, Race] = {}
        self._owners: dict[str, str] = {}

    def __iter__(self) -> Iterator[Race]:
        return iter(list(self._races.values()))

    def __len__(self) -> int:
        return len(self._races)

    def get(self, uid: str | None) -> Race | None:
        """The race whose object, or whose results, have that uid, if the object is there."""
        return self._races.get(object_uid(uid or ""))

    def add(self, race: Race) -> None:
        """Adds a race whose object was seen for the first time."""
        self._races[race.uid] = race

    def drop(self, uid: str) -> None:
        """Drops a race whose object is gone."""
        race = self._races.pop(uid, None)
        for job in race.workload.owned if race is not None else ():
            self._owners.pop(job, None)

    def own(self, race: Race, job: str, name: str) -> bool:
        """Notes that a Job (its uid and name) is the race's. Returns whether that is new."""
        if job in race.workload.owned:
            return False
        race.workload.owned[job] = name
        self._owners[job] = race.uid
        return True

    def owns(self, job: str) -> bool:
        """Whether the Job of that uid belongs to some race."""
        return job in self._owners

    def owner(self, job: str) -> Race | None:
        """The race that owns the Job of that uid. Forgets a Job that the race has dropped."""
        race = self._races.get(self._owners.get(job, ""))
        if race is not None and job not in race.workload.owned:
            del self._owners[job]
        return race

    def owner_of_pod(self, raw: Mapping[str, Any]) -> tuple[Race, str] | None:
        """The race to which a pod belongs, and the name of its Job. None if no known race owns it."""
        job = job_uid(raw) or ""
        race = self._races.get(self._owners.get(job, ""))
        if race is None or race.namespace != namespace_of(raw) or job not in race.workload.owned:
            return None
        return race, race.workload.owned[job]
