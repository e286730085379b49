"""Reads everything that the API server has, which finds what no event reported."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from velodrome import keys
from velodrome_operator import memory, shapes
from velodrome_operator.cluster import Cluster
from velodrome_operator.controller import Controller
from velodrome_operator.observation import version_of
from velodrome_operator.watches import Watches


async def take_in(
    cluster: Cluster, controller: Controller, watches: Watches, namespaces: AbstractSet[str]
) -> frozenset[str]:
    """Takes in all objects of these namespaces, or of all, as they are now. Returns the uids of the BenchmarkJobs.

    An object that is made during the listing may be in no list. So only objects that were known before can be found to
    be gone. Jobs come before pods, since a pod is known by its Job.

    Raises:
        TryAgain, ActionNeeded: as the API server answers.
    """
    races, shown = controller.races, watches.known
    known, (known_jobs, known_pods) = {race.uid for race in races}, races.children()
    listed: dict[str, int] = {}
    async for raw in _each(cluster.parents, namespaces):
        listed[_uid(raw)] = version_of(raw)
        races.saw_parent({**raw, "apiVersion": keys.API_VERSION, "kind": keys.KIND})
    present, jobs, pods = frozenset(listed), set[str](), set[str]()
    async for raw in _each(cluster.jobs, namespaces):
        jobs.add(_uid(raw))
        if _is_news(raw, listed, watches):
            races.saw_job(raw)
    async for raw in _each(cluster.pods, namespaces):
        pods.add(_uid(raw))
        if _is_news(raw, listed, watches):
            races.saw_pod(raw)
    watches.compare(shown, listed, time.monotonic())
    for race in races:
        if race.uid in known - present:
            races.saw_parent(race.parent.raw, gone=True)
            controller.forget(race.uid)
    races.forget_absent(known_jobs - jobs, known_pods - pods)
    memory.give_back()
    return present


async def _each(
    listing: Callable[[str | None], AsyncIterator[dict[str, Any]]], namespaces: AbstractSet[str]
) -> AsyncIterator[dict[str, Any]]:
    """What the listing finds in each of the namespaces, or in the whole cluster."""
    for namespace in sorted(namespaces) or (None,):
        async for raw in listing(namespace):
            yield raw


def _is_news(raw: Mapping[str, Any], listed: dict[str, int], watches: Watches) -> bool:
    """Notes a child that was listed. Returns False if an event showed a later version of it in the meantime."""
    uid, version = _uid(raw), version_of(raw)
    listed[uid] = version
    return watches.version(uid) <= version


def _uid(raw: Mapping[str, Any]) -> str:
    return shapes.text(shapes.at(raw, "metadata", "uid"))
