"""What kopf calls: each event is noted and wakes a pass, and nothing more. No other module imports kopf.

No handler waits, and all of them are `on.event`. So kopf adds no finalizer and no annotation to any object.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import kopf

from velodrome import keys
from velodrome_operator.cluster import LISTED_AT_ONCE
from velodrome_operator.crd import PLURAL
from velodrome_operator.service import Service

_JOBS = ("batch", "v1", "jobs")
_PODS = ("", "v1", "pods")


def registry(connected: Callable[[], AbstractAsyncContextManager[Service]]) -> kopf.OperatorRegistry:
    """The handlers of one operator. `connected` makes it when kopf starts, and it is closed when kopf stops."""
    found = kopf.OperatorRegistry()
    tasks: list[asyncio.Task[None]] = []
    connections = contextlib.AsyncExitStack()
    running: list[Service] = []

    @kopf.on.startup(registry=found)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings)
        service = await connections.enter_async_context(connected())
        running.append(service)
        await service.sweep.try_first()
        tasks.extend(asyncio.create_task(work) for work in service.workers())
        await service.sweep.listed()  # kopf looks once which kinds exist, so the kind BenchmarkJob must exist by then

    @kopf.on.login(registry=found)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.cleanup(registry=found)
    async def stop(**_: Any) -> None:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await connections.aclose()

    @kopf.on.event(keys.GROUP, keys.VERSION, PLURAL, registry=found)
    async def benchmarkjob(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        running[0].saw("parent", _raw(body), gone=type == "DELETED")

    @kopf.on.event(*_JOBS, labels={keys.LABEL_JOB_UID: kopf.PRESENT}, registry=found)
    async def job(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        running[0].saw("job", _raw(body), gone=type == "DELETED")

    @kopf.on.event(*_PODS, labels={keys.LABEL_JOB_UID: kopf.PRESENT}, registry=found)
    async def pod(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        running[0].saw("pod", _raw(body), gone=type == "DELETED")

    return found


def configure(settings: kopf.OperatorSettings) -> None:
    """Watches only our own objects, ends watches that become silent, and turns off kopf's own Events."""
    settings.posting.enabled = False
    # The API server leaves out other people's Jobs and pods. A handler's labels only make kopf discard what it got.
    for shared in (_JOBS, _PODS):
        settings.watching.label_selectors[shared] = keys.LABEL_JOB_UID
    settings.watching.chunk_size = LISTED_AT_ONCE
    # The namespace and the kinds are known: kopf must not list what the operator's account may not list.
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 10
    settings.persistence.finalizer = f"{keys.GROUP}/never-set"
    settings.persistence.diffbase_storage = _NoDifferences()
    settings.queueing.idle_timeout = 1.0


class _NoDifferences(kopf.DiffBaseStorage):
    """Keeps no copies. Nobody here asks what changed in an object, and the copies took half of kopf's time."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass


def _raw(body: kopf.Body) -> dict[str, Any]:
    return dict(body)
