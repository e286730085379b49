"""What events and listings show of pods, kept with the race that owns each pod."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from velodrome import keys
from velodrome_operator import shapes
from velodrome_operator.observation import PodFacts, namespace_of, pod_facts, uid_of
from velodrome_operator.occupancy import Occupancy
from velodrome_operator.ownership import Orphans, job_uid
from velodrome_operator.races.race import Race
from velodrome_operator.races.register import RaceRegister

Raw = Mapping[str, Any]


class PodSightings:
    """Each public method returns the uid of the race about which it shows something new, or None.

    Raises:
        OddObject: a pod can't be read.
    """

    def __init__(self, register: RaceRegister, occupancy: Occupancy) -> None:
        self._register = register
        self._occupancy = occupancy
        self._orphans: Orphans[PodFacts] = Orphans()

    def found(self, raw: Raw) -> str | None:
        """A pod exists, as it is now."""
        owner, job = self._register.owner_of_pod(raw), job_uid(raw)
        if owner is None:
            if job is not None and not self._register.owns(job):
                self._orphans.put(namespace_of(raw), job, uid_of(raw), pod_facts(raw, ""))
            return self._released(raw)
        race, pod = owner[0], pod_facts(raw, owner[1])
        return race.uid if self._keep(race, pod) else None

    def lost(self, raw: Raw) -> str | None:
        """A pod is gone. If its last state can't be read, the state before it counts."""
        uid = uid_of(raw)
        self._orphans.drop(namespace_of(raw), uid)
        owner = self._register.owner_of_pod(raw)
        if owner is None:
            return None
        race, job = owner
        last = known = race.workload.pods.pop(uid, None)
        race.logbook.news += 1
        if known is not None:
            self._occupancy.left(known)
        try:
            last = _as_first_released(pod_facts(raw, job), known)
            self._occupancy.saw(race.uid, last, gone=True)
        finally:
            if last is not None:
                race.workload.gone[uid] = last
        return race.uid

    def adopt(self, race: Race, job: str, name: str) -> None:
        """Takes in the pods that were seen before their Job. `job` and `name` are the uid and the name of that Job."""
        for pod in self._orphans.take(race.namespace, job):
            self._keep(race, replace(pod, job=name))

    def forget_absent(self, race: Race, absent: AbstractSet[str]) -> None:
        """Moves those pods of the race that the newest full listing lacks to the pods that are gone."""
        for uid in race.workload.pods.keys() & absent:
            self._let_go(race, uid)

    def grow_old(self) -> None:
        """Call this after each full listing: drops pods without a known Job, unless seen since the last call."""
        self._orphans.grow_old()

    def _keep(self, race: Race, pod: PodFacts) -> bool:
        """Keeps the pod. Returns whether it differs from what was known."""
        pods = race.workload.pods
        pod = _as_first_released(pod, pods.get(pod.uid))
        if pods.get(pod.uid) == pod:
            return False
        pods[pod.uid] = pod
        race.logbook.news += 1
        self._occupancy.saw(race.uid, pod)
        return True

    def _released(self, raw: Raw) -> str | None:
        """A pod that its Job released, as when somebody changes its labels to inspect it. Another runs the trial."""
        race = self._register.get(shapes.text(shapes.at(raw, "metadata", "labels", keys.LABEL_JOB_UID)))
        if race is None or uid_of(raw) not in race.workload.pods:
            return None
        self._let_go(race, uid_of(raw))
        return race.uid

    def _let_go(self, race: Race, uid: str) -> None:
        """Notes that a pod is absent, though its end was not seen."""
        pod = race.workload.pods.pop(uid)
        race.workload.gone[uid] = pod
        self._occupancy.left(pod)
        race.logbook.news += 1


def _as_first_released(pod: PodFacts, known: PodFacts | None) -> PodFacts:
    """Keeps `released` as it was when the deletion was first seen: later the controller releases every deleted pod."""
    return replace(pod, released=known.released) if known is not None and known.deleting else pod
