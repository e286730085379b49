"""Why a pod ended: a disruption costs its trial no attempt, and an end of the pod's own costs one. Pure.

The pod's program has no part in a disruption: an eviction, a preemption, a drained or lost node, or a deletion by
anyone. Kubernetes marks most of these, and counts no marked pod as failed. It does not mark a pod that somebody
deleted. It counts that pod as failed, with an exit code (143, 137) that a pod killed for memory can have too. So the
Job's limit allows for both, and this module counts the attempts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from velodrome import keys

if TYPE_CHECKING:  # the children need `retries`, and observation needs neither
    from velodrome_operator.observation import PodFacts

_ENDED_BY_SIGTERM = 143
# How far a node's clock may be behind the API server's clock.
_SKEW = timedelta(seconds=60)
# A pod that ends with one of these has reported how its trial went, even if something else ended it.
_REPORTED = (keys.EXIT_OK, keys.EXIT_FAILED, keys.EXIT_CONFIGURATION)


def retries(nodes: int) -> int:
    """How often a trial is tried again after its own pods ended.

    If several pods train together, the loss of one costs each of the others an attempt.
    """
    return 2 if nodes == 1 else 6


def is_disruption(pod: PodFacts, *, gone: bool = False) -> bool:
    """Whether the pod was lost to a disruption. `gone` says that it no longer exists.

    A pod that still runs is not lost yet, no matter who deletes it. A pod does not count if nobody saw its end or
    its deletion.
    """
    if pod.phase in ("Succeeded", "Unknown"):
        return False
    if pod.disrupted or pod.released:
        return pod.disrupted
    if not pod.ended:
        return gone
    if pod.reason in ("OOMKilled", "DeadlineExceeded") or pod.exit_code in _REPORTED:
        return False
    if pod.exit_code is None or pod.reason == "ContainerStatusUnknown":
        return True  # the kubelet turned it away, or lost it with the node
    if pod.started_at is None and pod.reason != "StartError":
        return True  # its container never ran, as where the container runtime was killed
    return _deleted_before_its_end(pod)


def _deleted_before_its_end(pod: PodFacts) -> bool:
    """Compares the API server's clock with the node's. If the pod was asked to end, the clocks may differ a little."""
    if pod.deleted_at is None or pod.finished_at is None:
        return pod.deleted_at is not None
    slack = _SKEW if pod.exit_code == _ENDED_BY_SIGTERM else timedelta(0)
    return pod.finished_at + slack >= pod.deleted_at


def disruptions(pods: Iterable[PodFacts], gone: Iterable[PodFacts]) -> int:
    """How many pods of a race were lost to disruptions: those that were seen, or more if Kubernetes counted more.

    Kubernetes writes on each pod how many pods failed before it at its index. If a failed pod was not seen to end by
    itself, it was disrupted while nobody looked. A pod that its Job may have released does not count until Kubernetes
    counts it.
    """
    seen = _seen(pods, gone)
    # Of very many pods, few say anything: an index without a disruption and without a failure before it adds nothing.
    touched = {(pod.job, pod.index) for pod, disrupted in seen if disrupted or pod.failures}
    sightings: dict[tuple[str, int], list[tuple[PodFacts, bool]]] = defaultdict(list)
    for pod, disrupted in seen if touched else ():
        if (pod.job, pod.index) in touched:
            sightings[pod.job, pod.index].append((pod, disrupted))
    return sum(_at_index(index) for index in sightings.values())


def _seen(pods: Iterable[PodFacts], gone: Iterable[PodFacts]) -> list[tuple[PodFacts, bool]]:
    """All of these pods, each with whether a disruption took it."""
    here = [(pod, is_disruption(pod, gone=False)) for pod in pods]
    return here + [(pod, is_disruption(pod, gone=True)) for pod in gone]


def _at_index(found: Sequence[tuple[PodFacts, bool]]) -> int:
    newest, lost = max(found, key=lambda item: (item[0].created_at, item[0].failures))
    own = sum(1 for pod, disrupted in found if pod is not newest and _failed_by_itself(pod, disrupted=disrupted))
    return max(sum(disrupted for _, disrupted in found), newest.failures - own + lost)


def _failed_by_itself(pod: PodFacts, *, disrupted: bool) -> bool:
    return pod.phase == "Failed" and not disrupted and not (pod.released and _deleted_before_its_end(pod))


def spent(pods: Iterable[PodFacts], gone: Iterable[PodFacts], nodes: int) -> dict[tuple[str, int], PodFacts]:
    """Trials without attempts left, by Job name and first completion index, with the pod of the last attempt.

    `nodes` pods train one trial together. A pod that ended because a disruption took another of them costs no attempt.
    """
    there, away = list(pods), list(gone)
    failing = {(pod.job, pod.index - pod.index % nodes) for pod in (*there, *away) if pod.phase == "Failed"}
    trials: dict[tuple[str, int], list[tuple[PodFacts, bool]]] = defaultdict(list)
    for pod, disrupted in _seen(there, away) if failing else ():
        trial = pod.job, pod.index - pod.index % nodes
        if trial in failing:
            trials[trial].append((pod, disrupted))
    return {
        trial: max(failed, key=lambda pod: pod.created_at)
        for trial, ends in trials.items()
        if (failed := _costly(ends, nodes))
    }


def _costly(ends: Sequence[tuple[PodFacts, bool]], nodes: int) -> list[PodFacts]:
    """The failed pods of the index that used up its attempts. Empty while every index has an attempt left."""
    excused = sum(disrupted for _, disrupted in ends)
    by_index: dict[int, list[PodFacts]] = defaultdict(list)
    for pod, disrupted in ends:
        if _failed_by_itself(pod, disrupted=disrupted):
            by_index[pod.index].append(pod)
    for failed in by_index.values():
        followers = sum(1 for pod in failed if pod.exit_code == keys.EXIT_PEER_LOST)
        if len(failed) - min(followers, excused) > retries(nodes):
            return failed
    return []
