"""An API server that lists some BenchmarkJobs and keeps what is written: what tests of a whole operator talk to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from velodrome_operator.cluster import Cluster, Refusal, Unavailable

if TYPE_CHECKING:
    from tests.integration.conftest import Race


class ApiServer(Cluster):
    """Knows these BenchmarkJobs and no Jobs or pods. While it is `away`, it takes no Event.

    `events` holds the uid, reason and message of each Event, `statuses` the uid of each object whose status was
    written.
    """

    def __init__(self, *parents: dict[str, Any]) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # nothing is called
        self.listed = parents
        self.events: list[tuple[str, str, str]] = []
        self.statuses: list[str] = []
        self.away = False

    def parents(self, namespace: str | None) -> AsyncIterator[dict[str, Any]]:
        return _each(self.listed)

    def jobs(self, namespace: str | None, uid: str | None = None) -> AsyncIterator[dict[str, Any]]:
        return _each(())

    def pods(self, namespace: str | None, uid: str | None = None) -> AsyncIterator[dict[str, Any]]:
        return _each(())

    async def pod_refusals(self, namespace: str) -> dict[str, Refusal]:
        return {}

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        self.writes["create"] += 1
        made = {"uid": manifest["metadata"]["name"], "creationTimestamp": "2026-01-01T00:00:00Z"}
        return {**manifest, "metadata": {**manifest["metadata"], **made}}

    async def event(
        self,
        parent: Mapping[str, Any],
        reason: str,
        message: str,
        *,
        warning: bool,
        at: datetime,
        about: str | None = None,
    ) -> None:
        if self.away:
            raise Unavailable("it is away")
        self.events.append((parent["metadata"]["uid"], reason, message))

    async def write_status(self, parent: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any] | None:
        self.writes["update"] += 1
        self.statuses.append(parent["metadata"]["uid"])
        version = str(int(parent["metadata"]["resourceVersion"]) + 1)
        return {**parent, "metadata": {**parent["metadata"], "resourceVersion": version}, "status": dict(status)}


def parent(race: Race, *held: str) -> dict[str, Any]:
    """The BenchmarkJob of a race as it is listed, with these conditions."""
    document: dict[str, Any] = json.loads(race.plan.job.model_dump_json(by_alias=True, exclude_none=True))
    created = race.info.created_at.isoformat()
    document["metadata"] |= {"uid": race.uid, "namespace": "team", "resourceVersion": "1", "generation": 1}
    document["metadata"]["creationTimestamp"] = created
    conditions = [
        {"type": kind, "status": "True", "reason": "R", "message": "", "lastTransitionTime": created} for kind in held
    ]
    counts = {"total": 5, "succeeded": 5, "failed": 0}
    return dict(document, status={"observedGeneration": 1, "conditions": conditions, "trials": counts})


async def _each(items: tuple[dict[str, Any], ...]) -> AsyncIterator[dict[str, Any]]:
    for item in items:
        yield item
