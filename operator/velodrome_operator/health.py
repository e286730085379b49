"""The answers to the kubelet's probes."""

from __future__ import annotations

import time
from typing import Any

from velodrome.errors import TryAgain
from velodrome_operator.cluster import Cluster
from velodrome_operator.collection import Collection
from velodrome_operator.controller import Controller
from velodrome_operator.supervision import Supervision
from velodrome_operator.sweep import RESYNC_SECONDS, Sweep
from velodrome_operator.watches import Watches

# Redis is asked several times a second. If the last answer is this old, Redis does not answer.
_REDIS_SECONDS = 15.0
# If no sweep has ended for this long, something hangs, and a restart is the cure.
_STUCK_SECONDS = 5 * RESYNC_SECONDS


class NotReady(TryAgain):
    """The operator can't do its work now. The message says why."""

    reason = "NotReady"


class Health:
    """Whether the operator does its work, and whether a restart would help."""

    def __init__(
        self,
        sweep: Sweep,
        watches: Watches,
        tasks: Supervision,
        collection: Collection,
        controller: Controller,
        cluster: Cluster,
    ) -> None:
        self._sweep = sweep
        self._watches = watches
        self._tasks = tasks
        self._collection = collection
        self._controller = controller
        self._cluster = cluster

    def readiness(self) -> dict[str, Any]:
        """The answer to the readiness probe.

        Raises:
            NotReady: not everything has been listed yet, Redis has not answered lately, or the operator is not live.
        """
        if not self._sweep.has_listed:
            raise NotReady("BenchmarkJobs have not been listed yet")
        collected = self._collection.last_round
        if collected is None or time.monotonic() - collected > _REDIS_SECONDS:
            raise NotReady("Redis does not answer")
        return self.liveness()

    def liveness(self) -> dict[str, Any]:
        """The answer to the liveness probe.

        Raises:
            NotReady: no sweep has ended for long, a watch shows nothing any more, or a task keeps ending.
        """
        now = time.monotonic()
        idle = now - self._sweep.tried_at
        if idle > _STUCK_SECONDS:
            raise NotReady(f"no sweep has been tried for {idle:.0f} s")
        silent = self._watches.silent_for(now)
        if silent > _STUCK_SECONDS:
            raise NotReady(f"for {silent:.0f} s, no event has reported what the API server shows")
        problem = self._tasks.problem()
        if problem is not None:
            raise NotReady(problem)
        passes = self._controller.passes
        return {
            "benchmarkjobs": len(self._controller.races),
            "passes": sum(passes.values()),
            "failures": sum(passes.values()) - passes["Succeeded"],
            "accepted": self._collection.results["accepted"],
            "writes": sum(self._cluster.writes.values()),
            "sweep_age_seconds": round(idle, 1),
        }
