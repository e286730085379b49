"""Which trials' pods ran on a node at the same time. Pure: it keeps what it gets, and asks nobody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from velodrome_operator.observation import PodFacts

# How many ended pods of each node are remembered. No node runs more than this at once.
_REMEMBERED = 256
_A_DAY = timedelta(days=1)
# Times are whole seconds. A pod that began and ended in the same second was there for a moment.
_MOMENT = timedelta(microseconds=1)
_NOT_YET = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Stay:
    """When a pod ran on its node. `until` is None while the pod runs. `race` is the uid of its BenchmarkJob."""

    race: str
    job: str
    index: int
    since: datetime
    until: datetime | None = None

    def overlaps(self, other: Stay) -> bool:
        """Whether both ran at one moment. If one ends in the second in which the other starts, it was over before."""
        return self.since < (other.until or _NOT_YET) and other.since < (self.until or _NOT_YET)


class Occupancy:
    """The stays of every race's pods on every node, as far as the operator saw them."""

    def __init__(self) -> None:
        self._nodes: defaultdict[str, dict[str, Stay]] = defaultdict(dict)

    def stays(self) -> dict[str, int]:
        """How many stays are remembered for each node."""
        return {node: len(stays) for node, stays in self._nodes.items()}

    def saw(self, race: str, pod: PodFacts, *, gone: bool = False) -> None:
        """Keeps what is known about a pod now. `gone` says that it no longer exists."""
        stay = stay_of(race, pod, gone=gone)
        if pod.node is None or stay is None:
            return
        if pod.node not in self._nodes:
            self._forget_nodes(stay.since)
        stays = self._nodes[pod.node]
        stays[pod.uid] = stay
        if len(stays) > _REMEMBERED:
            self._forget_some(stays)

    def left(self, pod: PodFacts) -> None:
        """A pod is absent, and nobody saw its end. It may have ended at any time since it started."""
        stays = self._nodes.get(pod.node or "", {})
        stay = stays.get(pod.uid)
        if stay is not None and stay.until is None:
            stays[pod.uid] = Stay(stay.race, stay.job, stay.index, stay.since, stay.since)

    def concurrent(self, race: str, pod: PodFacts, nodes: int = 1) -> int | None:
        """The most trials that ran at once on a trial's nodes while it ran, itself included.

        None if the node or the start is unknown. `pod` is one of the `nodes` pods that train the trial together.
        """
        mine = self._nodes.get(pod.node or "", {}).get(pod.uid) or stay_of(race, pod)
        if mine is None or pod.node is None:
            return None
        first = pod.index - pod.index % nodes
        own = range(first, first + nodes)
        peaks = []
        for node, stays in self._nodes.items() if nodes > 1 else ((pod.node, self._nodes.get(pod.node, {})),):
            ours = [stay for stay in stays.values() if _is_of(stay, race, pod.job, own) and stay.overlaps(mine)]
            others = [stay for stay in stays.values() if not _is_of(stay, race, pod.job, own)]
            peaks += [peak(stay, others) for stay in (*ours, *([mine] if node == pod.node else ()))]
        return 1 + max(peaks, default=0)

    def _forget_nodes(self, now: datetime) -> None:
        """Forgets nodes on which nothing ran for a day, since nodes come and go."""
        for name, stays in list(self._nodes.items()):
            if all(stay.until is not None and stay.until < now - _A_DAY for stay in stays.values()):
                del self._nodes[name]

    @staticmethod
    def _forget_some(stays: dict[str, Stay]) -> None:
        ended = sorted((stay.until, uid) for uid, stay in stays.items() if stay.until is not None)
        for _, uid in ended[: len(ended) // 2]:
            del stays[uid]


def _is_of(stay: Stay, race: str, job: str, indexes: Sequence[int]) -> bool:
    return stay.race == race and stay.job == job and stay.index in indexes


def stay_of(race: str, pod: PodFacts, *, gone: bool = False) -> Stay | None:
    """The stay of a pod. None while the pod has not started."""
    if pod.started_at is None:
        return None
    until = pod.finished_at
    if until is None and (gone or pod.ended or pod.phase == "Unknown"):
        until = max(pod.started_at, pod.deleted_at or pod.started_at)
    return Stay(race, pod.job, pod.index, pod.started_at, until)


def peak(stay: Stay, others: Iterable[Stay]) -> int:
    """The most of the others that ran at one moment of the stay."""
    moments: list[tuple[datetime, int]] = []
    for other in others:
        if other.overlaps(stay):
            since, until = max(other.since, stay.since), other.until or _NOT_YET
            moments += [(since, 1), (max(until, since + _MOMENT), -1)]
    most = now = 0
    for _, change in sorted(moments):  # at the same moment, ends come first
        now += change
        most = max(most, now)
    return most
